-- What can be done to a run, one function each: asks the server and says in one sentence what came of it. Keys and commands both end here.

local config = require("loomd.config")
local server = require("loomd.server")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

local function complain(failure, what)
  words.say(words.failure(failure, what), vim.log.levels.ERROR)
end

-- A pager under a terminal that nobody types into would wait for a key that nobody can press.
M.no_pager = { PAGER = "cat", GIT_PAGER = "cat" }

-- Whether those two variables were given to a run by this plugin, which always gives both; one alone is somebody's own.
---@param params loomd.StartParams
local function has_no_pager(params)
  local names = params.envNames or {}
  return params.tty and not params.interactive and vim.tbl_contains(names, "PAGER") and vim.tbl_contains(names, "GIT_PAGER")
end

-- Starts a run. Nothing is opened: the list and the status line show it.
---@param params loomd.StartParams
---@param done? fun(run?: loomd.Run)
function M.start(params, done)
  if vim.tbl_isempty(params.env or {}) then
    params.env = nil
  end
  params.cwd = params.cwd or vim.fn.getcwd()
  -- Followed, so that this Neovim counts as one that is there, but without output, which only a view wants.
  params.attach = { kinds = { "state" } }
  server.request("run/start", params, function(failure, result)
    if failure then
      complain(failure, "the run could not be started")
    else
      store.mine[result.run.id] = true
      store.put(result.run)
      words.tell(("started %s: "):format(words.short(result.run.id)), words.title(result.run), "")
    end
    if done then
      done(result and result.run)
    end
  end)
end

---@param run loomd.Run
---@param done? fun(run?: loomd.Run)
function M.rerun(run, done)
  local params = vim.deepcopy(run.params)
  local names, env = params.envNames or {}, {}
  if has_no_pager(params) then
    env = vim.deepcopy(M.no_pager)
  end
  params.envNames, params.clientToken = nil, nil
  params.provider = params.provider or run.provider
  params.cwd = params.cwd or run.cwd
  -- Values of variables are kept nowhere; what this Neovim has under the names is the best guess, and it is said.
  local guessed = vim.tbl_filter(function(name)
    return env[name] == nil
  end, names)
  if #guessed > 0 then
    for _, name in ipairs(guessed) do
      env[name] = vim.env[name]
    end
    words.say("environment variables are not kept; taken from this Neovim where it has them: " .. table.concat(guessed, ", "), vim.log.levels.WARN)
  end
  params.env = env
  M.start(params, done)
end

---@param run loomd.Run
function M.cancel(run)
  if store.is_final(run) then
    words.say(("%s has already %s"):format(words.short(run.id), words.state(run).word == "succeeded" and "succeeded" or "ended"))
    return
  end
  server.request("run/cancel", { runId = run.id }, function(failure, result)
    if failure then
      complain(failure, "cancel")
    else
      store.put(result.run, true)
    end
  end)
end

---@param run loomd.Run
function M.interrupt(run)
  server.request("run/interrupt", { runId = run.id }, function(failure)
    if failure then
      complain(failure, "interrupt")
    end
  end)
end

-- A run that has ended takes nothing more; what goes on with it instead is said here in the plugin's own words.
---@param run loomd.Run
local function say_ended(run)
  local instead = run.session and run.session.resumable and "R or :Loomd resume goes on with its session in a new run" or "r or :Loomd rerun runs it again"
  words.say(("%s has ended (%s); %s"):format(words.short(run.id), words.state(run).word, instead), vim.log.levels.WARN)
end

---@param run loomd.Run
---@param text string
---@param mode? loomd.SendMode
---@param done? fun(failure?: loomd.Failure)
function M.send(run, text, mode, done)
  local params = { runId = run.id, mode = mode }
  if run.provider == "command" or not store.has_transcript(run) then
    params.text = text:sub(-1) == "\n" and text or text .. "\n"
  else
    params.prompt = text
  end
  local provider = store.providers[run.provider]
  -- A run that waits for a prompt has no turn to be steered: there the text is the next turn in any case.
  local waits = mode == "steer" and params.prompt and run.state ~= "idle" and provider and not provider.capabilities.steer
  server.request("run/send", params, function(failure)
    local now = store.runs[run.id] or run
    if failure and failure.data and failure.data.kind == "runNotActive" and store.is_final(now) then
      say_ended(now)
    elseif failure then
      complain(failure, "send")
    elseif waits then
      words.say(("%s cannot be steered; it is queued for the next turn"):format(run.provider))
    end
    if done then
      done(failure)
    end
  end)
end

---@param run loomd.Run
---@param mode? loomd.SendMode
function M.ask_and_send(run, mode)
  -- Said before anything is typed: what was typed for it would be lost.
  if store.is_final(run) then
    return say_ended(run)
  end
  vim.ui.input({ prompt = ("%s %s: "):format(mode == "steer" and "Steer" or "Send to", words.fit(words.title(run), 40)) }, function(text)
    if text and text ~= "" then
      M.send(run, text, mode)
    end
  end)
end

---@param run loomd.Run
function M.close_input(run)
  server.request("run/closeInput", { runId = run.id }, function(failure)
    if failure then
      complain(failure, "end of input")
    else
      words.say(words.short(run.id) .. " gets no more input")
    end
  end)
end

