-- Limits how often a view is redrawn: at most once per interval, however often it is requested. So a flood of
-- notifications does not block the editor.

local M = {}

---@class loomd.Throttle
---@field count integer number of calls so far
local Throttle = {}
Throttle.__index = Throttle

-- `callback` is called on the main loop, at once if the last call is at least one interval ago, else when the
-- interval has passed.
---@param callback fun()
---@param interval_ms? integer
---@return loomd.Throttle
function M.new(callback, interval_ms)
  return setmetatable({ callback = callback, interval = interval_ms or require("loomd.config").get().repaint_ms, count = 0, last = 0 }, Throttle)
end

function Throttle:request()
  if self.timer or self.stopped then
    return
  end
  local wait = math.max(0, self.interval - (vim.uv.now() - self.last))
  self.timer = assert(vim.uv.new_timer())
  self.timer:start(
    wait,
    0,
    vim.schedule_wrap(function()
      if self.stopped then
        return
      end
      self.timer:close()
      self.timer = nil
      self.count = self.count + 1
      self.callback()
      self.last = vim.uv.now()
    end)
  )
end

function Throttle:stop()
  self.stopped = true
  if self.timer then
    self.timer:close()
    self.timer = nil
  end
end

return M
