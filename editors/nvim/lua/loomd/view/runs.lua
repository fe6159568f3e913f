-- The list of runs, loomd://runs, and loomd://history, which lists all runs. Rows are plain lines in which every
-- state is a word; extmarks only add colors. The module `rows` builds the lines.

local config = require("loomd.config")
local format = require("loomd.format")
local hosts = require("loomd.hosts")
local keys = require("loomd.keys")
local list_keys = require("loomd.view.list_keys")
local last_lines = require("loomd.view.last_lines")
local notify = require("loomd.notify")
local permission = require("loomd.permission")
local refresh_timer = require("loomd.view.refresh_timer")
local rows_builder = require("loomd.view.rows")
local server = require("loomd.server")
local store = require("loomd.store")
local throttle = require("loomd.throttle")
local window = require("loomd.window")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_runs")

---@class loomd.ListView
---@field name string
---@field buffer integer
---@field throttle loomd.Throttle
---@field rows table<integer, string> line (from 1) → run id
---@field session_rows table<integer, loomd.ExternalSession> line → session
---@field host_rows table<integer, string> line → host, of its heading
---@field next_cursors table<string, string> where the next page of the history begins, by host; "" is this computer
---@field external? loomd.ExternalSessions sessions made outside of loomd, once the user has requested them
---@field limit? integer ended runs shown
---@field filter? string as the module `filter` reads it
---@field group? "folder"|"day"
---@field marked table<string, boolean> the runs that are selected
---@field folder? string the only directory whose runs are shown

---@type table<string, loomd.ListView>
local views = {}

local function width_of(buffer)
  local found = vim.fn.bufwinid(buffer)
  return found ~= -1 and vim.api.nvim_win_get_width(found) or vim.o.columns
end

