-- Followers of output: a view opens a follower for its run and gets the run's output and states, first the backlog (at
-- most `backlog_bytes`), then live entries.
--
-- A follower that receives more than its view can show polls instead: it detaches from the run and reads the end of
-- the log every `poll_interval_ms`, until no entry was missed between two reads. So a flood of output costs this
-- Neovim a few reads a second, however large it is.
--
-- A run that has a transcript is attached for that, so its output is read only by `poll`, which the view calls.

local attach = require("loomd.attach")
local client = require("loomd.client")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

---@class loomd.FollowOptions
---@field backlog_bytes integer how much of the existing log is read
---@field reads_only? boolean never attaches
---@field on_begin fun(at_start: boolean, run: loomd.Run) called before the first entry; `at_start`: the backlog is complete
---@field on_entries fun(entries: loomd.Entry[])
---@field on_failure fun(failure: loomd.Failure)

---@class loomd.Follower
---@field run_id string
---@field last? integer `seq` of the newest entry passed to the view; nil until the backlog was read
---@field attached boolean the server has confirmed the attachment
---@field polling? boolean
---@field options loomd.FollowOptions
local Follower = {}
Follower.__index = Follower

---@type table<string, loomd.Follower>
local followers = {}

-- A `beforeSeq` after every possible entry. Lua's JSON encoder writes 14 digits of a number, so it is no larger.
local max_seq = 1e13
M.poll_bytes = 128 * 1024
M.poll_interval_ms = 200

local kinds = { "output", "state", "session", "permission" }

function Follower:attach()
  if not self.last or self.polling or self.options.reads_only then
    return
  end
  attach.attach(self, { afterSeq = self.last, kinds = { "output" } })
end

function Follower:read_backlog()
  -- The snapshot comes first: the backlog is read backward from its `lastSeq`, and the attachment starts after it.
  server.request("run/get", { runId = self.run_id }, function(failure, result)
    if self.closed then
      return
    elseif failure then
      return self.options.on_failure(failure)
    end
    -- The store keeps updating its snapshot, so `lastSeq` is copied now.
    local run, seq = result.run, result.run.lastSeq
    store.put(run, true)
    server.request("run/read", { runId = self.run_id, beforeSeq = seq + 1, maxBytes = self.options.backlog_bytes, kinds = kinds }, function(problem, page)
      if self.closed then
        return
      elseif problem then
        return self.options.on_failure(problem)
      end
      self.last = seq
      self.options.on_begin(page.atStart ~= false, run)
      self.options.on_entries(page.entries)
      self:attach()
    end)
  end)
end

-- Reads the end of the log once.
function Follower:poll()
  if not self.last then
    return
  end
  server.request("run/read", { runId = self.run_id, beforeSeq = max_seq, maxBytes = M.poll_bytes, kinds = kinds }, function(failure, page)
    if self.closed then
      return
    elseif failure then
      -- The connection is lost. The new server is attached at the last entry of this follower.
      self.polling = false
      return
    end
    local first = page.entries[1]
    local has_gap = first and first.seq > self.last + 1
    local new_entries = vim.tbl_filter(function(entry)
      return entry.seq > self.last
    end, page.entries)
    local newest = new_entries[#new_entries]
    if newest then
      self.last = newest.seq
      self.options.on_entries(new_entries)
    end
    if not self.polling then
      return
    elseif has_gap and not (newest and newest.kind == "state" and store.is_final(newest)) then
      vim.defer_fn(function()
        if not self.closed then
          self:poll()
        end
      end, M.poll_interval_ms)
    else
      self.polling = false
      self:attach()
    end
  end)
end

-- Detaches from the run until its output can be followed again.
function Follower:start_polling()
  if not self.polling and self.attached then
    self.polling = true
    attach.detach(self)
    self:poll()
  end
end

function Follower:close()
  if self.closed then
    return
  end
  self.closed = true
  followers[self.run_id] = nil
  if not self.options.reads_only then
    attach.detach(self)
  end
end

-- Starts to follow a run. The options' functions are called until `close`.
---@param run_id string
---@param options loomd.FollowOptions
---@return loomd.Follower
function M.open(run_id, options)
  local follower = setmetatable({ run_id = run_id, options = options }, Follower)
  followers[run_id] = follower
  store.tracked[run_id] = true
  follower:read_backlog()
  return follower
end

client.set_entry_listener(function(entry)
  local follower = followers[entry.runId]
  if follower and follower.attached and entry.seq > follower.last then
    follower.last = entry.seq
    follower.options.on_entries({ entry })
  end
end)

attach.keep(followers, function(follower)
  if follower.last then
    follower:attach()
  else
    follower:read_backlog()
  end
end)

return M
