-- The server's life: found, started, greeted, restarted when it crashed, said goodbye to. Everybody else only asks through `request`.

local config = require("loomd.config")
local rpc = require("loomd.rpc")
local store = require("loomd.store")

local M = {}

M.protocol_version = 1
M.client_version = "0.1.0"
-- A server that crashes more often than this within the window stays down until somebody says `:Loomd restart`.
M.restarts = 4
M.window_ms = 3 * 60 * 1000

---@type "stopped"|"starting"|"ready"|"failed"
M.state = "stopped"
---@type string?
M.problem = nil
---@type loomd.InitializeResult?
M.info = nil

---@type loomd.Connection?
local connection
local crashes = {}
local waiting = {}
local hear_entry = function() end

function M.log_path()
  return vim.fs.joinpath(vim.fn.stdpath("log"), "loomd.log")
end

-- Who gets the entries of attached runs.
---@param hear fun(entry: loomd.Entry)
function M.on_entry(hear)
  hear_entry = hear
end

local function enter(state, problem)
  M.state, M.problem = state, problem
  store.tell("server", state, problem)
end

local function on_notification(method, params)
  if method == "run/changed" then
    store.put(params.run)
  elseif method == "run/deleted" then
    store.remove(params.runIds)
  elseif params and params.runId and params.seq then
    local run = store.runs[params.runId]
    local was_live = run and not store.is_final(run)
    store.apply(params)
    hear_entry(params)
    if was_live and store.is_final(run) and run.session then
      M.refresh(run.id)
    end
  end
end

local function fail_waiting(failure)
  local callers = waiting
  waiting = {}
  for _, caller in ipairs(callers) do
    if caller.callback then
      caller.callback(failure)
    end
  end
end

local function give_up(problem, kind)
  enter("failed", problem)
  fail_waiting(rpc.failure(kind or "connection", problem))
end

-- The list of runs as it stands; from here on broadcasts keep it true.
local function read_runs(from, done)
  local missing, seen = 2, {}
  -- A run that lived when the last server went and is in no list now: it ended, or is gone.
  local function ask_for_lost()
    for id, run in pairs(store.runs) do
      if not seen[id] and not store.is_final(run) then
        from:request("run/get", { runId = id }, function(failure, result)
          if result then
            store.put(result.run)
          elseif failure.data and failure.data.kind == "runNotFound" then
            store.remove({ id })
          end
        end)
      end
    end
  end
  local function one(failure, result)
    if not failure then
      for _, run in ipairs(result.runs) do
        seen[run.id] = true
        store.put(run)
      end
    end
    missing = missing - 1
    if missing == 0 then
      ask_for_lost()
      done()
    end
  end
  from:request("run/list", { limit = 500, states = { "starting", "running", "awaitingPermission", "idle" } }, one)
  from:request("run/list", { limit = 100 }, one)
end

local function greet(from)
  local options = config.get()
  from:request("initialize", {
    protocolVersion = M.protocol_version,
    clientInfo = { name = "loomd.nvim", version = M.client_version },
    processId = vim.fn.getpid(),
    capabilities = { permissions = true, watch = true, output = { minIntervalMs = options.repaint_ms, maxChunkBytes = 65536 } },
  }, function(failure, result)
    if from ~= connection then
      return
    elseif failure then
      if failure.data and failure.data.kind == "connection" then
        return -- on_exit decides what becomes of a server that died
      end
      connection = nil
      from:kill()
      give_up(failure.message, failure.data and failure.data.kind)
      return
    elseif result.protocolVersion ~= M.protocol_version then
      connection = nil
      from:kill()
      local newer = result.protocolVersion > M.protocol_version and "the plugin" or "loomd"
      give_up(
        ("loomd %s speaks protocol %d and this plugin %d: update %s"):format(
          result.serverInfo and result.serverInfo.version or "(of unknown version)",
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
    from:notify("initialized")
    read_runs(from, function()
      if from ~= connection then
        return
      end
      enter("ready")
      local callers = waiting
      waiting = {}
      for _, caller in ipairs(callers) do
        if not caller.cancelled then
          caller.call = from:request(caller.method, caller.params, caller.callback)
        end
      end
    end)
  end)
end

-- What no entry tells of an agent's run that has ended: what it cost, and whether a terminal has its session now.
---@param id string
function M.refresh(id)
  M.request("run/get", { runId = id }, function(_, result)
    if result and store.runs[id] then
      store.put(result.run, true)
    end
  end)
end

local start

local function on_exit(from, code, signal)
  if from ~= connection then
    return
  end
  connection = nil
  M.info = nil
  local now = vim.uv.now()
  crashes = vim.tbl_filter(function(at)
    return now - at < M.window_ms
  end, crashes)
  table.insert(crashes, now)
  local how = signal ~= 0 and ("by signal " .. signal) or ("with " .. code)
  if #crashes > M.restarts then
    give_up(("ended %d times in 3 minutes, last %s; :Loomd log, :Loomd restart"):format(#crashes, how))
    require("loomd.words").tell("", M.problem, "", vim.log.levels.ERROR)
    return
  end
  enter("starting")
  start()
end

start = function()
  enter("starting")
  local argv, problem = config.argv()
  if argv then
    local log = M.log_path()
    vim.fn.mkdir(vim.fs.dirname(log), "p")
    vim.list_extend(argv, { "--log-file", log })
    local from
    from, problem = rpc.start(argv, {
      env = config.get().env,
      on_notification = on_notification,
      on_exit = function(code, signal)
        on_exit(from, code, signal)
      end,
    })
    connection = from
  end
  if not connection then
    give_up(problem, "notFound")
    return
  end
  greet(connection)
end

-- Sees to it that the server runs, or is about to.
function M.start()
  if M.state == "stopped" then
    start()
  end
end

-- Asks the server, which is started if need be. `callback` is called exactly once.
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
  local caller = { method = method, params = params, callback = callback }
  table.insert(waiting, caller)
  return {
    cancel = function()
      if caller.call then
        caller.call.cancel()
      elseif not caller.cancelled then
        caller.cancelled = true
        if callback then
          vim.schedule(function()
            callback(rpc.failure("cancelled", "given up", -32800))
          end)
        end
      end
    end,
  }
end

-- Calls back when the server is ready (nil) or has turned out not to become so (a failure).
---@param callback fun(failure?: loomd.Failure)
function M.ready(callback)
  M.start()
  if M.state == "ready" then
    callback()
  elseif M.state == "failed" then
    callback(rpc.failure("connection", M.problem))
  else
    M.request("provider/list", nil, callback)
  end
end

-- Says goodbye and waits for the answer, though not for long: what has ended is durable then. Runs go on.
---@param wait_ms? integer
function M.stop(wait_ms)
  local from = connection
  connection = nil
  M.info = nil
  if from and not from.closed then
    local answered = M.state ~= "ready"
    if not answered then
      from:request("shutdown", nil, function()
        answered = true
      end)
      vim.wait(wait_ms or 1000, function()
        return answered or from.closed
      end, 5)
    end
    from:notify("exit")
    from:fail_all("loomd was stopped; :Loomd restart starts it again")
  end
  enter("stopped")
  fail_waiting(rpc.failure("connection", "loomd was stopped; :Loomd restart starts it again"))
end

-- Stops the server if it runs, and starts it with a clean record.
function M.restart()
  M.stop()
  crashes = {}
  start()
end

-- For tests: the process goes without a word, as in a crash.
function M.crash()
  if connection then
    connection:kill()
  end
end

return M
