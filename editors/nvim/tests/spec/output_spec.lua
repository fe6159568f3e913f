-- The output of runs in a terminal buffer: colors, following the end, floods, input, and reopening it after Neovim
-- was closed.

local support = require("support")

local function output(run)
  vim.cmd("Loomd output " .. run.id:sub(-8))
  return vim.api.nvim_get_current_buf()
end

-- Whether the window's cursor is on the last line of its buffer.
local function at_end(window)
  return vim.api.nvim_win_get_cursor(window)[1] == vim.api.nvim_buf_line_count(vim.api.nvim_win_get_buf(window))
end

describe("output", function()
  before_each(function()
    support.reset()
    support.connect()
  end)
  after_each(support.cleanup)

  it("has its colors in a terminal buffer, and no escape sequences", function()
    local run = support.sh("printf '\\033[31mred\\033[0m plain\\n'")
    local buffer = output(run)
    assert.equal("terminal", vim.bo[buffer].buftype)
    support.until_text(buffer, "red plain")
    assert.is_falsy(support.text(buffer):find("\27"))
    support.until_text(buffer, "── succeeded ──")
  end)

  it("shows stdout and stderr in the order of their arrival, from the first column", function()
    local run = support.sh("echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three")
    local buffer = output(run)
    support.until_text(buffer, "succeeded")
    assert.same({ "one", "two", "three" }, vim.list_slice(support.lines(buffer), 1, 3))
  end)

  it("follows the end only in windows whose cursor is there, and does not take the focus", function()
    local run = support.sh("i=0; while read line; do for n in $(seq 60); do i=$((i+1)); echo line $i; done; done", { interactive = true })
    vim.cmd("only")
    local own = vim.api.nvim_get_current_win()
    local buffer = output(run)
    local following = vim.api.nvim_get_current_win()
    vim.cmd("split")
    local staying = vim.api.nvim_get_current_win()
    support.request("run/send", { runId = run.id, text = "\n" })
    support.until_text(buffer, "line 60\n")
    vim.api.nvim_win_set_cursor(staying, { 2, 0 })
    vim.api.nvim_win_set_cursor(following, { vim.api.nvim_buf_line_count(buffer), 0 })
    vim.api.nvim_set_current_win(own)
    support.request("run/send", { runId = run.id, text = "\n" })
    support.until_text(buffer, "line 120\n")
    support.wait("the follower at the end", function()
      return at_end(following)
    end)
    assert.equal(2, vim.api.nvim_win_get_cursor(staying)[1])
    assert.equal(own, vim.api.nvim_get_current_win())
  end)

  it("interrupts the run by Ctrl-C, in normal mode too", function()
    local run = support.sh("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done")
    local buffer = output(run)
    support.until_text(buffer, "ready")
    support.press("<C-c>")
    support.until_text(buffer, "caught")
  end)

  it("sends keys of terminal mode to an interactive run with a terminal", function()
    local run = support.sh("stty -echo; echo ready; read line; echo got:$line", { interactive = true, tty = true })
    local child = support.child()
    child.lua("vim.cmd('Loomd output ' .. ...)", run.id:sub(-8))
    support.wait("the prompt", function()
      return child.text():find("ready")
    end)
    child.type("ityped<CR>")
    support.wait("the answer", function()
      return child.text():find("got:typed")
    end)
  end)

  it("is shown again after its buffer was deleted, and does not follow in between", function()
    local run = support.sh("echo first; read line; echo second", { interactive = true })
    local buffer = output(run)
    support.until_text(buffer, "first")
    vim.api.nvim_buf_delete(buffer, { force = true })
    assert.is_nil(require("loomd.view.output").find(run.id))
    support.request("run/send", { runId = run.id, text = "\n" })
    support.until_state(run.id, "succeeded")
    buffer = output(run)
    support.until_text(buffer, "first\nsecond")
  end)

  it("of an older run shows the end, and gA shows all of it", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { backlog_bytes = 4096 })
    local run = support.sh("for n in $(seq 300); do echo number $n; sleep 0.001; done")
    support.until_state(run.id, "succeeded")
    local buffer = output(run)
    support.until_text(buffer, "number 300\n")
    assert.is_truthy(support.text(buffer):find("earlier output skipped %(gA: full output%)"))
    assert.is_falsy(support.text(buffer):find("number 1\n"))
    support.press("gA")
    support.wait("the whole output", function()
      return vim.api.nvim_get_current_buf() ~= buffer and vim.api.nvim_buf_line_count(0) == 300
    end)
    assert.equal("number 1", support.lines()[1])
  end)

  it("in a pseudoterminal has the size of its window, and what it asks of its terminal is answered once", function()
    local run = support.sh("stty raw -echo; printf '\\033[5n'; head -c 10 | tr '\\033' E; while read line; do stty size; done", { interactive = true, tty = true })
    local buffer = output(run)
    support.wait("the attachment", function()
      return require("loomd.view.output").find(run.id).follower.attached
    end)
    support.until_text(buffer, "\n?")
    -- Ten bytes: the answer to the question is four of them, whoever gives it.
    support.request("run/send", { runId = run.id, text = "typed\n" })
    support.until_text(buffer, "E%[0ntyped")
    local function size_of(window)
      return { rows = vim.api.nvim_win_get_height(window) - (vim.wo[window].winbar ~= "" and 1 or 0), cols = vim.api.nvim_win_get_width(window) }
    end
    local function until_size()
      support.wait("the size of the window", function()
        return vim.deep_equal(size_of(0), support.request("run/get", { runId = run.id }).run.tty)
      end)
    end
    until_size()
    local before = size_of(0)
    vim.cmd("leftabove vnew | wincmd p | vertical resize 31")
    -- In a script Neovim does not notice that a window was resized.
    vim.api.nvim_exec_autocmds("WinResized", {})
    until_size()
    assert.is_true(size_of(0).cols < before.cols)
  end)

  it("is copied by gA into a file that only the user can read, that sets no options, and that goes with the run", function()
    local run = support.sh("echo '# vim: set textwidth=17:'")
    support.until_state(run.id, "succeeded")
    local modeline = vim.o.modeline
    vim.o.modeline = true
    vim.cmd("Loomd whole " .. run.id:sub(-8))
    support.until_text(0, "textwidth=17")
    vim.o.modeline = modeline
    local path = vim.api.nvim_buf_get_name(0)
    assert.is_truthy(path:find(vim.fn.stdpath("cache") .. "/loomd/runs/" .. run.id, 1, true), path)
    assert.equal(0, vim.bo.textwidth)
    assert.equal("rw-------", vim.fn.getfperm(path))
    assert.equal("rwx------", vim.fn.getfperm(vim.fs.dirname(path)))
    vim.cmd("Loomd! delete " .. run.id:sub(-8))
    support.wait("the copy to go", function()
      return vim.fn.isdirectory(vim.fs.dirname(path)) == 0
    end)
    -- Of a run that another client has deleted, the copy goes when the server is there again.
    local other = require("loomd.private_file").path("01990000-0000-7000-8000-0000abcd1234", "output.log")
    assert.is_nil(require("loomd.private_file").write(other, "text"))
    vim.cmd("Loomd restart")
    support.wait("the copy to go", function()
      return vim.fn.isdirectory(vim.fs.dirname(other)) == 0
    end)
  end)

  it("of 100 MB does not block typing, and keeps at most max_lines", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { max_lines = 2000 })
    -- At least 100 MB, and no end before the keys were typed.
    local stop = support.folder .. "/stop"
    local flood = "read line; n=0; while [ $n -lt 50 ] || [ ! -e %s ]; do yes 'a line of the flood, long enough' | head -c 2000000; n=$((n+1)); done; echo the end"
    local run = support.sh(flood:format(stop), { interactive = true })
    local child = support.child()
    local buffer = child.lua(
      [[
        require("loomd").connect()
        vim.cmd("Loomd output " .. ...)
        vim.wait(90000, function() return vim.bo.buftype == "terminal" end, 5)
        local buffer = vim.api.nvim_get_current_buf()
        -- The user types into another window during the flood.
        vim.cmd("topleft new | startinsert")
        return buffer
      ]],
      run.id:sub(-8)
    )
    local function read_view()
      return child.lua(
        [[
          local view, run = require("loomd.view.output").find(...), require("loomd.store").runs[...]
          return {
            attached = view.follower and view.follower.attached or false, redraws = view.throttle.count, skipped = view.total_skipped,
            queued = view.peak_queued, final = require("loomd.store").is_final(run), bytes = run.bytes.stdout,
          }
        ]],
        run.id
      )
    end
    support.wait("the attachment", function()
      return read_view().attached
    end)
    support.request("run/send", { runId = run.id, text = "\n" })
    support.wait("the flood", function()
      return read_view().bytes > 0
    end)
    local first, started = read_view(), vim.uv.now()
    for count = 1, 100 do
      -- The next key is typed when this one is on the screen, so each is handled during the flood.
      child.type("x")
      support.wait("the key that was typed", function()
        return #child.text() == count
      end)
    end
    local now = read_view()
    assert.is_false(now.final)
    local spent = vim.uv.now() - started
    vim.fn.writefile({}, stop)
    assert.is_true(now.queued <= require("loomd.view.output").max_queue_bytes + 2 * 65536, ("a queue of %d bytes"):format(now.queued))
    assert.is_true(now.redraws - first.redraws <= spent / 50 + 2, ("%d redraws in %d ms"):format(now.redraws - first.redraws, spent))
    support.wait("the end", function()
      return child.text(buffer):find("the end")
    end)
    assert.is_true(support.request("run/get", { runId = run.id }).run.bytes.stdout >= 100000000)
    local _, lines = child.text(buffer):gsub("\n", "")
    assert.is_true(lines <= 2000 + 100, lines .. " lines are kept")
    local winbar = child.lua("return require('loomd.view').winbar(...)", run.id)
    -- A slow machine lets the flood grow beyond 1000 MB.
    assert.is_truthy(winbar:find("[MG]B skipped, gA: full output"), winbar)
  end)
