-- What a search over all runs found, loomd://search: one line a hit, and the place itself one key away.

local config = require("loomd.config")
local keys = require("loomd.keys")
local server = require("loomd.server")
local store = require("loomd.store")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_hits")

---@class loomd.Search
---@field query string
---@field run_id? string
---@field hits table[]
---@field rows table<integer, table> line → hit
---@field cursor? string

---@type loomd.Search?
local search

-- A page of the output around a hit; a whole log may be far too long.
local function open_place(hit)
  local around = 64 * 1024
  local from = math.max(0, hit.offset - around)
  server.request("run/text", { runId = hit.runId, stream = hit.stream, offset = from, maxBytes = 2 * around }, function(failure, result)
    if failure then
      return words.say(words.failure(failure, "search"), vim.log.levels.ERROR)
    end
    local before = result.text:sub(1, math.max(0, hit.offset - result.offset))
    local _, line = before:gsub("\n", "")
    local buffer = vim.api.nvim_create_buf(false, true)
    vim.bo[buffer].bufhidden = "wipe"
    local lines = vim.split((result.text:gsub("\r\n", "\n")), "\n")
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    vim.bo[buffer].modifiable = false
    vim.b[buffer].loomd_run = hit.runId
    keys.map(buffer)
    vim.cmd(config.get().output_split)
    vim.api.nvim_win_set_buf(0, buffer)
    local bar = (" %s · bytes %d to %d of %s "):format(words.short(hit.runId), result.offset, result.nextOffset, words.size(result.totalBytes))
    window.set(0, { winbar = bar })
    local row = math.min(line + 1, #lines)
    local column = #(before:match("[^\n]*$") or "")
    vim.api.nvim_win_set_cursor(0, { row, math.min(column, #lines[row]) })
    vim.api.nvim_buf_set_extmark(buffer, namespace, row - 1, 0, { end_row = row, hl_group = "LoomdMatch", strict = false })
    vim.cmd("normal! zz")
  end)
end

local function buffer_of()
  local buffer, is_new = window.buffer("loomd://search", "loomd-search")
  if is_new then
    vim.bo[buffer].buftype = "nofile"
    vim.keymap.set("n", "<CR>", function()
      local hit = search and search.rows[vim.api.nvim_win_get_cursor(0)[1]]
      if hit then
        open_place(hit)
      end
    end, { buffer = buffer, nowait = true, desc = "loomd: the place" })
    vim.keymap.set("n", "M", function()
      M.more()
    end, { buffer = buffer, nowait = true, desc = "loomd: more hits" })
    vim.keymap.set("n", "q", window.close, { buffer = buffer, nowait = true, desc = "loomd: close" })
  end
  return buffer
end

local function render(buffer)
  local lines, marks, rows, last = {}, {}, {}, nil
  lines[1] = (' "%s": %d hits%s'):format(search.query, #search.hits, search.cursor and ", M shows more" or "")
  for _, hit in ipairs(search.hits) do
    if hit.runId ~= last then
      last = hit.runId
      local run = store.runs[hit.runId]
      lines[#lines + 1] = (" %s  %s"):format(words.short(hit.runId), run and words.title(run) or "")
      marks[#lines] = "LoomdHeading"
    end
    lines[#lines + 1] = "   " .. words.one_line(hit.line)
    rows[#lines] = hit
  end
  search.rows = rows
  vim.bo[buffer].modifiable = true
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].modified = false
  vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
  for row, group in pairs(marks) do
    vim.api.nvim_buf_set_extmark(buffer, namespace, row - 1, 0, { end_row = row, hl_group = group })
  end
  for row, hit in pairs(rows) do
    local line = lines[row]
    local from, to = line:lower():find(search.query:lower(), 1, true)
    if from then
      vim.api.nvim_buf_set_extmark(buffer, namespace, row - 1, from - 1, { end_col = to, hl_group = "LoomdMatch" })
    end
    _ = hit
  end
end

---@param done? fun(buffer?: integer)
function M.more(done)
  local this = search
  if not this then
    return
  end
  local params = { query = this.query, ignoreCase = this.query:lower() == this.query, runId = this.run_id, limit = 200, cursor = this.cursor }
  server.request("run/search", params, function(failure, result)
    if failure then
      words.say(words.failure(failure, "search"), vim.log.levels.ERROR)
      return done and done()
    elseif this ~= search then
      return
    end
    vim.list_extend(this.hits, result.hits)
    this.cursor = result.nextCursor
    -- An answer may be short of hits only because its second was over.
    if #this.hits == 0 and this.cursor then
      return M.more(done)
    elseif #this.hits == 0 then
      words.say(('nothing says "%s"'):format(this.query))
      return done and done()
    end
    local buffer = buffer_of()
    render(buffer)
    window.show(buffer, config.get().split, { wrap = false, number = false, cursorline = true })
    if done then
      done(buffer)
    end
  end)
end

-- Searches the output of all runs, or of one. All in lower case means that case does not matter.
---@param query string
---@param run_id? string
---@param done? fun(buffer?: integer)
function M.search(query, run_id, done)
  search = { query = query, run_id = run_id, hits = {}, rows = {} }
  M.more(done)
end

return M
