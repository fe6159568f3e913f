-- Runs of commands against the real server, through :Loomd and the keys.

local world = require("world")

describe("a run of a command", function()
  before_each(function()
    world.fresh()
  end)
  after_each(world.finish)

  local function list()
    vim.cmd.Loomd()
    world.wait("the list", function()
      return world.server().state == "ready" and world.text():find("waiting")
    end)
    return vim.api.nvim_get_current_buf()
  end

  it("starts from :Loomd start with what was typed behind the template", function()
    vim.cmd("Loomd start command printf one-two")
    local run = world.wait("the run", function()
      local _, run = next(world.store().runs)
      return run
    end)
    assert.same({ "printf", "one-two" }, run.command)
    world.until_state(run.id, "succeeded")
    assert.is_truthy(world.heard("started " .. run.id:sub(-8)))
  end)

  it("goes through a shell when only a shell understands the line", function()
    local start = require("loomd.start")
    assert.same({ "make", "all" }, start.argv("make all"))
    assert.same({ vim.o.shell, vim.o.shellcmdflag, "make && make test" }, start.argv("make && make test"))
    assert.same({ vim.o.shell, vim.o.shellcmdflag, "echo $HOME" }, start.argv("echo $HOME"))
  end)

  it("is in the list, live, with its state in a word, its last line and its time", function()
    local buffer = list()
    local run = world.sh("echo hello from the run; cat", { interactive = true, title = "a greeter" })
    world.until_text(buffer, "▶ running.*a greeter.*hello from the run")
    world.go_to("a greeter")
    world.ask("run/closeInput", { runId = run.id })
    world.until_text(buffer, "✓ succeeded.*a greeter")
    assert.is_truthy(world.lines(buffer)[vim.api.nvim_win_get_cursor(0)[1]]:find("a greeter"))
  end)

  it("is seen when it was started from the command line", function()
    local buffer = list()
    world.until_state(world.sh("true").id, "succeeded")
    vim.fn.system({ world.binary, "run", "--detach", "--title", "from outside", "--", "true" })
    world.until_text(buffer, "succeeded.*from outside")
  end)

  it("is cancelled by x, run again by r, renamed, and deleted with its row", function()
    local buffer = list()
    local run = world.sh("sleep 1000", { title = "sleeper" })
    world.until_text(buffer, "running.*sleeper")
    world.go_to("sleeper")
    world.press("x")
    world.until_state(run.id, "cancelled")
    world.until_text(buffer, "cancelled.*sleeper")
    world.go_to("sleeper")
    world.press("r")
    world.until_text(buffer, "running.*sleeper")
    vim.cmd("Loomd rename " .. run.id:sub(-8) .. " was here")
    world.until_text(buffer, "cancelled.*was here")
    vim.cmd("Loomd! delete " .. run.id:sub(-8))
    world.wait("the row to go", function()
      return not world.text(buffer):find("was here")
    end)
  end)

  it("is asked about before it is deleted, and kept unless the answer says so", function()
    local run = world.sh("true")
    world.until_state(run.id, "succeeded")
    local asked
    local select = vim.ui.select
    vim.ui.select = function(items, _, done)
      asked = items
      done(nil)
    end
    vim.cmd("Loomd delete " .. run.id:sub(-8))
    vim.ui.select = select
    assert.same({ "keep it", "delete it" }, asked)
    assert.equal(run.id, world.ask("run/get", { runId = run.id }).run.id)
  end)

  it("is pinned, and let be, by P", function()
    local run = world.sh("true")
    world.until_state(run.id, "succeeded")
    vim.cmd.Loomd()
    world.until_text(0, "✓ succeeded")
    world.go_to("✓ succeeded")
    world.press("P")
    world.until_text(0, "%[pinned%]")
    assert.is_true(world.ask("run/get", { runId = run.id }).run.pinned)
    world.press("P")
    world.wait("the pin to go", function()
      return not world.text():find("pinned")
    end)
    assert.is_false(world.ask("run/get", { runId = run.id }).run.pinned)
  end)

  it("copies its id", function()
    local run = world.sh("true")
    vim.cmd("Loomd copy " .. run.id:sub(-8))
    world.wait("the register", function()
      return vim.fn.getreg('"') == run.id
    end)
  end)

  it("gets what is sent to it, as a line", function()
    local run = world.sh("read line; echo got $line", { interactive = true })
    vim.cmd(("Loomd send %s two words"):format(run.id:sub(-8)))
    world.until_state(run.id, "succeeded")
    assert.equal("got two words\n", world.ask("run/text", { runId = run.id }).text)
  end)

  it("runs again with the values that this Neovim has for its variables, and says so", function()
    local run = world.sh('printf %s "$LOOMD_SPEC"', { env = { LOOMD_SPEC = "secret" } })
    world.until_state(run.id, "succeeded")
    vim.env.LOOMD_SPEC = "from the editor"
    local again = world.await(function(done)
      require("loomd.actions").rerun(world.store().runs[run.id], done)
    end)
    world.until_state(again.id, "succeeded")
    assert.equal("from the editor", world.ask("run/text", { runId = again.id }).text)
    assert.is_truthy(world.heard("variables are not kept.*LOOMD_SPEC"))
  end)

  it("says in one sentence why it cannot start, and leaves none behind", function()
    vim.cmd("Loomd start command /no/such/program")
    world.wait("the sentence", function()
      return world.heard("could not be started.*/no/such/program")
    end)
    assert.same({}, world.store().runs)
  end)

  it("answers what this server cannot do with one sentence", function()
    local run = world.sh("true")
    world.until_state(run.id, "succeeded")
    for _, command in ipairs({ "takeover", "diff" }) do
      world.said = {}
      vim.cmd(("Loomd %s %s"):format(command, run.id:sub(-8)))
      world.wait("a sentence about " .. command, function()
        return #world.said > 0
      end)
      assert.equal(1, #world.said)
    end
  end)
end)

describe("the list", function()
  before_each(function()
    world.fresh()
  end)
  after_each(world.finish)

  it("is one buffer in a window of its own, and its keys are shown by ?", function()
    vim.cmd.Loomd()
    local buffer = vim.api.nvim_get_current_buf()
    assert.equal("loomd://runs", vim.api.nvim_buf_get_name(buffer))
    vim.cmd.wincmd("p")
    vim.cmd.Loomd()
    assert.equal(buffer, vim.api.nvim_get_current_buf())
    assert.equal(2, #vim.api.nvim_list_wins())
    world.press("?")
    assert.is_truthy(world.text(0):find("cancel the run"))
    world.press("?")
    assert.equal(buffer, vim.api.nvim_get_current_buf())
    world.press("q")
    assert.equal(1, #vim.api.nvim_list_wins())
  end)

  it("shows states by highlight groups that are links, and by words", function()
    vim.cmd.Loomd()
    local buffer = vim.api.nvim_get_current_buf()
    world.wait("the server", function()
      return world.server().state == "ready"
    end)
    world.sh("exit 3", { title = "broken" })
    world.until_text(buffer, "failed.*broken.*exit code 3")
    local row = world.go_to("broken") - 1
    local groups = {}
    for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buffer, -1, { row, 0 }, { row, -1 }, { details = true })) do
      groups[mark[4].hl_group] = true
    end
    assert.is_true(groups.LoomdFailed)
    assert.equal("DiagnosticError", vim.api.nvim_get_hl(0, { name = "LoomdFailed" }).link)
  end)

  it("keeps all of history, page by page, with :Loomd history", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { earlier = 2 })
    vim.cmd.Loomd()
    local buffer = vim.api.nvim_get_current_buf()
    for index = 1, 4 do
      world.until_state(world.sh("true", { title = "number " .. index }).id, "succeeded")
    end
    world.until_text(buffer, "2 more: :Loomd history")
    assert.is_falsy(world.text(buffer):find("number 1"))
    vim.cmd("Loomd history")
    local history = vim.api.nvim_get_current_buf()
    for index = 1, 4 do
      world.until_text(history, "number " .. index)
    end
  end)
end)

