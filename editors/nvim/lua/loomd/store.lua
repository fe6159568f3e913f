-- The runs and providers as the server last reported them. Other modules subscribe to its events. The store sends no
-- requests and draws nothing.

local run_id = require("loomd.run_id")

local M = {}

---@class loomd.StoreEvents
---@field runs fun(id: string, run?: loomd.Run, before?: loomd.RunState) a run is new, has changed, or (without `run`) was deleted
---@field permission fun(run: loomd.Run, entry: loomd.PermissionEntry)
---@field server fun(state: string, problem?: string)
---@field host fun(name: string, state: string) the connection to a host has changed

---@type table<string, loomd.Run>
M.runs = {}
---@type table<string, loomd.ProviderInfo>
M.providers = {}
---@type table<string, table<string, loomd.ProviderInfo>>
local host_providers = {}
-- Runs that this Neovim started or opened: the user is notified when they end.
---@type table<string, boolean>
M.tracked = {}

local listeners = { runs = {}, permission = {}, server = {}, host = {} }

local final_states = { succeeded = true, failed = true, cancelled = true, timedOut = true, lost = true }

---@param run { state: loomd.RunState }
function M.is_final(run)
  return final_states[run.state] == true
end

---@param run loomd.Run
function M.is_waiting(run)
  return not M.is_final(run) and (run.state == "awaitingPermission" or #(run.permissions or {}) > 0)
end

-- Calls `listener` for every event of this name, until the returned function is called.
---@param event "runs"|"permission"|"server"|"host"
---@param listener function
---@return fun() stop
function M.subscribe(event, listener)
  local key = {}
  listeners[event][key] = listener
  return function()
    listeners[event][key] = nil
  end
end

-- An error in one listener does not keep the others from being called.
function M.emit(event, ...)
  for _, listener in pairs(vim.deepcopy(listeners[event], true)) do
    local ok, problem = xpcall(listener, debug.traceback, ...)
    if not ok then
      vim.notify("loomd: " .. problem, vim.log.levels.ERROR)
    end
  end
end

-- Copies what edits change.
local function copy_metadata(from, to)
  to.title, to.displayTitle, to.labels, to.pinned = from.title, from.displayTitle, from.labels, from.pinned
end

-- Stores a snapshot of a run unless a newer one is known. With `keep_metadata` the snapshot is the response to
-- another request, and an edit may have been applied after it was taken. Titles, labels and pins have no sequence
-- number that tells which is newer, so the known ones are kept.
---@param run loomd.Run
---@param keep_metadata? boolean
function M.put(run, keep_metadata)
  local known = M.runs[run.id]
  if known and keep_metadata then
    copy_metadata(known, run)
  end
  if known and run.lastSeq < known.lastSeq then
    -- An edit does not wait for the log, so its title, labels and pin are newer even if its state is older.
    copy_metadata(run, known)
    M.emit("runs", run.id, known, known.state)
    return known
  end
  run.permissions = run.permissions or {}
  M.runs[run.id] = run
  M.emit("runs", run.id, run, known and known.state)
  if known then
    for _, entry in ipairs(run.permissions) do
      if not M.find_permission(known, entry.permissionId) then
        M.emit("permission", run, entry)
      end
    end
  else
    for _, entry in ipairs(run.permissions) do
      M.emit("permission", run, entry)
    end
  end
  return run
end

---@param ids string[]
function M.remove(ids)
  for _, id in ipairs(ids) do
    M.runs[id] = nil
    M.tracked[id] = nil
    M.emit("runs", id, nil)
  end
end

-- The pending permission request with that ID.
---@param run loomd.Run
---@param permission_id string
---@return loomd.PermissionEntry?
function M.find_permission(run, permission_id)
  for _, entry in ipairs(run.permissions or {}) do
    if entry.permissionId == permission_id then
      return entry
    end
  end
end

-- Applies an entry of a run's log. Entries at or below the known lastSeq are ignored.
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
  M.emit("runs", run.id, run, before)
  if entry.kind == "permission" then
    M.emit("permission", run, entry)
  end
end

-- Replaces the providers, because a new server reports its own. Runs are kept, so that views do not flicker.
---@param host? string
---@param providers loomd.ProviderInfo[]
function M.set_providers(host, providers)
  local by_id = {}
  for _, provider in ipairs(providers) do
    by_id[provider.id] = provider
  end
  if host then
    host_providers[host] = by_id
  else
    M.providers = by_id
  end
end

-- The providers of a host, or of this computer.
---@param host? string
---@return table<string, loomd.ProviderInfo>
function M.providers_of(host)
  return host and (host_providers[host] or {}) or M.providers
end

---@param run loomd.Run
---@return loomd.ProviderInfo?
function M.provider(run)
  return M.providers_of(run_id.host(run.id))[run.provider]
end

local function newest_first(a, b)
  if a.createdAt ~= b.createdAt then
    return a.createdAt > b.createdAt
  end
  return a.id > b.id
end

-- All runs in the order of the list: waiting for a permission (the oldest request first), active, finished.
---@param filter? fun(run: loomd.Run): boolean
---@return loomd.Run[] waiting, loomd.Run[] live, loomd.Run[] ended
function M.group_runs(filter)
  local waiting, live, ended = {}, {}, {}
  for _, run in pairs(M.runs) do
    if not filter or filter(run) then
      local group = M.is_final(run) and ended or M.is_waiting(run) and waiting or live
      group[#group + 1] = run
    end
  end
  table.sort(waiting, function(a, b)
    local since_a, since_b = M.waiting_since(a), M.waiting_since(b)
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
function M.waiting_since(run)
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

return M
