-- Fills the quickfix list with the locations that a run's output names.

local format = require("loomd.format")
local notify = require("loomd.notify")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")
local terminal_text = require("loomd.terminal_text")

local M = {}

-- Forms that 'errorformat' lacks: compilers that print the message on one line and the location on the next, and
-- stack traces of Python, Rust, Node and its test runners. Specific forms come first, because a file name in the last
-- three may contain spaces.
M.error_formats = {
  [[%Eerror%.%#: %m]],
  [[%Wwarning: %m]],
  [[%C%*[ ]--> %f:%l:%c]],
  [[%C%*[ ]|%.%#]],
  [[%C%*[ ]= %.%#]],
  [[%Z%$]],
  [[%*[ ]File "%f"\, line %l%.%#]],
  [[%.%#panicked at %f:%l:%c: %m]],
  [[%.%#panicked at %f:%l:%c:]],
  [[%.%#panicked at '%m'\, %f:%l:%c]],
  [[%*[ ]at %m (file://%f:%l:%c)]],
  [[%*[ ]at %m (%f:%l:%c)]],
  [[%*[ ]at async file://%f:%l:%c]],
  [[%*[ ]at async %f:%l:%c]],
  [[%*[ ]at file://%f:%l:%c]],
  [[%*[ ]at %f:%l:%c]],
  [[%*[ ]❯ %m %f:%l:%c]],
  [[%*[ ]❯ %f:%l:%c]],
  [[%f(%l\,%c): %m]],
  [[%f:%l:%c - %m]],
  [[%f:%l:%c: %m]],
  [[%f:%l:%c:]],
  [[%f:%l: %m]],
}

-- Rust prints the location of a panic on one line and its message on the next. The lines are joined only for our own
-- forms, because those of the user may expect two lines.
---@param lines string[]
---@return string[]
local function join_panics(lines)
  local out, index = {}, 1
  while index <= #lines do
    local line, following = lines[index], lines[index + 1]
    if line:find("panicked at .+:%d+:%d+:$") and following and following ~= "" then
      line, index = line .. " " .. following, index + 1
    end
    out[#out + 1] = line
    index = index + 1
  end
  return out
end

---@param lines string[]
---@param cwd string relative names begin here
---@param title string
---@param user_efm? string the user's 'errorformat', which goes first
---@return integer number of locations
function M.set(lines, cwd, title, user_efm)
  local error_formats = table.concat(M.error_formats, ",")
  local efm = error_formats
  if user_efm and user_efm ~= "" then
    efm = user_efm .. "," .. efm
  end
  local existing = {}
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    existing[buffer] = true
  end
  local items = vim.fn.getqflist({ lines = efm == error_formats and join_panics(lines) or lines, efm = efm }).items
  local locations, editor_cwd = {}, vim.fn.getcwd()
  editor_cwd = editor_cwd:sub(-1) == "/" and editor_cwd or editor_cwd .. "/"
  for _, item in ipairs(items) do
    if item.valid == 1 and item.bufnr ~= 0 and item.lnum > 0 then
      -- getqflist resolved the name against Neovim's own directory, which may not be the run's.
      local name = vim.api.nvim_buf_get_name(item.bufnr)
      local relative = vim.startswith(name, editor_cwd) and name:sub(#editor_cwd + 1)
      local path = relative and not vim.uv.fs_stat(name) and vim.fs.joinpath(cwd, relative) or name
      if relative and vim.uv.fs_stat(vim.fs.joinpath(cwd, relative)) then
        path = vim.fs.joinpath(cwd, relative)
      end
      if vim.uv.fs_stat(path) then
        locations[#locations + 1] = { filename = path, lnum = item.lnum, col = item.col, text = vim.trim(item.text), type = item.type }
      end
    end
  end
  -- getqflist created a buffer for every name, also for names that are not files.
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if not existing[buffer] and not vim.api.nvim_buf_is_loaded(buffer) then
      pcall(vim.api.nvim_buf_delete, buffer, { force = true })
    end
  end
  vim.fn.setqflist({}, " ", { title = title, items = locations })
  return #locations
end

-- The text of an agent's messages and tools. Its raw output is a protocol and has no locations.
---@param items loomd.Item[]
---@return string[]
local function read_agent_text(items)
  local lines = {}
  for _, item in ipairs(items) do
    local is_answer = item.kind == "message" and item.role == "agent" and not item.abandoned
    local text = is_answer and item.text or item.kind == "tool" and item.output and item.output.text
    if text then
      vim.list_extend(lines, vim.split(terminal_text.plain(text), "\n"))
    end
  end
  return lines
end

-- Fills the quickfix list from a run, and opens it if it has locations.
---@param run loomd.Run
---@param done? fun(count: integer)
function M.open(run, done)
  local elsewhere = run_id.elsewhere(run)
  if elsewhere then
    notify.show("No quickfix list: " .. elsewhere, vim.log.levels.WARN)
    return done and done(0)
  end
  local title = "loomd " .. format.short_id(run.id) .. ": " .. format.title(run)
  local function finish(lines)
    local count = M.set(lines, run.cwd, title, vim.api.nvim_get_option_info2("errorformat", {}).was_set and vim.o.errorformat or nil)
    if count == 0 then
      notify.show("No locations found")
    else
      vim.cmd("botright copen")
    end
    if done then
      done(count)
    end
  end
  local function on_failure(failure)
    notify.show(format.failure(failure, "Could not read the output"), vim.log.levels.ERROR)
    if done then
      done(0)
    end
  end
  if run.hasTranscript then
    server.request("run/items", { runId = run.id, limit = 1000, maxBytes = 4 * 1024 * 1024 }, function(failure, result)
      if failure then
        return on_failure(failure)
      end
      finish(read_agent_text(result.items))
    end)
  else
    -- The errors are at the end of a long output.
    server.request("run/text", { runId = run.id, lastLines = 5000, maxBytes = 4 * 1024 * 1024 }, function(failure, result)
      if failure then
        return on_failure(failure)
      end
      finish(vim.split(terminal_text.plain(result.text), "\n"))
    end)
  end
end

return M
