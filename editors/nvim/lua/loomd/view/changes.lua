-- The changes of a run in a tab page: the files on the left, the old and the new text side by side. Each hunk or file is
-- kept or undone. `q` closes the tab page.

local change = require("loomd.change")
local format = require("loomd.format")
local notify = require("loomd.notify")
local review = require("loomd.view.review")
local run_id = require("loomd.run_id")
local server = require("loomd.server")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_changes")

---@class loomd.ChangesView
---@field files loomd.ChangedFile[] with the texts as they were when a file was first shown, without what was undone
---@field decided table<integer, string> file → "kept" or "undone"
---@field kept table<integer, table<string, boolean>> file → its hunks that are kept, by their new lines
---@field current integer
---@field show fun(index: integer) shows a file
---@field mark_list fun() draws the list of files again
---@field tab integer
---@field list integer window
---@field sides integer[] windows
---@field run loomd.Run
---@field augroup integer its autocommands close the view with its windows

---@type table<integer, loomd.ChangesView>
local views = {}

local marks = { add = "A", modify = "M", delete = "D", move = "R" }

---@param view loomd.ChangesView
local function create_buffer(view, name, text, filetype)
  local buffer = vim.api.nvim_create_buf(false, true)
  pcall(vim.api.nvim_buf_set_name, buffer, name)
  -- Commands without a run take the run of this buffer.
  vim.b[buffer].loomd_run = view.run.id
  local lines = vim.split(text, "\n")
  if lines[#lines] == "" then
    lines[#lines] = nil
  end
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].bufhidden = "wipe"
  if filetype then
    vim.bo[buffer].filetype = filetype
  end
  return buffer
end

local show

---@param view loomd.ChangesView
local function close(view)
  views[view.tab] = nil
  vim.api.nvim_del_augroup_by_id(view.augroup)
  if vim.api.nvim_tabpage_is_valid(view.tab) then
    if #vim.api.nvim_list_tabpages() > 1 then
      vim.cmd(("tabclose! %d"):format(vim.api.nvim_tabpage_get_number(view.tab)))
    else
      vim.cmd("only | diffoff | enew")
    end
  end
end

local function map(view, buffer)
  local function key(lhs, what, act)
    vim.keymap.set("n", lhs, act, { buffer = buffer, nowait = true, desc = "loomd: " .. what })
  end
  key("]f", "next file", function()
    show(view, view.current % #view.files + 1)
  end)
  key("[f", "previous file", function()
    show(view, (view.current - 2) % #view.files + 1)
  end)
  for _, each in ipairs(review.keys) do
    key(each[1], each[2], function()
      each[3](view)
    end)
  end
  key("q", "close the changes", function()
    close(view)
  end)
  key("gf", "open the file in a new tab", function()
    local file, elsewhere = view.files[view.current], run_id.elsewhere(view.run)
    if elsewhere then
      return notify.show("Not opened: " .. elsewhere, vim.log.levels.WARN)
    end
    vim.cmd("tabedit " .. vim.fn.fnameescape(change.absolute_path(view.run, file.path)))
  end)
  for _, lhs in ipairs({ "g?", "?" }) do
    key(lhs, "show this help", function()
      require("loomd.window").float(vim.list_extend({
        " ]f     next file",
        " [f     previous file",
        " <CR>   show the file under the cursor (in the list)",
        " gf     open the file in a new tab",
        " q      close the changes",
        " g?     show this help",
      }, review.help), "Keymaps")
    end)
  end
end

-- The windows belong together: when the user closes one, all are closed. Scheduled, because Neovim does not allow it
-- while a window is being closed.
---@param view loomd.ChangesView
local function link_windows(view)
  vim.api.nvim_create_autocmd("WinClosed", {
    group = view.augroup,
    callback = function(args)
      local closed = tonumber(args.match)
      if closed == view.list or vim.tbl_contains(view.sides, closed) then
        vim.schedule(function()
          if views[view.tab] == view then
            close(view)
          end
        end)
      end
    end,
  })
end

---@param view loomd.ChangesView
local function list_lines(view)
  local lines = {}
  for index, file in ipairs(view.files) do
    local decided = view.decided[index]
    lines[index] = ("%s %s%s"):format(marks[file.kind] or "?", change.display_path(view.run, file.path), decided and " · " .. decided or "")
  end
  return lines
end

local function mark_list(view)
  local buffer = vim.api.nvim_win_get_buf(view.list)
  vim.bo[buffer].modifiable = true
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, list_lines(view))
  vim.bo[buffer].modifiable = false
  vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
  vim.api.nvim_buf_set_extmark(buffer, namespace, view.current - 1, 0, { line_hl_group = "CursorLine", number_hl_group = "LoomdKey" })
  pcall(vim.api.nvim_win_set_cursor, view.list, { view.current, 0 })
end

---@param view loomd.ChangesView
show = function(view, index)
  view.current = index
  local file = view.files[index]
  local from_list = vim.api.nvim_get_current_win() == view.list
  vim.api.nvim_set_current_win(view.sides[1])
  vim.cmd.diffoff({ bang = true })
  local old, new = change.sides(view.run, file)
  file.oldText, file.newText = old, new
  local filetype = vim.filetype.match({ filename = file.path, contents = vim.split(new or old or "", "\n") })
  local name = ("loomd://%s/%s"):format(format.short_id(view.run.id), change.display_path(view.run, file.path))
  if old then
    if not vim.api.nvim_win_is_valid(view.sides[2] or -1) then
      vim.api.nvim_set_current_win(view.sides[1])
      vim.cmd("rightbelow vsplit")
      view.sides[2] = vim.api.nvim_get_current_win()
    end
    local texts = { { "before", old }, { "after", new } }
    for side, each in ipairs(texts) do
      local buffer = create_buffer(view, name .. "#" .. each[1], each[2], filetype)
      vim.api.nvim_win_set_buf(view.sides[side], buffer)
      vim.api.nvim_win_call(view.sides[side], vim.cmd.diffthis)
      vim.api.nvim_set_option_value("winbar", (" %s · %s"):format(change.display_path(view.run, file.path):gsub("%%", "%%%%"), each[1]), { scope = "local", win = view.sides[side] })
      map(view, buffer)
    end
  else
    -- The file has only a patch, so the second window is closed; `view.sides` is changed first, so that this does
    -- not close the view.
    local second = view.sides[2]
    view.sides[2] = nil
    if vim.api.nvim_win_is_valid(second or -1) then
      vim.api.nvim_win_close(second, true)
    end
    local buffer = create_buffer(view, name .. "#patch", file.patch or "No diff available", "diff")
    vim.api.nvim_win_set_buf(view.sides[1], buffer)
    vim.api.nvim_set_option_value("winbar", (" %s · patch"):format(change.display_path(view.run, file.path):gsub("%%", "%%%%")), { scope = "local", win = view.sides[1] })
    map(view, buffer)
  end
  mark_list(view)
  vim.api.nvim_set_current_win(from_list and view.list or view.sides[old and 2 or 1])
end

---@param run loomd.Run
---@param result { files: table[], complete: boolean }
---@return loomd.ChangesView
function M.show(run, result)
  vim.cmd("tabnew")
  local tab = vim.api.nvim_get_current_tabpage()
  local view = { files = vim.deepcopy(result.files), decided = {}, kept = {}, current = 1, tab = tab, run = run, sides = { vim.api.nvim_get_current_win() } }
  local empty = vim.api.nvim_get_current_buf()
  vim.bo[empty].bufhidden = "wipe"
  view.show = function(index)
    show(view, index)
  end
  view.mark_list = function()
    mark_list(view)
  end
  views[tab] = view
  view.augroup = vim.api.nvim_create_augroup("loomd_changes_" .. tab, { clear = true })
  link_windows(view)
  local lines, widest = list_lines(view), 20
  for _, line in ipairs(lines) do
    widest = math.max(widest, vim.fn.strdisplaywidth(line) + 10)
  end
  vim.cmd(("topleft %dvsplit"):format(math.min(widest, math.floor(vim.o.columns / 3))))
  view.list = vim.api.nvim_get_current_win()
  local list = create_buffer(view, ("loomd://%s/changes"):format(format.short_id(run.id)), table.concat(lines, "\n"), "loomd-changes")
  vim.api.nvim_win_set_buf(view.list, list)
  require("loomd.window").set_options(view.list, {
    wrap = false,
    number = false,
    relativenumber = false,
    winfixwidth = true,
    cursorline = true,
    winbar = result.complete == false and " may be incomplete " or (" %s changed "):format(format.count(#result.files, "file")),
  })
  map(view, list)
  vim.keymap.set("n", "<CR>", function()
    show(view, vim.api.nvim_win_get_cursor(view.list)[1])
  end, { buffer = list, nowait = true, desc = "loomd: show this file" })
  show(view, 1)
  return view
end

-- Requests the changes of a run and shows them.
---@param run loomd.Run
---@param done? fun(view?: loomd.ChangesView)
function M.open(run, done)
  server.request("run/changes", { runId = run.id }, function(failure, result)
    local view
    if failure then
      notify.show(format.failure(failure, "Could not show changes"), vim.log.levels.ERROR)
    elseif #(result.files or {}) == 0 then
      notify.show(
        result.complete == false and "No recorded changes (commands may have changed files)" or "No changes"
      )
    else
      view = M.show(run, result)
    end
    if done then
      done(view)
    end
  end)
end

return M
