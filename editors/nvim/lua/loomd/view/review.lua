-- What a reader decides about the changes in the tab page of `view.changes`: a hunk or a file is kept or undone. Also moves
-- from change to change, and to the step that made one.

local change = require("loomd.change")
local format = require("loomd.format")
local notify = require("loomd.notify")

local M = {}

-- The hunk under the cursor, or nearest to it on its side.
---@param view loomd.ChangesView
---@return loomd.Hunk? hunk, loomd.Hunk[] all
local function current_hunk(view)
  local file = view.files[view.current]
  local hunks = file.oldText and change.hunks(file.oldText, file.newText) or {}
  local window = vim.api.nvim_get_current_win()
  local side = window == view.sides[1] and "old" or "new"
  local row = vim.api.nvim_win_get_cursor(window == view.list and view.sides[2] or window)[1]
  local nearest, distance
  for _, hunk in ipairs(hunks) do
    local first, count = hunk[side][1], hunk[side][2]
    local away = math.max(first - row, row - (first + math.max(count, 1) - 1), 0)
    if not distance or away < distance then
      nearest, distance = hunk, away
    end
  end
  return nearest, hunks
end

local function key_of(file, hunk)
  local lines = vim.list_slice(vim.split(file.newText, "\n"), hunk.new[1], hunk.new[1] + hunk.new[2] - 1)
  return hunk.old[1] .. "\n" .. table.concat(lines, "\n")
end

-- Shows the changes as they are after an undo, with the cursor where it was.
local function refresh(view)
  local cursor, window = vim.api.nvim_win_get_cursor(0), vim.api.nvim_get_current_win()
  view.show(view.current)
  if vim.api.nvim_win_is_valid(window) then
    vim.api.nvim_set_current_win(window)
    pcall(vim.api.nvim_win_set_cursor, window, cursor)
  end
  require("loomd.events").files_changed(view.run, { view.files[view.current].path })
end

local function decide(view, word)
  view.decided[view.current] = word
  view.mark_list()
end

local function report(view, problem)
  local path = change.display_path(view.run, view.files[view.current].path)
  notify.show(("Not undone: %s: %s"):format(path, problem), vim.log.levels.WARN)
end

local function undo_file(view)
  local file = view.files[view.current]
  local problem = change.undo(view.run, file)
  if problem then
    return report(view, problem)
  end
  if file.kind ~= "delete" then
    file.newText = file.oldText
  end
  decide(view, "undone")
  refresh(view)
end

local function undo_hunk(view)
  local file = view.files[view.current]
  local hunk, hunks = current_hunk(view)
  if not hunk then
    return report(view, file.oldText and "there is no change" or "the text before is not known")
  elseif #hunks == 1 or file.kind == "add" or file.kind == "delete" then
    return undo_file(view)
  end
  local problem = change.undo(view.run, file, { hunk })
  if problem then
    return report(view, problem)
  end
  file.newText = change.without_hunks(file.newText, file.oldText, file.newText, { hunk })
  refresh(view)
end

-- Moves the cursor to the next change, or to the first or last one of the next file.
local function move_change(view, step)
  if vim.api.nvim_get_current_win() == view.list then
    vim.api.nvim_set_current_win(view.sides[2] or view.sides[1])
  end
  local before = vim.api.nvim_win_get_cursor(0)[1]
  pcall(vim.cmd.normal, { step > 0 and "]c" or "[c", bang = true })
  if vim.api.nvim_win_get_cursor(0)[1] == before and #view.files > 1 then
    view.show((view.current - 1 + step) % #view.files + 1)
    vim.cmd.normal({ step > 0 and "gg" or "G", bang = true })
    local file = view.files[view.current]
    local first = file.oldText and change.hunks(file.oldText, file.newText)[1]
    if step < 0 or first and first.new[1] > 1 then
      pcall(vim.cmd.normal, { step > 0 and "]c" or "[c", bang = true })
    end
  end
end

local function keep_hunk(view)
  local file = view.files[view.current]
  local hunk, hunks = current_hunk(view)
  if not hunk then
    return
  end
  local kept = view.kept[view.current] or {}
  view.kept[view.current] = kept
  kept[key_of(file, hunk)] = true
  local all = vim.iter(hunks):all(function(each)
    return kept[key_of(file, each)]
  end)
  decide(view, all and "kept" or nil)
  move_change(view, 1)
end

-- Opens the transcript, in a tab page of its own, at the newest step that wrote the hunk under the cursor.
local function show_step(view)
  local file, hunk = view.files[view.current], current_hunk(view)
  local path = change.absolute_path(view.run, file.path)
  local line = hunk and hunk.new[2] > 0 and vim.split(file.newText, "\n")[hunk.new[1]]
  require("loomd.view.full").read_items(view.run, function(items)
    local step
    for _, block in ipairs(items.blocks) do
      for _, diff in ipairs(block.item.diffs or {}) do
        local is_same = change.absolute_path(view.run, diff.path) == path
        if is_same and (not step or not line or (diff.newText or diff.patch or ""):find(line, 1, true)) then
          step = block.item
        end
      end
    end
    if not step then
      return notify.show("No step of this run names the file")
    end
    vim.cmd.tabnew()
    local empty = vim.api.nvim_get_current_buf()
    require("loomd.view.full").transcript(view.run, function()
      pcall(vim.api.nvim_buf_delete, empty, {})
    end, {
      seq = step.seq,
      matches = function(text)
        return text:find("### ", 1, true) == 1 and text:find(format.one_line(step.title), 1, true) ~= nil
      end,
    })
  end)
end

-- Keys of the tab page. `do` and `dp` are what diff mode has for them: they get the old text here, or put it there.
---@type { [1]: string, [2]: string, [3]: fun(view: loomd.ChangesView) }[]
M.keys = {
  { "]c", "next change", function(view)
    move_change(view, 1)
  end },
  { "[c", "previous change", function(view)
    move_change(view, -1)
  end },
  { "do", "undo the change", undo_hunk },
  { "dp", "undo the change", undo_hunk },
  { "gk", "keep the change", keep_hunk },
  { "gU", "undo all changes of the file", undo_file },
  { "gK", "keep all changes of the file", function(view)
    decide(view, "kept")
  end },
  { "gs", "show the step that made the change", show_step },
}

M.help = {
  " ]c [c  next and previous change, also of the next file",
  " do dp  undo the change under the cursor",
  " gk     keep it",
  " gU gK  undo or keep all changes of the file",
  " gs     show the step that made the change",
}

return M
