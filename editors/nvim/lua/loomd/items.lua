-- The items of a run, as the server folds them: loads the last ones, and earlier ones on demand, and follows what
-- comes. It draws nothing; a view takes the blocks that are dirty.

local attach = require("loomd.attach")
local client = require("loomd.client")
local run_id = require("loomd.run_id")
local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

-- Sub-agents below this depth are shown at this depth.
M.max_depth = 6

---@class loomd.Block one item on the screen
---@field item loomd.Item
---@field depth integer how many tool calls it is in
---@field parent? loomd.Block the tool call whose sub-agent made it
---@field dirty boolean the item has changed since it was drawn
---@field withdrawn? boolean the agent said it again

---@class loomd.Items
---@field run_id string
---@field blocks loomd.Block[] by number, but those of a sub-agent behind their tool call
---@field by_number table<integer, loomd.Block>
---@field turns table<integer, integer> when each turn began, as far as its prompt is loaded
---@field prev? integer `before` of the page that precedes the first item
---@field seq integer where an attachment goes on
---@field plan? loomd.Item the agent's own plan of the turn that runs
---@field attached? boolean
local Items = {}
Items.__index = Items

---@param id string
---@return loomd.Items
function M.new(id)
  return setmetatable({ run_id = id, blocks = {}, by_number = {}, turns = {}, seq = 0 }, Items)
end

-- The numbers of the tool calls that a block is in, and its own.
---@param block? loomd.Block
local function path_of(block)
  local path = {}
  while block do
    table.insert(path, 1, block.item.item)
    block = block.parent
  end
  return path
end

local function is_before(a, b)
  for index, number in ipairs(a) do
    if number ~= b[index] then
      return b[index] ~= nil and number < b[index]
    end
  end
  return true
end

---@param item loomd.Item
---@return loomd.Block
function Items:insert(item)
  local parent = item.parent and self.by_number[item.parent]
  while parent and parent.depth >= M.max_depth do
    parent = parent.parent
  end
  local block = { item = item, parent = parent or nil, depth = parent and parent.depth + 1 or 0 }
  local path, index = path_of(block), #self.blocks
  while index > 0 and not is_before(path_of(self.blocks[index]), path) do
    index = index - 1
  end
  table.insert(self.blocks, index + 1, block)
  self.by_number[item.item] = block
  -- The line below the block before depends on how deep this one is.
  if self.blocks[index] then
    self.blocks[index].dirty = true
  end
  return block
end

-- Takes an item that is new or has changed.
---@param item loomd.Item
---@param is_loaded? boolean its page is loaded
---@return loomd.Block?
function Items:put(item, is_loaded)
  if item.kind == "plan" and not item.parent and item.item >= (self.plan and self.plan.item or 0) then
    self.plan = item
  elseif item.kind == "turn" and self.plan and self.plan.item < item.item then
    self.plan = nil
  end
  if not is_loaded and self.prev and item.item < self.prev and not self.by_number[item.item] then
    return
  end
  local block = self.by_number[item.item] or self:insert(item)
  block.item, block.dirty = item, true
  if item.kind == "message" and item.role == "user" and item.turn and not item.parent then
    self.turns[item.turn] = math.min(self.turns[item.turn] or item.at, item.at)
  end
  -- Of a long message that was given up, the last part tells it.
  local part = item.abandoned and block
  while part do
    part.withdrawn, part.dirty = true, true
    part = self.by_number[part.item.continues or 0]
  end
  return block
end

---@param output? loomd.Output
---@param append loomd.OutputAppend
---@return loomd.Output
local function append_output(output, append)
  output = output or { text = "" }
  local text, dropped = output.text, append.dropBytes or 0
  if dropped > 0 then
    local from = output.omittedAt or 0
    output.omittedBytes = (output.omittedBytes or 0) + dropped
    text = text:sub(1, from) .. text:sub(from + dropped + 1)
  end
  output.text = text .. append.text
  return output
end

-- Applies what the server appends to an item.
---@param number integer
---@param append { text?: string, output?: loomd.OutputAppend, stderr?: loomd.OutputAppend }
---@param seq integer
function Items:append(number, append, seq)
  local block = self.by_number[number]
  if not block then
    return -- its page is not loaded
  end
  local item = block.item
  if append.text then
    item.text = item.text .. append.text
  end
  for _, name in ipairs({ "output", "stderr" }) do
    if append[name] then
      item[name] = append_output(item[name], append[name])
    end
  end
  item.lastSeq, block.dirty = seq, true
