-- The server of a host: `ssh -T -- NAME loomd`, by the user's own ssh. It speaks JSON lines, because what a host prints
-- before its program starts is told from them line by line.

local M = {}

-- More than this before the first response is not a greeting.
M.max_greeting_bytes = 64 * 1024
-- The longest line, as the server bounds its own frames.
M.max_line_bytes = 64 * 1024 * 1024

local max_stderr_bytes = 4096
-- A process that ssh left behind may hold the pipes, so they are read no longer than this after the end of ssh.
local drain_ms = 500

---@param name string
---@return string[]
function M.argv(name)
  return { "ssh", "-T", "--", name, "loomd" }
end

-- The arguments that run loomd on a host in a terminal.
---@param name string
---@param ... string arguments of loomd, which the shell of the host must not read otherwise
---@return string[]
function M.terminal_argv(name, ...)
  return { "ssh", "-t", "--", name, "loomd", ... }
end

-- The message in a line. In front of the first one there may be what the host printed without a line feed.
local function decode(line, is_first)
  local from = is_first and line:find('{"jsonrpc"', 1, true) or 1
  local ok, message = pcall(vim.json.decode, line:sub(from or 1))
  return ok and type(message) == "table" and message.jsonrpc and message or nil
end

---@class loomd.SshClient as vim.lsp.rpc.start returns one
---@field problem? string why the client ended the connection
---@field stderr string the end of what ssh wrote there
---@field request fun(method: string, params: table, callback: fun(failure?: table, result?: any)): boolean, integer?
---@field notify fun(method: string, params: table): boolean
---@field terminate fun()

---@class loomd.SshDispatchers
---@field notification fun(method: string, params: table)
---@field server_request fun(method: string): any, any
---@field on_exit fun(code: integer, signal: integer)

-- Starts a server on a host.
---@param argv string[]
---@param dispatchers loomd.SshDispatchers
---@return loomd.SshClient
function M.start(argv, dispatchers)
  local client = { stderr = "" }
  local callbacks, last_id, has_message, passed_over = {}, 0, false, 0
  local stdin, stdout, stderr = assert(vim.uv.new_pipe()), assert(vim.uv.new_pipe()), assert(vim.uv.new_pipe())
  local pipes, exit = { stdin, stdout, stderr }, nil
  local function close_pipes()
    for _, pipe in ipairs(pipes) do
      if not pipe:is_closing() then
        pipe:close()
      end
    end
  end
  local function finish()
    if exit and not exit.is_dispatched then
      exit.is_dispatched = true
      close_pipes()
      dispatchers.on_exit(exit.code, exit.signal)
    end
  end
  local process, pid_or_problem
  -- Without a terminal of its own, ssh would ask for a password in the middle of Neovim's screen.
  process, pid_or_problem = vim.uv.spawn(argv[1], { args = vim.list_slice(argv, 2), stdio = pipes, detached = true, hide = true }, function(code, signal)
    process:close()
    exit = { code = code, signal = signal }
    if stdout:is_closing() and stderr:is_closing() then
      finish()
    else
      vim.defer_fn(finish, drain_ms)
    end
  end)
  if not process then
    close_pipes()
    error(("%s: %s"):format(argv[1], tostring(pid_or_problem)), 0)
  end

  function client.terminate()
    if not process:is_closing() then
      process:kill("sigkill")
    end
  end
  local function fail(problem)
    client.problem = client.problem or problem
    client.terminate()
  end
  local function send(message)
    if stdin:is_closing() then
      return false
    end
    message.jsonrpc = "2.0"
    stdin:write(vim.json.encode(message) .. "\n")
    return true
  end
  function client.request(method, params, callback)
    last_id = last_id + 1
    callbacks[last_id] = callback
    return send({ id = last_id, method = method, params = params }), last_id
  end
  function client.notify(method, params)
    return send({ method = method, params = params })
  end

  local function dispatch(message)
    if message.method and message.id ~= nil then
      local result, failure = dispatchers.server_request(message.method)
      send({ id = message.id, result = result, error = failure })
    elseif message.method then
      dispatchers.notification(message.method, message.params)
    else
      local callback = callbacks[message.id]
      callbacks[message.id] = nil
      if callback then
        callback(message.error, message.result)
      end
    end
  end
  local function on_line(line)
    local message = not client.problem and decode(line, not has_message) or nil
    if message then
      has_message = true
      vim.schedule(function()
        dispatch(message)
      end)
    elseif has_message then
      fail("it wrote something that is no message")
    else
      passed_over = passed_over + #line
    end
  end
  local parts, part_bytes = {}, 0
  local function read(data)
    local from = 1
    while not client.problem do
      local to = data:find("\n", from, true)
      parts[#parts + 1] = data:sub(from, (to or 0) - 1)
      part_bytes = part_bytes + #parts[#parts]
      if passed_over + part_bytes > (has_message and M.max_line_bytes or M.max_greeting_bytes) and not (parts[1]:find('{"jsonrpc"', 1, true) and part_bytes <= M.max_line_bytes) then
        return fail(has_message and "it wrote a line that is too long" or "it wrote too much that is no answer of loomd")
      elseif not to then
        return
      end
      local line = table.concat(parts)
      parts, part_bytes, from = {}, 0, to + 1
      on_line(line)
    end
  end
  stdout:read_start(function(_, data)
    if data then
      return read(data)
    end
    stdout:close()
    return stderr:is_closing() and finish()
  end)
  stderr:read_start(function(_, data)
    if data then
      client.stderr = (client.stderr .. data):sub(-max_stderr_bytes)
      return
    end
    stderr:close()
    return stdout:is_closing() and finish()
  end)
  return client
end

return M
