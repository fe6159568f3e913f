-- Tells the person and the user's own configuration what happened: autocommands, notifications, reloaded buffers. Started once, with the server.

local config = require("loomd.config")
local permission = require("loomd.permission")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local words = require("loomd.words")

local M = {}

local started = false
-- Questions that were told of: a reconnection brings them again.
local told = {}

local function event(pattern, data)
  vim.api.nvim_exec_autocmds("User", { pattern = pattern, data = data, modeline = false })
end

-- Whether the person sees it happen anyway: the list, or the run's own view, is in a window of this tab page.
local function in_sight(run)
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    local name = vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(window))
    if name == "loomd://runs" or vim.startswith(name, "loomd://run/" .. run.id) then
      return true
    end
  end
  return false
end

-- Loaded, unmodified buffers of files that changed on disk are read again. A modified one would raise a question in the
-- middle of somebody's typing, so it is only named.
---@param is_concerned fun(path: string): boolean
local function reload(is_concerned)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    local path = vim.api.nvim_buf_get_name(buffer)
    if vim.api.nvim_buf_is_loaded(buffer) and vim.bo[buffer].buftype == "" and path ~= "" and is_concerned(path) then
      if not vim.bo[buffer].modified then
        vim.cmd("silent! checktime " .. buffer)
      elseif vim.b[buffer].loomd_warned ~= vim.b[buffer].changedtick then
        local stat = vim.uv.fs_stat(path)
        if stat and vim.b[buffer].loomd_mtime and stat.mtime.sec ~= vim.b[buffer].loomd_mtime then
          vim.b[buffer].loomd_warned = vim.b[buffer].changedtick
          words.tell("a run changed ", vim.fn.fnamemodify(path, ":~:."), ", and so have you", vim.log.levels.WARN)
        end
      end
    end
  end
end

---@param run loomd.Run
---@param paths string[]
function M.files_changed(run, paths)
  local concerned = {}
  for _, path in ipairs(paths) do
    path = path:sub(1, 1) == "/" and path or vim.fs.joinpath(run.cwd, path)
    concerned[vim.fs.normalize(path)] = true
    concerned[vim.uv.fs_realpath(path) or ""] = true
  end
  reload(function(path)
    return concerned[vim.fs.normalize(path)] or concerned[vim.uv.fs_realpath(path) or "?"] or false
  end)
end

---@param run loomd.Run
function M.turn_ended(run)
  local folder = vim.fs.normalize(run.cwd)
  reload(function(path)
    return vim.startswith(vim.fs.normalize(path), folder == "/" and folder or folder .. "/")
  end)
end

-- Which buffers were in step with their file when a run began to matter; `reload` compares.
local function remember_times()
  vim.api.nvim_create_autocmd({ "BufReadPost", "BufWritePost", "FileChangedShellPost" }, {
    group = vim.api.nvim_create_augroup("loomd_watch", { clear = true }),
    callback = function(args)
      local stat = vim.uv.fs_stat(args.match)
      if stat then
        vim.b[args.buf].loomd_mtime = stat.mtime.sec
      end
    end,
  })
end

local function notify_waiting(run, entry)
  if config.get().notify == "off" or in_sight(run) then
    return
  end
  words.tell(("%s asks to %s: "):format(run.provider, toolcall.verb(entry.toolCall)), toolcall.headline(entry.toolCall), "  (:Loomd next)", vim.log.levels.WARN)
end

local function notify_ended(run)
  if config.get().notify ~= "all" or not store.mine[run.id] or in_sight(run) then
    return
  end
  local outcome = words.outcome(run)
  local bad = run.state == "failed" or run.state == "timedOut" or run.state == "lost"
  local tail = outcome ~= "" and (": " .. outcome) or ""
  words.tell("", words.title(run), (" %s after %s%s"):format(words.state(run).word, words.elapsed(run), words.fit(tail, 40)), bad and vim.log.levels.WARN or vim.log.levels.INFO)
end

local function notify_idle(run)
  if config.get().notify == "all" and store.mine[run.id] and not in_sight(run) then
    words.tell("", words.title(run), run.error and " failed and waits for a prompt" or " waits for a prompt")
  end
end

local function on_run(_, run, before)
  if not run then
    return
  end
  if before ~= run.state and (before or not store.is_final(run)) then
    event("LoomdRunState", { run = vim.deepcopy(run), state = run.state, previous = before })
    if before and store.is_final(run) then
      notify_ended(run)
      M.turn_ended(run)
    elseif before and run.state == "idle" then
      notify_idle(run)
      M.turn_ended(run)
    end
  end
  vim.cmd.redrawstatus({ bang = true, mods = { emsg_silent = true } })
end

local function on_permission(run, entry)
  event("LoomdPermission", { run = vim.deepcopy(run), permission = vim.deepcopy(entry), status = entry.status })
  local key = run.id .. entry.permissionId
  if entry.status ~= "requested" then
    told[key] = nil
    return
  end
  if permission.by_rule(run, entry) or told[key] then
    return
  end
  told[key] = true
  notify_waiting(run, entry)
  if config.get().approval == "float" then
    require("loomd.view.question").open(run, entry, { enter = false })
  end
end

-- 0.12 has messages of their own for progress. They are asked for by an option, since notifications tell the same.
local progress = {}
local function on_progress(_, run, before)
  if not run or not config.get().progress or vim.fn.has("nvim-0.12") == 0 or not store.mine[run.id] or before == run.state then
    return
  end
  if store.is_final(run) and not progress[run.id] then
    return
  end
  local status = store.is_final(run) and (run.state == "succeeded" and "success" or "failed") or "running"
  local ok, id = pcall(vim.api.nvim_echo, { { words.fit(words.title(run), 50) .. ": " .. words.state(run).word } }, false, {
    kind = "progress",
    source = "loomd",
    title = "loomd",
    status = status,
    id = progress[run.id],
  })
  progress[run.id] = ok and not store.is_final(run) and id or nil
end

function M.start()
  if started then
    return
  end
  started = true
  remember_times()
  store.on("runs", on_run)
  store.on("runs", on_progress)
  store.on("permission", on_permission)
end

return M
