-- Windows and buffers of the views. A buffer is shown in the window that has it, else in a split of the user's
-- choice. The focus moves only when the user requests it.

local M = {}

-- Returns the buffer of that name, and creates it if necessary.
---@param name string
---@param filetype string
---@return integer buffer, boolean is_new
function M.buffer(name, filetype)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_valid(buffer) and vim.api.nvim_buf_get_name(buffer) == name then
      if vim.api.nvim_buf_is_loaded(buffer) and vim.b[buffer].loomd then
        return buffer, false
      end
      vim.api.nvim_buf_delete(buffer, { force = true })
    end
  end
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_name(buffer, name)
  vim.b[buffer].loomd = true
  vim.bo[buffer].bufhidden = "hide"
  vim.bo[buffer].swapfile = false
  if filetype ~= "" then
    vim.bo[buffer].filetype = filetype
  end
  return buffer, true
end

---@param buffer integer
---@return integer? the window of this tab page that shows the buffer
function M.find(buffer)
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    if vim.api.nvim_win_get_buf(window) == buffer then
      return window
    end
  end
end

-- Sets options of the window, only while it shows this buffer.
---@param window integer
---@param options table<string, any>
function M.set_options(window, options)
  for name, value in pairs(options) do
    vim.api.nvim_set_option_value(name, value, { scope = "local", win = window })
  end
end

-- Shows the buffer and moves the focus there.
---@param buffer integer
---@param split string
---@param options? table<string, any> options of the window; `max_height` is the part of the screen's height that it may have
---@return integer window
function M.show(buffer, split, options)
  local window = M.find(buffer)
  if window then
    vim.api.nvim_set_current_win(window)
  else
    vim.cmd(split)
    window = vim.api.nvim_get_current_win()
    vim.api.nvim_win_set_buf(window, buffer)
  end
  options = vim.deepcopy(options or {})
  local max_height = options.max_height
  options.max_height = nil
  if max_height and vim.fn.winlayout()[1] == "col" then
    -- On a small screen the files that the user edits need the lines more.
    local height = math.max(8, math.floor(vim.o.lines * max_height))
    if vim.api.nvim_win_get_height(window) > height then
      vim.api.nvim_win_set_height(window, height)
    end
  end
  M.set_options(window, options)
  return window
end

-- Runs a command in a terminal, in a window of its own.
---@param command string[]
---@param options { cwd?: string, env: table<string, string> }
---@return integer buffer
function M.terminal(command, options)
  vim.cmd(require("loomd.config").get().output_split)
  local buffer = vim.api.nvim_create_buf(true, false)
  vim.api.nvim_win_set_buf(0, buffer)
  -- Next to the list and a transcript, a new split would have only a few lines, too few to work with a program.
  local height = math.floor(vim.o.lines / 2)
  if vim.api.nvim_win_get_height(0) < height then
    vim.api.nvim_win_set_height(0, height)
  end
  local job = { cwd = options.cwd or vim.fn.getcwd(), env = next(options.env) and options.env or nil }
  if vim.fn.has("nvim-0.11") == 1 then
    vim.fn.jobstart(command, vim.tbl_extend("error", job, { term = true }))
  else
    vim.fn.termopen(command, job)
  end
  vim.cmd.startinsert()
  return buffer
end

-- Closes a window of this plugin. If it is the last window, it shows an empty buffer instead.
function M.close()
  local window = vim.api.nvim_get_current_win()
  local floating = vim.api.nvim_win_get_config(window).relative ~= ""
  if #vim.api.nvim_tabpage_list_wins(0) == 1 and #vim.api.nvim_list_tabpages() == 1 and not floating then
    vim.cmd.enew()
  else
    pcall(vim.api.nvim_win_close, window, true)
  end
end

-- The first text that fits into the border of a floating window.
---@param texts string[]
---@return string
function M.fitting(texts)
  return vim.iter(texts):find(function(text)
    return vim.fn.strdisplaywidth(text) <= vim.o.columns - 10
  end) or ""
end

-- Shows lines in a floating window that `q` and Escape close.
---@param lines string[]
---@param title string
---@param options? { enter?: boolean, footer?: string|string[] the first that fits, width?: integer, height?: integer } `width` and `height` are the least ones
---@return integer buffer, integer window
function M.float(lines, title, options)
  options = options or {}
  local footer = type(options.footer) == "table" and M.fitting(options.footer --[[@as string[] ]]) or options.footer
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.bo[buffer].bufhidden = "wipe"
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  local widest = 30
  for _, line in ipairs(lines) do
    widest = math.max(widest, vim.fn.strdisplaywidth(line))
  end
  widest = math.max(widest, vim.fn.strdisplaywidth(footer or "") + 2, options.width or 0)
  local width = math.min(widest + 1, math.max(20, vim.o.columns - 6))
  local height = 0
  for _, line in ipairs(lines) do
    height = height + math.max(1, math.ceil(vim.fn.strdisplaywidth(line) / width))
  end
  height = math.max(height, options.height or 0)
  local available = math.max(1, vim.o.lines - vim.o.cmdheight - 3)
  if height > available then
    title = title .. " · scroll for more"
    height = available
  end
  local window = vim.api.nvim_open_win(buffer, options.enter ~= false, {
    relative = "editor",
    row = math.max(0, math.floor((vim.o.lines - vim.o.cmdheight - height - 2) / 2)),
    col = math.max(0, math.floor((vim.o.columns - width - 2) / 2)),
    width = width,
    height = height,
    style = "minimal",
    border = "rounded",
    title = " " .. title .. " ",
    footer = footer and (" " .. footer .. " ") or nil,
    footer_pos = footer and "right" or nil,
  })
  M.set_options(window, { wrap = true, linebreak = true, breakindent = true, winhighlight = "NormalFloat:Normal" })
  for _, key in ipairs({ "q", "<Esc>" }) do
    vim.keymap.set("n", key, M.close, { buffer = buffer, nowait = true, desc = "close" })
  end
  return buffer, window
end

return M
