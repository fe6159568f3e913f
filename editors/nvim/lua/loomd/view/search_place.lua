-- The output around a result of a search, loomd://search/place, with the line of the result marked.

local config = require("loomd.config")
local format = require("loomd.format")
local keys = require("loomd.keys")
local notify = require("loomd.notify")
local server = require("loomd.server")
local terminal_text = require("loomd.terminal_text")
local window = require("loomd.window")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_place")

-- Opens the output around a result, because the whole log may be too long.
---@param hit loomd.Hit
---@param match fun(text: string, from: integer): integer?
function M.open(hit, match)
  local around = 64 * 1024
  local from = math.max(0, hit.offset - around)
  server.request("run/text", { runId = hit.runId, stream = hit.stream, offset = from, maxBytes = 2 * around }, function(failure, result)
    if failure then
      return notify.show(format.failure(failure, "Could not search"), vim.log.levels.ERROR)
    end
    local raw_before = result.text:sub(1, math.max(0, hit.offset - result.offset))
    local before = terminal_text.plain(raw_before)
    local text = before .. terminal_text.plain(result.text:sub(#raw_before + 1))
    -- Invalid UTF-8 is longer in the text than in the log, so the nearest match after the offset is taken.
    local place = match(text, #before + 1) or #before + 1
    local buffer, is_new = window.buffer("loomd://search/place", "loomd-place")
    vim.b[buffer].loomd_run = hit.runId
    vim.bo[buffer].buftype = "nofile"
    if is_new then
      keys.map(buffer)
    end
    local lines = vim.split(text, "\n")
    vim.bo[buffer].modifiable = true
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    vim.bo[buffer].modifiable = false
    vim.bo[buffer].modified = false
    window.show(buffer, config.get().output_split, { number = false, relativenumber = false, list = false, spell = false })
    window.set_options(0, {
      winbar = (" %s · %s, bytes %d to %d of %s · q: close "):format(format.short_id(hit.runId), hit.stream, result.offset, result.nextOffset, format.size(result.totalBytes)),
    })
    local _, row = text:sub(1, place - 1):gsub("\n", "")
    local column = #text:sub(1, place - 1):match("[^\n]*$")
    vim.api.nvim_win_set_cursor(0, { row + 1, math.min(column, #lines[row + 1]) })
    vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
    vim.api.nvim_buf_set_extmark(buffer, namespace, row, 0, { end_row = row + 1, hl_group = "LoomdMatch", strict = false })
    vim.cmd("normal! zz")
  end)
end

return M
