-- Lists the sessions that providers store, also those made outside of loomd, and resumes them in new runs.

local actions = require("loomd.actions")
local config = require("loomd.config")
local format = require("loomd.format")
local notify = require("loomd.notify")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

local function format_session(session)
  local when = session.updatedAt and (format.duration(format.now() - session.updatedAt) .. " ago") or ""
  return vim.trim(("%s  %s  %s"):format(format.fit(format.one_line(session.title or session.id), 60), when, session.cwd and vim.fn.fnamemodify(session.cwd, ":~") or ""))
end

-- Asks for a prompt and resumes the session in a new run.
---@param provider string
---@param session { id: string, cwd?: string, runId?: string }
---@param done? fun(run?: loomd.Run)
function M.resume(provider, session, done)
  local known = session.runId and store.runs[session.runId]
  if known then
    return actions.resume(known, nil, done)
  end
  require("loomd.prompt").ask({ title = "Prompt", key = session.id }, function(text)
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

-- Lets the user pick one of the sessions of this directory.
---@param provider string
---@param done? fun(run?: loomd.Run)
function M.pick(provider, done)
  server.request("session/list", { provider = provider, cwd = vim.fn.getcwd() }, function(failure, result)
    if failure then
      return notify.show(format.failure(failure, "Could not list sessions"), vim.log.levels.ERROR)
    elseif #result.sessions == 0 then
      return notify.show(("No %s sessions in this directory"):format(provider))
    end
    vim.ui.select(result.sessions, { prompt = "Resume session:", kind = "loomd_session", format_item = format_session }, function(session)
      if session then
        M.resume(provider, session, done)
      end
    end)
  end)
end

---@class loomd.ExternalSession
---@field provider string
---@field session { id: string, title?: string, cwd?: string, updatedAt?: integer }

---@class loomd.ExternalSessions
---@field list loomd.ExternalSession[] the newest first
---@field cursors table<string, string> provider → cursor of its next page
---@field pending integer number of providers whose response is pending
---@field problems string[]

-- Lists the sessions of a directory that belong to no run: the first page of every provider, or after `previous` the
-- next pages.
---@param cwd string
---@param previous? loomd.ExternalSessions
---@param changed fun()
---@return loomd.ExternalSessions
function M.list_external(cwd, previous, changed)
  if previous and (previous.pending > 0 or not next(previous.cursors)) then
    return previous
  end
  local found = previous or { list = {}, cursors = {}, pending = 0, problems = {} }
  local cursors = previous and previous.cursors or {}
  found.cursors = {}
  for _, provider in ipairs(previous and vim.tbl_keys(cursors) or M.providers()) do
    found.pending = found.pending + 1
    server.request("session/list", { provider = provider, cwd = cwd, cursor = cursors[provider] }, function(failure, result)
      found.pending = found.pending - 1
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

-- The providers that can resume a session.
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
