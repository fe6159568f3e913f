-- The list of runs, loomd://runs: who waits for an answer first, then what runs, then what ended. And loomd://history, the same with
-- everything that ever ran. Rows are lines of text, so that every state is a word; extmarks only colour them.

local config = require("loomd.config")
local keys = require("loomd.keys")
local paint = require("loomd.paint")
local server = require("loomd.server")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_runs")

---@class loomd.ListView
---@field name string
---@field buffer integer
---@field painter loomd.Painter
---@field rows table<integer, string> line (from 1) → run id
---@field limit? integer ended runs shown
---@field filter? fun(run: loomd.Run): boolean

---@type table<string, loomd.ListView>
local views = {}

-- The last line of each live run, asked for while a list is in sight: output comes only to those who are attached.
---@type table<string, { seq: integer, text: string, asking?: boolean }>
local last_words = {}

-- How many lines of a question a row shows; a longer one is only whole in its float.
local question_lines = 6

---@param call table
---@return string[] lines, boolean whole
local function question(call)
  local lines = {}
  local command = toolcall.command(call)
  if command then
    vim.list_extend(lines, vim.split(command, "\n"))
    lines[1] = "$ " .. lines[1]
  elseif call.title then
    vim.list_extend(lines, vim.split(words.one_line(call.title), "\n"))
  end
  local has_diff = #toolcall.patch(call) > 0
  for _, part in ipairs(call.content or {}) do
    has_diff = has_diff or part.type == "diff"
  end
  vim.list_extend(lines, toolcall.file_lines(call))
  if not has_diff then
    vim.list_extend(lines, toolcall.input_lines(call))
  end
  -- A diff is more than these lines say.
  local whole = not has_diff and #lines <= question_lines
  if #lines > question_lines then
    lines = vim.list_slice(lines, 1, question_lines)
    whole = false
  end
  return lines, whole
end