-- Goes on with an agent's session in a new run.
---@param run loomd.Run
---@param prompt? string
---@param done? fun(run?: loomd.Run)
function M.resume(run, prompt, done)
  local function go(text)
    if not text or text == "" then
      return
    end
    local old = run.params or {}
    M.start({
      provider = run.provider,
      resume = { runId = run.id },
      prompt = text,
      cwd = run.cwd,
      command = store.providers[run.provider] and store.providers[run.provider].kind == "acp" and old.command or nil,
      args = old.args,
      model = old.model,
      permissions = old.permissions,
      interactive = old.interactive,
      labels = old.labels,
    }, done)
  end
  local function ask()
    if prompt then
      go(prompt)
    else
      vim.ui.input({ prompt = ("Go on with %s: "):format(words.fit(words.title(run), 40)) }, go)
    end
  end
  if run.takenOverAt then
    -- Two writers would spoil the session.
    vim.ui.select({ "leave it", "go on here" }, { prompt = "This session was taken over in a terminal. Is it closed there?" }, function(choice)
      if choice == "go on here" then
        ask()
      end
    end)
  else
    ask()
  end
end

-- Ends the run here and opens the same session with the provider's own program.
---@param run loomd.Run
---@param done? fun(buffer?: integer)
function M.takeover(run, done)
  server.request("run/takeover", { runId = run.id }, function(failure, result)
    if failure then
      complain(failure, "takeover")
      return done and done()
    end
    local takeover = result.takeover
    server.refresh(run.id)
    if not takeover.command or #takeover.command == 0 then
      words.say(("there is no terminal for this session: %s"):format(takeover.reason or takeover.display), vim.log.levels.WARN)
      return done and done()
    end
    if not takeover.verified then
      words.say("not yet seen to work with this version: " .. (takeover.reason or takeover.display), vim.log.levels.WARN)
    end
    local command = vim.deepcopy(takeover.command)
    if command[1] == "loomd" then
      -- Where the way leads through loomd, it is this one, on the same store, wherever PATH leads.
      command[1] = (config.argv() or command)[1]
    end
    if vim.fn.executable(command[1]) == 0 then
      words.say(("%s is not on PATH; this opens the session: %s"):format(command[1], takeover.display), vim.log.levels.WARN)
      return done and done()
    end
    vim.cmd(config.get().output_split)
    local buffer = vim.api.nvim_create_buf(true, false)
    vim.api.nvim_win_set_buf(0, buffer)
    -- Beside the list and a transcript a split has only a few lines, in which nobody can talk to an agent.
    local height = math.floor(vim.o.lines / 2)
    if vim.api.nvim_win_get_height(0) < height then
      vim.api.nvim_win_set_height(0, height)
    end
    local env = vim.tbl_extend("force", config.get().env, takeover.env or {})
    local options = { cwd = takeover.cwd or run.cwd, env = next(env) and env or nil }
    if vim.fn.has("nvim-0.11") == 1 then
      vim.fn.jobstart(command, vim.tbl_extend("error", options, { term = true }))
    else
      vim.fn.termopen(command, options)
    end
    vim.cmd.startinsert()
    if done then
      done(buffer)
    end
  end)
end

---@param run loomd.Run
---@param changes { title?: string, pinned?: boolean }
function M.edit(run, changes)
  server.request("run/edit", vim.tbl_extend("error", { runId = run.id }, changes), function(failure, result)
    if failure then
      complain(failure, "edit")
    else
      store.put(result.run)
    end
  end)
end

---@param run loomd.Run
---@param title? string
function M.rename(run, title)
  if title and title ~= "" then
    return M.edit(run, { title = title })
  end
  local now = words.title(run)
  vim.ui.input({ prompt = "Title: ", default = run.title or (now ~= words.no_prompt and now or nil) }, function(text)
    if text and text ~= "" then
      M.edit(run, { title = text })
    end
  end)
end

---@param run loomd.Run
function M.pin(run)
  M.edit(run, { pinned = not run.pinned })
end

-- Removes a run and its log, after a question: nothing brings it back.
---@param run loomd.Run
---@param sure? boolean
function M.delete(run, sure)
  local function go()
    server.request("run/delete", { runId = run.id }, function(failure)
      if failure then
        complain(failure, "delete")
      else
        store.remove({ run.id })
      end
    end)
  end
  if sure then
    return go()
  end
  vim.ui.select({ "keep it", "delete it" }, { prompt = ("Delete %s and its log for good?"):format(words.fit(words.title(run), 40)) }, function(choice)
    if choice == "delete it" then
      go()
    end
  end)
end

---@param run loomd.Run
function M.copy_id(run)
  vim.fn.setreg('"', run.id)
  if vim.fn.has("clipboard") == 1 then
    vim.fn.setreg("+", run.id)
  end
  words.say("copied " .. run.id)
end

-- The whole output as a file to read and search, escape sequences left out. Written page by page, so that a large one does not stop the editor.
---@param run loomd.Run
---@param done? fun(buffer: integer)
function M.whole_output(run, done)
  local path = vim.fs.joinpath(vim.fn.stdpath("cache"), "loomd", words.short(run.id) .. ".log")
  vim.fn.mkdir(vim.fs.dirname(path), "p", tonumber("700", 8))
  local file, problem = io.open(path, "wb")
  if not file then
    return words.say(problem, vim.log.levels.ERROR)
  end
  local function page(offset)
    server.request("run/text", { runId = run.id, offset = offset }, function(failure, result)
      if failure then
        file:close()
        return complain(failure, "reading the output")
      end
      file:write((result.text:gsub("\27%[[%d;:?]*[ -/]*[@-~]", ""):gsub("\27%][^\7\27]*[\7]", ""):gsub("\r+\n", "\n")))
      if result.nextOffset > offset and result.nextOffset < result.totalBytes then
        return page(result.nextOffset)
      end
      file:close()
      vim.cmd(config.get().output_split)
      vim.cmd("noswapfile view! " .. vim.fn.fnameescape(path))
      vim.bo.modifiable = false
      vim.bo.bufhidden = "wipe"
      vim.b.loomd_run = run.id
      if done then
        done(vim.api.nvim_get_current_buf())
      end
    end)
  end
  page(0)
end

return M
