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
  local tail = store.is_waiting(run) and "  K shows what it asks" or outcome ~= "" and ("  " .. outcome) or ""
  if M.left_out[id] then
    tail = tail .. "  · " .. M.left_out[id] .. " left out, gA shows everything"
  end
  return ("%%#%s# %s %s %%* %s  %s%s%%=%s  ? keys "):format(
    state.group,
    state.icon,
    state.word,
    words.fit(words.title(run), 60):gsub("%%", "%%%%"),
    words.elapsed(run),
    tail:gsub("%%", "%%%%"),
    words.short(run.id)
  )
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
