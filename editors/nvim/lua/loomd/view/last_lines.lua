-- The last line of output of each run, requested while a list is visible: the server sends output only to clients
-- that are attached.

local format = require("loomd.format")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

---@type table<string, { seq: integer, text: string, pending?: boolean, due?: integer }>
local last_lines = {}

---@param id string
function M.get(id)
  local known = last_lines[id]
  return known and known.text or ""
end

---@param id string
function M.forget(id)
  last_lines[id] = nil
end

-- The newest line of what an agent says and does.
---@param items loomd.Item[]
function M.last_line(items)
  for index = #items, 1, -1 do
    local item = items[index]
    if item.kind == "tool" then
      return item.title
    elseif item.kind == "message" and item.role == "agent" and not item.abandoned then
      local line = vim.trim(item.text):match("[^\n]*$")
      if line ~= "" then
        return line
      end
    end
  end
  return ""
end
-- Requests the last line of one run, unless a request is pending or the run has ended and its last line is known.
-- `changed` is called with the response.
---@param id string
---@param changed fun()
function M.request(id, changed)
  local run = store.runs[id]
  local known = last_lines[id]
  -- A run without an attachment does not report new output, so an active run is requested each time, an ended one
  -- once.
  local up_to_date = run and known and store.is_final(run) and known.seq == run.lastSeq
  local now = vim.uv.now()
  if not server.info_of(run_id.host(id)) or not run or up_to_date or (known and (known.pending or not store.is_final(run) and (known.due or 0) > now)) then
    return
  end
  local seq = run.lastSeq
  last_lines[id] = { seq = known and known.seq or -1, text = known and known.text or "", pending = true }
  local function save(text)
    -- What takes long is requested less often.
    local due = not store.is_final(run) and 20 * vim.uv.now() - 19 * now or nil
    last_lines[id] = { seq = seq, text = format.one_line(text or ""), due = due }
    changed()
  end
  if run.hasTranscript then
    server.request("run/items", { runId = id, limit = 10, maxBytes = 65536 }, function(_, result)
      save(M.last_line(result and result.items or {}))
    end)
  else
    server.request("run/text", { runId = id, lastLines = 1, maxBytes = 4096 }, function(_, result)
      save(result and result.text:gsub("^.*\r([^\r\n])", "%1"))
    end)
  end
end

return M
