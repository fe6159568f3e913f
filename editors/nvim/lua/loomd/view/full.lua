-- All of a run in a file: the transcript of an agent as Markdown, or the output without escape sequences. Both are read
-- page by page, so that a long run does not block the editor.

local config = require("loomd.config")
local draw = require("loomd.draw")
local format = require("loomd.format")
local item_lists = require("loomd.items")
local notify = require("loomd.notify")
local private_file = require("loomd.private_file")
local server = require("loomd.server")
local window = require("loomd.window")

local M = {}

local function open(run, path)
  local shown = window.find(vim.fn.bufadd(path))
  if shown then
    vim.api.nvim_set_current_win(shown)
  else
    vim.cmd(config.get().output_split)
  end
  -- What a program or an agent wrote sets no options here.
  local modelines = vim.go.modelines
  vim.go.modelines = 0
  local ok, problem = pcall(vim.cmd, "noswapfile view! " .. vim.fn.fnameescape(path))
  vim.go.modelines = modelines
  if not ok then
    error(problem, 0)
  end
  vim.bo.undofile = false
  vim.bo.modeline = false
  vim.bo.modifiable = false
  vim.b.loomd_run = run.id
end

---@class loomd.TranscriptPlace
---@field seq integer the entry to look for, or the first one after it
---@field matches fun(line: string): boolean whether a line has what is looked for

-- A search result is in what the agent's program wrote. Its meaning is within this many items.
local max_place_items = 40

-- The line for a place: the first one that has what is looked for from item `at` on, else nearest before it.
---@param rows integer[] the first line of each item
---@param at integer
---@param place loomd.TranscriptPlace
local function row_of(lines, rows, at, place)
  for step = 0, 2 * max_place_items do
    local index = step <= max_place_items and at + step or at + max_place_items - step
    for row = rows[index] or 1, (rows[index + 1] or 1) - 1 do
      if place.matches(lines[row]) then
        return row
      end
    end
  end
  return rows[at]
end

-- Reads all items of a run, page by page.
---@param run loomd.Run
---@param done fun(items: loomd.Items, failure?: loomd.Failure)
function M.read_items(run, done)
  local items = item_lists.new(run.id)
  local function page(after)
    server.request("run/items", { runId = run.id, after = after, limit = 1000 }, function(failure, result)
      if failure then
        return done(items, failure)
      end
      for _, item in ipairs(result.items) do
        items:put(item)
      end
      if result.next then
        return page(result.next)
      end
      done(items)
    end)
  end
  page(0)
end

-- Writes the whole transcript to a Markdown file and opens it with the cursor on `place`.
---@param run loomd.Run
---@param done? fun(buffer: integer)
---@param place? loomd.TranscriptPlace
function M.transcript(run, done, place)
  M.read_items(run, function(items, failure)
    if failure then
      return notify.show(format.failure(failure, "Could not read the transcript"), vim.log.levels.ERROR)
    end
    local lines, rows, at = {}, { 1 }, 1
    for index, block in ipairs(items.blocks) do
      vim.list_extend(lines, draw.draw_block(items, index, run.provider).lines)
      rows[index + 1] = #lines + 1
      at = place and block.item.seq <= place.seq and index or at
    end
    local target = place and row_of(lines, rows, at, place)
    local path = private_file.path(run.id, "transcript.md")
    local problem = private_file.write(path, table.concat(lines, "\n") .. "\n")
    if problem then
      return notify.show(problem, vim.log.levels.ERROR)
    end
    open(run, path)
    if place then
      vim.api.nvim_win_set_cursor(0, { target, 0 })
      vim.cmd("normal! zz")
    end
    if done then
      done(vim.api.nvim_get_current_buf())
    end
  end)
end

-- Writes the whole output to a file without escape sequences and opens it. It is read page by page, so that a large
-- output does not block the editor.
---@param run loomd.Run
---@param done? fun(buffer: integer)
function M.output(run, done)
  local path = private_file.path(run.id, "output.log")
  local file, problem = private_file.create(path)
  if not file then
    return notify.show(problem, vim.log.levels.ERROR)
  end
  local function read_page(offset)
    server.request("run/text", { runId = run.id, offset = offset }, function(failure, result)
      if failure then
        file:close()
        return notify.show(format.failure(failure, "Could not read the output"), vim.log.levels.ERROR)
      end
      file:write((result.text:gsub("\27%[[%d;:?]*[ -/]*[@-~]", ""):gsub("\27%][^\7\27]*[\7]", ""):gsub("\r+\n", "\n")))
      if result.nextOffset > offset and result.nextOffset < result.totalBytes then
        return read_page(result.nextOffset)
      end
      file:close()
      open(run, path)
      vim.bo.bufhidden = "wipe"
      if done then
        done(vim.api.nvim_get_current_buf())
      end
    end)
  end
  read_page(0)
end

-- The transcript if the run has one, else the output.
---@param run loomd.Run
function M.open(run)
  if run.hasTranscript then
    M.transcript(run)
  else
    M.output(run)
  end
end

return M
