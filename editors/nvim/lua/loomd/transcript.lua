-- An agent's log as a text to read: entries in, blocks of markdown lines out. It knows no buffer; the view writes what is dirty.
--
-- A block is a prompt, a message, a thought, a tool call, a plan, a question or the end of a turn. Tool calls, thoughts and plans
-- that are done have a heading that says all in one line, and a body that the view folds away.

local toolblock = require("loomd.toolblock")
local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

---@class loomd.Block
---@field kind string
---@field lines string[]
---@field folded boolean the body below the heading is folded away
---@field dirty boolean
---@field marks { row: integer, group: string }[] whole lines to colour, rows from 0
---@field diffs { row: integer, lines: string[] }[]
---@field call? table the tool call, merged from all its updates

---@class loomd.Transcript
---@field blocks loomd.Block[]
---@field touched? loomd.Block the one that the newest entry made or changed
---@field on_files? fun(paths: string[]) a tool call that names files has been completed
local Transcript = {}
Transcript.__index = Transcript

---@return loomd.Transcript
function M.new()
  return setmetatable({ blocks = {}, messages = {}, calls = {}, questions = {} }, Transcript)
end

local function text_of(content)
  if type(content) ~= "table" then
    return ""
  elseif content.text then
    return content.text
  elseif content.type == "resource_link" then
    return ("[%s](%s)"):format(content.name or content.uri or "link", content.uri or "")
  elseif content.type == "resource" and type(content.resource) == "table" then
    return content.resource.text or ("[" .. tostring(content.resource.uri) .. "]")
  end
  return ("[%s]"):format(content.type or "content")
end

-- A block is new or has changed.
---@param block loomd.Block
function Transcript:touch(block)
  block.dirty = true
  self.touched = block
end

function Transcript:add(block)
  self:touch(block)
  block.marks = block.marks or {}
  block.diffs = block.diffs or {}
  block.lines = block.lines or {}
  table.insert(self.blocks, block)
  return block
end

local speakers = {
  user_message_chunk = { kind = "user", heading = "## You" },
  agent_message_chunk = { kind = "message" },
  agent_thought_chunk = { kind = "thought", heading = "### Thinking", folded = true },
}

