-- :Loomd and its subcommands, one table: what each does, and what completes it.

local pick = require("loomd.pick")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

local function actions()
  return require("loomd.actions")
end

-- A subcommand about one run, which may be named.
local function about(what, act, fits)
  return {
    fits = fits,
    run = function(args, rest)
      pick.run({ named = args[1], fits = fits, what = what }, function(run)
        act(run, rest)
      end)
    end,
  }
end

-- Send and its like: `:Loomd send {run} {text}`, or only a text for the run under the cursor.
local function with_text(what, act, fits)
  return {
    fits = fits,
    run = function(args, rest)
      local named = args[1] and (args[1]:match("^%x%x%x%x+$") or args[1]:match("^%x+%-[%x%-]+$"))
      local text = rest
      if not named then
        text = table.concat(vim.list_extend({ args[1] }, { rest ~= "" and rest or nil }), " ")
      end
      pick.run({ named = named, fits = fits, what = what }, function(run)
        act(run, text ~= "" and text or nil)
      end)
    end,
  }
end

local function is_live(run)
  return not store.is_final(run)
end

-- Answers the oldest question of a run that was named; without a name the question is shown, not answered unseen.
local function answer(decision)
  return {
    fits = store.is_waiting,
    run = function(args, rest)
      if not args[1] then
        return require("loomd.server").ready(function()
          require("loomd.view.question").next(pick.here())
        end)
      end
      pick.run({ named = args[1], what = decision }, function(run)
        local entry = (run.permissions or {})[1]
        if not entry then
          return words.say("this run asks nothing")
        end
        require("loomd.permission").decide(run, entry, decision, rest ~= "" and rest or nil)
      end)
    end,
  }
end

