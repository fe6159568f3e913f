-- One tool call of a transcript as markdown: a heading that says all in one line, and below it the command, the files, the diffs, what it said.

local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

-- Of a tool's output this much is shown, from its end; the log has all of it.
M.output_bytes = 64 * 1024

local icons = { pending = "◌", in_progress = "▶", completed = "✓", failed = "✗" }
local groups = { pending = "LoomdRunning", in_progress = "LoomdRunning", completed = "LoomdSucceeded", failed = "LoomdFailed" }

-- A fence that nothing in the lines can close.
local function fenced(lines, language, into)
  local longest = 2
  for _, line in ipairs(lines) do
    local run = line:match("^%s*(`+)")
    longest = math.max(longest, run and #run or 0)
  end
  local fence = ("`"):rep(longest + 1)
  into[#into + 1] = fence .. language
  vim.list_extend(into, lines)
  into[#into + 1] = fence
end

-- Writes the lines of a block from its call, and where its colours are.
---@param block loomd.Block
function M.render(block)
  local call = block.call
  local status = call.status or "pending"
  local lines = {}
  block.marks, block.diffs = { { row = 0, group = groups[status] or "LoomdTool" } }, {}
  local told = toolcall.headline(call)
  lines[1] = ("### %s %s%s: %s · %s"):format(icons[status] or "·", block.parent and "↳ " or "", toolcall.verb(call), told, (status:gsub("_", " ")))
  lines[2] = ""
  local command = toolcall.command(call)
  if command then
    fenced(vim.split(words.clean(command), "\n"), "sh", lines)
  elseif call.title and words.one_line(call.title) ~= told then
    lines[#lines + 1] = words.one_line(call.title)
  end
  for _, file in ipairs(toolcall.file_lines(call)) do
    lines[#lines + 1] = "- " .. file
  end
  local function diff(text_lines)
    block.diffs[#block.diffs + 1] = { row = #lines + 1, lines = text_lines }
    fenced(text_lines, "diff", lines)
  end
  local has_diff = false
  for _, part in ipairs(call.content or {}) do
    if part.type == "diff" then
      has_diff = true
      diff(toolcall.diff_lines(part))
    end
  end
  if not has_diff and toolcall.patch(call) ~= "" then
    diff(vim.split(words.clean(toolcall.patch(call)), "\n", { trimempty = true }))
  end
  local said = toolcall.text_lines(call)
  if #said == 0 and block.output and block.output ~= "" then
    said = vim.split(words.clean(block.output), "\n", { trimempty = true })
    if block.output_cut then
      table.insert(said, 1, "… earlier output left out")
    end
  end
  for index, line in ipairs(said) do
    said[index] = words.clean(line)
  end
  if #said > 0 then
    -- What a tool says often comes fenced already.
    if said[1]:find("^```") and said[#said]:find("^```") then
      vim.list_extend(lines, said)
    else
      fenced(said, "text", lines)
    end
  end
  lines[#lines + 1] = ""
  block.last_line = words.one_line(said[#said] or "")
  block.said = #said
  block.lines, block.dirty = lines, true
end

-- Output grows by bytes at an offset; what is before its newest part may be cut away.
---@param block loomd.Block
---@param grown { offset?: integer, text: string }
function M.grow(block, grown)
  local output, base = block.output or "", block.output_base or grown.offset or 0
  local keep = (grown.offset or 0) - base
  if keep < 0 then
    output, base, keep = "", grown.offset, 0
  end
  output = output:sub(1, keep) .. grown.text
  if #output > 2 * M.output_bytes then
    local cut = #output - M.output_bytes
    output, base = output:sub(cut + 1), base + cut
    block.output_cut = true
  end
  block.output, block.output_base = output, base
end

-- What a closed fold shows: the heading, and where a running tool stands.
---@param block loomd.Block
function M.summary(block)
  local heading = block.lines[1] or ""
  if block.kind ~= "tool" then
    return heading .. " · " .. words.count(math.max(0, #block.lines - 3), "line")
  elseif (block.said or 0) == 0 then
    return heading
  end
  local running = block.call.status == "in_progress" or block.call.status == "pending"
  return ("%s · %s%s"):format(heading, words.count(block.said, "line"), running and (": " .. block.last_line) or "")
end

return M