describe(":Loomd", function()
  before_each(function()
    world.fresh()
  end)
  after_each(world.finish)

  it("completes subcommands, templates, and runs for which it makes sense", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { templates = { ["build-all"] = { command = "make" } } })
    world.connect()
    local ended = world.sh("true")
    world.until_state(ended.id, "succeeded")
    local live = world.sh("sleep 1000")
    local function complete(line)
      return vim.fn.getcompletion(line, "cmdline")
    end
    assert.same({ "rename", "rerun", "restart", "resume" }, complete("Loomd re"))
    assert.same({ "build-all" }, complete("Loomd start b"))
    assert.same({ live.id:sub(-8) }, complete("Loomd cancel "))
    assert.same({ ended.id:sub(-8) }, complete("Loomd delete "))
    assert.same({ live.id:sub(-8), ended.id:sub(-8) }, complete("Loomd output "))
  end)

  it("binds no key and opens nothing by itself", function()
    for _, map in ipairs(vim.api.nvim_get_keymap("n")) do
      if (map.desc or ""):find("loomd") then
        assert.is_truthy(map.lhs:find("^<Plug>%(loomd%-"))
      end
    end
    world.connect()
    local window, tick = vim.api.nvim_get_current_win(), #vim.api.nvim_list_wins()
    local run = world.sh("echo hi")
    world.until_state(run.id, "succeeded")
    assert.equal(window, vim.api.nvim_get_current_win())
    assert.equal(tick, #vim.api.nvim_list_wins())
  end)

  it("says what there is when a subcommand is unknown", function()
    vim.cmd("Loomd frobnicate")
    assert.is_truthy(world.heard("no :Loomd frobnicate"))
  end)

  it("remembers the last answer of a template", function()
    local asked = {}
    local input, select = vim.ui.input, vim.ui.select
    vim.ui.select = function(items, _, done)
      done(items[1])
    end
    vim.ui.input = function(options, done)
      table.insert(asked, options.default or false)
      done("echo remembered")
    end
    for _ = 1, 2 do
      local run = world.await(function(done)
        require("loomd.start").ask(done)
      end)
      assert.same({ "echo", "remembered" }, run.command)
    end
    vim.ui.input, vim.ui.select = input, select
    assert.equal("echo remembered", asked[2])
  end)

  it("fills the quickfix list with places that exist, relative to the run's directory", function()
    vim.fn.mkdir("sub", "p")
    vim.fn.writefile({ "one", "two", "three" }, "sub/code.c")
    local run = world.sh("printf '\\033[31mcode.c:2:1: error: broken\\033[0m\\n'; echo nowhere.c:1:1: error: gone; printf 'error[E1]: no\\n  --> code.c:3:2\\n'", {
      cwd = vim.fn.getcwd() .. "/sub",
    })
    world.until_state(run.id, "succeeded")
    vim.cmd.cd("/")
    local count = world.await(function(done)
      require("loomd.quickfix").open(world.store().runs[run.id], done)
    end)
    local items = vim.fn.getqflist()
    assert.equal(2, count)
    assert.same({ 2, 3 }, { items[1].lnum, items[2].lnum })
    assert.is_truthy(vim.api.nvim_buf_get_name(items[1].bufnr):find("sub/code.c$"))
    assert.equal("quickfix", vim.bo.buftype)
  end)

  it("fills the quickfix list from the forms of compilers and stack traces that are common", function()
    vim.fn.writefile({ "one", "two", "three", "four" }, "bad.c")
    local here = vim.fn.getcwd()
    -- What is written, where it leads, and what is said of it.
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
    -- And one after the other, as a log has them.
    assert.same(expected, places(all))
    -- Beside a form of the user's own, which goes first.
    quickfix.set({ "thread 'main' panicked at bad.c:2:3:", "no such key", "bad.c|3| mine" }, here, "places", "%f|%l| %m")
    assert.same({ 2, 3 }, vim.tbl_map(function(item)
      return item.lnum
    end, vim.fn.getqflist()))
  end)
end)
