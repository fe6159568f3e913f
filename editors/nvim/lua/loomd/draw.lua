-- Draws items of a transcript as Markdown lines. It knows no buffer and takes nothing out of texts: a heading
-- summarizes an item, and what is below it is the whole item, or says what is missing.

local format = require("loomd.format")

local M = {}

---@class loomd.Drawing
---@field lines string[] the heading first, an empty line last
---@field marks { row: integer, group: string }[] lines to highlight; rows are 0-based
---@field diffs { row: integer, lines: string[] }[]
---@field heading? boolean the first line is a heading of this plugin
---@field folded boolean the view folds what is below the heading
---@field summary? string what the line of a closed fold adds to the heading
---@field omitted? boolean `run/getItem` has more

---@class loomd.DrawContext
---@field provider? string the heading of the agent's answers
---@field has_heading? boolean the message begins an answer
---@field withdrawn? boolean the agent said it again
---@field previous? loomd.Item the item above
---@field turn_started_at? integer Unix milliseconds

local verbs = { execute = "run", switch_mode = "switch mode", other = "use a tool" }

-- What a tool call does, as a verb.
---@param kind? string ACP's ToolKind
function M.verb(kind)
  return verbs[kind or "other"] or format.one_line(kind)
end

-- A permission request in one line.
---@param call table an ACP ToolCallUpdate
function M.request_title(call)
  local title = format.one_line(tostring(call.title or call.toolCallId or ""))
  return M.verb(call.kind) .. (title ~= "" and ": " .. title or "")
end

