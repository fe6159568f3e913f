-- An agent's transcript in a buffer, loomd://ID/transcript: Markdown with folded tool calls, live. Windows whose cursor is
-- on the last line follow the end; others do not scroll.

local config = require("loomd.config")
local draw = require("loomd.draw")
local format = require("loomd.format")
local item_lists = require("loomd.items")
local keys = require("loomd.keys")
local notify = require("loomd.notify")
local store = require("loomd.store")
local throttle = require("loomd.throttle")
local window = require("loomd.window")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_transcript")

---@class loomd.TranscriptView
---@field run_id string
---@field provider string
---@field buffer integer
---@field items loomd.Items
---@field throttle loomd.Throttle
---@field levels (string|integer)[] fold level of each line
---@field max_lines integer
---@field head integer how many lines at the top say that there are earlier items
---@field repaint? boolean all lines are written at the next redraw

---@type table<string, loomd.TranscriptView>
local views = {}
---@type table<integer, loomd.TranscriptView>
local by_buffer = {}

-- Neovim evaluates 'foldexpr' while lines are being replaced, so the levels are set before the buffer. A tool call's
-- fold contains what its sub-agent did.
---@param view loomd.TranscriptView
local function set_levels(view)
  local levels, row, blocks = {}, view.head, view.items.blocks
  for index = 1, row do
    levels[index] = 0
  end
  for at, block in ipairs(blocks) do
    local count = block.shown and #block.shown or 0
    local below = blocks[at + 1] and blocks[at + 1].depth or 0
    local level = block.depth
    block.first = row
    if block.shown and block.drawing.folded and (count > 2 or below > level) then
      level = level + 1
    end
    for index = 1, count do
      row = row + 1
      -- The empty line at the end of a block stays visible between folds.
      levels[row] = index == count and math.min(level, below) or index == 1 and level > block.depth and ">" .. level or level
    end
  end
  view.levels = levels
end

function M.foldexpr()
  local view = by_buffer[vim.api.nvim_get_current_buf()]
  return view and view.levels[vim.v.lnum] or 0
end

function M.foldtext()
  local view = by_buffer[vim.api.nvim_get_current_buf()]
  for _, block in ipairs(view and view.items.blocks or {}) do
    if block.shown and block.first == vim.v.foldstart - 1 then
      return { { ("  "):rep(block.depth) .. draw.summary(block.drawing), block.drawing.marks[1].group } }
    end
  end
  return vim.fn.getline(vim.v.foldstart)
end

