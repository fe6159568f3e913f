-- The list of runs, loomd://runs, and loomd://history, the same with everything that ever ran. Rows are lines of text, so that every
-- state is a word; extmarks only colour them. What the lines say is for `rows` to know.

local clock = require("loomd.view.clock")
local config = require("loomd.config")
local keys = require("loomd.keys")
local last_words = require("loomd.view.last_words")
local paint = require("loomd.paint")
local row_lines = require("loomd.view.rows")
local server = require("loomd.server")
local store = require("loomd.store")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_runs")

---@class loomd.ListView
---@field name string
---@field buffer integer
---@field painter loomd.Painter
---@field rows table<integer, string> line (from 1) → run id
---@field session_rows table<integer, loomd.OutsideSession> line → session
---@field outside? loomd.OutsideSessions sessions that were made outside of loomd, once they were asked for
---@field limit? integer ended runs shown
---@field filter? fun(run: loomd.Run): boolean
---@field folder? string the directory that the filter lets through

---@type table<string, loomd.ListView>
local views = {}

local function width_of(buffer)
  local found = vim.fn.bufwinid(buffer)
  return found ~= -1 and vim.api.nvim_win_get_width(found) or vim.o.columns
end

---@param view loomd.ListView
local function repaint(view)
  if not vim.api.nvim_buf_is_valid(view.buffer) then
    return
  end
  local lines, rows, session_rows = row_lines.of(view, width_of(view.buffer))
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
  view.rows, view.session_rows = rows, session_rows

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

local function ask_for_last_words(view)
  for _, id in pairs(view.rows) do
    last_words.ask(id, function()
      view.painter:ask()
    end)
  end
end

local hears = false
local function hear()
  if hears then
    return
  end
  hears = true
  local function repaint_all()
    for _, view in pairs(views) do
      view.painter:ask()
    end
  end
  store.on("runs", function(id, run)
    if not run then
      last_words.forget(id)
    end
    repaint_all()
  end)
  store.on("server", repaint_all)
end

local function load_more(view, cursor)
  server.request("run/list", { limit = 100, cursor = cursor, cwd = view.folder }, function(failure, result)
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

-- Keys that only the history has; on the row of a session, keys of runs mean the session.
---@param view loomd.ListView
---@return loomd.Key[]
local function history_keys(view)
  local function on_session(key)
    local of_runs = vim.iter(keys.run):find(function(each)
      return each.key == key
    end)
    return { key = key, what = of_runs.what, act = function()
      local outside = view.session_rows[vim.api.nvim_win_get_cursor(0)[1]]
      if outside then
        require("loomd.sessions").go_on(outside.provider, outside.session)
      else
        of_runs.act()
      end
    end }
  end
  return {
    on_session("<CR>"),
    on_session("R"),
    { key = "M", what = "older runs", act = function()
      if view.next_cursor then
        load_more(view, view.next_cursor)
      else
        words.say("there are no older runs")
      end
    end },
    { key = "O", what = "sessions made outside of loomd", act = function()
      view.outside = require("loomd.sessions").outside(view.folder or vim.fn.getcwd(), view.outside, function()
        view.painter:ask()
      end)
      view.painter:ask()
    end },
  }
end

---@param name string
---@return loomd.ListView
local function view_of(name)
  local buffer, is_new = window.buffer(name, "loomd")
  local view = views[name]
  if is_new or not view then
    view = { name = name, buffer = buffer, rows = {}, session_rows = {} }
    view.painter = paint.new(function()
      repaint(view)
    end)
    views[name] = view
    vim.bo[buffer].modifiable = false
    vim.bo[buffer].buftype = "nofile"
    vim.b[buffer].loomd_rows = true
    local extra = {}
    if name == "loomd://history" then
      extra = history_keys(view)
    end
    keys.map(buffer, extra, true)
    clock.watch(buffer, function()
      ask_for_last_words(view)
      view.painter:ask()
    end)
    hear()
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

local dress = { wrap = false, number = false, relativenumber = false, cursorline = true, signcolumn = "no", spell = false, list = false, winfixheight = true, most = 0.5 }

-- Opens the list, and goes there.
---@return integer buffer
function M.open()
  local view = view_of("loomd://runs")
  local window_was_there = window.of(view.buffer) ~= nil
  window.show(view.buffer, config.get().split, dress)
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
  view.limit, view.folder, view.outside = math.huge, folder, nil
  view.filter = folder and function(run)
    return run.cwd == folder
  end or nil
  window.show(view.buffer, config.get().split, dress)
  view.placed = false
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
  local lines, whole = row_lines.question(entry.toolCall)
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
