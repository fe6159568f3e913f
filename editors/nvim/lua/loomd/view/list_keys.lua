-- Keys of the lists that are about several runs: filter, group, select, and what is done with all that are selected.

local actions = require("loomd.actions")
local config = require("loomd.config")
local keys = require("loomd.keys")
local notify = require("loomd.notify")
local store = require("loomd.store")
local unread = require("loomd.unread")

local M = {}

---@param view loomd.ListView
---@param text? string
local function set_filter(view, text)
  view.filter = text and vim.trim(text) ~= "" and vim.trim(text) or nil
  view.placed = false
  view.throttle:request()
end

---@param view loomd.ListView
local function ask_filter(view)
  local options = { prompt = #config.hosts() > 0 and "Filter (words, state:, agent:, in:, host:): " or "Filter (words, state:, agent:, in:): ", default = view.filter, completion = "customlist,v:lua.require'loomd.filter'.complete" }
  vim.ui.input(options, function(text)
    if text then
      set_filter(view, text)
    end
  end)
end

---@param view loomd.ListView
local function next_group(view)
  local following = { state = "folder", folder = "day" }
  view.group = following[view.group or "state"]
  notify.show("Grouped by " .. (view.group or "state"))
  view.throttle:request()
end

-- Selects the runs of these lines, or no longer if all of them are.
---@param view loomd.ListView
local function toggle(view, first, last)
  local ids, all = {}, true
  for row = first, last do
    local id = view.rows[row]
    if id then
      ids[#ids + 1] = id
      all = all and view.marked[id] or false
    end
  end
  for _, id in ipairs(ids) do
    view.marked[id] = not all or nil
  end
  view.throttle:request()
end

---@param view loomd.ListView
---@return loomd.Run[] the selected runs, the newest first
function M.selected(view)
  local runs = {}
  for id in vim.spairs(view.marked) do
    table.insert(runs, 1, store.runs[id])
  end
  return runs
end

---@param question string
---@param answer string
local function confirm(question, answer, done)
  vim.ui.select({ "Cancel", answer }, { prompt = question }, function(choice)
    if choice == answer then
      done()
    end
  end)
end

-- What the keys do with several runs.
---@type table<string, fun(view: loomd.ListView, runs: loomd.Run[])>
local with_selected = {
  x = function(view, runs)
    local live = vim.tbl_filter(function(run)
      return not store.is_final(run)
    end, runs)
    confirm(("End %d of %d selected runs?"):format(#live, #runs), "End", function()
      vim.iter(live):each(actions.cancel)
      view.marked = {}
    end)
  end,
  X = function(view, runs)
    local ended = vim.tbl_filter(store.is_final, runs)
    confirm(("Delete %d of %d selected runs and their logs?"):format(#ended, #runs), "Delete", function()
      for _, run in ipairs(ended) do
        actions.delete(run, true)
      end
      view.marked = {}
    end)
  end,
  E = function(view, runs)
    require("loomd.export").to_folder(runs, function()
      view.marked = {}
      view.throttle:request()
    end)
  end,
}

-- The keys of a list; those of a run act on all that are selected.
---@param view loomd.ListView
---@return loomd.Key[]
function M.of(view)
  local found = {
    { key = "f", desc = "filter by words, state:, agent:, in:", action = function()
      ask_filter(view)
    end },
    { key = "F", desc = "clear the filter", action = function()
      set_filter(view)
    end },
    { key = "gb", desc = "group by state, folder or day", action = function()
      next_group(view)
    end },
    { key = "m", desc = "select, for x, X and E", action = function()
      local row = vim.api.nvim_win_get_cursor(0)[1]
      toggle(view, row, row)
      pcall(vim.cmd.normal, { "j", bang = true })
    end },
    { key = "u", desc = "select none", action = function()
      view.marked = {}
      view.throttle:request()
    end },
    { key = "gR", desc = "mark all as read", action = function()
      vim.iter(vim.tbl_values(store.runs)):each(unread.mark_seen)
    end },
  }
  for _, of_run in ipairs(keys.run_keys) do
    local action = with_selected[of_run.key]
    if action then
      found[#found + 1] = { key = of_run.key, desc = of_run.desc, action = function()
        local runs = M.selected(view)
        if #runs > 0 then
          action(view, runs)
        else
          of_run.action()
        end
      end }
    end
  end
  return found
end

---@param view loomd.ListView
function M.map_visual(view)
  vim.keymap.set("x", "m", function()
    local first, last = vim.fn.line("v"), vim.fn.line(".")
    toggle(view, math.min(first, last), math.max(first, last))
    vim.api.nvim_feedkeys(vim.keycode("<Esc>"), "nx", false)
  end, { buffer = view.buffer, nowait = true, desc = "loomd: select" })
end

return M
