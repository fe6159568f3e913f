-- Completes mentions (`@`) and the agent's own commands (`/`) in the window for a prompt.

local context = require("loomd.context")

local M = {}

M.max_files = 200
M.files_timeout_ms = 3000

---@param source? loomd.Source
local function special_mentions(source)
  local mentions = {}
  if source then
    local name = vim.fs.basename(source.path)
    mentions[1] = { word = "@file", menu = name }
    if source.selection then
      mentions[#mentions + 1] = { word = "@selection", menu = ("%s, lines %d-%d"):format(name, source.selection.first, source.selection.last) }
    end
    local count = #vim.diagnostic.get(source.buffer)
    if count > 0 then
      mentions[#mentions + 1] = { word = "@diagnostics", menu = ("%d in %s"):format(count, name) }
    end
    if #vim.lsp.get_clients({ bufnr = source.buffer, method = "textDocument/documentSymbol" }) > 0 then
      mentions[#mentions + 1] = { word = "@symbols", menu = name }
    end
  end
  return mentions
end

-- The files of a folder: those that git knows or would add, else all.
---@param cwd string
---@return string[]
function M.files(cwd)
  local ok, done = pcall(function()
    -- The folder is that of a run, so its configuration starts no program here.
    return vim.system({ "git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard" }, { cwd = cwd }):wait(M.files_timeout_ms)
  end)
  if ok and done.code == 0 then
    return vim.split(done.stdout, "\0", { trimempty = true })
  end
  local files = {}
  for name, kind in vim.fs.dir(cwd, { depth = 4 }) do
    if kind == "file" and #files < 10000 then
      files[#files + 1] = name
    end
  end
  return files
end

---@class loomd.PromptContext
---@field source? loomd.Source
---@field cwd string
---@field host? string the host on which the agent works
---@field commands loomd.AgentCommand[]
---@field run? loomd.Run
---@field files? string[] read once
---@field mentions? string those for which `shown` was made
---@field shown? table[] the lines below the text

---@type table<integer, loomd.PromptContext>
local contexts = {}

---@param buffer integer
---@param of_prompt? loomd.PromptContext
function M.set_context(buffer, of_prompt)
  contexts[buffer] = of_prompt
end

-- What completes a word that begins with `@` or `/`.
---@param of_prompt loomd.PromptContext
---@param base string
---@return table[] items as `complete()` takes them
function M.items(of_prompt, base)
  local items = {}
  if vim.startswith(base, "/") then
    for _, command in ipairs(of_prompt.commands) do
      if vim.startswith("/" .. command.name, base) then
        items[#items + 1] = { word = "/" .. command.name, abbr = ("/%s %s"):format(command.name, command.hint or ""), menu = command.description }
      end
    end
    return items
  end
  for _, each in ipairs(special_mentions(of_prompt.source)) do
    if vim.startswith(each.word, base) then
      items[#items + 1] = each
    end
  end
  local typed = base:sub(2):gsub('^"', ""):lower()
  of_prompt.files = of_prompt.files or M.files(of_prompt.cwd)
  local inside = {}
  for _, path in ipairs(of_prompt.files) do
    local at = path:lower():find(typed, 1, true)
    if at then
      table.insert(at == 1 and items or inside, { word = context.quote(path), menu = "file" })
    end
    if #items + #inside >= M.max_files then
      break
    end
  end
  return vim.list_extend(items, inside)
end

-- Where the word that can be completed begins, as a byte column from 0: a mention anywhere, a command at the very beginning.
---@param line string before the cursor
---@param row integer
---@return integer?
function M.start_of(line, row)
  if row == 1 and line:find("^/%S*$") then
    return 0
  end
  local at = line:find('@"[^"]*$') or line:find('@[^%s"]*$')
  return at and (at == 1 or line:sub(at - 1, at - 1):find("[%s%(]")) and at - 1 or nil
end

-- 'completefunc' of the window for a prompt.
function M.complete(find_start, base)
  local of_prompt = contexts[vim.api.nvim_get_current_buf()]
  if find_start == 1 then
    local cursor = vim.api.nvim_win_get_cursor(0)
    return of_prompt and M.start_of(vim.api.nvim_get_current_line():sub(1, cursor[2]), cursor[1]) or -3
  end
  return of_prompt and M.items(of_prompt, base) or {}
end

-- Maps <Tab>, and shows the completions while a mention or a command is typed.
---@param buffer integer
function M.attach(buffer)
  vim.bo[buffer].completefunc = "v:lua.require'loomd.complete'.complete"
  local function can_complete()
    local cursor = vim.api.nvim_win_get_cursor(0)
    return M.start_of(vim.api.nvim_get_current_line():sub(1, cursor[2]), cursor[1]) ~= nil
  end
  vim.keymap.set("i", "<Tab>", function()
    return vim.fn.pumvisible() == 1 and "<C-n>" or can_complete() and "<C-x><C-u>" or "<Tab>"
  end, { buffer = buffer, expr = true, desc = "loomd: complete" })
  -- Before 0.11 'completeopt' is global, and with the user's value a menu may insert its first entry.
  if vim.fn.has("nvim-0.11") == 1 then
    vim.bo[buffer].completeopt = "menuone,noinsert,noselect"
    vim.api.nvim_create_autocmd("TextChangedI", {
      buffer = buffer,
      callback = function()
        if vim.fn.pumvisible() == 0 and can_complete() then
          vim.api.nvim_feedkeys(vim.keycode("<C-x><C-u>"), "n", false)
        end
      end,
    })
  end
end

return M
