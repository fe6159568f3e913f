-- The options in `vim.g.loomd`, with their defaults. They are read at each use, so no setup call is needed.

local M = {}

---@class loomd.Template
---@field provider? string default: "command"
---@field command? string|string[] a shell command line, or the arguments
---@field prompt? string the prompt of an agent
---@field desc? string description in the picker
---@field cwd? string
---@field env? table<string, string>
---@field tty? boolean
---@field interactive? boolean
---@field model? string
---@field permissions? loomd.PermissionMode
---@field title? string
---@field labels? table<string, string>
---@field timeoutMs? integer
---@field worktree? boolean start in a git worktree of its own

---@class loomd.Config
---@field cmd? string|string[] the executable, or a list of it and its arguments; default: `loomd` on PATH
---@field env table<string, string> additional environment variables of the server
---@field autostart boolean start the server with Neovim, to be notified of permission requests at once
---@field notify "all"|"waiting"|"off" when to use vim.notify
---@field approval "notify"|"float" how to show a new permission request; "float" opens it without moving the focus
---@field progress boolean show progress messages for runs that were started here (Neovim 0.12)
---@field templates table<string, loomd.Template> templates for `:Loomd start`
---@field tasks boolean offer the tasks of `.vscode/tasks.json` as templates
---@field tty boolean run commands in a pseudoterminal
---@field interactive boolean keep agents running for follow-ups
---@field permissions loomd.PermissionMode permission mode of new agents
---@field split string the command that opens a window for a list
---@field output_split string the command that opens a window for output
---@field hosts string[] hosts whose runs are listed, as ssh knows them
---@field earlier integer number of finished runs in the list
---@field max_lines integer maximum number of lines in a view
---@field backlog_bytes integer how much of an existing log a view reads when it opens
---@field repaint_ms integer minimum interval between two redraws of a view
---@field rules_file? string where `:Loomd rules import` finds the rules of earlier versions; default: rules.json next to loomd's own configuration
M.defaults = {
  env = {},
  autostart = false,
  notify = "all",
  approval = "notify",
  progress = false,
  templates = {},
  tasks = true,
  tty = true,
  interactive = true,
  permissions = "ask",
  split = "botright 14split",
  output_split = "botright split",
  hosts = {},
  earlier = 20,
  max_lines = 10000,
  backlog_bytes = 1024 * 1024,
  repaint_ms = 50,
}

-- Options without a default value, and the types that they accept.
local types_without_default = { cmd = { "string", "table" }, rules_file = { "string" } }
local allowed_values = { notify = { "all", "waiting", "off" }, approval = { "notify", "float" }, permissions = { "ask", "acceptEdits", "readOnly", "bypass" } }

-- Such a name is no option of ssh, and no text that a shell reads.
local function is_host_name(name)
  return type(name) == "string" and #name <= 255 and name:find("^%w[%w%._@-]*$") ~= nil
end

-- The problems in `vim.g.loomd`, one message each; empty if there are none.
---@return string[]
function M.problems()
  local user_options = vim.g.loomd
  if user_options == nil then
    return {}
  elseif type(user_options) ~= "table" then
    return { "vim.g.loomd: expected table, got " .. type(user_options) }
  end
  local problems = {}
  for _, name in ipairs(vim.fn.sort(vim.tbl_keys(user_options))) do
    local value, default = user_options[name], M.defaults[name]
    local types = types_without_default[name] or (default ~= nil and { type(default) })
    if not types then
      problems[#problems + 1] = ("vim.g.loomd.%s: unknown option (see :help loomd-options)"):format(name)
    elseif not vim.tbl_contains(types, type(value)) then
      problems[#problems + 1] = ("vim.g.loomd.%s: expected %s, got %s"):format(name, table.concat(types, " or "), type(value))
    elseif allowed_values[name] and not vim.tbl_contains(allowed_values[name], value) then
      problems[#problems + 1] = ("vim.g.loomd.%s: expected one of %s, got %s"):format(name, table.concat(allowed_values[name], ", "), value)
    end
  end
  if type(user_options.hosts) == "table" then
    for _, name in pairs(user_options.hosts) do
      if not is_host_name(name) then
        problems[#problems + 1] = ("vim.g.loomd.hosts: %s is not a host's name (a letter or digit first, then letters, digits and . _ - @; the rest goes into ~/.ssh/config)"):format(type(name) == "string" and ("%q"):format(name) or type(name))
      end
    end
  end
  return problems
end

-- The current options. An invalid value counts as not set; `:checkhealth loomd` reports it.
---@return loomd.Config
function M.get()
  local user_options = type(vim.g.loomd) == "table" and vim.g.loomd or {}
  local config = {}
  for name, default in pairs(M.defaults) do
    local value = user_options[name]
    if type(value) ~= type(default) or (allowed_values[name] and not vim.tbl_contains(allowed_values[name], value)) then
      value = default
    end
    config[name] = value
  end
  for name, types in pairs(types_without_default) do
    if vim.tbl_contains(types, type(user_options[name])) then
      config[name] = user_options[name]
    end
  end
  return config
end

-- The hosts in the user's order; names that are none are left out.
---@return string[]
function M.hosts()
  local names = {}
  for _, name in ipairs(M.get().hosts) do
    if is_host_name(name) and not vim.tbl_contains(names, name) then
      names[#names + 1] = name
    end
  end
  return names
end

-- The arguments that start the server, or a message that tells the user what to do. A relative path is refused:
-- otherwise a repository could choose what is run.
---@return string[]? argv
---@return string? problem
function M.argv()
  local cmd = M.get().cmd
  local argv = type(cmd) == "table" and vim.deepcopy(cmd) or { cmd or "loomd" }
  local program = argv[1]
  if type(program) ~= "string" or program == "" then
    return nil, "vim.g.loomd.cmd is empty; set it to the path of the loomd executable"
  end
  local absolute = program:find("^[/~]") ~= nil or program:match("^%a:[/\\]") ~= nil
  if not absolute and program:find("[/\\]") then
    return nil, ("vim.g.loomd.cmd must be an absolute path or a name on PATH, not %s"):format(program)
  end
  program = vim.fs.normalize(program)
  local found = vim.fn.exepath(program)
  if found == "" then
    local where = absolute and "does not exist or is not executable" or "not found on PATH"
    return nil, ("%s %s; install it with `cargo install --path .` in loomd's repository, or set vim.g.loomd.cmd"):format(program, where)
  end
  argv[1] = found
  return argv
end

return M
