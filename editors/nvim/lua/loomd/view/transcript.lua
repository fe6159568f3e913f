-- An agent's transcript in a buffer, loomd://run/ID: markdown to read, tool calls folded, live. Windows whose cursor is on the last line follow; others stay.

local config = require("loomd.config")
local follow = require("loomd.follow")
local keys = require("loomd.keys")
local paint = require("loomd.paint")
local store = require("loomd.store")
local toolcall = require("loomd.toolcall")
local transcript = require("loomd.transcript")
local window = require("loomd.window")
local words = require("loomd.words")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_transcript")

---@class loomd.TranscriptView
---@field run_id string
---@field buffer integer
---@field model loomd.Transcript
---@field painter loomd.Painter
---@field follower loomd.Follower
---@field levels (string|integer)[] fold level of each line
---@field live boolean the backlog is behind us

---@type table<string, loomd.TranscriptView>
local views = {}
---@type table<integer, loomd.TranscriptView>
local by_buffer = {}

-- Neovim asks for levels while lines are being replaced, so this must be true before the buffer is.
---@param view loomd.TranscriptView
local function set_levels(view)
  local levels, row = {}, 0
  for _, block in ipairs(view.model.blocks) do
    local count = block.shown and #block.shown or 0
    block.first = row
    for index = 1, count do
      row = row + 1
      -- The empty line at the end of a block stays visible between folds.
      levels[row] = block.folded and count > 2 and (index == 1 and ">1" or index == count and 0 or 1) or 0
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
  local row = vim.v.foldstart - 1
  for _, block in ipairs(view and view.model.blocks or {}) do
    if block.first == row and block.shown and #block.shown > 0 then
      local group = block.marks[1] and block.marks[1].group or "LoomdTool"
      return { { (require("loomd.toolblock").summary(block):gsub("^### ", "▸ ")), group } }
    end
  end
  return vim.fn.getline(vim.v.foldstart)
end

