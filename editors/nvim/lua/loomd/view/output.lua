-- A run's output in a terminal buffer, loomd://run/ID/output: colours as the program meant them, and Neovim's own terminal follows the end
-- only in windows whose cursor is there.
--
-- What arrives faster than a person could see is left out: at most `slice` bytes are painted at a time; of what piles up beyond `pile`
-- only the end is kept, and the run is skimmed until it is quiet again. A line and the bar say how much is missing; the whole is one key away (gA).

local config = require("loomd.config")
local follow = require("loomd.follow")
local keys = require("loomd.keys")
local paint = require("loomd.paint")
local server = require("loomd.server")
local store = require("loomd.store")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

M.slice = 256 * 1024
M.pile = 1024 * 1024

---@class loomd.OutputView
---@field run_id string
---@field buffer integer
---@field channel integer
---@field queue string[]
---@field queued integer bytes in the queue
---@field dropped integer bytes left out since the last paint
---@field total_dropped integer
---@field most_queued integer the highest that `queued` ever was
---@field painter loomd.Painter
---@field follower loomd.Follower

---@type table<string, loomd.OutputView>
local views = {}

local function notice(text)
  return "\27[0m\r\n\27[2m── " .. text .. " ──\27[0m\r\n"
end

---@param view loomd.OutputView
---@param bytes integer
local function leave_out(view, bytes)
  view.dropped = view.dropped + bytes
  view.total_dropped = view.total_dropped + bytes
  require("loomd.view").left_out[view.run_id] = words.size(view.total_dropped)
end

-- Keeps only the end of the pile, from the beginning of a line.
---@param view loomd.OutputView
local function shorten(view)
  local text = table.concat(view.queue)
  local kept = text:sub(-M.slice)
  local line = kept:find("\n", 1, true)
  kept = line and kept:sub(line + 1) or kept
  leave_out(view, #text - #kept)
  view.queue, view.queued = { kept }, #kept
end

---@param view loomd.OutputView
---@param text string
local function push(view, text)
  table.insert(view.queue, text)
  view.queued = view.queued + #text
  view.most_queued = math.max(view.most_queued, view.queued)
  if view.queued > M.pile then
    shorten(view)
    view.follower:skim()
  end
  view.painter:ask()
end

---@param view loomd.OutputView
local function flush(view)
  if view.queued == 0 or not vim.api.nvim_buf_is_valid(view.buffer) then
    return
  end
  if view.dropped > 0 then
    vim.api.nvim_chan_send(view.channel, notice(("%s left out here, gA shows everything"):format(words.size(view.dropped))))
    view.dropped = 0
  end
  local taken, bytes = {}, 0
  while view.queue[1] and bytes + #view.queue[1] <= M.slice do
    local text = table.remove(view.queue, 1)
    taken[#taken + 1] = text
    bytes = bytes + #text
  end
  if #taken == 0 then
    -- One piece alone is more than a slice.
    local text = view.queue[1]
    taken[1] = text:sub(1, M.slice)
    view.queue[1] = text:sub(M.slice + 1)
    bytes = #taken[1]
  end
  view.queued = view.queued - bytes
  vim.api.nvim_chan_send(view.channel, table.concat(taken))
  if view.queued > 0 then
    view.painter:ask()
  end
end

-- Without a terminal of its own a program ends lines with a line feed alone, which here would not go back to the first column.
local function for_terminal(run, text)
  if run and run.params and run.params.tty then
    return text
  end
  return (text:gsub("\r?\n", "\r\n"))
end

-- Bytes that the program wrote, which `text` only has where they were UTF-8.
local function raw_length(entry)
  if not entry.data then
    return #entry.text
  end
  return #entry.data / 4 * 3 - #entry.data:match("=*$")
end

---@param view loomd.OutputView
---@param entries loomd.Entry[]
local function take(view, entries)
  local run = store.runs[view.run_id]
  for _, entry in ipairs(entries) do
    if entry.kind == "output" then
      local text = entry.text
      -- A notification merged over what is already here is cut at its byte.
      local have = view.offsets[entry.stream]
      if have and entry.firstSeq and entry.offset < have and not entry.data then
        text = text:sub(have - entry.offset + 1)
      elseif have and entry.offset > have then
        leave_out(view, entry.offset - have)
      end
      view.offsets[entry.stream] = math.max(have or 0, entry.offset + raw_length(entry))
      push(view, for_terminal(run, text))
    elseif entry.kind == "state" and store.is_final(entry) then
      local left = entry.left and #entry.left > 0 and (", left running: " .. table.concat(
        vim.tbl_map(function(process)
          return ("%s (%d)"):format(process.command, process.pid)
        end, entry.left),
        ", "
      )) or ""
      local ended = { provider = run and run.provider, state = entry.state, exitCode = entry.exitCode, signal = entry.signal, error = entry.error }
      local outcome = words.outcome(ended)
      push(view, notice(words.states[entry.state].word .. (outcome ~= "" and (", " .. outcome) or "") .. left))
    end
  end
