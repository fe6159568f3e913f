-- The last line that each run said, asked for while a list is in sight: output comes only to those who are attached.

local server = require("loomd.server")
local store = require("loomd.store")
local words = require("loomd.words")

local M = {}

---@type table<string, { seq: integer, text: string, asking?: boolean }>
local known_words = {}

---@param id string
function M.of(id)
  local known = known_words[id]
  return known and known.text or ""
end

---@param id string
function M.forget(id)
  known_words[id] = nil
end

-- Asks for one run, unless it is being asked or has said its last; `changed` is called when there is an answer.
---@param id string
---@param changed fun()
function M.ask(id, changed)
  local run = store.runs[id]
  local known = known_words[id]
  -- A run that is not attached shows no growth, so a live one is asked each time; an ended one once.
  local settled = run and known and store.is_final(run) and known.seq == run.lastSeq
  if server.state ~= "ready" or not run or settled or (known and known.asking) then
    return
  end
  local seq = run.lastSeq
  known_words[id] = { seq = known and known.seq or -1, text = known and known.text or "", asking = true }
  local function keep(text)
    known_words[id] = { seq = seq, text = words.one_line(text or "") }
    changed()
  end
  if store.has_transcript(run) then
    server.request("run/read", { runId = id, beforeSeq = require("loomd.follow").newest, maxBytes = 16384, kinds = { "update" } }, function(_, result)
      keep(require("loomd.transcript").last_words(result and result.entries or {}))
    end)
  else
    server.request("run/text", { runId = id, lastLines = 1, maxBytes = 4096 }, function(_, result)
      keep(result and result.text:gsub("^.*\r([^\r\n])", "%1"))
    end)
  end
end

return M
