-- Formats states, durations, sizes and names for the user. Nothing here reads a buffer.

local run_id = require("loomd.run_id")
local store = require("loomd.store")
local terminal_text = require("loomd.terminal_text")

local M = {}

---@type table<string, { word: string, icon: string, group: string }>
M.states = {
  starting = { word = "starting", icon = "◌", group = "LoomdRunning" },
  running = { word = "running", icon = "▶", group = "LoomdRunning" },
  awaitingPermission = { word = "waiting", icon = "●", group = "LoomdWaiting" },
  idle = { word = "idle", icon = "‖", group = "LoomdIdle" },
  succeeded = { word = "succeeded", icon = "✓", group = "LoomdSucceeded" },
  failed = { word = "failed", icon = "✗", group = "LoomdFailed" },
  cancelled = { word = "cancelled", icon = "■", group = "LoomdCancelled" },
  timedOut = { word = "timed out", icon = "✗", group = "LoomdFailed" },
  lost = { word = "lost", icon = "?", group = "LoomdFailed" },
}

-- All groups are links, so the color scheme decides.
M.highlight_groups = {
  LoomdWaiting = "DiagnosticWarn",
  LoomdRunning = "DiagnosticInfo",
  LoomdIdle = "DiagnosticHint",
  LoomdSucceeded = "DiagnosticOk",
  LoomdFailed = "DiagnosticError",
  LoomdCancelled = "Comment",
  LoomdHeading = "Title",
  LoomdProvider = "Type",
  LoomdTime = "Number",
  LoomdQuiet = "Comment",
  LoomdTitle = "Normal",
  LoomdKey = "Special",
  LoomdQuestion = "DiagnosticWarn",
  LoomdUser = "Title",
  LoomdTool = "Function",
  LoomdThought = "Comment",
  LoomdNoticeInfo = "DiagnosticInfo",
  LoomdNoticeWarning = "DiagnosticWarn",
  LoomdNoticeError = "DiagnosticError",
  LoomdAdded = "Added",
  LoomdRemoved = "Removed",
  LoomdHunk = "Changed",
  LoomdMatch = "Search",
}

---@param run loomd.Run
function M.state(run)
  return M.states[store.is_waiting(run) and "awaitingPermission" or run.state] or { word = run.state, icon = "·", group = "LoomdQuiet" }
end

-- The last digits, as in `loomd list`: the first digits are the time. The host of a run stands before them.
---@param id string
function M.short_id(id)
  local host = run_id.host(id)
  return (host and host .. "/" or "") .. run_id.bare(id):sub(-8)
end

-- The directory of a run, with `~` where it is on this computer.
---@param run loomd.Run
function M.folder(run)
  local host = run_id.host(run.id)
  return host and ("%s on %s"):format(M.one_line(run.cwd), host) or vim.fn.fnamemodify(run.cwd, ":~")
end

-- The provider of a run, after its host.
---@param run loomd.Run
function M.who(run)
  local host = run_id.host(run.id)
  return (host and host .. ": " or "") .. run.provider
end

-- Characters that nobody sees, or that turn the direction of the text after them.
local invisible = {
  "\194[\128-\159\173]",
  "\216\156",
  "\225\160\142",
  "\226\128[\139-\143\168-\174]",
  "\226\129[\160-\175]",
  "\239\187\191",
}

-- `⟨U+202E⟩`, as the server writes it where a question is shown.
local function code_point(char)
  local lead = char:byte()
  local code = lead < 224 and lead % 32 or lead % 16
  for index = 2, #char do
    code = code * 64 + char:byte(index) % 64
  end
  return ("⟨U+%04X⟩"):format(code)
end

-- The text with a mark for each invisible character: what is read is what is there.
---@param text string
---@return string
function M.visible(text)
  for _, pattern in ipairs(invisible) do
    text = text:gsub(pattern, code_point)
  end
  return text
end

-- A text in one line of a list, without what a terminal obeys.
function M.one_line(text)
  return vim.trim((M.visible(terminal_text.plain(text)):gsub("[%s%c]+", " ")))
end

-- A text of several lines without what a terminal obeys.
function M.clean(text)
  return terminal_text.plain(text)
end

-- The title of a run in one line.
---@param run loomd.Run
function M.title(run)
  return M.one_line(run.displayTitle or "")
end