end)

describe("Neovim that is closed while a run goes on", function()
  after_each(support.cleanup)

  it("shows it live after a restart", function()
    support.reset()
    local stop = support.folder .. "/stop"
    -- Another Neovim process, which ends with :qa! .
    local script = ([[
      vim.opt.runtimepath:prepend(%q)
      vim.cmd.source(%q)
      vim.g.loomd = { cmd = %q, tty = false }
      require("loomd").start({ provider = "command", title = "survivor",
        command = { "sh", "-c", %q } }, function(run)
        require("loomd.view").open(run)
        vim.cmd("qa!")
      end)
    ]]):format(support.plugin, support.plugin .. "/plugin/loomd.lua", support.binary, ("n=0; while [ ! -e %s ]; do n=$((n+1)); echo tick $n; sleep 0.02; done; echo stopped"):format(stop))
    local file = support.folder .. "/first.lua"
    vim.fn.writefile(vim.split(script, "\n"), file)
    local ended = vim.system({ vim.v.progpath, "--headless", "-u", "NONE", "-i", "NONE", "-c", "luafile " .. file }, { timeout = support.deadline_ms }):wait()
    assert.equal(0, ended.code)

    vim.cmd.Loomd()
    support.until_text(0, "▶ running.*survivor")
    support.move_to("survivor")
    support.press("<CR>")
    local buffer = vim.api.nvim_get_current_buf()
    support.until_text(buffer, "tick 1\n")
    local text = support.text(buffer)
    local last = tonumber(text:match(".*tick (%d+)"))
    support.until_text(buffer, "tick " .. (last + 20) .. "\n")
    vim.fn.writefile({}, stop)
    support.until_text(buffer, "stopped")
    -- No line is missing and none is repeated.
    local expected = 1
    for number in support.text(buffer):gmatch("tick (%d+)") do
      assert.equal(expected, tonumber(number))
      expected = expected + 1
    end
  end)
end)
