-- What goes with a prompt beside its text, as ACP's content blocks: files, a selection, symbols, diagnostics and images. A
-- mention in the text names each: `@file`, `@selection`, `@symbols`, `@diagnostics`, `@PATH`, `@PATH:3-9`, `@"A PATH"`.

local format = require("loomd.format")

local M = {}

-- What is larger is not attached, and a message says so.
M.max_text_bytes = 256 * 1024
M.max_image_bytes = 4 * 1024 * 1024
-- How long a language server may take to list symbols.
M.symbols_timeout_ms = 2000

local image_types = { png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp" }

---@class loomd.Selection
---@field first integer line
---@field last integer line
---@field text string

---@class loomd.Source the file that the user works on while they write a prompt
---@field buffer integer
---@field path string
---@field selection? loomd.Selection
---@field symbols? string[] requested once

---@class loomd.Attachment
---@field name string what takes the place of the mention in the text
---@field detail string
---@field block table an ACP ContentBlock

-- The text that is selected, or was selected last, in the current buffer. `range` are the lines of a command.
---@param range? { [1]: integer, [2]: integer }
---@return loomd.Selection?
local function selection_of(range)
  local from, to = vim.fn.getpos("'<"), vim.fn.getpos("'>")
  if from[2] == 0 or range and (range[1] ~= from[2] or range[2] ~= to[2]) then
    local lines = range and vim.api.nvim_buf_get_lines(0, range[1] - 1, range[2], false)
    return lines and { first = range[1], last = range[2], text = table.concat(lines, "\n") } or nil
  end
  local kind = vim.fn.visualmode()
  local lines = vim.fn.getregion(from, to, { type = kind ~= "" and kind or "V" })
  return { first = from[2], last = to[2], text = table.concat(lines, "\n") }
end

local function is_file(buffer)
  return vim.bo[buffer].buftype == "" and vim.api.nvim_buf_get_name(buffer) ~= ""
end

-- The file of the current window, or of the window before if this one belongs to the plugin.
---@param range? { [1]: integer, [2]: integer }
---@return loomd.Source?
function M.source(range)
  for _, window in ipairs({ vim.api.nvim_get_current_win(), vim.fn.win_getid(vim.fn.winnr("#")) }) do
    local buffer = window ~= 0 and vim.api.nvim_win_get_buf(window)
    if buffer and is_file(buffer) then
      local selection = vim.api.nvim_win_call(window, function()
        return selection_of(range)
      end)
      return { buffer = buffer, path = vim.api.nvim_buf_get_name(buffer), selection = selection }
    end
  end
end

local function display(path, cwd)
  path = vim.fs.normalize(path)
  local folder = vim.fs.normalize(cwd)
  return vim.startswith(path, folder .. "/") and path:sub(#folder + 2) or path
end

-- A mention of a path, quoted if it has spaces.
function M.quote(path)
  return path:find("%s") and ('@"%s"'):format(path) or "@" .. path
end

local function embedded(name, uri, text, detail)
  if #text > M.max_text_bytes then
    return nil, ("%s is too large (%s)"):format(name, format.size(#text))
  end
  local lines = select(2, text:gsub("\n", "\n")) + (text:sub(-1) == "\n" and 0 or 1)
  return { name = name, detail = (detail and detail .. ", " or "") .. format.count(lines, "line"), block = { type = "resource", resource = { uri = uri, mimeType = "text/plain", text = text } } }
end

---@param path string absolute
local function of_lines(path, cwd, first, last)
  local buffer = vim.fn.bufnr(path)
  local lines = buffer ~= -1 and vim.api.nvim_buf_is_loaded(buffer) and vim.api.nvim_buf_get_lines(buffer, first - 1, last, false) or vim.list_slice(vim.fn.readfile(path, "", last), first, last)
  local place = first == last and tostring(first) or first .. "-" .. last
  if #lines == 0 then
    return nil, ("%s has no line %s"):format(display(path, cwd), place)
  end
  return embedded(M.quote(display(path, cwd) .. ":" .. place), ("%s#L%s"):format(vim.uri_from_fname(path), place), table.concat(lines, "\n"))
end

local function of_image(path, cwd, kind)
  local file = io.open(path, "rb")
  local data = file and file:read(M.max_image_bytes + 1) or ""
  if file then
    file:close()
  end
  if #data > M.max_image_bytes then
    return nil, ("%s is too large"):format(display(path, cwd))
  end
  local block = { type = "image", mimeType = kind, data = vim.base64.encode(data), uri = vim.uri_from_fname(path) }
  return { name = M.quote(display(path, cwd)), detail = "image, " .. format.size(#data), block = block }
end

-- A file is linked, so that the agent reads it. Unsaved changes are only here, so they are sent.
local function of_file(path, cwd)
  local name, uri = display(path, cwd), vim.uri_from_fname(path)
  local kind = image_types[(path:match("%.(%w+)$") or ""):lower()]
  if kind then
    return of_image(path, cwd, kind)
  end
  local buffer = vim.fn.bufnr(path)
  if buffer ~= -1 and vim.api.nvim_buf_is_loaded(buffer) and vim.bo[buffer].modified then
    return embedded(M.quote(name), uri, table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n") .. "\n", "unsaved changes")
  end
  local stat = vim.uv.fs_stat(path) or { size = 0 }
  return { name = M.quote(name), detail = "link, " .. format.size(stat.size), block = { type = "resource_link", uri = uri, name = name, size = stat.size } }
end

local severities = { "error", "warning", "info", "hint" }

---@param source loomd.Source
local function of_diagnostics(source, cwd)
  local found, lines = vim.diagnostic.get(source.buffer), {}
  local name = display(source.path, cwd)
  table.sort(found, function(a, b)
    return a.lnum < b.lnum or a.lnum == b.lnum and a.col < b.col
  end)
  for _, each in ipairs(found) do
    lines[#lines + 1] = ("%s:%d:%d: %s: %s%s"):format(name, each.lnum + 1, each.col + 1, severities[each.severity], each.message, each.source and (" [%s]"):format(each.source) or "")
  end
  if #lines == 0 then
    return nil, "No diagnostics in " .. name
  end
  return embedded("@diagnostics", vim.uri_from_fname(source.path) .. "#diagnostics", table.concat(lines, "\n"), "diagnostics of " .. name)
end

local function add_symbols(lines, symbols, depth)
  for _, symbol in ipairs(symbols) do
    local range = symbol.range or symbol.location.range
    local kind = (vim.lsp.protocol.SymbolKind[symbol.kind] or "symbol"):lower()
    lines[#lines + 1] = ("%s%s %s (lines %d-%d)"):format(("  "):rep(depth), kind, symbol.name, range.start.line + 1, range["end"].line + 1)
    add_symbols(lines, symbol.children or {}, depth + 1)
  end
end

---@param source loomd.Source
local function of_symbols(source, cwd)
  local params = { textDocument = { uri = vim.uri_from_bufnr(source.buffer) } }
  if not source.symbols then
    source.symbols = {}
    local responses = vim.lsp.buf_request_sync(source.buffer, "textDocument/documentSymbol", params, M.symbols_timeout_ms)
    for _, response in pairs(responses or {}) do
      add_symbols(source.symbols, response.result or {}, 0)
    end
  end
  if #source.symbols == 0 then
    return nil, "No language server lists symbols of " .. display(source.path, cwd)
  end
  return embedded("@symbols", params.textDocument.uri .. "#symbols", table.concat(source.symbols, "\n"), "symbols of " .. display(source.path, cwd))
end

-- What a mention names. Both values are nil for a word that names nothing: it stays text.
---@param word string behind the `@`
---@param source? loomd.Source
---@param cwd string
---@return loomd.Attachment? attachment
---@return string? problem
function M.resolve(word, source, cwd)
  if word == "file" or word == "selection" or word == "diagnostics" or word == "symbols" then
    if not source then
      return nil
    elseif word == "file" then
      return of_file(source.path, cwd)
    elseif word == "diagnostics" then
      return of_diagnostics(source, cwd)
    elseif word == "symbols" then
      return of_symbols(source, cwd)
    elseif not source.selection then
      return nil, "@selection: nothing was selected"
    end
    local place = ("%d-%d"):format(source.selection.first, source.selection.last)
    return embedded(M.quote(display(source.path, cwd) .. ":" .. place), ("%s#L%s"):format(vim.uri_from_fname(source.path), place), source.selection.text, "selection")
  end
  local path, first, last = word:match("^(.-):(%d+)%-?(%d*)$")
  path = vim.fs.normalize(path or word)
  path = path:sub(1, 1) == "/" and path or vim.fs.joinpath(cwd, path)
  local stat = vim.uv.fs_stat(path)
  if not stat or stat.type ~= "file" then
    return nil
  elseif first then
    return of_lines(path, cwd, tonumber(first), tonumber(last ~= "" and last or first))
  end
  return of_file(path, cwd)
end

-- Reads the mentions of a text.
---@param text string
---@param source? loomd.Source
---@param cwd string
---@return string text with the names of what is mentioned
---@return loomd.Attachment[] attachments in the order of their first mention
---@return string[] problems
function M.read(text, source, cwd)
  local attachments, problems, known = {}, {}, {}
  local function take(attachment)
    if not known[attachment.name] then
      known[attachment.name] = true
      attachments[#attachments + 1] = attachment
    end
    return attachment.name
  end
  local parts, position = {}, 1
  local padded = " " .. text
  while true do
    local at = padded:find("[%s%(]@", position)
    local quoted = at and padded:match('^"[^"\n]+"', at + 2)
    local word = at and (quoted or padded:match('^[^%s"]+', at + 2))
    if not at then
      break
    elseif word then
      local attachment, problem = M.resolve(quoted and quoted:sub(2, -2) or word, source, cwd)
      -- The end of a sentence is no part of a name.
      local shorter = not (quoted or attachment or problem) and word:match("^(.-)[%.,;:!%?%)]+$") or ""
      if shorter ~= "" then
        word, attachment, problem = shorter, M.resolve(shorter, source, cwd)
      end
      problems[#problems + 1] = problem
      parts[#parts + 1] = padded:sub(position, at) .. (attachment and take(attachment) or "@" .. word)
      position = at + 2 + #word
    else
      parts[#parts + 1] = padded:sub(position, at + 1)
      position = at + 2
    end
  end
  parts[#parts + 1] = padded:sub(position)
  return table.concat(parts):sub(2), attachments, problems
end

-- The prompt that is sent: the text alone, or content blocks.
---@param text string
---@param attachments loomd.Attachment[]
---@return loomd.Prompt
function M.prompt(text, attachments)
  if #attachments == 0 then
    return text
  end
  local blocks = { { type = "text", text = text } }
  for _, attachment in ipairs(attachments) do
    blocks[#blocks + 1] = attachment.block
  end
  return blocks
end

return M
