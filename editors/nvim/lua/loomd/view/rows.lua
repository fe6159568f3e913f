-- Builds the lines of the list: runs that need input, active runs, finished runs, then those of each host. It knows no
-- buffer and no window.

local config = require("loomd.config")
local draw = require("loomd.draw")
local filter = require("loomd.filter")
local format = require("loomd.format")
local hosts = require("loomd.hosts")
local last_lines = require("loomd.view.last_lines")
local permission = require("loomd.permission")
local run_id = require("loomd.run_id")
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

-- The heading of a host's runs. Of a host that is not there it says why, and which key connects again.
---@param host loomd.Host
---@param width integer
---@return loomd.Row[]
local function host_lines(host, width)
  local line = heading(host.name)
  if host.state == "ready" then
    local version, here = host.info.serverInfo.version, server.info_of()
    return { version == (here and here.serverInfo.version) and line or line:add(" · loomd " .. format.one_line(version), "LoomdQuiet") }
  elseif host.state == "connecting" then
    return { line:add(" · connecting …", "LoomdQuiet") }
  end
  line:add(host.state == "broken" and " · connection lost, reconnecting" or " · not connected", "LoomdFailed")
  line:add(host.state == "broken" and " · <CR>: connect now" or " · <CR>: connect again", "LoomdKey")
  local lines = { line }
  for _, text in ipairs(format.wrap(host.problem or "", width - 4)) do
    lines[#lines + 1] = new_line():add("   " .. text, "LoomdFailed")
  end
  return lines
end

-- Whether the server of this computer is there, and what there is to do if it is not; else how many runs there are.
---@param add fun(line: loomd.Row)
local function add_head(add, width, waiting, live)
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
end

---@class loomd.ListRows
---@field lines loomd.Row[]
---@field runs table<integer, string> line → run ID
---@field sessions table<integer, loomd.ExternalSession> line → session
---@field hosts table<integer, string> line → host, of its heading

---@param view loomd.ListView
---@param width integer cells
---@return loomd.ListRows
function M.build(view, width)
  local waiting, live, ended = store.group_runs(function(run)
    return (not view.folder or run.cwd == view.folder and not run_id.host(run.id)) and (not view.filter or filter.matches(view.filter, run))
  end)
  local lines, rows, session_rows, host_rows = {}, {}, {}, {}
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
  local function add_waiting(run)
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
  -- The runs of a host, or of this computer, of which no more ended ones are shown than the limit.
  local function of(host, runs)
    return vim.tbl_filter(function(run)
      return run_id.host(run.id) == host
    end, runs)
  end
  local function add_hidden(count)
    if count > limit then
      add(new_line():add(("    %d more, see :Loomd history"):format(count - limit), "LoomdQuiet"))
    end
  end
  local function shown(runs)
    return limit < #runs and vim.list_slice(runs, 1, limit) or runs
  end

  add_head(add, width, waiting, live)
  local narrowed = vim.tbl_count(view.marked) > 0 and format.count(vim.tbl_count(view.marked), "run") .. " selected" or nil
  if view.filter or narrowed then
    local parts = { view.filter and ("filter: %s (F: clear)"):format(view.filter) or nil }
    parts[#parts + 1] = narrowed
    add(new_line():add(" " .. table.concat(parts, " · "), "LoomdKey"))
  end

  if #of(nil, waiting) > 0 then
    add(heading("Needs input"))
    vim.iter(of(nil, waiting)):each(add_waiting)
  end
  for _, section in ipairs(sections(view, of(nil, live), shown(of(nil, ended)))) do
    add(heading(section.heading))
    for _, run in ipairs(section.runs) do
      add(run_row(view, run, width, title_width), run.id)
    end
  end
  add_hidden(#of(nil, ended))
  for _, host in ipairs(view.folder and {} or hosts.list()) do
    local asking, active, finished = of(host.name, waiting), of(host.name, live), of(host.name, ended)
    if not view.filter or #asking + #active + #finished > 0 or host.state ~= "ready" then
      for _, line in ipairs(host_lines(host, width)) do
        add(line)
        host_rows[#lines] = host.name
      end
      vim.iter(asking):each(add_waiting)
      for _, run in ipairs(vim.list_extend(active, shown(finished))) do
        add(run_row(view, run, width, title_width), run.id)
      end
      add_hidden(#finished)
    end
  end
  if next(view.next_cursors) then
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
  return { lines = lines, runs = rows, sessions = session_rows, hosts = host_rows }
end

return M
