-- Sessions that a provider keeps by itself, those too that were made outside of loomd: picked, and gone on with in a run.

local actions = require("loomd.actions")
local config = require("loomd.config")
local server = require("loomd.server")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

local function label(session)
  local when = session.updatedAt and (words.duration(words.now() - session.updatedAt) .. " ago") or ""
  return vim.trim(("%s  %s  %s"):format(words.fit(words.one_line(session.title or session.id), 60), when, session.cwd and vim.fn.fnamemodify(session.cwd, ":~") or ""))
end

-- Asks for a prompt, and goes on with a session in a new run.
---@param provider string
---@param session { id: string, cwd?: string, runId?: string }
---@param done? fun(run?: loomd.Run)
function M.go_on(provider, session, done)
  local known = session.runId and store.runs[session.runId]
  if known then
    return actions.resume(known, nil, done)
  end
  vim.ui.input({ prompt = "Go on with: " }, function(text)
    if text and text ~= "" then
      local options = config.get()
      actions.start({
        provider = provider,
        resume = { sessionId = session.id },
        prompt = text,
        cwd = session.cwd or vim.fn.getcwd(),
        permissions = options.permissions,
        interactive = options.interactive or nil,
      }, done)
    end
  end)
end

-- Offers the sessions of this directory.
---@param provider string
---@param done? fun(run?: loomd.Run)
function M.pick(provider, done)
  server.request("session/list", { provider = provider, cwd = vim.fn.getcwd() }, function(failure, result)
    if failure then
      return words.say(words.failure(failure, "sessions"), vim.log.levels.ERROR)
    elseif #result.sessions == 0 then
      return words.say(("%s has no sessions in this directory"):format(provider))
    end
    vim.ui.select(result.sessions, { prompt = "Session to go on with", kind = "loomd_session", format_item = label }, function(session)
      if session then
        M.go_on(provider, session, done)
      end
    end)
  end)
end

---@class loomd.OutsideSession
---@field provider string
---@field session { id: string, title?: string, cwd?: string, updatedAt?: integer }

---@class loomd.OutsideSessions
---@field list loomd.OutsideSession[] the newest first
---@field cursors table<string, string> provider → where its next page begins
---@field asking integer how many providers have not answered yet
---@field problems string[]

-- Sessions of a directory that no run of ours made: the first page of every provider, or with `before` the next ones.
---@param cwd string
---@param before? loomd.OutsideSessions
---@param changed fun()
---@return loomd.OutsideSessions
function M.outside(cwd, before, changed)
  if before and (before.asking > 0 or not next(before.cursors)) then
    return before
  end
  local found = before or { list = {}, cursors = {}, asking = 0, problems = {} }
  local cursors = before and before.cursors or {}
  found.cursors = {}
  for _, provider in ipairs(before and vim.tbl_keys(cursors) or M.providers()) do
    found.asking = found.asking + 1
    server.request("session/list", { provider = provider, cwd = cwd, cursor = cursors[provider] }, function(failure, result)
      found.asking = found.asking - 1
      local kind = failure and failure.data and failure.data.kind
      if failure and kind ~= "unsupported" and kind ~= "methodNotFound" then
        table.insert(found.problems, provider .. ": " .. failure.message)
      end
      for _, session in ipairs(result and result.sessions or {}) do
        if not session.runId then
          table.insert(found.list, { provider = provider, session = session })
        end
      end
      found.cursors[provider] = result and result.nextCursor
      table.sort(found.list, function(a, b)
        return (a.session.updatedAt or 0) > (b.session.updatedAt or 0)
      end)
      changed()
    end)
  end
  return found
end

-- Providers that can go on with a session.
---@return string[]
function M.providers()
  local ids = {}
  for id, provider in pairs(store.providers) do
    if provider.available and provider.capabilities.resume then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids)
  return ids
end

return M
