-- Attaches views to runs: what follows entries and what follows items do it alike.

local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

---@class loomd.Attached
---@field run_id string
---@field attached? boolean the server has confirmed the attachment
---@field failed? boolean it could not be loaded
---@field closed? boolean
---@field options { on_failure: fun(failure: loomd.Failure) }

-- Entries come in order and without gaps only after the response. A state that the server broadcasts may arrive before
-- what is still to be replayed.
---@param view loomd.Attached
---@param params table
function M.attach(view, params)
  server.request("run/attach", vim.tbl_extend("error", { runId = view.run_id }, params), function(failure, result)
    if view.closed then
      return
    elseif failure then
      return view.options.on_failure(failure)
    end
    view.attached = true
    store.put(result.run, true)
  end)
end

---@param view loomd.Attached
function M.detach(view)
  view.attached = false
  if server.state == "ready" then
    server.request("run/detach", { runId = view.run_id })
  end
end

-- A new server has no attachments: calls `again` for each view when one is ready.
---@generic T: loomd.Attached
---@param views table<string, T>
---@param again fun(view: T)
function M.keep(views, again)
  local was_ready = server.state == "ready"
  store.subscribe("server", function(state)
    for _, view in pairs(views) do
      if state ~= "ready" then
        view.attached = false
      elseif was_ready or view.failed then
        again(view)
      end
    end
    was_ready = was_ready or state == "ready"
  end)
end

return M
