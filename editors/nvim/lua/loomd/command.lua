-- The command :Loomd. One table holds its subcommands, what each does, and which runs complete it.

local format = require("loomd.format")
local notify = require("loomd.notify")
local pick = require("loomd.pick")
local store = require("loomd.store")

local M = {}

local function actions()
  return require("loomd.actions")
end

-- Returns a subcommand for one run, which the first argument may name.
local function run_subcommand(verb, action, filter)
  return {
    filter = filter,
    run = function(args, rest)
      pick.run({ id = args[1], filter = filter, verb = verb }, function(run)
        action(run, rest)
      end)
    end,
  }
end

-- Returns a subcommand for one run and a text, such as send. `:Loomd send {run} {text}` names the run; `:Loomd send
-- {text}` takes the run under the cursor.
local function run_text_subcommand(verb, action, filter)
  return {
    filter = filter,
    run = function(args, rest, _, range)
      local bare = args[1] and require("loomd.run_id").bare(args[1])
      local id = bare and (bare:find("^%x%x%x%x+$") or bare:find("^%x+%-[%x%-]+$")) and args[1] or nil
      local text = rest
      if not id then
        text = table.concat(vim.list_extend({ args[1] }, { rest ~= "" and rest or nil }), " ")
      end
      pick.run({ id = id, filter = filter, verb = verb }, function(run)
        action(run, text ~= "" and text or nil, range)
      end)
    end,
  }
end

local function is_live(run)
  return not store.is_final(run)
end

-- With lines of a buffer, the message is shown before it is sent.
local function send_subcommand(verb, mode)
  return run_text_subcommand(verb, function(run, text, range)
    if text and not range then
      actions().send(run, text, mode)
    else
      actions().prompt_and_send(run, mode, { range = range, default = text })
    end
  end, is_live)
end

-- Answers the oldest permission request of the named run. Nobody allows a request that they have not seen: then, and
-- without a name, it is shown.
local function answer_subcommand(decision)
  return {
    filter = store.is_waiting,
    run = function(args, rest)
      if not args[1] then
        return require("loomd.server").when_ready(function()
          require("loomd.view.permission_request").next(pick.current_run())
        end)
      end
      pick.run({ id = args[1], verb = decision }, function(run)
        local entry = (run.permissions or {})[1]
        if not entry then
          return notify.show("No pending request for this run")
        end
        local permission = require("loomd.permission")
        if decision == "allow" and not permission.was_seen(run, entry) then
          return require("loomd.view.permission_request").open(run, entry)
        end
        permission.decide(run, entry, decision, rest ~= "" and rest or nil)
      end)
    end,
  }
end

local function start_subcommand(in_worktree)
  return {
    run = function(args, rest, bang)
      local function done(run)
        if run and bang then
          require("loomd.view").open(run)
        end
      end
      if args[1] then
        require("loomd.start").start_template(args[1], rest, done, in_worktree)
      else
        require("loomd.start").select_template(done, in_worktree)
      end
    end,
  }
end

local function has_worktree(run)
  return require("loomd.worktree").of(run) ~= nil
end

