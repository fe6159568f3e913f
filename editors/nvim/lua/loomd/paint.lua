-- Repaints at most once per interval, however often they are asked for: what keeps a flood of notifications from freezing the editor.

local M = {}

---@class loomd.Painter
---@field count integer how often it has painted
local Painter = {}
Painter.__index = Painter

-- `paint` is called on the main loop: at once if the last time is long enough ago, else when the interval is over.
---@param paint fun()
---@param interval_ms? integer
---@return loomd.Painter
function M.new(paint, interval_ms)
  return setmetatable({ paint = paint, interval = interval_ms or require("loomd.config").get().repaint_ms, count = 0, last = 0 }, Painter)
end

function Painter:ask()
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
      self.paint()
      self.last = vim.uv.now()
    end)
  )
end

function Painter:stop()
  self.stopped = true
  if self.timer then
    self.timer:close()
    self.timer = nil
  end
end

return M
