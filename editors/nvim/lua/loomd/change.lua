-- What a run changed in one file: the text before and after, the hunks between them, and undoing them. A hunk is undone only
-- where the file still has what the run wrote; what somebody has changed since stays as it is.

local run_id = require("loomd.run_id")

local M = {}

-- Lines around a hunk that have to be as the run left them.
local context_lines = 3

---@param path string
---@return string?
function M.read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

---@param run loomd.Run
---@param path string
function M.absolute_path(run, path)
  return path:sub(1, 1) == "/" and path or vim.fs.joinpath(run.cwd, path)
end

-- The path relative to the run's directory if it is below it, else the whole path.
---@param run loomd.Run
---@param path string
function M.display_path(run, path)
  local folder = run.cwd:sub(-1) == "/" and run.cwd or run.cwd .. "/"
  return require("loomd.format").one_line(vim.startswith(path, folder) and path:sub(#folder + 1) or path)
end

-- Computes the old text from the new one and a patch; nil if the patch does not apply.
local function without_patch(new, patch)
  local lines = vim.split(new, "\n")
  local out, next_line = {}, 1
  local text = vim.split(patch, "\n")
  local index = 1
  while index <= #text do
    local start, count = text[index]:match("^@@ %-%d+,?%d* %+(%d+),?(%d*) @@")
    if start then
      local first = tonumber(start) + (count == "0" and 1 or 0)
      while next_line < first do
        out[#out + 1] = lines[next_line]
        next_line = next_line + 1
      end
      index = index + 1
      while index <= #text and not text[index]:find("^@@ ") and not text[index]:find("^diff ") do
        local mark, rest = text[index]:sub(1, 1), text[index]:sub(2)
        if mark == "+" or mark == " " then
          if lines[next_line] ~= rest then
            return nil
          end
          next_line = next_line + 1
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
  while next_line <= #lines do
    out[#out + 1] = lines[next_line]
    next_line = next_line + 1
  end
  return table.concat(out, "\n")
end

-- The old and the new text of a file, or of the part that was replaced; nil if only the patch is known.
---@param file loomd.ChangedFile|loomd.FileDiff
---@param text? string what the file has
---@return string? old, string? new
local function sides_of(file, text)
  if file.oldText or file.newText then
    return file.oldText or "", file.newText or ""
  elseif file.patch and file.kind ~= "delete" and text then
    local old = without_patch(text, file.patch)
    if old then
      return old, text
    end
  end
end

---@param run loomd.Run
---@param file loomd.ChangedFile
---@return string? old, string? new
function M.sides(run, file)
  return sides_of(file, not run_id.host(run.id) and M.read_file(M.absolute_path(run, file.path)) or nil)
end

---@class loomd.Hunk lines from 1; a side without lines has the line before
---@field old { [1]: integer, [2]: integer } first line, count
---@field new { [1]: integer, [2]: integer }

-- A text without its last line feed has one here, so that a missing one is no hunk.
local function lines_of(text)
  local lines = vim.split(text, "\n", { plain = true })
  if lines[#lines] == "" then
    lines[#lines] = nil
  end
  return lines
end

---@param old string
---@param new string
---@return loomd.Hunk[]
function M.hunks(old, new)
  local compare = vim.text and vim.text.diff or vim.diff
  local function whole(text)
    return text == "" and "" or table.concat(lines_of(text), "\n") .. "\n"
  end
  local hunks = {}
  for _, each in ipairs(compare(whole(old), whole(new), { result_type = "indices" }) --[[@as integer[][] ]]) do
    hunks[#hunks + 1] = { old = { each[1], each[2] }, new = { each[3], each[4] } }
  end
  return hunks
end

-- The first line of a side, counted from 1, in front of which its lines begin.
local function first_line(side)
  return side[2] == 0 and side[1] + 1 or side[1]
end

local function lines_at(lines, at, wanted)
  for index, line in ipairs(wanted) do
    if lines[at + index - 1] ~= line then
      return false
    end
  end
  return true
end

-- Where `lines` have what a hunk left, with the lines around it: at `expected`, else at the only place that has it.
local function find_hunk(lines, new_lines, hunk, expected)
  local first = first_line(hunk.new)
  local from = math.max(1, first - context_lines)
  local to = math.min(#new_lines, first + hunk.new[2] - 1 + context_lines)
  local wanted, before = vim.list_slice(new_lines, from, to), first - from
  if lines_at(lines, expected - before, wanted) and (#wanted > 0 or #lines == 0) then
    return expected
  end
  local found
  for at = 1, #wanted > 0 and #lines - #wanted + 1 or 0 do
    if lines_at(lines, at, wanted) then
      if found then
        return nil
      end
      found = at + before
    end
  end
  return found
end

-- Takes hunks out of a text. Nil if it does not have all of them any more.
---@param text string
---@param old string
---@param new string
---@param hunks loomd.Hunk[]
---@return string?
function M.without_hunks(text, old, new, hunks)
  local lines, old_lines, new_lines = vim.split(text, "\n", { plain = true }), lines_of(old), lines_of(new)
  local ended = lines[#lines] == ""
  if ended then
    lines[#lines] = nil
  end
  local places = {}
  for _, hunk in ipairs(hunks) do
    local at = find_hunk(lines, new_lines, hunk, first_line(hunk.new))
    if not at then
      return nil
    end
    table.insert(places, { at = at, hunk = hunk })
  end
  -- From the last place on, so that the lines of the others do not move.
  table.sort(places, function(a, b)
    return a.at > b.at
  end)
  for index, place in ipairs(places) do
    local count, above = place.hunk.new[2], places[index + 1]
    if above and above.at + above.hunk.new[2] > place.at then
      return nil
    end
    local first = first_line(place.hunk.old)
    local replaced = vim.list_slice(lines, 1, place.at - 1)
    vim.list_extend(replaced, vim.list_slice(old_lines, first, first + place.hunk.old[2] - 1))
    lines = vim.list_extend(replaced, vim.list_slice(lines, place.at + count))
  end
  return table.concat(lines, "\n") .. (ended and #lines > 0 and "\n" or "")
end

-- Puts a part of lines back, if the text has it once.
local function without_part(text, old, new)
  local first, last = text:find(new, 1, true)
  if new ~= "" and first and not text:find(new, first + 1, true) then
    return text:sub(1, first - 1) .. old .. text:sub(last + 1)
  end
end

local function write_file(path, text)
  local file, problem = io.open(path, "wb")
  if not file then
    return problem
  end
  file:write(text)
  file:close()
end

local function has_unsaved_changes(path)
  local buffer = vim.fn.bufnr(path)
  return buffer ~= -1 and vim.api.nvim_buf_is_loaded(buffer) and vim.bo[buffer].modified
end

-- A change is what an agent says of it. So an undo stays in the folder of the run, links resolved, and out of .git: else
-- it could write for an agent what that one may not write itself.
local function is_outside(run, path)
  local cwd = vim.uv.fs_realpath(run.cwd)
  local parent, rest = vim.fs.dirname(path), vim.fs.basename(path)
  while not vim.uv.fs_realpath(parent) and parent ~= vim.fs.dirname(parent) do
    parent, rest = vim.fs.dirname(parent), vim.fs.joinpath(vim.fs.basename(parent), rest)
  end
  local whole = vim.uv.fs_realpath(path) or vim.fs.joinpath(vim.uv.fs_realpath(parent) or parent, rest)
  return not cwd or not vim.startswith(whole, vim.fs.joinpath(cwd, "")) or (whole .. "/"):find("/%.git/") ~= nil or rest:find("%.%./") ~= nil
end

-- Why nothing may be written to a file now.
---@param run loomd.Run
---@param path string absolute
---@return string?
function M.obstacle(run, path)
  return run_id.elsewhere(run) or is_outside(run, path) and "it is not in the folder of the run" or has_unsaved_changes(path) and "the file has unsaved changes" or nil
end

-- Takes a change, or hunks of it, out of a text.
---@param text? string nil: there is no file
---@param file loomd.ChangedFile|loomd.FileDiff
---@param hunks? loomd.Hunk[] default: all
---@return string|false|nil text false: there shall be no file
---@return string? problem
function M.without(text, file, hunks)
  local old, new = sides_of(file, text)
  if file.kind == "move" then
    return nil, "the old name of the file is not known"
  elseif not old or not new then
    return nil, "the text before is not known, or the file has changed since"
  elseif file.kind == "delete" then
    return not text and old or nil, text and "the file is there again" or nil
  elseif not text then
    return nil, "the file is gone"
  elseif file.kind == "add" and not hunks then
    if text == new then
      return false
    end
    return nil, "the file has changed since"
  elseif text == new and not hunks then
    return old
  end
  local without = M.without_hunks(text, old, new, hunks or M.hunks(old, new)) or not hunks and without_part(text, old, new) or nil
  return without, not without and "the file has changed there since" or nil
end

-- Writes a text, or removes the file.
---@param path string
---@param text string|false
---@return string? problem
function M.write(path, text)
  if text then
    return write_file(path, text)
  end
  return vim.uv.fs_lstat(path) and select(2, vim.uv.fs_unlink(path)) or nil
end

-- Writes the old text of hunks back.
---@param run loomd.Run
---@param file loomd.ChangedFile
---@param hunks? loomd.Hunk[] default: the whole file
---@return string? problem
function M.undo(run, file, hunks)
  local path = M.absolute_path(run, file.path)
  local problem = M.obstacle(run, path)
  if problem then
    return problem
  end
  local text, why_not = M.without(M.read_file(path), file, hunks)
  return why_not or M.write(path, text --[[@as string|false]])
end

return M
