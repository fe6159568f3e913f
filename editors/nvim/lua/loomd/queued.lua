-- Messages that wait for a turn of an agent: one is taken back to be edited, or removed.

local format = require("loomd.format")
local notify = require("loomd.notify")
local prompt = require("loomd.prompt")
local server = require("loomd.server")

local M = {}

-- The text of a prompt, and whether it is all of the prompt.
---@param blocks table[] ACP content blocks
---@return string, boolean
local function text_of(blocks)
  local texts, is_whole = {}, true
  for _, block in ipairs(blocks) do
    if block.type == "text" and type(block.text) == "string" then
      texts[#texts + 1] = block.text
    else
      is_whole = false
    end
  end
  return table.concat(texts, "\n"), is_whole
end

---@param run loomd.Run
---@param queued loomd.QueuedPrompt
---@param action "Edit"|"Remove"
local function take_back(run, queued, action)
  server.request("run/unqueue", { runId = run.id, promptId = queued.promptId }, function(failure, taken)
    if failure then
      return notify.show(format.failure(failure, "Could not take the message back"), vim.log.levels.ERROR)
    end
    if action == "Edit" then
      prompt.add_to_draft(run.id, (text_of(taken.prompt)))
      require("loomd.actions").prompt_and_send(run)
    end
  end)
end

-- Offers the queued messages of a run, then what to do with one.
---@param run loomd.Run
function M.pick(run)
  server.request("run/queue", { runId = run.id }, function(failure, result)
    if failure then
      return notify.show(format.failure(failure, "Could not list the queued messages"), vim.log.levels.ERROR)
    end
    if #result.prompts == 0 then
      return notify.show("No queued messages")
    end
    local function label(queued)
      local text, is_whole = text_of(queued.prompt)
      return format.one_line(text) .. (is_whole and "" or " (with attachments)")
    end
    vim.ui.select(result.prompts, { prompt = "Queued messages", kind = "loomd_queued", format_item = label }, function(queued)
      if not queued then
        return
      end
      -- What goes with a message has no text that could be edited.
      local _, is_whole = text_of(queued.prompt)
      vim.ui.select(is_whole and { "Edit", "Remove" } or { "Remove" }, { prompt = label(queued) }, function(action)
        if action then
          take_back(run, queued, action)
        end
      end)
    end)
  end)
end

return M
