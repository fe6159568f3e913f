-- Permission requests, transcripts, sessions and changes of agents. The runs are those of a fake server, so that each
-- case is exact.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"

local function start(options)
  support.reset(vim.tbl_extend("force", { cmd = fake }, options or {}))
  support.connect()
end

local function run(more)
  local made = vim.tbl_extend("force", { id = id, cwd = support.folder .. "/work", params = { prompt = "fix the parser", provider = "codex" } }, more or {})
  support.request("fake/run", { run = made })
  return support.wait("the run", function()
    return support.store().runs[made.id]
  end)
end

local function push(entry)
  return support.request("fake/push", { entry = vim.tbl_extend("keep", entry, { runId = id }) })
end

local function push_item(item)
  return support.request("fake/item", { runId = id, item = item }).item
end

local function tool(item)
  return push_item(vim.tbl_extend("keep", item, { kind = "tool", turn = 1, locations = {}, diffs = {}, permissions = {}, toolKind = "execute", status = "completed" }))
end

local function say(text, more)
  return push_item(vim.tbl_extend("keep", more or {}, { kind = "message", role = "agent", turn = 1, text = text }))
end

local options = {
  { optionId = "yes", name = "Allow", kind = "allow_once" },
  { optionId = "always", name = "Always allow", kind = "allow_always" },
  { optionId = "no", name = "Reject", kind = "reject_once" },
}

local function request_permission(call, more)
  local entry = push(vim.tbl_extend("force", {
    kind = "permission",
    permissionId = "p1",
    status = "requested",
    toolCall = vim.tbl_extend("keep", call, { toolCallId = "t1" }),
    options = options,
  }, more or {}))
  push({ kind = "state", state = "awaitingPermission", turn = 1 })
  support.wait("the permission request", function()
    return #require("loomd.permission").pending() > 0
  end)
  return entry
end

local command = { kind = "execute", title = "rm -rf build && make", rawInput = { timeout = 60 } }

local function answers()
  return vim.tbl_map(
    function(call)
      return call.params
    end,
    vim.tbl_filter(function(call)
      return call.method == "run/answer"
    end, support.request("fake/calls").calls)
  )
end

local function open_request()
  vim.cmd("Loomd next")
  return support.wait("the floating window", function()
    local shown = require("loomd.view.permission_request").current()
    return shown and shown.is_armed and vim.api.nvim_get_current_buf() == shown.buffer and shown
  end)
end

