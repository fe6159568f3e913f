-- The server process: finds the executable, starts it, initializes the connection, restarts it after a crash, and
-- stops it. Other modules only use `request`.

local config = require("loomd.config")
local rpc = require("loomd.rpc")
local store = require("loomd.store")

local M = {}

M.protocol_version = 1
M.client_version = "0.1.0"
-- A server that crashes more often than this within the window is not restarted until `:Loomd restart`.
M.max_crashes = 4
M.crash_window_ms = 3 * 60 * 1000

---@type "stopped"|"starting"|"ready"|"failed"
M.state = "stopped"
---@type string?
M.problem = nil
---@type loomd.InitializeResult?
M.info = nil

---@type loomd.Connection?
local connection
local crash_times = {}
local queued_requests = {}
local entry_listener = function() end
local item_listener = function() end

function M.log_path()
  return vim.fs.joinpath(vim.fn.stdpath("log"), "loomd.log")
end

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

local function set_state(state, problem)
  M.state, M.problem = state, problem
  store.emit("server", state, problem)
end

local function on_notification(method, params)
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
      M.refresh(run.id)
    end
  end
end

local function fail_queued(failure)
  local requests = queued_requests
  queued_requests = {}
  for _, request in ipairs(requests) do
    if request.callback then
      request.callback(failure)
    end
  end
end

local function fail(problem, kind)
  set_state("failed", problem)
  fail_queued(rpc.failure(kind or "connection", problem))
end

-- Loads the list of runs. After that, notifications keep it current.
local function read_runs(conn, done)
  local pending_pages, seen = 2, {}
  -- A run that was active on the previous server and is in no list now has ended or was deleted.
  local function refresh_missing()
    for id, run in pairs(store.runs) do
      if not seen[id] and not store.is_final(run) then
        conn:request("run/get", { runId = id }, function(failure, result)
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
  conn:request("run/list", { limit = 500, states = { "starting", "running", "awaitingPermission", "idle" } }, on_page)
  conn:request("run/list", { limit = 100 }, on_page)
end

local function initialize(conn)
  local options = config.get()
  conn:request("initialize", {
    protocolVersion = M.protocol_version,
    clientInfo = { name = "loomd.nvim", version = M.client_version },
    processId = vim.fn.getpid(),
    capabilities = { permissions = true, watch = true, output = { minIntervalMs = options.repaint_ms, maxChunkBytes = 65536 } },
  }, function(failure, result)
    if conn ~= connection then
      return
    elseif failure then
      if failure.data and failure.data.kind == "connection" then
        return -- on_exit decides what becomes of a server that died
      end
      connection = nil
      conn:kill()
      fail(failure.message, failure.data and failure.data.kind)
      return
    elseif result.protocolVersion ~= M.protocol_version then
      connection = nil
      conn:kill()
      local newer = result.protocolVersion > M.protocol_version and "the plugin" or "loomd"
      fail(
        ("loomd %s is not compatible with this plugin (protocol %d, expected %d); update %s"):format(
          result.serverInfo and result.serverInfo.version or "(unknown version)",
          result.protocolVersion,
          M.protocol_version,
          newer
        )
      )
      return
    end
    M.info = result
    store.reset_providers()
    for _, provider in ipairs(result.providers or {}) do
      store.providers[provider.id] = provider
    end
    conn:notify("initialized")
    read_runs(conn, function()
      if conn ~= connection then
        return
      end
      set_state("ready")
      local requests = queued_requests
      queued_requests = {}
      for _, request in ipairs(requests) do
        if not request.cancelled then
          request.call = conn:request(request.method, request.params, request.callback)
        end
      end
    end)
  end)
end

-- Requests the run again after it has ended, for what no entry contains: its cost, and whether its session was
-- continued in a terminal.
---@param id string
function M.refresh(id)
  M.request("run/get", { runId = id }, function(_, result)
    if result and store.runs[id] then
      store.put(result.run, true)
    end
  end)
end

local start

local function on_exit(conn, code, signal)
  if conn ~= connection then
    return
  end
  connection = nil
  M.info = nil
  local now = vim.uv.now()
  crash_times = vim.tbl_filter(function(at)
    return now - at < M.crash_window_ms
  end, crash_times)
  table.insert(crash_times, now)
  local exit_text = signal ~= 0 and ("signal " .. signal) or ("exit code " .. code)
  if #crash_times > M.max_crashes then
    fail(("server crashed %d times in 3 minutes (%s); see :Loomd log"):format(#crash_times, exit_text))
    require("loomd.notify").show_line("", ("Server crashed %d times in 3 minutes"):format(#crash_times), "; see :Loomd log", vim.log.levels.ERROR)
    return
  end
  set_state("starting")
  start()
end

start = function()
  set_state("starting")
  local argv, problem = config.argv()
  if argv then
    local log = M.log_path()
    vim.fn.mkdir(vim.fs.dirname(log), "p")
    vim.list_extend(argv, { "--log-file", log })
    local conn
    conn, problem = rpc.start(argv, {
      env = config.get().env,
      on_notification = on_notification,
      on_exit = function(code, signal)
        on_exit(conn, code, signal)
      end,
    })
    connection = conn
  end
  if not connection then
    fail(problem, "notFound")
    return
  end
  initialize(connection)
end

-- Starts the server unless it is running or starting.
function M.start()
  if M.state == "stopped" then
    start()
  end
end

-- Sends a request, and starts the server if necessary. `callback` is called exactly once.
---@param method loomd.Method|string
---@param params? table
---@param callback? fun(failure?: loomd.Failure, result?: any)
---@return loomd.Call
function M.request(method, params, callback)
  M.start()
  if M.state == "ready" and connection then
    return connection:request(method, params, callback)
  elseif M.state == "failed" then
    vim.schedule(function()
      if callback then
        callback(rpc.failure("connection", M.problem))
      end
    end)
    return { cancel = function() end }
  end
  local request = { method = method, params = params, callback = callback }
  table.insert(queued_requests, request)
  return {
    cancel = function()
      if request.call then
        request.call.cancel()
      elseif not request.cancelled then
        request.cancelled = true
        if callback then
          vim.schedule(function()
            callback(rpc.failure("cancelled", "canceled", -32800))
          end)
        end
      end
    end,
  }
end

-- Calls `callback` when the server is ready (without an argument) or could not be started (with a failure).
---@param callback fun(failure?: loomd.Failure)
function M.when_ready(callback)
  M.start()
  if M.state == "ready" then
    callback()
  elseif M.state == "failed" then
    callback(rpc.failure("connection", M.problem))
  else
    M.request("provider/list", nil, callback)
  end
end

-- Shuts the server down and waits at most `wait_ms` for its response: then everything that has ended is durable. Runs
-- keep going.
---@param wait_ms? integer
function M.stop(wait_ms)
  local conn = connection
  connection = nil
  M.info = nil
  if conn and not conn.closed then
    local has_response = M.state ~= "ready"
    if not has_response then
      conn:request("shutdown", nil, function()
        has_response = true
      end)
      vim.wait(wait_ms or 1000, function()
        return has_response or conn.closed
      end, 5)
    end
    conn:notify("exit")
    conn:fail_all("loomd was stopped; use :Loomd restart")
  end
  set_state("stopped")
  fail_queued(rpc.failure("connection", "loomd was stopped; use :Loomd restart"))
end

-- Restarts the server and resets the count of crashes.
function M.restart()
  M.stop()
  crash_times = {}
  start()
end

-- Kills the process as a crash would. For tests.
function M.crash()
  if connection then
    connection:kill()
  end
end

return M
