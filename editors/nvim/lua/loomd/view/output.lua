-- The output of a run in a terminal buffer, loomd://ID/output. The terminal shows the program's colors and
-- follows the end only in windows whose cursor is on the last line.
--
-- Output that arrives too fast is skipped. At most `max_write_bytes` are written at a time. When more than
-- `max_queue_bytes` are queued, only the end is kept, and the follower polls until the output is slower. A line and
-- the winbar show how much was skipped; `gA` opens all of it.

local config = require("loomd.config")
local follow = require("loomd.follow")
local format = require("loomd.format")
local keys = require("loomd.keys")
local notify = require("loomd.notify")
local server = require("loomd.server")
local store = require("loomd.store")
local throttle = require("loomd.throttle")
local window = require("loomd.window")

local M = {}

M.max_write_bytes = 256 * 1024
M.max_queue_bytes = 1024 * 1024

---@class loomd.OutputView
---@field run_id string
---@field buffer integer
---@field channel integer
---@field queue string[]
---@field queued integer bytes in the queue
---@field skipped integer bytes skipped since the last write
---@field total_skipped integer
---@field peak_queued integer the largest value of `queued` so far
---@field throttle loomd.Throttle
---@field follower loomd.Follower
---@field size? string that was sent

---@type table<string, loomd.OutputView>
local views = {}

local function notice(text)
  return "\27[0m\r\n\27[2m── " .. text .. " ──\27[0m\r\n"
end

---@param view loomd.OutputView
---@param bytes integer
local function count_skipped(view, bytes)
  view.skipped = view.skipped + bytes
  view.total_skipped = view.total_skipped + bytes
  require("loomd.view").skipped[view.run_id] = format.size(view.total_skipped)
end

-- Keeps only the end of the queue, from the beginning of a line.
---@param view loomd.OutputView
local function truncate_queue(view)
  local text = table.concat(view.queue)
  local tail = text:sub(-M.max_write_bytes)
  local line = tail:find("\n", 1, true)
  tail = line and tail:sub(line + 1) or tail
  count_skipped(view, #text - #tail)
  view.queue, view.queued = { tail }, #tail
end

---@param view loomd.OutputView
---@param text string
local function push(view, text)
  table.insert(view.queue, text)
  view.queued = view.queued + #text
  view.peak_queued = math.max(view.peak_queued, view.queued)
  if view.queued > M.max_queue_bytes then
    truncate_queue(view)
    view.follower:start_polling()
  end
  view.throttle:request()
end

---@param view loomd.OutputView
local function flush(view)
  if view.queued == 0 or not vim.api.nvim_buf_is_valid(view.buffer) then
    return
  end
  if view.skipped > 0 then
    vim.api.nvim_chan_send(view.channel, notice(("%s skipped (gA: full output)"):format(format.size(view.skipped))))
    view.skipped = 0
  end
  local chunks, bytes = {}, 0
  while view.queue[1] and bytes + #view.queue[1] <= M.max_write_bytes do
    local text = table.remove(view.queue, 1)
    chunks[#chunks + 1] = text
    bytes = bytes + #text
  end
  if #chunks == 0 then
    -- One chunk alone is larger than `max_write_bytes`.
    local text = view.queue[1]
    chunks[1] = text:sub(1, M.max_write_bytes)
    view.queue[1] = text:sub(M.max_write_bytes + 1)
    bytes = #chunks[1]
  end
  view.queued = view.queued - bytes
  vim.api.nvim_chan_send(view.channel, table.concat(chunks))
  if view.queued > 0 then
    view.throttle:request()
  end
end

-- Without a pseudoterminal a program ends lines with a line feed alone, which would not move the cursor to the first
-- column of this terminal.
local function to_terminal(run, text)
  if run and run.params and run.params.tty then
    return text
  end
  return (text:gsub("\r?\n", "\r\n"))
end

-- The number of bytes that the program wrote. `text` has as many only if they were valid UTF-8.
local function raw_length(entry)
  if not entry.data then
    return #entry.text
  end
  return #entry.data / 4 * 3 - #entry.data:match("=*$")
end

---@param view loomd.OutputView
---@param entries loomd.Entry[]
local function apply_entries(view, entries)
  local run = store.runs[view.run_id]
  for _, entry in ipairs(entries) do
    if entry.kind == "output" then
      local text = entry.text
      -- The server merged this entry with earlier ones, so the part that the view has is cut off.
      local known_offset = view.offsets[entry.stream]
      if known_offset and entry.firstSeq and entry.offset < known_offset and not entry.data then
        text = text:sub(known_offset - entry.offset + 1)
      elseif known_offset and entry.offset > known_offset then
        count_skipped(view, entry.offset - known_offset)
      end
      view.offsets[entry.stream] = math.max(known_offset or 0, entry.offset + raw_length(entry))
      push(view, to_terminal(run, text))
    elseif entry.kind == "state" and store.is_final(entry) then
      local left = entry.left and #entry.left > 0 and (", still running: " .. table.concat(
        vim.tbl_map(function(process)
          return ("%s (%d)"):format(process.command, process.pid)
        end, entry.left),
        ", "
      )) or ""
      local ended = { provider = run and run.provider, state = entry.state, exitCode = entry.exitCode, signal = entry.signal, error = entry.error }
      local outcome = format.outcome(ended)
      push(view, notice(format.states[entry.state].word .. (outcome ~= "" and (", " .. outcome) or "") .. left))
    end
  end
end

-- What this terminal answers when a program asks for device attributes, its status, the cursor, a mode or a color. The
-- supervisor answers too, and also while nobody looks; a run that is not interactive accepts no answer from here, and a log
-- that is read again asks again. So the answers of this terminal are dropped, and each question gets one.
local answers = { "\27%[[%?>=]?[%d;]*[cnR]", "\27%[%??[%d;]*%$y", "\27[P%]_][^\27\7]*\27\\", "\27[P%]_][^\27\7]*\7" }

