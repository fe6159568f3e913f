-- What this plugin does on every connection, to the server of this computer and to those of hosts: it initializes the
-- connection, loads the list of runs, and passes what the server sends to the store and to the views.

local config = require("loomd.config")
local rpc = require("loomd.rpc")
local run_id = require("loomd.run_id")
local store = require("loomd.store")

local M = {}

M.protocol_version = 1
M.client_version = "0.1.0"

local entry_listener = function() end
local item_listener = function() end

-- Sets the function that receives the entries of attached runs.
---@param listener fun(entry: loomd.Entry)
function M.set_entry_listener(listener)
  entry_listener = listener
end

-- Sets the function that receives the items of attached runs.
---@param listener fun(params: loomd.ItemParams)
function M.set_item_listener(listener)
  item_listener = listener
end

-- Sends a request to the server of a host; run IDs are translated both ways.
---@param connection loomd.Connection
---@param host? string
---@param method loomd.Method|string
---@param params? table
---@param callback? fun(failure?: loomd.Failure, result?: any)
---@return loomd.Call
function M.request(connection, host, method, params, callback)
  return connection:request(method, run_id.localize(params), callback and function(failure, result)
    if failure then
      failure.host = host
    end
    callback(failure, run_id.qualify(host, result))
  end)
end

-- Requests the run again after it has ended, for what no entry contains: its cost, and whether its session was
-- continued in a terminal.
---@param connection loomd.Connection
---@param host? string
---@param id string
function M.refresh(connection, host, id)
  M.request(connection, host, "run/get", { runId = id }, function(_, result)
    if result and store.runs[id] then
      store.put(result.run, true)
    end
  end)
end

---@param connection loomd.Connection
---@param host? string
---@param method string
---@param params table
function M.on_notification(connection, host, method, params)
  params = run_id.qualify(host, params)
  if method == "run/changed" then
    store.put(params.run)
  elseif method == "run/deleted" then
    store.remove(params.runIds)
  elseif method == "run/item" then
    item_listener(params)
  elseif params and params.runId and params.seq then
    local run = store.runs[params.runId]
    local was_live = run and not store.is_final(run)
    store.apply(params)
    entry_listener(params)
    if was_live and store.is_final(run) and run.session then
      M.refresh(connection, host, run.id)
    end
  end
end

-- Initializes a connection. A server of another protocol is a failure.
---@param connection loomd.Connection
---@param process_id? integer the process with which the server ends; a server elsewhere cannot see it
---@param done fun(failure?: loomd.Failure, result?: loomd.InitializeResult)
function M.initialize(connection, process_id, done)
  connection:request("initialize", {
    protocolVersion = M.protocol_version,
    clientInfo = { name = "loomd.nvim", version = M.client_version },
    processId = process_id,
    capabilities = { permissions = true, watch = true, output = { minIntervalMs = config.get().repaint_ms, maxChunkBytes = 65536 } },
  }, function(failure, result)
    if failure then
      return done(failure)
    elseif result.protocolVersion ~= M.protocol_version then
      local newer = result.protocolVersion > M.protocol_version and "the plugin" or "loomd"
      local version = result.serverInfo and result.serverInfo.version or "(unknown version)"
      return done(rpc.failure("protocol", ("loomd %s is not compatible with this plugin (protocol %d, expected %d); update %s"):format(version, result.protocolVersion, M.protocol_version, newer)))
    end
    connection:notify("initialized")
    done(nil, result)
  end)
end

-- Loads the list of runs. After that, notifications keep it current.
---@param connection loomd.Connection
---@param host? string
---@param done fun()
function M.read_runs(connection, host, done)
  local pending_pages, seen = 2, {}
  -- A run that was active on the previous connection and is in no list now has ended or was deleted.
  local function refresh_missing()
    for id, run in pairs(store.runs) do
      if run_id.host(id) == host and not seen[id] and not store.is_final(run) then
        M.request(connection, host, "run/get", { runId = id }, function(failure, result)
          if result then
            store.put(result.run)
          elseif failure.data and failure.data.kind == "runNotFound" then
            store.remove({ id })
          end
        end)
      end
    end
  end
  local function on_page(failure, result)
    if not failure then
      for _, run in ipairs(result.runs) do
        seen[run.id] = true
        store.put(run)
      end
    end
    pending_pages = pending_pages - 1
    if pending_pages == 0 then
      refresh_missing()
      done()
    end
  end
  M.request(connection, host, "run/list", { limit = 500, states = { "starting", "running", "awaitingPermission", "idle" } }, on_page)
  M.request(connection, host, "run/list", { limit = 100 }, on_page)
end

return M