---@param ms integer
function M.duration(ms)
  local seconds = math.max(0, math.floor(ms / 1000))
  if seconds < 60 then
    return seconds .. "s"
  elseif seconds < 3600 then
    return ("%dm %02ds"):format(math.floor(seconds / 60), seconds % 60)
  elseif seconds < 86400 then
    return ("%dh %02dm"):format(math.floor(seconds / 3600), math.floor(seconds / 60) % 60)
  end
  return ("%dd %02dh"):format(math.floor(seconds / 86400), math.floor(seconds / 3600) % 24)
end

function M.now()
  local seconds, micro = vim.uv.gettimeofday()
  return seconds * 1000 + math.floor(micro / 1000)
end

---@param run loomd.Run
function M.elapsed(run)
  return M.duration((run.endedAt or M.now()) - (run.startedAt or run.createdAt))
end

---@param bytes integer
function M.size(bytes)
  for _, unit in ipairs({ { 1e9, "GB" }, { 1e6, "MB" }, { 1e3, "kB" } }) do
    if bytes >= unit[1] then
      return ("%.1f %s"):format(bytes / unit[1], unit[2])
    end
  end
  return bytes .. " bytes"
end

---@param count integer
local function tokens(count)
  return count >= 1e6 and ("%.1fM"):format(count / 1e6) or count >= 1000 and ("%.0fk"):format(count / 1000) or tostring(count)
end

-- How full the context of an agent's model is, and how many tokens are left; empty if the agent does not say it.
---@param run loomd.Run
function M.context(run)
  local context = run.agent and run.agent.context
  if not context or context.size <= 0 then
    return ""
  end
  return ("context %d%%, %s left"):format(math.floor(context.used / context.size * 100), tokens(math.max(0, context.size - context.used)))
end

---@param number integer
---@param thing string
function M.count(number, thing)
  return ("%d %s%s"):format(number, thing, number == 1 and "" or "s")
end

-- How a run ended, in a few words; empty while it is active.
---@param run loomd.Run
function M.outcome(run)
  if run.exitCode and run.exitCode ~= 0 and run.provider == "command" then
    return "exit code " .. run.exitCode
  elseif run.error then
    return M.one_line(run.error.message or run.error.kind)
  elseif not store.is_final(run) then
    return ""
  elseif run.takenOverAt then
    return "continued in terminal"
  elseif run.signal then
    return run.signal
  elseif run.exitCode and run.exitCode ~= 0 then
    return "exit code " .. run.exitCode
  end
  return ""
end

-- One message for a failed request.
---@param failure loomd.Failure
---@param what? string what failed, such as "Could not cancel the run"
function M.failure(failure, what)
  local kind = failure.data and failure.data.kind
  if kind == "methodNotFound" then
    local info = require("loomd.server").info_of(failure.host)
    return ("%s: not supported by loomd %s"):format(what or failure.message, info and info.serverInfo.version or "(unknown version)")
  end
  local hint = failure.data and failure.data.hint
  local text = failure.message .. (hint and (": " .. hint) or "")
  return what and (what .. ": " .. text) or text
end

-- Shortens the text to that many cells, with an ellipsis.
---@param text string
---@param cells integer
function M.fit(text, cells)
  if cells <= 0 then
    return ""
  elseif vim.fn.strdisplaywidth(text) <= cells then
    return text
  end
  local out = vim.fn.strcharpart(text, 0, cells)
  while vim.fn.strdisplaywidth(out) > cells - 1 do
    out = vim.fn.strcharpart(out, 0, vim.fn.strchars(out) - 1)
  end
  return out .. "…"
end

-- Breaks the text into lines of at most that many cells, at spaces. A longer word is broken anywhere.
---@param text string
---@param cells integer
---@return string[]
function M.wrap(text, cells)
  cells = math.max(cells, 10)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    local longer = line == "" and word or (line .. " " .. word)
    if vim.fn.strdisplaywidth(longer) <= cells then
      line = longer
    else
      if line ~= "" then
        lines[#lines + 1] = line
      end
      line = word
      while vim.fn.strdisplaywidth(line) > cells do
        local count = cells
        while vim.fn.strdisplaywidth(vim.fn.strcharpart(line, 0, count)) > cells do
          count = count - 1
        end
        lines[#lines + 1] = vim.fn.strcharpart(line, 0, count)
        line = vim.fn.strcharpart(line, count)
      end
    end
  end
  lines[#lines + 1] = line
  return lines
end

---@param text string
---@param cells integer
function M.pad(text, cells)
  text = M.fit(text, cells)
  return text .. (" "):rep(cells - vim.fn.strdisplaywidth(text))
end

return M
