-- Which run is meant: the one that was named, else the one under the cursor, else the only one that fits, else the person picks.

local server = require("loomd.server")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

-- The run of the current buffer: of its row under the cursor in a list, or the one that it shows.
---@return loomd.Run?
function M.here()
  local id = vim.b.loomd_run
  if vim.b.loomd_rows then
    local list = require("loomd.view.runs")
    id = list.run_at_cursor()
  end
  return id and store.runs[id]
end

---@param text string
---@return loomd.Run[]
local function named(text)
  local found = {}
  for id, run in pairs(store.runs) do
    if id == text then
      return { run }
    elseif vim.endswith(id, text:lower()) then
      found[#found + 1] = run
    end
  end
  return found
end

-- The run of that name among those that are known, without a name the one under the cursor; nothing is asked.
---@param text? string
---@return loomd.Run?
function M.known(text)
  if not text then
    return M.here()
  end
  local found = named(text)
  return #found == 1 and found[1] or nil
end

-- Runs that are not in the list of the newest ones are looked for page by page.
local function look_further(text, done, cursor)
  server.request("run/list", { limit = 500, cursor = cursor }, function(failure, result)
    if failure then
      return done({}, failure)
    end
    local found = {}
    for _, run in ipairs(result.runs) do
      if vim.endswith(run.id, text:lower()) then
        found[#found + 1] = run
      end
    end
    if #found == 0 and result.nextCursor then
      return look_further(text, done, result.nextCursor)
    end
    for _, run in ipairs(found) do
      store.put(run)
    end
    done(found)
  end)
end

---@class loomd.PickOptions
---@field named? string
---@field fits? fun(run: loomd.Run): boolean
---@field what string what is to be done, for the prompt and the complaint

---@param options loomd.PickOptions
---@param done fun(run: loomd.Run)
function M.run(options, done)
  server.ready(function(failure)
    if failure then
      return words.say(words.failure(failure), vim.log.levels.ERROR)
    end
    local fits = options.fits or function()
      return true
    end
    if options.named then
      local function settle(found, problem)
        if problem then
          words.say(words.failure(problem), vim.log.levels.ERROR)
        elseif #found == 0 then
          words.say(("there is no run %s; :Loomd history shows all"):format(options.named), vim.log.levels.ERROR)
        elseif #found > 1 then
          words.say(("%d runs end with %s; give more of the id"):format(#found, options.named), vim.log.levels.ERROR)
        else
          done(found[1])
        end
      end
      local found = named(options.named)
      if #found > 0 then
        return settle(found)
      end
      return look_further(options.named, settle)
    end
    local here = M.here()
    if here then
      return done(here)
    end
    local waiting, live, ended = store.grouped()
    local runs = {}
    for _, group in ipairs({ waiting, live, ended }) do
      vim.list_extend(runs, vim.tbl_filter(fits, group))
    end
    if #runs == 0 then
      words.say("there is no run to " .. options.what)
    elseif #runs == 1 then
      done(runs[1])
    else
      vim.ui.select(runs, {
        prompt = "Which run to " .. options.what .. "?",
        kind = "loomd_run",
        format_item = function(run)
          return ("%s  %s  %s  %s"):format(words.short(run.id), words.state(run).word, run.provider, words.fit(words.title(run), 60))
        end,
      }, function(run)
        if run then
          done(run)
        end
      end)
    end
  end)
end

return M