---@type table<string, { run: fun(args: string[], rest: string, bang: boolean, range?: integer[]), fits?: fun(run: loomd.Run): boolean }>
M.subcommands = {
  start = start_subcommand(false),
  worktree = start_subcommand(true),
  merge = run_subcommand("merge the branch of", function(run)
    require("loomd.worktree").merge(run)
  end, has_worktree),
  discard = run_subcommand("remove the worktree of", function(run)
    require("loomd.worktree").discard(run)
  end, has_worktree),
  rewind = run_text_subcommand("take back changes of", function(run, text)
    local turn = text and text:match("^%d+$")
    if turn then
      require("loomd.rewind").rewind(run, tonumber(turn) --[[@as integer]])
    else
      notify.show("Name the turn: :Loomd rewind {run} {turn}", vim.log.levels.ERROR)
    end
  end, function(run)
    return run.hasTranscript
  end),
  pick = {
    run = function()
      pick.any(function(run)
        require("loomd.view").open(run)
      end)
    end,
  },
  output = run_subcommand("open", function(run)
    require("loomd.view").open(run)
  end),
  approve = answer_subcommand("allow"),
  deny = answer_subcommand("deny"),
  next = {
    run = function()
      require("loomd.server").when_ready(function(failure)
        if failure then
          return notify.show(format.failure(failure), vim.log.levels.ERROR)
        end
        require("loomd.view.permission_request").next()
      end)
    end,
  },
  cancel = run_subcommand("cancel", function(run)
    actions().cancel(run)
  end, is_live),
  interrupt = run_subcommand("interrupt", function(run)
    actions().interrupt(run)
  end, is_live),
  rerun = run_subcommand("rerun", function(run)
    actions().rerun(run)
  end),
  send = send_subcommand("send to"),
  steer = send_subcommand("steer", "steer"),
  queued = run_subcommand("show the queued messages of", function(run)
    require("loomd.queued").pick(run)
  end, is_live),
  closeinput = run_subcommand("close stdin of", function(run)
    actions().close_input(run)
  end, is_live),
  resume = run_text_subcommand("resume", function(run, text)
    actions().resume(run, text)
  end, function(run)
    return run.session ~= nil
  end),
  takeover = run_subcommand("continue %s in a terminal", function(run)
    actions().takeover(run)
  end, function(run)
    return run.session ~= nil
  end),
  configure = run_text_subcommand("configure", function(run, text)
    local configure = require("loomd.configure")
    if not text then
      return configure.prompt(run)
    end
    local settings, problem = configure.parse(run, text)
    if settings then
      configure.set(run, settings)
    else
      notify.show(problem, vim.log.levels.ERROR)
    end
  end, function(run)
    return require("loomd.configure").can_configure(run)
  end),
  export = run_text_subcommand("export", function(run, text)
    local export_format, path = (text or ""):match("^(%S+)%s*(.*)$")
    local export = require("loomd.export")
    if export_format and not vim.tbl_contains(export.formats, export_format) then
      return notify.show(("Unknown format: %s (%s)"):format(export_format, table.concat(export.formats, ", ")), vim.log.levels.ERROR)
    end
    export.to_file(run, export_format, path)
  end),
  rename = run_text_subcommand("rename", function(run, text)
    actions().rename(run, text)
  end),
  pin = run_subcommand("pin", function(run)
    actions().pin(run)
  end),
  delete = {
    filter = store.is_final,
    run = function(args, _, bang)
      pick.run({ id = args[1], filter = store.is_final, verb = "delete" }, function(run)
        actions().delete(run, bang)
      end)
    end,
  },
  copy = run_subcommand("copy the ID of", function(run)
    actions().copy_id(run)
  end),
  sessions = {
    run = function(args)
      require("loomd.server").when_ready(function(failure)
        local sessions = require("loomd.sessions")
        if failure then
          notify.show(format.failure(failure), vim.log.levels.ERROR)
        elseif args[1] then
          sessions.pick(args[1])
        else
          vim.ui.select(sessions.providers(), { prompt = "Provider:" }, function(provider)
            if provider then
              sessions.pick(provider)
            end
          end)
        end
      end)
    end,
  },
  history = {
    run = function(_, _, bang)
      require("loomd.view.runs").history(bang and vim.fn.getcwd() or nil)
    end,
  },
  search = {
    run = function(args, rest, bang)
      local query = vim.trim((args[1] or "") .. " " .. rest)
      if query ~= "" then
        return require("loomd.view.search").search(query, { regex = bang })
      end
      require("loomd.view.search").prompt({ regex = bang })
    end,
  },
  diff = run_subcommand("show changes of", function(run)
    require("loomd.view.changes").open(run)
  end),
  qf = run_subcommand("send errors of %s to quickfix", function(run)
    require("loomd.quickfix").open(run)
  end),
  whole = run_subcommand("open the full output of", function(run)
    require("loomd.view.full").open(run)
  end),
  rules = {
    run = function(args)
      if args[1] == "import" then
        return require("loomd.rules").import()
      end
      require("loomd.view.rules").open(args[1])
    end,
  },
  connect = {
    run = function(args)
      require("loomd.hosts").connect(args[1])
    end,
  },
  restart = {
    run = function()
      local server = require("loomd.server")
      server.restart()
      server.when_ready(function(failure)
        if failure then
          return notify.show(format.failure(failure), vim.log.levels.ERROR)
        end
        notify.show("Server restarted")
      end)
    end,
  },
  stop = {
    run = function()
      require("loomd.server").stop()
      notify.show("Server stopped (runs keep going)")
    end,
  },
  log = {
    run = function()
      local path = require("loomd.server").log_path()
      if not vim.uv.fs_stat(path) then
        return notify.show("No log file yet: " .. path)
      end
      vim.cmd("botright split " .. vim.fn.fnameescape(path))
      vim.bo.modifiable = false
      vim.bo.autoread = true
      vim.cmd("normal! G")
    end,
  },
  health = {
    run = function()
      vim.cmd.checkhealth("loomd")
    end,
  },
}

