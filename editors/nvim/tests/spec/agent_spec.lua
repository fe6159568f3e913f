-- What agents bring: questions, transcripts, sessions, changes. The runs are a fake server's, so that each case is exactly what it says.

local world = require("world")

local fake = { "python3", world.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"

local function begin(options)
  world.fresh(vim.tbl_extend("force", { cmd = fake }, options or {}))
  world.connect()
end

local function run(more)
  local made = vim.tbl_extend("force", { id = id, cwd = world.folder .. "/work", params = { prompt = "mend the parser", provider = "codex" } }, more or {})
  world.ask("fake/run", { run = made })
  return world.wait("the run", function()
    return world.store().runs[made.id]
  end)
end

local function push(entry)
  return world.ask("fake/push", { entry = vim.tbl_extend("keep", entry, { runId = id }) })
end

local function update(what)
  return push({ kind = "update", update = what })
end

local options = {
  { optionId = "yes", name = "Allow", kind = "allow_once" },
  { optionId = "always", name = "Always allow", kind = "allow_always" },
  { optionId = "no", name = "Reject", kind = "reject_once" },
}

local function asks(call, more)
  local entry = push(vim.tbl_extend("force", {
    kind = "permission",
    permissionId = "p1",
    status = "requested",
    toolCall = vim.tbl_extend("keep", call, { toolCallId = "t1" }),
    options = options,
  }, more or {}))
  push({ kind = "state", state = "awaitingPermission", turn = 1 })
  world.wait("the question", function()
    return #require("loomd.permission").open() > 0
  end)
  return entry
end

local command = { kind = "execute", title = "run a command", rawInput = { command = { "sh", "-c", "rm -rf build && make" } } }

local function answers()
  return vim.tbl_map(
    function(call)
      return call.params
    end,
    vim.tbl_filter(function(call)
      return call.method == "run/answer"
    end, world.ask("fake/calls").calls)
  )
end

local function question()
  vim.cmd("Loomd next")
  return world.wait("the float", function()
    local shown = require("loomd.view.question").shown()
    return shown and vim.api.nvim_get_current_buf() == shown.buffer and shown
  end)
end

describe("a question", function()
  after_each(world.finish)

  it("stands first in the list, whole, and is told of once, also to autocommands", function()
    begin()
    local told = {}
    local autocmd = vim.api.nvim_create_autocmd("User", {
      pattern = "LoomdPermission",
      callback = function(args)
        table.insert(told, { args.data.status, args.data.run.id, args.data.permission.permissionId })
      end,
    })
    run()
    run({ id = "01990000-0000-7000-8000-0000ffff0000", params = { prompt = "something newer" }, createdAt = 99999999999999 })
    asks(command)
    assert.is_truthy(world.heard("codex asks to run: rm %-rf build && make  %(:Loomd next%)"))
    assert.same({ { "requested", id, "p1" } }, told)
    vim.api.nvim_del_autocmd(autocmd)
    assert.equal("loomd: 1 waiting, 1 running", require("loomd").status())
    vim.cmd.Loomd()
    local text = world.text()
    assert.is_truthy(text:find("Waiting for you\n[^\n]*● waiting[^\n]*mend the parser"))
    assert.is_truthy(text:find("%$ rm %-rf build && make"))
    assert.is_true(text:find("mend the parser") < text:find("something newer"))
  end)

  it("is allowed by a in the list, when all of it is seen there", function()
    begin()
    run()
    asks(command)
    vim.cmd.Loomd()
    world.go_to("mend the parser")
    world.press("a")
    world.wait("the answer", function()
      return not world.store().is_waiting(world.store().runs[id])
    end)
    assert.same({ { runId = id, permissionId = "p1", optionId = "yes" } }, answers())
    world.until_text(0, "0 waiting")
  end)

  it("is shown whole before a allows it, when the row cannot show all of it", function()
    begin()
    run()
    asks({ kind = "edit", title = "edit", content = { { type = "diff", path = "/src/a.c", oldText = "one\n", newText = "two\n" } } })
    vim.cmd.Loomd()
    world.go_to("mend the parser")
    world.press("a")
    assert.same({}, answers())
    assert.equal("loomd-question", vim.bo.filetype)
    world.press("a")
    world.wait("the answer", function()
      return #answers() == 1
    end)
  end)

  it("is denied by d in the list", function()
    begin()
    run()
    asks(command)
    vim.cmd.Loomd()
    world.go_to("mend the parser")
    world.press("d")
    world.wait("the answer", function()
      return #answers() == 1
    end)
    assert.equal("no", answers()[1].optionId)
  end)

  it("has the full action and all of its files in a float", function()
    begin()
    run()
    local content, long = {}, {}
    for index = 1, 12 do
      content[index] = { type = "diff", path = ("/src/file%d.c"):format(index), oldText = "old " .. index .. "\n", newText = "new " .. index .. "\n" }
    end
    content[13] = { type = "diff", path = "/src/new.c", newText = "brand new\n" }
    for index = 1, 200 do
      long[index] = "echo line " .. index
    end
    asks({ kind = "edit", content = content, locations = { { path = "/src/also.c" } }, rawInput = { command = table.concat(long, "\n"), reason = "because" } })
    question()
    local text = world.text()
    for index = 1, 12 do
      assert.is_truthy(text:find(("/src/file%d.c  (+1 -1)"):format(index), 1, true))
      assert.is_truthy(text:find(("\n-old %d\n+new %d"):format(index, index), 1, true))
    end
    assert.is_truthy(text:find("/src/new.c  (new, 1 line)", 1, true))
    assert.is_truthy(text:find("\n  /src/also.c", 1, true))
    for index = 1, 200 do
      assert.is_truthy(text:find("echo line " .. index .. "\n", 1, true))
    end
    assert.is_truthy(text:find("1  Allow\n"))
    assert.is_truthy(text:find("3  Reject"))
  end)

  it("still waits when its float is closed", function()
    begin()
    run()
    asks(command)
    for _, key in ipairs({ "q", "<Esc>", ":close<CR>", ":bwipeout!<CR>" }) do
      local shown = question()
      world.press(key)
      assert.is_false(vim.api.nvim_win_is_valid(shown.window))
    end
    assert.same({}, answers())
    assert.is_true(world.store().is_waiting(world.store().runs[id]))
    assert.equal("loomd: 1 waiting", require("loomd").status())
  end)

  it("closes its float when somebody else answers", function()
    begin()
    run()
    asks(command)
    local shown = question()
    push({ kind = "permission", permissionId = "p1", status = "resolved", by = "client", optionId = "no" })
    world.wait("the float to close", function()
      return not vim.api.nvim_win_is_valid(shown.window)
    end)
    assert.same({}, answers())
  end)

  it("is answered by the number of an option", function()
    begin()
    run()
    asks(command)
    local shown = question()
    world.press("2")
    world.wait("the float to close", function()
      return not vim.api.nvim_win_is_valid(shown.window)
    end)
    assert.equal("always", answers()[1].optionId)
  end)

  it("is denied with a reason by m", function()
    begin()
    run()
    asks(command)
    question()
    local input = vim.ui.input
    vim.ui.input = function(_, done)
      done("use make clean")
    end
    world.press("m")
    vim.ui.input = input
    world.wait("the answer", function()
      return #answers() == 1
    end)
    assert.same({ runId = id, permissionId = "p1", optionId = "no", message = "use make clean" }, answers()[1])
  end)

  it("is answered by :Loomd approve and deny, only when the run is named", function()
    begin()
    run()
    asks(command)
    vim.cmd("Loomd approve")
    world.wait("the float", function()
      return vim.bo.filetype == "loomd-question"
    end)
    assert.same({}, answers())
    world.press("q")
    assert.same({ id:sub(-8) }, vim.fn.getcompletion("Loomd approve ", "cmdline"))
    vim.cmd("Loomd approve " .. id:sub(-8))
    world.wait("the answer", function()
      return #answers() == 1
    end)
    asks(command, { permissionId = "p2" })
    vim.cmd("Loomd deny " .. id:sub(-8) .. " not like this")
    world.wait("the second answer", function()
      return #answers() == 2
    end)
    assert.equal("not like this", answers()[2].message)
  end)

  it("denies by cancelling where no refusal is offered, and never invents a yes", function()
    begin()
    run()
    local entry = asks(command, { options = { { optionId = "maybe", name = "Maybe", kind = "other" } } })
    local permission = require("loomd.permission")
    permission.decide(world.store().runs[id], entry, "allow")
    assert.is_truthy(world.heard("no plain yes"))
    permission.decide(world.store().runs[id], entry, "deny")
    world.wait("the answer", function()
      return #answers() == 1
    end)
    assert.same({ runId = id, permissionId = "p1", cancelled = true }, answers()[1])
  end)

  it("opens without the focus when the option says so", function()
    begin({ approval = "float" })
    local window = vim.api.nvim_get_current_win()
    run()
    asks(command)
    assert.is_truthy(require("loomd.view.question").shown())
    assert.equal(window, vim.api.nvim_get_current_win())
  end)

  it("shows no control characters that could hide what it is", function()
    begin()
    run()
    asks({ kind = "execute", rawInput = { command = "echo ok\r\27[2Krm -rf ~" } })
    question()
    assert.is_truthy(world.text():find("echo ok^M^[[2Krm -rf ~", 1, true))
  end)
end)

describe("remembered rules", function()
  after_each(world.finish)

  it("answer the same question again, from a file that :Loomd rules opens", function()
    begin()
    run()
    asks(command)
    question()
    world.press("A")
    world.wait("the answer", function()
      return #answers() == 1
    end)
    world.wait("the run to go on", function()
      return not world.store().is_waiting(world.store().runs[id])
    end)
    push({ kind = "permission", permissionId = "p2", status = "requested", toolCall = vim.tbl_extend("keep", command, { toolCallId = "t2" }), options = options })
    world.wait("the rule's answer", function()
      return #answers() == 2
    end)
    assert.equal("yes", answers()[2].optionId)
    assert.is_truthy(world.heard("allowed by a rule: rm %-rf build && make"))
    vim.cmd("Loomd rules")
    assert.equal(world.folder .. "/config/loomd/rules.json", vim.api.nvim_buf_get_name(0))
    assert.is_truthy(world.text():find('"command": "rm -rf build && make"', 1, true))
  end)

  it("are as narrow as they say", function()
    begin()
    local rules = require("loomd.rules")
    local made = { provider = "codex", cwd = "/src/project" }
    local function execute(line)
      return { kind = "execute", rawInput = { command = line } }
    end
    local rule = { decision = "allow", kind = "execute", command = "cargo test *", cwd = "/src/project" }
    assert.is_true(rules.matches(rule, made, execute("cargo test --lib parser::tests")))
    for _, line in ipairs({
      "cargo test; rm -rf ~",
      "cargo test && curl evil",
      "cargo test $(evil)",
      "cargo test `evil`",
      "cargo test | sh",
      "cargo test > /etc/passwd",
      "cargo test a\nrm -rf ~",
      "cargo build",
      "xcargo test a",
    }) do
      assert.is_false(rules.matches(rule, made, execute(line)), line)
    end
    assert.is_false(rules.matches(rule, { provider = "codex", cwd = "/src/project-of-others" }, execute("cargo test a")))
    assert.is_true(rules.matches(rule, { provider = "codex", cwd = "/src/project/sub" }, execute("cargo test a")))
    local edit = { decision = "allow", kind = "edit", path = "/src/project/*" }
    local function edits(...)
      local content = {}
      for _, path in ipairs({ ... }) do
        content[#content + 1] = { type = "diff", path = path, newText = "" }
      end
      return { kind = "edit", content = content }
    end
    assert.is_true(rules.matches(edit, made, edits("/src/project/a.c", "/src/project/b/c.c")))
    assert.is_false(rules.matches(edit, made, edits("/src/project/a.c", "/etc/passwd")))
    assert.is_false(rules.matches(edit, made, edits("/src/project/../../etc/passwd")))
    assert.is_false(rules.matches(edit, made, { kind = "edit" }))
  end)

  it("deny before they allow, and are not used at all when the file is broken", function()
    begin()
    local rules = require("loomd.rules")
    local made = { provider = "codex", cwd = "/src" }
    local call = { kind = "execute", rawInput = { command = "make" } }
    assert.is_nil(rules.add({ decision = "allow", command = "make" }))
    assert.equal("allow", rules.decide(made, call))
    assert.is_nil(rules.add({ decision = "deny", command = "make" }))
    assert.equal("deny", rules.decide(made, call))
    vim.fn.writefile({ '{"version": 1, "rules": [' }, rules.path())
    assert.is_nil(rules.decide(made, call))
    assert.is_truthy(world.heard("is not JSON"))
    vim.fn.writefile({ '{"version": 1, "rules": [{"decision": "allow"}]}' }, rules.path())
    assert.is_nil(rules.decide(made, call))
  end)
end)

describe("a transcript", function()
  after_each(world.finish)

  local function open()
    vim.cmd("Loomd output " .. id:sub(-8))
    local buffer = vim.api.nvim_get_current_buf()
    world.wait("the transcript to follow", function()
      local view = require("loomd.view.transcript").of(id)
      return view and view.follower.attached
    end)
    return buffer
  end

  local function say(kind, message, text, meta)
    update({ sessionUpdate = kind, messageId = message, content = { type = "text", text = text }, _meta = meta })
  end

  it("is a text to read: prompt, thoughts, messages, plan, notices, the end of a turn", function()
    begin()
    run()
    say("user_message_chunk", "u1", "mend the parser")
    local buffer = open()
    say("agent_thought_chunk", "t1", "let me see\nwhat this is")
    say("agent_message_chunk", "m1", "I look at **the ")
    say("agent_message_chunk", "m1", "parser**.\n\nThen")
    say("agent_message_chunk", "m1", " I mend it.")
    update({ sessionUpdate = "plan", entries = { { content = "look", status = "completed" }, { content = "mend", status = "pending" } } })
    update({ sessionUpdate = "notice", severity = "warning", title = "Trying again", description = "after 2 s" })
    update({ sessionUpdate = "something_of_tomorrow", content = {} })
    push({ kind = "state", state = "idle", turn = 1, stopReason = "end_turn", usage = { inputTokens = 1200, outputTokens = 34 } })
    world.until_text(buffer, "turn 1")
    assert.same({
      "## You",
      "",
      "mend the parser",
      "",
      "### Thinking",
      "",
      "> let me see",
      "> what this is",
      "",
      "I look at **the parser**.",
      "",
      "Then I mend it.",
      "",
      "### Plan",
      "",
      "- [x] look",
      "- [ ] mend",
      "",
      "> Trying again",
      "> after 2 s",
      "",
      "*— turn 1 · done, waits for a prompt · 1200 tokens in, 34 out —*",
      "",
    }, world.lines(buffer))
    assert.equal("loomd-transcript", vim.bo[buffer].filetype)
    assert.is_false(vim.bo[buffer].modifiable)
  end)

  it("folds a tool call to one line that says where it stands, and keeps it open when it was opened", function()
    begin()
    run()
    local buffer = open()
    update({ sessionUpdate = "tool_call", toolCallId = "c1", kind = "execute", status = "in_progress", title = "test", rawInput = { command = "cargo test" } })
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", _meta = { ["loomd/output"] = { offset = 0, text = "one\ntw" } } })
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", _meta = { ["loomd/output"] = { offset = 6, text = "o\nthree\n" } } })
    world.until_text(buffer, "three")
    assert.is_truthy(world.text(buffer):find("### ▶ run: cargo test · in progress\n\n```sh\ncargo test\n```\n```text\none\ntwo\nthree\n```"))
    local heading = world.go_to("### ▶ run")
    assert.equal(heading, vim.fn.foldclosed(heading))
    assert.is_truthy(vim.fn.foldclosedend(heading) > heading + 5)
    assert.is_truthy(require("loomd.toolblock").summary(require("loomd.view.transcript").of(id).model.blocks[1]):find("cargo test · in progress · 3 lines: three$"))
    -- Cut at an offset: the provider took something back.
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", _meta = { ["loomd/output"] = { offset = 4, text = "zwei\n" } } })
    world.until_text(buffer, "one\nzwei\n```")
    world.press("<CR>")
    assert.equal(-1, vim.fn.foldclosed(heading))
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", status = "completed" })
    world.until_text(buffer, "### ✓ run: cargo test · completed")
    vim.cmd.redraw()
    assert.equal(-1, vim.fn.foldclosed(heading))
  end)

  it("folds all of a tool call, however often its state changed while it was looked at", function()
    begin()
    run()
    say("user_message_chunk", "u1", "write it")
    local buffer = open()
    local diff = { type = "diff", path = "/src/fake.txt", newText = "one\ntwo\n" }
    local function whole_fold(heading)
      world.until_text(buffer, "### " .. heading)
      vim.cmd.redraw()
      local first = world.go_to("### " .. heading)
      assert.same({ first, first + 9 }, { vim.fn.foldclosed(first), vim.fn.foldclosedend(first) }, world.text(buffer))
      vim.cmd("normal! G")
    end
    update({ sessionUpdate = "tool_call", toolCallId = "c1", kind = "edit", status = "in_progress", title = "Write fake.txt", content = { diff } })
    whole_fold("▶ edit")
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", status = "pending" })
    whole_fold("◌ edit")
    asks({ toolCallId = "c1", kind = "edit", title = "Write fake.txt", content = { diff } })
    whole_fold("◌ edit")
    push({ kind = "permission", permissionId = "p1", status = "resolved", by = "client", optionId = "yes" })
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", status = "in_progress" })
    whole_fold("▶ edit")
    update({ sessionUpdate = "tool_call_update", toolCallId = "c1", status = "completed" })
    say("agent_message_chunk", "m1", "The")
    say("agent_message_chunk", "m1", " file")
    whole_fold("✓ edit")
    push({ kind = "state", state = "idle", turn = 1, stopReason = "end_turn" })
    world.until_text(buffer, "turn 1")
    whole_fold("✓ edit")
  end)

  it("shows diffs of an edit, and reads buffers of the files again", function()
    begin()
    run()
    local path = world.folder .. "/work/code.c"
    vim.fn.writefile({ "old line" }, path)
    vim.cmd.edit(path)
    local file = vim.api.nvim_get_current_buf()
    local buffer = open()
    update({ sessionUpdate = "tool_call", toolCallId = "c1", kind = "edit", status = "in_progress", title = "edit code.c" })
    vim.uv.fs_utime(path, 1, 1)
    vim.cmd("checktime " .. file)
    vim.fn.writefile({ "new line" }, path)
    update({
      sessionUpdate = "tool_call_update",
      toolCallId = "c1",
      status = "completed",
      content = { { type = "diff", path = path, oldText = "old line\n", newText = "new line\n" } },
    })
    world.until_text(buffer, "%-old line\n%+new line")
    world.until_text(file, "new line")
    assert.is_truthy(world.text(buffer):find("code.c  (+1 -1)", 1, true))
  end)

  it("keeps apart messages that were abandoned, and sub-agents", function()
    begin()
    run()
    local buffer = open()
    say("agent_message_chunk", "m1", "half an ans")
    say("agent_message_chunk", "m1", "", { ["loomd/abandoned"] = true })
    say("agent_message_chunk", "m2", "a whole answer")
    say("agent_message_chunk", "m3", "found it", { ["loomd/parentToolCallId"] = "c9" })
    world.until_text(buffer, "found it")
    local text = world.text(buffer)
    assert.is_falsy(text:find("half an ans"))
    assert.is_truthy(text:find("broke off and was begun anew"))
    assert.is_truthy(text:find("### ↳ sub%-agent\n\nfound it"))
  end)

  it("tells of questions and their answers where they were asked", function()
    begin()
    run()
    local buffer = open()
    asks(command)
    world.until_text(buffer, "### ● asks to run: rm %-rf build && make · K shows all of it")
    world.press("K")
    world.wait("the float", function()
      return vim.bo.filetype == "loomd-question"
    end)
    world.press("a")
    world.until_text(buffer, "### ✓ asked to run: rm %-rf build && make · Allow")
  end)

  it("follows at the end, and stays where somebody reads", function()
    begin()
    run()
    local buffer = open()
    local following = vim.api.nvim_get_current_win()
    for index = 1, 50 do
      say("agent_message_chunk", "m" .. index, "message " .. index)
    end
    world.until_text(buffer, "message 50\n")
    assert.equal(vim.api.nvim_buf_line_count(buffer), vim.api.nvim_win_get_cursor(following)[1])
    vim.cmd("split")
    local staying = vim.api.nvim_get_current_win()
    vim.api.nvim_win_set_cursor(staying, { 5, 0 })
    say("agent_message_chunk", "m51", "message 51")
    world.until_text(buffer, "message 51\n")
    assert.equal(5, vim.api.nvim_win_get_cursor(staying)[1])
    assert.equal(vim.api.nvim_buf_line_count(buffer), vim.api.nvim_win_get_cursor(following)[1])
  end)

  it("is painted at most once per interval, and keeps no more lines than it may", function()
    begin({ max_lines = 100 })
    run()
    local buffer = open()
    local view = require("loomd.view.transcript").of(id)
    local begun, paints = vim.uv.now(), view.painter.count
    for index = 1, 150 do
      world.server().request("fake/push", { entry = { runId = id, kind = "update", update = { sessionUpdate = "agent_message_chunk", messageId = "m" .. index, content = { type = "text", text = "message " .. index } } } })
    end
    world.until_text(buffer, "message 150\n")
    assert.is_true(view.painter.count - paints <= (vim.uv.now() - begun) / 50 + 2)
    assert.is_true(vim.api.nvim_buf_line_count(buffer) <= 100)
    -- The whole is one key away.
    world.press("gA")
    world.wait("the whole transcript", function()
      return world.text():find("message 1\n") and world.text():find("message 150")
    end)
  end)

  it("of a long run begins with its end and goes on from there", function()
    begin({ backlog_bytes = 4000 })
    run()
    for index = 1, 60 do
      say("agent_message_chunk", "m" .. index, "message " .. index)
    end
    local buffer = open()
    world.until_text(buffer, "message 60\n")
    assert.is_truthy(world.text(buffer):find("beginning is not shown"))
    assert.is_falsy(world.text(buffer):find("message 1\n"))
    say("agent_message_chunk", "m61", "message 61")
    world.until_text(buffer, "message 61")
  end)
end)

describe("an agent's run", function()
  after_each(world.finish)

  it("gets prompts, queued or steered", function()
    begin()
    run()
    vim.cmd(("Loomd send %s and the tests, too"):format(id:sub(-8)))
    vim.cmd(("Loomd steer %s faster"):format(id:sub(-8)))
    local calls = vim.tbl_filter(function(call)
      return call.method == "run/send"
    end, world.ask("fake/calls").calls)
    assert.same({ runId = id, prompt = "and the tests, too" }, calls[1].params)
    assert.same({ runId = id, prompt = "faster", mode = "steer" }, calls[2].params)
  end)

  it("is resumed in a new run, and with a warning when a terminal has its session", function()
    begin()
    local ended = run({ state = "succeeded", session = { provider = "codex", id = "s", resumable = true, takeover = {} } })
    local new = world.await(function(done)
      require("loomd.actions").resume(ended, "go on", done)
    end)
    assert.same({ runId = id }, new.params.resume)
    assert.equal("go on", new.params.prompt)
    ended.takenOverAt = 1
    local asked
    local select = vim.ui.select
    vim.ui.select = function(_, options_, done)
      asked = options_.prompt
      done("leave it")
    end
    require("loomd.actions").resume(ended, "go on", error)
    vim.ui.select = select
    assert.is_truthy(asked:find("taken over in a terminal"))
  end)

  it("can go on with a session that was made outside of loomd", function()
    begin()
    world.ask("fake/result", { method = "session/list", result = { sessions = { { id = "outside", title = "of yesterday", cwd = world.folder } } } })
    local select, input = vim.ui.select, vim.ui.input
    local offered
    vim.ui.select = function(items, options_, done)
      offered = options_.format_item(items[1])
      done(items[1])
    end
    vim.ui.input = function(_, done)
      done("go on")
    end
    local new = world.await(function(done)
      require("loomd.sessions").pick("codex", done)
    end)
    vim.ui.select, vim.ui.input = select, input
    assert.is_truthy(offered:find("of yesterday"))
    assert.same({ sessionId = "outside" }, new.params.resume)
    assert.equal(world.folder, new.cwd)
  end)

  it("is configured from its next turn on, with words that its provider offers", function()
    begin()
    run()
    world.ask("fake/result", { method = "provider/options", result = { models = { { id = "small-1", name = "Small" }, { id = "large-1", name = "Large" } }, modes = {} } })
    local short = id:sub(-8)
    assert.same({ short }, vim.fn.getcompletion("Loomd configure ", "cmdline"))
    assert.same({ "model=large-1", "model=small-1" }, vim.fn.getcompletion(("Loomd configure %s mod"):format(short), "cmdline"))
    assert.same({ "permissions=acceptEdits", "permissions=ask" }, vim.fn.getcompletion(("Loomd configure %s model=large-1 permissions=a"):format(short), "cmdline"))
    local function asked(method)
      return vim.tbl_filter(function(call)
        return call.method == method
      end, world.ask("fake/calls").calls)
    end
    assert.equal(1, #asked("provider/options"))
    vim.cmd(("Loomd configure %s model=large-1 permissions=acceptEdits"):format(short))
    world.wait("the sentence", function()
      return world.heard(short .. ": model large%-1 and permissions acceptEdits from its next turn on")
    end)
    assert.same({ runId = id, model = "large-1", permissions = "acceptEdits" }, asked("run/configure")[1].params)
    vim.cmd(("Loomd configure %s colour=red"):format(short))
    assert.is_truthy(world.heard("colour=red is neither model=NAME nor permissions=MODE; <Tab> completes them"))
    -- By the key, it is picked.
    local select, offered = vim.ui.select, {}
    vim.ui.select = function(items, options_, done)
      local shown = vim.tbl_map(options_.format_item, items)
      table.insert(offered, shown)
      done(items[#offered == 1 and 1 or 2])
    end
    vim.cmd.Loomd()
    world.go_to("mend the parser")
    world.press("C")
    world.wait("the second setting", function()
      return #asked("run/configure") == 2
    end)
    vim.ui.select = select
    assert.same({ { "model  (now large-1)", "permissions  (now acceptEdits)" }, { "small-1  (Small)", "large-1  (Large)" } }, offered)
    push({ kind = "state", state = "succeeded", turn = 1 })
    world.until_state(id, "succeeded")
    assert.same({}, vim.fn.getcompletion("Loomd configure ", "cmdline"))
  end)

  it("is beside sessions that were made outside of loomd, in the history and on demand", function()
    begin()
    run({ state = "succeeded", endedAt = 1 })
    world.ask("fake/result", {
      method = "session/list",
      result = { sessions = { { id = "outside", title = "of yesterday", cwd = world.folder, updatedAt = 1 }, { id = "ours", title = "of this run", runId = id } } },
    })
    vim.cmd("Loomd history")
    local buffer = vim.api.nvim_get_current_buf()
    world.until_text(buffer, "O shows sessions of this directory that were made outside of loomd")
    assert.is_falsy(world.text(buffer):find("of yesterday"))
    world.press("O")
    world.until_text(buffer, "Made outside of loomd\n    claude +of yesterday.*\n    codex +of yesterday.*ago\n    R goes on with one")
    assert.is_falsy(world.text(buffer):find("of this run"))
    world.go_to("codex +of yesterday")
    local input = vim.ui.input
    vim.ui.input = function(_, done)
      done("go on")
    end
    world.press("R")
    vim.ui.input = input
    local new = world.wait("the new run", function()
      return vim.iter(vim.tbl_values(world.store().runs)):find(function(each)
        return each.id ~= id
      end)
    end)
    assert.same({ sessionId = "outside" }, new.params.resume)
    assert.equal("codex", new.provider)
  end)

  it("fills the quickfix list from what it and its tools said, in order", function()
    begin()
    run()
    for _, name in ipairs({ "a.c", "b.c", "c.c" }) do
      vim.fn.writefile({ "one", "two", "three" }, name)
    end
    local function tool(call, text)
      update({ sessionUpdate = "tool_call", toolCallId = call, kind = "execute", status = "in_progress", title = "make" })
      update({ sessionUpdate = "tool_call_update", toolCallId = call, status = "completed", content = { { type = "content", content = { type = "text", text = text } } } })
    end
    tool("t1", "a.c:2:1: error: missing bracket\ngone.c:1:1: error: no such file")
    update({ sessionUpdate = "agent_message_chunk", messageId = "m1", content = { type = "text", text = "I would look at\nb.c:3: where it " } })
    tool("t2", "c.c:1:2: warning: unused")
    update({ sessionUpdate = "agent_message_chunk", messageId = "m1", content = { type = "text", text = "begins" } })
    local count = world.await(function(done)
      require("loomd.quickfix").open(world.store().runs[id], done)
    end)
    assert.equal(3, count)
    assert.same(
      { "a.c:2", "b.c:3", "c.c:1" },
      vim.tbl_map(function(item)
        return vim.fs.basename(vim.api.nvim_buf_get_name(item.bufnr)) .. ":" .. item.lnum
      end, vim.fn.getqflist())
    )
    assert.is_truthy(vim.fn.getqflist({ title = true }).title:find("mend the parser"))
    vim.cmd.cclose()
  end)

  it("is taken over in a terminal split, in its directory and environment", function()
    begin()
    run({ session = { provider = "codex", id = "s", resumable = true, takeover = {} } })
    world.ask("fake/result", {
      method = "run/takeover",
      result = {
        takeover = { kind = "resume", verified = true, display = "codex resume s", command = { "sh", "-c", "echo $LOOMD_SPEC in $PWD; sleep 1000" }, cwd = world.folder, env = { LOOMD_SPEC = "here" } },
      },
    })
    vim.cmd.Loomd()
    vim.cmd("Loomd output " .. id:sub(-8))
    vim.cmd("Loomd takeover " .. id:sub(-8))
    world.wait("the terminal", function()
      return vim.bo.buftype == "terminal"
    end)
    local buffer = vim.api.nvim_get_current_buf()
    world.until_text(buffer, "here in " .. vim.pesc(world.folder))
    assert.is_true(vim.api.nvim_win_get_height(0) >= math.floor(vim.o.lines / 2))
    vim.fn.jobstop(vim.bo[buffer].channel)
  end)

  it("shows its changes in a tab: files, both sides, ]f and [f, and q closes all of it", function()
    begin()
    run()
    vim.fn.writefile({ "kept", "new" }, "patched.txt")
    world.ask("fake/result", {
      method = "run/changes",
      result = {
        complete = false,
        files = {
          { path = "/src/a.lua", kind = "modify", oldText = "local a = 1\n", newText = "local a = 2\n" },
          { path = "patched.txt", kind = "modify", patch = "--- patched.txt\n+++ patched.txt\n@@ -1,2 +1,2 @@\n kept\n-old\n+new\n" },
          { path = "gone.txt", kind = "modify", patch = "@@ -1 +1 @@\n-never\n+was here\n" },
        },
      },
    })
    local before, windows = #vim.api.nvim_list_tabpages(), #vim.api.nvim_list_bufs()
    local view = world.await(function(done)
      require("loomd.view.changes").open(world.store().runs[id], done)
    end)
    assert.equal(before + 1, #vim.api.nvim_list_tabpages())
    local function side(index)
      return world.text(vim.api.nvim_win_get_buf(view.sides[index]))
    end
    assert.same({ "M /src/a.lua", "M patched.txt", "M gone.txt" }, world.lines(vim.api.nvim_win_get_buf(view.list)))
    assert.same({ "local a = 1", "local a = 2" }, { side(1), side(2) })
    assert.is_true(vim.wo[view.sides[1]].diff and vim.wo[view.sides[2]].diff)
    assert.equal("lua", vim.bo[vim.api.nvim_win_get_buf(view.sides[2])].filetype)
    world.press("]f")
    assert.same({ "kept\nold", "kept\nnew" }, { side(1), side(2) })
    world.press("]f")
    assert.is_truthy(side(1):find("+was here", 1, true))
    world.press("[f")
    assert.same({ "kept\nold", "kept\nnew" }, { side(1), side(2) })
    world.press("q")
    assert.equal(before, #vim.api.nvim_list_tabpages())
    assert.equal(windows, #vim.tbl_filter(vim.api.nvim_buf_is_valid, vim.api.nvim_list_bufs()) )
  end)

  it("of earlier days is not told as news", function()
    world.fresh({ cmd = fake, env = { FAKE_SCRIPT = world.plugin .. "/tests/agents_at_work.json" } })
    local told = {}
    local autocmd = vim.api.nvim_create_autocmd("User", {
      pattern = "LoomdRunState",
      callback = function(args)
        told[args.data.state] = true
      end,
    })
    world.connect()
    world.wait("the questions", function()
      return require("loomd").counts().waiting == 1
    end)
    vim.api.nvim_del_autocmd(autocmd)
    assert.same({ nil, nil }, { told.succeeded, told.failed })
  end)

  it("tells autocommands of every state, and the person of the end when nobody looks", function()
    begin()
    local told = {}
    local autocmd = vim.api.nvim_create_autocmd("User", {
      pattern = "LoomdRunState",
      callback = function(args)
        table.insert(told, { args.data.previous or false, args.data.state, args.data.run.id })
      end,
    })
    run()
    world.store().mine[id] = true
    push({ kind = "state", state = "failed", turn = 1, error = { kind = "auth", message = "log in first" } })
    world.until_state(id, "failed")
    vim.api.nvim_del_autocmd(autocmd)
    assert.same({ { false, "running", id }, { "running", "failed", id } }, told)
    assert.is_truthy(world.heard("mend the parser failed after .*: log in first"))
  end)

  it("is not told of when the list is in sight, when others started it, or when notify is off", function()
    for _, case in ipairs({ { look = true, mine = true }, { mine = false }, { mine = true, notify = "off" }, { mine = true, notify = "waiting" } }) do
      begin({ notify = case.notify or "all" })
      if case.look then
        vim.cmd.Loomd()
      end
      run()
      world.store().mine[id] = case.mine
      push({ kind = "state", state = "succeeded", turn = 1 })
      world.until_state(id, "succeeded")
      assert.is_nil(world.heard("succeeded"), vim.inspect(case))
    end
  end)

  it("that a terminal has taken over, here or elsewhere, says so", function()
    begin()
    run({ session = { provider = "codex", id = "s", resumable = true, takeover = {} } })
    vim.cmd.Loomd()
    -- No entry tells of it: it is asked for when the run has ended.
    world.ask("fake/set", { runId = id, takenOverAt = 1 })
    push({ kind = "state", state = "cancelled", turn = 1 })
    world.until_text(0, "■ cancelled.*taken over")
  end)

  it("is busy in its buffers while it works, and tells of its progress if that is wished", function()
    begin({ progress = true })
    run()
    local told = {}
    local newest = vim.fn.has("nvim-0.12") == 1
    local autocmd = newest
      and vim.api.nvim_create_autocmd("Progress", {
        callback = function(args)
          table.insert(told, { args.data.title, args.data.status, table.concat(args.data.text) })
        end,
      })
    vim.cmd("Loomd output " .. id:sub(-8))
    local buffer = vim.api.nvim_get_current_buf()
    local function until_busy(busy)
      if newest then
        world.wait("busy " .. busy, function()
          return vim.bo[buffer].busy == busy
        end)
      end
    end
    push({ kind = "state", state = "running", turn = 1 })
    until_busy(1)
    push({ kind = "state", state = "idle", turn = 1 })
    until_busy(0)
    push({ kind = "state", state = "running", turn = 2 })
    until_busy(1)
    push({ kind = "state", state = "failed", turn = 2 })
    world.until_state(id, "failed")
    until_busy(0)
    if newest then
      vim.api.nvim_del_autocmd(autocmd)
      assert.same({ { "loomd", "running", "mend the parser: idle" }, { "loomd", "running", "mend the parser: running" }, { "loomd", "failed", "mend the parser: failed" } }, told)
    else
      assert.same({}, vim.tbl_filter(function(each)
        return each.level == vim.log.levels.ERROR
      end, world.said))
    end
  end)

  it("moves its time while it is looked at, though no list was ever opened, and not otherwise", function()
    begin()
    run()
    local clock = require("loomd.view.clock")
    clock.interval_ms = 10
    vim.cmd("Loomd output " .. id:sub(-8))
    local buffer, ticks = vim.api.nvim_get_current_buf(), 0
    clock.watch(buffer, function()
      ticks = ticks + 1
    end)
    world.wait("the clock", function()
      return ticks > 2
    end)
    vim.cmd("silent only | enew")
    local stopped = ticks
    local other, moved = vim.api.nvim_get_current_buf(), 0
    clock.watch(other, function()
      moved = moved + 1
    end)
    world.wait("the clock to go on for others", function()
      return moved > 2
    end)
    assert.equal(stopped, ticks)
  end)

  it("reads buffers under its directory again when a turn has ended, but not those with changes", function()
    begin()
    run()
    vim.fn.writefile({ "old" }, "clean.txt")
    vim.fn.writefile({ "old" }, "dirty.txt")
    vim.uv.fs_utime("clean.txt", 1, 1)
    vim.uv.fs_utime("dirty.txt", 1, 1)
    vim.cmd.edit("clean.txt")
    local clean = vim.api.nvim_get_current_buf()
    vim.cmd.edit("dirty.txt")
    local dirty = vim.api.nvim_get_current_buf()
    vim.api.nvim_buf_set_lines(dirty, 0, -1, false, { "mine" })
    vim.fn.writefile({ "new" }, "clean.txt")
    vim.fn.writefile({ "new" }, "dirty.txt")
    push({ kind = "state", state = "idle", turn = 1, stopReason = "end_turn" })
    world.until_text(clean, "new")
    assert.equal("mine", world.text(dirty))
    assert.is_truthy(world.heard("a run changed dirty.txt, and so have you"))
  end)

  it("is still true after the server was restarted with other news", function()
    begin()
    run()
    asks(command)
    vim.cmd("Loomd restart")
    world.wait("the new server, which knows of no runs", function()
      return world.server().state == "ready" and not world.store().runs[id]
    end)
    assert.equal("", require("loomd").status())
  end)
end)