---@param view loomd.TranscriptView
---@param block loomd.Block
local function set_marks(view, block)
  vim.api.nvim_buf_clear_namespace(view.buffer, namespace, block.first, block.first + #block.shown)
  if block.drawing.heading then
    -- A bar that no text can have tells headings of this plugin from those in an agent's texts.
    local group = block.drawing.marks[1].group
    vim.api.nvim_buf_set_extmark(view.buffer, namespace, block.first, 0, {
      end_col = #block.shown[1]:match("^#+ "),
      conceal = "",
      virt_text = { { "▌ ", group } },
      virt_text_pos = "inline",
    })
  end
  for _, each in ipairs(block.drawing.marks) do
    local row = block.first + each.row
    vim.api.nvim_buf_set_extmark(view.buffer, namespace, row, 0, { end_row = row + 1, hl_group = each.group, strict = false, priority = 150 })
  end
  for _, diff in ipairs(block.drawing.diffs) do
    draw.highlight_diff(view.buffer, namespace, block.first + diff.row, diff.lines)
  end
end

-- Neovim updates folds only for the lines that were replaced. 0.12 then ends a fold too early if only its heading
-- was, and a fold around it does not grow.
---@param view loomd.TranscriptView
---@param block loomd.Block
local function refold(view, block)
  if not vim._foldupdate then
    return
  end
  local top = block
  while top.parent and top.parent.shown do
    top = top.parent
  end
  for _, win in ipairs(vim.fn.win_findbuf(view.buffer)) do
    vim._foldupdate(win, top.first, block.first + #block.shown)
  end
end

-- Writes only the lines that differ, so that open folds stay open and marks do not move.
---@param view loomd.TranscriptView
---@param index integer
local function write_block(view, index)
  local block = view.items.blocks[index]
  block.drawing, block.dirty = draw.draw_block(view.items, index, view.provider), false
  local old, new = block.shown or {}, block.drawing.lines
  local head = 0
  while head < #old and head < #new and old[head + 1] == new[head + 1] do
    head = head + 1
  end
  local tail = 0
  while tail < #old - head and tail < #new - head and old[#old - tail] == new[#new - tail] do
    tail = tail + 1
  end
  block.shown = new
  set_levels(view)
  vim.api.nvim_buf_set_lines(view.buffer, block.first + head, block.first + #old - tail, false, vim.list_slice(new, head + 1, #new - tail))
  refold(view, block)
  set_marks(view, block)
end

-- Writes all lines at once.
---@param view loomd.TranscriptView
local function write_all(view)
  view.repaint, view.head = false, 0
  local lines = {}
  for index, block in ipairs(view.items.blocks) do
    block.drawing, block.dirty = draw.draw_block(view.items, index, view.provider), false
    block.shown = block.drawing.lines
    vim.list_extend(lines, block.shown)
  end
  set_levels(view)
  vim.api.nvim_buf_set_lines(view.buffer, 0, -1, false, lines)
  for _, block in ipairs(view.items.blocks) do
    set_marks(view, block)
  end
end

-- Removes the oldest blocks when there are too many lines; the server keeps them.
---@param view loomd.TranscriptView
local function trim(view)
  local blocks, total, removed, lines = view.items.blocks, #view.levels, 0, 0
  while total > view.max_lines and removed < #blocks - 1 and (total - lines > view.max_lines * 0.9 or blocks[removed + 1].depth > 0) do
    removed = removed + 1
    lines = lines + #blocks[removed].shown
  end
  if removed > 0 then
    view.items:forget(removed)
    set_levels(view)
    vim.api.nvim_buf_set_lines(view.buffer, view.head, view.head + lines, false, {})
  end
end

-- The first line says that there are earlier items.
---@param view loomd.TranscriptView
local function write_head(view)
  local lines = view.items.prev and { "*Earlier items: M to load, gA for the full transcript*", "" } or {}
  if #lines ~= view.head then
    local old = view.head
    view.head = #lines
    set_levels(view)
    vim.api.nvim_buf_set_lines(view.buffer, 0, old, false, lines)
  end
end

-- Requests what is left out of blocks that are visible and not in a closed fold.
---@param view loomd.TranscriptView
local function complete_visible(view)
  for _, win in ipairs(vim.fn.win_findbuf(view.buffer)) do
    vim.api.nvim_win_call(win, function()
      local first, last = vim.fn.line("w0") - 1, vim.fn.line("w$") - 1
      for _, block in ipairs(view.items.blocks) do
        local is_visible = block.shown and block.drawing.omitted and block.first <= last and block.first + #block.shown > first
        if is_visible and vim.fn.foldclosed(block.first + 1) == -1 then
          view.items:complete(block)
        end
      end
    end)
  end
end

---@param view loomd.TranscriptView
local function redraw(view)
  if not vim.api.nvim_buf_is_valid(view.buffer) then
    return
  end
  local followers = {}
  local last = vim.api.nvim_buf_line_count(view.buffer)
  for _, win in ipairs(vim.fn.win_findbuf(view.buffer)) do
    if vim.api.nvim_win_get_cursor(win)[1] >= last then
      followers[#followers + 1] = win
    end
  end
  vim.bo[view.buffer].modifiable = true
  if view.repaint then
    write_all(view)
  else
    for index, block in ipairs(view.items.blocks) do
      if block.dirty then
        write_block(view, index)
      end
    end
  end
  trim(view)
  write_head(view)
  require("loomd.view").plans[view.run_id] = view.items.plan
  vim.bo[view.buffer].modifiable = false
  vim.bo[view.buffer].modified = false
  local count = vim.api.nvim_buf_line_count(view.buffer)
  for _, win in ipairs(followers) do
    pcall(vim.api.nvim_win_set_cursor, win, { count, 0 })
    -- Setting the cursor by the API does not scroll the window.
    vim.api.nvim_win_call(win, function()
      vim.cmd("normal! zb")
    end)
  end
  complete_visible(view)
end

---@param blocks loomd.Block[]
---@param row integer 0-based
---@return loomd.Block?
local function block_at(blocks, row)
  return vim.iter(blocks):find(function(block)
    return block.shown and block.first <= row and row < block.first + #block.shown
  end)
end

-- Loads the page before the first item. The text in the windows does not move.
---@param view loomd.TranscriptView
local function load_earlier(view)
  if not view.items.prev then
    return notify.show("This is the beginning")
  end
  view.items:load_earlier(function(before)
    local places = {}
    for _, win in ipairs(vim.fn.win_findbuf(view.buffer)) do
      local position = vim.api.nvim_win_call(win, vim.fn.winsaveview)
      local row = position.lnum - 1
      local block = block_at(before, row)
      if block then
        places[win] = { position = position, item = block.item.item, inside = row - block.first }
      end
    end
    view.repaint, view.max_lines = true, math.huge
    redraw(view)
    view.max_lines = math.max(config.get().max_lines, #view.levels * 2)
    for win, place in pairs(places) do
      local position, above = place.position, place.position.lnum - place.position.topline
      position.lnum = view.items.by_number[place.item].first + place.inside + 1
      position.topline = math.max(1, position.lnum - above)
      vim.api.nvim_win_call(win, function()
        vim.fn.winrestview(position)
      end)
    end
  end)
end

local window_options = {
  wrap = true,
  linebreak = true,
  breakindent = true,
  foldmethod = "expr",
  foldexpr = "v:lua.require'loomd.view.transcript'.foldexpr()",
  foldtext = "v:lua.require'loomd.view.transcript'.foldtext()",
  foldlevel = 0,
  foldenable = true,
  fillchars = "fold: ",
  conceallevel = 2,
  concealcursor = "nc",
}

---@param view loomd.TranscriptView
local function close(view)
  views[view.run_id] = nil
  require("loomd.view").plans[view.run_id] = nil
  by_buffer[view.buffer] = nil
  view.throttle:stop()
  view.items:close()
  view.stop()
end

---@param view loomd.TranscriptView
local function start_view(view)
  view.items = item_lists.open(view.run_id, {
    max_bytes = config.get().backlog_bytes,
    on_begin = function()
      for _, block in ipairs(view.items.blocks) do
        block.reloaded = true
      end
      view.repaint = true
      view.throttle:request()
    end,
    on_change = function()
      require("loomd.events").items_changed(store.runs[view.run_id], view.items.blocks)
      view.throttle:request()
    end,
    on_failure = function(failure)
      notify.show(format.failure(failure, "Could not read the transcript"), vim.log.levels.ERROR)
    end,
  })
  view.stop = store.subscribe("runs", function(id, run)
    if id == view.run_id and run then
      require("loomd.view").set_busy(view.buffer, run)
    end
  end)
end

-- Opens the transcript of a run, at its end, and moves the focus there.
---@param run loomd.Run
---@return integer buffer
function M.open(run)
  local view = views[run.id]
  if view and vim.api.nvim_buf_is_valid(view.buffer) then
    window.show(view.buffer, config.get().output_split, view.window_options)
    return view.buffer
  end
  local buffer = window.buffer(("loomd://%s/transcript"):format(format.short_id(run.id)), "")
  view = { run_id = run.id, provider = run.provider, buffer = buffer, levels = {}, head = 0, max_lines = config.get().max_lines }
  view.throttle = throttle.new(function()
    redraw(view)
  end)
  views[run.id] = view
  by_buffer[buffer] = view
  vim.b[buffer].loomd_run = run.id
  vim.bo[buffer].buftype = "nofile"
  vim.bo[buffer].modifiable = false
  vim.treesitter.language.register("markdown", "loomd-transcript")
  vim.bo[buffer].filetype = "loomd-transcript"
  if not pcall(vim.treesitter.start, buffer, "markdown") then
    vim.bo[buffer].syntax = "markdown"
  end
  keys.map(buffer, {
    { key = "M", desc = "load earlier items", action = function()
      load_earlier(view)
    end },
    { key = "gp", desc = "show the plan", action = function()
      require("loomd.view").show_plan(run.id)
    end },
    { key = "gB", desc = "take back the changes from this turn on", action = function()
      local block = block_at(view.items.blocks, vim.api.nvim_win_get_cursor(0)[1] - 1)
      require("loomd.rewind").rewind(store.runs[run.id], block and block.item.turn or 1)
    end },
    { key = "<CR>", desc = "toggle fold", action = function()
      pcall(vim.cmd.normal, { "za", bang = true })
      complete_visible(view)
    end },
  })
  vim.api.nvim_create_autocmd({ "BufWipeout", "BufDelete" }, {
    buffer = buffer,
    callback = function()
      close(view)
    end,
  })
  vim.api.nvim_create_autocmd({ "CursorMoved", "WinScrolled" }, {
    buffer = buffer,
    callback = function()
      complete_visible(view)
    end,
  })
  view.window_options = require("loomd.view").set_window_options(buffer, run.id, window_options)
  window.show(buffer, config.get().output_split, view.window_options)
  start_view(view)
  return buffer
end

-- The view of a run, for tests.
---@param run_id string
---@return loomd.TranscriptView?
function M.find(run_id)
  return views[run_id]
end

return M
