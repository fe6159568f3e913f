-- The permission rules, loomd://rules, and those of a host, loomd://NAME/rules: one line for each. A key removes the one
-- under the cursor, after a question.

local config = require("loomd.config")
local format = require("loomd.format")
local rules = require("loomd.rules")
local window = require("loomd.window")

local M = {}

---@type table<integer, { host?: string, rules: loomd.Rule[] }>
local shown = {}

---@param buffer integer
local function load(buffer)
  local host = shown[buffer].host
  rules.list(function(list, problem)
    if not vim.api.nvim_buf_is_valid(buffer) then
      return
    end
    shown[buffer].rules = list
    local lines = vim.tbl_map(function(rule)
      return " " .. rules.text(rule)
    end, list)
    if #lines == 0 then
      lines = problem and format.wrap(problem, vim.o.columns - 4) or { " No rules. A in a permission request adds one." }
    end
    vim.bo[buffer].modifiable = true
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    vim.bo[buffer].modifiable = false
    vim.bo[buffer].modified = false
  end, host)
end

local function remove()
  local buffer = vim.api.nvim_get_current_buf()
  local rule = shown[buffer].rules[vim.api.nvim_win_get_cursor(0)[1]]
  if not rule then
    return
  end
  vim.ui.select({ "Cancel", "Remove" }, { prompt = "Remove the rule? " .. rules.text(rule) }, function(choice)
    if choice == "Remove" then
      rules.remove(rule, function()
        load(buffer)
      end, shown[buffer].host)
    end
  end)
end

-- Opens the list of the rules.
---@param host? string
function M.open(host)
  local buffer, is_new = window.buffer(host and ("loomd://%s/rules"):format(host) or "loomd://rules", "loomd-rules")
  shown[buffer] = { host = host, rules = {} }
  if is_new then
    vim.bo[buffer].buftype = "nofile"
    vim.keymap.set("n", "x", remove, { buffer = buffer, nowait = true, desc = "loomd: remove the rule" })
    vim.keymap.set("n", "q", window.close, { buffer = buffer, nowait = true, desc = "loomd: close the window" })
  end
  window.show(buffer, config.get().split, { wrap = false, number = false, relativenumber = false, cursorline = true, winbar = (" Permission rules%s · x remove · q close"):format(host and " of " .. host or ""), max_height = 0.5 })
  load(buffer)
end

return M
