-- Which runs a list shows, and under which headings. A filter is a text of words that all have to match: `state:failed`,
-- `agent:codex`, `in:FOLDER`, `host:NAME`, or any part of a title, a command or an ID.

local format = require("loomd.format")
local run_id = require("loomd.run_id")
local store = require("loomd.store")
local unread = require("loomd.unread")

local M = {}

M.groups = { "state", "folder", "day" }

---@param run loomd.Run
local function states_of(run)
  return { format.state(run).word:gsub(" ", ""), run.state, store.is_final(run) and "finished" or "active", unread.is_unread(run) and "unread" or "read" }
end

local function contains(text, part)
  return text:lower():find(part:lower(), 1, true) ~= nil
end

local terms = {
  state = function(run, value)
    return vim.iter(states_of(run)):any(function(word)
      return vim.startswith(word:lower(), value:lower())
    end)
  end,
  agent = function(run, value)
    return vim.startswith(run.provider:lower(), value:lower())
  end,
  host = function(run, value)
    return vim.startswith(run_id.host(run.id) or "", value)
  end,
  ["in"] = function(run, value)
    if run_id.host(run.id) then
      return contains(run.cwd, value)
    end
    local folder = vim.fs.normalize(vim.fn.fnamemodify(vim.fs.normalize(value), ":p"))
    return run.cwd == folder or vim.startswith(run.cwd .. "/", folder .. "/") or contains(run.cwd, value)
  end,
}

-- Whether a run matches all words of a filter.
---@param text string
---@param run loomd.Run
function M.matches(text, run)
  for word in text:gmatch("%S+") do
    local name, value = word:match("^(%a+):(.+)$")
    local is_met
    if name and terms[name] then
      is_met = terms[name](run, value)
    else
      is_met = contains(format.title(run), word) or contains(table.concat(run.command or {}, " "), word) or contains(run.id, word) or contains((run.labels or {}).branch or "", word)
    end
    if not is_met then
      return false
    end
  end
  return true
end

-- Completes the last word of a filter.
function M.complete(_, line)
  local before, last = line:match("^(.-)(%S*)$")
  local candidates, found = {}, {}
  for _, run in pairs(store.runs) do
    candidates["agent:" .. run.provider] = true
    local host = run_id.host(run.id)
    candidates[host and "host:" .. host or "in:" .. vim.fn.fnamemodify(run.cwd, ":~")] = true
    for _, word in ipairs(states_of(run)) do
      candidates["state:" .. word] = true
    end
  end
  for word in vim.spairs(candidates) do
    if vim.startswith(word, last) then
      found[#found + 1] = before .. word
    end
  end
  return found
end

-- The heading of a run in a list that is grouped by folder or day.
---@param group "folder"|"day"
---@param run loomd.Run
function M.heading(group, run)
  if group == "folder" then
    return format.folder(run)
  end
  local day = os.date("%Y-%m-%d", math.floor(run.createdAt / 1000))
  local now = math.floor(format.now() / 1000)
  return day == os.date("%Y-%m-%d", now) and "Today" or day == os.date("%Y-%m-%d", now - 86400) and "Yesterday" or day
end

return M
