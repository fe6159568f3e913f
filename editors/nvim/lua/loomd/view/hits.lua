-- What a search over all runs, or in one, found, loomd://search: one line a hit, page by page, and the place itself one key away.

local config = require("loomd.config")
local keys = require("loomd.keys")
local server = require("loomd.server")
local store = require("loomd.store")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_hits")

-- An answer comes within a second with what there is by then. It is asked again by itself until a window is full; the rest is for `M`.
M.page = 50

---@class loomd.Hit
---@field runId string
---@field seq integer
---@field stream "stdout"|"stderr"
---@field offset integer byte in its stream
---@field line string

---@class loomd.Search
---@field query string
---@field regex boolean
---@field ignore_case boolean
---@field run_id? string
---@field hits loomd.Hit[]
---@field rows table<integer, loomd.Hit> line → hit
---@field cursor? string where the next page begins
---@field call? loomd.Call what is being asked now
---@field begun boolean it has been answered once
---@field placed? boolean the cursor was put on the first hit

---@type loomd.Search?
local search

-- Where the text first has what was searched for; nil where only the server's kind of pattern could tell.
---@param this loomd.Search
---@param text string
---@param from? integer
---@return integer? first, integer? last
local function match(this, text, from)
  if this.regex then
    local ok, pattern = pcall(vim.regex, "\\v" .. (this.ignore_case and "\\c" or "\\C") .. this.query:gsub("[<>=@%%&~]", "\\%0"))
    local first, last
    if ok then
      first, last = pattern:match_str(text)
    end
    if first and last > first then
      return first + 1, last
    end
    return nil
  end
  if this.ignore_case then
    return text:lower():find(this.query:lower(), from or 1, true)
  end
  return text:find(this.query, from or 1, true)
end

local function without_colours(text)
  return (text:gsub("\27%[[%d;:?]*[ -/]*[@-~]", ""):gsub("\27%][^\7\27]*[\7]", ""):gsub("\r\n", "\n"))
end

