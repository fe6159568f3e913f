-- Changes the model, the permission mode and the own options of an agent's run, from its next turn. The settings are typed
-- (`model=NAME permissions=MODE effort=high`) or picked from what the agent and its provider offer.

local format = require("loomd.format")
local notify = require("loomd.notify")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

-- How long completion waits for the options of a provider. To list them, the server starts the provider's program for
-- a moment.
M.options_timeout_ms = 5000

local modes = {
  { id = "ask", name = "ask for everything" },
  { id = "acceptEdits", name = "accept edits" },
  { id = "readOnly", name = "read-only" },
  { id = "bypass", name = "allow everything without asking" },
}

---@alias loomd.Choice { id: string, name: string }

---@class loomd.AgentOption an option of the agent itself
---@field id string
---@field name string
---@field category? string
---@field choices loomd.Choice[]
---@field current? string

---@return loomd.AgentOption
local function agent_option(option)
  local choices = {}
  if option.type == "boolean" then
    choices = { { id = "true", name = "on" }, { id = "false", name = "off" } }
  end
  for _, each in ipairs(option.options or {}) do
    for _, choice in ipairs(each.options or { each }) do
      choices[#choices + 1] = { id = choice.value, name = choice.name or choice.value }
    end
  end
  local current = option.currentValue ~= nil and tostring(option.currentValue) or nil
  return { id = option.id, name = option.name or option.id, category = option.category, choices = choices, current = current }
end

-- The options that the agent of the run itself offers, its modes among them.
---@param run loomd.Run
---@return loomd.AgentOption[]
local function options_of_agent(run)
  local agent = run.agent or {}
  local options = vim.tbl_map(agent_option, agent.configOptions or {})
  local has_mode = vim.iter(options):any(function(option)
    return option.id == "mode" or option.category == "mode"
  end)
  if not has_mode and #(agent.modes or {}) > 0 then
    table.insert(options, 1, { id = "mode", name = "Mode", category = "mode", choices = agent.modes, current = agent.modeId })
  end
  return options
end

local function is_model(option)
  return option.category == "model" or option.id == "model"
end

-- The models that the agent of the run itself offers, and the current one.
---@param run loomd.Run
---@return loomd.Choice[] models, string? current
local function models_of_agent(run)
  local option = vim.iter(options_of_agent(run)):find(is_model)
  if option then
    return option.choices, option.current
  end
  return {}
end

-- Its options beside the model.
---@param run loomd.Run
---@return loomd.AgentOption[]
local function other_options(run)
  return vim.tbl_filter(function(option)
    return not is_model(option)
  end, options_of_agent(run))
end

-- The name of the mode that the agent's session is in.
---@param run loomd.Run
---@return string?
function M.mode_name(run)
  local agent = run.agent or {}
  local mode = vim.iter(agent.modes or {}):find(function(each)
    return each.id == agent.modeId
  end)
  return mode and mode.name or agent.modeId
end

-- The options of each provider in each directory, requested once.
---@type table<string, { models: loomd.Choice[], modes: loomd.Choice[] }>
local options_cache = {}

---@param run loomd.Run
---@return boolean
function M.can_configure(run)
  return not store.is_final(run) and run.hasTranscript
end

---@param run loomd.Run
---@param done fun(options?: { models: loomd.Choice[], modes: loomd.Choice[] }, failure?: loomd.Failure)
---@return loomd.Call?
function M.options(run, done)
  local models = models_of_agent(run)
  if #models > 0 then
    return done({ models = models, modes = {} })
  end
  local host = run_id.host(run.id)
  local key = table.concat({ host or "", run.provider, run.cwd }, "\n")
  if options_cache[key] then
    return done(options_cache[key])
  end
  return server.request("provider/options", { provider = run.provider, cwd = run.cwd }, function(failure, result)
    if result then
      options_cache[key] = { models = result.models or {}, modes = result.modes or {} }
    end
    done(options_cache[key], failure)
  end, host)
end

---@param run loomd.Run
---@param settings { model?: string, permissions?: loomd.PermissionMode, options?: table<string, string> }
---@param done? fun(run?: loomd.Run)
function M.set(run, settings, done)
  server.request("run/configure", vim.tbl_extend("error", { runId = run.id }, settings), function(failure, result)
    if failure then
      notify.show(format.failure(failure, "Could not configure the run"), vim.log.levels.ERROR)
    else
      store.put(result.run, true)
      local applied = {}
      for _, name in ipairs({ "model", "permissions" }) do
        applied[#applied + 1] = settings[name] and (name .. " " .. settings[name])
      end
      for id, value in vim.spairs(settings.options or {}) do
        applied[#applied + 1] = id .. " " .. value
      end
      notify.show(("%s: %s, applies from the next turn"):format(format.short_id(run.id), table.concat(applied, ", ")))
    end
    if done then
      done(result and result.run)
    end
  end)
end

-- Parses the text after the run.
---@param run loomd.Run
---@param text string
---@return { model?: string, permissions?: string, options?: table<string, string> }? settings
---@return string? problem
function M.parse(run, text)
  local ids = vim.tbl_map(function(option)
    return option.id
  end, other_options(run))
  local settings = {}
  for word in text:gmatch("%S+") do
    local name, value = word:match("^([^=]+)=(.+)$")
    if name == "model" or name == "permissions" then
      settings[name] = value
    elseif vim.tbl_contains(ids, name) then
      settings.options = settings.options or {}
      settings.options[name] = value
    else
      local known = vim.list_extend({ "model=NAME", "permissions=MODE" }, vim.tbl_map(function(id)
        return id .. "=VALUE"
      end, ids))
      local last = table.remove(known)
      return nil, ("Invalid setting: %s (expected %s or %s)"):format(word, table.concat(known, ", "), last)
    end
  end
  return settings
end

---@param choices loomd.Choice[]
---@param prompt string
---@param current? string
---@param done fun(id: string, choice: loomd.Choice)
local function pick(choices, prompt, current, done)
  vim.ui.select(choices, {
    prompt = prompt,
    kind = "loomd_choice",
    format_item = function(choice)
      local text = choice.name == choice.id and choice.id or ("%s  (%s)"):format(choice.id, choice.name)
      return text .. (choice.id == current and " · current" or "")
    end,
  }, function(choice)
    if choice then
      done(choice.id, choice)
    end
  end)
end

-- Asks the user which setting to change, and for its value.
---@param run loomd.Run
function M.prompt(run)
  local params = run.params or {}
  local _, model_of_agent = models_of_agent(run)
  local model, permissions = model_of_agent or params.model, params.permissions or "ask"
  local settings = { { id = "model", name = model or "default" }, { id = "permissions", name = permissions } }
  for _, option in ipairs(other_options(run)) do
    settings[#settings + 1] = { id = option.id, name = option.current or "?", option = option }
  end
  local mode_name = M.mode_name(run)
  local title = format.fit(format.title(run), 40) .. (mode_name and (" (mode: %s)"):format(mode_name) or "")
  pick(settings, ("Configure %s:"):format(title), nil, function(kind, setting)
    if setting.option then
      return pick(setting.option.choices, setting.option.name .. ":", setting.option.current, function(value)
        M.set(run, { options = { [kind] = value } })
      end)
    end
    if kind == "permissions" then
      return pick(modes, "Permission mode:", permissions, function(mode)
        M.set(run, { permissions = mode })
      end)
    end
    M.options(run, function(options, failure)
      if options and #options.models > 0 then
        return pick(options.models, "Model:", model, function(chosen)
          M.set(run, { model = chosen })
        end)
      end
      local kind = failure and failure.data and failure.data.kind
      if failure and kind ~= "unsupported" then
        notify.show(format.failure(failure, "Could not list models"), vim.log.levels.WARN)
      end
      -- An empty picker would look like an error, so the user types the name of the model instead.
      vim.ui.input({ prompt = "Model (empty: keep): ", default = model }, function(text)
        if text and text ~= "" then
          M.set(run, { model = text })
        end
      end)
    end)
  end)
end

-- The settings that complete `:Loomd configure` for a run.
---@param run loomd.Run
---@return string[]
function M.completions(run)
  local found = vim.tbl_map(function(mode)
    return "permissions=" .. mode.id
  end, modes)
  for _, option in ipairs(other_options(run)) do
    for _, choice in ipairs(option.choices) do
      found[#found + 1] = option.id .. "=" .. choice.id
    end
  end
  local has_response = false
  local call = M.options(run, function(options)
    has_response = true
    for _, model in ipairs(options and options.models or {}) do
      found[#found + 1] = "model=" .. model.id
    end
  end)
  if not has_response then
    vim.wait(M.options_timeout_ms, function()
      return has_response
    end, 10)
    if not has_response and call then
      call.cancel()
    end
  end
  return found
end

return M
