-- Attaches views to runs: what follows entries and what follows items do it alike.

local run_id = require("loomd.run_id")
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
  if server.info_of(run_id.host(view.run_id)) then
    server.request("run/detach", { runId = view.run_id })
  end
end

-- A new server has no attachments: calls `again` for each view when one is ready.
---@generic T: loomd.Attached
---@param views table<string, T>
---@param again fun(view: T)
function M.keep(views, again)
  ---@param host? string
  ---@param waits boolean requests that were made before the server was ready have been kept for it
  local function changed(host, state, waits)
    for _, view in pairs(views) do
      if run_id.host(view.run_id) == host and state ~= "ready" then
        view.attached = false
      elseif run_id.host(view.run_id) == host and (not waits or view.failed) then
        again(view)
      end
    end
  end
  local was_ready = server.info_of() ~= nil
  store.subscribe("server", function(state)
    changed(nil, state, not was_ready)
    was_ready = was_ready or state == "ready"
  end)
  store.subscribe("host", function(host, state)
    changed(host, state, false)
  end)
end

return M
