-- Asks for a prompt of several lines in a floating window. What was typed is kept when the window is closed, until it was
-- sent: it is there again the next time. Below the text stands what goes with it.

local complete = require("loomd.complete")
local context = require("loomd.context")
local format = require("loomd.format")
local run_id = require("loomd.run_id")
local window = require("loomd.window")

local M = {}

local namespace = vim.api.nvim_create_namespace("loomd_prompt")

---@type table<string, string[]>
local drafts = {}

---@param options loomd.PromptOptions
local function initial_lines(options)
  local lines = drafts[options.key] or vim.split(options.default or "", "\n")
  if options.range and not vim.tbl_contains(lines, "@selection") then
    -- A selection is added to a draft, which is kept.
    lines = vim.list_extend(lines[1] == "" and #lines == 1 and {} or vim.deepcopy(lines), { "@selection", "" })
  end
  return lines
end

-- Adds a text to what is kept for the next time.
---@param key string
---@param text string
function M.add_to_draft(key, text)
  local lines = drafts[key] or { "" }
  drafts[key] = vim.list_extend(lines[1] == "" and #lines == 1 and {} or vim.deepcopy(lines), vim.split(text, "\n"))
end

local function text_of(buffer)
  return vim.trim(table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n"))
end

-- Reads the mentions of a prompt; an image that its agent does not take is a problem.
---@param of_prompt loomd.PromptContext
local function read(of_prompt, text)
  local sent, attachments, problems = context.read(text, of_prompt.source, of_prompt.cwd)
  local takes = of_prompt.run and of_prompt.run.agent and of_prompt.run.agent.promptCapabilities
  for _, attachment in ipairs(takes and takes.image == false and attachments or {}) do
    if attachment.block.type == "image" then
      problems[#problems + 1] = ("%s: %s takes no images"):format(attachment.name, of_prompt.run.provider)
    end
  end
  for _, attachment in ipairs(of_prompt.host and attachments or {}) do
    if attachment.block.type == "resource_link" then
      problems[#problems + 1] = ("%s: %s cannot read files of this computer; mention lines of it (@PATH:1-99)"):format(attachment.name, of_prompt.host)
    end
  end
  return sent, attachments, problems
end

-- Shows below the text what goes with it, and what is not found. Files are read only when the mentions change.
---@param buffer integer
---@param of_prompt loomd.PromptContext
local function show_attachments(buffer, of_prompt)
  local mentions = {}
  for mention in text_of(buffer):gmatch('@"?[^"%s]+') do
    mentions[#mentions + 1] = mention
  end
  local key = table.concat(mentions, " ")
  if of_prompt.mentions ~= key then
    local _, attachments, problems = read(of_prompt, text_of(buffer))
    of_prompt.mentions, of_prompt.shown = key, {}
    for _, attachment in ipairs(attachments) do
      table.insert(of_prompt.shown, { { "+ " .. attachment.name, "LoomdKey" }, { " " .. attachment.detail, "LoomdQuiet" } })
    end
    for _, problem in ipairs(problems) do
      table.insert(of_prompt.shown, { { "! " .. problem, "LoomdFailed" } })
    end
  end
  vim.api.nvim_buf_clear_namespace(buffer, namespace, 0, -1)
  if #of_prompt.shown > 0 then
    vim.api.nvim_buf_set_extmark(buffer, namespace, vim.api.nvim_buf_line_count(buffer) - 1, 0, { virt_lines = of_prompt.shown })
  end
end

-- The whole of what would be sent, for reading.
---@param text string
---@param attachments loomd.Attachment[]
function M.preview_lines(text, attachments)
  local lines = vim.split(text, "\n")
  for _, attachment in ipairs(attachments) do
    local block = attachment.block
    vim.list_extend(lines, { "", ("── %s (%s)"):format(attachment.name, attachment.detail) })
    lines[#lines + 1] = block.resource and block.resource.uri or block.uri
    vim.list_extend(lines, block.resource and vim.split(block.resource.text, "\n") or {})
  end
  return lines
end

-- What the title says of the agent that gets the prompt.
local function described(run)
  local mode, context_use = require("loomd.configure").mode_name(run), format.context(run)
  return (mode and " · mode " .. mode or "") .. (context_use ~= "" and " · " .. context_use or "")
end

---@class loomd.PromptOptions
---@field title string
---@field key string which draft it is
---@field default? string
---@field run? loomd.Run the run that receives the prompt
---@field cwd? string where the agent works; default: that of the run, else Neovim's
---@field host? string the host on which the agent works; default: that of the run
---@field range? { [1]: integer, [2]: integer } lines of the current buffer that go with the prompt

---@param options loomd.PromptOptions
---@param done fun(prompt?: loomd.Prompt, text?: string) nil: the window was closed; `text`: as it was typed
function M.ask(options, done)
  local run = options.run
  local host = options.host or run and run_id.host(run.id)
  -- What is mentioned is on this computer, wherever the agent works.
  local cwd = host and vim.fn.getcwd() or options.cwd or run and run.cwd or vim.fn.getcwd()
  local of_prompt = { source = context.source(options.range), cwd = cwd, host = host, commands = run and run.agent and run.agent.commands or {}, run = run }
  local footer = "<C-s> send · @ context" .. (#of_prompt.commands > 0 and " · / commands" or "") .. (run and " · gC model" or "") .. " · g? help · q close"
  local lines = initial_lines(options)
  local buffer, win = window.float(lines, options.title .. (run and described(run) or ""), { footer = { footer, "<C-s> send · g? help · q close", "<C-s> send" }, width = 80, height = 8 })
  vim.bo[buffer].modifiable = true
  vim.bo[buffer].filetype = "loomd-prompt"
  vim.b[buffer].loomd_run = run and run.id
  pcall(vim.treesitter.start, buffer, "markdown")
  complete.set_context(buffer, of_prompt)
  complete.attach(buffer)
  local prompt, typed
  local function send()
    local text, attachments, problems = read(of_prompt, text_of(buffer))
    if #problems > 0 then
      return require("loomd.notify").show("Not sent: " .. table.concat(problems, "; "), vim.log.levels.ERROR)
    end
    typed = text_of(buffer)
    prompt = text ~= "" and context.prompt(text, attachments) or nil
    vim.cmd.stopinsert()
    pcall(vim.api.nvim_win_close, win, true)
  end
  local function map(modes, key, desc, action)
    vim.keymap.set(modes, key, action, { buffer = buffer, desc = "loomd: " .. desc })
  end
  map({ "n", "i" }, "<C-s>", "send", send)
  map("n", "gp", "show all that would be sent", function()
    local text, attachments = read(of_prompt, text_of(buffer))
    window.float(M.preview_lines(text, attachments), "What is sent")
  end)
  map("n", "gC", "change model, permissions and options", function()
    if run then
      require("loomd.configure").prompt(require("loomd.store").runs[run.id] or run)
    end
  end)
  map("n", "g?", "show this help", function()
    window.float({
      " <C-s>   send",
      " <Tab>   complete @file, @selection, @diagnostics, @symbols, @PATH, /command",
      " gp      show all that would be sent",
      " gC      change model, permissions and the agent's own options",
      " q       close; the text is kept",
    }, "Keymaps")
  end)
  vim.api.nvim_create_autocmd({ "TextChanged", "TextChangedI", "TextChangedP" }, {
    buffer = buffer,
    callback = function()
      show_attachments(buffer, of_prompt)
    end,
  })
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = buffer,
    callback = function()
      drafts[options.key] = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
      complete.set_context(buffer, nil)
      -- The next window must not open while this one closes.
      vim.schedule(function()
        if prompt then
          drafts[options.key] = nil
        end
        done(prompt, typed)
      end)
    end,
  })
  show_attachments(buffer, of_prompt)
  vim.api.nvim_win_set_cursor(win, { #lines, #lines[#lines] })
  vim.cmd.startinsert({ bang = true })
end

return M
