-- What the list of runs says, line by line: who waits for an answer first, then what runs, then what ended. It knows no buffer and no window.

local config = require("loomd.config")
local last_words = require("loomd.view.last_words")
local server = require("loomd.server")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

-- How many lines of a question a row shows; a longer one is only whole in its float.
local question_lines = 6

-- What is asked, in as many lines as a row has.
---@param call table
---@return string[] lines, boolean whole nothing of it was left out
function M.question(call)
  local lines = {}
  local command = toolcall.command(call)
  if command then
    vim.list_extend(lines, vim.split(command, "\n"))
    lines[1] = "$ " .. lines[1]
  elseif call.title then
    vim.list_extend(lines, vim.split(words.one_line(call.title), "\n"))
  end
  local has_diff = #toolcall.patch(call) > 0
  for _, part in ipairs(call.content or {}) do
    has_diff = has_diff or part.type == "diff"
  end
  vim.list_extend(lines, toolcall.file_lines(call))
  if not has_diff then
    vim.list_extend(lines, toolcall.input_lines(call))
  end
  -- A diff is more than these lines say.
  local whole = not has_diff and #lines <= question_lines
  if #lines > question_lines then
    lines = vim.list_slice(lines, 1, question_lines)
    whole = false
  end
  return lines, whole
end

local function segments()
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

