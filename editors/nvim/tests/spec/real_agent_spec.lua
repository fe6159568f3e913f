-- Agents through the real server: a program of the Agent Client Protocol that does what its prompt says, line by line.

local world = require("world")

local scripted = vim.fs.normalize(world.plugin .. "/../../tests/agents/scripted.py")

local function agent(prompt, more)
  local params = vim.tbl_extend("force", {
    provider = "acp",
    command = { "python3", scripted, "--keep", world.folder .. "/sessions" },
    prompt = prompt,
    interactive = true,
    cwd = world.folder .. "/work",
  }, more or {})
  return assert(
    world.await(function(done)
      require("loomd").start(params, done)
    end, "the start of an agent"),
    vim.inspect(world.said)
  )
end

local function open(run)
  vim.cmd("Loomd output " .. run.id:sub(-8))
  return vim.api.nvim_get_current_buf()
end

local function until_waiting(run)
  return world.wait("the question", function()
    return world.store().runs[run.id] and world.store().is_waiting(world.store().runs[run.id]) and world.store().runs[run.id].permissions[1]
  end)
end

describe("an agent on the real server", function()
  before_each(function()
    world.fresh()
    world.connect()
  end)
  after_each(world.finish)

  it("is read live over several turns, until its input is closed", function()
    local run = agent("think about it\nsay hello from the agent")
    local buffer = open(run)
    world.until_text(buffer, "## You\n\nthink about it\nsay hello from the agent\n")
    world.until_text(buffer, "\nhello from the agent\n")
    world.until_state(run.id, "idle")
    vim.cmd(("Loomd send %s say a second time"):format(run.id:sub(-8)))
    world.until_text(buffer, "\na second time\n.*turn 2")
    vim.cmd("Loomd closeinput " .. run.id:sub(-8))
    world.until_state(run.id, "succeeded")
    world.until_text(buffer, "turn 1.*turn 2")
  end)

  it("waits for an answer, which a key in the list gives", function()
    local run = agent("ask execute\nsay done")
    vim.cmd.Loomd()
    local list = vim.api.nvim_get_current_buf()
    world.until_text(list, "Waiting for you.*● waiting.*asks to run.*%$ touch it")
    world.go_to("● waiting")
    world.press("a")
    world.until_state(run.id, "idle")
    world.until_text(open(run), "chosen: yesdone")
  end)

  it("is told no by deny", function()
    local run = agent("ask execute")
    until_waiting(run)
    vim.cmd("Loomd deny " .. run.id:sub(-8))
    world.until_state(run.id, "idle")
    world.until_text(open(run), "chosen: no")
  end)

  it("edits a file after its diff was shown; the buffer is read again, and the change is a diff", function()
    vim.fn.writefile({ "old" }, "notes.txt")
    vim.uv.fs_utime("notes.txt", 1, 1)
    vim.cmd.edit("notes.txt")
    local file = vim.api.nvim_get_current_buf()
    local run = agent("edit notes.txt new-text")
    until_waiting(run)
    vim.cmd("Loomd next")
    world.wait("the float", function()
      return vim.bo.filetype == "loomd-question"
    end)
    assert.is_truthy(world.text():find("notes.txt", 1, true))
    assert.is_truthy(world.text():find("+new-text", 1, true))
    world.press("a")
    world.until_state(run.id, "idle")
    world.until_text(file, "new%-text")
    local view = world.await(function(done)
      require("loomd.view.changes").open(world.store().runs[run.id], done)
    end)
    if view then
      assert.is_truthy(world.text(vim.api.nvim_win_get_buf(view.list)):find("notes.txt"))
      assert.equal("new-text", world.text(vim.api.nvim_win_get_buf(view.sides[2])))
    else
      assert.is_truthy(world.heard("cannot do that yet"))
    end
  end)

  it("is answered once: another Neovim's answer closes the float here", function()
    local run = agent("ask execute")
    until_waiting(run)
    vim.cmd("Loomd next")
    local shown = world.wait("the float", function()
      return require("loomd.view.question").shown()
    end)
    local other = world.child()
    other.lua(
      [[
        local id = ...
        require("loomd").connect()
        vim.wait(90000, function() return require("loomd.store").runs[id] ~= nil end, 5)
        vim.cmd("Loomd approve " .. id:sub(-8))
      ]],
      run.id
    )
    world.wait("the float to close", function()
      return not vim.api.nvim_win_is_valid(shown.window)
    end)
    world.until_state(run.id, "idle")
  end)

  it("still waits after the server died, and takes the answer then", function()
    local run = agent("ask execute")
    until_waiting(run)
    world.server().crash()
    world.wait("another server", function()
      return world.server().state ~= "ready"
    end)
    world.wait("another server", function()
      return world.server().state == "ready"
    end)
    until_waiting(run)
    vim.cmd("Loomd approve " .. run.id:sub(-8))
    world.until_state(run.id, "idle")
  end)

  it("is answered by a rule before anybody is asked", function()
    assert.is_nil(require("loomd.rules").add({ decision = "allow", command = "touch *" }))
    local run = agent("ask execute")
    world.until_state(run.id, "idle")
    world.until_text(open(run), "chosen: yes")
    assert.is_nil(world.heard("asks to"))
  end)

  it("is interrupted and goes on with another prompt", function()
    local run = agent("say before\nwait")
    local buffer = open(run)
    world.until_text(buffer, "before")
    vim.cmd("Loomd interrupt " .. run.id:sub(-8))
    world.until_state(run.id, "idle")
    vim.cmd(("Loomd send %s say after"):format(run.id:sub(-8)))
    world.until_text(buffer, "\nafter\n")
  end)

  it("is resumed in a new run", function()
    local run = agent("say one", { interactive = false })
    world.until_state(run.id, "succeeded")
    local first = world.ask("run/get", { runId = run.id }).run
    local again = world.await(function(done)
      require("loomd.actions").resume(first, "say two", done)
    end, "the resumed run")
    assert.is_truthy(again, vim.inspect(world.said))
    world.until_state(again.id, "succeeded")
    local resumed = world.ask("run/get", { runId = again.id }).run
    assert.equal(run.id, resumed.parentRunId)
    assert.equal(first.session.id, resumed.session.id)
  end)

  it("says in one sentence why it cannot be taken over, or opens it", function()
    local run = agent("say one", { interactive = false })
    world.until_state(run.id, "succeeded")
    world.said = {}
    vim.cmd("Loomd takeover " .. run.id:sub(-8))
    world.wait("a sentence or a terminal", function()
      return #world.said > 0 or vim.bo.buftype == "terminal"
    end)
  end)

  it("with megabytes of a tool's output stays readable and small", function()
    local run = agent("tool execute 5000000\nsay after it")
    local buffer = open(run)
    world.until_text(buffer, "\nafter it\n")
    assert.is_truthy(world.text(buffer):find("### ✓ run: a tool of 5000000 bytes · completed"))
    assert.is_true(#world.text(buffer) < 300000, #world.text(buffer) .. " bytes are shown")
  end)

  it("says why it failed", function()
    local run = agent("fail the model is on holiday", { interactive = false })
    world.until_state(run.id, "failed")
    world.until_text(open(run), "the model is on holiday")
    vim.cmd.Loomd()
    world.until_text(0, "✗ failed.*the model is o")
  end)
end)
