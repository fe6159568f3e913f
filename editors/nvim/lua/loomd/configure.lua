-- Changes the model and the permission mode of an agent's run, from its next turn. The settings are typed
-- (`model=NAME permissions=MODE`) or picked from the options of the provider.

local format = require("loomd.format")
local notify = require("loomd.notify")
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

-- The models that the agent of the run itself offers, and the current one.
---@param run loomd.Run
---@return loomd.Choice[] models, string? current
local function models_of_agent(run)
  for _, option in ipairs(run.agent and run.agent.configOptions or {}) do
    if option.category == "model" or option.id == "model" then
      local models = {}
      for _, each in ipairs(option.options or {}) do
        for _, choice in ipairs(each.options or { each }) do
          models[#models + 1] = { id = choice.value, name = choice.name or choice.value }
        end
      end
      return models, option.currentValue
    end
  end
  return {}
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
  local key = run.provider .. "\n" .. run.cwd
  if options_cache[key] then
    return done(options_cache[key])
  end
  return server.request("provider/options", { provider = run.provider, cwd = run.cwd }, function(failure, result)
    if result then
      options_cache[key] = { models = result.models or {}, modes = result.modes or {} }
    end
    done(options_cache[key], failure)
  end)
end

---@param run loomd.Run
---@param settings { model?: string, permissions?: loomd.PermissionMode }
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
      notify.show(("%s: %s, applies from the next turn"):format(format.short_id(run.id), table.concat(applied, ", ")))
    end
    if done then
      done(result and result.run)
    end
  end)
end

-- Parses the text after the run.
---@param text string
---@return { model?: string, permissions?: string }? settings
---@return string? problem
function M.parse(text)
  local settings = {}
  for word in text:gmatch("%S+") do
    local name, value = word:match("^(%w+)=(.+)$")
    if name ~= "model" and name ~= "permissions" then
      return nil, ("Invalid setting: %s (expected model=NAME or permissions=MODE)"):format(word)
    end
    settings[name] = value
  end
  return settings
end

---@param choices loomd.Choice[]
---@param prompt string
---@param current? string
---@param done fun(id: string)
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
      done(choice.id)
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
  local mode_name = M.mode_name(run)
  local title = format.fit(format.title(run), 40) .. (mode_name and (" (mode: %s)"):format(mode_name) or "")
  pick(settings, ("Configure %s:"):format(title), nil, function(kind)
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
