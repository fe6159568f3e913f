-- Finds the run that a command is about: the named one, else the one under the cursor, else the only one that fits,
-- else the user picks one.

local format = require("loomd.format")
local notify = require("loomd.notify")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

-- The run of the current buffer: the one under the cursor in a list, or the one that the buffer shows.
---@return loomd.Run?
function M.current_run()
  local id = vim.b.loomd_run
  if vim.b.loomd_rows then
    local list = require("loomd.view.runs")
    id = list.run_at_cursor()
  end
  return id and store.runs[id]
end

---@param text string
---@return loomd.Run[]
local function match_runs(text)
  local found, host = {}, run_id.host(text)
  for id, run in pairs(store.runs) do
    if id == text then
      return { run }
    elseif vim.endswith(run_id.bare(id), run_id.bare(text):lower()) and (not host or host == run_id.host(id)) then
      found[#found + 1] = run
    end
  end
  return found
end

-- The run with that ID among the loaded ones, or without an ID the one under the cursor. It does not ask the user.
---@param text? string
---@return loomd.Run?
function M.find_loaded(text)
  if not text then
    return M.current_run()
  end
  local found = match_runs(text)
  return #found == 1 and found[1] or nil
end

-- Looks for a run that is not loaded, page by page, on its host if the text names one.
local function search_server(text, done, cursor)
  server.request("run/list", { limit = 500, cursor = cursor }, function(failure, result)
    if failure then
      return done({}, failure)
    end
    local found = {}
    for _, run in ipairs(result.runs) do
      if vim.endswith(run.id, run_id.bare(text):lower()) then
        found[#found + 1] = run
      end
    end
    if #found == 0 and result.nextCursor then
      return search_server(text, done, result.nextCursor)
    end
    for _, run in ipairs(found) do
      store.put(run)
    end
    done(found)
  end, run_id.host(text))
end

-- Puts `object` into `verb`: phrase("continue %s in a terminal", "which run") is "continue which run in a terminal".
---@param verb string with `%s` in place of the run; without it the run follows the verb
---@param object string
---@return string
local function phrase(verb, object)
  verb = verb:find("%s", 1, true) and verb or verb .. " %s"
  return vim.trim((verb:format(object):gsub("%s+", " ")))
end

---@class loomd.PickOptions
---@field id? string
---@field filter? fun(run: loomd.Run): boolean
---@field verb string the action, for the prompt and the message

-- The known runs in the order of the list.
---@param filter? fun(run: loomd.Run): boolean
local function known_runs(filter)
  local waiting, live, ended = store.group_runs()
  local runs = {}
  for _, group in ipairs({ waiting, live, ended }) do
    vim.list_extend(runs, filter and vim.tbl_filter(filter, group) or group)
  end
  return runs
end

-- Other pickers show the items as `format_item` writes them, so all that one searches for is in it.
local function select_run(runs, prompt, done)
  vim.ui.select(runs, {
    prompt = prompt,
    kind = "loomd_run",
    format_item = function(run)
      return ("%s  %s  %s  %s"):format(format.short_id(run.id), format.state(run).word, run.provider, format.fit(format.title(run), 60))
    end,
  }, function(run)
    if run then
      done(run)
    end
  end)
end

-- Lets the user pick one of all known runs.
---@param done fun(run: loomd.Run)
function M.any(done)
  server.when_ready(function(failure)
    local runs = known_runs()
    if failure then
      notify.show(format.failure(failure), vim.log.levels.ERROR)
    elseif #runs == 0 then
      notify.show("No runs yet")
    else
      select_run(runs, "Open which run?", done)
    end
  end)
end

---@param options loomd.PickOptions
---@param done fun(run: loomd.Run)
function M.run(options, done)
  server.when_ready(function(failure)
    -- A run of a host needs no server of this computer.
    local needs_none = run_id.host(options.id or (M.current_run() or { id = "" }).id)
    if failure and not needs_none then
      return notify.show(format.failure(failure), vim.log.levels.ERROR)
    end
    if options.id then
      local function use_matches(found, problem)
        if problem then
          notify.show(format.failure(problem), vim.log.levels.ERROR)
        elseif #found == 0 then
          notify.show(("No such run: %s"):format(options.id), vim.log.levels.ERROR)
        elseif #found > 1 then
          notify.show(("Ambiguous run ID %s (%d matches)"):format(options.id, #found), vim.log.levels.ERROR)
        else
          done(found[1])
        end
      end
      local found = match_runs(options.id)
      if #found > 0 then
        return use_matches(found)
      end
      return search_server(options.id, use_matches)
    end
    local current_run = M.current_run()
    if current_run then
      return done(current_run)
    end
    local runs = known_runs(options.filter)
    if #runs == 0 then
      notify.show("No run to " .. phrase(options.verb, ""))
    elseif #runs == 1 then
      done(runs[1])
    else
      select_run(runs, phrase(options.verb, "which run"):gsub("^%l", string.upper) .. "?", done)
    end
  end)
end

return M
