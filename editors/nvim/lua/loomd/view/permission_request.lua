-- A permission request in a floating window: the whole of what is asked, and the options. Closing the window does not
-- answer the request; an answer from elsewhere closes the window.
--
-- Keys work only when the window has been there for a moment, so that none that was meant for something else answers,
-- and when the end of what is asked was on the screen.

local draw = require("loomd.draw")
local format = require("loomd.format")
local notify = require("loomd.notify")
local permission = require("loomd.permission")
local store = require("loomd.store")
local window = require("loomd.window")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_question")

-- So long keys do nothing after a request has appeared or got the focus.
local delay_ms = 600

---@class loomd.RequestView
---@field run_id string
---@field permission_id string
---@field buffer integer
---@field window integer
---@field stop fun()
---@field is_armed? boolean the delay is over
---@field is_seen? boolean the end of what is asked was on the screen

---@type loomd.RequestView?
local current
-- The request that is being loaded.
local loading

-- Breaks a line at the width of the window, so that each line is one row of the screen.
local function rows_of(line, width)
  if vim.fn.strdisplaywidth(line) <= width then
    return { line }
  end
  local rows, row, cells = {}, {}, 0
  for _, char in ipairs(vim.fn.split(line, "\\zs")) do
    local char_cells = vim.fn.strdisplaywidth(char, cells)
    if cells + char_cells > width - 2 then
      rows[#rows + 1] = table.concat(row) .. " ↩"
      row, cells, char_cells = {}, 0, vim.fn.strdisplaywidth(char)
    end
    row[#row + 1] = char
    cells = cells + char_cells
  end
  rows[#rows + 1] = table.concat(row)
  return rows
end

---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param parts loomd.ShownPart[]
---@return string[] lines, { row: integer, group: string }[] marks, { row: integer, lines: string[] }[] diffs
local function content(run, entry, parts)
  local lines, marks, diffs = {}, {}, {}
  local width = math.max(20, vim.o.columns - 7)
  local function add(text, group)
    for _, line in ipairs(vim.split(text, "\n")) do
      for _, row in ipairs(rows_of(line, width)) do
        lines[#lines + 1] = row
        if group then
          marks[#marks + 1] = { row = #lines - 1, group = group }
        end
      end
    end
  end
  add(("%s wants to %s"):format(format.who(run), draw.verb(entry.toolCall.kind)), "LoomdQuestion")
  add(("in %s · run %s: %s"):format(format.folder(run), format.short_id(run.id), format.title(run)), "LoomdQuiet")
  for index, part in ipairs(parts) do
    add("")
    if index > 1 or part.label ~= "title" then
      add(part.label, "LoomdHeading")
    end
    local first = #lines
    add((part.text:gsub("\n$", "")), index == 1 and "LoomdTool" or nil)
    if part.label == "diff" then
      diffs[#diffs + 1] = { row = first, lines = vim.list_slice(lines, first + 1) }
    end
  end
  add("")
  for index, option in ipairs(entry.options or {}) do
    add(("  %d  %s"):format(index, format.one_line(option.name)), "LoomdKey")
  end
  return lines, marks, diffs
end

local function close()
  if not current then
    return
  end
  local old = current
  current = nil
  old.stop()
  if vim.api.nvim_win_is_valid(old.window) then
    vim.api.nvim_win_close(old.window, true)
  end
end

-- What the keys do now, from the longest to the shortest.
local function footer()
  local footers = { "a allow · d deny · q close", "a/d/q" }
  if vim.api.nvim_get_current_win() ~= current.window then
    footers = { ":Loomd next to focus" }
  elseif not current.is_armed then
    footers = { "…" }
  elseif not current.is_seen then
    footers = { "<Space> next page · q close", "<Space>" }
  else
    table.insert(footers, 1, "a allow · A always · d deny · m deny with reason · q close")
  end
  return window.fitting(footers)
end

-- The last line in the window: each line is one row.
local function last_row(win)
  return vim.fn.line("w0", win) + vim.api.nvim_win_get_height(win) - 1
end

local function update(run, entry)
  if not current.is_seen and last_row(current.window) >= vim.api.nvim_buf_line_count(current.buffer) then
    current.is_seen = true
  end
  if current.is_seen and current.is_armed then
    permission.set_seen(run, entry)
  end
  vim.api.nvim_win_set_config(current.window, { footer = " " .. footer() .. " ", footer_pos = "right" })
end

-- Lets keys work after the delay. What was pressed before is dropped, also what Neovim has not read yet.
local function arm(run, entry)
  local view = current
  view.is_armed = false
  view.armings = (view.armings or 0) + 1
  local arming = view.armings
  vim.defer_fn(function()
    if current == view and view.armings == arming and vim.api.nvim_win_is_valid(view.window) then
      local count = 0
      while vim.api.nvim_get_current_win() == view.window and count < 1000 and vim.fn.getchar(0) ~= 0 do
        count = count + 1
      end
      view.is_armed = true
      update(run, entry)
    end
  end, delay_ms)
end

---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param parts loomd.ShownPart[]
---@param enter boolean
local function show(run, entry, parts, enter)
  close()
  local lines, marks, diffs = content(run, entry, parts)
  local pending = permission.pending()
  local count, position = #pending, 1
  for index, request in ipairs(pending) do
    if request.run.id == run.id and request.entry.permissionId == entry.permissionId then
      position = index
    end
  end
  local title = count > 1 and ("Permission request (%d/%d)"):format(position, count) or "Permission request"
  local buffer, win = window.float(lines, title, { enter = enter, footer = ("-"):rep(math.min(60, vim.o.columns - 10)) })
  window.set_options(win, { scrolloff = 0 })
  local view = { run_id = run.id, permission_id = entry.permissionId, buffer = buffer, window = win }
  current = view
  pcall(vim.api.nvim_buf_set_name, buffer, ("loomd://%s/request"):format(format.short_id(run.id)))
  vim.bo[buffer].filetype = "loomd-question"
  vim.b[buffer].loomd_run = run.id
  for _, each in ipairs(marks) do
    vim.api.nvim_buf_set_extmark(buffer, namespace, each.row, 0, { end_row = each.row + 1, hl_group = each.group, strict = false })
  end
  for _, diff in ipairs(diffs) do
    draw.highlight_diff(buffer, namespace, diff.row, diff.lines)
  end

  local function map(key, what, act, answers)
    vim.keymap.set("n", key, function()
      if not view.is_armed then
        return
      end
      update(run, entry)
      if answers and not view.is_seen then
        return notify.show("Not all of the request was shown yet; <Space> pages to its end")
      end
      act()
    end, { buffer = buffer, nowait = true, desc = "loomd: " .. what })
  end
  for index, option in ipairs(entry.options or {}) do
    if index <= 9 then
      map(tostring(index), option.name, function()
        permission.answer(run, entry, { optionId = option.optionId })
      end, true)
    end
  end
  map("a", "allow", function()
    permission.decide(run, entry, "allow")
  end, true)
  map("A", "always allow exactly this", function()
    permission.always_allow(run, entry)
  end, true)
  map("d", "deny", function()
    permission.decide(run, entry, "deny")
  end, true)
  map("m", "deny with reason", function()
    vim.ui.input({ prompt = "Reason: " }, function(text)
      if text then
        permission.decide(run, entry, "deny", text)
      end
    end)
  end, true)
  map("n", "next permission request", function()
    M.next(nil, true)
  end)
  for _, key in ipairs({ "q", "<Esc>" }) do
    map(key, "close", window.close)
  end
  map("<Space>", "next page", function()
    -- The last line stays at the bottom, so that its page is full.
    local last_top = vim.api.nvim_buf_line_count(buffer) - vim.api.nvim_win_get_height(win) + 1
    local top = math.max(1, math.min(last_row(win) + 1, last_top))
    vim.fn.winrestview({ topline = top, lnum = top })
    update(run, entry)
  end)

  -- The window closes whoever answers the request.
  view.stop = store.subscribe("runs", function(id, changed)
    if id == run.id and not (changed and store.find_permission(changed, entry.permissionId)) then
      local more = #permission.pending()
      close()
      if enter and more > 0 then
        notify.show(("%d more pending, :Loomd next"):format(more))
      end
    end
  end)
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = buffer,
    callback = function()
      view.stop()
      current = current ~= view and current or nil
    end,
  })
  vim.api.nvim_create_autocmd({ "CursorMoved", "WinScrolled" }, {
    buffer = buffer,
    callback = function()
      if current == view then
        update(run, entry)
      end
    end,
  })
  vim.api.nvim_create_autocmd("WinEnter", {
    buffer = buffer,
    callback = function()
      if current == view then
        arm(run, entry)
      end
    end,
  })
  arm(run, entry)
  update(run, entry)
end

-- Shows a permission request. With `enter = false` the focus does not move.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param options? { enter?: boolean }
function M.open(run, entry, options)
  local enter = not options or options.enter ~= false
  local key = run.id .. entry.permissionId
  loading = key
  if current and current.run_id == run.id and current.permission_id == entry.permissionId and vim.api.nvim_win_is_valid(current.window) then
    if enter then
      vim.api.nvim_set_current_win(current.window)
    end
    return
  end
  permission.load_parts(run, entry, function(parts, problem)
    local known = store.runs[run.id]
    if loading ~= key or not (known and store.find_permission(known, entry.permissionId)) then
      return
    elseif not parts then
      return notify.show("Could not show the request: " .. problem, vim.log.levels.ERROR)
    end
    show(run, entry, parts, enter)
  end)
end

-- Shows the oldest pending request, of one run or of all. `after`: the request after the current one.
---@param run? loomd.Run
---@param after? boolean
function M.next(run, after)
  local pending = permission.pending()
  if run then
    pending = vim.tbl_filter(function(request)
      return request.run.id == run.id
    end, pending)
  end
  if #pending == 0 then
    notify.show(run and "No pending request for this run" or "No pending requests")
    return
  end
  local position = 1
  if after and current then
    for index, request in ipairs(pending) do
      if request.run.id == current.run_id and request.entry.permissionId == current.permission_id then
        position = index % #pending + 1
      end
    end
  end
  M.open(pending[position].run, pending[position].entry)
end

-- The window that is shown, for tests.
function M.current()
  return current
end

return M
