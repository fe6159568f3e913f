-- The connections to the hosts that the user has set. Each has its own state, so none waits for another. One that breaks is
-- made again, after pauses that grow; one that never stood is made again only when the user says so, because each try may
-- ask for a password somewhere.

local client = require("loomd.client")
local config = require("loomd.config")
local format = require("loomd.format")
local notify = require("loomd.notify")
local rpc = require("loomd.rpc")
local run_id = require("loomd.run_id")
local ssh = require("loomd.ssh")
local store = require("loomd.store")

local M = {}

-- How long ssh and the server may take until the first response.
M.connect_timeout_ms = 30000
M.first_pause_ms = 1000
M.max_pause_ms = 60000

---@class loomd.Host
---@field name string
---@field state "connecting"|"ready"|"broken"|"failed" broken: the connection is made again by itself
---@field problem? string
---@field info? loomd.InitializeResult
---@field connection? loomd.Connection
---@field was_ready? boolean
---@field ready_at? integer
---@field breaks integer connections that broke one after the other, none of which stood for long

---@type table<string, loomd.Host>
local hosts = {}

---@param host loomd.Host
local function set_state(host, state, problem)
  host.state, host.problem = state, problem
  store.emit("host", host.name, state)
end

-- Ends the connection, and what comes from it later is ignored.
---@param host loomd.Host
local function drop(host)
  local connection = host.connection
  host.connection, host.info = nil, nil
  if connection then
    connection:kill()
    connection:fail_all(host.name .. " is not connected")
  end
end

local connect

---@param host loomd.Host
---@param problem string
local function on_break(host, problem)
  drop(host)
  if not host.was_ready then
    return set_state(host, "failed", problem)
  end
  local stood_for = host.ready_at and vim.uv.now() - host.ready_at or 0
  host.breaks = stood_for > M.max_pause_ms and 1 or host.breaks + 1
  host.ready_at = nil
  local breaks = host.breaks
  vim.defer_fn(function()
    if hosts[host.name] == host and host.state == "broken" and host.breaks == breaks then
      connect(host)
    end
  end, math.min(M.first_pause_ms * 2 ^ (breaks - 1), M.max_pause_ms))
  set_state(host, "broken", problem)
end

-- What ssh wrote last says best why it ended.
---@param process? loomd.SshClient
local function end_message(process, code, signal)
  local last
  for line in (process and process.stderr or ""):gmatch("[^\r\n]+") do
    local shown = format.one_line(line)
    last = shown ~= "" and shown or last
  end
  return process and process.problem or last or (signal ~= 0 and "ssh was terminated by signal " .. signal) or ("ssh exited with code " .. code)
end

---@param host loomd.Host
connect = function(host)
  local connection, process, problem
  connection, problem = rpc.start(ssh.argv(host.name), {
    transport = function(argv, dispatchers)
      process = ssh.start(argv, dispatchers)
      return process
    end,
    on_notification = function(method, params)
      if connection == host.connection then
        client.on_notification(connection, host.name, method, params)
      end
    end,
    exit_message = function(code, signal)
      return ("%s: %s"):format(host.name, end_message(process, code, signal))
    end,
    on_exit = function(code, signal)
      if connection == host.connection then
        on_break(host, end_message(process, code, signal))
      end
    end,
  })
  host.connection = connection
  if not connection then
    return set_state(host, "failed", problem)
  end
  set_state(host, "connecting")
  local function is_current()
    return host.connection == connection and host.state == "connecting"
  end
  vim.defer_fn(function()
    if is_current() then
      on_break(host, ("no answer within %d s"):format(M.connect_timeout_ms / 1000))
    end
  end, M.connect_timeout_ms)
  client.initialize(connection, nil, function(failure, result)
    if not is_current() then
      return
    elseif failure then
      if failure.data and failure.data.kind == "connection" then
        return -- on_exit knows why
      end
      drop(host)
      return set_state(host, "failed", failure.message)
    end
    store.set_providers(host.name, result.providers or {})
    client.read_runs(connection, host.name, function()
      if is_current() then
        host.info, host.was_ready, host.ready_at = result, true, vim.uv.now()
        set_state(host, "ready")
      end
    end)
  end)
end

-- Connects to the hosts that have been set and not been tried yet.
function M.start()
  for _, name in ipairs(config.hosts()) do
    if not hosts[name] then
      hosts[name] = { name = name, state = "connecting", breaks = 0 }
      connect(hosts[name])
    end
  end
end

-- Connects again, at once, to a host or to all that are not there.
---@param name? string
function M.connect(name)
  if name and not vim.tbl_contains(config.hosts(), name) then
    return notify.show(name .. " is not in vim.g.loomd.hosts", vim.log.levels.ERROR)
  end
  for _, each in ipairs(config.hosts()) do
    local host = hosts[each]
    if host and host.state ~= "ready" and (not name or name == each) then
      drop(host)
      connect(host)
    end
  end
  M.start()
end

-- The hosts that have been set, in the user's order.
---@return loomd.Host[]
function M.list()
  local found = {}
  for _, name in ipairs(config.hosts()) do
    found[#found + 1] = hosts[name]
  end
  return found
end

-- The names of those that are there.
---@return string[]
function M.ready_names()
  return vim.tbl_filter(function(name)
    return M.info(name) ~= nil
  end, config.hosts())
end

---@param name string
---@return loomd.InitializeResult? nil while it is not connected
function M.info(name)
  return hosts[name] and hosts[name].info
end

---@param name string
---@param method string
---@param params? table
---@param callback? fun(failure?: loomd.Failure, result?: any)
---@return loomd.Call
function M.request(name, method, params, callback)
  local host = hosts[name]
  if host and host.info then
    return client.request(host.connection, name, method, params, callback)
  end
  local why = host and host.problem or host and "still connecting" or "it is not in vim.g.loomd.hosts"
  vim.schedule(function()
    if callback then
      callback(rpc.failure("connection", ("%s is not connected (%s)"):format(name, why)))
    end
  end)
  return { cancel = function() end }
end

-- Ends all connections without waiting. Runs keep going.
function M.stop()
  local old = hosts
  hosts = {}
  for _, host in pairs(old) do
    if host.info then
      host.connection:notify("exit")
    end
    drop(host)
  end
end

return M
