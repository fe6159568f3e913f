-- One timer for all views. It updates durations and last lines while a view is visible; otherwise nothing is
-- requested and nothing is drawn.

local M = {}

M.interval_ms = 1000

---@type table<integer, fun()>
local callbacks = {}
local timer

local function tick()
  local any_visible = false
  for buffer, callback in pairs(callbacks) do
    if not vim.api.nvim_buf_is_valid(buffer) then
      callbacks[buffer] = nil
    elseif #vim.fn.win_findbuf(buffer) > 0 then
      any_visible = true
      callback()
    end
  end
  if any_visible then
    -- The winbars of runs show durations.
    vim.cmd.redrawstatus({ bang = true })
  end
end

-- Calls `callback` every second while the buffer is in a window.
---@param buffer integer
---@param callback? fun()
function M.add(buffer, callback)
  callbacks[buffer] = callback or function() end
  if not timer then
    timer = assert(vim.uv.new_timer())
    timer:start(M.interval_ms, M.interval_ms, vim.schedule_wrap(tick))
  end
end

return M
