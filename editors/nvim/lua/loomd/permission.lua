-- Answers to agents' questions. Nothing is ever answered because a window closed or time passed: only by a key, a command or a rule.

local rules = require("loomd.rules")
local server = require("loomd.server")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

-- The option that means this and no more: "allow_once" before "allow_always", "reject_once" before "reject_always".
---@param entry loomd.PermissionEntry
---@param decision "allow"|"deny"
---@return loomd.PermissionOption?
function M.option(entry, decision)
  local wanted = decision == "allow" and { "allow_once", "allow_always" } or { "reject_once", "reject_always" }
  for _, kind in ipairs(wanted) do
    for _, option in ipairs(entry.options or {}) do
      if option.kind == kind then
        return option
      end
    end
  end
end

-- Questions that a rule is answering; nobody has to see them any more.
local answered_by_rule = {}

local function key_of(run, entry)
  return run.id .. entry.permissionId
end

-- All questions that wait for a person, the oldest first.
---@return { run: loomd.Run, entry: loomd.PermissionEntry }[]
function M.open()
  local questions = {}
  for _, run in ipairs((store.grouped())) do
    for _, entry in ipairs(run.permissions or {}) do
      if not answered_by_rule[key_of(run, entry)] then
        questions[#questions + 1] = { run = run, entry = entry }
      end
    end
  end
  table.sort(questions, function(a, b)
    return a.entry.at < b.entry.at
  end)
  return questions
end

---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param answer { optionId?: string, cancelled?: boolean, message?: string }
---@param done? fun(failure?: loomd.Failure)
function M.answer(run, entry, answer, done)
  local params = vim.tbl_extend("error", { runId = run.id, permissionId = entry.permissionId }, answer)
  server.request("run/answer", params, function(failure)
    local kind = failure and failure.data and failure.data.kind
    if kind == "permissionResolved" then
      words.say("somebody else has already answered this question")
    elseif failure then
      words.say(words.failure(failure, "the answer was not taken"), vim.log.levels.ERROR)
    end
    if done then
      done(failure)
    end
  end)
end

-- Allows once, or denies. An allowance that the question does not offer is not invented; a denial can always be given.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param decision "allow"|"deny"
---@param message? string what the agent is told beside it
---@param done? fun(failure?: loomd.Failure)
function M.decide(run, entry, decision, message, done)
  local option = M.option(entry, decision)
  if option then
    M.answer(run, entry, { optionId = option.optionId, message = message }, done)
  elseif decision == "deny" then
    M.answer(run, entry, { cancelled = true, message = message }, done)
  else
    words.say("this question has no plain yes; :Loomd next shows its options", vim.log.levels.WARN)
  end
end

-- Allows, and remembers to allow just this; questions that wait already and are the same are answered by it, too.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param done? fun(failure?: loomd.Failure)
function M.always(run, entry, done)
  local new = rules.exact(run, entry.toolCall)
  if #new == 0 then
    words.say("this cannot be remembered as one rule; :Loomd rules opens the file to write one", vim.log.levels.WARN)
    return
  end
  for _, rule in ipairs(new) do
    local problem = rules.add(rule)
    if problem then
      words.say(problem, vim.log.levels.ERROR)
      return
    end
  end
  words.tell("remembered: allow ", ("%s in %s"):format(new[1].command or new[1].path, new[1].cwd), "; :Loomd rules shows it")
  M.decide(run, entry, "allow", nil, done)
  for _, other in ipairs(M.open()) do
    if other.run.id ~= run.id or other.entry.permissionId ~= entry.permissionId then
      M.by_rule(other.run, other.entry)
    end
  end
end

-- A question has come: a rule may know the answer.
---@return boolean answered
function M.by_rule(run, entry)
  local key = key_of(run, entry)
  if answered_by_rule[key] then
    return true
  end
  local decision = rules.decide(run, entry.toolCall)
  if not decision or (decision == "allow" and not M.option(entry, "allow")) then
    return false
  end
  answered_by_rule[key] = true
  local option = M.option(entry, decision)
  local answer = option and { optionId = option.optionId } or { cancelled = true }
  answer.message = "by a remembered rule"
  local params = vim.tbl_extend("error", { runId = run.id, permissionId = entry.permissionId }, answer)
  server.request("run/answer", params, function(failure)
    -- Another editor with the same rules may have been faster.
    if failure and not (failure.data and failure.data.kind == "permissionResolved") then
      answered_by_rule[key] = nil
      words.say(words.failure(failure, "a rule's answer was not taken"), vim.log.levels.WARN)
    end
  end)
  words.tell((decision == "allow" and "allowed" or "denied") .. " by a rule: ", toolcall.headline(entry.toolCall), "")
  return true
end

return M