end

-- Takes the page before the first item. The blocks are made again, because items may get their tool calls.
---@param items loomd.Item[]
function Items:prepend(items)
  local all = vim.list_extend({}, items)
  for _, block in vim.spairs(self.by_number) do
    all[#all + 1] = block.item
  end
  self.blocks, self.by_number = {}, {}
  for _, item in ipairs(all) do
    self:put(item, true)
  end
end

-- Forgets the first `count` blocks; `load_earlier` brings them back.
---@param count integer
function Items:forget(count)
  for index = 1, count do
    local number = self.blocks[index].item.item
    self.by_number[number] = nil
    -- What a sub-agent did may come later in the run than the items that follow its call.
    self.prev = math.max(self.prev or 0, number + 1)
  end
  self.blocks = vim.list_slice(self.blocks, count + 1)
end

---@class loomd.ItemsOptions
---@field on_change fun()
---@field on_begin fun() the last items are loaded
---@field on_failure fun(failure: loomd.Failure)

---@type table<string, loomd.Items>
local followed = {}

local function fold_version(items)
  local info = server.info_of(run_id.host(items.run_id))
  return info and info.foldVersion
end

-- Requests a page, unless the items are closed when it comes.
---@param params table
---@param done fun(page: loomd.ItemsResult)
function Items:request(params, done)
  server.request("run/items", vim.tbl_extend("error", { runId = self.run_id }, params), function(failure, page)
    if self.closed then
      return
    elseif failure then
      self.failed = not self.loaded
      return self.options.on_failure(failure)
    end
    self.fold_version = fold_version(self)
    done(page)
  end)
end

function Items:load()
  self.blocks, self.by_number, self.turns, self.loaded, self.prev, self.plan = {}, {}, {}, false, nil, nil
  self:request({ maxBytes = self.options.max_bytes }, function(page)
    self.prev, self.seq, self.loaded = page.prev, page.seq, true
    for _, item in ipairs(page.items) do
      self:put(item)
    end
    self.options.on_begin()
    self:attach()
  end)
end

---@param done fun(before: loomd.Block[]) called with the blocks as they were
function Items:load_earlier(done)
  local before = self.prev
  if before then
    self:request({ before = before, maxBytes = self.options.max_bytes }, function(page)
      if self.prev == before then
        local blocks = self.blocks
        self.prev = page.prev
        self:prepend(page.items)
        done(blocks)
      end
    end)
  end
end

function Items:attach()
  attach.attach(self, { as = "items", afterSeq = self.seq })
end

-- Requests what the items of a page leave out. Text and output are not taken, because they may have grown.
---@param block loomd.Block
function Items:complete(block)
  if block.requested == block.item.lastSeq then
    return
  end
  block.requested = block.item.lastSeq
  server.request("run/getItem", { runId = self.run_id, item = block.item.item }, function(_, result)
    if result and not self.closed and result.item.lastSeq >= block.requested then
      for _, name in ipairs({ "rawInput", "diffs", "blocks" }) do
        block.item[name] = result.item[name]
      end
      block.dirty = true
      self.options.on_change()
    end
  end)
end

function Items:close()
  if not self.closed then
    self.closed = true
    followed[self.run_id] = nil
    attach.detach(self)
  end
end

-- Loads the last items of a run and follows it until `close`.
---@param id string
---@param options loomd.ItemsOptions
---@return loomd.Items
function M.open(id, options)
  local items = M.new(id)
  items.options = options
  followed[id] = items
  store.tracked[id] = true
  items:load()
  return items
end

client.set_item_listener(function(params)
  local items = followed[params.runId]
  if items and items.loaded then
    if params.append then
      items:append(params.item, params.append, params.seq)
    else
      items:put(params.item)
    end
    -- One entry may change several items, so after a break it is sent again.
    items.seq = params.seq - 1
    items.options.on_change()
  end
end)

-- If a new server folds otherwise, the numbers of the items have changed.
attach.keep(followed, function(items)
  if items.loaded and items.fold_version == fold_version(items) then
    items:attach()
  elseif items.loaded or items.failed then
    items:load()
  end
end)

return M
