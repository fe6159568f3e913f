-- Runs of commands on the real server, by :Loomd and by keys.

local support = require("support")

describe("a run of a command", function()
  before_each(function()
    support.reset()
  end)
  after_each(support.cleanup)

  local function list()
    vim.cmd.Loomd()
    support.wait("the list", function()
      return support.server().state == "ready" and support.text():find("waiting")
    end)
    return vim.api.nvim_get_current_buf()
  end

  it("starts from :Loomd start with the text after the template", function()
    vim.cmd("Loomd start command printf one-two")
    local run = support.wait("the run", function()
      local _, run = next(support.store().runs)
      return run
    end)
    assert.same({ "printf", "one-two" }, run.command)
    support.until_state(run.id, "succeeded")
    assert.is_truthy(support.find_notification("^loomd: Started printf one%-two %(" .. run.id:sub(-8) .. "%)$"))
  end)

  it("uses a shell only for a line that needs one", function()
    local start = require("loomd.start")
    assert.same({ "make", "all" }, start.split_command("make all"))
    assert.same({ vim.o.shell, vim.o.shellcmdflag, "make && make test" }, start.split_command("make && make test"))
    assert.same({ vim.o.shell, vim.o.shellcmdflag, "echo $HOME" }, start.split_command("echo $HOME"))
  end)

  it("is in the list, live, with its state, its last line and its duration", function()
    local buffer = list()
    local run = support.sh("echo hello from the run; cat", { interactive = true, title = "a greeter" })
    support.until_text(buffer, "▶ running.*a greeter.*hello from the run")
    support.move_to("a greeter")
    support.request("run/closeInput", { runId = run.id })
    support.until_text(buffer, "✓ succeeded.*a greeter")
    assert.is_truthy(support.lines(buffer)[vim.api.nvim_win_get_cursor(0)[1]]:find("a greeter"))
  end)

  it("is listed if it was started from the command line", function()
    local buffer = list()
    support.until_state(support.sh("true").id, "succeeded")
    vim.fn.system({ support.binary, "run", "--detach", "--title", "from outside", "--", "true" })
    support.until_text(buffer, "succeeded.*from outside")
  end)

  it("is cancelled by x, run again by r, renamed, and deleted with its row", function()
    local buffer = list()
    local run = support.sh("sleep 1000", { title = "sleeper" })
    support.until_text(buffer, "running.*sleeper")
    support.move_to("sleeper")
    support.press("x")
    support.until_state(run.id, "cancelled")
    support.until_text(buffer, "cancelled.*sleeper")
    support.move_to("sleeper")
    support.press("r")
    support.until_text(buffer, "running.*sleeper")
    support.until_sealed(run.id)
    vim.cmd("Loomd rename " .. run.id:sub(-8) .. " was here")
    support.until_text(buffer, "cancelled.*was here")
    vim.cmd("Loomd! delete " .. run.id:sub(-8))
    support.wait("the row to go", function()
      return not support.text(buffer):find("was here")
    end)
  end)

  it("is deleted only after a confirmation", function()
    local run = support.sh("true")
    support.until_state(run.id, "succeeded")
    local shown
    local select = vim.ui.select
    vim.ui.select = function(items, _, done)
      shown = items
      done(nil)
    end
    vim.cmd("Loomd delete " .. run.id:sub(-8))
    vim.ui.select = select
    assert.same({ "Cancel", "Delete" }, shown)
    assert.equal(run.id, support.request("run/get", { runId = run.id }).run.id)
  end)

  it("is pinned and unpinned by P", function()
    local run = support.sh("true")
    support.until_state(run.id, "succeeded")
    support.until_sealed(run.id)
    vim.cmd.Loomd()
    support.until_text(0, "✓ succeeded")
    support.move_to("✓ succeeded")
    support.press("P")
    support.until_text(0, "%[pinned")
    assert.is_true(support.request("run/get", { runId = run.id }).run.pinned)
    support.press("P")
    support.wait("the pin to go", function()
      return not support.text():find("pinned")
    end)
    assert.is_false(support.request("run/get", { runId = run.id }).run.pinned)
  end)

  it("copies its ID", function()
    local run = support.sh("true")
    vim.cmd("Loomd copy " .. run.id:sub(-8))
    support.wait("the register", function()
      return vim.fn.getreg('"') == run.id
    end)
  end)

  it("receives a message as a line", function()
    local run = support.sh("read line; echo got $line", { interactive = true })
    vim.cmd(("Loomd send %s two words"):format(run.id:sub(-8)))
    support.until_state(run.id, "succeeded")
    assert.equal("got two words\n", support.request("run/text", { runId = run.id }).text)
  end)

  it("runs again with the current values of its environment variables, and a notification names them", function()
    local run = support.sh('printf %s "$LOOMD_SPEC"', { env = { LOOMD_SPEC = "secret" } })
    support.until_state(run.id, "succeeded")
    vim.env.LOOMD_SPEC = "from the editor"
    local again = support.await(function(done)
      require("loomd.actions").rerun(support.store().runs[run.id], done)
    end)
    support.until_state(again.id, "succeeded")
    assert.equal("from the editor", support.request("run/text", { runId = again.id }).text)
    assert.is_truthy(support.find_notification("Environment is not stored.*LOOMD_SPEC"))
  end)

  it("that cannot start shows one message, and leaves no run behind", function()
    vim.cmd("Loomd start command /no/such/program")
    support.wait("the message", function()
      return support.find_notification("Could not start the run.*/no/such/program")
    end)
    assert.same({}, support.store().runs)
  end)

  it("shows one message for what this server cannot do", function()
    local run = support.sh("true")
    support.until_state(run.id, "succeeded")
    for _, command in ipairs({ "takeover", "diff" }) do
      support.notifications = {}
      vim.cmd(("Loomd %s %s"):format(command, run.id:sub(-8)))
      support.wait("a message about " .. command, function()
        return #support.notifications > 0
      end)
      assert.equal(1, #support.notifications)
    end
  end)
end)

describe("the list", function()
  before_each(function()
    support.reset()
  end)
  after_each(support.cleanup)

  it("is one buffer in a window of its own, and ? and g? show its keymaps", function()
    vim.cmd.Loomd()
    local buffer = vim.api.nvim_get_current_buf()
    assert.equal("loomd://runs", vim.api.nvim_buf_get_name(buffer))
    vim.cmd.wincmd("p")
    vim.cmd.Loomd()
    assert.equal(buffer, vim.api.nvim_get_current_buf())
    assert.equal(2, #vim.api.nvim_list_wins())
    support.press("?")
    assert.is_truthy(support.text(0):find("cancel the run"))
    support.press("?")
    assert.equal(buffer, vim.api.nvim_get_current_buf())
    support.press("q")
    assert.equal(1, #vim.api.nvim_list_wins())
  end)

  it("shows states as words, with highlight groups that are links", function()
    vim.cmd.Loomd()
    local buffer = vim.api.nvim_get_current_buf()
    support.wait("the server", function()
      return support.server().state == "ready"
    end)
    support.sh("exit 3", { title = "broken" })
    support.until_text(buffer, "failed.*broken.*exit code 3")
    local row = support.move_to("broken") - 1
    local groups = {}
    for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buffer, -1, { row, 0 }, { row, -1 }, { details = true })) do
      groups[mark[4].hl_group] = true
    end
    assert.is_true(groups.LoomdFailed)
    assert.equal("DiagnosticError", vim.api.nvim_get_hl(0, { name = "LoomdFailed" }).link)
  end)

  it("shows all runs, page by page, with :Loomd history", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { earlier = 2 })
    vim.cmd.Loomd()
    local buffer = vim.api.nvim_get_current_buf()
    for index = 1, 4 do
      support.until_state(support.sh("true", { title = "number " .. index }).id, "succeeded")
    end
    support.until_text(buffer, "2 more, see :Loomd history")
    assert.is_falsy(support.text(buffer):find("number 1"))
    vim.cmd("Loomd history")
    local history = vim.api.nvim_get_current_buf()
    for index = 1, 4 do
      support.until_text(history, "number " .. index)
    end
  end)
end)

