-- Permission rules: remembered answers. The server keeps them and answers by them; here they are listed, added and
-- removed, each by a person.

local format = require("loomd.format")
local notify = require("loomd.notify")
local server = require("loomd.server")

local M = {}

local member_order = { "decision", "provider", "toolKind", "command", "path", "cwd" }

-- A rule in one line.
---@param rule loomd.Rule
---@return string
function M.text(rule)
  local parts = {}
  for _, name in ipairs(member_order) do
    local value = rule[name]
    if type(value) == "table" then
      value = vim.json.encode(value)
    end
    if value then
      parts[#parts + 1] = name == "decision" and value or ("%s: %s"):format(name, format.one_line(value))
    end
  end
  return table.concat(parts, " · ")
end

-- The rule that allows exactly this again, in this directory; nil if there is no way to write it.
---@param run loomd.Run
---@param call table
---@return loomd.Rule?
function M.exact(run, call)
  local rule = { decision = "allow", toolKind = call.kind, provider = run.provider, cwd = run.cwd }
  rule.command = type(call.rawInput) == "table" and call.rawInput.command or nil
  local paths = {}
  for _, part in ipairs(vim.list_extend(vim.list_slice(call.content or {}), call.locations or {})) do
    if type(part.path) == "string" then
      paths[part.path:sub(1, 1) == "/" and part.path or vim.fs.joinpath(run.cwd, part.path)] = true
    end
  end
  if not rule.command and vim.tbl_count(paths) == 1 then
    rule.path = next(paths)
  end
  local value = rule.command or rule.path
  -- A star would stand for more than itself.
  return value and not (type(value) == "table" and vim.json.encode(value) or tostring(value)):find("*", 1, true) and rule or nil
end

---@param done fun(rules: loomd.Rule[], problem?: string)
---@param host? string whose rules; default: those of this computer
function M.list(done, host)
  server.request("rule/list", {}, function(failure, result)
    done(result and result.rules or {}, failure and format.failure(failure, "Could not read the rules"))
  end, host)
end

---@param rule loomd.Rule
---@param done fun(failure?: loomd.Failure)
---@param host? string where it shall hold
function M.add(rule, done, host)
  server.request("rule/add", { rule = rule }, function(failure)
    if failure then
      notify.show(format.failure(failure, "Could not add the rule"), vim.log.levels.ERROR)
    end
    done(failure)
  end, host)
end

---@param rule loomd.Rule
---@param done fun(failure?: loomd.Failure)
---@param host? string
function M.remove(rule, done, host)
  server.request("rule/remove", { ruleId = rule.id }, function(failure)
    if failure then
      notify.show(format.failure(failure, "Could not remove the rule"), vim.log.levels.ERROR)
    end
    done(failure)
  end, host)
end

-- Takes over the rules that earlier versions of this plugin kept: loomd shows each and asks, in a terminal.
---@return integer? buffer
function M.import()
  local config = require("loomd.config")
  local argv, problem = config.argv()
  if not argv then
    return notify.show(problem, vim.log.levels.ERROR)
  end
  vim.list_extend(argv, { "rules", "import", config.get().rules_file and vim.fs.normalize(config.get().rules_file) or nil })
  return require("loomd.window").terminal(argv, { env = config.get().env })
end

return M