describe("a permission request", function()
  after_each(support.cleanup)

  it("comes first in the list, whole, with one notification and one event", function()
    start()
    local events = {}
    local autocmd = vim.api.nvim_create_autocmd("User", {
      pattern = "LoomdPermission",
      callback = function(args)
        table.insert(events, { args.data.status, args.data.run.id, args.data.permission.permissionId })
      end,
    })
    run()
    run({ id = "01990000-0000-7000-8000-0000ffff0000", params = { prompt = "something newer" }, createdAt = 99999999999999 })
    request_permission(command)
    assert.is_truthy(support.find_notification("codex wants to run: rm %-rf build && make  %(:Loomd next%)"))
    assert.same({ { "requested", id, "p1" } }, events)
    vim.api.nvim_del_autocmd(autocmd)
    assert.equal("loomd: 1 waiting, 1 running", require("loomd").status())
    vim.cmd.Loomd()
    local text = support.text()
    assert.is_truthy(text:find("Needs input\n[^\n]*● waiting[^\n]*fix the parser"))
    assert.is_truthy(text:find("wants to run: rm %-rf build && make · K answer · d deny"))
    support.until_text(0, "rm %-rf build && make · K[^\n]*\n        timeout: 60\n")
    assert.is_true(text:find("fix the parser") < text:find("something newer"))
  end)

  it("is opened by a and K in the list, from any row if it is the only one, and not answered there", function()
    start()
    run()
    run({ id = "01990000-0000-7000-8000-0000ffff0000", params = { prompt = "something newer" }, createdAt = 99999999999999 })
    request_permission(command)
    for _, key in ipairs({ "a", "K" }) do
      for _, row in ipairs({ "fix the parser", "something newer" }) do
        vim.cmd.Loomd()
        support.move_to(row)
        support.press(key)
        local shown = support.wait("the floating window", function()
          local current = require("loomd.view.permission_request").current()
          return current and current.is_armed and current
        end)
        assert.equal(id, shown.run_id)
        support.press("q")
      end
    end
    assert.same({}, answers())
    -- With several, the row decides.
    push({ runId = "01990000-0000-7000-8000-0000ffff0000", kind = "permission", permissionId = "x", status = "requested", toolCall = command, options = options })
    run({ id = "01990000-0000-7000-8000-0000eeee0000", params = { prompt = "asks nothing" } })
    vim.cmd.Loomd()
    support.until_text(0, "asks nothing")
    support.move_to("asks nothing")
    support.press("K")
    assert.is_truthy(support.find_notification("2 requests of other runs; :Loomd next shows the oldest"))
  end)

  it("is denied by d in the list", function()
    start()
    run()
    request_permission(command)
    vim.cmd.Loomd()
    support.move_to("fix the parser")
    support.press("d")
    support.wait("the answer", function()
      return #answers() == 1
    end)
    assert.equal("no", answers()[1].optionId)
  end)

  it("is shown whole, as the server made it, whatever its parts are called", function()
    start()
    run()
    local shown = {
      { label = "title", text = "Edit README" },
      { label = "recursive", text = "true" },
      { label = "title", text = "a second title" },
      { label = "options", text = '{\n  "force": [\n    "x"\n  ]\n}' },
      { label = "a long line", text = ("word "):rep(200) .. "the end of it" },
      { label = "diff", text = "--- /w/README\n+++ /w/README\n@@ -1 +1 @@\n-a\n+hello\n" },
    }
    request_permission({ kind = "edit", title = "Edit README" }, { shown = shown })
    vim.cmd("Loomd next")
    support.wait("the floating window", function()
      return vim.bo.filetype == "loomd-question"
    end)
    local text = support.text()
    local unbroken = text:gsub(" ↩\n", "")
    for _, part in ipairs(shown) do
      assert.is_truthy(unbroken:find(part.text, 1, true), part.text)
    end
    assert.is_truthy(text:find("codex wants to edit\n.*\n\nEdit README\n\nrecursive\ntrue\n\ntitle\na second title\n"))
    assert.is_truthy(text:find("\n  1  Allow\n  2  Always allow\n  3  Reject$"))
    -- Each line is one row of the screen, so that the end of the last one cannot be below it.
    for _, line in ipairs(support.lines()) do
      assert.is_true(vim.fn.strdisplaywidth(line) <= vim.api.nvim_win_get_width(0), line)
    end
  end)

  it("ignores keys in its first moment, and drops those that wait", function()
    start()
    run()
    request_permission(command)
    vim.cmd("Loomd next")
    local shown = support.wait("the floating window", function()
      local current = require("loomd.view.permission_request").current()
      return current and vim.api.nvim_get_current_buf() == current.buffer and current
    end)
    local opened = vim.uv.now()
    assert.is_falsy(shown.is_armed)
    for _, key in ipairs({ "a", "A", "d", "1", "q", "<Esc>", "n", "<Space>" }) do
      support.press(key)
      assert.equal(shown, require("loomd.view.permission_request").current(), key)
    end
    -- Neovim is busy while this is typed, so it would be read after the moment is over.
    vim.api.nvim_feedkeys("a", "t", false)
    support.wait("the end of the moment", function()
      return shown.is_armed
    end)
    assert.is_true(vim.uv.now() - opened >= 550, vim.uv.now() - opened)
    vim.api.nvim_feedkeys("", "x", false)
    support.request("run/list", {})
    assert.same({}, answers())
    support.press("a")
    support.wait("the answer", function()
      return #answers() == 1
    end)
  end)

  it("that is longer than the screen is answered after its end was shown", function()
    start()
    run()
    local long = {}
    for index = 1, 3 * vim.o.lines do
      long[index] = "echo line " .. index
    end
    request_permission(command, { shown = { { label = "title", text = table.concat(long, "\n") } } })
    local shown = open_request()
    assert.is_falsy(shown.is_seen)
    assert.equal(1, vim.fn.line("w0"))
    for _, key in ipairs({ "a", "A", "d", "m", "1" }) do
      support.press(key)
    end
    assert.is_truthy(support.find_notification("Not all of the request was shown yet"))
    local pages = 0
    while not shown.is_seen do
      local last = vim.fn.line("w0") + vim.api.nvim_win_get_height(0) - 1
      support.press("<Space>")
      pages = pages + 1
      assert.is_true(vim.fn.line("w0") <= last + 1, "a line was passed over")
      assert.is_true(pages < 10)
    end
    assert.equal(vim.api.nvim_buf_line_count(0), vim.fn.line("w0") + vim.api.nvim_win_get_height(0) - 1)
    assert.same({}, answers())
    support.press("a")
    support.wait("the answer", function()
      return #answers() == 1
    end)
  end)

  it("of one very long line, and of very many line feeds, costs what it is long", function()
    start()
    run()
    local text = ("0123456789"):rep(20000) .. "é" .. ("\n"):rep(50000) .. "the end"
    request_permission(command, { shown = { { label = "title", text = text } } })
    support.request("run/list", {})
    -- How many bytes were measured and split by Vim's functions, instead of the time that it took.
    local originals, bytes = {}, 0
    for _, name in ipairs({ "strdisplaywidth", "strchars", "strcharpart", "split" }) do
      originals[name] = vim.fn[name]
      vim.fn[name] = function(first, ...)
        bytes = bytes + #first
        return originals[name](first, ...)
      end
    end
    local function costs_what_it_is_long()
      assert.is_true(bytes < 20 * #text, bytes .. " bytes")
    end
    vim.cmd("Loomd next")
    support.wait("the floating window", function()
      return vim.bo.filetype == "loomd-question"
    end)
    assert.is_true(bytes >= #text, bytes .. " bytes")
    costs_what_it_is_long()
    assert.equal(text, (support.text():gsub(" ↩\n", ""):match("\n\n(0.*the end)\n")))
    support.press(":close<CR>")
    vim.cmd("Loomd output " .. id:sub(-8))
    support.until_text(0, "the end")
    costs_what_it_is_long()
    for name, original in pairs(originals) do
      vim.fn[name] = original
    end
  end)

  it("is found in an earlier page of a long transcript", function()
    start()
    run()
    request_permission(command)
    for index = 1, 250 do
      support.server().request("fake/item", { runId = id, item = { kind = "message", role = "agent", turn = 1, text = "message " .. index } })
    end
    open_request()
    assert.is_truthy(support.text():find("rm -rf build && make", 1, true))
  end)

  it("adds a rule by A that allows exactly this, and then allows it", function()
    start()
    run()
    request_permission({ kind = "execute", title = "make", rawInput = { command = { "sh", "-c", "make" } } })
    open_request()
    support.press("A")
    support.wait("the answer", function()
      return #answers() == 1
    end)
    assert.equal("yes", answers()[1].optionId)
    local rules = support.request("rule/list", {}).rules
    assert.same({ { id = "r1", decision = "allow", provider = "codex", toolKind = "execute", command = { "sh", "-c", "make" }, cwd = support.folder .. "/work" } }, rules)
    assert.is_truthy(support.find_notification("Added rule: allow"))
  end)

  it("is not allowed by A if no rule can be written, or if the rule is refused", function()
    start()
    run()
    request_permission({ kind = "execute", title = "ls *", rawInput = { command = "ls *" } })
    open_request()
    support.press("A")
    assert.is_truthy(support.find_notification("Cannot create a rule for this"))
    support.press("q")
    push({ kind = "permission", permissionId = "p1", status = "resolved", by = "client", cancelled = true })
    request_permission({ kind = "execute", title = "ls", rawInput = { command = "ls" } }, { permissionId = "p2" })
    support.request("fake/result", { method = "rule/add", error = "rules.json is not yours" })
    open_request()
    support.press("A")
    support.wait("the message", function()
      return support.find_notification("Could not add the rule: rules.json is not yours")
    end)
    assert.same({}, answers())
  end)

  it("stays pending when its window is closed", function()
    start()
    run()
    request_permission(command)
    for _, key in ipairs({ "q", "<Esc>", ":close<CR>", ":bwipeout!<CR>" }) do
      local shown = open_request()
      support.press(key)
      assert.is_false(vim.api.nvim_win_is_valid(shown.window))
    end
    assert.same({}, answers())
    assert.is_true(support.store().is_waiting(support.store().runs[id]))
    assert.equal("loomd: 1 waiting", require("loomd").status())
  end)

  it("closes its window when it is answered elsewhere", function()
    start()
    run()
    request_permission(command)
    local shown = open_request()
    push({ kind = "permission", permissionId = "p1", status = "resolved", by = "client", optionId = "no" })
    support.wait("the window to close", function()
      return not vim.api.nvim_win_is_valid(shown.window)
    end)
    assert.same({}, answers())
  end)

  it("is answered by the number of an option", function()
    start()
    run()
    request_permission(command)
    local shown = open_request()
    support.press("2")
    support.wait("the window to close", function()
      return not vim.api.nvim_win_is_valid(shown.window)
    end)
    assert.equal("always", answers()[1].optionId)
  end)

  it("is denied with a reason by m", function()
    start()
    run()
    request_permission(command)
    open_request()
    local input = vim.ui.input
    vim.ui.input = function(_, done)
      done("use make clean")
    end
    support.press("m")
    vim.ui.input = input
    support.wait("the answer", function()
      return #answers() == 1
    end)
    assert.same({ runId = id, permissionId = "p1", optionId = "no", message = "use make clean" }, answers()[1])
  end)

  it("is answered by :Loomd approve and deny only if the run is named", function()
    start()
    run()
    request_permission(command)
    vim.cmd("Loomd approve")
    support.wait("the floating window", function()
      local current = require("loomd.view.permission_request").current()
      return current and current.is_armed
    end)
    assert.same({}, answers())
    support.press("q")
    assert.same({ id:sub(-8) }, vim.fn.getcompletion("Loomd approve ", "cmdline"))
    vim.cmd("Loomd approve " .. id:sub(-8))
    support.wait("the answer", function()
      return #answers() == 1
    end)
    -- Nobody here has seen the next one.
    request_permission(command, { permissionId = "p2" })
    vim.cmd("Loomd approve " .. id:sub(-8))
    support.wait("the floating window", function()
      return vim.bo.filetype == "loomd-question"
    end)
    assert.equal(1, #answers())
    vim.cmd("Loomd deny " .. id:sub(-8) .. " not like this")
    support.wait("the second answer", function()
      return #answers() == 2
    end)
    assert.equal("not like this", answers()[2].message)
  end)

  it("is denied by canceling it if it has no option that denies, and never allowed without an option", function()
    start()
    run()
    -- What is allowed or denied for ever is chosen by its number only.
    local entry = request_permission(command, { options = { { optionId = "ever", name = "Ever", kind = "allow_always" }, { optionId = "never", name = "Never", kind = "reject_always" } } })
    local permission = require("loomd.permission")
    permission.decide(support.store().runs[id], entry, "allow")
    assert.is_truthy(support.find_notification('No "allow once" option; see :Loomd next'))
    permission.decide(support.store().runs[id], entry, "deny")
    support.wait("the answer", function()
      return #answers() == 1
    end)
    assert.same({ runId = id, permissionId = "p1", cancelled = true }, answers()[1])
  end)

  it("opens without moving the focus if the option approval is float", function()
    start({ approval = "float" })
    local window = vim.api.nvim_get_current_win()
    run()
    request_permission(command)
    support.wait("the floating window", function()
      return require("loomd.view.permission_request").current()
    end)
    assert.equal(window, vim.api.nvim_get_current_win())
  end)
end)

describe("an agent's run", function()
  after_each(support.cleanup)

  it("receives messages, queued or steered", function()
    start()
    run()
    vim.cmd(("Loomd send %s and the tests, too"):format(id:sub(-8)))
    vim.cmd(("Loomd steer %s faster"):format(id:sub(-8)))
    local calls = vim.tbl_filter(function(call)
      return call.method == "run/send"
    end, support.request("fake/calls").calls)
    assert.same({ runId = id, prompt = "and the tests, too" }, calls[1].params)
    assert.same({ runId = id, prompt = "faster", mode = "steer" }, calls[2].params)
  end)

  it("keeps what was typed when its window is closed, until it was sent", function()
    start()
    run()
    vim.cmd.Loomd()
    support.move_to("fix the parser")
    local function open_prompt()
      support.press("s")
      support.wait("the window for a prompt", function()
        return vim.bo.filetype == "loomd-prompt"
      end)
      vim.cmd.stopinsert()
    end
    open_prompt()
    vim.api.nvim_buf_set_lines(0, 0, -1, false, { "first line", "", "second" })
    support.press("q")
    assert.equal("loomd", vim.bo.filetype)
    open_prompt()
    assert.equal("first line\n\nsecond", support.text())
    support.press("<C-s>")
    local function sent()
      return vim.tbl_map(function(call)
        return call.params.prompt
      end, vim.tbl_filter(function(call)
        return call.method == "run/send"
      end, support.request("fake/calls").calls))
    end
    support.wait("the message", function()
      return #sent() == 1
    end)
    assert.same({ "first line\n\nsecond" }, sent())
    open_prompt()
    assert.equal("", support.text())
    support.press("<C-s>")
    assert.equal(1, #sent())
  end)

  it("is resumed in a new run, after a confirmation if a terminal has its session", function()
    start()
    local ended = run({ state = "succeeded", session = { provider = "codex", id = "s", resumable = true, takeover = {} } })
    local new = support.await(function(done)
      require("loomd.actions").resume(ended, "go on", done)
    end)
    assert.same({ runId = id }, new.params.resume)
    assert.equal("go on", new.params.prompt)
    ended.takenOverAt = 1
    local prompt
    local select = vim.ui.select
    vim.ui.select = function(_, options_, done)
      prompt = options_.prompt
      done("No")
    end
    require("loomd.actions").resume(ended, "go on", error)
    vim.ui.select = select
    assert.is_truthy(prompt:find("still be open in a terminal"))
  end)

  it("resumes a session that was made outside of loomd", function()
    start()
    support.request("fake/result", { method = "session/list", result = { sessions = { { id = "outside", title = "of yesterday", cwd = support.folder } } } })
    local select = vim.ui.select
    local offered
    vim.ui.select = function(items, options_, done)
      offered = options_.format_item(items[1])
      done(items[1])
    end
    local new = support.await(function(done)
      require("loomd.sessions").pick("codex", done)
      support.send_prompt("go on\nand on")
    end)
    vim.ui.select = select
    assert.is_truthy(offered:find("of yesterday"))
    assert.same({ sessionId = "outside" }, new.params.resume)
    assert.equal(support.folder, new.cwd)
  end)

  it("is configured with settings that its provider offers", function()
    start()
    run()
    support.request("fake/result", { method = "provider/options", result = { models = { { id = "small-1", name = "Small" }, { id = "large-1", name = "Large" } }, modes = {} } })
    local short = id:sub(-8)
    assert.same({ short }, vim.fn.getcompletion("Loomd configure ", "cmdline"))
    assert.same({ "model=large-1", "model=small-1" }, vim.fn.getcompletion(("Loomd configure %s mod"):format(short), "cmdline"))
    assert.same({ "permissions=acceptEdits", "permissions=ask" }, vim.fn.getcompletion(("Loomd configure %s model=large-1 permissions=a"):format(short), "cmdline"))
    local function calls_of(method)
      return vim.tbl_filter(function(call)
        return call.method == method
      end, support.request("fake/calls").calls)
    end
    assert.equal(1, #calls_of("provider/options"))
    vim.cmd(("Loomd configure %s model=large-1 permissions=acceptEdits"):format(short))
    support.wait("the message", function()
      return support.find_notification(short .. ": model large%-1, permissions acceptEdits, applies from the next turn")
    end)
    assert.same({ runId = id, model = "large-1", permissions = "acceptEdits" }, calls_of("run/configure")[1].params)
    vim.cmd(("Loomd configure %s color=red"):format(short))
    assert.is_truthy(support.find_notification("Invalid setting: color=red %(expected model=NAME or permissions=MODE%)"))
    -- The key C lets the user pick the settings.
    local select, offered = vim.ui.select, {}
    vim.ui.select = function(items, options_, done)
      local shown = vim.tbl_map(options_.format_item, items)
      table.insert(offered, shown)
      done(items[#offered == 1 and 1 or 2])
    end
    vim.cmd.Loomd()
    support.move_to("fix the parser")
    support.press("C")
    support.wait("the second setting", function()
      return #calls_of("run/configure") == 2
    end)
    vim.ui.select = select
    assert.same({ { "model  (large-1)", "permissions  (acceptEdits)" }, { "small-1  (Small)", "large-1  (Large) · current" } }, offered)
    push({ kind = "state", state = "succeeded", turn = 1 })
    support.until_state(id, "succeeded")
    assert.same({}, vim.fn.getcompletion("Loomd configure ", "cmdline"))
  end)

  it("offers its own models, and tells its mode and how much of its context is left", function()
    start()
    local options_of = { { value = "s", name = "Small" }, { group = "g", name = "Group", options = { { value = "l", name = "Large" } } } }
    run({
      state = "idle",
      agent = { modes = { { id = "p", name = "Plan" } }, modeId = "p", context = { used = 52000, size = 200000 }, configOptions = { { id = "m", category = "model", currentValue = "l", options = options_of }, { id = "fast", name = "Fast", type = "boolean", currentValue = false } } },
    })
    local select, shown = vim.ui.select, {}
    vim.ui.select = function(items, options_, done)
      table.insert(shown, { options_.prompt, vim.tbl_map(options_.format_item, items) })
      done(items[1])
    end
    vim.cmd.Loomd()
    support.move_to("fix the parser")
    support.press("s")
    support.wait("the window for a prompt", function()
      return vim.bo.filetype == "loomd-prompt"
    end)
    vim.cmd.stopinsert()
    assert.equal(" Message to fix the parser · mode Plan · context 26%, 148k left ", vim.api.nvim_win_get_config(0).title[1][1])
    support.press("gC")
    vim.ui.select = select
    assert.same({ "Configure fix the parser (mode: Plan):", { "model  (l)", "permissions  (ask)", "mode  (p)", "fast  (false)" } }, shown[1])
    assert.same({ "Model:", { "s  (Small)", "l  (Large) · current" } }, shown[2])
    local configured = vim.tbl_filter(function(call)
      return call.method == "run/configure" or call.method == "provider/options"
    end, support.request("fake/calls").calls)
    assert.same({ { runId = id, model = "s" } }, vim.tbl_map(function(call)
      return call.params
    end, configured))
    -- An option of the agent itself.
    vim.ui.select = function(items, options_, done)
      table.insert(shown, { options_.prompt, vim.tbl_map(options_.format_item, items) })
      done(items[#items == 2 and 1 or 4])
    end
    support.press("gC")
    vim.ui.select = select
    assert.same({ "Fast:", { "true  (on)", "false  (off) · current" } }, { shown[4][1], shown[4][2] })
    support.wait("the message", function()
      return support.find_notification("fast true, applies from the next turn")
    end)
  end)

  it("is configured with its own options by a command", function()
    start()
    run({ state = "idle", agent = { modes = { { id = "p", name = "Plan" }, { id = "d", name = "Default" } }, modeId = "p", configOptions = { { id = "effort", options = { { value = "low" }, { value = "high" } } } } } })
    local short = id:sub(-8)
    assert.same({ "effort=high", "effort=low" }, vim.fn.getcompletion(("Loomd configure %s eff"):format(short), "cmdline"))
    vim.cmd(("Loomd configure %s effort=high mode=d"):format(short))
    support.wait("the message", function()
      return support.find_notification(short .. ": effort high, mode d, applies from the next turn")
    end)
    local calls = vim.tbl_filter(function(call)
      return call.method == "run/configure"
    end, support.request("fake/calls").calls)
    assert.same({ { runId = id, options = { effort = "high", mode = "d" } } }, vim.tbl_map(function(call)
      return call.params
    end, calls))
    vim.cmd(("Loomd configure %s color=red"):format(short))
    assert.is_truthy(support.find_notification("Invalid setting: color=red %(expected model=NAME, permissions=MODE, mode=VALUE or effort=VALUE%)"))
  end)

  it("has the step of its plan and its context in the winbar while the turn runs, and gp shows the plan", function()
    start()
    run({ agent = { context = { used = 100, size = 400 } } })
    vim.cmd("Loomd output " .. id:sub(-8))
    local function winbar()
      return require("loomd.view").winbar(id)
    end
    push_item({ kind = "plan", turn = 1, entries = { { content = "read", status = "completed" }, { content = "write it", status = "in_progress" }, { content = "test", status = "pending" } } })
    support.wait("the plan", function()
      return winbar():find("plan 1/3: write it", 1, true)
    end)
    support.press("gp")
    assert.is_truthy(support.text():find("- [x] read\n- [ ] write it *(now)*\n- [ ] test", 1, true))
    support.press("q")
    push({ kind = "state", state = "idle", turn = 1 })
    support.wait("the plan to go", function()
      return not winbar():find("plan 1/3", 1, true)
    end)
    assert.is_truthy(winbar():find("context 25%%, 300 left", 1, true))
  end)

  it("is listed with other sessions in the history, on request", function()
    start()
    run({ state = "succeeded", endedAt = 1 })
    support.request("fake/result", {
      method = "session/list",
      result = { sessions = { { id = "outside", title = "of yesterday", cwd = support.folder, updatedAt = 1 }, { id = "ours", title = "of this run", runId = id } } },
    })
    vim.cmd("Loomd history")
    local buffer = vim.api.nvim_get_current_buf()
    support.until_text(buffer, "O: list other sessions in this directory")
    assert.is_falsy(support.text(buffer):find("of yesterday"))
    support.press("O")
    support.until_text(buffer, "Other sessions\n    claude +of yesterday.*\n    codex +of yesterday.*ago\n    R: resume")
    assert.is_falsy(support.text(buffer):find("of this run"))
    support.move_to("codex +of yesterday")
    support.press("R")
    support.send_prompt("go on")
    local new = support.wait("the new run", function()
      return vim.iter(vim.tbl_values(support.store().runs)):find(function(each)
        return each.id ~= id
      end)
    end)
    assert.same({ sessionId = "outside" }, new.params.resume)
    assert.equal("codex", new.provider)
  end)

  it("fills the quickfix list from its messages and tools, in order", function()
    start()
    run()
    for _, name in ipairs({ "a.c", "b.c", "c.c" }) do
      vim.fn.writefile({ "one", "two", "three" }, name)
    end
    tool({ title = "make", output = { text = "a.c:2:1: error: missing bracket\ngone.c:1:1: error: no such file" } })
    local message = say("I would look at\nb.c:3: where it ")
    tool({ title = "make", output = { text = "c.c:1:2: warning: unused" } })
    support.request("fake/append", { runId = id, item = message.item, append = { text = "begins" } })
    local count = support.await(function(done)
      require("loomd.quickfix").open(support.store().runs[id], done)
    end)
    assert.equal(3, count)
    assert.same(
      { "a.c:2", "b.c:3", "c.c:1" },
      vim.tbl_map(function(item)
        return vim.fs.basename(vim.api.nvim_buf_get_name(item.bufnr)) .. ":" .. item.lnum
      end, vim.fn.getqflist())
    )
    assert.is_truthy(vim.fn.getqflist({ title = true }).title:find("fix the parser"))
    vim.cmd.cclose()
  end)

  it("fills the quickfix list from the final text of its messages", function()
    start()
    run()
    for _, name in ipairs({ "a.c", "b.c", "c.c" }) do
      vim.fn.writefile({ "one", "two", "three" }, name)
    end
    say("a.c:2:1: corrected")
    say("b.c:1:1: interrupted", { abandoned = true })
    say("c.c:3:1: retried")
    support.await(function(done)
      require("loomd.quickfix").open(support.store().runs[id], done)
    end)
    assert.same(
      { "a.c:2", "c.c:3" },
      vim.tbl_map(function(item)
        return vim.fs.basename(vim.api.nvim_buf_get_name(item.bufnr)) .. ":" .. item.lnum
      end, vim.fn.getqflist())
    )
    vim.cmd.cclose()
  end)

  it("continues in a terminal, in its directory and environment", function()
    start()
    run({ session = { provider = "codex", id = "s", resumable = true, takeover = {} } })
    support.request("fake/result", {
      method = "run/takeover",
      result = {
        takeover = { kind = "resume", verified = true, display = "codex resume s", command = { "sh", "-c", "echo $LOOMD_SPEC in $PWD; sleep 1000" }, cwd = support.folder, env = { LOOMD_SPEC = "here" } },
      },
    })
    vim.cmd.Loomd()
    vim.cmd("Loomd output " .. id:sub(-8))
    -- The run is active, so it is not ended without a question.
    local select, choice, prompt = vim.ui.select, "Cancel", nil
    vim.ui.select = function(_, options_, done)
      prompt = options_.prompt
      done(choice)
    end
    support.press("T")
    assert.equal("End fix the parser here and continue in a terminal?", prompt)
    choice = "End it"
    vim.cmd("Loomd takeover " .. id:sub(-8))
    assert.equal(1, #vim.tbl_filter(function(call)
      return call.method == "run/takeover"
    end, support.request("fake/calls").calls))
    vim.ui.select = select
    support.wait("the terminal", function()
      return vim.bo.buftype == "terminal"
    end)
    local buffer = vim.api.nvim_get_current_buf()
    support.until_text(buffer, "here in " .. vim.pesc(support.folder))
    assert.is_true(vim.api.nvim_win_get_height(0) >= math.floor(vim.o.lines / 2))
    vim.fn.jobstop(vim.bo[buffer].channel)
  end)

  it("takes a queued message back, to edit or to remove it, and keeps what was typed", function()
    start()
    run({ state = "running", queued = 2 })
    local text, image = { type = "text", text = "say \226\128\174second\nline" }, { type = "image", data = "", mimeType = "image/png" }
    local queue = { { promptId = 3, prompt = { text } }, { promptId = 4, prompt = { { type = "text", text = "look" }, image } } }
    support.request("fake/result", { method = "run/queue", result = { prompts = queue } })
    support.request("fake/result", { method = "run/unqueue", result = queue[1] })
    local select, shown, choices = vim.ui.select, {}, { 1, "Edit" }
    vim.ui.select = function(items, options_, done)
      local choice = table.remove(choices, 1)
      shown[#shown + 1] = vim.tbl_map(options_.format_item or tostring, items)
      done(type(choice) == "number" and items[choice] or choice)
    end
    require("loomd.prompt").add_to_draft(id, "typed before")
    vim.cmd("Loomd queued " .. id:sub(-8))
    support.wait("the prompt window", function()
      return vim.bo.filetype == "loomd-prompt"
    end)
    assert.same({ { "say ⟨U+202E⟩second line", "look (with attachments)" }, { "Edit", "Remove" } }, shown)
    assert.same({ "typed before", "say \226\128\174second", "line" }, support.lines(0))
    vim.api.nvim_win_close(0, true)
    shown, choices = {}, { 2, "Remove" }
    vim.cmd("Loomd queued " .. id:sub(-8))
    local function taken()
      return vim.tbl_map(
        function(call)
          return call.params.promptId
        end,
        vim.tbl_filter(function(call)
          return call.method == "run/unqueue"
        end, support.request("fake/calls").calls)
      )
    end
    support.wait("the removal", function()
      return #taken() == 2
    end)
    vim.ui.select = select
    assert.same({ { 3, 4 }, { "Remove" } }, { taken(), shown[2] })
    assert.are_not.equal("loomd-prompt", vim.bo.filetype)
  end)

  it("is exported to a file that is named or asked for, and overwrites none without a question", function()
    start()
    run()
    support.request("fake/result", { method = "run/export", result = { path = "/there" } })
    local function exports()
      return vim.tbl_map(function(call)
        return call.params
      end, vim.tbl_filter(function(call)
        return call.method == "run/export"
      end, support.request("fake/calls").calls))
    end
    local short = id:sub(-8)
    assert.same({ "markdown" }, vim.fn.getcompletion("Loomd export " .. short .. " mark", "cmdline"))
    vim.cmd("Loomd export " .. short .. " pdf")
    assert.is_truthy(support.find_notification("Unknown format: pdf"))
    vim.cmd("Loomd export " .. short .. " html page.html")
    local path = support.folder .. "/work/page.html"
    assert.same({ { runId = id, format = "html", path = path } }, exports())
    assert.is_truthy(support.find_notification("Exported to /there"))
    vim.fn.writefile({ "mine" }, path)
    local select, input, shown = vim.ui.select, vim.ui.input, {}
    vim.ui.select = function(items, options_, done)
      table.insert(shown, options_.prompt)
      done(items[1])
    end
    vim.ui.input = function(options_, done)
      table.insert(shown, options_.default)
      done("page.html")
    end
    vim.cmd("Loomd export " .. short)
    vim.ui.select, vim.ui.input = select, input
    assert.same({ "Export as:", support.folder .. "/work/" .. short .. ".md", path .. " exists. Overwrite it?" }, shown)
    assert.equal(1, #exports())
  end)

  it("has a heading by its state: active, or idle until the next message", function()
    start()
    run()
    run({ id = "01990000-0000-7000-8000-0000ffff0000", params = { prompt = "something newer" } })
    vim.cmd.Loomd()
    support.until_text(0, "\n Active\n[^\n]*\n[^\n]*$")
    push({ kind = "state", state = "idle", turn = 1 })
    support.until_text(0, "\n Active\n[^\n]*something newer[^\n]*\n Idle\n[^\n]*idle[^\n]*fix the parser[^\n]*$")
  end)

  it("is cut with a sign in a narrow window", function()
    start()
    run()
    vim.cmd.Loomd()
    local list = vim.api.nvim_get_current_win()
    vim.cmd("topleft vnew")
    vim.api.nvim_set_current_win(list)
    vim.api.nvim_win_set_width(list, 30)
    support.until_text(0, "▶ running[^\n]*…\n?")
    for _, line in ipairs(support.lines()) do
      assert.is_true(vim.fn.strdisplaywidth(line) <= vim.api.nvim_win_get_width(0), line)
    end
  end)

  it("shows its changes in a tab page: files, both sides, ]f and [f, and q closes it", function()
    start()
    run()
    vim.fn.writefile({ "kept", "new" }, "patched.txt")
    support.request("fake/result", {
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
    local view = support.await(function(done)
      require("loomd.view.changes").open(support.store().runs[id], done)
    end)
    assert.equal(before + 1, #vim.api.nvim_list_tabpages())
    local function side(index)
      return support.text(vim.api.nvim_win_get_buf(view.sides[index]))
    end
    assert.same({ "M /src/a.lua", "M patched.txt", "M gone.txt" }, support.lines(vim.api.nvim_win_get_buf(view.list)))
    assert.same({ "local a = 1", "local a = 2" }, { side(1), side(2) })
    assert.is_true(vim.wo[view.sides[1]].diff and vim.wo[view.sides[2]].diff)
    assert.equal("lua", vim.bo[vim.api.nvim_win_get_buf(view.sides[2])].filetype)
    support.press("]f")
    assert.same({ "kept\nold", "kept\nnew" }, { side(1), side(2) })
    support.press("]f")
    assert.is_truthy(side(1):find("+was here", 1, true))
    support.press("[f")
    assert.same({ "kept\nold", "kept\nnew" }, { side(1), side(2) })
    support.press("q")
    assert.equal(before, #vim.api.nvim_list_tabpages())
    assert.equal(windows, #vim.tbl_filter(vim.api.nvim_buf_is_valid, vim.api.nvim_list_bufs()) )
  end)

  it("that ended before Neovim started fires no event", function()
    support.reset({ cmd = fake, env = { FAKE_SCRIPT = support.plugin .. "/tests/sample_runs.json" } })
    local events = {}
    local autocmd = vim.api.nvim_create_autocmd("User", {
      pattern = "LoomdRunState",
      callback = function(args)
        events[args.data.state] = true
      end,
    })
    support.connect()
    support.wait("the permission requests", function()
      return require("loomd").counts().waiting == 1
    end)
    vim.api.nvim_del_autocmd(autocmd)
    assert.same({ nil, nil }, { events.succeeded, events.failed })
  end)

  it("fires an event for every state, and notifies of its end if it is not visible", function()
    start()
    local events = {}
    local autocmd = vim.api.nvim_create_autocmd("User", {
      pattern = "LoomdRunState",
      callback = function(args)
        table.insert(events, { args.data.previous or false, args.data.state, args.data.run.id })
      end,
    })
    run()
    support.store().tracked[id] = true
    push({ kind = "state", state = "failed", turn = 1, error = { kind = "auth", message = "log in first" } })
    support.until_state(id, "failed")
    vim.api.nvim_del_autocmd(autocmd)
    assert.same({ { false, "running", id }, { "running", "failed", id } }, events)
    assert.is_truthy(support.find_notification("fix the parser failed after .*: log in first"))
  end)

  it("causes no notification if the list is visible, if it was started elsewhere, or if notify is off", function()
    for _, case in ipairs({ { look = true, mine = true }, { mine = false }, { mine = true, notify = "off" }, { mine = true, notify = "waiting" } }) do
      start({ notify = case.notify or "all" })
      if case.look then
        vim.cmd.Loomd()
      end
      run()
      support.store().tracked[id] = case.mine
      push({ kind = "state", state = "succeeded", turn = 1 })
      support.until_state(id, "succeeded")
      assert.is_nil(support.find_notification("succeeded"), vim.inspect(case))
    end
  end)

  it("shows that it was continued in a terminal, here or elsewhere", function()
    start()
    run({ session = { provider = "codex", id = "s", resumable = true, takeover = {} } })
    vim.cmd.Loomd()
    -- No entry contains it, so the plugin requests the run again after it has ended.
    support.request("fake/set", { runId = id, takenOverAt = 1 })
    push({ kind = "state", state = "cancelled", turn = 1 })
    support.until_text(0, "■ cancelled.*continued in terminal")
  end)

  it("is busy in its buffers while it works, and shows progress messages if they are enabled", function()
    start({ progress = true })
    run()
    local events = {}
    local newest = vim.fn.has("nvim-0.12") == 1
    local autocmd = newest
      and vim.api.nvim_create_autocmd("Progress", {
        callback = function(args)
          table.insert(events, { args.data.title, args.data.status, table.concat(args.data.text) })
        end,
      })
    vim.cmd("Loomd output " .. id:sub(-8))
    local buffer = vim.api.nvim_get_current_buf()
    local function until_busy(busy)
      if newest then
        support.wait("busy " .. busy, function()
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
    support.until_state(id, "failed")
    until_busy(0)
    if newest then
      vim.api.nvim_del_autocmd(autocmd)
      assert.same({ { "loomd", "running", "fix the parser: idle" }, { "loomd", "running", "fix the parser: running" }, { "loomd", "failed", "fix the parser: failed" } }, events)
    else
      assert.same({}, vim.tbl_filter(function(each)
        return each.level == vim.log.levels.ERROR
      end, support.notifications))
    end
  end)

  it("updates its duration while it is visible, even without a list, and not otherwise", function()
    start()
    run()
    local refresh_timer = require("loomd.view.refresh_timer")
    refresh_timer.interval_ms = 10
    vim.cmd("Loomd output " .. id:sub(-8))
    local buffer, ticks = vim.api.nvim_get_current_buf(), 0
    refresh_timer.add(buffer, function()
      ticks = ticks + 1
    end)
    support.wait("the timer", function()
      return ticks > 2
    end)
    vim.cmd("silent only | enew")
    local stopped = ticks
    local other, moved = vim.api.nvim_get_current_buf(), 0
    refresh_timer.add(other, function()
      moved = moved + 1
    end)
    support.wait("the timer to call the others", function()
      return moved > 2
    end)
    assert.equal(stopped, ticks)
  end)

  it("reloads buffers below its directory after a turn, but not those with unsaved changes", function()
    start()
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
    support.until_text(clean, "new")
    assert.equal("mine", support.text(dirty))
    assert.is_truthy(support.find_notification("dirty.txt changed on disk %(and has unsaved changes%)"))
  end)

  it("is removed if a restarted server does not know it", function()
    start()
    run()
    request_permission(command)
    vim.cmd("Loomd restart")
    support.wait("the new server, which knows of no runs", function()
      return support.server().state == "ready" and not support.store().runs[id]
    end)
    assert.equal("", require("loomd").status())
  end)
end)