local function segments()
  local line = { text = "", marks = {} }
  function line:add(text, group)
    if group and text ~= "" then
      table.insert(self.marks, { #self.text, #self.text + #text, group })
    end
    self.text = self.text .. text
    return self
  end
  return line
end

local function width_of(buffer)
  local found = vim.fn.bufwinid(buffer)
  return found ~= -1 and vim.api.nvim_win_get_width(found) or vim.o.columns
end

local function row(run, width)
  local state = words.state(run)
  local line = segments()
  line:add("  " .. state.icon .. " ", state.group):add(words.pad(state.word, 10), state.group):add(" ")
  line:add(words.pad(run.provider, 8), "LoomdProvider"):add(" ")
  local title_width = math.max(12, math.min(44, math.floor((width - 44) / 2)))
  line:add(words.pad(words.title(run), title_width), "LoomdTitle"):add(" ")
  line:add(words.pad(words.elapsed(run), 8), "LoomdTime"):add(" ")
  line:add(words.short(run.id), "LoomdQuiet"):add(" ")
  local said = words.outcome(run)
  if said == "" or not store.is_final(run) then
    local last = last_words[run.id]
    said = said ~= "" and said or (last and last.text or "")
  end
  local more = {}
  if run.queued and run.queued > 0 then
    more[#more + 1] = ("%d queued"):format(run.queued)
  end
  if run.pinned then
    more[#more + 1] = "pinned"
  end
  if #more > 0 then
    said = "[" .. table.concat(more, ", ") .. "] " .. said
  end
  line:add(words.fit(said, width - vim.fn.strdisplaywidth(line.text) - 1), "LoomdQuiet")
  return line
end

local function heading(text)
  return segments():add(" " .. text, "LoomdHeading")
end

---@param view loomd.ListView
local function lines_of(view)
  local width = width_of(view.buffer)
  local waiting, live, ended = store.grouped()
  if view.filter then
    waiting, live, ended = vim.tbl_filter(view.filter, waiting), vim.tbl_filter(view.filter, live), vim.tbl_filter(view.filter, ended)
  end
  local lines, rows = {}, {}
  local function add(line, id)
    lines[#lines + 1] = line
    rows[#lines] = id
  end

  if server.state == "failed" then
    add(segments():add(" loomd is not running: " .. words.one_line(server.problem or ""), "LoomdFailed"))
    add(segments():add(" :Loomd restart", "LoomdKey"):add(" starts it, "):add(":Loomd log", "LoomdKey"):add(" shows its log. Runs are not touched by this."))
  elseif server.state ~= "ready" then
    add(segments():add(" connecting to loomd …", "LoomdQuiet"))
  else
    local head = segments():add((" %d waiting"):format(#waiting), #waiting > 0 and "LoomdWaiting" or "LoomdQuiet")
    local idle = #vim.tbl_filter(function(run)
      return run.state == "idle"
    end, live)
    head:add((" · %d running"):format(#live - idle), #live > idle and "LoomdRunning" or "LoomdQuiet")
    if idle > 0 then
      head:add((" · %d idle"):format(idle), "LoomdIdle")
    end
    add(head:add(" · ? keys · n start a run", "LoomdQuiet"))
  end

  if #waiting > 0 then
    add(heading("Waiting for you"))
    for _, run in ipairs(waiting) do
      add(row(run, width), run.id)
      for index, entry in ipairs(run.permissions or {}) do
        local shown, whole = question(entry.toolCall)
        local asks = segments():add("      ")
        asks:add("asks to " .. toolcall.verb(entry.toolCall), "LoomdQuestion")
        asks:add(index == 1 and (whole and "   a allow · d deny · K more" or "   K shows all of it · d deny") or "", "LoomdQuiet")
        add(asks, run.id)
        for _, text in ipairs(shown) do
          add(segments():add("        " .. text:gsub("[%c]", "?")), run.id)
        end
      end
    end
  end
  if #live > 0 then
    add(heading("Running"))
    for _, run in ipairs(live) do
      add(row(run, width), run.id)
    end
  end
  if #ended > 0 then
    add(heading(view.name == "loomd://history" and "History" or "Earlier"))
    local limit = view.limit or config.get().earlier
    for index, run in ipairs(ended) do
      if index > limit then
        add(segments():add(("    %d more: :Loomd history"):format(#ended - limit), "LoomdQuiet"))
        break
      end
      add(row(run, width), run.id)
    end
  end
  if view.next_cursor then
    add(segments():add("    M shows older ones", "LoomdQuiet"))
  end
  if #waiting + #live + #ended == 0 and server.state == "ready" then
    add(segments():add("  No runs yet. ", "LoomdQuiet"):add("n", "LoomdKey"):add(" starts one, and so does ", "LoomdQuiet"):add(":Loomd start", "LoomdKey"))
  end
  return lines, rows
end

-- Only rows that differ are written, so that nothing flickers and marks of the user stay; the cursor stays on its run.
---@param view loomd.ListView
local function repaint(view)
  if not vim.api.nvim_buf_is_valid(view.buffer) then
    return
  end
  local lines, rows = lines_of(view)
  local old = vim.api.nvim_buf_get_lines(view.buffer, 0, -1, false)
  local windows = vim.fn.win_findbuf(view.buffer)
  local cursors = {}
  for _, win in ipairs(windows) do
    local cursor = vim.api.nvim_win_get_cursor(win)
    local id = view.rows[cursor[1]]
    local first = cursor[1]
    while id and view.rows[first - 1] == id do
      first = first - 1
    end
    cursors[win] = { id = id, inside = cursor[1] - first, column = cursor[2] }
  end
  vim.bo[view.buffer].modifiable = true
  for index, line in ipairs(lines) do
    if old[index] ~= line.text then
      vim.api.nvim_buf_set_lines(view.buffer, index - 1, index <= #old and index or index - 1, false, { line.text })
      if index > #old then
        old[index] = line.text
      end
    end
  end
  if #old > #lines then
    vim.api.nvim_buf_set_lines(view.buffer, #lines, -1, false, {})
  end
  -- A fresh buffer has one empty line of its own.
  local count = vim.api.nvim_buf_line_count(view.buffer)
  if count > #lines then
    vim.api.nvim_buf_set_lines(view.buffer, #lines, -1, false, {})
  end
  vim.bo[view.buffer].modifiable = false
  vim.bo[view.buffer].modified = false
  view.rows = rows

  vim.api.nvim_buf_clear_namespace(view.buffer, namespace, 0, -1)
  for index, line in ipairs(lines) do
    for _, mark in ipairs(line.marks) do
      vim.api.nvim_buf_set_extmark(view.buffer, namespace, index - 1, mark[1], { end_col = mark[2], hl_group = mark[3] })
    end
  end
  local first_run
  for index = 1, #lines do
    if rows[index] then
      first_run = index
      break
    end
  end
  for win, cursor in pairs(cursors) do
    if not cursor.id and first_run and not view.placed then
      -- A list that was opened empty: on the first run, not on the heading.
      pcall(vim.api.nvim_win_set_cursor, win, { first_run, 0 })
    elseif cursor.id then
      for index = 1, #lines do
        if rows[index] == cursor.id then
          local target = index + (rows[index + cursor.inside] == cursor.id and cursor.inside or 0)
          pcall(vim.api.nvim_win_set_cursor, win, { target, cursor.column })
          break
        end
      end
    end
  end
  view.placed = view.placed or first_run ~= nil
end

local function in_sight(view)
  return vim.api.nvim_buf_is_valid(view.buffer) and #vim.fn.win_findbuf(view.buffer) > 0
end

local function ask_for_last_words(view)
  if server.state ~= "ready" then
    return
  end
  for _, id in pairs(view.rows) do
    local run = store.runs[id]
    local known = last_words[id]
    -- A run that is not attached shows no growth, so a live one is asked each time; an ended one once.
    local settled = run and known and store.is_final(run) and known.seq == run.lastSeq
    if run and not settled and not (known and known.asking) then
      local seq = run.lastSeq
      last_words[id] = { seq = known and known.seq or -1, text = known and known.text or "", asking = true }
      local function keep(text)
        last_words[id] = { seq = seq, text = words.one_line(text or "") }
        view.painter:ask()
      end
      if store.has_transcript(run) then
        server.request("run/read", { runId = id, beforeSeq = require("loomd.follow").newest, maxBytes = 16384, kinds = { "update" } }, function(_, result)
          keep(require("loomd.transcript").last_words(result and result.entries or {}))
        end)
      else
        server.request("run/text", { runId = id, lastLines = 1, maxBytes = 4096 }, function(_, result)
          keep(result and result.text:gsub("^.*\r([^\r\n])", "%1"))
        end)
      end
    end
  end
end

-- Elapsed times and last lines move while somebody looks; otherwise nothing is asked and nothing is painted.
local clock
local function tick()
  for _, view in pairs(views) do
    if in_sight(view) then
      ask_for_last_words(view)
      view.painter:ask()
    end
  end
  vim.cmd.redrawstatus({ bang = true })
end

local function start_clock()
  if clock then
    return
  end
  clock = assert(vim.uv.new_timer())
  clock:start(1000, 1000, vim.schedule_wrap(tick))
  store.on("runs", function(id, run)
    if not run then
      last_words[id] = nil
    end
    for _, view in pairs(views) do
      view.painter:ask()
    end
  end)
  store.on("server", function()
    for _, view in pairs(views) do
      view.painter:ask()
    end
  end)
end

local function load_more(view, cursor)
  server.request("run/list", { limit = 100, cursor = cursor }, function(failure, result)
    if failure then
      return words.say(words.failure(failure, "history"), vim.log.levels.ERROR)
    end
    view.next_cursor = result.nextCursor
    for _, run in ipairs(result.runs) do
      store.put(run)
    end
    view.painter:ask()
  end)
end

---@param name string
---@return loomd.ListView
local function view_of(name)
  local buffer, is_new = window.buffer(name, "loomd")
  local view = views[name]
  if is_new or not view then
    view = { name = name, buffer = buffer, rows = {} }
    view.painter = paint.new(function()
      repaint(view)
    end)
    views[name] = view
    vim.bo[buffer].modifiable = false
    vim.bo[buffer].buftype = "nofile"
    vim.b[buffer].loomd_rows = true
    local extra = {}
    if name == "loomd://history" then
      extra = { { key = "M", what = "older runs", act = function()
        if view.next_cursor then
          load_more(view, view.next_cursor)
        end
      end } }
    end
    keys.map(buffer, extra, true)
    vim.api.nvim_create_autocmd("BufWinEnter", {
      buffer = buffer,
      callback = function()
        view.painter:ask()
      end,
    })
    vim.api.nvim_create_autocmd({ "WinResized", "VimResized" }, {
      callback = function()
        if not vim.api.nvim_buf_is_valid(buffer) then
          return true
        end
        view.painter:ask()
      end,
    })
  end
  return view
end

local dress = { wrap = false, number = false, relativenumber = false, cursorline = true, signcolumn = "no", spell = false, list = false, winfixheight = true }

-- Opens the list, and goes there.
---@return integer buffer
function M.open()
  local view = view_of("loomd://runs")
  local window_was_there = window.of(view.buffer) ~= nil
  window.show(view.buffer, config.get().split, dress)
  start_clock()
  server.ready(function(failure)
    if failure then
      view.painter:ask()
    else
      ask_for_last_words(view)
    end
  end)
  view.placed = window_was_there
  repaint(view)
  return view.buffer
end

-- Opens everything that ever ran, page by page.
---@param folder? string only runs in this directory
---@return integer buffer
function M.history(folder)
  local view = view_of("loomd://history")
  view.limit = math.huge
  view.filter = folder and function(run)
    return run.cwd == folder
  end or nil
  window.show(view.buffer, config.get().split, dress)
  view.placed = false
  start_clock()
  load_more(view)
  return view.buffer
end

---@return string?
function M.run_at_cursor()
  local view = views[vim.api.nvim_buf_get_name(0)]
  return view and view.rows[vim.api.nvim_win_get_cursor(0)[1]]
end

-- Whether the list in the current window shows the whole of this question, so that a single key may answer it.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
function M.shows_whole(run, entry)
  local view = views[vim.api.nvim_buf_get_name(0)]
  if not view then
    return false
  end
  local lines, whole = question(entry.toolCall)
  if not whole then
    return false
  end
  local width = vim.api.nvim_win_get_width(0)
  for _, line in ipairs(lines) do
    if vim.fn.strdisplaywidth(line) + 8 > width or line:find("%c") then
      return false
    end
  end
  for index, id in pairs(view.rows) do
    if id == run.id and index >= vim.fn.line("w0") and index <= vim.fn.line("w$") then
      return true
    end
  end
  return false
end

-- How often the list was painted; for tests.
function M.paints()
  local view = views["loomd://runs"]
  return view and view.painter.count or 0
end

return M
