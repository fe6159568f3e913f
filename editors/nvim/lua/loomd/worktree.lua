-- Runs in a git worktree of their own, on a branch of their own. The branch is merged, or removed with its worktree, only by a
-- command and after a question that says what it does.
--
-- The labels of the run name both, for the lists. A run can be started with any labels, also by an agent, so git only works
-- with what is in a file of this plugin.

local actions = require("loomd.actions")
local format = require("loomd.format")
local notify = require("loomd.notify")
local private_file = require("loomd.private_file")
local run_id = require("loomd.run_id")
local store = require("loomd.store")

local M = {}

---@class loomd.Worktree
---@field branch string
---@field folder string
---@field repository string the folder from which it was made

local function records_path()
  return vim.fs.joinpath(vim.fn.stdpath("state"), "loomd", "worktrees.json")
end

-- The worktrees that were made here, by their folder.
---@return table<string, loomd.Worktree>
local function read_records()
  return private_file.read_json(records_path()) or {}
end

---@param folder string
---@param worktree? loomd.Worktree nil: it is gone
local function record(folder, worktree)
  local records = read_records()
  records[folder] = worktree
  local problem = private_file.write(records_path(), vim.json.encode(next(records) and records or vim.empty_dict()))
  if problem then
    notify.show(problem, vim.log.levels.ERROR)
  end
end

-- Runs git and calls `done` with its output, or with what it says after a failure.
---@param folder string
---@param arguments string[]
---@param done fun(output?: string, problem?: string)
local function git(folder, arguments, done)
  local command = vim.list_extend({ "git", "-c", "core.fsmonitor=false", "-C", folder }, arguments)
  local ok, problem = pcall(vim.system, command, { env = { GIT_TERMINAL_PROMPT = "0", GIT_EDITOR = "true" } }, function(result)
    vim.schedule(function()
      if result.code == 0 then
        return done((result.stdout:gsub("\n$", "")))
      end
      local text = vim.trim(result.stderr ~= "" and result.stderr or result.stdout)
      done(nil, ("git %s: %s"):format(arguments[1], text ~= "" and text or "exit code " .. result.code))
    end)
  end)
  if not ok then
    done(nil, tostring(problem))
  end
end

-- Runs git several times. `done` gets all outputs, or the first problem.
local function git_all(folder, list, done)
  local outputs = {}
  local function following(index)
    if not list[index] then
      return done(outputs)
    end
    git(folder, list[index], function(output, problem)
      if problem then
        return done(nil, problem)
      end
      outputs[index] = output
      following(index + 1)
    end)
  end
  following(1)
end

local function show_problem(problem)
  notify.show(format.one_line(problem), vim.log.levels.ERROR)
end

---@param params loomd.StartParams
local function name_of(params)
  local command = params.command or {}
  local script = #command == 3 and command[2] == vim.o.shellcmdflag and command[3] or table.concat(command, " ")
  local text = type(params.prompt) == "table" and params.prompt[1].text or params.prompt or params.title or script
  local slug = text:lower():gsub("[^%w]+", "-"):sub(1, 30):gsub("^%-+", ""):gsub("%-+$", "")
  return (slug ~= "" and slug or "run") .. "-" .. os.date("%m%d-%H%M%S")
end

-- Starts a run in a new worktree of the repository that its folder is in, on a new branch from what is checked out there.
---@param params loomd.StartParams
---@param done? fun(run?: loomd.Run)
function M.start(params, done)
  local cwd = params.cwd or vim.fn.getcwd()
  local function fail(problem)
    show_problem(problem)
    return done and done()
  end
  git_all(cwd, { { "rev-parse", "--show-toplevel" }, { "rev-parse", "--show-prefix" }, { "rev-parse", "HEAD" } }, function(found, problem)
    if not found then
      return fail(problem)
    end
    local repository, prefix = found[1], found[2]
    local name = name_of(params)
    local branch = vim.fs.joinpath("loomd", name)
    local folder = vim.fs.joinpath(vim.fn.stdpath("data"), "loomd", "worktrees", vim.fs.basename(repository), name)
    vim.fn.mkdir(vim.fs.dirname(folder), "p", tonumber("700", 8))
    git(repository, { "worktree", "add", "-b", branch, folder, found[3] }, function(_, not_added)
      if not_added then
        return fail(not_added)
      end
      params.cwd = prefix ~= "" and vim.fs.joinpath(folder, (prefix:gsub("/$", ""))) or folder
      params.labels = vim.tbl_extend("force", params.labels or {}, { branch = branch, worktree = folder })
      record(folder, { branch = branch, folder = folder, repository = repository })
      actions.start(params, function(run)
        if not run then
          -- Nobody has worked in it.
          record(folder, nil)
          git_all(repository, { { "worktree", "remove", folder }, { "branch", "-D", branch } }, function(_, left)
            if left then
              show_problem(left)
            end
          end)
        end
        if done then
          done(run)
        end
      end)
    end)
  end)
end

