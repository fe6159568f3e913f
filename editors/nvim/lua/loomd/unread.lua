-- Which runs have something that the user has not seen: a turn or the run has ended since the run was last in a window.
-- What was seen is kept in a file, so that it lasts; runs from before the first use count as seen.

local format = require("loomd.format")
local run_id = require("loomd.run_id")
local store = require("loomd.store")

local M = {}

-- More are not kept; IDs sort by time, so the oldest go.
M.max_seen = 2000

---@type { since: integer, seen: table<string, integer> }?
local state

local function path()
  return vim.fs.joinpath(vim.fn.stdpath("state"), "loomd", "seen.json")
end

local function read()
  local known = require("loomd.private_file").read_json(path())
  return known and type(known.since) == "number" and type(known.seen) == "table" and known or nil
end

local function load()
  state = state or read() or { since = format.now(), seen = {} }
  return state
end

local function save()
  -- Another Neovim may have written meanwhile.
  for id, seq in pairs((read() or { seen = {} }).seen) do
    state.seen[id] = math.max(seq, state.seen[id] or 0)
  end
  local ids = vim.tbl_keys(state.seen)
  if #ids > M.max_seen then
    table.sort(ids, function(a, b)
      return run_id.bare(a) < run_id.bare(b)
    end)
    for index = 1, #ids - M.max_seen do
      state.seen[ids[index]] = nil
    end
  end
  require("loomd.private_file").write(path(), vim.json.encode({ since = state.since, seen = next(state.seen) and state.seen or vim.empty_dict() }))
end

---@param run loomd.Run
function M.is_unread(run)
  local known = load()
  if not store.is_final(run) and run.state ~= "idle" then
    return false
  end
  local seen = known.seen[run.id]
  return seen and run.lastSeq > seen or not seen and (run.endedAt or run.createdAt) >= known.since
end

---@param run loomd.Run
function M.mark_seen(run)
  local known = load()
  if M.is_unread(run) then
    known.seen[run.id] = run.lastSeq
    save()
    store.emit("runs", run.id, run, run.state)
  end
end

-- Whether a window of this tab page shows the run itself.
local function is_shown(run)
  return vim.iter(vim.api.nvim_tabpage_list_wins(0)):any(function(window)
    return vim.b[vim.api.nvim_win_get_buf(window)].loomd_run == run.id
  end)
end

function M.start()
  load()
  store.subscribe("runs", function(_, run)
    if run and M.is_unread(run) and is_shown(run) then
      M.mark_seen(run)
    end
  end)
  vim.api.nvim_create_autocmd({ "BufWinEnter", "WinEnter" }, {
    group = vim.api.nvim_create_augroup("loomd_unread", { clear = true }),
    callback = function(args)
      local run = store.runs[vim.b[args.buf].loomd_run or ""]
      if run then
        M.mark_seen(run)
      end
    end,
  })
end

return M
