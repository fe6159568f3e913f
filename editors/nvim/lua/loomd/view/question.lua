-- A question in a float: the whole action and all its files, and the answers that it offers. Closing the float answers nothing; an answer
-- from elsewhere closes it.

local permission = require("loomd.permission")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_question")

---@type { run_id: string, permission_id: string, buffer: integer, window: integer, stop: fun() }?
local shown

---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@return string[] lines, { row: integer, group: string }[] marks, { row: integer, lines: string[] }[] diffs
local function content(run, entry)
  local call = entry.toolCall
  local lines, marks, diffs = {}, {}, {}
  local function add(text, group)
    for _, line in ipairs(vim.split(text, "\n")) do
      -- A control character could make a line look like another one.
      lines[#lines + 1] = (line:gsub("%c", function(char)
        return char == "\t" and "\t" or ("^" .. string.char((char:byte() + 64) % 128))
      end))
      if group then
        marks[#marks + 1] = { row = #lines - 1, group = group }
      end
    end
  end
  add(("%s asks to %s"):format(run.provider, toolcall.verb(call)), "LoomdQuestion")
  local command = toolcall.command(call)
  if call.title and words.one_line(call.title) ~= (command and words.one_line(command)) then
    add(call.title)
  end
  add(("in %s · run %s: %s"):format(vim.fn.fnamemodify(run.cwd, ":~"), words.short(run.id), words.title(run)), "LoomdQuiet")
  if command then
    add("")
    add(command, "LoomdTool")
  end
  local files = toolcall.file_lines(call)
  if #files > 0 then
    add("")
    add(#files == 1 and "1 file" or ("%d files"):format(#files), "LoomdHeading")
    for _, file in ipairs(files) do
      add("  " .. file)
    end
  end
  local said = toolcall.text_lines(call)
  if #said > 0 then
    add("")
    add(table.concat(said, "\n"))
  end
  local function diff(diff_lines)
    add("")
    diffs[#diffs + 1] = { row = #lines, lines = diff_lines }
    add(table.concat(diff_lines, "\n"))
  end
  local has_diff = false
  for _, part in ipairs(call.content or {}) do
    if part.type == "diff" then
      has_diff = true
      diff(toolcall.diff_lines(part))
    end
  end
  if not has_diff and toolcall.patch(call) ~= "" then
    diff(vim.split(toolcall.patch(call), "\n", { trimempty = true }))
  end
  -- What the diffs already say in full need not be said again.
  local input = not has_diff and toolcall.input_lines(call) or {}
  if #input > 0 then
    add("")
    add("Input", "LoomdHeading")
    for _, line in ipairs(input) do
      add("  " .. line)
    end
  end
  add("")
  for index, option in ipairs(entry.options or {}) do
    add(("  %d  %s"):format(index, option.name), "LoomdKey")
  end
  return lines, marks, diffs
end

local function close()
  if not shown then
    return
  end
  local old = shown
  shown = nil
  old.stop()
  if vim.api.nvim_win_is_valid(old.window) then
    vim.api.nvim_win_close(old.window, true)
  end
end

-- Shows a question. With `enter = false` it is only shown: the focus stays where it is.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param options? { enter?: boolean }
---@return integer buffer
function M.open(run, entry, options)
  local enter = not options or options.enter ~= false
  if shown and shown.run_id == run.id and shown.permission_id == entry.permissionId and vim.api.nvim_win_is_valid(shown.window) then
    if enter then
      vim.api.nvim_set_current_win(shown.window)
    end
    return shown.buffer
  end
  close()
  local lines, marks, diffs = content(run, entry)
  local open = permission.open()
  local count, place = #open, 1
  for index, question in ipairs(open) do
    if question.run.id == run.id and question.entry.permissionId == entry.permissionId then
      place = index
    end
  end
  local buffer, win = window.float(lines, count > 1 and ("waiting %d of %d"):format(place, count) or "waiting for you", {
    enter = enter,
    footer = enter and "a allow · A always just this · d deny · m deny and why · q not now" or ":Loomd next goes here",
  })
  pcall(vim.api.nvim_buf_set_name, buffer, "loomd://question/" .. words.short(run.id))
  vim.bo[buffer].filetype = "loomd-question"
  vim.b[buffer].loomd_run = run.id
  for _, each in ipairs(marks) do
    vim.api.nvim_buf_set_extmark(buffer, namespace, each.row, 0, { end_row = each.row + 1, hl_group = each.group, strict = false })
  end
  for _, diff in ipairs(diffs) do
    toolcall.highlight_diff(buffer, namespace, diff.row, diff.lines)
  end

  local function map(key, what, act)
    vim.keymap.set("n", key, act, { buffer = buffer, nowait = true, desc = "loomd: " .. what })
  end
  for index, option in ipairs(entry.options or {}) do
    if index <= 9 then
      map(tostring(index), option.name, function()
        permission.answer(run, entry, { optionId = option.optionId })
      end)
    end
  end
  map("a", "allow", function()
    permission.decide(run, entry, "allow")
  end)
  map("A", "always allow just this", function()
    permission.always(run, entry)
  end)
  map("d", "deny", function()
    permission.decide(run, entry, "deny")
  end)
  map("m", "deny and say why", function()
    vim.ui.input({ prompt = "Deny, because: " }, function(text)
      if text then
        permission.decide(run, entry, "deny", text)
      end
    end)
  end)
  map("n", "next question", function()
    M.next(nil, true)
  end)

  -- Whoever answers, the question is over.
  local stop = store.on("runs", function(id, changed)
    if id == run.id and not (changed and store.permission(changed, entry.permissionId)) then
      local more = #permission.open()
      close()
      if enter and more > 0 then
        words.say(("%d more waiting: :Loomd next"):format(more))
      end
    end
  end)
  shown = { run_id = run.id, permission_id = entry.permissionId, buffer = buffer, window = win, stop = stop }
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = buffer,
    callback = function()
      if shown and shown.buffer == buffer then
        shown.stop()
        shown = nil
      end
    end,
  })
  return buffer
end

-- Shows the question that waits longest, of this run or of all. `after`: the one behind the one that is shown.
---@param run? loomd.Run
---@param after? boolean
---@return integer? buffer
function M.next(run, after)
  local open = permission.open()
  if run then
    open = vim.tbl_filter(function(question)
      return question.run.id == run.id
    end, open)
  end
  if #open == 0 then
    words.say(run and "this run asks nothing" or "nothing waits for you")
    return
  end
  local place = 1
  if after and shown then
    for index, question in ipairs(open) do
      if question.run.id == shown.run_id and question.entry.permissionId == shown.permission_id then
        place = index % #open + 1
      end
    end
  end
  return M.open(open[place].run, open[place].entry)
end

-- For tests.
function M.shown()
  return shown
end

return M
