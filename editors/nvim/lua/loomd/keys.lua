-- The keys of the views, in one table: what is mapped, what `?` shows, what the help file lists. None of them is global.

local M = {}

local function run_at_cursor()
  return require("loomd.pick").here()
end

-- An action on the run that the cursor is on.
local function on_run(act)
  return function()
    local run = run_at_cursor()
    if run then
      act(run)
    else
      require("loomd.words").say("there is no run under the cursor")
    end
  end
end

local function actions(name, ...)
  local more = { ... }
  return on_run(function(run)
    require("loomd.actions")[name](run, unpack(more))
  end)
end

-- Allows or denies the run's oldest question. What is not shown whole where the cursor is, is shown first.
local function decide(decision)
  return on_run(function(run)
    local entry = (run.permissions or {})[1]
    if not entry then
      require("loomd.words").say("this run asks nothing")
    elseif decision == "deny" or require("loomd.view.runs").shows_whole(run, entry) then
      require("loomd.permission").decide(run, entry, decision)
    else
      require("loomd.view.question").open(run, entry)
    end
  end)
end

---@class loomd.Key
---@field key string
---@field what string
---@field act fun()
---@field list_only? boolean
---@type loomd.Key[]
M.run = {
  { key = "<CR>", what = "output, or the transcript of an agent", list_only = true, act = on_run(function(run)
    require("loomd.view").open(run)
  end) },
  { key = "gA", what = "the whole output, as a file", act = actions("whole_output") },
  { key = "gr", what = "the raw output of an agent", act = on_run(function(run)
    require("loomd.view.output").open(run)
  end) },
  { key = "K", what = "what the run asks, whole", act = on_run(function(run)
    require("loomd.view.question").next(run)
  end) },
  { key = "a", what = "allow (shown whole first, if the row does not)", act = decide("allow") },
  { key = "d", what = "deny", act = decide("deny") },
  { key = "x", what = "cancel the run", act = actions("cancel") },
  { key = "I", what = "interrupt (Ctrl-C)", act = actions("interrupt") },
  { key = "r", what = "run it again", act = actions("rerun") },
  { key = "s", what = "send a prompt, or a line to stdin", act = actions("ask_and_send") },
  { key = "S", what = "steer the turn that runs", act = actions("ask_and_send", "steer") },
  { key = "R", what = "resume the session in a new run", act = actions("resume") },
  { key = "T", what = "take over in a terminal", act = actions("takeover") },
  { key = "D", what = "diff of what it changed", act = on_run(function(run)
    require("loomd.view.changes").open(run)
  end) },
  { key = "Q", what = "places in its output to the quickfix list", act = on_run(function(run)
    require("loomd.quickfix").open(run)
  end) },
  { key = "C", what = "model and permissions, from its next turn on", act = on_run(function(run)
    if require("loomd.configure").fits(run) then
      require("loomd.configure").ask(run)
    else
      require("loomd.words").say("only an agent that has not ended can be configured")
    end
  end) },
  { key = "gs", what = "search what it wrote", act = on_run(function(run)
    require("loomd.view.hits").ask({ run_id = run.id })
  end) },
  { key = "t", what = "give it a title", act = actions("rename") },
  { key = "P", what = "pin, so that it is never pruned", act = actions("pin") },
  { key = "Y", what = "copy its id", act = actions("copy_id") },
  { key = "X", what = "delete it and its log", act = actions("delete") },
  { key = "n", what = "start a run", list_only = true, act = function()
    require("loomd.start").ask()
  end },
  { key = "q", what = "close the window", act = function()
    require("loomd.window").close()
  end },
  { key = "?", what = "these keys", act = function()
    M.help()
  end },
}

-- Maps the keys in a buffer of ours. `extra` are the view's own.
---@param buffer integer
---@param extra? loomd.Key[]
---@param is_list? boolean
function M.map(buffer, extra, is_list)
  local keys = {}
  for _, key in ipairs(extra or {}) do
    keys[key.key] = key
  end
  for _, key in ipairs(M.run) do
    if not keys[key.key] and (is_list or not key.list_only) then
      keys[key.key] = key
    end
  end
  for _, key in pairs(keys) do
    vim.keymap.set("n", key.key, key.act, { buffer = buffer, nowait = true, silent = true, desc = "loomd: " .. key.what })
  end
  M.of_buffer = M.of_buffer or {}
  M.of_buffer[buffer] = { extra = extra or {}, is_list = is_list }
end

-- The keys of the current view in a float; any of `q`, `?` and Escape closes it.
function M.help()
  local mapped = M.of_buffer[vim.api.nvim_get_current_buf()] or { extra = {} }
  local lines, seen = {}, {}
  local function add(key)
    if not seen[key.key] and (mapped.is_list or not key.list_only) then
      seen[key.key] = true
      lines[#lines + 1] = (" %-6s %s "):format(key.key, key.what)
    end
  end
  for _, key in ipairs(mapped.extra) do
    add(key)
  end
  for _, key in ipairs(M.run) do
    add(key)
  end
  local buffer = require("loomd.window").float(lines, "keys")
  local namespace = vim.api.nvim_create_namespace("loomd_keys")
  for row = 0, #lines - 1 do
    vim.api.nvim_buf_set_extmark(buffer, namespace, row, 1, { end_col = 7, hl_group = "LoomdKey" })
  end
  vim.keymap.set("n", "?", require("loomd.window").close, { buffer = buffer, nowait = true, desc = "close" })
end

return M