-- Text grows at its end: only the last line and what is new is touched.
local function append(block, text)
  local parts = vim.split(words.clean(text), "\n", { plain = true })
  local prefix = block.kind == "thought" and "> " or ""
  local last = #block.lines - 1 -- the line before the closing empty one
  block.lines[#block.lines] = nil
  block.lines[last] = block.lines[last] .. parts[1]
  for index = 2, #parts do
    block.lines[#block.lines + 1] = prefix .. parts[index]
  end
  block.lines[#block.lines + 1] = ""
end

function Transcript:message(update)
  local speaker = speakers[update.sessionUpdate]
  local meta = type(update._meta) == "table" and update._meta or {}
  local parent = meta["loomd/parentToolCallId"]
  local id = update.messageId and (update.sessionUpdate .. update.messageId)
  local block = id and self.messages[id]
  if not block and not id then
    local newest = self.blocks[#self.blocks]
    block = newest and newest.kind == speaker.kind and newest.parent == parent and newest or nil
  end
  if meta["loomd/abandoned"] then
    if block then
      block.lines = { "*This answer broke off and was begun anew.*", "" }
      block.marks, block.folded = { { row = 0, group = "LoomdQuiet" } }, false
      self:touch(block)
    end
    return
  end
  if not block then
    block = { kind = speaker.kind, parent = parent, folded = speaker.folded or parent ~= nil }
    local heading = parent and "### ↳ sub-agent" or speaker.heading
    local first = speaker.kind == "thought" and "> " or ""
    block.lines = heading and { heading, "", first, "" } or { first, "" }
    if heading then
      block.marks = { { row = 0, group = speaker.kind == "user" and "LoomdUser" or "LoomdThought" } }
    end
    self:add(block)
    if id then
      self.messages[id] = block
    end
  end
  append(block, text_of(update.content))
  self:touch(block)
end

-- ACP's updates replace what they name.
function Transcript:tool(update)
  local block = self.calls[update.toolCallId]
  local meta = type(update._meta) == "table" and update._meta or {}
  if not block then
    block = self:add({ kind = "tool", folded = true, call = { toolCallId = update.toolCallId }, parent = meta["loomd/parentToolCallId"] })
    self.calls[update.toolCallId] = block
  end
  local was = block.call.status
  for name, value in pairs(update) do
    if name ~= "sessionUpdate" and name ~= "_meta" then
      block.call[name] = value
    end
  end
  if meta["loomd/patch"] then
    block.call._meta = { ["loomd/patch"] = meta["loomd/patch"] }
  end
  local grown = meta["loomd/output"]
  if type(grown) == "table" and grown.text then
    toolblock.grow(block, grown)
  end
  block.stale = true
  self:touch(block)
  if was ~= "completed" and block.call.status == "completed" and self.on_files then
    local kind = block.call.kind
    local paths = toolcall.paths(block.call)
    if #paths > 0 and kind ~= "read" and kind ~= "search" then
      self.on_files(paths)
    end
  end
end


-- Each plan replaces the one before; it stays where the turn's first one was.
function Transcript:plan(update)
  local block = self.current_plan or self:add({ kind = "plan", folded = false })
  self.current_plan = block
  local lines = { "### Plan", "" }
  for _, step in ipairs(update.entries or {}) do
    local now = step.status == "in_progress" and " *(now)*" or ""
    lines[#lines + 1] = ("- %s %s%s"):format(step.status == "completed" and "[x]" or "[ ]", words.one_line(step.content or ""), now)
  end
  lines[#lines + 1] = ""
  block.lines = lines
  self:touch(block)
end

function Transcript:notice(update)
  local text = update.title or update.message or text_of(update.content)
  if update.description then
    text = text .. "\n" .. update.description
  end
  local lines = {}
  for _, line in ipairs(vim.split(words.clean(tostring(text)), "\n", { trimempty = true })) do
    lines[#lines + 1] = "> " .. line
  end
  if #lines == 0 then
    return
  end
  lines[#lines + 1] = ""
  local marks = {}
  for row = 0, #lines - 2 do
    marks[#marks + 1] = { row = row, group = "LoomdNotice" }
  end
  self:add({ kind = "notice", folded = false, lines = lines, marks = marks })
end

function Transcript:question(entry)
  local block = self.questions[entry.permissionId]
  if entry.status == "requested" then
    if not block then
      block = self:add({ kind = "question", folded = false })
      self.questions[entry.permissionId] = block
    end
    block.call, block.options = entry.toolCall, entry.options
    block.lines = { ("### ● asks to %s: %s · K shows all of it"):format(toolcall.verb(entry.toolCall), toolcall.headline(entry.toolCall)), "" }
    block.marks = { { row = 0, group = "LoomdWaiting" } }
  elseif block then
    local chosen
    for _, option in ipairs(block.options or {}) do
      if option.optionId == entry.optionId then
        chosen = option
      end
    end
    local allowed = chosen and vim.startswith(chosen.kind, "allow")
    local answer = chosen and chosen.name or entry.optionId or "cancelled"
    local by = entry.by == "client" and "" or (" by the " .. entry.by)
    local message = entry.message and entry.message ~= "" and (", “" .. words.one_line(entry.message) .. "”") or ""
    block.lines = {
      ("### %s asked to %s: %s · %s%s%s"):format(allowed and "✓" or "✗", toolcall.verb(block.call), toolcall.headline(block.call), answer, by, message),
      "",
    }
    block.marks = { { row = 0, group = allowed and "LoomdSucceeded" or "LoomdCancelled" } }
  end
  if block then
    self:touch(block)
  end
end

function Transcript:state(entry)
  if entry.state == "running" or entry.state == "starting" or entry.state == "awaitingPermission" then
    return
  end
  self.current_plan = nil
  local parts = {}
  if entry.turn then
    parts[#parts + 1] = "turn " .. entry.turn
  end
  parts[#parts + 1] = entry.state == "idle" and (entry.error and "failed" or "done") .. ", waits for a prompt" or (words.states[entry.state] or { word = entry.state }).word
  if entry.stopReason and entry.stopReason ~= "end_turn" and entry.stopReason ~= "error" and entry.stopReason ~= entry.state then
    parts[#parts + 1] = (entry.stopReason:gsub("_", " "))
  end
  local usage = entry.usage
  if usage and (usage.inputTokens or usage.outputTokens) then
    parts[#parts + 1] = ("%d tokens in, %d out"):format(usage.inputTokens or 0, usage.outputTokens or 0)
  end
  if usage and usage.costUsd then
    parts[#parts + 1] = ("$%.2f"):format(usage.costUsd)
  end
  local lines = { ("*— %s —*"):format(table.concat(parts, " · ")) }
  local marks = { { row = 0, group = "LoomdQuiet" } }
  if entry.error then
    lines[2] = ("> **%s**: %s"):format(entry.error.kind, words.one_line(entry.error.message or ""))
    marks[2] = { row = 1, group = "LoomdFailed" }
  end
  lines[#lines + 1] = ""
  self:add({ kind = "state", folded = false, lines = lines, marks = marks })
end

---@param entry loomd.Entry
function Transcript:take(entry)
  if entry.kind == "update" then
    local update = entry.update
    local what = update.sessionUpdate
    if speakers[what] then
      self:message(update)
    elseif what == "tool_call" or what == "tool_call_update" then
      if update.toolCallId then
        self:tool(update)
      end
    elseif what == "plan" then
      self:plan(update)
    elseif what == "notice" then
      self:notice(update)
    end
  elseif entry.kind == "permission" then
    self:question(entry)
  elseif entry.kind == "state" then
    self:state(entry)
  end
end

-- Brings a block's lines up to date; tool calls are only rendered when they are about to be shown.
---@param block loomd.Block
function M.render(block)
  if block.stale then
    block.stale = false
    toolblock.render(block)
  end
  return block.lines
end

-- All lines of a whole log, for a file.
function Transcript:all_lines()
  local lines = {}
  for _, block in ipairs(self.blocks) do
    vim.list_extend(lines, M.render(block))
  end
  return lines
end

-- A tool call as all of its updates say it together.
---@param entries loomd.Entry[]
---@param id string
local function merged_call(entries, id)
  local call = {}
  for _, entry in ipairs(entries) do
    local update = entry.update or {}
    if update.toolCallId == id then
      call = vim.tbl_extend("force", call, update)
    end
  end
  return call
end

-- The newest line that an agent said or did, for a row of the list.
---@param entries loomd.Entry[]
function M.last_words(entries)
  for index = #entries, 1, -1 do
    local update = entries[index].update or {}
    if update.sessionUpdate == "tool_call" or update.sessionUpdate == "tool_call_update" then
      local call = merged_call(entries, update.toolCallId)
      -- An update alone may say little; what began before these entries is not known.
      if call.title or call.rawInput then
        return toolcall.headline(call)
      end
    elseif update.sessionUpdate == "agent_message_chunk" then
      local text = text_of(update.content)
      local from = index - 1
      while from >= 1 and (entries[from].update or {}).sessionUpdate == "agent_message_chunk" and not vim.trim(text):find("\n") do
        text = text_of(entries[from].update.content) .. text
        from = from - 1
      end
      local line = vim.trim(text):match("[^\n]*$")
      if line ~= "" then
        return line
      end
    end
  end
  return ""
end

return M
