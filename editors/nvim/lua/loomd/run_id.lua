-- IDs of runs on hosts. Everywhere in this plugin the run ID of the host NAME is `NAME/ID`, so that no two runs have the
-- same one; only its own server knows it as ID.

local M = {}

-- The host of a run; nil for a run of this computer.
---@param id? string
---@return string?
function M.host(id)
  return id and id:match("^(.*)/[^/]*$")
end

-- The ID that the server of the run knows.
---@param id string
---@return string
function M.bare(id)
  return id:match("[^/]*$") --[[@as string]]
end

-- Why files of a run are not opened or changed here: they are on another computer. Nil: they are on this one.
---@param run loomd.Run
---@return string?
function M.elsewhere(run)
  local host = M.host(run.id)
  return host and ("the files of this run are on %s"):format(host) or nil
end

-- The host that a request is about, by the run that it names.
---@param params? table
---@return string?
function M.host_of_request(params)
  local id = params and (params.runId or type(params.resume) == "table" and params.resume.runId)
  return type(id) == "string" and M.host(id) or nil
end

-- The params as the server of the run knows them.
---@param params? table
---@return table?
function M.localize(params)
  if not M.host_of_request(params) then
    return params
  end
  local localized = vim.tbl_extend("force", {}, params)
  localized.runId = params.runId and M.bare(params.runId)
  localized.resume = params.resume and params.resume.runId and { runId = M.bare(params.resume.runId) } or params.resume
  return localized
end

local function qualify_member(host, owner, name)
  local value = owner and owner[name]
  if type(value) == "string" then
    owner[name] = host .. "/" .. value
  elseif type(value) == "table" then
    for index, id in ipairs(value) do
      value[index] = host .. "/" .. id
    end
  end
end

local function qualify_run(host, run)
  for _, name in ipairs({ "id", "parentRunId", "enclosingRunIds" }) do
    qualify_member(host, run, name)
  end
  for _, entry in ipairs(run.permissions or {}) do
    qualify_member(host, entry, "runId")
  end
  qualify_member(host, run.params and run.params.resume, "runId")
end

-- Puts the host into all run IDs of a result or of a notification's params, in place.
---@generic T: table?
---@param host? string nil: the server of this computer, whose IDs stay
---@param message T
---@return T
function M.qualify(host, message)
  if not host or type(message) ~= "table" then
    return message
  end
  qualify_member(host, message, "runId")
  qualify_member(host, message, "runIds")
  for _, run in ipairs(vim.list_extend({ message.run }, message.runs or {})) do
    qualify_run(host, run)
  end
  for _, name in ipairs({ "hits", "sessions", "entries" }) do
    for _, each in ipairs(message[name] or {}) do
      qualify_member(host, each, "runId")
    end
  end
  return message
end

return M
