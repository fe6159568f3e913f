-- The store of runs: which news is newer.

local world = require("world")

describe("the store", function()
  local store
  before_each(function()
    world.fresh()
    store = world.store()
  end)
  after_each(world.finish)

  local function picture(more)
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

  it("takes no older picture, and no entry that a picture includes", function()
    store.put(picture())
    store.put(picture({ lastSeq = 4, state = "starting" }))
    assert.equal("running", store.runs.r.state)
    store.apply({ kind = "state", runId = "r", seq = 5, state = "failed" })
    assert.equal("running", store.runs.r.state)
    store.apply({ kind = "state", runId = "r", seq = 6, state = "succeeded", at = 2 })
    assert.equal("succeeded", store.runs.r.state)
  end)

  it("keeps a new title when the answer to something else, made before it, comes after it", function()
    store.put(picture())
    store.put(picture({ title = "new" }))
    store.put(picture({ lastSeq = 7, state = "cancelled" }), true)
    assert.equal("new", store.runs.r.title)
    assert.equal("cancelled", store.runs.r.state)
  end)

  it("takes a new title from a picture whose state is old", function()
    store.put(picture({ lastSeq = 9, state = "failed" }))
    store.put(picture({ lastSeq = 8, title = "new" }))
    assert.equal("new", store.runs.r.title)
    assert.equal("failed", store.runs.r.state)
  end)

  it("puts who waits longest first, then what runs, then what ended, the newest first", function()
    local function waits(at)
      return { permissions = { { permissionId = "p", at = at } }, state = "awaitingPermission" }
    end
    store.put(picture({ id = "ended", state = "failed", createdAt = 9 }))
    store.put(picture({ id = "older", createdAt = 2 }))
    store.put(picture({ id = "newer", createdAt = 3 }))
    store.put(picture(vim.tbl_extend("force", { id = "late" }, waits(20))))
    store.put(picture(vim.tbl_extend("force", { id = "early" }, waits(10))))
    local ids = vim.tbl_map(function(run)
      return run.id
    end, require("loomd").runs())
    assert.same({ "early", "late", "newer", "older", "ended" }, ids)
  end)

  it("goes on telling the others when one who hears makes a mistake", function()
    local heard = 0
    store.on("runs", function()
      error("a mistake")
    end)
    store.on("runs", function()
      heard = heard + 1
    end)
    store.put(picture())
    assert.equal(1, heard)
    assert.is_truthy(world.heard("a mistake"))
  end)
end)
