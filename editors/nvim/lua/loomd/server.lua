-- The server process: finds the executable, starts it, initializes the connection, restarts it after a crash, and
-- stops it. Other modules only use `request`, which passes what is about a host's run to the module `hosts`.

local client = require("loomd.client")
local config = require("loomd.config")
local hosts = require("loomd.hosts")
local rpc = require("loomd.rpc")
local run_id = require("loomd.run_id")
local store = require("loomd.store")

local M = {}

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
function M.log_path()
  return vim.fs.joinpath(vim.fn.stdpath("log"), "loomd.log")
end

local function set_state(state, problem)
  M.state, M.problem = state, problem
  store.emit("server", state, problem)
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

local function initialize(conn)
  client.initialize(conn, vim.fn.getpid(), function(failure, result)
    if conn ~= connection then
      return
    elseif failure then
      local kind = failure.data and failure.data.kind
      if kind == "connection" then
        return -- on_exit decides what becomes of a server that died
      end
      connection = nil
      conn:kill()
      fail(failure.message, kind ~= "protocol" and kind or nil)
      return
    end
    M.info = result
    store.set_providers(nil, result.providers or {})
    client.read_runs(conn, nil, function()
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

-- Requests the run again, for what no entry contains.
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
      on_notification = function(method, params)
        client.on_notification(conn, nil, method, params)
      end,
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

-- Starts the server unless it is running or starting, and the connections to hosts.
function M.start()
  hosts.start()
  if M.state == "stopped" then
    start()
  end
end

-- Sends a request, and starts the server if necessary. `callback` is called exactly once.
---@param method loomd.Method|string
---@param params? table
---@param callback? fun(failure?: loomd.Failure, result?: any)
---@param host? string the host whose server is asked; default: that of the run, else this computer
---@return loomd.Call
function M.request(method, params, callback, host)
  M.start()
  host = host or run_id.host_of_request(params)
  if host then
    return hosts.request(host, method, params, callback)
  end
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

-- What the server said of itself at the start; nil while there is no connection.
---@param host? string
---@return loomd.InitializeResult?
function M.info_of(host)
  if host then
    return hosts.info(host)
  end
  return M.state == "ready" and M.info or nil
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
  hosts.stop()
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
  hosts.start()
end

-- Kills the process as a crash would. For tests.
function M.crash()
  if connection then
    connection:kill()
  end
end

return M
