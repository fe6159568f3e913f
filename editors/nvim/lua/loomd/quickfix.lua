-- Places that a run's output names, in the quickfix list.

local server = require("loomd.server")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

-- Beside what 'errorformat' knows: compilers that say the message on one line and the place on the next, and stack traces of Python, Rust,
-- Node and its test runners. The narrow ones go first, since a name in the last three may have spaces.
M.formats = {
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

-- Rust says where it panicked on one line and why on the next. Only for our own forms: those of the user may expect two lines.
---@param lines string[]
---@return string[]
local function joined(lines)
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
---@param own? string an 'errorformat' that the user set goes first
---@return integer count of places
function M.set(lines, cwd, title, own)
  local formats = table.concat(M.formats, ",")
  local format = formats
  if own and own ~= "" then
    format = own .. "," .. format
  end
  local before = {}
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    before[buffer] = true
  end
  local items = vim.fn.getqflist({ lines = format == formats and joined(lines) or lines, efm = format }).items
  local places, here = {}, vim.fn.getcwd()
  here = here:sub(-1) == "/" and here or here .. "/"
  for _, item in ipairs(items) do
    if item.valid == 1 and item.bufnr ~= 0 and item.lnum > 0 then
      -- The list above made the name absolute by Neovim's own directory, which need not be the run's.
      local name = vim.api.nvim_buf_get_name(item.bufnr)
      local relative = vim.startswith(name, here) and name:sub(#here + 1)
      local path = relative and not vim.uv.fs_stat(name) and vim.fs.joinpath(cwd, relative) or name
      if relative and vim.uv.fs_stat(vim.fs.joinpath(cwd, relative)) then
        path = vim.fs.joinpath(cwd, relative)
      end
      if vim.uv.fs_stat(path) then
        places[#places + 1] = { filename = path, lnum = item.lnum, col = item.col, text = vim.trim(item.text), type = item.type }
      end
    end
  end
  -- Parsing made a buffer for every name, also for those that are no files.
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if not before[buffer] and not vim.api.nvim_buf_is_loaded(buffer) then
      pcall(vim.api.nvim_buf_delete, buffer, { force = true })
    end
  end
  vim.fn.setqflist({}, " ", { title = title, items = places })
  return #places
end

local function strip(text)
  return (text:gsub("\27%[[%d;:?]*[ -/]*[@-~]", ""):gsub("\27%][^\7\27]*[\7]", ""):gsub("\r", ""))
end

-- What an agent's tools and messages said, in the order in which each began, since its raw output is a protocol.
---@param entries loomd.Entry[]
---@return string[]
local function said(entries)
  local parts, by_id = {}, {}
  local function part(id)
    if not by_id[id] then
      by_id[id] = { text = "" }
      table.insert(parts, by_id[id])
    end
    return by_id[id]
  end
  for _, entry in ipairs(entries) do
    local update = entry.update or {}
    if update.sessionUpdate == "agent_message_chunk" then
      local message = part("message " .. (update.messageId or ""))
      message.text = message.text .. (update.content and update.content.text or "")
    elseif (update.sessionUpdate == "tool_call" or update.sessionUpdate == "tool_call_update") and update.toolCallId then
      local tool, lines = part("tool " .. update.toolCallId), toolcall.text_lines(update)
      if #lines > 0 then
        tool.text = table.concat(lines, "\n")
      end
    end
  end
  local lines = {}
  for _, each in ipairs(parts) do
    vim.list_extend(lines, vim.split(strip(each.text), "\n"))
  end
  return lines
end

-- Fills the quickfix list from a run and opens it, if there is anything.
---@param run loomd.Run
---@param done? fun(count: integer)
function M.open(run, done)
  local title = "loomd " .. words.short(run.id) .. ": " .. words.title(run)
  local function finish(lines)
    local count = M.set(lines, run.cwd, title, vim.api.nvim_get_option_info2("errorformat", {}).was_set and vim.o.errorformat or nil)
    if count == 0 then
      words.say("the output names no places that are there")
    else
      vim.cmd("botright copen")
    end
    if done then
      done(count)
    end
  end
  local function failed(failure)
    words.say(words.failure(failure, "quickfix"), vim.log.levels.ERROR)
    if done then
      done(0)
    end
  end
  if store.has_transcript(run) then
    server.request("run/read", { runId = run.id, beforeSeq = require("loomd.follow").newest, maxBytes = 4 * 1024 * 1024, kinds = { "update" } }, function(failure, result)
      if failure then
        return failed(failure)
      end
      finish(said(result.entries))
    end)
  else
    -- The end of a long output is where the errors are.
    server.request("run/text", { runId = run.id, lastLines = 5000, maxBytes = 4 * 1024 * 1024 }, function(failure, result)
      if failure then
        return failed(failure)
      end
      finish(vim.split(strip(result.text), "\n"))
    end)
  end
end

return M
