-- An agent's tool call in words and lines, whole: the same for a question, a transcript and a row of the list.

local words = require("loomd.words")

local M = {}

local kinds = {
  read = "read",
  edit = "edit",
  delete = "delete",
  move = "move",
  search = "search",
  execute = "run",
  think = "think",
  fetch = "fetch",
  switch_mode = "switch mode",
  other = "use a tool",
}

---@param call table an ACP ToolCall or ToolCallUpdate
function M.verb(call)
  return kinds[call.kind or "other"] or call.kind
end

-- The command line that would be executed, whole, if it is one.
---@return string?
function M.command(call)
  local input = type(call.rawInput) == "table" and call.rawInput or {}
  local command = input.command or input.cmd
  if type(command) == "table" then
    local shell = #command == 3 and (command[2] == "-c" or command[2] == "-lc")
    command = shell and command[3]
      or table.concat(
        vim.tbl_map(function(word)
          word = tostring(word)
          return word:find("[^%w%-_./=:,@%%+]") and vim.fn.shellescape(word) or word
        end, command),
        " "
      )
  end
  return type(command) == "string" and command or nil
end

-- One line that says what it is: the command, else the agent's own title.
function M.headline(call)
  local command = M.command(call)
  local title = call.title and words.one_line(call.title)
  if command then
    return words.one_line(command)
  elseif title and title ~= "" then
    return title
  end
  local paths = M.paths(call)
  return #paths > 0 and table.concat(paths, ", ") or M.verb(call)
end

-- All files that it names, each once: diffs first, then locations.
---@return string[]
function M.paths(call)
  local seen, paths = {}, {}
  local function add(path)
    if type(path) == "string" and not seen[path] then
      seen[path] = true
      paths[#paths + 1] = path
    end
  end
  for _, part in ipairs(call.content or {}) do
    if part.type == "diff" then
      add(part.path)
    end
  end
  for _, location in ipairs(call.locations or {}) do
    add(location.path)
  end
  return paths
end

-- A whole file may be deleted or made, so nothing here may be shortened.
---@return string[] lines of a unified diff, with headers
function M.diff_lines(part)
  local old, new = part.oldText or "", part.newText or ""
  local path = part.path or "?"
  local lines = {
    "--- " .. (part.oldText and path or "/dev/null"),
    "+++ " .. path,
  }
  local function whole(text)
    return (text == "" or text:sub(-1) == "\n") and text or text .. "\n"
  end
  local compare = vim.text and vim.text.diff or vim.diff
  local ok, text = pcall(compare, whole(old), whole(new), { ctxlen = 3, algorithm = "histogram" })
  for _, line in ipairs(vim.split(ok and text or "", "\n", { trimempty = true })) do
    if not line:find("^\\ No newline") then
      lines[#lines + 1] = line
    end
  end
  return lines
end

---@return integer added, integer removed
local function counted(lines)
  local added, removed = 0, 0
  for index, line in ipairs(lines) do
    if index > 2 and line:sub(1, 1) == "+" then
      added = added + 1
    elseif index > 2 and line:sub(1, 1) == "-" then
      removed = removed + 1
    end
  end
  return added, removed
end

---@return string the patch that the provider gave, or ""
function M.patch(call)
  local meta = type(call._meta) == "table" and call._meta["loomd/patch"]
  return type(meta) == "string" and meta or ""
end

-- The files with what happens to each, one line a file.
---@return string[]
function M.file_lines(call)
  local lines, shown = {}, {}
  for _, part in ipairs(call.content or {}) do
    if part.type == "diff" then
      local added, removed = counted(M.diff_lines(part))
      local how = not part.oldText and ("new, " .. words.count(added, "line")) or ("+%d -%d"):format(added, removed)
      if part.newText == nil or (part.newText == "" and part.oldText) then
        how = "emptied or deleted, " .. ("-%d"):format(removed)
      end
      lines[#lines + 1] = ("%s  (%s)"):format(part.path, how)
      shown[part.path] = true
    end
  end
  for _, path in ipairs(M.paths(call)) do
    if not shown[path] then
      lines[#lines + 1] = path
    end
  end
  return lines
end

-- What the tool said, from its content: text blocks, in order.
---@return string[]
function M.text_lines(call)
  local lines = {}
  for _, part in ipairs(call.content or {}) do
    local block = part.type == "content" and part.content
    if type(block) == "table" then
      local text = block.text or (block.type == "resource_link" and block.uri) or ("[" .. tostring(block.type) .. "]")
      vim.list_extend(lines, vim.split((text:gsub("\r\n?", "\n")), "\n"))
    end
  end
  while lines[#lines] == "" do
    lines[#lines] = nil
  end
  return lines
end

-- Whatever else was handed to the tool, so that a question hides nothing. What is shown as the command is left out.
---@return string[]
function M.input_lines(call)
  local input = call.rawInput
  if type(input) ~= "table" then
    return input ~= nil and vim.split(tostring(input), "\n") or {}
  end
  local lines = {}
  for _, name in ipairs(vim.fn.sort(vim.tbl_map(tostring, vim.tbl_keys(input)))) do
    local value = input[name] or input[tonumber(name)]
    if not (M.command(call) and (name == "command" or name == "cmd")) then
      local text = type(value) == "string" and value or vim.inspect(value)
      local parts = vim.split(text, "\n")
      if #parts == 1 then
        lines[#lines + 1] = ("%s: %s"):format(name, parts[1])
      else
        lines[#lines + 1] = name .. ":"
        for _, part in ipairs(parts) do
          lines[#lines + 1] = "  " .. part
        end
      end
    end
  end
  return lines
end

-- Colours the lines of a diff in a buffer; `first` counts from 0.
function M.highlight_diff(buffer, namespace, first, lines)
  for index, line in ipairs(lines) do
    local mark = line:sub(1, 1)
    local group = line:find("^@@") and "LoomdHunk"
      or (line:find("^%-%-%- ") or line:find("^%+%+%+ ")) and "LoomdQuiet"
      or mark == "+" and "LoomdAdded"
      or mark == "-" and "LoomdRemoved"
    if group then
      vim.api.nvim_buf_set_extmark(buffer, namespace, first + index - 1, 0, { end_row = first + index, hl_group = group, hl_eol = true, strict = false })
    end
  end
end

return M
