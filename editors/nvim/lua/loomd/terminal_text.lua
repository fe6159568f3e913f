-- What a program wrote for a terminal, as the text that a terminal would show in the end.
local M = {}

-- Everything that a terminal obeys: strings up to their end (title, clipboard, device control), CSI, shorter sequences.
-- CSI sequences that change the line itself become bytes of their own: \1 and a movement.
local function without_sequences(text)
  local parts, from = {}, 1
  while true do
    local at = text:find("\27", from, true)
    if not at then
      parts[#parts + 1] = text:sub(from)
      return table.concat(parts)
    end
    parts[#parts + 1] = text:sub(from, at - 1)
    local kind = text:sub(at + 1, at + 1)
    if kind == "[" then
      local _, last, params, command = text:find("^([%d:;<=>?]*)[ -/]*([@-~])", at + 2)
      from = last and last + 1 or at + 2
      if last and command:find("[CDGKPX]") and not params:find("%D") then
        parts[#parts + 1] = ("\1%s%s"):format(params, command)
      end
    elseif kind ~= "" and ("]PX^_"):find(kind, 1, true) then
      local stop = text:find("[\7\27]", at + 2) or #text + 1
      from = text:sub(stop, stop + 1) == "\27\\" and stop + 2 or text:sub(stop, stop) == "\7" and stop + 1 or stop
    else
      local _, last = text:find("^[ -/]*[0-~]", at + 1)
      from = last and last + 1 or at + 1
    end
  end
end

-- A line as a terminal shows it that overwrites.
local function overwritten(line)
  local cells, at = {}, 1
  local place = 1
  while place <= #line do
    local _, last, params, command = line:find("^\1(%d*)([CDGKPX])", place)
    if last then
      local count = math.min(math.max(1, tonumber(params) or 1), 10000)
      if command == "D" then
        at = math.max(1, at - count)
      elseif command == "C" then
        at = at + count
      elseif command == "G" then
        at = count
      elseif command == "P" then
        for _ = 1, math.min(count, #cells - at + 1) do
          table.remove(cells, at)
        end
      elseif command == "X" then
        for cell = at, math.min(at + count - 1, #cells) do
          cells[cell] = " "
        end
      elseif params == "1" then
        for cell = 1, math.min(at, #cells) do
          cells[cell] = " "
        end
      else
        for cell = #cells, params == "2" and 1 or at, -1 do
          cells[cell] = nil
        end
      end
      place = last + 1
    else
      local char = line:match("^[\1-\127][\128-\191]*", place) or line:match("^[\192-\255][\128-\191]*", place) or line:sub(place, place)
      place = place + #char
      if char == "\r" then
        at = 1
      elseif char == "\b" then
        at = math.max(1, at - 1)
      else
        for cell = #cells + 1, at - 1 do
          cells[cell] = " "
        end
        cells[at] = char
        at = at + 1
      end
    end
  end
  return table.concat(cells)
end

-- The text that a terminal would show, without colors.
---@param text string
---@return string
function M.plain(text)
  if not text:find("[%z\1-\8\11-\31\127]") then
    return text
  end
  local clean = without_sequences((text:gsub("[\1]", ""))):gsub("\r+\n", "\n")
  local lines = vim.split(clean, "\n", { plain = true })
  for index, line in ipairs(lines) do
    lines[index] = line:find("[\1\b\r]") and overwritten(line) or line
  end
  return (table.concat(lines, "\n"):gsub("[%z\1-\8\11-\31\127]", ""))
end

return M
