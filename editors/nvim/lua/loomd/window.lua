-- Windows and buffers of the views: shown where they already are, else in a split of the user's choosing. The focus moves only when a person asked for it.

local M = {}

-- A buffer of ours by that name, made if need be.
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
---@return integer? window of this tab page that shows it
function M.of(buffer)
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    if vim.api.nvim_win_get_buf(window) == buffer then
      return window
    end
  end
end

-- Options of the window, only as long as it shows this buffer.
---@param window integer
---@param options table<string, any>
function M.set(window, options)
  for name, value in pairs(options) do
    vim.api.nvim_set_option_value(name, value, { scope = "local", win = window })
  end
end

-- Shows the buffer and goes there.
---@param buffer integer
---@param split string
---@param options? table<string, any> options of the window; `most` is the part of the screen's height that it may have
---@return integer window
function M.show(buffer, split, options)
  local window = M.of(buffer)
  if window then
    vim.api.nvim_set_current_win(window)
  else
    vim.cmd(split)
    window = vim.api.nvim_get_current_win()
    vim.api.nvim_win_set_buf(window, buffer)
  end
  options = vim.deepcopy(options or {})
  local most = options.most
  options.most = nil
  if most and vim.fn.winlayout()[1] == "col" then
    -- On a small screen the files that are edited need their lines more.
    local height = math.max(8, math.floor(vim.o.lines * most))
    if vim.api.nvim_win_get_height(window) > height then
      vim.api.nvim_win_set_height(window, height)
    end
  end
  M.set(window, options)
  return window
end

-- Closes a window of ours; the last window of all shows an empty buffer instead.
function M.close()
  local window = vim.api.nvim_get_current_win()
  local floating = vim.api.nvim_win_get_config(window).relative ~= ""
  if #vim.api.nvim_tabpage_list_wins(0) == 1 and #vim.api.nvim_list_tabpages() == 1 and not floating then
    vim.cmd.enew()
  else
    pcall(vim.api.nvim_win_close, window, true)
  end
end

-- A note in a float that any of these keys closes.
---@param lines string[]
---@param title string
---@return integer buffer, integer window
function M.float(lines, title, options)
  options = options or {}
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.bo[buffer].bufhidden = "wipe"
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  local widest = 30
  for _, line in ipairs(lines) do
    widest = math.max(widest, vim.fn.strdisplaywidth(line))
  end
  widest = math.max(widest, vim.fn.strdisplaywidth(options.footer or "") + 2)
  local width = math.min(widest + 1, math.max(20, vim.o.columns - 6))
  local height = 0
  for _, line in ipairs(lines) do
    height = height + math.max(1, math.ceil(vim.fn.strdisplaywidth(line) / width))
  end
  local room = math.max(1, vim.o.lines - vim.o.cmdheight - 3)
  if height > room then
    title = title .. " · scroll for more"
    height = room
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
    footer = options.footer and (" " .. options.footer .. " ") or nil,
    footer_pos = options.footer and "right" or nil,
  })
  M.set(window, { wrap = true, linebreak = true, breakindent = true, winhighlight = "NormalFloat:Normal" })
  for _, key in ipairs({ "q", "<Esc>" }) do
    vim.keymap.set("n", key, M.close, { buffer = buffer, nowait = true, desc = "close" })
  end
  return buffer, window
end

return M