---@param run loomd.Run
---@return loomd.Worktree?
function M.of(run)
  local folder = not run_id.host(run.id) and (run.labels or {}).worktree
  return folder and read_records()[folder] or nil
end

---@class loomd.WorktreeState
---@field commits integer that what is checked out in the repository does not have
---@field changes integer files that are not committed
---@field target string what is checked out in the repository

-- Looks what there is in the worktree of a run. Without one, or while a run works there, a message says so.
---@param run loomd.Run
---@param may_not_live boolean not even an idle run may be there
---@param done fun(worktree: loomd.Worktree, state: loomd.WorktreeState)
local function examine(run, may_not_live, done)
  local worktree = M.of(run)
  if not worktree then
    return notify.show("This run has no worktree that was made here")
  end
  -- A resumed run works in the worktree of the first.
  for _, other in pairs(store.runs) do
    local is_idle = not may_not_live and other.state == "idle"
    if (other.labels or {}).worktree == worktree.folder and not store.is_final(other) and not is_idle then
      return notify.show(("%s works in the worktree (%s); wait for it or cancel it"):format(format.short_id(other.id), format.state(other).word), vim.log.levels.WARN)
    end
  end
  git(worktree.folder, { "status", "--porcelain" }, function(status, problem)
    if problem then
      return show_problem(problem)
    end
    git_all(worktree.repository, { { "rev-list", "--count", "HEAD.." .. worktree.branch }, { "rev-parse", "--abbrev-ref", "HEAD" } }, function(found, failed)
      if not found then
        return show_problem(failed)
      end
      local changes = status == "" and 0 or select(2, status:gsub("\n", "\n")) + 1
      done(worktree, { commits = tonumber(found[1]) or 0, changes = changes, target = found[2] })
    end)
  end)
end

local function merge(worktree, target)
  git(worktree.repository, { "rev-parse", "--quiet", "--verify", "MERGE_HEAD" }, function(other)
    if other then
      return show_problem("Not merged: another merge is not finished in " .. worktree.repository)
    end
    git(worktree.repository, { "merge", "--no-ff", "--no-edit", worktree.branch }, function(_, problem)
      if not problem then
        vim.cmd.checktime()
        return notify.show(("Merged %s into %s; :Loomd discard removes its worktree"):format(worktree.branch, target))
      end
      -- A merge that stopped at conflicts is taken back; one that did not begin has nothing to take back.
      git(worktree.repository, { "merge", "--abort" }, function(_, not_aborted)
        show_problem(("Not merged%s: %s"):format(not_aborted and "" or ", and everything is as before", problem))
      end)
    end)
  end)
end

-- Merges the branch of a run into what is checked out in its repository, after a question.
---@param run loomd.Run
function M.merge(run)
  examine(run, false, function(worktree, state)
    if state.commits == 0 and state.changes == 0 then
      return notify.show("Nothing to merge in " .. worktree.branch)
    end
    local answer = state.changes > 0 and "Commit and merge" or "Merge"
    local what = {}
    what[1] = state.commits > 0 and format.count(state.commits, "commit") or nil
    what[#what + 1] = state.changes > 0 and format.count(state.changes, "file") .. " not yet committed" or nil
    local question = ("Merge %s of %s into %s in %s?"):format(table.concat(what, " and "), worktree.branch, state.target, vim.fn.fnamemodify(worktree.repository, ":~"))
    vim.ui.select({ "Cancel", answer }, { prompt = question }, function(choice)
      if choice ~= answer then
        return
      elseif state.changes == 0 then
        return merge(worktree, state.target)
      end
      git_all(worktree.folder, { { "add", "--all" }, { "commit", "--quiet", "-m", format.title(run) } }, function(_, problem)
        if problem then
          return show_problem(problem)
        end
        merge(worktree, state.target)
      end)
    end)
  end)
end

-- Removes the worktree and the branch of a run, after a question that says what is lost.
---@param run loomd.Run
function M.discard(run)
  examine(run, true, function(worktree, state)
    local lost = {}
    lost[#lost + 1] = state.commits > 0 and format.count(state.commits, "commit") .. " not merged" or nil
    lost[#lost + 1] = state.changes > 0 and format.count(state.changes, "file") .. " not committed" or nil
    local question = ("Remove the worktree and the branch %s (%s)?"):format(worktree.branch, #lost > 0 and "LOST: " .. table.concat(lost, ", ") or "nothing is lost")
    vim.ui.select({ "Cancel", "Remove" }, { prompt = question }, function(choice)
      if choice ~= "Remove" then
        return
      end
      git_all(worktree.repository, { { "worktree", "remove", "--force", worktree.folder }, { "branch", "-D", worktree.branch } }, function(_, problem)
        if problem then
          return show_problem(problem)
        end
        record(worktree.folder, nil)
        local rest = vim.deepcopy(run.labels)
        rest.branch, rest.worktree = nil, nil
        actions.edit(run, { labels = next(rest) and rest or vim.empty_dict() })
        notify.show("Removed " .. worktree.branch)
      end)
    end)
  end)
end

return M
