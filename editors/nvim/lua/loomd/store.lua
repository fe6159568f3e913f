-- The one place that knows the runs: what the server said of them last, and who wants to hear of changes. It asks nothing and paints nothing.

local M = {}

---@class loomd.Hearer
---@field runs fun(id: string, run?: loomd.Run, before?: loomd.RunState) a run is new, changed, or (without `run`) gone
---@field permission fun(run: loomd.Run, entry: loomd.PermissionEntry)
---@field server fun(state: string, problem?: string)

---@type table<string, loomd.Run>
M.runs = {}
---@type table<string, loomd.ProviderInfo>
M.providers = {}
-- Runs that this Neovim started or looked at: of their end it tells.
---@type table<string, boolean>
M.mine = {}

local hearers = { runs = {}, permission = {}, server = {} }

local final = { succeeded = true, failed = true, cancelled = true, timedOut = true, lost = true }

---@param run { state: loomd.RunState }
function M.is_final(run)
  return final[run.state] == true
end

---@param run loomd.Run
function M.is_waiting(run)
  return not M.is_final(run) and (run.state == "awaitingPermission" or #(run.permissions or {}) > 0)
end

-- Calls `hear` on every event of this name, until the returned function is called.
---@param event "runs"|"permission"|"server"
---@param hear function
---@return fun() stop
function M.on(event, hear)
  local key = {}
  hearers[event][key] = hear
  return function()
    hearers[event][key] = nil
  end
end

-- One hearer's mistake must not keep the others from hearing.
function M.tell(event, ...)
  for _, hear in pairs(vim.deepcopy(hearers[event], true)) do
    local ok, problem = xpcall(hear, debug.traceback, ...)
    if not ok then
      vim.notify("loomd: " .. problem, vim.log.levels.ERROR)
    end
  end
end

-- Takes over a picture of a run, unless a newer one is known. `about_state`: it came as the answer to something else, and an edit may have
-- been answered before it; titles, labels and pins have no number that says which is newer, so those that are known stay.
---@param run loomd.Run
---@param about_state? boolean
function M.put(run, about_state)
  local known = M.runs[run.id]
  if known and about_state then
    run.title, run.labels, run.pinned = known.title, known.labels, known.pinned
  end
  if known and run.lastSeq < known.lastSeq then
    -- An edit does not wait for the log: its words are newer even where its state is older.
    known.title, known.labels, known.pinned = run.title, run.labels, run.pinned
    M.tell("runs", run.id, known, known.state)
    return known
  end
  run.permissions = run.permissions or {}
  M.runs[run.id] = run
  M.tell("runs", run.id, run, known and known.state)
  if known then
    for _, entry in ipairs(run.permissions) do
      if not M.permission(known, entry.permissionId) then
        M.tell("permission", run, entry)
      end
    end
  else
    for _, entry in ipairs(run.permissions) do
      M.tell("permission", run, entry)
    end
  end
  return run
end

---@param ids string[]
function M.remove(ids)
  for _, id in ipairs(ids) do
    M.runs[id] = nil
    M.mine[id] = nil
    M.tell("runs", id, nil)
  end
end

-- The open question of that id.
---@param run loomd.Run
---@param permission_id string
---@return loomd.PermissionEntry?
function M.permission(run, permission_id)
  for _, entry in ipairs(run.permissions or {}) do
    if entry.permissionId == permission_id then
      return entry
    end
  end
end

-- Takes an entry of a run's log. What is at or below the known lastSeq is old.
---@param entry loomd.Entry
function M.apply(entry)
  local run = M.runs[entry.runId]
  if not run or entry.seq <= run.lastSeq then
    return
  end
  run.lastSeq = entry.seq
  local before = run.state
  if entry.kind == "output" then
    local bytes = run.bytes[entry.stream] or 0
    run.bytes[entry.stream] = math.max(bytes, entry.offset + #entry.text)
    return
  elseif entry.kind == "update" then
    return
  elseif entry.kind == "session" then
    run.session = entry.session
  elseif entry.kind == "permission" then
    run.permissions = vim.tbl_filter(function(open)
      return open.permissionId ~= entry.permissionId
    end, run.permissions or {})
    if entry.status == "requested" then
      table.insert(run.permissions, entry)
    end
  elseif entry.kind == "state" then
    run.state = entry.state
    run.turn = entry.turn or run.turn
    run.error = entry.error
    if entry.state == "running" and not run.startedAt then
      run.startedAt = entry.at
    end
    if M.is_final(run) then
      run.exitCode, run.signal, run.endedAt = entry.exitCode, entry.signal, entry.at
      run.permissions, run.pid = {}, nil
    end
  end
  M.tell("runs", run.id, run, before)
  if entry.kind == "permission" then
    M.tell("permission", run, entry)
  end
end

-- Forgets what a server said: another one will say it again. Runs stay, so that views do not flicker.
function M.reset_providers()
  M.providers = {}
end

local function newest_first(a, b)
  if a.createdAt ~= b.createdAt then
    return a.createdAt > b.createdAt
  end
  return a.id > b.id
end

-- All runs in the order in which a person wants to see them: who waits for an answer (the longest wait first), what runs, what ended.
---@return loomd.Run[] waiting, loomd.Run[] live, loomd.Run[] ended
function M.grouped()
  local waiting, live, ended = {}, {}, {}
  for _, run in pairs(M.runs) do
    local group = M.is_final(run) and ended or M.is_waiting(run) and waiting or live
    group[#group + 1] = run
  end
  table.sort(waiting, function(a, b)
    local since_a, since_b = M.waits_since(a), M.waits_since(b)
    if since_a ~= since_b then
      return since_a < since_b
    end
    return a.id < b.id
  end)
  table.sort(live, newest_first)
  table.sort(ended, newest_first)
  return waiting, live, ended
end

---@param run loomd.Run
function M.waits_since(run)
  local first = (run.permissions or {})[1]
  return first and first.at or run.createdAt
end

---@return { waiting: integer, running: integer }
function M.counts()
  local counts = { waiting = 0, running = 0 }
  for _, run in pairs(M.runs) do
    if M.is_waiting(run) then
      counts.waiting = counts.waiting + 1
    elseif not M.is_final(run) and run.state ~= "idle" then
      counts.running = counts.running + 1
    end
  end
  return counts
end

-- Whether a run's provider speaks in updates, so that it has a transcript to read and not only output.
---@param run loomd.Run
function M.has_transcript(run)
  local provider = M.providers[run.provider]
  if provider then
    return provider.capabilities.updates
  end
  return run.provider ~= "command"
end

return M