-- A page of the output around a hit; a whole log may be far too long.
---@param this loomd.Search
---@param hit loomd.Hit
local function open_output(this, hit)
  local around = 64 * 1024
  local from = math.max(0, hit.offset - around)
  server.request("run/text", { runId = hit.runId, stream = hit.stream, offset = from, maxBytes = 2 * around }, function(failure, result)
    if failure then
      return words.say(words.failure(failure, "search"), vim.log.levels.ERROR)
    end
    local raw_before = result.text:sub(1, math.max(0, hit.offset - result.offset))
    local before = without_colours(raw_before)
    local text = before .. without_colours(result.text:sub(#raw_before + 1))
    -- Bytes that are no UTF-8 are longer in the text than in the log; then the nearest match behind them is the one.
    local place = #before + 1
    local first = match(this, text, place)
    place = first or place
    local buffer, is_new = window.buffer("loomd://search/place", "loomd-place")
    vim.b[buffer].loomd_run = hit.runId
    vim.bo[buffer].buftype = "nofile"
    if is_new then
      keys.map(buffer)
    end
    local lines = vim.split(text, "\n")
    vim.bo[buffer].modifiable = true
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    vim.bo[buffer].modifiable = false
    vim.bo[buffer].modified = false
    window.show(buffer, config.get().output_split, { number = false, relativenumber = false, list = false, spell = false })
    window.set(0, {
      winbar = (" %s · %s, bytes %d to %d of %s · q closes "):format(words.short(hit.runId), hit.stream, result.offset, result.nextOffset, words.size(result.totalBytes)),
    })
    local _, row = text:sub(1, place - 1):gsub("\n", "")
    local column = #text:sub(1, place - 1):match("[^\n]*$")
    vim.api.nvim_win_set_cursor(0, { row + 1, math.min(column, #lines[row + 1]) })
    vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
    vim.api.nvim_buf_set_extmark(buffer, namespace, row, 0, { end_row = row + 1, hl_group = "LoomdMatch", strict = false })
    vim.cmd("normal! zz")
  end)
end

-- Where it is read best: an agent's output is a protocol, so its transcript is opened at what the hit means.
---@param this loomd.Search
---@param hit loomd.Hit
local function open_place(this, hit)
  local run = store.runs[hit.runId]
  if not run or not store.has_transcript(run) then
    return open_output(this, hit)
  end
  require("loomd.view.transcript").whole(run, nil, {
    seq = hit.seq,
    has = function(line)
      return match(this, line) ~= nil
    end,
  })
end

local function on_hit(act)
  return function()
    local line = vim.api.nvim_win_get_cursor(0)[1]
    -- The heading of a run stands for its first hit.
    local hit = search and (search.rows[line] or line > 1 and search.rows[line + 1])
    if hit then
      act(search, hit)
    else
      words.say("there is no hit under the cursor")
    end
  end
end

local function buffer_of()
  local buffer, is_new = window.buffer("loomd://search", "loomd-search")
  if is_new then
    vim.bo[buffer].buftype = "nofile"
    local function map(key, what, act)
      vim.keymap.set("n", key, act, { buffer = buffer, nowait = true, desc = "loomd: " .. what })
    end
    map("<CR>", "the place: output, or an agent's transcript", on_hit(open_place))
    map("gr", "the place in the raw output", on_hit(open_output))
    map("M", "more hits", function()
      M.more()
    end)
    map("<C-c>", "give up", function()
      M.cancel()
    end)
    map("q", "close", window.close)
    map("?", "these keys", function()
      window.float({ " <CR>   the place: output, or an agent's transcript", " gr     the place in the raw output", " M      more hits", " <C-c>  give up", " q      close" }, "keys")
    end)
    vim.api.nvim_create_autocmd({ "BufHidden", "BufWipeout" }, {
      buffer = buffer,
      callback = function()
        M.cancel()
      end,
    })
  end
  return buffer
end

---@param this loomd.Search
local function head(this)
  local where = this.run_id and (" in " .. words.short(this.run_id)) or ""
  local told = words.count(#this.hits, "hit")
  if this.call then
    told = told .. ", searching … <C-c> gives up"
  elseif this.cursor then
    told = told .. ", M shows more"
  elseif #this.hits == 0 and this.begun then
    told = "nothing"
  end
  local kind = this.regex and "/%s/" or '"%s"'
  return (" " .. kind .. "%s: %s"):format(this.query, where, told)
end

-- The line with its match in sight, however far to the right it is.
---@param this loomd.Search
local function excerpt(this, line, cells)
  line = words.one_line(line)
  local first = match(this, line)
  if first and vim.fn.strdisplaywidth(line:sub(1, first - 1)) > cells / 2 then
    local characters = vim.fn.strchars(line:sub(1, first - 1))
    line = "…" .. vim.fn.strcharpart(line, math.max(0, characters - math.floor(cells / 3)))
  end
  return words.fit(line, cells)
end

---@param this loomd.Search
local function render(this)
  local buffer = buffer_of()
  local found = vim.fn.bufwinid(buffer)
  local cells = (found ~= -1 and vim.api.nvim_win_get_width(found) or vim.o.columns) - 4
  local lines, headings, rows, last = { head(this) }, { "LoomdQuiet" }, {}, nil
  for _, hit in ipairs(this.hits) do
    if hit.runId ~= last then
      last = hit.runId
      local run = store.runs[hit.runId]
      lines[#lines + 1] = (" %s  %s"):format(words.short(hit.runId), run and words.title(run) or "")
      headings[#lines] = "LoomdHeading"
    end
    lines[#lines + 1] = "   " .. excerpt(this, hit.line, cells)
    rows[#lines] = hit
  end
  this.rows = rows
  vim.bo[buffer].modifiable = true
  local shown = vim.api.nvim_buf_line_count(buffer)
  local same = 0
  local old = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
  while same < shown and old[same + 1] == lines[same + 1] do
    same = same + 1
  end
  -- What stays is not written again: the cursor stays where somebody reads.
  vim.api.nvim_buf_set_lines(buffer, 0, 1, false, { lines[1] })
  vim.api.nvim_buf_set_lines(buffer, math.max(1, same), -1, false, vim.list_slice(lines, math.max(1, same) + 1))
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].modified = false
  vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
  for row, group in pairs(headings) do
    vim.api.nvim_buf_set_extmark(buffer, namespace, row - 1, 0, { end_row = row, hl_group = group, strict = false })
  end
  for row in pairs(rows) do
    local first, to = match(this, lines[row])
    if first then
      vim.api.nvim_buf_set_extmark(buffer, namespace, row - 1, first - 1, { end_col = to, hl_group = "LoomdMatch" })
    end
  end
  return buffer
end

-- The first hits have come: the cursor goes from the heading of all to the first of them, once.
---@param this loomd.Search
---@param buffer integer
local function place(this, buffer)
  if this.placed or #this.hits == 0 then
    return
  end
  this.placed = true
  for _, win in ipairs(vim.fn.win_findbuf(buffer)) do
    if vim.api.nvim_win_get_cursor(win)[1] == 1 then
      -- The first line is about the search, the second is the run's.
      vim.api.nvim_win_set_cursor(win, { 3, 0 })
    end
  end
end

-- Hits may be in runs that no list has asked for.
---@param this loomd.Search
local function ask_for_runs(this)
  local asked = {}
  for _, hit in ipairs(this.hits) do
    if not store.runs[hit.runId] and not asked[hit.runId] then
      asked[hit.runId] = true
      server.request("run/get", { runId = hit.runId }, function(_, result)
        if result then
          store.put(result.run, true)
          if this == search then
            render(this)
          end
        end
      end)
    end
  end
end

---@param this loomd.Search
---@param wanted integer hits that are enough for now
---@param done? fun(buffer: integer)
local function ask_page(this, wanted, done)
  this.call = server.request("run/search", {
    query = this.query,
    regex = this.regex,
    ignoreCase = this.ignore_case,
    runId = this.run_id,
    limit = math.max(1, wanted - #this.hits),
    cursor = this.cursor,
  }, function(failure, result)
    this.call = nil
    if this ~= search then
      return
    end
    this.begun = true
    if result then
      vim.list_extend(this.hits, result.hits)
      this.cursor = result.nextCursor
      ask_for_runs(this)
      if this.cursor and #this.hits < wanted then
        ask_page(this, wanted, done)
        place(this, render(this))
        return
      end
    elseif failure.code ~= -32800 then
      words.say(words.failure(failure, "search"), vim.log.levels.ERROR)
    end
    local buffer = render(this)
    place(this, buffer)
    if done then
      done(buffer)
    end
  end)
end

-- The next page.
---@param done? fun(buffer: integer)
function M.more(done)
  local this = search
  if not this or this.call then
    return
  elseif this.begun and not this.cursor then
    return words.say("these are all hits")
  end
  ask_page(this, #this.hits + M.page, done)
  render(this)
end

-- Gives up what is being asked; what was found stays.
function M.cancel()
  if search and search.call then
    search.call.cancel()
  end
end

-- Searches the output of all runs, or of one. All in lower case means that case does not matter.
---@param query string
---@param options? { regex?: boolean, run_id?: string }
---@param done? fun(buffer: integer)
function M.search(query, options, done)
  M.cancel()
  options = options or {}
  search = { query = query, regex = options.regex or false, ignore_case = query:lower() == query, run_id = options.run_id, hits = {}, rows = {}, begun = false }
  local buffer = buffer_of()
  window.show(buffer, config.get().split, { wrap = false, number = false, relativenumber = false, cursorline = true, signcolumn = "no", list = false, spell = false, most = 0.5 })
  vim.api.nvim_win_set_cursor(0, { 1, 0 })
  M.more(done)
end

---@param options? { regex?: boolean, run_id?: string }
function M.ask(options)
  options = options or {}
  local where = options.run_id and ("run " .. words.short(options.run_id)) or "all runs"
  vim.ui.input({ prompt = ("Search %s%s: "):format(where, options.regex and " by a regular expression" or "") }, function(text)
    if text and text ~= "" then
      M.search(text, options)
    end
  end)
end

return M
