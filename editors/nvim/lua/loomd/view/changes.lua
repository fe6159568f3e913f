-- What a run changed, in a tab of its own: the files on the left, the old and the new text side by side. `q` closes all of it.

local server = require("loomd.server")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_changes")

---@class loomd.ChangesView
---@field files { path: string, kind: string, patch?: string, oldText?: string, newText?: string }[]
---@field at integer
---@field tab integer
---@field list integer window
---@field sides integer[] windows
---@field run loomd.Run
---@field augroup integer what happens when one of the windows is closed

---@type table<integer, loomd.ChangesView>
local views = {}

local marks = { add = "A", modify = "M", delete = "D", move = "R" }

-- The old text, from the new one and a patch; nil where the patch does not fit.
local function without_patch(new, patch)
  local lines = vim.split(new, "\n")
  local out, at = {}, 1
  local text = vim.split(patch, "\n")
  local index = 1
  while index <= #text do
    local start, count = text[index]:match("^@@ %-%d+,?%d* %+(%d+),?(%d*) @@")
    if start then
      local first = tonumber(start) + (count == "0" and 1 or 0)
      while at < first do
        out[#out + 1] = lines[at]
        at = at + 1
      end
      index = index + 1
      while index <= #text and not text[index]:find("^@@ ") and not text[index]:find("^diff ") do
        local mark, rest = text[index]:sub(1, 1), text[index]:sub(2)
        if mark == "+" or mark == " " then
          if lines[at] ~= rest then
            return nil
          end
          at = at + 1
        end
        if mark == "-" or mark == " " then
          out[#out + 1] = rest
        end
        index = index + 1
      end
    else
      index = index + 1
    end
  end
  while at <= #lines do
    out[#out + 1] = lines[at]
    at = at + 1
  end
  return table.concat(out, "\n")
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

local function absolute(view, path)
  return path:sub(1, 1) == "/" and path or vim.fs.joinpath(view.run.cwd, path)
end

-- As short as it is clear: from the run's directory, where it is below it.
local function shown(view, path)
  local folder = view.run.cwd:sub(-1) == "/" and view.run.cwd or view.run.cwd .. "/"
  return vim.startswith(path, folder) and path:sub(#folder + 1) or path
end

-- Old and new text of a file, or nil where only the patch is known.
---@return string? old, string? new
function M.sides(view, file)
  if file.oldText or file.newText then
    return file.oldText or "", file.newText or ""
  elseif file.patch and file.kind ~= "delete" then
    local new = read(absolute(view, file.path))
    local old = new and without_patch(new, file.patch)
    if old then
      return old, new
    end
  end
end

---@param view loomd.ChangesView
local function scratch(view, name, text, filetype)
  local buffer = vim.api.nvim_create_buf(false, true)
  pcall(vim.api.nvim_buf_set_name, buffer, name)
  -- Commands about a run mean this one here.
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
    show(view, view.at % #view.files + 1)
  end)
  key("[f", "previous file", function()
    show(view, (view.at - 2) % #view.files + 1)
  end)
  key("q", "close the diff", function()
    close(view)
  end)
  key("gf", "open the file itself", function()
    local file = view.files[view.at]
    vim.cmd("tabedit " .. vim.fn.fnameescape(absolute(view, file.path)))
  end)
  key("?", "these keys", function()
    require("loomd.window").float({ " ]f     next file", " [f     previous file", " <CR>   the file under the cursor, in the list", " ]c [c  next and previous change", " gf     open the file itself", " q      close all of it" }, "keys")
  end)
end

-- None of the windows is of use without the others: when a person closes one, all go. They may not while that one is being closed.
---@param view loomd.ChangesView
local function close_together(view)
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

local function mark_list(view)
  local buffer = vim.api.nvim_win_get_buf(view.list)
  vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
  vim.api.nvim_buf_set_extmark(buffer, namespace, view.at - 1, 0, { line_hl_group = "CursorLine", number_hl_group = "LoomdKey" })
  pcall(vim.api.nvim_win_set_cursor, view.list, { view.at, 0 })
end

---@param view loomd.ChangesView
show = function(view, index)
  view.at = index
  local file = view.files[index]
  local from_list = vim.api.nvim_get_current_win() == view.list
  vim.api.nvim_set_current_win(view.sides[1])
  vim.cmd.diffoff({ bang = true })
  local old, new = M.sides(view, file)
  local filetype = vim.filetype.match({ filename = file.path, contents = vim.split(new or old or "", "\n") })
  local name = ("loomd://changes/%s/%s"):format(words.short(view.run.id), shown(view, file.path))
  if old then
    if not vim.api.nvim_win_is_valid(view.sides[2] or -1) then
      vim.api.nvim_set_current_win(view.sides[1])
      vim.cmd("rightbelow vsplit")
      view.sides[2] = vim.api.nvim_get_current_win()
    end
    local texts = { { "before", old }, { "after", new } }
    for side, each in ipairs(texts) do
      local buffer = scratch(view, name .. "#" .. each[1], each[2], filetype)
      vim.api.nvim_win_set_buf(view.sides[side], buffer)
      vim.api.nvim_win_call(view.sides[side], vim.cmd.diffthis)
      vim.api.nvim_set_option_value("winbar", (" %s · %s"):format(shown(view, file.path):gsub("%%", "%%%%"), each[1]), { scope = "local", win = view.sides[side] })
      map(view, buffer)
    end
  else
    -- This side goes because the file has none; no person closed it.
    local second = view.sides[2]
    view.sides[2] = nil
    if vim.api.nvim_win_is_valid(second or -1) then
      vim.api.nvim_win_close(second, true)
    end
    local buffer = scratch(view, name .. "#patch", file.patch or "no text is known of this change", "diff")
    vim.api.nvim_win_set_buf(view.sides[1], buffer)
    vim.api.nvim_set_option_value("winbar", (" %s · patch"):format(shown(view, file.path):gsub("%%", "%%%%")), { scope = "local", win = view.sides[1] })
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
  local view = { files = result.files, at = 1, tab = tab, run = run, sides = { vim.api.nvim_get_current_win() } }
  local empty = vim.api.nvim_get_current_buf()
  vim.bo[empty].bufhidden = "wipe"
  views[tab] = view
  view.augroup = vim.api.nvim_create_augroup("loomd_changes_" .. tab, { clear = true })
  close_together(view)
  local lines, widest = {}, 20
  for _, file in ipairs(result.files) do
    lines[#lines + 1] = ("%s %s"):format(marks[file.kind] or "?", shown(view, file.path))
    widest = math.max(widest, vim.fn.strdisplaywidth(lines[#lines]) + 2)
  end
  vim.cmd(("topleft %dvsplit"):format(math.min(widest, math.floor(vim.o.columns / 3))))
  view.list = vim.api.nvim_get_current_win()
  local list = scratch(view, ("loomd://changes/%s"):format(words.short(run.id)), table.concat(lines, "\n"), "loomd-changes")
  vim.api.nvim_win_set_buf(view.list, list)
  require("loomd.window").set(view.list, {
    wrap = false,
    number = false,
    relativenumber = false,
    winfixwidth = true,
    cursorline = true,
    winbar = result.complete == false and " commands may have changed more " or (" %d changed "):format(#result.files),
  })
  map(view, list)
  vim.keymap.set("n", "<CR>", function()
    show(view, vim.api.nvim_win_get_cursor(view.list)[1])
  end, { buffer = list, nowait = true, desc = "loomd: show this file" })
  show(view, 1)
  return view
end

-- Asks what a run changed, and shows it.
---@param run loomd.Run
---@param done? fun(view?: loomd.ChangesView)
function M.open(run, done)
  server.request("run/changes", { runId = run.id }, function(failure, result)
    local view
    if failure then
      words.say(words.failure(failure, "changes"), vim.log.levels.ERROR)
    elseif #(result.files or {}) == 0 then
      words.say(
        result.complete == false and "no change is on record, but commands of this run may have written files" or "this run changed no files"
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
