-- Builds the lines of the list: runs that need input, active runs, finished runs. It knows no buffer and no window.

local config = require("loomd.config")
local draw = require("loomd.draw")
local filter = require("loomd.filter")
local format = require("loomd.format")
local last_lines = require("loomd.view.last_lines")
local permission = require("loomd.permission")
local server = require("loomd.server")
local store = require("loomd.store")
local unread = require("loomd.unread")

local M = {}

-- A row shows at most this many lines of a permission request. It is answered where all of it is shown.
local max_request_lines = 6

-- The lines of a permission request in its row, at most so many cells wide.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param width integer
local function request_lines(run, entry, width)
  local lines = {}
  for index, part in ipairs(permission.loaded_parts(run, entry) or {}) do
    local is_title = index == 1 and part.label == "title"
    local label = is_title and "" or part.label .. ": "
    -- A title of one line stands above already.
    for row, line in ipairs((not is_title or part.text:find("\n")) and vim.split(part.text, "\n", { trimempty = true }) or {}) do
      lines[#lines + 1] = format.fit((row == 1 and label or "  ") .. line, width)
    end
  end
  if #lines > max_request_lines then
    lines = vim.list_slice(lines, 1, max_request_lines)
    lines[max_request_lines] = "…"
  end
  return lines
end

local function new_line()
  local line = { text = "", marks = {} }
  function line:add(text, group)
    if group and text ~= "" then
      table.insert(self.marks, { #self.text, #self.text + #text, group })
    end
    self.text = self.text .. text
    return self
  end
  return line
end

---@param view loomd.ListView
local function run_row(view, run, width, title_width)
  local state, is_unread = format.state(run), unread.is_unread(run)
  local line = new_line()
  line:add(view.marked[run.id] and ">" or " ", "LoomdKey"):add(is_unread and "•" or " ", "LoomdKey")
  line:add(state.icon .. " ", state.group):add(format.pad(state.word, 10), state.group):add(" ")
  line:add(format.pad(run.provider, 8), "LoomdProvider"):add(" ")
  line:add(format.pad(format.title(run), title_width), "LoomdTitle"):add(" ")
  line:add(format.pad(format.elapsed(run), 7), "LoomdTime"):add(" ")
  line:add(format.short_id(run.id), "LoomdQuiet"):add(" ")
  local detail = format.outcome(run)
  -- A waiting run has its permission requests below it instead.
  if (detail == "" or not store.is_final(run)) and not store.is_waiting(run) then
    detail = detail ~= "" and detail or last_lines.get(run.id)
  end
  local flags = {}
  if run.queued and run.queued > 0 then
    flags[#flags + 1] = ("%d queued"):format(run.queued)
  end
  if run.pinned then
    flags[#flags + 1] = "pinned"
  end
  if is_unread then
    flags[#flags + 1] = "unread"
  end
  if (run.labels or {}).branch then
    flags[#flags + 1] = "branch " .. format.one_line(run.labels.branch)
  end
  if #flags > 0 then
    detail = "[" .. table.concat(flags, ", ") .. "] " .. detail
  end
  line:add(format.fit(detail, width - vim.fn.strdisplaywidth(line.text) - 1), "LoomdQuiet")
  return line
end

local function heading(text)
  return new_line():add(" " .. text, "LoomdHeading")
end

-- Sessions that belong to no run of loomd, below everything else, and only once the user has requested them.
---@param view loomd.ListView
local function add_sessions(view, lines, session_rows, width)
  local found = view.external
  if not found then
    lines[#lines + 1] = new_line():add("    O: list other sessions in this directory", "LoomdQuiet")
    return
  end
  lines[#lines + 1] = heading("Other sessions")
  for _, each in ipairs(found.list) do
    local line = new_line():add("    "):add(format.pad(each.provider, 8), "LoomdProvider"):add(" ")
    local when = each.session.updatedAt and format.duration(format.now() - each.session.updatedAt) .. " ago" or ""
    line:add(format.pad(format.one_line(each.session.title or each.session.id), math.max(12, width - 34)), "LoomdTitle"):add(" "):add(when, "LoomdTime")
    lines[#lines + 1] = line
    session_rows[#lines] = each
  end
  local status = found.pending > 0 and "loading …" or #found.list == 0 and "none" or "R: resume" .. (next(found.cursors) and ", O: load more" or "")
  lines[#lines + 1] = new_line():add("    " .. status, "LoomdQuiet")
  for _, problem in ipairs(found.problems) do
    lines[#lines + 1] = new_line():add("    " .. format.fit(format.one_line(problem), width - 5), "LoomdQuiet")
  end
end

-- Cuts a line that is too long for the window, with a sign.
local function fit_line(line, width)
  line.text = format.fit(line.text, width)
  for _, mark in ipairs(line.marks) do
    mark[1], mark[2] = math.min(mark[1], #line.text), math.min(mark[2], #line.text)
  end
end

-- The runs that need no input, under their headings.
---@param view loomd.ListView
---@param live loomd.Run[]
---@param ended loomd.Run[]
---@return { heading: string, runs: loomd.Run[] }[]
local function sections(view, live, ended)
  local found, by_heading = {}, {}
  local function add(name, run)
    if not by_heading[name] then
      by_heading[name] = { heading = name, runs = {} }
      found[#found + 1] = by_heading[name]
    end
    table.insert(by_heading[name].runs, run)
  end
  if view.group then
    local runs = vim.list_extend(vim.list_slice(live), ended)
    table.sort(runs, function(a, b)
      return a.createdAt > b.createdAt or a.createdAt == b.createdAt and a.id > b.id
    end)
    for _, run in ipairs(runs) do
      add(filter.heading(view.group, run), run)
    end
    return found
  end
  for _, is_idle in ipairs({ false, true }) do
    for _, run in ipairs(live) do
      if (run.state == "idle") == is_idle then
        add(is_idle and "Idle" or "Active", run)
      end
    end
  end
  for _, run in ipairs(ended) do
    add(view.name == "loomd://history" and "History" or "Finished", run)
  end
  return found
end

---@class loomd.Row
---@field text string
---@field marks { [1]: integer, [2]: integer, [3]: string }[] first byte, byte behind, group

---@param view loomd.ListView
---@param width integer cells
---@return loomd.Row[] lines, table<integer, string> rows line → run id, table<integer, loomd.ExternalSession> sessions line → session
function M.build(view, width)
  local waiting, live, ended = store.group_runs()
  local function is_shown(run)
    return (not view.folder or run.cwd == view.folder) and (not view.filter or filter.matches(view.filter, run))
  end
  waiting, live, ended = vim.tbl_filter(is_shown, waiting), vim.tbl_filter(is_shown, live), vim.tbl_filter(is_shown, ended)
  local lines, rows, session_rows = {}, {}, {}
  local limit = (view.limit or view.filter) and math.huge or config.get().earlier
  -- The title column is as wide as the longest title, but leaves space for the last line of output.
  local title_width = 12
  for _, group in ipairs({ waiting, live, ended }) do
    for index, run in ipairs(group) do
      if group ~= ended or index <= limit then
        title_width = math.max(title_width, vim.fn.strdisplaywidth(format.title(run)))
      end
    end
  end
  title_width = math.min(title_width, math.max(12, math.min(60, math.floor((width - 42) * 0.6))))
  local function add(line, id)
    lines[#lines + 1] = line
    rows[#lines] = id
  end

  if server.state == "failed" then
    -- The end of the message says what to do, so it is wrapped, however narrow the window is.
    for index, text in ipairs(format.wrap("loomd is not running: " .. format.one_line(server.problem or ""), width - 4)) do
      add(new_line():add((index == 1 and " " or "   ") .. text, "LoomdFailed"))
    end
    add(new_line():add("   :Loomd restart", "LoomdKey"))
    add(new_line():add("   :Loomd log", "LoomdKey"))
    add(new_line():add(" Runs are not affected.", "LoomdQuiet"))
  elseif server.state ~= "ready" then
    add(new_line():add(" Connecting …", "LoomdQuiet"))
  else
    local head = new_line():add((" %d waiting"):format(#waiting), #waiting > 0 and "LoomdWaiting" or "LoomdQuiet")
    local idle = #vim.tbl_filter(function(run)
      return run.state == "idle"
    end, live)
    head:add((" · %d running"):format(#live - idle), #live > idle and "LoomdRunning" or "LoomdQuiet")
    if idle > 0 then
      head:add((" · %d idle"):format(idle), "LoomdIdle")
    end
    add(head:add(" · g? help · n new run", "LoomdQuiet"))
  end
  local narrowed = vim.tbl_count(view.marked) > 0 and format.count(vim.tbl_count(view.marked), "run") .. " selected" or nil
  if view.filter or narrowed then
    local parts = { view.filter and ("filter: %s (F: clear)"):format(view.filter) or nil }
    parts[#parts + 1] = narrowed
    add(new_line():add(" " .. table.concat(parts, " · "), "LoomdKey"))
  end

  if #waiting > 0 then
    add(heading("Needs input"))
    for _, run in ipairs(waiting) do
      add(run_row(view, run, width, title_width), run.id)
      for index, entry in ipairs(run.permissions or {}) do
        local request_line = new_line():add("      ")
        local hint = index == 1 and " · K answer · d deny" or " · K answer"
        local title = format.fit("wants to " .. draw.request_title(entry.toolCall), math.max(20, width - 7 - #hint))
        add(request_line:add(title, "LoomdQuestion"):add(hint, "LoomdQuiet"), run.id)
        for _, text in ipairs(request_lines(run, entry, width - 9)) do
          add(new_line():add("        " .. text:gsub("[%c]", "?")), run.id)
        end
      end
    end
  end
  local hidden = math.max(0, #ended - limit)
  for _, section in ipairs(sections(view, live, limit < #ended and vim.list_slice(ended, 1, limit) or ended)) do
    add(heading(section.heading))
    for _, run in ipairs(section.runs) do
      add(run_row(view, run, width, title_width), run.id)
    end
  end
  if hidden > 0 then
    add(new_line():add(("    %d more, see :Loomd history"):format(hidden), "LoomdQuiet"))
  end
  if view.next_cursor then
    add(new_line():add("    M: load more", "LoomdQuiet"))
  end
  if view.name == "loomd://history" then
    add_sessions(view, lines, session_rows, width)
  end
  if #waiting + #live + #ended == 0 and server.state == "ready" then
    add(view.filter and new_line():add("  No run matches.", "LoomdQuiet") or new_line():add("  No runs yet. Press ", "LoomdQuiet"):add("n", "LoomdKey"):add(" or use ", "LoomdQuiet"):add(":Loomd start", "LoomdKey"))
  end
  for _, line in ipairs(lines) do
    fit_line(line, width)
  end
  return lines, rows, session_rows
end

return M
