-- Opens the view that fits a run: an agent's transcript, else its output.

local store = require("loomd.store")

local M = {}

-- What a view leaves out of what it shows, by run; the bar says it.
---@type table<string, string>
M.left_out = {}

---@param run loomd.Run
---@return integer buffer
function M.open(run)
  if store.has_transcript(run) then
    return require("loomd.view.transcript").open(run)
  end
  return require("loomd.view.output").open(run)
end

-- The bar above a run's window: what it is and where it stands, in words.
---@param id string
---@return string in the form of 'winbar'
function M.bar(id)
  local words = require("loomd.words")
  local run = store.runs[id]
  if not run then
    return " this run is gone"
  end
  local state = words.state(run)
  local outcome = words.outcome(run)
  local tail = store.is_waiting(run) and "K shows what it asks" or outcome
  if M.left_out[id] then
    tail = M.left_out[id] .. " left out, gA has all" .. (tail ~= "" and " · " .. tail or "")
  end
  -- A bar that is too long would be cut at its beginning, where the state is.
  local width = vim.api.nvim_win_get_width(0)
  local first = (" %s %s "):format(state.icon, state.word)
  local last = (" %s  ? keys "):format(words.short(run.id))
  local room = width - vim.fn.strdisplaywidth(first .. words.elapsed(run) .. last) - 5
  tail = words.fit(tail, math.max(0, room - 8))
  local title = words.fit(words.title(run), math.min(80, room - vim.fn.strdisplaywidth(tail)))
  return ("%%#%s#%s%%* %s  %s  %s%%=%s"):format(state.group, first, title:gsub("%%", "%%%%"), words.elapsed(run), tail:gsub("%%", "%%%%"), last)
end

-- Options of a window that shows a run, wherever the buffer is shown.
---@param buffer integer
---@param id string
---@param options table<string, any>
function M.dress(buffer, id, options)
  options = vim.tbl_extend("keep", options, {
    winbar = ("%%{%%v:lua.require'loomd.view'.bar('%s')%%}"):format(id),
    number = false,
    relativenumber = false,
    signcolumn = "no",
    spell = false,
    list = false,
  })
  require("loomd.view.clock").watch(buffer)
  vim.api.nvim_create_autocmd("BufWinEnter", {
    buffer = buffer,
    callback = function()
      require("loomd.window").set(0, options)
    end,
  })
  return options
end

-- 0.12 has a sign of its own for a buffer in which something is under way.
---@param buffer integer
---@param run loomd.Run
function M.busy(buffer, run)
  if vim.fn.has("nvim-0.12") == 1 and vim.api.nvim_buf_is_valid(buffer) then
    pcall(function()
      vim.bo[buffer].busy = (store.is_final(run) or run.state == "idle") and 0 or 1
    end)
  end
end

return M
