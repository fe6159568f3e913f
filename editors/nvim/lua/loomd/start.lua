-- Starting a run: templates, and what was answered last time.

local actions = require("loomd.actions")
local config = require("loomd.config")
local server = require("loomd.server")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

local function memory_path()
  return vim.fs.joinpath(vim.fn.stdpath("state"), "loomd", "answers.json")
end

-- What was typed last for each template.
---@return table<string, string>
local function remembered()
  local file = io.open(memory_path(), "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  local ok, answers = pcall(vim.json.decode, text or "")
  return ok and type(answers) == "table" and answers or {}
end

local function remember(name, answer)
  local answers = remembered()
  answers[name] = answer
  answers.last = name
  vim.fn.mkdir(vim.fs.dirname(memory_path()), "p", tonumber("700", 8))
  pcall(vim.fn.writefile, { vim.json.encode(answers) }, memory_path())
end

-- The user's templates, and one for each provider that there is.
---@return table<string, loomd.Template>
function M.templates()
  local templates = { command = { provider = "command", desc = "any command" } }
  for id, provider in pairs(store.providers) do
    -- Plain `acp` is any agent: only a template can say which.
    if provider.available and id ~= "acp" and not templates[id] then
      templates[id] = { provider = id, desc = provider.title }
    end
  end
  for name, template in pairs(config.get().templates) do
    templates[name] = template
  end
  return templates
end

-- Words of a command line, or a shell for whatever only a shell understands.
---@param line string
---@return string[]
function M.argv(line)
  if line:find("[|&;<>()$`\\\"'*?%[#~=%%{}!\n]") then
    return { vim.o.shell, vim.o.shellcmdflag, line }
  end
  return vim.split(vim.trim(line), "%s+")
end

---@param template loomd.Template
---@param rest? string what was typed behind the template's name
---@return loomd.StartParams? params
---@return string? missing what has to be asked for: "command" or "prompt"
function M.params(template, rest)
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
      command = M.argv(rest ~= "" and (command .. " " .. rest) or command)
    elseif command then
      command = vim.list_extend(vim.deepcopy(command), rest ~= "" and vim.split(rest, "%s+") or {})
    elseif rest ~= "" then
      command = M.argv(rest)
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

---@param name string
---@param rest? string
---@param done? fun(run?: loomd.Run)
function M.template(name, rest, done)
  server.ready(function(failure)
    if failure then
      words.say(words.failure(failure), vim.log.levels.ERROR)
      return done and done()
    end
    local template = M.templates()[name]
    if not template then
      local provider = store.providers[name]
      local why = provider and provider.reason or "there is no such template or provider"
      words.say(("%s: %s"):format(name, why), vim.log.levels.ERROR)
      return done and done()
    end
    local params, missing = M.params(template, rest)
    if params then
      if rest and rest ~= "" then
        remember(name, rest)
      end
      return actions.start(params, done)
    end
    local prompt = missing == "command" and "Command: " or ("Ask %s: "):format(name)
    vim.ui.input({ prompt = prompt, default = remembered()[name], completion = missing == "command" and "shellcmd" or nil }, function(text)
      if text and vim.trim(text) ~= "" then
        remember(name, text)
        actions.start(assert((M.params(template, text))), done)
      elseif done then
        done()
      end
    end)
  end)
end

-- Asks for a template, the last one first.
---@param done? fun(run?: loomd.Run)
function M.ask(done)
  server.ready(function(failure)
    if failure then
      words.say(words.failure(failure), vim.log.levels.ERROR)
      return
    end
    local templates, last = M.templates(), remembered().last
    local names = vim.fn.sort(vim.tbl_keys(templates))
    table.sort(names, function(a, b)
      if (a == last) ~= (b == last) then
        return a == last
      end
      return a < b
    end)
    vim.ui.select(names, {
      prompt = "Start",
      kind = "loomd_template",
      format_item = function(name)
        local desc = templates[name].desc
        return desc and ("%s  (%s)"):format(name, desc) or name
      end,
    }, function(name)
      if name then
        M.template(name, nil, done)
      end
    end)
  end)
end

return M