---@param view loomd.ListView
local function redraw(view)
  if not vim.api.nvim_buf_is_valid(view.buffer) then
    return
  end
  local built = rows_builder.build(view, width_of(view.buffer))
  local lines, rows = built.lines, built.runs
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
  -- A new buffer has one empty line.
  local count = vim.api.nvim_buf_line_count(view.buffer)
  if count > #lines then
    vim.api.nvim_buf_set_lines(view.buffer, #lines, -1, false, {})
  end
  vim.bo[view.buffer].modifiable = false
  vim.bo[view.buffer].modified = false
  view.rows, view.session_rows, view.host_rows = rows, built.sessions, built.hosts

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
      -- If the list was empty when it was opened, the cursor goes to the first run, not to the heading.
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

-- Requests what the rows show beside the runs: last lines, and what is asked.
local function request_details(view)
  local function changed()
    view.throttle:request()
  end
  for _, id in pairs(view.rows) do
    last_lines.request(id, changed)
  end
  for _, request in ipairs(permission.pending()) do
    if not permission.loaded_parts(request.run, request.entry) then
      permission.load_parts(request.run, request.entry, changed)
    end
  end
end

local subscribed = false
local function subscribe()
  if subscribed then
    return
  end
  subscribed = true
  local function redraw_all()
    for _, view in pairs(views) do
      view.throttle:request()
    end
  end
  store.subscribe("runs", function(id, run)
    if not run then
      last_lines.forget(id)
      for _, view in pairs(views) do
        view.marked[id] = nil
      end
    end
    redraw_all()
  end)
  store.subscribe("server", redraw_all)
  store.subscribe("host", redraw_all)
end

-- Loads a page of the history of each of these servers.
---@param view loomd.ListView
---@param cursors table<string, string|false> by host; false: the first page
local function load_more(view, cursors)
  for host, cursor in pairs(cursors) do
    server.request("run/list", { limit = 100, cursor = cursor or nil, cwd = view.folder }, function(failure, result)
      if failure then
        return notify.show(format.failure(failure, "Could not load the history"), vim.log.levels.ERROR)
      end
      view.next_cursors[host] = result.nextCursor
      for _, run in ipairs(result.runs) do
        store.put(run)
      end
      view.throttle:request()
    end, host ~= "" and host or nil)
  end
end

-- Keys of the history alone. On the row of a session, keys of runs act on the session.
---@param view loomd.ListView
---@return loomd.Key[]
local function history_keys(view)
  local function on_session(key)
    local of_runs = vim.iter(keys.run_keys):find(function(each)
      return each.key == key
    end)
    return { key = key, desc = of_runs.desc, action = function()
      local external = view.session_rows[vim.api.nvim_win_get_cursor(0)[1]]
      if external then
        require("loomd.sessions").resume(external.provider, external.session)
      else
        of_runs.action()
      end
    end }
  end
  return {
    on_session("<CR>"),
    on_session("R"),
    { key = "M", desc = "load more", action = function()
      if next(view.next_cursors) then
        load_more(view, vim.deepcopy(view.next_cursors))
      else
        notify.show("No more runs")
      end
    end },
    { key = "O", desc = "list other sessions", action = function()
      view.external = require("loomd.sessions").list_external(view.folder or vim.fn.getcwd(), view.external, function()
        view.throttle:request()
      end)
      view.throttle:request()
    end },
  }
end

---@param name string
---@return loomd.ListView
local function view_of(name)
  local buffer, is_new = window.buffer(name, "loomd")
  local view = views[name]
  if is_new or not view then
    view = { name = name, buffer = buffer, rows = {}, session_rows = {}, host_rows = {}, next_cursors = {}, marked = {} }
    view.throttle = throttle.new(function()
      redraw(view)
    end)
    views[name] = view
    vim.bo[buffer].modifiable = false
    vim.bo[buffer].buftype = "nofile"
    vim.b[buffer].loomd_rows = true
    local extra = list_keys.of(view)
    if name == "loomd://history" then
      vim.list_extend(extra, history_keys(view))
    end
    keys.map(buffer, extra, true)
    list_keys.map_visual(view)
    refresh_timer.add(buffer, function()
      request_details(view)
      view.throttle:request()
    end)
    subscribe()
    vim.api.nvim_create_autocmd("BufWinEnter", {
      buffer = buffer,
      callback = function()
        view.throttle:request()
      end,
    })
    vim.api.nvim_create_autocmd({ "WinResized", "VimResized" }, {
      callback = function()
        if not vim.api.nvim_buf_is_valid(buffer) then
          return true
        end
        view.throttle:request()
      end,
    })
  end
  return view
end

local window_options = { wrap = false, number = false, relativenumber = false, cursorline = true, signcolumn = "no", spell = false, list = false, winfixheight = true, max_height = 0.5 }

-- Opens the list and moves the focus there.
---@return integer buffer
function M.open()
  local view = view_of("loomd://runs")
  local window_was_there = window.find(view.buffer) ~= nil
  window.show(view.buffer, config.get().split, window_options)
  server.when_ready(function(failure)
    if failure then
      view.throttle:request()
    else
      request_details(view)
    end
  end)
  view.placed = window_was_there
  redraw(view)
  return view.buffer
end

-- Opens the list of all runs, page by page.
---@param folder? string only runs in this directory
---@return integer buffer
function M.history(folder)
  local view = view_of("loomd://history")
  view.limit, view.folder, view.external = math.huge, folder, nil
  window.show(view.buffer, config.get().split, window_options)
  view.placed, view.next_cursors = false, {}
  local first_pages = { [""] = false }
  for _, name in ipairs(folder and {} or hosts.ready_names()) do
    first_pages[name] = false
  end
  load_more(view, first_pages)
  return view.buffer
end

-- The host under whose heading's line the cursor is.
---@return string?
function M.host_at_cursor()
  local view = views[vim.api.nvim_buf_get_name(0)]
  return view and view.host_rows[vim.api.nvim_win_get_cursor(0)[1]]
end

---@return string?
function M.run_at_cursor()
  local view = views[vim.api.nvim_buf_get_name(0)]
  return view and view.rows[vim.api.nvim_win_get_cursor(0)[1]]
end

return M
