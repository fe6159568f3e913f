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
  answers.last = not vim.startswith(name, "cwd ") and name or answers.last
  require("loomd.private_file").write(answers_path(), vim.json.encode(answers))
end

-- The user's templates, and one for each available provider of a host or of this computer.
---@param host? string
---@return table<string, loomd.Template>
function M.templates(host)
  local templates = { command = { provider = "command", desc = "shell command" } }
  for id, provider in pairs(store.providers_of(host)) do
    -- `acp` can be any agent, so only a template can name its command.
    if provider.available and id ~= "acp" and not templates[id] then
      templates[id] = { provider = id, desc = provider.title }
    end
  end
  -- Tasks belong to the files of this computer.
  for name, template in pairs(config.get().tasks and not host and require("loomd.tasks").templates() or {}) do
    templates[name] = template
  end
  for name, template in pairs(config.get().templates) do
    templates[name] = template
  end
  return templates
end

-- What `:Loomd start` takes: the names of templates, and those of hosts after their host.
---@return string[]
function M.names()
  local names = vim.tbl_keys(M.templates())
  for _, host in ipairs(config.hosts()) do
    for name in pairs(M.templates(host)) do
      names[#names + 1] = host .. "/" .. name
    end
  end
  return names
end

-- Splits a command line into arguments, or passes it to a shell if it needs one. The user's own shell may not be on a host.
---@param line string
---@param host? string
---@return string[]
function M.split_command(line, host)
  if line:find("[|&;<>()$`\\\"'*?%[#~=%%{}!\n]") then
    return host and { "sh", "-c", line } or { vim.o.shell, vim.o.shellcmdflag, line }
  end
  return vim.split(vim.trim(line), "%s+")
end

---@param template loomd.Template
---@param rest? string the text after the template's name
---@param host? string
---@return loomd.StartParams? params
---@return string? missing what the user has to type: "command" or "prompt"
function M.build_params(template, rest, host)
  local options = config.get()
  local provider = template.provider or "command"
  local info = store.providers_of(host)[provider]
  local kind = info and info.kind or (provider == "command" and "command" or "agent")
  local params = {
    provider = provider,
    cwd = host and template.cwd or not host and (template.cwd and vim.fs.normalize(template.cwd) or vim.fn.getcwd()) or nil,
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
      command = M.split_command(rest ~= "" and (command .. " " .. rest) or command, host)
    elseif command then
      command = vim.list_extend(vim.deepcopy(command), rest ~= "" and vim.split(rest, "%s+") or {})
    elseif rest ~= "" then
      command = M.split_command(rest, host)
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

-- Starts a run, in a worktree if the template or the command asks for one. On a host, its directory is asked for.
---@param params loomd.StartParams
---@param in_worktree? boolean
---@param done? fun(run?: loomd.Run)
---@param host? string
local function start_run(params, in_worktree, done, host)
  if in_worktree and host then
    notify.show(("Not started: worktrees are made on this computer, not on %s"):format(host), vim.log.levels.ERROR)
    return done and done()
  elseif in_worktree then
    return require("loomd.worktree").start(params, done)
  elseif not host then
    return actions.start(params, done)
  end
  vim.ui.input({ prompt = ("Directory on %s (empty: home): "):format(host), default = params.cwd or read_answers()["cwd " .. host] }, function(folder)
    folder = folder and vim.trim(folder)
    if not folder or folder ~= "" and folder:sub(1, 1) ~= "/" then
      if folder then
        notify.show(("Not started: %s is no absolute path"):format(folder), vim.log.levels.ERROR)
      end
      return done and done()
    end
    if folder ~= params.cwd then
      save_answer("cwd " .. host, folder)
    end
    params.cwd = folder ~= "" and folder or nil
    actions.start(params, done, host)
  end)
end

-- Splits `NAME/TEMPLATE`, which starts a template on a host, unless a template has that whole name.
---@param name string
---@return string? host, string template
local function split_name(name)
  local host, template = name:match("^([^/]+)/(.+)$")
  if host and vim.tbl_contains(config.hosts(), host) and not M.templates()[name] then
    return host, template
  end
  return nil, name
end

---@param host? string
---@param callback fun(failure?: loomd.Failure)
local function when_ready(host, callback)
  if host then
    return server.request("provider/list", nil, callback, host)
  end
  return server.when_ready(callback)
end

---@param name string `NAME/TEMPLATE` starts it on a host
---@param rest? string
---@param done? fun(run?: loomd.Run)
---@param in_worktree? boolean
function M.start_template(name, rest, done, in_worktree)
  local host
  host, name = split_name(name)
  when_ready(host, function(failure)
    if failure then
      notify.show(format.failure(failure), vim.log.levels.ERROR)
      return done and done()
    end
    local template = M.templates(host)[name]
    if not template then
      local provider = store.providers_of(host)[name]
      local why = provider and provider.reason or "no such template or provider"
      notify.show(("%s: %s"):format(name, why), vim.log.levels.ERROR)
      return done and done()
    end
    local params, missing = M.build_params(template, rest, host)
    if params then
      if rest and rest ~= "" then
        save_answer(name, rest)
      end
      return start_run(params, in_worktree or template.worktree, done, host)
    end
    local function start(prompt, text)
      text = text or prompt
      if prompt and vim.trim(text) ~= "" then
        save_answer(name, text)
        params = assert((M.build_params(template, text, host)))
        params.prompt = params.prompt and prompt
        start_run(params, in_worktree or template.worktree, done, host)
      elseif done then
        done()
      end
    end
    local default = read_answers()[name]
    if missing == "command" then
      vim.ui.input({ prompt = "Command: ", default = default, completion = "shellcmd" }, start)
    else
      require("loomd.prompt").ask({ title = ("Prompt (%s)"):format(host and host .. ": " .. name or name), key = "start " .. name, default = default, cwd = template.cwd and vim.fs.normalize(template.cwd), host = host }, start)
    end
  end)
end

-- Lets the user pick a template of a host or of this computer; the last one is first.
---@param host? string
---@param done? fun(run?: loomd.Run)
---@param in_worktree? boolean
local function select_template_of(host, done, in_worktree)
  when_ready(host, function(failure)
    if failure then
      notify.show(format.failure(failure), vim.log.levels.ERROR)
      return
    end
    local templates, last = M.templates(host), read_answers().last
    local names = vim.fn.sort(vim.tbl_keys(templates))
    table.sort(names, function(a, b)
      if (a == last) ~= (b == last) then
        return a == last
      end
      return a < b
    end)
    vim.ui.select(names, {
      prompt = host and ("New run on %s:"):format(host) or "New run:",
      kind = "loomd_template",
      format_item = function(name)
        local desc = templates[name].desc
        return desc and ("%s  (%s)"):format(name, desc) or name
      end,
    }, function(name)
      if name then
        M.start_template(host and host .. "/" .. name or name, nil, done, in_worktree)
      end
    end)
  end)
end

-- Lets the user pick where a run starts, if there are hosts, and then a template.
---@param done? fun(run?: loomd.Run)
---@param in_worktree? boolean
function M.select_template(done, in_worktree)
  local hosts = config.hosts()
  if #hosts == 0 or in_worktree then
    return select_template_of(nil, done, in_worktree)
  end
  local here = "This computer"
  vim.ui.select(vim.list_extend({ here }, hosts), { prompt = "Where:", kind = "loomd_host" }, function(choice)
    if choice then
      select_template_of(choice ~= here and choice or nil, done, in_worktree)
    end
  end)
end

return M
