-- Shared functions of the specs: a store of their own, waiting for conditions, and the notifications that the plugin
-- showed.

local M = {}

M.plugin = vim.fs.dirname(vim.fs.dirname(vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p")))
M.binary = assert(vim.env.LOOMD_BIN, "LOOMD_BIN names the server that the tests run; tests/run sets it")

-- It is reached only if something is broken.
M.deadline_ms = tonumber(vim.env.LOOMD_DEADLINE_MS) or 90000

-- Waits for a condition, which may take long on a busy machine.
---@generic T
---@param what string
---@param condition fun(): T
---@return T
function M.wait(what, condition)
  local value
  vim.wait(M.deadline_ms, function()
    value = condition()
    return value
  end, 5)
  if not value then
    error(("timed out waiting for %s\nthe buffer:\n%s\nnotifications: %s"):format(what, M.text(0), vim.inspect(M.notifications)), 2)
  end
  return value
end

-- Calls a function that takes a callback, and waits for the callback.
---@param call fun(done: fun(...))
function M.await(call, what)
  local answer
  call(function(...)
    answer = { n = select("#", ...), ... }
  end)
  M.wait(what or "an answer", function()
    return answer
  end)
  return unpack(answer, 1, answer.n)
end

---@type { text: string, level: integer }[]
M.notifications = {}
M.children = {}

local original_notify = vim.notify

---@param pattern string
---@return string?
function M.find_notification(pattern)
  for _, each in ipairs(M.notifications) do
    if each.text:find(pattern) then
      return each.text
    end
  end
end

-- Starts with an empty store, fresh modules and an empty editor. `options` become vim.g.loomd.
---@param options? table
function M.reset(options)
  M.cleanup()
  M.folder = vim.fn.tempname()
  vim.fn.mkdir(M.folder .. "/work", "p")
  vim.fn.mkdir(M.folder .. "/data/runs", "p", tonumber("700", 8))
  vim.env.LOOMD_DATA_DIR = M.folder .. "/data"
  vim.env.LOOMD_CONFIG = nil
  vim.env.LOOMD_RUN_ID = nil
  vim.env.XDG_CONFIG_HOME = M.folder .. "/config"
  vim.cmd.cd(M.folder .. "/work")
  for name in pairs(package.loaded) do
    if name == "loomd" or vim.startswith(name, "loomd.") then
      package.loaded[name] = nil
    end
  end
  vim.g.loomd = vim.tbl_extend("force", { cmd = M.binary, tty = false }, options or {})
  M.notifications = {}
  vim.notify = function(text, level)
    table.insert(M.notifications, { text = text, level = level })
  end
end

-- Ends the runs and the server of a spec, and closes its windows.
function M.cleanup()
  for _, child in ipairs(M.children) do
    child.quit()
  end
  M.children = {}
  local server = package.loaded["loomd.server"]
  if server and server.state == "ready" then
    for _, run in pairs(package.loaded["loomd.store"].runs) do
      if not package.loaded["loomd.store"].is_final(run) then
        M.await(function(done)
          server.request("run/cancel", { runId = run.id, graceMs = 0 }, done)
        end, "the end of a run")
      end
    end
  end
  if server then
    server.stop(5000)
  end
  vim.notify = original_notify
  pcall(vim.cmd.stopinsert)
  vim.cmd("silent! tabonly! | silent! only!")
  vim.cmd("silent! enew!")
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if buffer ~= vim.api.nvim_get_current_buf() then
      pcall(vim.api.nvim_buf_delete, buffer, { force = true })
    end
  end
end

function M.server()
  return require("loomd.server")
end

function M.store()
  return require("loomd.store")
end

-- Starts the server as `require("loomd").connect` does, and waits until it is ready.
function M.connect()
  require("loomd").connect()
  M.wait("the server", function()
    return M.server().state == "ready"
  end)
end

-- Sends a request. A failure fails the spec.
function M.request(method, params)
  local failure, result = M.await(function(done)
    M.server().request(method, params, done)
  end, method)
  if failure then
    error(("%s: %s"):format(method, failure.message), 2)
  end
  return result
end

-- Starts a shell command.
---@param line string for sh
---@param more? table
---@return loomd.Run
function M.sh(line, more)
  local params = vim.tbl_extend("force", { provider = "command", command = { "sh", "-c", line }, cwd = M.folder .. "/work" }, more or {})
  local run = M.await(function(done)
    require("loomd").start(params, done)
  end, "the start of a run")
  return assert(run, "the run did not start: " .. vim.inspect(M.notifications))
end

---@param id string
---@param state string
function M.until_state(id, state)
  return M.wait(("state %s of the run"):format(state), function()
    local run = M.store().runs[id]
    return run and run.state == state and run
  end)
end

-- Waits until the log of an ended run is in the store. What is edited while it is moved there may be read as it was before.
---@param id string
function M.until_sealed(id)
  M.wait("the log to be stored", function()
    return not M.request("run/get", { runId = id }).run.transcript
  end)
end

---@param buffer? integer
function M.lines(buffer)
  return vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false)
end

function M.text(buffer)
  return table.concat(M.lines(buffer), "\n")
end

-- Waits until the buffer contains the pattern.
---@param buffer integer
---@param pattern string
function M.until_text(buffer, pattern)
  return M.wait(("%q in the buffer"):format(pattern), function()
    return vim.api.nvim_buf_is_valid(buffer) and M.text(buffer):find(pattern)
  end)
end

-- Types a text into the window that asks for a prompt, and sends it.
function M.send_prompt(text)
  M.wait("the window for a prompt", function()
    return vim.bo.filetype == "loomd-prompt"
  end)
  vim.api.nvim_buf_set_lines(0, 0, -1, false, vim.split(text, "\n"))
  M.press("<C-s>")
end

-- Presses keys as a user does.
function M.press(keys)
  vim.api.nvim_feedkeys(vim.keycode(keys), "xt", false)
end

-- Starts another Neovim process with a main loop, which is controlled from here.
---@return { lua: fun(code: string, ...): any, type: fun(keys: string), quit: fun() }
function M.child()
  local channel = vim.fn.jobstart({ vim.v.progpath, "--embed", "--headless", "-u", "NONE", "-i", "NONE", "-n" }, { rpc = true, width = 100, height = 30 })
  local child = {}
  function child.lua(code, ...)
    return vim.rpcrequest(channel, "nvim_exec_lua", code, { ... })
  end
  function child.type(keys)
    vim.rpcrequest(channel, "nvim_input", keys)
  end
  function child.text(buffer)
    return table.concat(vim.rpcrequest(channel, "nvim_buf_get_lines", buffer or 0, 0, -1, false), "\n")
  end
  function child.quit()
    pcall(vim.rpcnotify, channel, "nvim_command", "qa!")
    vim.fn.jobwait({ channel }, M.deadline_ms)
  end
  child.lua(
    [[
      local plugin, options = ...
      vim.opt.runtimepath:prepend(plugin)
      vim.cmd.source(plugin .. "/plugin/loomd.lua")
      vim.o.showmode = false
      vim.g.loomd = options
    ]],
    M.plugin,
    vim.g.loomd
  )
  table.insert(M.children, child)
  return child
end

-- Moves the cursor to the first line that contains the pattern.
function M.move_to(pattern)
  for index, line in ipairs(M.lines(0)) do
    if line:find(pattern) then
      vim.api.nvim_win_set_cursor(0, { index, 0 })
      return index
    end
  end
  error(("no line has %q in:\n%s"):format(pattern, M.text(0)), 2)
end

return M
