-- One function for each action on a run. It sends the request to the server and shows the result in one message.
-- Keymaps and commands both call these functions.

local config = require("loomd.config")
local format = require("loomd.format")
local notify = require("loomd.notify")
local prompt = require("loomd.prompt")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local ssh = require("loomd.ssh")
local store = require("loomd.store")

local M = {}

local function report_failure(failure, what)
  notify.show(format.failure(failure, what), vim.log.levels.ERROR)
end

-- A pager in a pseudoterminal would wait for a key, but nobody can press one there.
M.no_pager = { PAGER = "cat", GIT_PAGER = "cat" }

-- Whether this plugin gave both variables to the run. It always gives both, so one alone was set by the user.
---@param params loomd.StartParams
local function has_no_pager(params)
  local names = params.envNames or {}
  return params.tty and not params.interactive and vim.tbl_contains(names, "PAGER") and vim.tbl_contains(names, "GIT_PAGER")
end

-- Starts a run. No window is opened: the list and the status line show the run.
---@param params loomd.StartParams on a host, `cwd` is a directory there; default: its home
---@param done? fun(run?: loomd.Run)
---@param host? string where it runs; default: where the run is that it resumes, else on this computer
function M.start(params, done, host)
  if vim.tbl_isempty(params.env or {}) then
    params.env = nil
  end
  host = host or run_id.host_of_request(params)
  params.cwd = params.cwd or not host and vim.fn.getcwd() or nil
  -- Attaching tells the server that this Neovim is a client of the run. No output is requested, since only a view
  -- needs it.
  params.attach = { kinds = { "state" } }
  server.request("run/start", params, function(failure, result)
    if failure then
      report_failure(failure, "Could not start the run")
    else
      store.tracked[result.run.id] = true
      store.put(result.run)
      notify.show_line("Started ", format.title(result.run), (" (%s)"):format(format.short_id(result.run.id)))
    end
    if done then
      done(result and result.run)
    end
  end, host)
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
  -- The server does not store the values of environment variables. The current values of this Neovim are the best
  -- guess, and a message names the variables.
  local taken_from_editor = vim.tbl_filter(function(name)
    return env[name] == nil
  end, names)
  local host = run_id.host(run.id)
  if #taken_from_editor > 0 and host then
    -- What this Neovim has describes this computer.
    notify.show(("Environment is not stored; not set on %s: %s"):format(host, table.concat(taken_from_editor, ", ")), vim.log.levels.WARN)
  elseif #taken_from_editor > 0 then
    for _, name in ipairs(taken_from_editor) do
      env[name] = vim.env[name]
    end
    notify.show("Environment is not stored; using current values of: " .. table.concat(taken_from_editor, ", "), vim.log.levels.WARN)
  end
  params.env = env
  M.start(params, done, host)
end

---@param run loomd.Run
function M.cancel(run)
  if store.is_final(run) then
    notify.show(("%s has already ended (%s)"):format(format.short_id(run.id), format.state(run).word))
    return
  end
  server.request("run/cancel", { runId = run.id }, function(failure, result)
    if failure then
      report_failure(failure, "Could not cancel the run")
    else
      store.put(result.run, true)
    end
  end)
end

---@param run loomd.Run
function M.interrupt(run)
  server.request("run/interrupt", { runId = run.id }, function(failure)
    if failure then
      report_failure(failure, "Could not interrupt the run")
    end
  end)
end

-- A finished run accepts no input. This message names the action that continues it.
---@param run loomd.Run
local function notify_ended(run)
  local instead = run.session and run.session.resumable and "use R / :Loomd resume" or "use r / :Loomd rerun"
  notify.show(("%s has ended (%s); %s"):format(format.short_id(run.id), format.state(run).word, instead), vim.log.levels.WARN)
end

---@param run loomd.Run
---@param text loomd.Prompt of a command: text
---@param mode? loomd.SendMode
---@param done? fun(failure?: loomd.Failure)
function M.send(run, text, mode, done)
  local params = { runId = run.id, mode = mode }
  if not run.hasTranscript then
    params.text = vim.endswith(text --[[@as string]], "\n") and text or text .. "\n"
  else
    params.prompt = text
  end
  local provider = store.provider(run)
  -- An idle run has no turn that could be steered: the text starts its next turn in any case.
  local becomes_queued = mode == "steer" and params.prompt and run.state ~= "idle" and provider and not provider.capabilities.steer
  server.request("run/send", params, function(failure)
    local current = store.runs[run.id] or run
    if failure and failure.data and failure.data.kind == "runNotActive" and store.is_final(current) then
      notify_ended(current)
    elseif failure then
      report_failure(failure, "Could not send the message")
    elseif becomes_queued then
      notify.show(("Steering not supported by %s; queued"):format(run.provider))
    end
    if done then
      done(failure)
    end
  end)
end

---@param run loomd.Run
---@param mode? loomd.SendMode
---@param options? { range?: { [1]: integer, [2]: integer }, default?: string } `range`: lines of the current buffer go with it
function M.prompt_and_send(run, mode, options)
  options = options or {}
  -- A finished run is reported before the user types anything, because the text would be lost.
  if store.is_final(run) then
    return notify_ended(run)
  end
  local title = ("%s %s"):format(mode == "steer" and "Steer" or "Message to", format.fit(format.title(run), 40))
  local function send(text)
    if text and text ~= "" then
      M.send(run, text, mode)
    end
  end
  if run.hasTranscript then
    prompt.ask({ title = title, key = run.id, run = run, range = options.range, default = options.default }, send)
  elseif options.range then
    -- What is selected is seen already.
    send(table.concat(vim.api.nvim_buf_get_lines(0, options.range[1] - 1, options.range[2], false), "\n"))
  else
    vim.ui.input({ prompt = title .. ": " }, send)
  end
