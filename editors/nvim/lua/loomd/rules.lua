-- Remembered answers: a file of rules that a person can read and change, and that answers a question before it is asked aloud.
--
-- A rule is only ever as wide as it says. `*` in a command stops at everything by which a shell could be made to do something
-- else (`;`, `|`, `&`, `$`, quotes, redirections, line breaks), and a question about files is matched only if all its files are.

local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

---@class loomd.Rule
---@field decision "allow"|"deny"
---@field kind? string the ACP kind of the tool call: execute, edit, read, …
---@field command? string the whole command line; `*` stands for words without shell characters
---@field path? string all files must match; `*` stands for anything
---@field cwd? string the run's directory, or one above it
---@field provider? string

local template = {
  "{",
  '  "version": 1,',
  '  "rules": [',
  "  ]",
  "}",
}

---@return string
function M.path()
  local set = require("loomd.config").get().rules_file
  if set then
    return vim.fs.normalize(set)
  end
  local base = vim.env.XDG_CONFIG_HOME
  if not base or base == "" then
    base = vim.fn.has("mac") == 1 and "~/Library/Application Support" or vim.fn.has("win32") == 1 and (vim.env.APPDATA or "~") or "~/.config"
  end
  return vim.fs.normalize(vim.fs.joinpath(base, "loomd", "rules.json"))
end

-- The rules as the file has them now. A file that cannot be read as rules answers nothing.
---@return loomd.Rule[] rules
---@return string? problem
function M.read()
  local file = io.open(M.path(), "rb")
  if not file then
    return {}
  end
  local text = file:read("*a")
  file:close()
  local ok, content = pcall(vim.json.decode, text, { luanil = { object = true, array = true } })
  if not ok then
    return {}, ("%s is not JSON (%s); no rule is used"):format(M.path(), tostring(content))
  elseif type(content) ~= "table" or content.version ~= 1 or type(content.rules) ~= "table" then
    return {}, ('%s must be {"version": 1, "rules": […]}; no rule is used'):format(M.path())
  end
  for index, rule in ipairs(content.rules) do
    if type(rule) ~= "table" or (rule.decision ~= "allow" and rule.decision ~= "deny") then
      return {}, ('%s: rule %d has no "decision" of "allow" or "deny"; no rule is used'):format(M.path(), index)
    elseif not rule.command and not rule.path and rule.decision == "allow" then
      return {}, ('%s: rule %d allows without a "command" or a "path"; no rule is used'):format(M.path(), index)
    end
  end
  return content.rules
end

local function pattern(text, star)
  return "^" .. vim.pesc(text):gsub("%%%*", (star:gsub("%%", "%%%%"))) .. "$"
end

local function below(path, folder)
  path, folder = vim.fs.normalize(path), vim.fs.normalize(folder)
  return path == folder or vim.startswith(path, folder:sub(-1) == "/" and folder or folder .. "/")
end

---@param rule loomd.Rule
---@param run loomd.Run
---@param call table
---@return boolean
function M.matches(rule, run, call)
  if rule.kind and rule.kind ~= call.kind then
    return false
  elseif rule.provider and rule.provider ~= run.provider then
    return false
  elseif rule.cwd and not below(run.cwd, rule.cwd) then
    return false
  end
  if rule.command then
    local command = toolcall.command(call)
    if not command or not command:find(pattern(rule.command, "[%w%s%-_./=:,@%%+]*")) then
      return false
    elseif rule.command:find("*", 1, true) and command:find("[\r\n]") then
      return false
    end
  end
  if rule.path then
    local paths = toolcall.paths(call)
    if #paths == 0 then
      return false
    end
    for _, path in ipairs(paths) do
      -- `..` could lead anywhere, whatever the beginning says.
      if path:find("%.%.") or not path:find(pattern(vim.fs.normalize(rule.path), ".*")) then
        return false
      end
    end
  end
  return true
end

-- What the rules say to a question; a denial goes before a permission. Nil: ask the person.
---@param run loomd.Run
---@param call table
---@return "allow"|"deny"|nil
function M.decide(run, call)
  local rules, problem = M.read()
  if problem then
    words.say(problem, vim.log.levels.WARN)
  end
  local decision
  for _, rule in ipairs(rules) do
    if M.matches(rule, run, call) then
      if rule.decision == "deny" then
        return "deny"
      end
      decision = "allow"
    end
  end
  return decision
end

-- The narrowest rule that answers this question again: this very command, or these files, in this directory.
---@param run loomd.Run
---@param call table
---@return loomd.Rule[]
function M.exact(run, call)
  local base = { decision = "allow", kind = call.kind, provider = run.provider, cwd = run.cwd }
  local command = toolcall.command(call)
  if command then
    if command:find("*", 1, true) then
      return {} -- there is no way yet to write a star that means itself
    end
    return { vim.tbl_extend("error", base, { command = command }) }
  end
  local paths = toolcall.paths(call)
  if #paths == 1 and not paths[1]:find("*", 1, true) then
    return { vim.tbl_extend("error", base, { path = paths[1] }) }
  end
  return {}
end

local order = { "decision", "provider", "kind", "command", "path", "cwd" }

local function line_of(rule)
  local members = {}
  for _, name in ipairs(order) do
    if rule[name] then
      members[#members + 1] = ("%s: %s"):format(vim.json.encode(name), vim.json.encode(rule[name]))
    end
  end
  return "{ " .. table.concat(members, ", ") .. " }"
end

-- Writes a rule into the file, one rule a line, leaving the others as they are.
---@param rule loomd.Rule
---@return string? problem
function M.add(rule)
  local rules, problem = M.read()
  if problem then
    return problem
  end
  local path = M.path()
  vim.fn.mkdir(vim.fs.dirname(path), "p")
  rules = vim.deepcopy(rules)
  table.insert(rules, rule)
  local lines = { "{", '  "version": 1,', '  "rules": [' }
  for index, each in ipairs(rules) do
    lines[#lines + 1] = "    " .. line_of(each) .. (index < #rules and "," or "")
  end
  vim.list_extend(lines, { "  ]", "}" })
  local ok, failed = pcall(vim.fn.writefile, lines, path .. ".new")
  if ok and failed == 0 then
    vim.uv.fs_rename(path .. ".new", path)
    return nil
  end
  return ("%s cannot be written"):format(path)
end

-- Fills the buffer with what a file begins with: nothing to be saved, and nothing that could be undone, until somebody types.
local function begin_file()
  local levels = vim.bo.undolevels
  vim.bo.undolevels = -1
  vim.api.nvim_buf_set_lines(0, 0, -1, false, template)
  vim.bo.undolevels = levels
  vim.bo.modified = false
end

-- Opens the file to be edited.
function M.edit()
  local path = M.path()
  vim.cmd("botright split " .. vim.fn.fnameescape(path))
  if not vim.uv.fs_stat(path) then
    vim.fn.mkdir(vim.fs.dirname(path), "p")
    -- What was typed before and not yet written stays.
    if not vim.bo.modified then
      begin_file()
    end
  end
end

return M
