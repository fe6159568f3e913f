-- What a person reads: states, ages, sizes and names in words. Nothing here looks at a buffer.

local store = require("loomd.store")

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

-- All groups are links, so that a theme decides.
M.groups = {
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
  LoomdNotice = "DiagnosticWarn",
  LoomdAdded = "Added",
  LoomdRemoved = "Removed",
  LoomdHunk = "Changed",
  LoomdMatch = "Search",
}

---@param run loomd.Run
function M.state(run)
  return M.states[store.is_waiting(run) and "awaitingPermission" or run.state] or { word = run.state, icon = "·", group = "LoomdQuiet" }
end

-- As `loomd list` shows it: the last digits, since the first are the time.
---@param id string
function M.short(id)
  return id:sub(-8)
end

-- Control characters would break a line of a list, or worse, a terminal.
function M.one_line(text)
  return vim.trim((text:gsub("\27%[[%d;:?]*[%a]", ""):gsub("[%s%c]+", " ")))
end

-- Text of several lines without what would act on a terminal.
function M.clean(text)
  return (text:gsub("\27%[[%d;:?]*[ -/]*[@-~]", ""):gsub("\r\n?", "\n"):gsub("[%z\1-\8\11\12\14-\31]", "�"))
end

-- `[]` and text alike, as ACP has both.
---@param prompt loomd.Prompt?
function M.prompt(prompt)
  if type(prompt) == "string" then
    return prompt
  end
  local parts = {}
  for _, block in ipairs(prompt or {}) do
    parts[#parts + 1] = block.text
  end
  return #parts > 0 and table.concat(parts, " ") or nil
end

M.no_prompt = "(no prompt)"

---@param run loomd.Run
function M.title(run)
  local title = run.title or M.prompt(run.params and run.params.prompt)
  if (not title or title == "") and (run.session or store.providers[run.provider] and store.has_transcript(run)) then
    -- The command line of an agent says nothing of the conversation; `loomd list` has the same words.
    title = M.no_prompt
  elseif not title or title == "" then
    local argv = run.params and run.params.command or run.command or {}
    local shell = argv[2] == "-c" and argv[3]
    title = shell or table.concat(argv, " ")
  end
  title = M.one_line(title)
  return title ~= "" and title or run.provider
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

---@param number integer
---@param thing string
function M.count(number, thing)
  return ("%d %s%s"):format(number, thing, number == 1 and "" or "s")
end

-- How a run ended, in a few words; empty while it lives.
---@param run loomd.Run
function M.outcome(run)
  if run.exitCode and run.exitCode ~= 0 and run.provider == "command" then
    return "exit code " .. run.exitCode
  elseif run.error then
    return M.one_line(run.error.message or run.error.kind)
  elseif not store.is_final(run) then
    return ""
  elseif run.takenOverAt then
    return "taken over in a terminal"
  elseif run.signal then
    return run.signal
  elseif run.exitCode and run.exitCode ~= 0 then
    return "exit code " .. run.exitCode
  end
  return ""
end

-- One sentence for a request that failed.
---@param failure loomd.Failure
---@param what? string what was tried
function M.failure(failure, what)
  local kind = failure.data and failure.data.kind
  if kind == "methodNotFound" then
    local version = require("loomd.server").info
    return ("%s: this loomd (%s) cannot do that yet; a newer one may"):format(what or "loomd", version and version.serverInfo.version or "version unknown")
  end
  local hint = failure.data and failure.data.hint
  local text = failure.message .. (hint and (": " .. hint) or "")
  return what and (what .. ": " .. text) or text
end

---@param text string
---@param level? integer
function M.say(text, level)
  vim.notify("loomd: " .. text, level or vim.log.levels.INFO)
end

-- Says what nobody asked for, perhaps in the middle of somebody's typing: in one line, of which `long` gives way, and on a clean one, so
-- that Neovim never asks for Enter because of it.
---@param before string
---@param long string
---@param after string
---@param level? integer
function M.tell(before, long, after, level)
  local room = vim.v.echospace - vim.fn.strdisplaywidth("loomd: " .. before .. after) - 1
  local text = before .. M.fit(M.one_line(long), math.max(room, 12)) .. after
  pcall(vim.cmd.redraw)
  M.say(M.fit(text, math.max(20, vim.v.echospace - 8)), level)
end

-- The text cut to that many cells, with an ellipsis.
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

-- The text in lines of at most that many cells, broken at spaces; what has no space for so long is broken anywhere.
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
