-- Handles the events of the store: fires autocommands, shows notifications, and reloads the buffers of changed files.
-- It is started once, by `require("loomd").initialize`.

local config = require("loomd.config")
local draw = require("loomd.draw")
local format = require("loomd.format")
local notify = require("loomd.notify")
local permission = require("loomd.permission")
local run_id = require("loomd.run_id")
local store = require("loomd.store")

local M = {}

local started = false
-- Permission requests that were announced. After a reconnection the server sends them again.
local notified = {}

local function fire_event(pattern, data)
  vim.api.nvim_exec_autocmds("User", { pattern = pattern, data = data, modeline = false })
end

-- Whether the user sees the run already: the list or the run's own view is in a window of this tab page.
local function is_visible(run)
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    local buffer = vim.api.nvim_win_get_buf(window)
    if vim.api.nvim_buf_get_name(buffer) == "loomd://runs" or vim.b[buffer].loomd_run == run.id then
      return true
    end
  end
  return false
end

-- Reloads loaded buffers whose files changed on disk. For a modified buffer Neovim would prompt while the user types,
-- so a message names the file instead.
---@param is_affected fun(path: string): boolean
local function reload(is_affected)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    local path = vim.api.nvim_buf_get_name(buffer)
    if vim.api.nvim_buf_is_loaded(buffer) and vim.bo[buffer].buftype == "" and path ~= "" and is_affected(path) then
      if not vim.bo[buffer].modified then
        vim.cmd("silent! checktime " .. buffer)
      elseif vim.b[buffer].loomd_warned ~= vim.b[buffer].changedtick then
        local stat = vim.uv.fs_stat(path)
        if stat and vim.b[buffer].loomd_mtime and stat.mtime.sec ~= vim.b[buffer].loomd_mtime then
          vim.b[buffer].loomd_warned = vim.b[buffer].changedtick
          notify.show_line("", vim.fn.fnamemodify(path, ":~:."), " changed on disk (and has unsaved changes)", vim.log.levels.WARN)
        end
      end
    end
  end
end

---@param run loomd.Run
---@param paths string[]
function M.files_changed(run, paths)
  if run_id.host(run.id) then
    return -- a file of the same name here is another one
  end
  local affected = {}
  for _, path in ipairs(paths) do
    path = path:sub(1, 1) == "/" and path or vim.fs.joinpath(run.cwd, path)
    affected[vim.fs.normalize(path)] = true
    affected[vim.uv.fs_realpath(path) or ""] = true
  end
  reload(function(path)
    return affected[vim.fs.normalize(path)] or affected[vim.uv.fs_realpath(path) or "?"] or false
  end)
end

-- Reloads the buffers of files that a tool has changed, once, when it has ended.
---@param run? loomd.Run
---@param blocks loomd.Block[]
function M.items_changed(run, blocks)
  local paths = {}
  for _, block in ipairs(blocks) do
    local item = block.item
    if block.dirty and item.kind == "tool" and item.status == "completed" and not block.reloaded then
      block.reloaded = true
      local reads = item.toolKind == "read" or item.toolKind == "search"
      for _, each in ipairs(vim.list_extend(vim.list_slice(item.diffs), reads and {} or item.locations)) do
        paths[#paths + 1] = each.path
      end
    end
  end
  if run and #paths > 0 then
    M.files_changed(run, paths)
  end
end

---@param run loomd.Run
function M.turn_ended(run)
  if run_id.host(run.id) then
    return
  end
  local folder = vim.fs.normalize(run.cwd)
  reload(function(path)
    return vim.startswith(vim.fs.normalize(path), folder == "/" and folder or folder .. "/")
  end)
end

-- Records the modification time of each file that a buffer was read from or written to; `reload` compares it.
local function record_mtimes()
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

local function notify_permission(run, entry)
  if config.get().notify == "off" or is_visible(run) then
    return
  end
  notify.show_line(format.who(run) .. " wants to ", draw.request_title(entry.toolCall), "  (:Loomd next)", vim.log.levels.WARN)
end

local function on_host(run)
  local host = run_id.host(run.id)
  return host and host .. ": " or ""
end

local function notify_ended(run)
  if config.get().notify ~= "all" or not store.tracked[run.id] or is_visible(run) then
    return
  end
  local outcome = format.outcome(run)
  local bad = run.state == "failed" or run.state == "timedOut" or run.state == "lost"
  local tail = outcome ~= "" and (": " .. outcome) or ""
  notify.show_line(on_host(run), format.title(run), (" %s %s %s%s"):format(format.state(run).word, run.state == "succeeded" and "in" or "after", format.elapsed(run), format.fit(tail, 40)), bad and vim.log.levels.WARN or vim.log.levels.INFO)
end

local function notify_idle(run)
  if config.get().notify == "all" and store.tracked[run.id] and not is_visible(run) then
    notify.show_line(on_host(run), format.title(run), run.error and " failed" or " is idle")
  end
end

local function on_run(_, run, before)
  if not run then
    return
  end
  if before ~= run.state and (before or not store.is_final(run)) then
    fire_event("LoomdRunState", { run = vim.deepcopy(run), state = run.state, previous = before })
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
  fire_event("LoomdPermission", { run = vim.deepcopy(run), permission = vim.deepcopy(entry), status = entry.status })
  local key = run.id .. entry.permissionId
  if entry.status ~= "requested" then
    notified[key] = nil
    return permission.forget(run, entry)
  end
  if notified[key] then
    return
  end
  notified[key] = true
  notify_permission(run, entry)
  if config.get().approval == "float" then
    require("loomd.view.permission_request").open(run, entry, { enter = false })
  end
end

-- Neovim 0.12 has progress messages. An option enables them, because notifications show the same.
local progress = {}
local function on_progress(_, run, before)
  if not run or not config.get().progress or vim.fn.has("nvim-0.12") == 0 or not store.tracked[run.id] or before == run.state then
    return
  end
  if store.is_final(run) and not progress[run.id] then
    return
  end
  local status = store.is_final(run) and (run.state == "succeeded" and "success" or "failed") or "running"
  local ok, id = pcall(vim.api.nvim_echo, { { format.fit(format.title(run), 50) .. ": " .. format.state(run).word } }, false, {
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
  record_mtimes()
  store.subscribe("runs", on_run)
  store.subscribe("runs", on_progress)
  store.subscribe("permission", on_permission)
end

return M
