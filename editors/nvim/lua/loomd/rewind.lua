-- Takes back what a run changed in files from a turn on: step by step from the newest, and only if every file still has what
-- the steps wrote. The session of the agent does not change.

local change = require("loomd.change")
local format = require("loomd.format")
local notify = require("loomd.notify")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

-- What the files would have; nothing is written.
---@param run loomd.Run
---@param items loomd.Item[] in their order
---@param turn integer
---@return table<string, string|false>? texts by path; false: there was no file
---@return string? problem
function M.plan(run, items, turn)
  local texts = {}
  for at = #items, 1, -1 do
    local item = items[at]
    local counts = item.kind == "tool" and item.status == "completed" and (item.turn or 0) >= turn
    for index = counts and #item.diffs or 0, 1, -1 do
      local diff = item.diffs[index]
      local path = vim.fs.normalize(change.absolute_path(run, diff.path))
      local obstacle = change.obstacle(run, path)
      if texts[path] == nil then
        texts[path] = change.read_file(path) or false
      end
      local text, problem = change.without(texts[path] or nil, diff)
      if obstacle or problem then
        return nil, ("%s: %s (%s)"):format(change.display_path(run, path), obstacle or problem, format.fit(format.one_line(item.title), 40))
      end
      texts[path] = text
    end
  end
  return texts
end

-- Reads all items; large diffs, which pages leave out, too.
---@param run loomd.Run
---@param done fun(items: loomd.Item[])
local function read_items(run, done)
  local function fail(failure)
    notify.show(format.failure(failure, "Could not read the transcript"), vim.log.levels.ERROR)
  end
  require("loomd.view.full").read_items(run, function(read, failure)
    if failure then
      return fail(failure)
    end
    local items = {}
    for _, block in vim.spairs(read.by_number) do
      items[#items + 1] = block.item
    end
    local function complete(index)
      local item = items[index]
      if not item then
        return done(items)
      end
      local is_short = vim.iter(item.diffs or {}):any(function(diff)
        return diff.omitted
      end)
      if not is_short then
        return complete(index + 1)
      end
      server.request("run/getItem", { runId = run.id, item = item.item }, function(problem, result)
        if problem then
          return fail(problem)
        end
        items[index] = result.item
        complete(index + 1)
      end)
    end
    complete(1)
  end)
end

-- Takes back the changes of a turn and of those after it, after a question.
---@param run loomd.Run
---@param turn integer
function M.rewind(run, turn)
  if not store.is_final(run) and run.state ~= "idle" then
    return notify.show(("%s is %s; wait for it or cancel it"):format(format.short_id(run.id), format.state(run).word), vim.log.levels.WARN)
  end
  local elsewhere = run_id.elsewhere(run)
  if elsewhere then
    return notify.show("Nothing was taken back: " .. elsewhere, vim.log.levels.WARN)
  end
  read_items(run, function(items)
    local texts, problem = M.plan(run, items, turn)
    if not texts then
      return notify.show("Nothing was taken back: " .. problem, vim.log.levels.WARN)
    elseif not next(texts) then
      return notify.show(("No recorded changes from turn %d on"):format(turn))
    end
    local paths = vim.fn.sort(vim.tbl_keys(texts))
    local names = vim.tbl_map(function(path)
      return change.display_path(run, path)
    end, paths)
    local question = ("Take back the changes of turn %d and later in %s (%s)?"):format(turn, format.count(#paths, "file"), format.fit(table.concat(names, ", "), 60))
    vim.ui.select({ "Cancel", "Take back" }, { prompt = question }, function(choice)
      if choice ~= "Take back" then
        return
      end
      -- The files may have changed while the question stood.
      texts, problem = M.plan(run, items, turn)
      for _, path in ipairs(texts and paths or {}) do
        problem = problem or change.write(path, texts[path])
      end
      if problem then
        return notify.show("Not all was taken back: " .. problem, vim.log.levels.ERROR)
      end
      require("loomd.events").files_changed(run, paths)
      notify.show(("Took back the changes of %s"):format(format.count(#paths, "file")))
    end)
  end)
end

return M