describe(":Loomd", function()
  before_each(function()
    support.reset()
  end)
  after_each(support.cleanup)

  it("completes subcommands, templates, and the runs that fit", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { templates = { ["build-all"] = { command = "make" } } })
    support.connect()
    local ended = support.sh("true")
    support.until_state(ended.id, "succeeded")
    local live = support.sh("sleep 1000")
    local function complete(line)
      return vim.fn.getcompletion(line, "cmdline")
    end
    assert.same({ "rename", "rerun", "restart", "resume", "rewind" }, complete("Loomd re"))
    assert.same({ "build-all" }, complete("Loomd start b"))
    assert.same({ live.id:sub(-8) }, complete("Loomd cancel "))
    assert.same({ ended.id:sub(-8) }, complete("Loomd delete "))
    assert.same({ live.id:sub(-8), ended.id:sub(-8) }, complete("Loomd output "))
  end)

  it("maps no key and opens no window by itself", function()
    for _, map in ipairs(vim.api.nvim_get_keymap("n")) do
      if (map.desc or ""):find("loomd") then
        assert.is_truthy(map.lhs:find("^<Plug>%(loomd%-"))
      end
    end
    support.connect()
    local window, tick = vim.api.nvim_get_current_win(), #vim.api.nvim_list_wins()
    local run = support.sh("echo hi")
    support.until_state(run.id, "succeeded")
    assert.equal(window, vim.api.nvim_get_current_win())
    assert.equal(tick, #vim.api.nvim_list_wins())
  end)

  it("reports an unknown subcommand", function()
    vim.cmd("Loomd frobnicate")
    assert.is_truthy(support.find_notification("^loomd: Unknown subcommand: frobnicate %(see :help :Loomd%)$"))
  end)

  it("offers the last text of a template", function()
    local shown = {}
    local input, select = vim.ui.input, vim.ui.select
    vim.ui.select = function(items, _, done)
      done(items[1])
    end
    vim.ui.input = function(options, done)
      table.insert(shown, options.default or false)
      done("echo remembered")
    end
    for _ = 1, 2 do
      local run = support.await(function(done)
        require("loomd.start").select_template(done)
      end)
      assert.same({ "echo", "remembered" }, run.command)
    end
    vim.ui.input, vim.ui.select = input, select
    assert.equal("echo remembered", shown[2])
  end)

  it("fills the quickfix list with locations of existing files, relative to the run's directory", function()
    vim.fn.mkdir("sub", "p")
    vim.fn.writefile({ "one", "two", "three" }, "sub/code.c")
    local run = support.sh("printf '\\033[31mcode.c:2:1: error: broken\\033[0m\\n'; echo nowhere.c:1:1: error: gone; printf 'error[E1]: no\\n  --> code.c:3:2\\n'", {
      cwd = vim.fn.getcwd() .. "/sub",
    })
    support.until_state(run.id, "succeeded")
    vim.cmd.cd("/")
    local count = support.await(function(done)
      require("loomd.quickfix").open(support.store().runs[run.id], done)
    end)
    local items = vim.fn.getqflist()
    assert.equal(2, count)
    assert.same({ 2, 3 }, { items[1].lnum, items[2].lnum })
    assert.is_truthy(vim.api.nvim_buf_get_name(items[1].bufnr):find("sub/code.c$"))
    assert.equal("quickfix", vim.bo.buftype)
  end)

  it("fills the quickfix list from common forms of compilers and stack traces", function()
    vim.fn.writefile({ "one", "two", "three", "four" }, "bad.c")
    local here = vim.fn.getcwd()
    -- The output, its line and column, and the text of the quickfix item.
    local forms = {
      { "thread 'main' panicked at bad.c:2:3:\nindex out of bounds", 2, 3, "index out of bounds" },
      { "thread 'tests::it works' (4711) panicked at bad.c:3:1:\nassertion failed", 3, 1, "assertion failed" },
      { "thread 'main' panicked at 'no such key', bad.c:1:2", 1, 2, "no such key" },
      { "bad.c(3,4): error TS2304: Cannot find name 'x'.", 3, 4, "error TS2304: Cannot find name 'x'." },
      { "bad.c:4:1 - error TS2304: Cannot find name 'y'.", 4, 1, "error TS2304: Cannot find name 'y'." },
      { "Error: boom\n    at Object.<anonymous> (" .. here .. "/bad.c:1:5)", 1, 5, "Object.<anonymous>" },
      { "    at " .. here .. "/bad.c:2:6", 2, 6 },
      { "    at async file://" .. here .. "/bad.c:3:7", 3, 7 },
      { "    at async Promise.all (file://" .. here .. "/bad.c:4:8)", 4, 8, "async Promise.all" },
      { " ❯ bad.c:2:5", 2, 5 },
      { " ❯ listOf bad.c:3:5", 3, 5, "listOf" },
      { "bad.c:1:1: error: broken", 1, 1, "error: broken" },
    }
    local quickfix = require("loomd.quickfix")
    local function places(lines)
      quickfix.set(lines, here, "places")
      return vim.tbl_map(function(item)
        return { vim.fs.basename(vim.api.nvim_buf_get_name(item.bufnr)), item.lnum, item.col, item.text }
      end, vim.fn.getqflist())
    end
    local all, expected = {}, {}
    for _, form in ipairs(forms) do
      local place = { "bad.c", form[2], form[3], form[4] or "" }
      assert.same({ place }, places(vim.split(form[1], "\n")), form[1])
      vim.list_extend(all, vim.split(form[1], "\n"))
      table.insert(expected, place)
    end
    -- All forms together, as in a log.
    assert.same(expected, places(all))
    -- With an 'errorformat' of the user, which goes first.
    quickfix.set({ "thread 'main' panicked at bad.c:2:3:", "no such key", "bad.c|3| mine" }, here, "places", "%f|%l| %m")
    assert.same({ 2, 3 }, vim.tbl_map(function(item)
      return item.lnum
    end, vim.fn.getqflist()))
  end)
end)
