-- Shows messages to the user with vim.notify, each with the prefix "loomd: ".

local format = require("loomd.format")

local M = {}

---@param text string
---@param level? integer
function M.show(text, level)
  vim.notify("loomd: " .. text, level or vim.log.levels.INFO)
end

-- Shows a message that the user did not request, perhaps while they type. It is shortened to one line, of which `long` is
-- cut first, and the screen is redrawn before it, so that Neovim never shows a hit-enter prompt because of it.
---@param before string
---@param long string
---@param after string
---@param level? integer
function M.show_line(before, long, after, level)
  -- Redrawing can change v:echospace, for example when the focus has left a floating window.
  pcall(vim.cmd.redraw)
  local space = vim.v.echospace
  local available = space - vim.fn.strdisplaywidth("loomd: " .. before .. after) - 1
  local text = before .. format.fit(format.one_line(long), math.max(available, 12)) .. after
  M.show(format.fit(text, math.max(20, space - 8)), level)
end

return M