---@param data string
local function without_answers(data)
  for _, pattern in ipairs(answers) do
    data = data:gsub(pattern, "")
  end
  return data
end

-- Sends keys typed in terminal mode to an interactive run, unchanged if the run has a pseudoterminal, else with line
-- feeds.
local function on_input(view)
  local warned = false
  return function(_, _, _, data)
    data = without_answers(data)
    if data == "" then
      return
    end
    local run = store.runs[view.run_id]
    if not run or store.is_final(run) or not (run.params and run.params.interactive) or run.hasTranscript then
      if not warned and not data:find("^\27") then
        warned = true
        notify.show("This run does not accept input (<C-\\><C-n> leaves terminal mode)")
      end
      return
    end
    local text = run.params.tty and data or data:gsub("\r", "\n")
    if not run.params.tty then
      vim.api.nvim_chan_send(view.channel, (text:gsub("\n", "\r\n")))
    end
    server.request("run/send", { runId = run.id, text = text })
  end
end

-- Gives the run's terminal the size of the largest window that shows it.
---@param view loomd.OutputView
local function send_size(view)
  local run = store.runs[view.run_id]
  if not run or not run.tty or store.is_final(run) or not view.follower or not view.follower.attached then
    return
  end
  local rows, cols = 0, 0
  for _, win in ipairs(vim.fn.win_findbuf(view.buffer)) do
    local info = vim.fn.getwininfo(win)[1]
    rows, cols = math.max(rows, info.height), math.max(cols, info.width - info.textoff)
  end
  local size = ("%dx%d"):format(cols, rows)
  if rows > 0 and cols > 0 and view.size ~= size then
    view.size = size
    server.request("run/setSize", { runId = run.id, rows = rows, cols = cols })
  end
end

local function close(view)
  if views[view.run_id] == view then
    views[view.run_id] = nil
  end
  view.throttle:stop()
  require("loomd.view").skipped[view.run_id] = nil
  if view.stop then
    view.stop()
  end
  if view.follower then
    view.follower:close()
  end
end

---@param run loomd.Run
---@return loomd.OutputView
local function create(run)
  local name = ("loomd://%s/output"):format(format.short_id(run.id))
  local buffer = window.buffer(name, "")
  local view = { run_id = run.id, buffer = buffer, queue = {}, queued = 0, skipped = 0, total_skipped = 0, peak_queued = 0, offsets = {} }
  view.throttle = throttle.new(function()
    flush(view)
  end)
  vim.b[buffer].loomd_run = run.id
  views[run.id] = view
  return view
end

---@param view loomd.OutputView
local function start_view(view)
  local options = config.get()
  view.channel = vim.api.nvim_open_term(view.buffer, { on_input = on_input(view) })
  vim.bo[view.buffer].scrollback = options.max_lines
  vim.bo[view.buffer].filetype = "loomd-output"
  keys.map(view.buffer, {
    { key = "gA", desc = "full output in a buffer", action = function()
      require("loomd.view.full").output(store.runs[view.run_id])
    end },
    { key = "<C-c>", desc = "interrupt (Ctrl-C)", action = function()
      require("loomd.actions").interrupt(store.runs[view.run_id])
    end },
  })
  vim.api.nvim_create_autocmd({ "BufWipeout", "BufDelete" }, {
    buffer = view.buffer,
    callback = function()
      close(view)
    end,
  })
  local reads_only = store.runs[view.run_id] and store.runs[view.run_id].hasTranscript
  if reads_only then
    require("loomd.view.refresh_timer").add(view.buffer, function()
      view.follower:poll()
    end)
  end
  view.follower = follow.open(view.run_id, {
    backlog_bytes = options.backlog_bytes,
    reads_only = reads_only,
    on_begin = function(at_start, run)
      if at_start then
        view.offsets = { stdout = 0, stderr = 0 }
      else
        push(view, "\27[2m── earlier output skipped (gA: full output) ──\27[0m\r\n")
      end
      require("loomd.view").set_busy(view.buffer, run)
    end,
    on_entries = function(entries)
      apply_entries(view, entries)
    end,
    on_failure = function(failure)
      notify.show(format.failure(failure, "Could not read the output"), vim.log.levels.ERROR)
    end,
  })
  view.stop = store.subscribe("runs", function(id, changed)
    if id == view.run_id and changed then
      require("loomd.view").set_busy(view.buffer, changed)
      send_size(view)
    end
  end)
  vim.api.nvim_create_autocmd({ "WinResized", "VimResized", "BufWinEnter" }, {
    callback = function()
      if views[view.run_id] ~= view then
        return true
      end
      send_size(view)
    end,
  })
end

-- Opens the output of a run in a window, at its end, and moves the focus there.
---@param run loomd.Run
---@return integer buffer
function M.open(run)
  local view = views[run.id]
  if view and vim.api.nvim_buf_is_valid(view.buffer) then
    window.show(view.buffer, config.get().output_split, view.window_options)
    return view.buffer
  end
  view = create(run)
  view.window_options = require("loomd.view").set_window_options(view.buffer, run.id, { wrap = false })
  -- The window comes before the terminal, because the terminal takes its width from the window.
  window.show(view.buffer, config.get().output_split, view.window_options)
  start_view(view)
  -- The terminal follows the end only while the cursor is on the last line.
  vim.api.nvim_win_set_cursor(0, { vim.api.nvim_buf_line_count(view.buffer), 0 })
  return view.buffer
end

-- The view of a run, for tests.
---@param run_id string
---@return loomd.OutputView?
function M.find(run_id)
  return views[run_id]
end

return M
