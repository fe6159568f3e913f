-- The keymaps of the views in one table: `map` maps them, `help` shows them, and a spec checks that the help file
-- lists them. None of them is global.

local M = {}

local function current_run()
  return require("loomd.pick").current_run()
end

-- Returns a function that calls `action` with the run under the cursor.
local function on_run(action)
  return function()
    local run = current_run()
    if run then
      action(run)
    else
      require("loomd.notify").show("No run under cursor")
    end
  end
end

local function run_action(name, ...)
  local arguments = { ... }
  return on_run(function(run)
    require("loomd.actions")[name](run, unpack(arguments))
  end)
end

-- Shows the permission request of the run under the cursor, else the only one that there is. It is allowed only there.
local function show_request()
  local permission = require("loomd.permission")
  local run, pending = current_run(), permission.pending()
  local is_here = run and #(run.permissions or {}) > 0
  if is_here or #pending == 1 then
    require("loomd.view.permission_request").next(is_here and run or nil)
  else
    require("loomd.notify").show(#pending == 0 and "No pending requests" or ("%d requests of other runs; :Loomd next shows the oldest"):format(#pending))
  end
end

local function deny()
  local run = current_run()
  local entry = run and (run.permissions or {})[1]
  if entry then
    require("loomd.permission").decide(run, entry, "deny")
  else
    require("loomd.notify").show("No pending request for this run")
  end
end

local open_run = on_run(function(run)
  require("loomd.view").open(run)
end)

---@class loomd.Key
---@field key string
---@field desc string
---@field action fun()
---@field list_only? boolean
---@type loomd.Key[]
M.run_keys = {
  { key = "<CR>", desc = "open the run, or connect to the host again", list_only = true, action = function()
    local host = require("loomd.view.runs").host_at_cursor()
    if host then
      return require("loomd.hosts").connect(host)
    end
    open_run()
  end },
  { key = "gA", desc = "full output or transcript in a buffer", action = on_run(function(run)
    require("loomd.view.full").open(run)
  end) },
  { key = "gr", desc = "raw output", action = on_run(function(run)
    require("loomd.view.output").open(run)
  end) },
  { key = "K", desc = "show the permission request, to answer it", action = show_request },
  { key = "a", desc = "the same", action = show_request },
  { key = "d", desc = "deny", action = deny },
  { key = "x", desc = "cancel the run", action = run_action("cancel") },
  { key = "I", desc = "interrupt (Ctrl-C)", action = run_action("interrupt") },
  { key = "r", desc = "run again", action = run_action("rerun") },
  { key = "s", desc = "send a message, or a line to stdin", action = run_action("prompt_and_send") },
  { key = "S", desc = "send to the running turn", action = run_action("prompt_and_send", "steer") },
  { key = "R", desc = "resume the session in a new run", action = run_action("resume") },
  { key = "T", desc = "continue in a terminal", action = run_action("takeover") },
  { key = "D", desc = "show changes", action = on_run(function(run)
    require("loomd.view.changes").open(run)
  end) },
  { key = "Q", desc = "send errors to quickfix", action = on_run(function(run)
    require("loomd.quickfix").open(run)
  end) },
  { key = "C", desc = "change model and permissions", action = on_run(function(run)
    if require("loomd.configure").can_configure(run) then
      require("loomd.configure").prompt(run)
    else
      require("loomd.notify").show("Only active agent runs can be configured")
    end
  end) },
  { key = "gs", desc = "search output", action = on_run(function(run)
    require("loomd.view.search").prompt({ run_id = run.id })
  end) },
  { key = "t", desc = "rename", action = run_action("rename") },
  { key = "P", desc = "pin (never prune)", action = run_action("pin") },
  { key = "Y", desc = "copy the run ID", action = run_action("copy_id") },
  { key = "E", desc = "export to a file", action = on_run(function(run)
    require("loomd.export").to_file(run)
  end) },
  { key = "X", desc = "delete run and log", action = run_action("delete") },
  { key = "n", desc = "new run", list_only = true, action = function()
    require("loomd.start").select_template()
  end },
  { key = "q", desc = "close the window", action = function()
    require("loomd.window").close()
  end },
  { key = "g?", desc = "show this help", action = function()
    M.help()
  end },
}

-- Maps the keys in a buffer of this plugin. `extra` are the keys of the view.
---@param buffer integer
---@param extra? loomd.Key[]
---@param is_list? boolean
function M.map(buffer, extra, is_list)
  local keys = {}
  for _, key in ipairs(extra or {}) do
    keys[key.key] = key
  end
  for _, key in ipairs(M.run_keys) do
    if not keys[key.key] and (is_list or not key.list_only) then
      keys[key.key] = key
    end
  end
  -- `?` shows the help, too: it was the only key for it before `g?`.
  keys["?"] = keys["?"] or vim.tbl_extend("force", keys["g?"], { key = "?" })
  for _, key in pairs(keys) do
    vim.keymap.set("n", key.key, key.action, { buffer = buffer, nowait = true, silent = true, desc = "loomd: " .. key.desc })
  end
  M.by_buffer = M.by_buffer or {}
  M.by_buffer[buffer] = { extra = extra or {}, is_list = is_list }
end

-- Shows the keymaps of the current view in a floating window.
function M.help()
  local buffer_keys = M.by_buffer[vim.api.nvim_get_current_buf()] or { extra = {} }
  local lines, seen = {}, {}
  local function add(key)
    if not seen[key.key] and (buffer_keys.is_list or not key.list_only) then
      seen[key.key] = true
      lines[#lines + 1] = (" %-6s %s "):format(key.key, key.desc)
    end
  end
  for _, key in ipairs(buffer_keys.extra) do
    add(key)
  end
  for _, key in ipairs(M.run_keys) do
    add(key)
  end
  local buffer = require("loomd.window").float(lines, "Keymaps")
  local namespace = vim.api.nvim_create_namespace("loomd_keys")
  for row = 0, #lines - 1 do
    vim.api.nvim_buf_set_extmark(buffer, namespace, row, 1, { end_col = 7, hl_group = "LoomdKey" })
  end
  for _, key in ipairs({ "g?", "?" }) do
    vim.keymap.set("n", key, require("loomd.window").close, { buffer = buffer, nowait = true, desc = "loomd: close" })
  end
end

return M
