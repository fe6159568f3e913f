-- The store of runs: which snapshots and entries it accepts.

local support = require("support")

describe("the store", function()
  local store
  before_each(function()
    support.reset()
    store = support.store()
  end)
  after_each(support.cleanup)

  local function snapshot(more)
    return vim.tbl_extend("force", {
      id = "r",
      provider = "command",
      title = "old",
      labels = {},
      pinned = false,
      state = "running",
      createdAt = 1,
      lastSeq = 5,
      bytes = { stdout = 0, stderr = 0 },
    }, more or {})
  end

  it("ignores an older snapshot, and an entry that a snapshot includes", function()
    store.put(snapshot())
    store.put(snapshot({ lastSeq = 4, state = "starting" }))
    assert.equal("running", store.runs.r.state)
    store.apply({ kind = "state", runId = "r", seq = 5, state = "failed" })
    assert.equal("running", store.runs.r.state)
    store.apply({ kind = "state", runId = "r", seq = 6, state = "succeeded", at = 2 })
    assert.equal("succeeded", store.runs.r.state)
  end)

  it("keeps a new title when an older response arrives after it", function()
    store.put(snapshot())
    store.put(snapshot({ title = "new" }))
    store.put(snapshot({ lastSeq = 7, state = "cancelled" }), true)
    assert.equal("new", store.runs.r.title)
    assert.equal("cancelled", store.runs.r.state)
  end)

  it("takes a new title from a snapshot whose state is older", function()
    store.put(snapshot({ lastSeq = 9, state = "failed" }))
    store.put(snapshot({ lastSeq = 8, title = "new" }))
    assert.equal("new", store.runs.r.title)
    assert.equal("failed", store.runs.r.state)
  end)

  it("orders runs: the longest waiting first, then active ones, then finished ones, the newest first", function()
    local function waits(at)
      return { permissions = { { permissionId = "p", at = at } }, state = "awaitingPermission" }
    end
    store.put(snapshot({ id = "ended", state = "failed", createdAt = 9 }))
    store.put(snapshot({ id = "older", createdAt = 2 }))
    store.put(snapshot({ id = "newer", createdAt = 3 }))
    store.put(snapshot(vim.tbl_extend("force", { id = "late" }, waits(20))))
    store.put(snapshot(vim.tbl_extend("force", { id = "early" }, waits(10))))
    local ids = vim.tbl_map(function(run)
      return run.id
    end, require("loomd").runs())
    assert.same({ "early", "late", "newer", "older", "ended" }, ids)
  end)

  it("calls the other listeners when one raises an error", function()
    local calls = 0
    store.subscribe("runs", function()
      error("an error")
    end)
    store.subscribe("runs", function()
      calls = calls + 1
    end)
    store.put(snapshot())
    assert.equal(1, calls)
    assert.is_truthy(support.find_notification("an error"))
  end)
end)