---@type table<string, { run: fun(args: string[], rest: string, bang: boolean), fits?: fun(run: loomd.Run): boolean }>
M.subcommands = {
  start = {
    run = function(args, rest, bang)
      local function done(run)
        if run and bang then
          require("loomd.view").open(run)
        end
      end
      if args[1] then
        require("loomd.start").template(args[1], rest, done)
      else
        require("loomd.start").ask(done)
      end
    end,
  },
  output = about("show", function(run)
    require("loomd.view").open(run)
  end),
  approve = answer("allow"),
  deny = answer("deny"),
  next = {
    run = function()
      require("loomd.server").ready(function(failure)
        if failure then
          return words.say(words.failure(failure), vim.log.levels.ERROR)
        end
        require("loomd.view.question").next()
      end)
    end,
  },
  cancel = about("cancel", function(run)
    actions().cancel(run)
  end, is_live),
  interrupt = about("interrupt", function(run)
    actions().interrupt(run)
  end, is_live),
  rerun = about("run again", function(run)
    actions().rerun(run)
  end),
  send = with_text("send to", function(run, text)
    if text then
      actions().send(run, text)
    else
      actions().ask_and_send(run)
    end
  end, is_live),
  steer = with_text("steer", function(run, text)
    if text then
      actions().send(run, text, "steer")
    else
      actions().ask_and_send(run, "steer")
    end
  end, is_live),
  closeinput = about("end the input of", function(run)
    actions().close_input(run)
  end, is_live),
  resume = with_text("resume", function(run, text)
    actions().resume(run, text)
  end, function(run)
    return run.session ~= nil
  end),
  takeover = about("take over", function(run)
    actions().takeover(run)
  end, function(run)
    return run.session ~= nil
  end),
  configure = with_text("configure", function(run, text)
    local configure = require("loomd.configure")
    if not text then
      return configure.ask(run)
    end
    local settings, problem = configure.parse(text)
    if settings then
      configure.set(run, settings)
    else
      words.say(problem .. "; <Tab> completes them", vim.log.levels.ERROR)
    end
  end, function(run)
    return require("loomd.configure").fits(run)
  end),
  rename = with_text("rename", function(run, text)
    actions().rename(run, text)
  end),
  pin = about("pin", function(run)
    actions().pin(run)
  end),
  delete = {
    fits = store.is_final,
    run = function(args, _, bang)
      pick.run({ named = args[1], fits = store.is_final, what = "delete" }, function(run)
        actions().delete(run, bang)
      end)
    end,
  },
  copy = about("copy the id of", function(run)
    actions().copy_id(run)
  end),
  sessions = {
    run = function(args)
      require("loomd.server").ready(function(failure)
        local sessions = require("loomd.sessions")
        if failure then
          words.say(words.failure(failure), vim.log.levels.ERROR)
        elseif args[1] then
          sessions.pick(args[1])
        else
          vim.ui.select(sessions.providers(), { prompt = "Sessions of" }, function(provider)
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
        return require("loomd.view.hits").search(query, { regex = bang })
      end
      require("loomd.view.hits").ask({ regex = bang })
    end,
  },
  diff = about("show the changes of", function(run)
    require("loomd.view.changes").open(run)
  end),
  qf = about("read places from", function(run)
    require("loomd.quickfix").open(run)
  end),
  whole = about("show whole", function(run)
    if store.has_transcript(run) then
      require("loomd.view.transcript").whole(run)
    else
      actions().whole_output(run)
    end
  end),
  rules = {
    run = function()
      require("loomd.rules").edit()
    end,
  },
  restart = {
    run = function()
      local server = require("loomd.server")
      server.restart()
      server.ready(function(failure)
        if failure then
          return words.say(words.failure(failure), vim.log.levels.ERROR)
        end
        words.say("the server is started again; runs are not touched by this")
      end)
    end,
  },
  stop = {
    run = function()
      require("loomd.server").stop()
      words.say("the server is stopped; runs go on")
    end,
  },
  log = {
    run = function()
      local path = require("loomd.server").log_path()
      if not vim.uv.fs_stat(path) then
        return words.say("there is no log yet: " .. path)
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

-- `rest` is what was typed behind the first argument, as it was typed.
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

---@param call { args: string, bang: boolean }
function M.run(call)
  require("loomd").begin()
  local name, args, rest = parse(call.args)
  if not name then
    require("loomd.view.runs").open()
    return
  end
  local subcommand = M.subcommands[name]
  if not subcommand then
    words.say(("there is no :Loomd %s; :help :Loomd lists what there is"):format(name), vim.log.levels.ERROR)
    return
  end
  subcommand.run(args, rest, call.bang)
end

local function matching(words_, lead)
  local found = vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, words_)
  table.sort(found)
  return found
end

-- Runs are completed by the last digits of their ids, in the order of the list, and only those for which it makes sense.
local function run_ids(lead, fits)
  local ids = {}
  local waiting, live, ended = store.grouped()
  for _, group in ipairs({ waiting, live, ended }) do
    for _, run in ipairs(group) do
      local id = words.short(run.id)
      if (not fits or fits(run)) and vim.startswith(id, lead) then
        ids[#ids + 1] = id
      end
    end
  end
  return ids
end

---@param lead string
---@param line string
---@param position integer
---@return string[]
function M.complete(lead, line, position)
  local typed = line:sub(1, position):gsub("^.-Loomd!?%s*", "", 1)
  local before = vim.split(typed, "%s+")
  if #before <= 1 then
    return matching(vim.tbl_keys(M.subcommands), lead)
  end
  local name = before[1]
  require("loomd").begin()
  if name == "start" then
    if #before == 2 then
      return matching(vim.tbl_keys(require("loomd.start").templates()), lead)
    end
    return vim.fn.getcompletion(lead, #before == 3 and "shellcmd" or "file")
  end
  if name == "sessions" and #before == 2 then
    return matching(require("loomd.sessions").providers(), lead)
  end
  if name == "configure" and (#before > 2 or before[2]:find("=")) then
    local run = require("loomd.pick").known(#before > 2 and before[2] or nil)
    return run and matching(require("loomd.configure").words(run), lead) or {}
  end
  local subcommand = M.subcommands[name]
  local about_a_run = subcommand and not vim.tbl_contains({ "next", "sessions", "history", "search", "rules", "restart", "stop", "log", "health" }, name)
  if about_a_run and #before == 2 then
    return run_ids(lead, subcommand.fits)
  end
  return {}
end

return M
