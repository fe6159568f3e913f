-- Model and permissions of an agent's run, from its next turn on: set by words (`model=NAME permissions=MODE`), or picked from what its provider offers.

local server = require("loomd.server")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

-- How long completion waits for a provider that has not been asked before: its program is started for a moment.
M.patience_ms = 5000

local modes = {
  { id = "ask", name = "every question is for you" },
  { id = "acceptEdits", name = "edits are allowed, the rest is for you" },
  { id = "readOnly", name = "nothing may be changed" },
  { id = "bypass", name = "everything is allowed" },
}

---@alias loomd.Choice { id: string, name: string }

-- What a provider offers, by provider and directory; asked for once.
---@type table<string, { models: loomd.Choice[], modes: loomd.Choice[] }>
local offered = {}

---@param run loomd.Run
---@return boolean
function M.fits(run)
  return not store.is_final(run) and store.has_transcript(run)
end

---@param run loomd.Run
---@param done fun(options?: { models: loomd.Choice[], modes: loomd.Choice[] }, failure?: loomd.Failure)
---@return loomd.Call?
function M.options(run, done)
  local key = run.provider .. "\n" .. run.cwd
  if offered[key] then
    return done(offered[key])
  end
  return server.request("provider/options", { provider = run.provider, cwd = run.cwd }, function(failure, result)
    if result then
      offered[key] = { models = result.models or {}, modes = result.modes or {} }
    end
    done(offered[key], failure)
  end)
end

---@param run loomd.Run
---@param settings { model?: string, permissions?: loomd.PermissionMode }
---@param done? fun(run?: loomd.Run)
function M.set(run, settings, done)
  server.request("run/configure", vim.tbl_extend("error", { runId = run.id }, settings), function(failure, result)
    if failure then
      words.say(words.failure(failure, "configure"), vim.log.levels.ERROR)
    else
      store.put(result.run, true)
      local told = {}
      for _, name in ipairs({ "model", "permissions" }) do
        told[#told + 1] = settings[name] and (name .. " " .. settings[name])
      end
      words.say(("%s: %s from its next turn on"):format(words.short(run.id), table.concat(told, " and ")))
    end
    if done then
      done(result and result.run)
    end
  end)
end

-- What was typed behind the run.
---@param text string
---@return { model?: string, permissions?: string }? settings
---@return string? problem
function M.parse(text)
  local settings = {}
  for word in text:gmatch("%S+") do
    local name, value = word:match("^(%w+)=(.+)$")
    if name ~= "model" and name ~= "permissions" then
      return nil, ("%s is neither model=NAME nor permissions=MODE"):format(word)
    end
    settings[name] = value
  end
  return settings
end

---@param choices loomd.Choice[]
---@param prompt string
---@param done fun(id: string)
local function pick(choices, prompt, done)
  vim.ui.select(choices, {
    prompt = prompt,
    kind = "loomd_choice",
    format_item = function(choice)
      return choice.name == choice.id and choice.id or ("%s  (%s)"):format(choice.id, choice.name)
    end,
  }, function(choice)
    if choice then
      done(choice.id)
    end
  end)
end

-- Asks what is to be set, and to what.
---@param run loomd.Run
function M.ask(run)
  local params = run.params or {}
  local kinds = {
    { id = "model", name = "now " .. (params.model or "the provider's own") },
    { id = "permissions", name = "now " .. (params.permissions or "ask") },
  }
  pick(kinds, ("Configure %s"):format(words.fit(words.title(run), 40)), function(kind)
    if kind == "permissions" then
      return pick(modes, "Who decides from the next turn on?", function(mode)
        M.set(run, { permissions = mode })
      end)
    end
    M.options(run, function(options, failure)
      if options and #options.models > 0 then
        return pick(options.models, "Model from the next turn on", function(model)
          M.set(run, { model = model })
        end)
      end
      local kind = failure and failure.data and failure.data.kind
      if failure and kind ~= "unsupported" then
        words.say(words.failure(failure, "its models are not known"), vim.log.levels.WARN)
      end
      -- Said in the prompt, or it would look like a list with nothing in it.
      vim.ui.input({ prompt = ("%s names no models; type one, or nothing to leave it: "):format(run.provider), default = params.model }, function(model)
        if model and model ~= "" then
          M.set(run, { model = model })
        end
      end)
    end)
  end)
end

-- What `:Loomd configure` may be told about a run, for completion.
---@param run loomd.Run
---@return string[]
function M.words(run)
  local found = vim.tbl_map(function(mode)
    return "permissions=" .. mode.id
  end, modes)
  local answered = false
  local call = M.options(run, function(options)
    answered = true
    for _, model in ipairs(options and options.models or {}) do
      found[#found + 1] = "model=" .. model.id
    end
  end)
  if not answered then
    vim.wait(M.patience_ms, function()
      return answered
    end, 10)
    if not answered and call then
      call.cancel()
    end
  end
  return found
end

return M