-- `rest` is the text after the first argument, unchanged.
---@param line string
---@return string? name, string[] args, string rest
local function parse(line)
  local name, tail = line:match("^%s*(%S+)%s*(.*)$")
  if not name then
    return nil, {}, ""
  end
  local first, rest = tail:match("^(%S+)%s*(.*)$")
  return name, first and { first } or {}, rest or ""
end

---@param call { args: string, bang: boolean, range: integer, line1: integer, line2: integer }
function M.run(call)
  require("loomd").initialize()
  local name, args, rest = parse(call.args)
  if not name then
    require("loomd.view.runs").open()
    return
  end
  local subcommand = M.subcommands[name]
  if not subcommand then
    notify.show(("Unknown subcommand: %s (see :help :Loomd)"):format(name), vim.log.levels.ERROR)
    return
  end
  subcommand.run(args, rest, call.bang, call.range > 0 and { call.line1, call.line2 } or nil)
end

local function filter_prefix(candidates, prefix)
  local matches = vim.tbl_filter(function(word)
    return vim.startswith(word, prefix)
  end, candidates)
  table.sort(matches)
  return matches
end

-- Runs are completed by the last digits of their IDs, in the order of the list, and only those that `filter` accepts.
local function run_ids(prefix, filter)
  local ids = {}
  local waiting, live, ended = store.group_runs()
  for _, group in ipairs({ waiting, live, ended }) do
    for _, run in ipairs(group) do
      local id = format.short_id(run.id)
      if (not filter or filter(run)) and vim.startswith(id, prefix) then
        ids[#ids + 1] = id
      end
    end
  end
  return ids
end

---@param prefix string
---@param line string
---@param position integer
---@return string[]
function M.complete(prefix, line, position)
  local typed = line:sub(1, position):gsub("^.-Loomd!?%s*", "", 1)
  local before = vim.split(typed, "%s+")
  if #before <= 1 then
    return filter_prefix(vim.tbl_keys(M.subcommands), prefix)
  end
  local name = before[1]
  require("loomd").initialize()
  if name == "start" or name == "worktree" then
    if #before == 2 then
      return filter_prefix(require("loomd.start").names(), prefix)
    end
    return vim.fn.getcompletion(prefix, #before == 3 and "shellcmd" or "file")
  end
  if name == "export" and #before == 3 then
    return filter_prefix(vim.deepcopy(require("loomd.export").formats), prefix)
  elseif name == "export" and #before > 3 then
    return vim.fn.getcompletion(prefix, "file")
  end
  if name == "rules" and #before == 2 then
    return filter_prefix(vim.list_extend({ "import" }, require("loomd.config").hosts()), prefix)
  elseif name == "connect" and #before == 2 then
    return filter_prefix(require("loomd.config").hosts(), prefix)
  end
  if name == "sessions" and #before == 2 then
    return filter_prefix(require("loomd.sessions").providers(), prefix)
  end
  if name == "configure" and (#before > 2 or before[2]:find("=")) then
    local run = require("loomd.pick").find_loaded(#before > 2 and before[2] or nil)
    return run and filter_prefix(require("loomd.configure").completions(run), prefix) or {}
  end
  local subcommand = M.subcommands[name]
  local about_a_run = subcommand and not vim.tbl_contains({ "next", "pick", "sessions", "history", "search", "rules", "connect", "restart", "stop", "log", "health" }, name)
  if about_a_run and #before == 2 then
    return run_ids(prefix, subcommand.filter)
  end
  return {}
end

return M
