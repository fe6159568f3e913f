-- Followers of runs: a view says which run it shows and gets its log, first what lies behind (as much as it wants), then live.
--
-- Several views of one run share one attachment, whose kinds are all that any of them wants. Attaching again, for a new view or
-- after the server was restarted, begins at the follower that is furthest behind; the others drop what they have by `seq`.
--
-- A follower that is shown more than it can take skims: it lets go of the run and looks at the end of its log now and then, until
-- nothing was missed between two looks. So a flood costs this Neovim a few looks a second, however much pours.

local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

---@class loomd.FollowOptions
---@field kinds string[] what is wanted of "output" and "update"; state, session and permission entries always come
---@field backlog_bytes integer how much of the log before now is read
---@field on_begin fun(at_start: boolean, run: loomd.Run) before the first entry; `at_start`: nothing was left out
---@field on_entries fun(entries: loomd.Entry[])
---@field on_failure fun(failure: loomd.Failure)

---@class loomd.Follower
---@field run_id string
---@field last? integer newest entry that was handed on; nil until the backlog is there
---@field attached boolean the server has said that it follows
---@field options loomd.FollowOptions
local Follower = {}
Follower.__index = Follower

---@type table<string, loomd.Follower[]>
local followers = {}

-- A `beforeSeq` behind every entry that there can be; Lua's JSON writes 14 digits of a number, so it is no larger.
M.newest = 1e13
M.skim_bytes = 128 * 1024
M.skim_interval_ms = 200

local function wants(follower, kind)
  return (kind ~= "output" and kind ~= "update") or vim.tbl_contains(follower.options.kinds, kind)
end

local function attach(run_id)
  local kinds, from, included = {}, nil, {}
  for _, follower in ipairs(followers[run_id] or {}) do
    if follower.last and not follower.skimming then
      from = math.min(from or follower.last, follower.last)
      table.insert(included, follower)
      for _, kind in ipairs(follower.options.kinds) do
        if not vim.tbl_contains(kinds, kind) then
          table.insert(kinds, kind)
        end
      end
    end
  end
  if not from then
    return
  end
  server.request("run/attach", { runId = run_id, afterSeq = from, kinds = kinds }, function(failure, result)
    if failure then
      for _, follower in ipairs(vim.deepcopy(followers[run_id] or {}, true)) do
        follower.options.on_failure(failure)
      end
      return
    end
    -- Only from here on do entries come in order and without gaps. A state that is told to all who watch may have overtaken
    -- output that is yet to be replayed.
    for _, follower in ipairs(included) do
      follower.attached = true
    end
    store.put(result.run, true)
  end)
end

function Follower:begin()
  -- The picture first: what it includes is read backward from there, what comes later is attached to.
  server.request("run/get", { runId = self.run_id }, function(failure, result)
    if self.closed then
      return
    elseif failure then
      return self.options.on_failure(failure)
    end
    -- The store goes on changing its picture; what is read now ends here.
    local run, seq = result.run, result.run.lastSeq
    store.put(run, true)
    server.request(
      "run/read",
      { runId = self.run_id, beforeSeq = seq + 1, maxBytes = self.options.backlog_bytes, kinds = self:kinds() },
      function(problem, page)
        if self.closed then
          return
        elseif problem then
          return self.options.on_failure(problem)
        end
        self.last = seq
        self.options.on_begin(page.atStart ~= false, run)
        self.options.on_entries(page.entries)
        attach(self.run_id)
      end
    )
  end)
end

function Follower:kinds()
  return vim.list_extend({ "state", "session", "permission" }, self.options.kinds)
end

-- One look at the end of the log.
function Follower:look()
  server.request("run/read", { runId = self.run_id, beforeSeq = M.newest, maxBytes = M.skim_bytes, kinds = self:kinds() }, function(failure, page)
    if self.closed then
      return
    elseif failure then
      -- The next server is asked where this look was.
      self.skimming = false
      return
    end
    local first = page.entries[1]
    local missed = first and first.seq > self.last + 1
    local new = vim.tbl_filter(function(entry)
      return entry.seq > self.last
    end, page.entries)
    if #new > 0 then
      self.last = new[#new].seq
      self.options.on_entries(new)
    end
    local ended = #new > 0 and new[#new].kind == "state" and store.is_final(new[#new])
    if missed and not ended then
      vim.defer_fn(function()
        if not self.closed then
          self:look()
        end
      end, M.skim_interval_ms)
    else
      self.skimming = false
      attach(self.run_id)
    end
  end)
end

-- Lets go of the run until what it writes can be followed again.
function Follower:skim()
  if self.skimming or not self.attached then
    return
  end
  self.skimming, self.attached = true, false
  local others = vim.tbl_filter(function(other)
    return other ~= self and other.last and not other.skimming
  end, followers[self.run_id] or {})
  if #others > 0 then
    attach(self.run_id)
  else
    server.request("run/detach", { runId = self.run_id })
  end
  self:look()
end

function Follower:close()
  if self.closed then
    return
  end
  self.closed = true
  local rest = vim.tbl_filter(function(other)
    return other ~= self
  end, followers[self.run_id] or {})
  followers[self.run_id] = #rest > 0 and rest or nil
  if #rest == 0 and server.state == "ready" then
    server.request("run/detach", { runId = self.run_id })
  end
end

-- Begins to follow a run. Everything goes through the callbacks, until `close`.
---@param run_id string
---@param options loomd.FollowOptions
---@return loomd.Follower
function M.open(run_id, options)
  local follower = setmetatable({ run_id = run_id, options = options }, Follower)
  followers[run_id] = followers[run_id] or {}
  table.insert(followers[run_id], follower)
  store.mine[run_id] = true
  follower:begin()
  return follower
end

server.on_entry(function(entry)
  for _, follower in ipairs(followers[entry.runId] or {}) do
    if follower.attached and entry.seq > follower.last then
      follower.last = entry.seq
      if wants(follower, entry.kind) then
        follower.options.on_entries({ entry })
      end
    end
  end
end)

-- A new server knows nothing of who followed what.
local was_ready = server.state == "ready"
store.on("server", function(state)
  if state ~= "ready" then
    for _, group in pairs(followers) do
      for _, follower in ipairs(group) do
        follower.attached = false
      end
    end
  elseif was_ready then
    for run_id in pairs(followers) do
      attach(run_id)
      for _, follower in ipairs(followers[run_id]) do
        if not follower.last then
          follower:begin()
        end
      end
    end
  end
  was_ready = was_ready or state == "ready"
end)

return M