end

---@param run loomd.Run
function M.close_input(run)
  server.request("run/closeInput", { runId = run.id }, function(failure)
    if failure then
      report_failure(failure, "Could not close stdin")
    else
      notify.show("Closed stdin of " .. format.short_id(run.id))
    end
  end)
end

-- Resumes an agent's session in a new run.
---@param run loomd.Run
---@param first_prompt? loomd.Prompt
---@param done? fun(run?: loomd.Run)
function M.resume(run, first_prompt, done)
  local function start_resumed(text)
    if not text or text == "" then
      return
    end
    local old, provider = run.params or {}, store.provider(run)
    M.start({
      provider = run.provider,
      resume = { runId = run.id },
      prompt = text,
      cwd = run.cwd,
      command = provider and provider.kind == "acp" and old.command or nil,
      args = old.args,
      model = old.model,
      permissions = old.permissions,
      interactive = old.interactive,
      labels = old.labels,
    }, done)
  end
  local function ask()
    if first_prompt then
      start_resumed(first_prompt)
    else
      prompt.ask({ title = "Resume " .. format.fit(format.title(run), 40), key = run.id, cwd = run.cwd, host = run_id.host(run.id) }, start_resumed)
    end
  end
  if run.takenOverAt then
    -- Two programs that write to one session would corrupt it.
    vim.ui.select({ "No", "Yes" }, { prompt = "This session may still be open in a terminal. Resume anyway?" }, function(choice)
      if choice == "Yes" then
        ask()
      end
    end)
  else
    ask()
  end
end

-- Ends the run here and opens its session in a terminal, with the provider's own program. An active run is ended only
-- after a question.
---@param run loomd.Run
---@param done? fun(buffer?: integer)
---@param sure? boolean
function M.takeover(run, done, sure)
  if not sure and not store.is_final(run) then
    return vim.ui.select({ "Cancel", "End it" }, { prompt = ("End %s here and continue in a terminal?"):format(format.fit(format.title(run), 40)) }, function(choice)
      if choice == "End it" then
        M.takeover(run, done, true)
      end
    end)
  end
  local host = run_id.host(run.id)
  if host then
    -- The session and the program that opens it are there, and so is the command of loomd that does both.
    local buffer = require("loomd.window").terminal(ssh.terminal_argv(host, "takeover", run_id.bare(run.id)), { env = {} })
    return done and done(buffer)
  end
  server.request("run/takeover", { runId = run.id }, function(failure, result)
    if failure then
      report_failure(failure, "Could not continue in a terminal")
      return done and done()
    end
    local takeover = result.takeover
    server.refresh(run.id)
    if not takeover.command or #takeover.command == 0 then
      notify.show(("Cannot open this session in a terminal: %s"):format(takeover.reason or takeover.display), vim.log.levels.WARN)
      return done and done()
    end
    if not takeover.verified then
      notify.show("Untested with this version: " .. (takeover.reason or takeover.display), vim.log.levels.WARN)
    end
    local command = vim.deepcopy(takeover.command)
    if command[1] == "loomd" then
      -- If the command is loomd itself, the configured executable is used, so that it has the same store
      -- whatever PATH contains.
      command[1] = (config.argv() or command)[1]
    end
    if vim.fn.executable(command[1]) == 0 then
      notify.show(("%s not found on PATH; to open the session, run: %s"):format(command[1], takeover.display), vim.log.levels.WARN)
      return done and done()
    end
    local env = vim.tbl_extend("force", config.get().env, takeover.env or {})
    local buffer = require("loomd.window").terminal(command, { cwd = takeover.cwd or run.cwd, env = env })
    if done then
      done(buffer)
    end
  end)
end

---@param run loomd.Run
---@param changes { title?: string, pinned?: boolean, labels?: table<string, string> }
function M.edit(run, changes)
  server.request("run/edit", vim.tbl_extend("error", { runId = run.id }, changes), function(failure, result)
    if failure then
      report_failure(failure, "Could not change the run")
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
  -- An agent without a prompt has no title that one would edit.
  local has_name = run.title or not run.hasTranscript or (run.params and run.params.prompt)
  vim.ui.input({ prompt = "Rename to: ", default = has_name and format.title(run) or nil }, function(text)
    if text and text ~= "" then
      M.edit(run, { title = text })
    end
  end)
end

---@param run loomd.Run
function M.pin(run)
  M.edit(run, { pinned = not run.pinned })
end

-- Deletes a run and its log. The user confirms it first, because it cannot be undone.
---@param run loomd.Run
---@param sure? boolean
function M.delete(run, sure)
  local function delete_run()
    server.request("run/delete", { runId = run.id }, function(failure)
      if failure then
        report_failure(failure, "Could not delete the run")
      else
        store.remove({ run.id })
      end
    end)
  end
  if sure then
    return delete_run()
  end
  vim.ui.select({ "Cancel", "Delete" }, { prompt = ("Delete %s and its log?%s"):format(format.fit(format.title(run), 40), (run.labels or {}).worktree and " Its worktree stays." or "") }, function(choice)
    if choice == "Delete" then
      delete_run()
    end
  end)
end

---@param run loomd.Run
function M.copy_id(run)
  vim.fn.setreg('"', run.id)
  if vim.fn.has("clipboard") == 1 then
    vim.fn.setreg("+", run.id)
  end
  notify.show("Copied run ID " .. run.id)
end

return M
