-- Opens the view for a run: the transcript of an agent, else the output.

local store = require("loomd.store")

local M = {}

-- How much output the view of each run has skipped; the winbar shows it.
---@type table<string, string>
M.skipped = {}
-- The plan of each run whose transcript is open and whose turn runs; the winbar shows its step.
---@type table<string, loomd.Item>
M.plans = {}

---@param run loomd.Run
---@return integer buffer
function M.open(run)
  if run.hasTranscript then
    return require("loomd.view.transcript").open(run)
  end
  return require("loomd.view.output").open(run)
end

-- The step of the plan that is being done.
---@param id string
---@return string
local function plan_step(id)
  local plan, completed, now = M.plans[id], 0, nil
  for _, entry in ipairs(plan and plan.entries or {}) do
    completed = completed + (entry.status == "completed" and 1 or 0)
    now = now or entry.status == "in_progress" and entry.content or nil
  end
  return plan and ("plan %d/%d%s"):format(completed, #plan.entries, now and ": " .. require("loomd.format").one_line(now) or "") or ""
end

---@param id string
function M.show_plan(id)
  if M.plans[id] then
    require("loomd.window").float(require("loomd.draw").draw(M.plans[id], {}).lines, "Plan")
  else
    require("loomd.notify").show("No plan")
  end
end

-- The winbar of a run's window: its state, title, duration and ID; of an agent also its plan and how full its context is.
---@param id string
---@return string as 'winbar' expects it
function M.winbar(id)
  local format = require("loomd.format")
  local run = store.runs[id]
  if not run then
    return " Run deleted"
  end
  local state = format.state(run)
  local outcome = format.outcome(run)
  local parts = vim.tbl_filter(function(part)
    return part ~= ""
  end, { store.is_waiting(run) and "K: review request" or outcome, plan_step(id), format.context(run) })
  local tail = table.concat(parts, " · ")
  if M.skipped[id] then
    tail = M.skipped[id] .. " skipped, gA: full output" .. (tail ~= "" and " · " .. tail or "")
  end
  -- Neovim cuts a long winbar at its beginning, where the state is, so the parts are shortened here.
  local width = vim.api.nvim_win_get_width(0)
  local first = (" %s %s "):format(state.icon, state.word)
  local last = (" %s  g?: help "):format(format.short_id(run.id))
  local available = width - vim.fn.strdisplaywidth(first .. format.elapsed(run) .. last) - 5
  -- The key for the skipped output matters more than the title.
  tail = format.fit(tail, math.max(0, available - (M.skipped[id] and 0 or 8)))
  local title_width = math.min(80, available - vim.fn.strdisplaywidth(tail))
  local title = title_width >= 4 and format.fit(format.title(run), title_width) or ""
  return ("%%#%s#%s%%* %s  %s  %s%%=%s"):format(state.group, first, title:gsub("%%", "%%%%"), format.elapsed(run), tail:gsub("%%", "%%%%"), last)
end

-- Sets the options of every window that shows the run's buffer.
---@param buffer integer
---@param id string
---@param options table<string, any>
function M.set_window_options(buffer, id, options)
  options = vim.tbl_extend("keep", options, {
    winbar = ("%%{%%v:lua.require'loomd.view'.winbar('%s')%%}"):format(id),
    number = false,
    relativenumber = false,
    signcolumn = "no",
    spell = false,
    list = false,
  })
  require("loomd.view.refresh_timer").add(buffer)
  vim.api.nvim_create_autocmd("BufWinEnter", {
    buffer = buffer,
    callback = function()
      require("loomd.window").set_options(0, options)
    end,
  })
  return options
end

-- Neovim 0.12 marks a buffer as busy.
---@param buffer integer
---@param run loomd.Run
function M.set_busy(buffer, run)
  if vim.fn.has("nvim-0.12") == 1 and vim.api.nvim_buf_is_valid(buffer) then
    pcall(function()
      vim.bo[buffer].busy = (store.is_final(run) or run.state == "idle") and 0 or 1
    end)
  end
end

return M
