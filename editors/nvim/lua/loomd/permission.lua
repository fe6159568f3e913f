-- Answers permission requests. Only a key or a command answers a request; closing a window or waiting never does.

local format = require("loomd.format")
local notify = require("loomd.notify")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

-- The option that applies to this request alone.
---@param entry loomd.PermissionEntry
---@param decision "allow"|"deny"
---@return loomd.PermissionOption?
function M.option(entry, decision)
  local wanted = decision == "allow" and "allow_once" or "reject_once"
  return vim.iter(entry.options or {}):find(function(option)
    return option.kind == wanted
  end)
end

-- What is asked, by run and request, as the server made it for people: it never changes.
---@type table<string, loomd.ShownPart[]>
local shown_parts = {}
-- The requests of which somebody here has seen all.
---@type table<string, boolean>
local seen = {}

local function request_key(run, entry)
  return run.id .. entry.permissionId
end

---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@return loomd.ShownPart[]? all of what is asked, if it is loaded
function M.loaded_parts(run, entry)
  return shown_parts[request_key(run, entry)]
end

-- Loads all of what is asked. It is in the transcript, near its end.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param done fun(parts?: loomd.ShownPart[], problem?: string)
function M.load_parts(run, entry, done)
  local key = request_key(run, entry)
  local function page(before)
    server.request("run/items", { runId = run.id, before = before }, function(failure, result)
      for _, item in ipairs(result and result.items or {}) do
        if item.kind == "permission" and item.permissionId == entry.permissionId then
          shown_parts[key] = item.shown
          return done(item.shown)
        end
      end
      if result and result.prev then
        return page(result.prev)
      end
      done(nil, failure and format.failure(failure) or "it is not in the transcript")
    end)
  end
  if shown_parts[key] then
    return done(shown_parts[key])
  end
  page()
end

function M.set_seen(run, entry)
  seen[request_key(run, entry)] = true
end

function M.was_seen(run, entry)
  return seen[request_key(run, entry)] == true
end

function M.forget(run, entry)
  local key = request_key(run, entry)
  shown_parts[key], seen[key] = nil, nil
end

-- All pending permission requests, the oldest first.
---@return { run: loomd.Run, entry: loomd.PermissionEntry }[]
function M.pending()
  local requests = {}
  for _, run in ipairs((store.group_runs())) do
    for _, entry in ipairs(run.permissions or {}) do
      requests[#requests + 1] = { run = run, entry = entry }
    end
  end
  table.sort(requests, function(a, b)
    return a.entry.at < b.entry.at
  end)
  return requests
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
      notify.show("Already answered elsewhere")
    elseif failure then
      notify.show(format.failure(failure, "Could not answer"), vim.log.levels.ERROR)
    end
    if done then
      done(failure)
    end
  end)
end

-- Allows once, or denies. If the request has no option that allows, it is not answered; a denial is always possible,
-- by canceling the request.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param decision "allow"|"deny"
---@param message? string the reason, which is sent to the agent
---@param done? fun(failure?: loomd.Failure)
function M.decide(run, entry, decision, message, done)
  local option = M.option(entry, decision)
  if option then
    M.answer(run, entry, { optionId = option.optionId, message = message }, done)
  elseif decision == "deny" then
    M.answer(run, entry, { cancelled = true, message = message }, done)
  else
    notify.show('No "allow once" option; see :Loomd next', vim.log.levels.WARN)
  end
end

-- Allows the request and adds a rule that allows exactly this.
---@param run loomd.Run
---@param entry loomd.PermissionEntry
---@param done? fun(failure?: loomd.Failure)
function M.always_allow(run, entry, done)
  local rules = require("loomd.rules")
  local rule = rules.exact(run, entry.toolCall)
  if not rule then
    return notify.show("Cannot create a rule for this", vim.log.levels.WARN)
  elseif not M.option(entry, "allow") then
    return M.decide(run, entry, "allow")
  end
  local host = require("loomd.run_id").host(run.id)
  rules.add(rule, function(failure)
    if not failure then
      notify.show_line(host and ("Added rule on %s: "):format(host) or "Added rule: ", rules.text(rule), "; see :Loomd rules" .. (host and " " .. host or ""))
      M.decide(run, entry, "allow", nil, done)
    end
  end, host)
end

return M
