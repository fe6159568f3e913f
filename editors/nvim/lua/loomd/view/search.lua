-- The results of a search in the output of one run or of all, loomd://search: one line for each result, page by page.
-- A key opens the location of a result.

local config = require("loomd.config")
local format = require("loomd.format")
local hosts = require("loomd.hosts")
local notify = require("loomd.notify")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")
local window = require("loomd.window")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_hits")

-- The server responds within a second with the results so far. The search continues by itself until it has this many
-- results; `M` loads more.
M.page_size = 50

---@class loomd.Hit
---@field runId string
---@field seq integer
---@field stream "stdout"|"stderr"
---@field offset integer byte offset in its stream
---@field line string

---@class loomd.Search
---@field query string
---@field regex boolean
---@field ignore_case boolean
---@field run_id? string
---@field hits loomd.Hit[]
---@field transcripts table<string, loomd.Hit[]> the lines of transcripts that match, by run
---@field rows table<integer, loomd.Hit> line → hit
---@field cursors table<string, string> where the next page begins, by host; "" is this computer
---@field calls table<string, loomd.Call> the pending requests, by host
---@field has_response boolean the server has responded at least once
---@field cursor_placed? boolean

---@type loomd.Search?
local search

-- The first match of the query in the text; nil if only the server's regular expressions can find it.
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
  local query = this.ignore_case and this.query:lower() or this.query
  return (this.ignore_case and text:lower() or text):find(query, from or 1, true)
end

---@param this loomd.Search
---@param hit loomd.Hit
local function open_output(this, hit)
  require("loomd.view.search_place").open(hit, function(text, from)
    return match(this, text, from)
  end)
end

-- Opens a result where it can be read: the raw output of an agent is a protocol, so its transcript is opened instead.
---@param this loomd.Search
---@param hit loomd.Hit
local function open_place(this, hit)
  local run = store.runs[hit.runId]
  if not run or not run.hasTranscript then
    return open_output(this, hit)
  end
  local function matches(line)
    return match(this, line) ~= nil
  end
  require("loomd.view.full").transcript(run, nil, { seq = hit.seq, matches = matches })
end