local function row(run, width, title_width)
  local state = words.state(run)
  local line = segments()
  line:add("  " .. state.icon .. " ", state.group):add(words.pad(state.word, 10), state.group):add(" ")
  line:add(words.pad(run.provider, 8), "LoomdProvider"):add(" ")
  line:add(words.pad(words.title(run), title_width), "LoomdTitle"):add(" ")
  line:add(words.pad(words.elapsed(run), 7), "LoomdTime"):add(" ")
  line:add(words.short(run.id), "LoomdQuiet"):add(" ")
  local said = words.outcome(run)
  -- Below a run that waits stands what it asks.
  if (said == "" or not store.is_final(run)) and not store.is_waiting(run) then
    said = said ~= "" and said or last_words.of(run.id)
  end
  local more = {}
  if run.queued and run.queued > 0 then
    more[#more + 1] = ("%d queued"):format(run.queued)
  end
  if run.pinned then
    more[#more + 1] = "pinned"
  end
  if #more > 0 then
    said = "[" .. table.concat(more, ", ") .. "] " .. said
  end
  line:add(words.fit(said, width - vim.fn.strdisplaywidth(line.text) - 1), "LoomdQuiet")
  return line
end

local function heading(text)
  return segments():add(" " .. text, "LoomdHeading")
end

-- Sessions that providers keep and no run of ours made: below everything else, and only once somebody asked.
---@param view loomd.ListView
local function sessions(view, lines, session_rows, width)
  local found = view.outside
  if not found then
    lines[#lines + 1] = segments():add("    O shows sessions of this directory that were made outside of loomd", "LoomdQuiet")
    return
  end
  lines[#lines + 1] = heading("Made outside of loomd")
  for _, each in ipairs(found.list) do
    local line = segments():add("    "):add(words.pad(each.provider, 8), "LoomdProvider"):add(" ")
    local when = each.session.updatedAt and words.duration(words.now() - each.session.updatedAt) .. " ago" or ""
    line:add(words.pad(words.one_line(each.session.title or each.session.id), math.max(12, width - 34)), "LoomdTitle"):add(" "):add(when, "LoomdTime")
    lines[#lines + 1] = line
    session_rows[#lines] = each
  end
  local told = found.asking > 0 and "asking …" or #found.list == 0 and "none in this directory" or "R goes on with one" .. (next(found.cursors) and ", O shows more" or "")
  lines[#lines + 1] = segments():add("    " .. told, "LoomdQuiet")
  for _, problem in ipairs(found.problems) do
    lines[#lines + 1] = segments():add("    " .. words.fit(words.one_line(problem), width - 5), "LoomdQuiet")
  end
end

---@class loomd.Row
---@field text string
---@field marks { [1]: integer, [2]: integer, [3]: string }[] first byte, byte behind, group

---@param view loomd.ListView
---@param width integer cells
---@return loomd.Row[] lines, table<integer, string> rows line → run id, table<integer, loomd.OutsideSession> sessions line → session
function M.of(view, width)
  local waiting, live, ended = store.grouped()
  if view.filter then
    waiting, live, ended = vim.tbl_filter(view.filter, waiting), vim.tbl_filter(view.filter, live), vim.tbl_filter(view.filter, ended)
  end
  local lines, rows, session_rows = {}, {}, {}
  local limit = view.limit or config.get().earlier
  -- As wide as the longest title, but the last words need room, too.
  local title_width = 12
  for _, group in ipairs({ waiting, live, ended }) do
    for index, run in ipairs(group) do
      if group ~= ended or index <= limit then
        title_width = math.max(title_width, vim.fn.strdisplaywidth(words.title(run)))
      end
    end
  end
  title_width = math.min(title_width, math.max(12, math.min(60, math.floor((width - 42) * 0.6))))
  local function add(line, id)
    lines[#lines + 1] = line
    rows[#lines] = id
  end

  if server.state == "failed" then
    -- What is to be done about it stands at its end, so all of it is shown, however narrow the window.
    for index, text in ipairs(words.wrap("loomd is not running: " .. words.one_line(server.problem or ""), width - 4)) do
      add(segments():add((index == 1 and " " or "   ") .. text, "LoomdFailed"))
    end
    add(segments():add(" :Loomd restart", "LoomdKey"):add(" starts it"))
    add(segments():add(" :Loomd log", "LoomdKey"):add(" shows its log"))
    add(segments():add(" Runs are not touched by this.", "LoomdQuiet"))
  elseif server.state ~= "ready" then
    add(segments():add(" connecting to loomd …", "LoomdQuiet"))
  else
    local head = segments():add((" %d waiting"):format(#waiting), #waiting > 0 and "LoomdWaiting" or "LoomdQuiet")
    local idle = #vim.tbl_filter(function(run)
      return run.state == "idle"
    end, live)
    head:add((" · %d running"):format(#live - idle), #live > idle and "LoomdRunning" or "LoomdQuiet")
    if idle > 0 then
      head:add((" · %d idle"):format(idle), "LoomdIdle")
    end
    add(head:add(" · ? keys · n start a run", "LoomdQuiet"))
  end

  if #waiting > 0 then
    add(heading("Waiting for you"))
    for _, run in ipairs(waiting) do
      add(row(run, width, title_width), run.id)
      for index, entry in ipairs(run.permissions or {}) do
        local shown, whole = M.question(entry.toolCall)
        local asks = segments():add("      ")
        asks:add("asks to " .. toolcall.verb(entry.toolCall), "LoomdQuestion")
        asks:add(index == 1 and (whole and "   a allow · d deny · K more" or "   K shows all of it · d deny") or "", "LoomdQuiet")
        add(asks, run.id)
        for _, text in ipairs(shown) do
          add(segments():add("        " .. text:gsub("[%c]", "?")), run.id)
        end
      end
    end
  end
  if #live > 0 then
    add(heading("Running"))
    for _, run in ipairs(live) do
      add(row(run, width, title_width), run.id)
    end
  end
  if #ended > 0 then
    add(heading(view.name == "loomd://history" and "History" or "Earlier"))
    for index, run in ipairs(ended) do
      if index > limit then
        add(segments():add(("    %d more: :Loomd history"):format(#ended - limit), "LoomdQuiet"))
        break
      end
      add(row(run, width, title_width), run.id)
    end
  end
  if view.next_cursor then
    add(segments():add("    M shows older ones", "LoomdQuiet"))
  end
  if view.name == "loomd://history" then
    sessions(view, lines, session_rows, width)
  end
  if #waiting + #live + #ended == 0 and server.state == "ready" then
    add(segments():add("  No runs yet. ", "LoomdQuiet"):add("n", "LoomdKey"):add(" starts one, and so does ", "LoomdQuiet"):add(":Loomd start", "LoomdKey"))
  end
  return lines, rows, session_rows
end

-- Only rows that differ are written, so that nothing flickers and marks of the user stay; the cursor stays on its run.

return M