local function lines_of(text)
  local lines = vim.split(format.clean(text), "\n", { plain = true })
  while #lines > 1 and lines[#lines] == "" do
    lines[#lines] = nil
  end
  return lines
end

local function mark(drawing, group)
  drawing.marks[#drawing.marks + 1] = { row = #drawing.lines - 1, group = group }
end

local function heading(drawing, text, group)
  drawing.heading = true
  vim.list_extend(drawing.lines, { text, "" })
  drawing.marks[#drawing.marks + 1] = { row = #drawing.lines - 2, group = group }
end

local function add(drawing, text, group, prefix)
  for _, line in ipairs(lines_of(text)) do
    drawing.lines[#drawing.lines + 1] = (prefix or "") .. line
    if group then
      mark(drawing, group)
    end
  end
end

-- Adds a text in a fence that no line in it can close.
local function add_fenced(drawing, language, text)
  local lines, longest = type(text) == "table" and text or lines_of(text), 2
  for _, line in ipairs(lines) do
    longest = math.max(longest, #(line:match("^%s*(`+)") or ""))
  end
  local fence = ("`"):rep(longest + 1)
  if language == "diff" then
    drawing.diffs[#drawing.diffs + 1] = { row = #drawing.lines + 1, lines = lines }
  end
  drawing.lines[#drawing.lines + 1] = fence .. language
  vim.list_extend(drawing.lines, lines)
  drawing.lines[#drawing.lines + 1] = fence
end

local function with_newline(text)
  return (text == "" or text:sub(-1) == "\n") and text or text .. "\n"
end

-- A whole file may be created or deleted, so the diff is not shortened.
---@param diff loomd.FileDiff
---@return string[] lines of a unified diff, with headers
local function diff_lines(diff)
  if diff.patch then
    return lines_of(diff.patch)
  end
  local path = format.one_line(diff.path)
  local lines = { "--- " .. (diff.oldText and path or "/dev/null"), "+++ " .. (diff.newText and path or "/dev/null") }
  local compare = vim.text and vim.text.diff or vim.diff
  local text = compare(with_newline(diff.oldText or ""), with_newline(diff.newText or ""), { ctxlen = 3, algorithm = "histogram" })
  return vim.list_extend(lines, text ~= "" and lines_of(text) or {})
end

local diff_words = { add = "new file, ", delete = "deleted, ", move = "moved, " }

local function file_line(diff, lines)
  local added, removed = 0, 0
  for _, line in ipairs(lines) do
    local first = line:sub(1, 1)
    added = added + (first == "+" and not line:find("^%+%+%+ ") and 1 or 0)
    removed = removed + (first == "-" and not line:find("^%-%-%- ") and 1 or 0)
  end
  return ("- %s (%s+%d -%d)"):format(format.one_line(diff.path), diff_words[diff.kind] or "", added, removed)
end

-- The members of an input, but not those that the title or a diff has already.
local function add_input(drawing, item)
  local input = item.rawInput
  if type(input) ~= "table" then
    input = input ~= nil and { input = input } or {}
  elseif input.omitted == true and vim.tbl_count(input) == 1 then
    drawing.omitted = true
    return add(drawing, "… input omitted", "LoomdQuiet")
  end
  local known = { [item.title] = true }
  for _, diff in ipairs(item.diffs) do
    for _, text in pairs(diff) do
      known[text] = true
    end
  end
  for name, value in vim.spairs(input) do
    local text = type(value) == "string" and value or type(value) == "table" and vim.inspect(value) or tostring(value)
    if known[text] then
      -- shown already
    elseif text:find("\n") then
      add(drawing, format.one_line(tostring(name)) .. ":")
      add_fenced(drawing, "", text)
    else
      add(drawing, ("- %s: %s"):format(format.one_line(tostring(name)), text))
    end
  end
end

---@param output loomd.Output
local function add_output(drawing, output, language)
  local text = output.text
  if output.omittedBytes then
    local at = output.omittedAt or 0
    local head = text:sub(1, at):gsub("\n$", "")
    text = ("%s\n… %s omitted\n%s"):format(head, format.size(output.omittedBytes), text:sub(at + 1))
  end
  if text == "" then
    return ""
  end
  local lines = lines_of(text)
  add_fenced(drawing, language or "text", lines)
  drawing.summary = format.count(#lines, "line")
  return format.one_line(lines[#lines])
end

local function add_blocks(drawing, blocks)
  for _, block in ipairs(blocks or {}) do
    local resource = type(block.resource) == "table" and block.resource or {}
    drawing.omitted = drawing.omitted or block.omitted
    if block.type == "resource_link" then
      add(drawing, ("[%s](%s)"):format(format.one_line(block.name or block.uri or "link"), format.one_line(block.uri or "")))
    elseif resource.text then
      add(drawing, format.one_line(tostring(resource.uri or "resource")) .. ":")
      add_fenced(drawing, "", resource.text)
    else
      add(drawing, ("[%s]"):format(format.one_line(tostring(resource.uri or block.uri or block.type or "content"))))
    end
  end
end

local kinds = {}

function kinds.message(drawing, item, context)
  local goes_on = context.previous and item.continues == context.previous.item
  if context.withdrawn then
    drawing.folded = true
    heading(drawing, ("### %sWithdrawn %s"):format(context.arrow, item.kind == "thought" and "thought" or "answer"), "LoomdQuiet")
    add(drawing, item.text, "LoomdQuiet", "> ")
  elseif item.kind == "thought" then
    drawing.folded = true
    heading(drawing, ("### %sThinking%s"):format(context.arrow, item.continues and " (continued)" or ""), "LoomdThought")
    add(drawing, item.text, nil, "> ")
  else
    local name = item.role == "user" and "You" or item.parent and "sub-agent" or context.provider
    local is_shown = item.role == "user" or item.parent or context.has_heading or item.continues
    if name and is_shown and not goes_on then
      local group = item.role == "user" and "LoomdUser" or item.parent and "LoomdThought" or "LoomdHeading"
      heading(drawing, ("%s %s%s%s"):format(item.parent and "###" or "##", context.arrow, name, item.continues and " (continued)" or ""), group)
    end
    if item.text ~= "" then
      add(drawing, item.text)
    end
  end
  add_blocks(drawing, item.blocks)
end
kinds.thought = kinds.message

local icons = { pending = "◌", in_progress = "▶", completed = "✓", failed = "✗" }
local groups = { pending = "LoomdRunning", in_progress = "LoomdRunning", completed = "LoomdSucceeded", failed = "LoomdFailed" }

function kinds.tool(drawing, item, context)
  drawing.folded = true
  local title = format.one_line(item.title)
  local more = item.continues and " (continued)" or ""
  local is_open = item.status == "in_progress" or item.status == "pending"
  -- Nothing goes on in a run that has ended.
  local is_running = is_open and not item.endAt
  local status = is_open and not is_running and "not finished" or item.status:gsub("_", " ")
  local icon = is_open and not is_running and "○" or icons[item.status] or "·"
  local group = (is_running or not is_open) and groups[item.status] or "LoomdTool"
  heading(drawing, ("### %s %s%s: %s%s · %s"):format(icon, context.arrow, M.verb(item.toolKind), title, more, status), group)
  if title ~= item.title then
    add_fenced(drawing, item.toolKind == "execute" and "sh" or "", format.visible(item.title))
  end
  local named, diffs = {}, {}
  for index, diff in ipairs(item.diffs) do
    named[diff.path], diffs[index] = true, diff_lines(diff)
    if diff.omitted then
      drawing.omitted = true
      add(drawing, ("- %s (%sdiff omitted)"):format(format.one_line(diff.path), diff_words[diff.kind] or ""))
    else
      add(drawing, file_line(diff, diffs[index]))
    end
  end
  for _, location in ipairs(item.locations) do
    if not named[location.path] then
      add(drawing, "- " .. format.one_line(location.path) .. (location.line and ":" .. location.line or ""))
    end
  end
  add_input(drawing, item)
  for index, lines in ipairs(diffs) do
    if not item.diffs[index].omitted then
      add_fenced(drawing, "diff", lines)
    end
  end
  local last = item.output and add_output(drawing, item.output) or ""
  if is_running and last ~= "" then
    drawing.summary = drawing.summary .. ": " .. last
  end
end

function kinds.plan(drawing, item, context)
  drawing.folded = item.parent ~= nil
  heading(drawing, "### " .. context.arrow .. "Plan", "LoomdHeading")
  for _, step in ipairs(item.entries) do
    local now = step.status == "in_progress" and " *(now)*" or ""
    add(drawing, ("- %s %s%s"):format(step.status == "completed" and "[x]" or "[ ]", format.one_line(step.content), now))
  end
end

local notices = { error = { "Error: ", "LoomdNoticeError" }, warning = { "Warning: ", "LoomdNoticeWarning" }, info = { "", "LoomdNoticeInfo" } }

function kinds.notice(drawing, item)
  local notice = notices[item.severity] or notices.info
  add(drawing, notice[1] .. item.title, notice[2], "> ")
  if item.description then
    add(drawing, item.description, notice[2], "> ")
  end
end

local answers = { allow_once = "Allowed", allow_always = "Always allowed", reject_once = "Denied", reject_always = "Always denied" }

function kinds.permission(drawing, item, context)
  local resolved, first = item.resolved, item.shown[1]
  local has_title = first and first.label == "title"
  local what = M.request_title({ kind = item.toolCall.kind, title = has_title and first.text or item.toolCall.title })
  if not resolved then
    heading(drawing, ("### ● %sPermission: %s (K)"):format(context.arrow, what), "LoomdWaiting")
  else
    local chosen = vim.iter(item.options):find(function(option)
      return option.optionId == resolved.optionId
    end)
    local parts = { what }
    if resolved.by ~= "client" then
      parts[2] = resolved.rule and "by a rule" or resolved.by == "policy" and "by the permission mode" or "by the agent"
    end
    if resolved.message and resolved.message ~= "" then
      parts[#parts + 1] = "“" .. format.one_line(resolved.message) .. "”"
    end
    local is_allowed = chosen and vim.startswith(chosen.kind, "allow")
    local answer = chosen and (answers[chosen.kind] or "Answered “" .. format.one_line(chosen.name) .. "”") or resolved.optionId and "Answered" or "Dismissed"
    heading(drawing, ("### %s %s%s: %s"):format(is_allowed and "✓" or "✗", context.arrow, answer, table.concat(parts, " · ")), is_allowed and "LoomdSucceeded" or "LoomdCancelled")
  end
  for index, part in ipairs(item.shown) do
    -- A title of one line is in the heading.
    if index > 1 or not has_title or part.text:find("\n") then
      add(drawing, format.one_line(part.label) .. ":", "LoomdHeading")
      add_fenced(drawing, part.label == "diff" and "diff" or "", part.text)
    end
  end
  drawing.folded = resolved ~= nil or #drawing.lines > 16
end

function kinds.turn(drawing, item, context)
  local parts = {}
  if item.turn then
    parts[1] = "turn " .. item.turn
  end
  local reason = item.stopReason
  reason = reason and reason ~= "end_turn" and reason ~= "error" and reason ~= item.state and reason:gsub("_", " ") or nil
  if item.state ~= "idle" then
    parts[#parts + 1] = (format.states[item.state] or { word = item.state }).word
  elseif item.error or not reason then
    parts[#parts + 1] = item.error and "failed" or "done"
  end
  parts[#parts + 1] = reason
  if item.exitCode and item.exitCode ~= 0 then
    parts[#parts + 1] = "exit code " .. item.exitCode
  end
  parts[#parts + 1] = item.signal
  if context.turn_started_at then
    parts[#parts + 1] = format.duration(item.at - context.turn_started_at)
  end
  local usage = item.usage or {}
  if usage.inputTokens or usage.outputTokens then
    parts[#parts + 1] = ("%d tokens in, %d out"):format(usage.inputTokens or 0, usage.outputTokens or 0)
  end
  if usage.costUsd then
    parts[#parts + 1] = ("$%.2f"):format(usage.costUsd)
  end
  add(drawing, ("*— %s —*"):format(table.concat(parts, " · ")), "LoomdQuiet")
  if item.error then
    add(drawing, ("> **%s**: %s"):format(item.error.kind, format.one_line(item.error.message or "")), "LoomdFailed")
  end
end

function kinds.command(drawing, item)
  add_output(drawing, item.output)
  if item.stderr and item.stderr.text ~= "" then
    add(drawing, "stderr:", "LoomdHeading")
    add_output(drawing, item.stderr)
  end
end

-- What has no kind of its own, or one that this plugin does not know.
local function draw_other(drawing, item, context)
  drawing.folded = true
  heading(drawing, ("### · %s%s"):format(context.arrow, format.one_line(item.title or item.kind)), "LoomdQuiet")
  if item.data ~= nil then
    add_fenced(drawing, "", vim.inspect(item.data))
  end
end

---@param item loomd.Item
---@param context loomd.DrawContext
---@return loomd.Drawing
function M.draw(item, context)
  local drawing = { lines = {}, marks = {}, diffs = {}, folded = false }
  context.arrow = item.parent and "↳ " or ""
  if not pcall(kinds[item.kind] or draw_other, drawing, item, context) then -- An agent can put anything into an item.
    drawing.lines, drawing.marks, drawing.diffs = {}, {}, {}
    draw_other(drawing, { kind = tostring(item.kind), data = item }, context)
  end
  -- A line of a buffer that holds a line end cannot be written, and then nothing would be shown.
  for index, line in ipairs(drawing.lines) do
    drawing.lines[index] = line:gsub("\n", " ")
  end
  if drawing.lines[#drawing.lines] ~= "" then
    drawing.lines[#drawing.lines + 1] = ""
  end
  return drawing
end

-- The line of a closed fold.
---@param drawing loomd.Drawing
function M.summary(drawing)
  local below = drawing.summary or (not drawing.lines[1]:find(" · ") and #drawing.lines > 3 and format.count(#drawing.lines - 3, "line"))
  return drawing.lines[1]:gsub("^### ", "▸ ") .. (below and " · " .. below or "")
end

-- Draws a block among the others.
---@param items loomd.Items
---@param index integer
---@param provider? string
---@return loomd.Drawing
function M.draw_block(items, index, provider)
  local blocks, block = items.blocks, items.blocks[index]
  local item, previous = block.item, blocks[index - 1]
  local has_heading = item.kind == "message" and item.role == "agent" and not item.parent
  for at = index - 1, has_heading and 1 or index, -1 do
    local above = blocks[at].item
    if above.kind == "turn" or above.kind == "message" and not above.parent and not blocks[at].withdrawn then
      has_heading = above.kind == "turn" or above.role == "user"
      break
    end
  end
  return M.draw(item, {
    provider = provider,
    has_heading = has_heading,
    withdrawn = block.withdrawn,
    previous = previous and previous.item,
    turn_started_at = items.turns[item.turn or -1],
  })
end

-- Highlights the lines of a diff in a buffer; `first` is 0-based.
function M.highlight_diff(buffer, namespace, first, lines)
  for index, line in ipairs(lines) do
    local sign = line:sub(1, 1)
    local group = line:find("^@@") and "LoomdHunk"
      or (line:find("^%-%-%- ") or line:find("^%+%+%+ ")) and "LoomdQuiet"
      or sign == "+" and "LoomdAdded"
      or sign == "-" and "LoomdRemoved"
    if group then
      vim.api.nvim_buf_set_extmark(buffer, namespace, first + index - 1, 0, { end_row = first + index, hl_group = group, hl_eol = true, strict = false })
    end
  end
end

return M
