-- An agent on the real server: a program of the Agent Client Protocol that does what its prompt says, line by line.

local support = require("support")

local scripted = vim.fs.normalize(support.plugin .. "/../../tests/agents/scripted.py")

local function agent(prompt, more)
  local params = vim.tbl_extend("force", {
    provider = "acp",
    command = { "python3", scripted, "--keep", support.folder .. "/sessions" },
    prompt = prompt,
    interactive = true,
    cwd = support.folder .. "/work",
  }, more or {})
  return assert(
    support.await(function(done)
      require("loomd").start(params, done)
    end, "the start of an agent"),
    vim.inspect(support.notifications)
  )
end

local function open(run)
  vim.cmd("Loomd output " .. run.id:sub(-8))
  return vim.api.nvim_get_current_buf()
end

local function until_waiting(run)
  return support.wait("the permission request", function()
    return support.store().runs[run.id] and support.store().is_waiting(support.store().runs[run.id]) and support.store().runs[run.id].permissions[1]
  end)
end

local function until_armed()
  return support.wait("the floating window", function()
    local current = require("loomd.view.permission_request").current()
    return current and current.is_armed and current
  end)
end

describe("an agent on the real server", function()
  before_each(function()
    support.reset()
    support.connect()
  end)
  after_each(support.cleanup)

  it("is read live over several turns, until its input is closed", function()
    local run = agent("think about it\nsay hello from the agent")
    local buffer = open(run)
    support.until_text(buffer, "## You\n\nthink about it\nsay hello from the agent\n")
    support.until_text(buffer, "\nhello from the agent\n")
    support.until_state(run.id, "idle")
    vim.cmd(("Loomd send %s say a second time"):format(run.id:sub(-8)))
    support.until_text(buffer, "\na second time\n.*turn 2")
    vim.cmd("Loomd closeinput " .. run.id:sub(-8))
    support.until_state(run.id, "succeeded")
    support.until_text(buffer, "turn 1.*turn 2")
  end)

  it("waits until its permission request is answered, which a key in the list opens", function()
    local run = agent("ask execute\nsay done")
    vim.cmd.Loomd()
    local list = vim.api.nvim_get_current_buf()
    support.until_text(list, "Needs input.*● waiting.*wants to run: touch it")
    support.move_to("● waiting")
    support.press("a")
    until_armed()
    support.press("a")
    support.until_state(run.id, "idle")
    support.until_text(open(run), "chosen: yesdone")
  end)

  it("is denied by :Loomd deny", function()
    local run = agent("ask execute")
    until_waiting(run)
    vim.cmd("Loomd deny " .. run.id:sub(-8))
    support.until_state(run.id, "idle")
    support.until_text(open(run), "chosen: no")
  end)

  it("edits a file after its diff was shown; the buffer is reloaded, and :Loomd diff shows the change", function()
    vim.fn.writefile({ "old" }, "notes.txt")
    vim.uv.fs_utime("notes.txt", 1, 1)
    vim.cmd.edit("notes.txt")
    local file = vim.api.nvim_get_current_buf()
    local run = agent("edit notes.txt new-text")
    until_waiting(run)
    vim.cmd("Loomd next")
    until_armed()
    assert.is_truthy(support.text():find("notes.txt", 1, true))
    assert.is_truthy(support.text():find("+new-text", 1, true))
    support.press("a")
    support.until_state(run.id, "idle")
    support.until_text(file, "new%-text")
    local view = support.await(function(done)
      require("loomd.view.changes").open(support.store().runs[run.id], done)
    end)
    if view then
      assert.is_truthy(support.text(vim.api.nvim_win_get_buf(view.list)):find("notes.txt"))
      assert.equal("new-text", support.text(vim.api.nvim_win_get_buf(view.sides[2])))
    else
      assert.is_truthy(support.find_notification("not supported by loomd"))
    end
  end)

  it("is answered once: the answer of another Neovim closes the window here", function()
    local run = agent("ask execute")
    until_waiting(run)
    vim.cmd("Loomd next")
    local shown = until_armed()
    local other = support.child()
    other.lua(
      [[
        local id = ...
        require("loomd").connect()
        vim.wait(90000, function() return require("loomd.store").runs[id] ~= nil end, 5)
        vim.cmd("Loomd deny " .. id:sub(-8))
      ]],
      run.id
    )
    support.wait("the window to close", function()
      return not vim.api.nvim_win_is_valid(shown.window)
    end)
    support.until_state(run.id, "idle")
  end)

  it("keeps its permission request through a crash of the server", function()
    local run = agent("ask execute")
    until_waiting(run)
    support.server().crash()
    support.wait("another server", function()
      return support.server().state ~= "ready"
    end)
    support.wait("another server", function()
      return support.server().state == "ready"
    end)
    until_waiting(run)
    vim.cmd("Loomd approve " .. run.id:sub(-8))
    until_armed()
    vim.cmd("Loomd approve " .. run.id:sub(-8))
    support.until_state(run.id, "idle")
  end)

  it("is interrupted and continues with another message", function()
    local run = agent("say before\nwait")
    local buffer = open(run)
    support.until_text(buffer, "before")
    vim.cmd("Loomd interrupt " .. run.id:sub(-8))
    support.until_state(run.id, "idle")
    vim.cmd(("Loomd send %s say after"):format(run.id:sub(-8)))
    support.until_text(buffer, "\nafter\n")
  end)

  it("is resumed in a new run", function()
    local run = agent("say one", { interactive = false })
    support.until_state(run.id, "succeeded")
    local first = support.request("run/get", { runId = run.id }).run
    local again = support.await(function(done)
      require("loomd.actions").resume(first, "say two", done)
    end, "the resumed run")
    assert.is_truthy(again, vim.inspect(support.notifications))
    support.until_state(again.id, "succeeded")
    local resumed = support.request("run/get", { runId = again.id }).run
    assert.equal(run.id, resumed.parentRunId)
    assert.equal(first.session.id, resumed.session.id)
  end)

  it("continues in a terminal, or one message says why it cannot", function()
    local run = agent("say one", { interactive = false })
    support.until_state(run.id, "succeeded")
    support.notifications = {}
    vim.cmd("Loomd takeover " .. run.id:sub(-8))
    support.wait("a sentence or a terminal", function()
      return #support.notifications > 0 or vim.bo.buftype == "terminal"
    end)
  end)

  it("with megabytes of a tool's output stays readable and small", function()
    local run = agent("tool execute 5000000\nsay after it")
    local buffer = open(run)
    support.until_text(buffer, "\nafter it\n")
    assert.is_truthy(support.text(buffer):find("### ✓ run: a tool of 5000000 bytes · completed"))
    assert.is_true(#support.text(buffer) < 300000, #support.text(buffer) .. " bytes are shown")
  end)

  it("has, followed live and over a crash of the server, the items that a fresh reader gets", function()
    local run = agent("say one\ntool execute 700000\nthink about it\nask execute\nsay done")
    open(run)
    local items = support.wait("the transcript to follow", function()
      local view = require("loomd.view.transcript").find(run.id)
      return view and view.items.attached and view.items
    end)
    until_waiting(run)
    support.server().crash()
    support.wait("another server", function()
      return not items.attached
    end)
    support.wait("the transcript to follow again", function()
      return items.attached
    end)
    vim.cmd("Loomd deny " .. run.id:sub(-8))
    support.until_state(run.id, "idle")
    local fresh = support.request("run/items", { runId = run.id })
    support.wait("the last item", function()
      return items.by_number[fresh.total] and items.by_number[fresh.total].item.lastSeq == fresh.seq
    end)
    assert.is_true(fresh.total > 5)
    local followed = {}
    for number, block in pairs(items.by_number) do
      followed[number] = block.item
    end
    assert.same(fresh.items, followed)
  end)

  it("applies what is appended to a long output as the server does", function()
    local line = ("naïve output "):rep(60)
    local run = support.sh(("read go; for n in $(seq 400); do echo $n '%s'; sleep 0.005; done; read stop"):format(line), { interactive = true })
    local appends = 0
    local list = require("loomd.items").open(run.id, {
      on_begin = function() end,
      on_change = function() end,
      on_failure = function(failure)
        error(failure.message)
      end,
    })
    local append = list.append
    list.append = function(...)
      appends = appends + 1
      return append(...)
    end
    support.wait("the items to follow", function()
      return list.attached
    end)
    support.request("run/send", { runId = run.id, text = "\n" })
    -- The run has not ended, so that nothing but appends made what is compared.
    local fresh
    support.wait("the whole output", function()
      fresh = support.request("run/items", { runId = run.id })
      local item = list.by_number[1] and list.by_number[1].item
      return item and item.output.text:find("\n400 ") and item.lastSeq == fresh.items[1].lastSeq
    end)
    assert.is_true(appends > 20, appends .. " appends")
    assert.is_true(fresh.items[1].output.omittedBytes > 100000)
    assert.same(fresh.items[1], list.by_number[1].item)
    list:close()
  end)

  it("shows why it failed", function()
    local run = agent("fail the model is on holiday", { interactive = false })
    support.until_state(run.id, "failed")
    support.until_text(open(run), "the model is on holiday")
    vim.cmd.Loomd()
    support.until_text(0, "✗ failed.*the model is o")
  end)
end)
