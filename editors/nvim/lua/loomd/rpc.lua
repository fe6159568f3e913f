-- One connection to one server process, over vim.lsp.rpc; nothing else in the plugin knows of vim.lsp.rpc.
--
-- vim.lsp.rpc forgets its callers in two cases, so this module keeps its own table of pending calls: when the process dies,
-- every one of them fails; when one is cancelled, it is settled here and at once (an answer -32800 is swallowed below us).

local M = {}

---@class loomd.Failure
---@field code integer
---@field message string
---@field data? { kind: string, [string]: any }

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

-- Neovim 0.12 hands over JSON's null as vim.NIL, 0.10 as nil; here it is nil.
local function without_null(value)
  if value == vim.NIL then
    return nil
  elseif type(value) == "table" then
    for key, member in pairs(value) do
      if member == vim.NIL then
        value[key] = nil
      elseif type(member) == "table" then
        without_null(member)
      end
    end
  end
  return value
end

---@class loomd.ConnectionOptions
---@field env? table<string, string>
---@field on_notification fun(method: string, params: table)
---@field on_exit fun(code: integer, signal: integer)

-- Starts the server. A program that cannot be started is a problem, not an error.
---@param argv string[]
---@param options loomd.ConnectionOptions
---@return loomd.Connection? connection
---@return string? problem
function M.start(argv, options)
  local self = setmetatable({ pending = {}, closed = false, last = 0 }, Connection)
  local ok, client = pcall(vim.lsp.rpc.start, argv, {
    notification = function(method, params)
      if not self.closed then
        options.on_notification(method, without_null(params))
      end
    end,
    server_request = function(method)
      return nil, { code = -32601, message = "this client answers no requests, nor " .. method }
    end,
    on_error = function(code, problem)
      -- What arrives after a call was given up is no mistake; anything else is one of ours.
      if code ~= vim.lsp.rpc.client_errors.NO_RESULT_CALLBACK_FOUND then
        vim.notify(("loomd: %s"):format(type(problem) == "string" and problem or vim.inspect(problem)), vim.log.levels.ERROR)
      end
    end,
    on_exit = function(code, signal)
      -- Behind the messages that were read before the end.
      vim.schedule(function()
        self.closed = true
        local how = signal ~= 0 and ("was ended by signal " .. signal) or ("ended with " .. code)
        self:fail_all(("loomd %s before it answered; :Loomd log shows its log, :Loomd restart starts it again"):format(how))
        options.on_exit(code, signal)
      end)
    end,
  }, { env = next(options.env or {}) and options.env or nil })
  if not ok or type(client) ~= "table" then
    return nil, ("%s cannot be started: %s"):format(argv[1], tostring(client):gsub("^.-: ", ""))
  end
  self.client = client
  return self
end

---@param message string
function Connection:fail_all(message)
  local pending = self.pending
  self.pending = {}
  for _, id in ipairs(vim.fn.sort(vim.tbl_keys(pending), "n")) do
    pending[id].settle(M.failure("connection", message))
  end
end

-- Asks; `callback` is called exactly once, whatever happens, and never before this function has returned.
---@param method loomd.Method|string
---@param params? table
---@param callback? fun(failure?: loomd.Failure, result?: any)
---@return loomd.Call
function Connection:request(method, params, callback)
  self.last = self.last + 1
  local id = self.last
  local wire_id
  local function settle(failure, result)
    if self.pending[id] or failure and failure.data and failure.data.kind == "connection" then
      self.pending[id] = nil
      if callback then
        callback(failure, result)
        callback = nil
      end
    end
  end
  self.pending[id] = { method = method, settle = settle }
  local sent
  if not self.closed then
    sent, wire_id = self.client.request(method, params or vim.empty_dict(), function(failure, result)
      settle(without_null(failure), without_null(result))
    end)
  end
  if not sent then
    vim.schedule(function()
      settle(M.failure("connection", "loomd is not running; :Loomd restart starts it"))
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
        settle(M.failure("cancelled", "given up", -32800))
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

-- Ends the process at once. Its runs go on.
function Connection:kill()
  if not self.closed then
    self.client.terminate()
  end
end

return M
