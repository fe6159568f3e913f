-- What the user set in `vim.g.loomd`, with the defaults filled in. Read anew each time: there is no setup step to forget.

local M = {}

---@class loomd.Template
---@field provider? string default: "command"
---@field command? string|string[] a shell line, or the argv
---@field prompt? string what an agent is asked
---@field desc? string shown in the picker
---@field cwd? string
---@field env? table<string, string>
---@field tty? boolean
---@field interactive? boolean
---@field model? string
---@field permissions? loomd.PermissionMode
---@field title? string
---@field labels? table<string, string>
---@field timeoutMs? integer

---@class loomd.Config
---@field cmd? string|string[] the binary, or its argv; default: `loomd` on PATH
---@field env table<string, string> what the server finds in its environment beside Neovim's own
---@field autostart boolean start the server with Neovim, so that questions are heard of at once
---@field notify "all"|"waiting"|"off" when to use vim.notify
---@field approval "notify"|"float" how a new question is shown; "float" opens it without the focus
---@field progress boolean Neovim 0.12: progress messages for runs that were started here
---@field templates table<string, loomd.Template> what `:Loomd start` offers
---@field tty boolean run commands under a terminal of their own
---@field interactive boolean agents stay open for more prompts
---@field permissions loomd.PermissionMode how agents ask
---@field split string the command that opens a window for a list
---@field output_split string the command that opens a window for output
---@field earlier integer how many ended runs the list shows
---@field max_lines integer lines that a view of output keeps
---@field backlog_bytes integer how much of an older log a view reads when it is opened
---@field repaint_ms integer a view is painted at most once in so many milliseconds
---@field rules_file? string where remembered answers are; default: rules.json beside loomd's own configuration
M.defaults = {
  env = {},
  autostart = false,
  notify = "all",
  approval = "notify",
  progress = false,
  templates = {},
  tty = true,
  interactive = true,
  permissions = "ask",
  split = "botright 14split",
  output_split = "botright split",
  earlier = 20,
  max_lines = 10000,
  backlog_bytes = 1024 * 1024,
  repaint_ms = 50,
}

-- Options without a default, by the types that they may have.
local optional = { cmd = { "string", "table" }, rules_file = { "string" } }
local words = { notify = { "all", "waiting", "off" }, approval = { "notify", "float" }, permissions = { "ask", "acceptEdits", "readOnly", "bypass" } }

-- Sentences about what is wrong in `vim.g.loomd`; none if all is well.
---@return string[]
function M.problems()
  local user = vim.g.loomd
  if user == nil then
    return {}
  elseif type(user) ~= "table" then
    return { "vim.g.loomd must be a table, not a " .. type(user) }
  end
  local problems = {}
  for _, name in ipairs(vim.fn.sort(vim.tbl_keys(user))) do
    local value, default = user[name], M.defaults[name]
    local types = optional[name] or (default ~= nil and { type(default) })
    if not types then
      problems[#problems + 1] = ("vim.g.loomd.%s: there is no such option; :help loomd-options lists them"):format(name)
    elseif not vim.tbl_contains(types, type(value)) then
      problems[#problems + 1] = ("vim.g.loomd.%s must be a %s, not a %s"):format(name, table.concat(types, " or a "), type(value))
    elseif words[name] and not vim.tbl_contains(words[name], value) then
      problems[#problems + 1] = ("vim.g.loomd.%s must be one of %s"):format(name, table.concat(words[name], ", "))
    end
  end
  return problems
end

-- The options as they are now. What is wrong counts as not set; `:checkhealth loomd` names it.
---@return loomd.Config
function M.get()
  local user = type(vim.g.loomd) == "table" and vim.g.loomd or {}
  local config = {}
  for name, default in pairs(M.defaults) do
    local value = user[name]
    if type(value) ~= type(default) or (words[name] and not vim.tbl_contains(words[name], value)) then
      value = default
    end
    config[name] = value
  end
  for name, types in pairs(optional) do
    if vim.tbl_contains(types, type(user[name])) then
      config[name] = user[name]
    end
  end
  return config
end

-- The argv of the server, or a sentence that says what to do. A path that depends on the working directory is refused: what
-- is run must not be for a repository to choose.
---@return string[]? argv
---@return string? problem
function M.argv()
  local cmd = M.get().cmd
  local argv = type(cmd) == "table" and vim.deepcopy(cmd) or { cmd or "loomd" }
  local program = argv[1]
  if type(program) ~= "string" or program == "" then
    return nil, "vim.g.loomd.cmd is empty; set it to the path of the loomd binary"
  end
  local absolute = program:find("^[/~]") ~= nil or program:match("^%a:[/\\]") ~= nil
  if not absolute and program:find("[/\\]") then
    return nil, ("vim.g.loomd.cmd is the relative path %s; give an absolute path or a plain name"):format(program)
  end
  program = vim.fs.normalize(program)
  local found = vim.fn.exepath(program)
  if found == "" then
    local where = absolute and "is not there or cannot be executed" or "was not found on PATH"
    return nil, ("%s %s; install it with `cargo install --path .` in loomd's repository, or set vim.g.loomd.cmd to where it is"):format(program, where)
  end
  argv[1] = found
  return argv
end

return M