-- The output of an agent is a protocol that says things more than once. So of a run that has a transcript its matching
-- lines are shown, unless there is none.
---@param this loomd.Search
---@param id string
---@param done fun()
local function search_transcript(this, id, done)
  local run = store.runs[id]
  if this.transcripts[id] or not (run and run.hasTranscript) then
    return
  end
  local found = { pending = true }
  this.transcripts[id] = found
  require("loomd.view.full").read_items(run, function(items)
    for index, block in ipairs(items.blocks) do
      for _, line in ipairs(require("loomd.draw").draw_block(items, index, run.provider).lines) do
        if match(this, line) then
          found[#found + 1] = { runId = id, seq = block.item.seq, line = line:gsub("^[#>]+ ", "") }
        end
      end
    end
    found.pending = nil
    done()
  end)
end

-- The results as they are shown.
---@param this loomd.Search
---@return loomd.Hit[] hits, boolean pending a transcript is being read
local function shown_hits(this)
  local hits, seen, pending = {}, {}, false
  for _, hit in ipairs(this.hits) do
    local lines = this.transcripts[hit.runId] or {}
    for _, line in ipairs(seen[hit.runId] and {} or lines) do
      hits[#hits + 1] = vim.tbl_extend("keep", line, { stream = hit.stream, offset = hit.offset })
    end
    if #lines == 0 and not lines.pending then
      hits[#hits + 1] = hit
    end
    seen[hit.runId] = true
    pending = pending or lines.pending or false
  end
  return hits, pending
end

local function on_result(action)
  return function()
    local line = vim.api.nvim_win_get_cursor(0)[1]
    -- The heading of a run stands for its first result.
    local hit = search and (search.rows[line] or line > 1 and search.rows[line + 1])
    if not hit then
      return notify.show("No result under cursor")
    end
    action(search, hit)
  end
end

local function buffer_of()
  local buffer, is_new = window.buffer("loomd://search", "loomd-search")
  if is_new then
    vim.bo[buffer].buftype = "nofile"
    local function map(key, desc, action)
      vim.keymap.set("n", key, action, { buffer = buffer, nowait = true, desc = "loomd: " .. desc })
    end
    map("<CR>", "open in the output or transcript", on_result(open_place))
    map("gr", "open in the raw output", on_result(open_output))
    map("M", "load more", function()
      M.more()
    end)
    map("<C-c>", "cancel", function()
      M.cancel()
    end)
    map("q", "close the window", window.close)
    local help = { " <CR>   open in the output or transcript", " gr     open in the raw output", " M      load more", " <C-c>  cancel", " q      close the window", " g?     show this help" }
    for _, key in ipairs({ "g?", "?" }) do
      map(key, "show this help", function()
        window.float(help, "Keymaps")
      end)
    end
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
---@param count integer
---@param pending boolean
local function head_line(this, count, pending)
  local where = this.run_id and (" in " .. format.short_id(this.run_id)) or ""
  local status = format.count(count, "result")
  if next(this.calls) or pending then
    status = status .. ", searching … <C-c> to cancel"
  elseif next(this.cursors) then
    status = status .. ", M for more"
  elseif count == 0 and this.has_response then
    status = "no results"
  end
  local kind = this.regex and "/%s/" or '"%s"'
  return (" " .. kind .. "%s: %s"):format(this.query, where, status)
end

-- The line, cut so that its match is visible.
---@param this loomd.Search
local function excerpt(this, line, cells)
  line = format.one_line(line)
  local first = match(this, line)
  if first and vim.fn.strdisplaywidth(line:sub(1, first - 1)) > cells / 2 then
    local characters = vim.fn.strchars(line:sub(1, first - 1))
    line = "…" .. vim.fn.strcharpart(line, math.max(0, characters - math.floor(cells / 3)))
  end
  return format.fit(line, cells)
end

---@param this loomd.Search
local function render(this)
  local buffer = buffer_of()
  local found = vim.fn.bufwinid(buffer)
  local cells = (found ~= -1 and vim.api.nvim_win_get_width(found) or vim.o.columns) - 4
  local hits, pending = shown_hits(this)
  local lines, headings, rows, last = { head_line(this, #hits, pending) }, { "LoomdQuiet" }, {}, nil
  for _, hit in ipairs(hits) do
    if hit.runId ~= last then
      last = hit.runId
      local run = store.runs[hit.runId]
      lines[#lines + 1] = (" %s  %s"):format(format.short_id(hit.runId), run and format.title(run) or "")
      headings[#lines] = "LoomdHeading"
    end
    lines[#lines + 1] = "   " .. excerpt(this, hit.line, cells)
    rows[#lines] = hit
  end
  this.rows = rows
  vim.bo[buffer].modifiable = true
  local old, same = vim.api.nvim_buf_get_lines(buffer, 0, -1, false), 0
  while same < #old and old[same + 1] == lines[same + 1] do
    same = same + 1
  end
  -- Unchanged lines are not written again, so the cursor does not move.
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

-- Moves the cursor to the first result, once, when the first results arrive.
local function place_cursor(this, buffer)
  if this.cursor_placed or vim.api.nvim_buf_line_count(buffer) < 3 then
    return
  end
  this.cursor_placed = true
  for _, win in ipairs(vim.fn.win_findbuf(buffer)) do
    if vim.api.nvim_win_get_cursor(win)[1] == 1 then
      -- The first line is the heading of the search, the second that of the run.
      vim.api.nvim_win_set_cursor(win, { 3, 0 })
    end
  end
end

-- Requests what the results need beside themselves: runs that no list has loaded, and transcripts.
---@param this loomd.Search
local function request_details(this)
  local requested = {}
  local function changed()
    if this == search then
      place_cursor(this, render(this))
    end
  end
  for _, hit in ipairs(this.hits) do
    if store.runs[hit.runId] then
      search_transcript(this, hit.runId, changed)
    elseif not requested[hit.runId] then
      requested[hit.runId] = true
      server.request("run/get", { runId = hit.runId }, function(_, result)
        if result then
          store.put(result.run, true)
          search_transcript(this, hit.runId, changed)
          changed()
        end
      end)
    end
  end
end

-- Requests a page of one server. Servers answer independently of each other; `done` is called when all have.
---@param this loomd.Search
---@param host string
---@param wanted integer the number of results to load
---@param done? fun(buffer: integer)
local function request_page(this, host, wanted, done)
  this.calls[host] = server.request("run/search", {
    query = this.query,
    regex = this.regex,
    ignoreCase = this.ignore_case,
    runId = this.run_id,
    limit = math.max(1, wanted - #this.hits),
    cursor = this.cursors[host],
  }, function(failure, result)
    this.calls[host] = nil
    if this ~= search then
      return
    end
    this.has_response = true
    if result then
      vim.list_extend(this.hits, result.hits)
      this.cursors[host] = result.nextCursor
      request_details(this)
      if result.nextCursor and #this.hits < wanted then
        request_page(this, host, wanted, done)
        place_cursor(this, render(this))
        return
      end
    elseif failure.code ~= -32800 then
      notify.show(format.failure(failure, host == "" and "Could not search" or "Could not search on " .. host), vim.log.levels.ERROR)
    end
    local buffer = render(this)
    place_cursor(this, buffer)
    if done and not next(this.calls) then
      done(buffer)
    end
  end, host ~= "" and host or nil)
end

-- The servers that a search asks first: that of the run, or all that are there.
---@param this loomd.Search
---@return string[]
local function servers_of(this)
  if this.run_id then
    return { run_id.host(this.run_id) or "" }
  end
  return vim.list_extend({ "" }, hosts.ready_names())
end

-- Loads the next page.
---@param done? fun(buffer: integer)
function M.more(done)
  local this = search
  if not this or next(this.calls) then
    return
  elseif this.has_response and not next(this.cursors) then
    return notify.show("No more results")
  end
  local wanted = #this.hits + M.page_size
  for _, host in ipairs(this.has_response and vim.tbl_keys(this.cursors) or servers_of(this)) do
    request_page(this, host, wanted, done)
  end
  render(this)
end

-- The results so far remain.
function M.cancel()
  for _, call in pairs(search and vim.tbl_extend("force", {}, search.calls) or {}) do
    call.cancel()
  end
end

-- Searches the output of all runs, or of one. A query without capital letters ignores case.
---@param query string
---@param options? { regex?: boolean, run_id?: string }
---@param done? fun(buffer: integer)
function M.search(query, options, done)
  M.cancel()
  options = options or {}
  search = { query = query, regex = options.regex or false, ignore_case = query:lower() == query, run_id = options.run_id, hits = {}, transcripts = {}, rows = {}, calls = {}, cursors = {}, has_response = false }
  local buffer = buffer_of()
  window.show(buffer, config.get().split, { wrap = false, number = false, relativenumber = false, cursorline = true, signcolumn = "no", list = false, spell = false, max_height = 0.5 })
  vim.api.nvim_win_set_cursor(0, { 1, 0 })
  M.more(done)
end

---@param options? { regex?: boolean, run_id?: string }
function M.prompt(options)
  options = options or {}
  local where = options.run_id and ("run " .. format.short_id(options.run_id)) or "all runs"
  vim.ui.input({ prompt = ("Search %s%s: "):format(where, options.regex and " (regex)" or "") }, function(text)
    if text and text ~= "" then
      M.search(text, options)
    end
  end)
end

return M