end

-- Keys typed in terminal mode go to an interactive run, as they are if it has a terminal, else line by line.
local function on_input(view)
  local told = false
  return function(_, _, _, data)
    local run = store.runs[view.run_id]
    if not run or store.is_final(run) or not (run.params and run.params.interactive) or store.has_transcript(run) then
      if not told and not data:find("^\27") then
        told = true
        words.say("this run takes no input; leave terminal mode with <C-\\><C-n>")
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

local function close(view)
  if views[view.run_id] == view then
    views[view.run_id] = nil
  end
  view.painter:stop()
  require("loomd.view").left_out[view.run_id] = nil
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
  local name = ("loomd://run/%s/output"):format(run.id)
  local buffer = window.buffer(name, "")
  local view = { run_id = run.id, buffer = buffer, queue = {}, queued = 0, dropped = 0, total_dropped = 0, most_queued = 0, offsets = {} }
  view.painter = paint.new(function()
    flush(view)
  end)
  vim.b[buffer].loomd_run = run.id
  views[run.id] = view
  return view
end

---@param view loomd.OutputView
local function begin(view)
  local options = config.get()
  view.channel = vim.api.nvim_open_term(view.buffer, { on_input = on_input(view) })
  vim.bo[view.buffer].scrollback = options.max_lines
  vim.bo[view.buffer].filetype = "loomd-output"
  keys.map(view.buffer, {
    { key = "<C-c>", what = "interrupt (Ctrl-C)", act = function()
      require("loomd.actions").interrupt(store.runs[view.run_id])
    end },
  })
  vim.api.nvim_create_autocmd({ "BufWipeout", "BufDelete" }, {
    buffer = view.buffer,
    callback = function()
      close(view)
    end,
  })
  view.follower = follow.open(view.run_id, {
    kinds = { "output" },
    backlog_bytes = options.backlog_bytes,
    on_begin = function(at_start, run)
      if at_start then
        view.offsets = { stdout = 0, stderr = 0 }
      else
        push(view, "\27[2m── earlier output is not shown, gA shows everything ──\27[0m\r\n")
      end
      require("loomd.view").busy(view.buffer, run)
    end,
    on_entries = function(entries)
      take(view, entries)
    end,
    on_failure = function(failure)
      words.say(words.failure(failure, "output"), vim.log.levels.ERROR)
    end,
  })
  view.stop = store.on("runs", function(id, changed)
    if id == view.run_id and changed then
      require("loomd.view").busy(view.buffer, changed)
    end
  end)
end

-- Opens the output of a run in a window, at its end, and goes there.
---@param run loomd.Run
---@return integer buffer
function M.open(run)
  local view = views[run.id]
  if view and vim.api.nvim_buf_is_valid(view.buffer) then
    window.show(view.buffer, config.get().output_split, view.dress)
    return view.buffer
  end
  view = create(run)
  view.dress = require("loomd.view").dress(view.buffer, run.id, { wrap = false })
  -- Shown before the terminal is made: it takes its width from the window.
  window.show(view.buffer, config.get().output_split, view.dress)
  begin(view)
  -- The last line is where the terminal follows from.
  vim.api.nvim_win_set_cursor(0, { vim.api.nvim_buf_line_count(view.buffer), 0 })
  return view.buffer
end

-- For tests.
---@param run_id string
---@return loomd.OutputView?
function M.of(run_id)
  return views[run_id]
end

return M
