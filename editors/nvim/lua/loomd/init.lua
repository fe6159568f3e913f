-- What a user's own configuration may call. Everything else in this folder is the plugin's own business.

local M = {}

local begun = false

-- Makes ready what every command needs: colours, the watch over the runs, a goodbye at the end. Called by the commands; it starts no server.
function M.begin()
  if begun then
    return
  end
  begun = true
  local words = require("loomd.words")
  for group, link in pairs(words.groups) do
    vim.api.nvim_set_hl(0, group, { link = link, default = true })
  end
  local augroup = vim.api.nvim_create_augroup("loomd", { clear = true })
  vim.api.nvim_create_autocmd("ColorScheme", {
    group = augroup,
    callback = function()
      for group, link in pairs(words.groups) do
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
  require("loomd.watch").start()
end

-- Sets options. The same as setting `vim.g.loomd`, for plugin managers that call this; nobody has to.
---@param options? table
function M.setup(options)
  vim.g.loomd = vim.tbl_deep_extend("force", type(vim.g.loomd) == "table" and vim.g.loomd or {}, options or {})
  if vim.g.loomd.autostart then
    M.connect()
  end
end

-- Starts the server, so that questions of runs are heard of.
function M.connect()
  M.begin()
  require("loomd.server").start()
end

-- For a status line: how many runs wait, how many run, in words; empty if none do. It starts nothing.
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

-- The runs as they are known now: who waits first, then what runs, then what ended. Copies; changing them changes nothing.
---@return loomd.Run[]
function M.runs()
  local waiting, live, ended = require("loomd.store").grouped()
  local runs = {}
  for _, group in ipairs({ waiting, live, ended }) do
    vim.list_extend(runs, group)
  end
  return vim.deepcopy(runs)
end

-- Starts a run, as run/start of the protocol takes it. `done` gets the run, or nil and the failure was told.
---@param params loomd.StartParams
---@param done? fun(run?: loomd.Run)
function M.start(params, done)
  M.begin()
  require("loomd.actions").start(vim.deepcopy(params), done)
end

-- Opens the list.
function M.open()
  M.begin()
  require("loomd.view.runs").open()
end

return M