---@param view loomd.TranscriptView
local function mark(view, block)
  vim.api.nvim_buf_clear_namespace(view.buffer, namespace, block.first, block.first + #block.shown)
  if block.shown[1] and block.shown[1]:find("^### ") then
    vim.api.nvim_buf_set_extmark(view.buffer, namespace, block.first, 0, { end_col = 4, conceal = "" })
  end
  for _, each in ipairs(block.marks) do
    local row = block.first + each.row
    vim.api.nvim_buf_set_extmark(view.buffer, namespace, row, 0, { end_row = row + 1, hl_group = each.group, strict = false, priority = 150 })
  end
  for _, diff in ipairs(block.diffs) do
    toolcall.highlight_diff(view.buffer, namespace, block.first + diff.row, diff.lines)
  end
end

-- Neovim asks again only for the lines that were replaced, and 0.12 then ends a fold too early when its heading alone was.
---@param view loomd.TranscriptView
---@param block loomd.Block
local function refold(view, block)
  if not block.folded or not vim._foldupdate then
    return
  end
  for _, win in ipairs(vim.fn.win_findbuf(view.buffer)) do
    vim._foldupdate(win, block.first, block.first + #block.shown)
  end
end

-- Writes only the lines that differ, so that open folds stay open and marks stay where they are.
---@param view loomd.TranscriptView
---@param block loomd.Block
local function write(view, block)
  local old, new = block.shown or {}, transcript.render(block)
  local head = 0
  while head < #old and head < #new and old[head + 1] == new[head + 1] do
    head = head + 1
  end
  local tail = 0
  while tail < #old - head and tail < #new - head and old[#old - tail] == new[#new - tail] do
    tail = tail + 1
  end
  block.shown = vim.list_slice(new, 1, #new)
  set_levels(view)
  vim.api.nvim_buf_set_lines(view.buffer, block.first + head, block.first + #old - tail, false, vim.list_slice(new, head + 1, #new - tail))
  refold(view, block)
  mark(view, block)
  block.dirty = false
end

-- The oldest blocks go when there are too many lines; the log keeps them.
---@param view loomd.TranscriptView
local function cap(view)
  local blocks, limit = view.model.blocks, config.get().max_lines
  if vim.api.nvim_buf_line_count(view.buffer) <= limit then
    return
  end
  local total, gone, lines = #view.levels, 0, 0
  while gone < #blocks - 1 and total - lines > limit * 0.9 do
    gone = gone + 1
    lines = lines + #(blocks[gone].shown or {})
  end
  if gone == 0 then
    return
  end
  local kept = vim.list_slice(blocks, gone + 1)
  for index = 1, gone do
    blocks[index].gone = true
  end
  view.model.blocks = kept
  view.left_out = true
  set_levels(view)
  vim.api.nvim_buf_set_lines(view.buffer, 0, lines, false, {})
end

---@param view loomd.TranscriptView
local function repaint(view)
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
  -- From below, so that rows above stay true.
  if view.first_paint then
    -- A backlog is written in one go.
    view.first_paint = false
    local lines = {}
    for _, block in ipairs(view.model.blocks) do
      block.shown = vim.list_slice(transcript.render(block), 1)
      vim.list_extend(lines, block.shown)
    end
    set_levels(view)
    vim.api.nvim_buf_set_lines(view.buffer, 0, -1, false, lines)
    for _, block in ipairs(view.model.blocks) do
      mark(view, block)
      block.dirty = false
    end
  else
    for _, block in ipairs(view.model.blocks) do
      if block.dirty then
        write(view, block)
      end
    end
  end
  cap(view)
  vim.bo[view.buffer].modifiable = false
  vim.bo[view.buffer].modified = false
  local count = vim.api.nvim_buf_line_count(view.buffer)
  for _, win in ipairs(followers) do
    pcall(vim.api.nvim_win_set_cursor, win, { count, 0 })
    -- A cursor that was set from outside does not scroll a window by itself.
    vim.api.nvim_win_call(win, function()
      vim.cmd("normal! zb")
    end)
  end
end

local dress = {
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
  by_buffer[view.buffer] = nil
  view.painter:stop()
  view.follower:close()
  view.stop()
end

---@param view loomd.TranscriptView
local function begin(view)
  view.model.on_files = function(paths)
    local run = store.runs[view.run_id]
    if view.live and run then
      require("loomd.watch").files_changed(run, paths)
    end
  end
  view.follower = follow.open(view.run_id, {
    kinds = { "update" },
    backlog_bytes = config.get().backlog_bytes,
    on_begin = function(at_start)
      if not at_start then
        view.model:notice({ message = "The beginning is not shown; gA shows everything." })
      end
    end,
    on_entries = function(entries)
      for _, entry in ipairs(entries) do
        view.model:take(entry)
      end
      view.live = true
      view.painter:ask()
    end,
    on_failure = function(failure)
      words.say(words.failure(failure, "transcript"), vim.log.levels.ERROR)
    end,
  })
  view.stop = store.on("runs", function(id, run)
    if id == view.run_id and run then
      require("loomd.view").busy(view.buffer, run)
    end
  end)
end

---@class loomd.TranscriptPlace
---@field seq integer what was said with this entry, or the first thing after it
---@field has fun(line: string): boolean what is looked for there

-- A hit is in what the agent wrote; what that means comes a few entries later.
local place_reach = 40

-- The line at which a place is.
---@param model loomd.Transcript
---@param near loomd.Block[]
---@param place loomd.TranscriptPlace
local function line_of(model, near, place)
  local first_line, row = {}, 1
  for _, block in ipairs(model.blocks) do
    first_line[block] = row
    row = row + #transcript.render(block)
  end
  for _, block in ipairs(near) do
    for index, line in ipairs(transcript.render(block)) do
      if place.has(line) then
        return first_line[block] + index - 1
      end
    end
  end
  return near[1] and first_line[near[1]] or 1
end

-- The whole log as a markdown file, page by page; the cursor goes to `place`.
---@param run loomd.Run
---@param done? fun(buffer: integer)
---@param place? loomd.TranscriptPlace
function M.whole(run, done, place)
  local model, near = transcript.new(), {}
  local server = require("loomd.server")
  local function page(after)
    server.request("run/read", { runId = run.id, afterSeq = after, kinds = { "update", "state", "permission" } }, function(failure, result)
      if failure then
        return words.say(words.failure(failure, "reading the transcript"), vim.log.levels.ERROR)
      end
      for _, entry in ipairs(result.entries) do
        model:take(entry)
        if place and entry.seq >= place.seq and entry.kind == "update" and #near < place_reach and near[#near] ~= model.touched then
          near[#near + 1] = model.touched
        end
      end
      if not result.atEnd and #result.entries > 0 then
        return page(result.nextAfterSeq)
      end
      local path = vim.fs.joinpath(vim.fn.stdpath("cache"), "loomd", words.short(run.id) .. ".md")
      vim.fn.mkdir(vim.fs.dirname(path), "p", tonumber("700", 8))
      vim.fn.writefile(model:all_lines(), path)
      local shown = window.of(vim.fn.bufadd(path))
      if shown then
        vim.api.nvim_set_current_win(shown)
      else
        vim.cmd(config.get().output_split)
      end
      vim.cmd("noswapfile view! " .. vim.fn.fnameescape(path))
      vim.bo.modifiable = false
      vim.b.loomd_run = run.id
      if place then
        vim.api.nvim_win_set_cursor(0, { line_of(model, near, place), 0 })
        vim.cmd("normal! zz")
      end
      if done then
        done(vim.api.nvim_get_current_buf())
      end
    end)
  end
  page(0)
end

-- Opens the transcript of a run, at its end, and goes there.
---@param run loomd.Run
---@return integer buffer
function M.open(run)
  local view = views[run.id]
  if view and vim.api.nvim_buf_is_valid(view.buffer) then
    window.show(view.buffer, config.get().output_split, view.dress)
    return view.buffer
  end
  local buffer = window.buffer("loomd://run/" .. run.id, "")
  view = { run_id = run.id, buffer = buffer, model = transcript.new(), levels = {}, first_paint = true, live = false }
  view.painter = paint.new(function()
    repaint(view)
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
    { key = "gA", what = "the whole transcript, as a file", act = function()
      M.whole(store.runs[run.id] or run)
    end },
    { key = "<CR>", what = "open or close the fold", act = function()
      pcall(vim.cmd.normal, { "za", bang = true })
    end },
  })
  vim.api.nvim_create_autocmd({ "BufWipeout", "BufDelete" }, {
    buffer = buffer,
    callback = function()
      close(view)
    end,
  })
  view.dress = require("loomd.view").dress(buffer, run.id, dress)
  window.show(buffer, config.get().output_split, view.dress)
  begin(view)
  return buffer
end

-- For tests.
---@param run_id string
---@return loomd.TranscriptView?
function M.of(run_id)
  return views[run_id]
end

return M
