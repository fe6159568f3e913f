-- One clock for all views: elapsed times and last lines move while somebody looks; otherwise nothing is asked and nothing is painted.

local M = {}

M.interval_ms = 1000

---@type table<integer, fun()>
local watched = {}
local timer

local function tick()
  local seen = false
  for buffer, act in pairs(watched) do
    if not vim.api.nvim_buf_is_valid(buffer) then
      watched[buffer] = nil
    elseif #vim.fn.win_findbuf(buffer) > 0 then
      seen = true
      act()
    end
  end
  if seen then
    -- The bars above the windows of runs have times in them.
    vim.cmd.redrawstatus({ bang = true })
  end
end

-- Calls `act` each second while the buffer is in a window.
---@param buffer integer
---@param act? fun()
function M.watch(buffer, act)
  watched[buffer] = act or function() end
  if not timer then
    timer = assert(vim.uv.new_timer())
    timer:start(M.interval_ms, M.interval_ms, vim.schedule_wrap(tick))
  end
end

return M
