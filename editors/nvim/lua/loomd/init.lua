-- The public functions, for the user's own configuration. All other modules are internal.

local M = {}

local initialized = false

-- Defines the highlight groups, subscribes to the store, and stops the server when Neovim exits. Every command calls
-- it; it does not start the server.
function M.initialize()
  if initialized then
    return
  end
  initialized = true
  local format = require("loomd.format")
  for group, link in pairs(format.highlight_groups) do
    vim.api.nvim_set_hl(0, group, { link = link, default = true })
  end
  local augroup = vim.api.nvim_create_augroup("loomd", { clear = true })
  vim.api.nvim_create_autocmd("ColorScheme", {
    group = augroup,
    callback = function()
      for group, link in pairs(format.highlight_groups) do
        vim.api.nvim_set_hl(0, group, { link = link, default = true })
      end
    end,
  })
  vim.api.nvim_create_autocmd("VimLeavePre", {
    group = augroup,
    callback = function()
      require("loomd.server").stop()
    end,
  })
  require("loomd.events").start()
  require("loomd.private_file").start()
  require("loomd.unread").start()
end

-- Sets options, for plugin managers that call `setup`. Setting `vim.g.loomd` does the same.
---@param options? table
function M.setup(options)
  vim.g.loomd = vim.tbl_deep_extend("force", type(vim.g.loomd) == "table" and vim.g.loomd or {}, options or {})
  if vim.g.loomd.autostart then
    M.connect()
  end
end

-- Starts the server, so that the user is notified of permission requests.
function M.connect()
  M.initialize()
  require("loomd.server").start()
end

-- The number of waiting and running runs as text for a status line; empty if there are none. It does not start the
-- server.
---@return string
function M.status()
  local server = package.loaded["loomd.server"]
  if not server or server.state == "stopped" then
    return ""
  elseif server.state == "failed" then
    return "loomd: down"
  end
  local counts = M.counts()
  local parts = {}
  if counts.waiting > 0 then
    parts[#parts + 1] = counts.waiting .. " waiting"
  end
  if counts.running > 0 then
    parts[#parts + 1] = counts.running .. " running"
  end
  return #parts > 0 and ("loomd: " .. table.concat(parts, ", ")) or ""
end

---@return { waiting: integer, running: integer }
function M.counts()
  return require("loomd.store").counts()
end

-- The known runs in the order of the list: waiting, active, finished. They are copies, so changing them has no
-- effect.
---@return loomd.Run[]
function M.runs()
  local waiting, live, ended = require("loomd.store").group_runs()
  local runs = {}
  for _, group in ipairs({ waiting, live, ended }) do
    vim.list_extend(runs, group)
  end
  return vim.deepcopy(runs)
end

-- Starts a run. `params` are those of `run/start` in the protocol. `done` is called with the run, or with nil after
-- the failure was shown.
---@param params loomd.StartParams
---@param done? fun(run?: loomd.Run)
function M.start(params, done)
  M.initialize()
  require("loomd.actions").start(vim.deepcopy(params), done)
end

-- Opens the list.
function M.open()
  M.initialize()
  require("loomd.view.runs").open()
end

return M
