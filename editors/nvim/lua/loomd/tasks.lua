-- Templates from `.vscode/tasks.json`: tasks of the types shell and process. They are only offered; nothing of them runs until
-- the user picks one. A task that needs what is not known here, such as `${input:…}`, is not offered.

local M = {}

-- Takes comments and trailing commas out of JSON; strings stay as they are.
---@param text string
function M.strip_comments(text)
  local out, position = {}, 1
  while position <= #text do
    local string_end = text:match('^"[^"\\]*()', position)
    if string_end then
      while text:sub(string_end, string_end) == "\\" do
        string_end = text:match('^[^"\\]*()', string_end + 2)
      end
      out[#out + 1] = text:sub(position, string_end)
      position = string_end + 1
    elseif text:find("^//", position) then
      position = text:find("\n", position, true) or #text + 1
    elseif text:find("^/%*", position) then
      position = (select(2, text:find("*/", position + 2, true)) or #text) + 1
    elseif text:find("^,[%s]*[%]}]", position) then
      position = position + 1
    else
      out[#out + 1] = text:sub(position, position)
      position = position + 1
    end
  end
  return table.concat(out)
end

---@param root string
---@return table<string, string>
local function variables(root)
  local file = vim.bo.buftype == "" and vim.api.nvim_buf_get_name(0) or ""
  local known = { workspaceFolder = root, workspaceRoot = root, workspaceFolderBasename = vim.fs.basename(root), cwd = vim.fn.getcwd(), userHome = vim.uv.os_homedir(), pathSeparator = "/", ["/"] = "/" }
  if file ~= "" then
    local below = vim.startswith(file, root .. "/") and file:sub(#root + 2) or file
    known.file, known.relativeFile, known.fileDirname, known.relativeFileDirname = file, below, vim.fs.dirname(file), vim.fs.dirname(below)
    known.fileBasename, known.fileBasenameNoExtension = vim.fs.basename(file), vim.fn.fnamemodify(file, ":t:r")
    known.fileExtname = file:match("%.[^./]*$") or ""
    known.lineNumber = tostring(vim.api.nvim_win_get_cursor(0)[1])
  end
  return known
end

-- Puts variables into a text; nil if one is not known, or if a shell would read its value as more than a word.
local function substitute(text, known, is_shell)
  local is_complete = true
  local out = text:gsub("%${([^}]*)}", function(name)
    local value = known[name] or name:find("^env:") and (vim.env[name:sub(5)] or "") or nil
    if not value or is_shell and value:find("[^%w%._/%-+@,:]") then
      is_complete = false
    end
    return value or ""
  end)
  return is_complete and out or nil
end

local function word_of(argument)
  return type(argument) == "table" and argument.value or argument
end

---@param task table
---@param root string
---@return loomd.Template?
local function template_of(task, root)
  local known = variables(root)
  local own = task[vim.fn.has("mac") == 1 and "osx" or "linux"]
  task = type(own) == "table" and vim.tbl_extend("force", task, own) or task
  local kind = task.type or "process"
  local options = type(task.options) == "table" and task.options or {}
  local argv, command = { word_of(task.command), unpack(vim.tbl_map(word_of, task.args or {})) }, {}
  if type(argv[1]) ~= "string" or kind ~= "shell" and kind ~= "process" or task.hide or task.dependsOn then
    return nil
  end
  for index, word in ipairs(argv) do
    local text = substitute(tostring(word), known, kind == "shell")
    if not text then
      return nil
    end
    local is_argument = kind == "shell" and index > 1 and text:find("[^%w%._/%-+@,:=]")
    command[index] = is_argument and vim.fn.shellescape(text) or text
  end
  local cwd, env = substitute(options.cwd or root, known), {}
  for name, value in pairs(type(options.env) == "table" and options.env or {}) do
    env[name] = substitute(tostring(value), known)
  end
  if not cwd then
    return nil
  end
  return {
    provider = "command",
    command = kind == "shell" and { vim.o.shell, vim.o.shellcmdflag, table.concat(command, " ") } or command,
    cwd = cwd:sub(1, 1) == "/" and cwd or vim.fs.joinpath(root, cwd),
    env = env,
    desc = "tasks.json: " .. table.concat(command, " "),
    title = tostring(task.label or task.taskName or argv[1]),
    labels = { task = tostring(task.label or task.taskName or argv[1]) },
  }
end

-- The tasks of the folder with `.vscode/tasks.json` at or above the working directory, as `task:LABEL`.
---@return table<string, loomd.Template>
---@return string? problem the file cannot be read
function M.templates()
  local path = vim.fs.find(".vscode/tasks.json", { upward = true, path = vim.fn.getcwd() })[1]
  local file = path and io.open(path, "rb")
  if not file then
    return {}
  end
  local text = file:read(1024 * 1024) or ""
  file:close()
  local ok, read = pcall(vim.json.decode, M.strip_comments(text), { luanil = { object = true, array = true } })
  if not ok or type(read) ~= "table" then
    return {}, path .. " is not valid JSON"
  end
  local found = {}
  for _, task in ipairs(type(read.tasks) == "table" and read.tasks or {}) do
    local made, template = pcall(template_of, task, vim.fs.dirname(vim.fs.dirname(path)))
    if made and template then
      found["task:" .. template.title:gsub("%s+", "-")] = template
    end
  end
  return found
end

return M
