-- Starts runs from templates, and stores the last text that was typed for each template.

local actions = require("loomd.actions")
local config = require("loomd.config")
local format = require("loomd.format")
local notify = require("loomd.notify")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

local function answers_path()
  return vim.fs.joinpath(vim.fn.stdpath("state"), "loomd", "answers.json")
end

-- The last text for each template.
---@return table<string, string>
local function read_answers()
  local file = io.open(answers_path(), "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  local ok, answers = pcall(vim.json.decode, text or "")
  return ok and type(answers) == "table" and answers or {}
end

local function save_answer(name, answer)
  local answers = read_answers()
  answers[name] = answer
  answers.last = name
  require("loomd.private_file").write(answers_path(), vim.json.encode(answers))
end

-- The user's templates, and one for each available provider.
---@return table<string, loomd.Template>
function M.templates()
  local templates = { command = { provider = "command", desc = "shell command" } }
  for id, provider in pairs(store.providers) do
    -- `acp` can be any agent, so only a template can name its command.
    if provider.available and id ~= "acp" and not templates[id] then
      templates[id] = { provider = id, desc = provider.title }
    end
  end
  for name, template in pairs(config.get().tasks and require("loomd.tasks").templates() or {}) do
    templates[name] = template
  end
  for name, template in pairs(config.get().templates) do
    templates[name] = template
  end
  return templates
end

-- Splits a command line into arguments, or passes it to a shell if it needs one.
---@param line string
---@return string[]
function M.split_command(line)
  if line:find("[|&;<>()$`\\\"'*?%[#~=%%{}!\n]") then
    return { vim.o.shell, vim.o.shellcmdflag, line }
  end
  return vim.split(vim.trim(line), "%s+")
end

---@param template loomd.Template
---@param rest? string the text after the template's name
---@return loomd.StartParams? params
---@return string? missing what the user has to type: "command" or "prompt"
function M.build_params(template, rest)
  local options = config.get()
  local provider = template.provider or "command"
  local info = store.providers[provider]
  local kind = info and info.kind or (provider == "command" and "command" or "agent")
  local params = {
    provider = provider,
    cwd = template.cwd and vim.fs.normalize(template.cwd) or vim.fn.getcwd(),
    env = template.env and vim.deepcopy(template.env) or {},
    title = template.title,
    labels = template.labels,
    timeoutMs = template.timeoutMs,
    model = template.model,
  }
  rest = rest and vim.trim(rest) or ""
  if kind == "command" then
    local command = template.command
    if type(command) == "string" then
      command = M.split_command(rest ~= "" and (command .. " " .. rest) or command)
    elseif command then
      command = vim.list_extend(vim.deepcopy(command), rest ~= "" and vim.split(rest, "%s+") or {})
    elseif rest ~= "" then
      command = M.split_command(rest)
    elseif not info or info.id == "command" then
      return nil, "command"
    end
    params.command = command
    params.tty = template.tty == nil and options.tty or template.tty or nil
    params.interactive = template.interactive or nil
    if params.tty and not params.interactive then
      params.env = vim.tbl_extend("keep", params.env, actions.no_pager)
    end
  else
    local prompt = template.prompt
    if rest ~= "" then
      prompt = prompt and (prompt .. "\n\n" .. rest) or rest
    end
    if not prompt then
      return nil, "prompt"
    end
    params.prompt = prompt
    if kind == "acp" and template.command then
      params.command = type(template.command) == "table" and template.command or vim.split(template.command --[[@as string]], "%s+")
    end
    params.permissions = template.permissions or options.permissions
    params.interactive = template.interactive == nil and options.interactive or template.interactive or nil
  end
  return params
end

-- Starts a run, in a worktree if the template or the command asks for one.
---@param params loomd.StartParams
---@param in_worktree? boolean
---@param done? fun(run?: loomd.Run)
local function start_run(params, in_worktree, done)
  if in_worktree then
    require("loomd.worktree").start(params, done)
  else
    actions.start(params, done)
  end
end

---@param name string
---@param rest? string
---@param done? fun(run?: loomd.Run)
---@param in_worktree? boolean
function M.start_template(name, rest, done, in_worktree)
  server.when_ready(function(failure)
    if failure then
      notify.show(format.failure(failure), vim.log.levels.ERROR)
      return done and done()
    end
    local template = M.templates()[name]
    if not template then
      local provider = store.providers[name]
      local why = provider and provider.reason or "no such template or provider"
      notify.show(("%s: %s"):format(name, why), vim.log.levels.ERROR)
      return done and done()
    end
    local params, missing = M.build_params(template, rest)
    if params then
      if rest and rest ~= "" then
        save_answer(name, rest)
      end
      return start_run(params, in_worktree or template.worktree, done)
    end
    local function start(prompt, text)
      text = text or prompt
      if prompt and vim.trim(text) ~= "" then
        save_answer(name, text)
        params = assert((M.build_params(template, text)))
        params.prompt = params.prompt and prompt
        start_run(params, in_worktree or template.worktree, done)
      elseif done then
        done()
      end
    end
    local default = read_answers()[name]
    if missing == "command" then
      vim.ui.input({ prompt = "Command: ", default = default, completion = "shellcmd" }, start)
    else
      require("loomd.prompt").ask({ title = ("Prompt (%s)"):format(name), key = "start " .. name, default = default, cwd = template.cwd and vim.fs.normalize(template.cwd) }, start)
    end
  end)
end

-- Lets the user pick a template; the last one is first.
---@param done? fun(run?: loomd.Run)
---@param in_worktree? boolean
function M.select_template(done, in_worktree)
  server.when_ready(function(failure)
    if failure then
      notify.show(format.failure(failure), vim.log.levels.ERROR)
      return
    end
    local templates, last = M.templates(), read_answers().last
    local names = vim.fn.sort(vim.tbl_keys(templates))
    table.sort(names, function(a, b)
      if (a == last) ~= (b == last) then
        return a == last
      end
      return a < b
    end)
    vim.ui.select(names, {
      prompt = "New run:",
      kind = "loomd_template",
      format_item = function(name)
        local desc = templates[name].desc
        return desc and ("%s  (%s)"):format(name, desc) or name
      end,
    }, function(name)
      if name then
        M.start_template(name, nil, done, in_worktree)
      end
    end)
  end)
end

return M
