-- One connection to one server process, by vim.lsp.rpc or the module `ssh`. No other module uses vim.lsp.rpc.
--
-- vim.lsp.rpc drops callbacks in two cases, so this module keeps its own table of pending requests. When the process
-- exits, every pending request fails. When a request is canceled, it fails here at once, because vim.lsp.rpc discards
-- the error -32800 of the server.

local M = {}

---@class loomd.Failure
---@field code integer
---@field message string
---@field data? { kind: string, [string]: any }
---@field host? string whose server failed; nil: that of this computer

---@class loomd.Call
---@field cancel fun()

---@class loomd.Connection
---@field pending table<integer, { method: string, settle: fun(failure?: loomd.Failure, result?: any) }>
---@field closed boolean
local Connection = {}
Connection.__index = Connection

---@return loomd.Failure
function M.failure(kind, message, code)
  return { code = code or -32099, message = message, data = { kind = kind } }
end

-- Neovim 0.12 decodes JSON's null as vim.NIL, 0.10 as nil. This function makes it nil.
local function remove_nulls(value)
  if value == vim.NIL then
    return nil
  elseif type(value) == "table" then
    for key, member in pairs(value) do
      if member == vim.NIL then
        value[key] = nil
      elseif type(member) == "table" then
        remove_nulls(member)
      end
    end
  end
  return value
end

---@class loomd.ConnectionOptions
---@field env? table<string, string>
---@field on_notification fun(method: string, params: table)
---@field on_exit fun(code: integer, signal: integer)
---@field transport? fun(argv: string[], dispatchers: table): table default: vim.lsp.rpc.start
---@field exit_message? fun(code: integer, signal: integer): string what pending requests fail with

local function exit_message(code, signal)
  local exit_text = signal ~= 0 and ("was terminated by signal " .. signal) or ("exited with code " .. code)
  return ("loomd %s before it responded; see :Loomd log, :Loomd restart"):format(exit_text)
end

-- Starts the server. If the program cannot be started, it returns a message instead of raising an error.
---@param argv string[]
---@param options loomd.ConnectionOptions
---@return loomd.Connection? connection
---@return string? problem
function M.start(argv, options)
  local self = setmetatable({ pending = {}, closed = false, last_id = 0 }, Connection)
  local ok, client = pcall(options.transport or vim.lsp.rpc.start, argv, {
    notification = function(method, params)
      if not self.closed then
        options.on_notification(method, remove_nulls(params))
      end
    end,
    server_request = function(method)
      return nil, { code = -32601, message = "method not found: " .. method }
    end,
    on_error = function(code, problem)
      -- The response to a canceled request is expected. Any other error is a bug.
      if code ~= vim.lsp.rpc.client_errors.NO_RESULT_CALLBACK_FOUND then
        vim.notify(("loomd: %s"):format(type(problem) == "string" and problem or vim.inspect(problem)), vim.log.levels.ERROR)
      end
    end,
    on_exit = function(code, signal)
      -- Scheduled, so that messages that were read before the exit are handled first.
      vim.schedule(function()
        self.closed = true
        self:fail_all((options.exit_message or exit_message)(code, signal))
        options.on_exit(code, signal)
      end)
    end,
  }, { env = next(options.env or {}) and options.env or nil })
  if not ok or type(client) ~= "table" then
    return nil, ("Could not start %s: %s"):format(argv[1], tostring(client):gsub("^.-: ", ""))
  end
  self.client = client
  return self
end

---@param message string
function Connection:fail_all(message)
  local pending = self.pending
  self.pending = {}
  for _, id in ipairs(vim.fn.sort(vim.tbl_keys(pending), "n")) do
    pending[id].complete(M.failure("connection", message))
  end
end

-- Sends a request. `callback` is called exactly once, and never before this function has returned.
---@param method loomd.Method|string
---@param params? table
---@param callback? fun(failure?: loomd.Failure, result?: any)
---@return loomd.Call
function Connection:request(method, params, callback)
  self.last_id = self.last_id + 1
  local id = self.last_id
  local wire_id
  local function complete(failure, result)
    if self.pending[id] or failure and failure.data and failure.data.kind == "connection" then
      self.pending[id] = nil
      if callback then
        callback(failure, result)
        callback = nil
      end
    end
  end
  self.pending[id] = { method = method, complete = complete }
  local sent
  if not self.closed then
    sent, wire_id = self.client.request(method, params or vim.empty_dict(), function(failure, result)
      complete(remove_nulls(failure), remove_nulls(result))
    end)
  end
  if not sent then
    vim.schedule(function()
      complete(M.failure("connection", "loomd is not running; use :Loomd restart"))
    end)
  end
  return {
    cancel = function()
      if not self.pending[id] then
        return
      end
      if wire_id then
        self.client.notify("$/cancelRequest", { id = wire_id })
      end
      vim.schedule(function()
        complete(M.failure("cancelled", "canceled", -32800))
      end)
    end,
  }
end

---@param method string
---@param params? table
function Connection:notify(method, params)
  if not self.closed then
    self.client.notify(method, params or vim.empty_dict())
  end
end

-- Kills the process. Its runs keep going.
function Connection:kill()
  if not self.closed then
    self.client.terminate()
  end
end

return M
