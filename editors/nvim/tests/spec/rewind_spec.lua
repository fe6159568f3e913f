-- Taking back what a run changed from a turn on.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"

describe("what a run changed from a turn on", function()
  local select, prompts, choice

  local function tool(turn, diffs, more)
    local item = vim.tbl_extend("force", { kind = "tool", turn = turn, title = "Edit", toolKind = "edit", status = "completed", locations = {}, permissions = {}, diffs = diffs }, more or {})
    support.request("fake/item", { runId = id, item = item })
  end

  local function rewind(turn)
    support.notifications = {}
    vim.cmd(("Loomd rewind %s %d"):format(id:sub(-8), turn))
    return support.wait("the message", function()
      return support.notifications[1] and support.notifications[1].text or prompts[#prompts] and choice == 1 and prompts[#prompts]
    end)
  end

  before_each(function()
    support.reset({ cmd = fake })
    support.connect()
    support.request("fake/run", { run = { id = id, cwd = vim.fn.getcwd(), state = "idle", params = { prompt = "fix it", provider = "codex" } } })
    support.wait("the run", function()
      return support.store().runs[id]
    end)
    select, prompts, choice = vim.ui.select, {}, 2
    vim.ui.select = function(items, options, done)
      table.insert(prompts, options.prompt)
      done(items[choice])
    end
    -- Turn 1 makes two files; turn 2 changes one twice, by texts and by a patch, makes another and deletes one.
    tool(1, { { path = "a.txt", kind = "add", newText = "one\ntwo\nthree\n" }, { path = "gone.txt", kind = "add", newText = "here\n" } })
    tool(2, { { path = "a.txt", kind = "modify", oldText = "two\n", newText = "2\n" } })
    tool(2, { { path = "a.txt", kind = "modify", patch = "@@ -1,3 +1,3 @@\n one\n 2\n-three\n+3\n" }, { path = "new.txt", kind = "add", omitted = true } }, { whole = { diffs = {
      { path = "a.txt", kind = "modify", patch = "@@ -1,3 +1,3 @@\n one\n 2\n-three\n+3\n" },
      { path = "new.txt", kind = "add", newText = "new\n" },
    } } })
    tool(2, { { path = "gone.txt", kind = "delete", oldText = "here\n" } })
    tool(2, { { path = "a.txt", kind = "modify", oldText = "x", newText = "y" } }, { status = "failed" })
    vim.fn.writefile({ "one", "2", "3" }, "a.txt")
    vim.fn.writefile({ "new" }, "new.txt")
  end)
  after_each(function()
    vim.ui.select = select
    support.cleanup()
  end)

  it("is taken back step by step, after a question", function()
    choice = 1
    rewind(2)
    assert.equal("Take back the changes of turn 2 and later in 3 files (a.txt, gone.txt, new.txt)?", prompts[1])
    assert.same({ "one", "2", "3" }, vim.fn.readfile("a.txt"))
    choice = 2
    assert.equal("loomd: Took back the changes of 3 files", rewind(2))
    assert.same({ { "one", "two", "three" }, { "here" }, 0 }, { vim.fn.readfile("a.txt"), vim.fn.readfile("gone.txt"), vim.fn.filereadable("new.txt") })
    assert.equal("loomd: No recorded changes from turn 3 on", rewind(3))
  end)

  it("is taken back by gB from the turn under the cursor on", function()
    support.request("fake/item", { runId = id, item = { kind = "message", role = "user", turn = 2, text = "the second prompt" } })
    vim.cmd("Loomd output " .. id:sub(-8))
    support.until_text(0, "the second prompt")
    support.move_to("the second prompt")
    support.press("gB")
    support.wait("the question", function()
      return prompts[1]
    end)
    assert.is_truthy(prompts[1]:find("turn 2 and later", 1, true))
  end)

  it("is taken back to before the first turn, too", function()
    assert.equal("loomd: Took back the changes of 3 files", rewind(1))
    assert.same({ 0, 0, 0 }, { vim.fn.filereadable("a.txt"), vim.fn.filereadable("gone.txt"), vim.fn.filereadable("new.txt") })
  end)

  it("stays, all of it, if somebody has changed one of the files since, or if the run works", function()
    vim.fn.writefile({ "one", "mine", "3" }, "a.txt")
    assert.equal("loomd: Nothing was taken back: a.txt: the text before is not known, or the file has changed since (Edit)", rewind(2))
    assert.same({ 0, 1 }, { vim.fn.filereadable("gone.txt"), vim.fn.filereadable("new.txt") })
    support.request("fake/push", { entry = { runId = id, kind = "state", state = "running", turn = 3 } })
    support.until_state(id, "running")
    assert.equal("loomd: abcd1234 is running; wait for it or cancel it", rewind(2))
    assert.same({}, prompts)
  end)
end)
