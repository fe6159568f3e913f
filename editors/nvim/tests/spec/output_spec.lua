-- Output in a terminal buffer: colours, following, floods, input, and the way back to it after Neovim was closed.

local world = require("world")

local function output(run)
  vim.cmd("Loomd output " .. run.id:sub(-8))
  return vim.api.nvim_get_current_buf()
end

-- The cursor's window shows the end of the buffer's text.
local function at_end(window)
  return vim.api.nvim_win_get_cursor(window)[1] == vim.api.nvim_buf_line_count(vim.api.nvim_win_get_buf(window))
end

describe("output", function()
  before_each(function()
    world.fresh()
    world.connect()
  end)
  after_each(world.finish)

  it("has its colours in a terminal buffer, and none of the escapes", function()
    local run = world.sh("printf '\\033[31mred\\033[0m plain\\n'")
    local buffer = output(run)
    assert.equal("terminal", vim.bo[buffer].buftype)
    world.until_text(buffer, "red plain")
    assert.is_falsy(world.text(buffer):find("\27"))
    world.until_text(buffer, "── succeeded ──")
  end)

  it("shows stdout and stderr in the order of their arrival, from the first column", function()
    local run = world.sh("echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three")
    local buffer = output(run)
    world.until_text(buffer, "succeeded")
    assert.same({ "one", "two", "three" }, vim.list_slice(world.lines(buffer), 1, 3))
  end)

  it("follows where the cursor is at the end, stays where it is not, and takes no focus", function()
    local run = world.sh("i=0; while read line; do for n in $(seq 60); do i=$((i+1)); echo line $i; done; done", { interactive = true })
    vim.cmd("only")
    local own = vim.api.nvim_get_current_win()
    local buffer = output(run)
    local following = vim.api.nvim_get_current_win()
    vim.cmd("split")
    local staying = vim.api.nvim_get_current_win()
    world.ask("run/send", { runId = run.id, text = "\n" })
    world.until_text(buffer, "line 60\n")
    vim.api.nvim_win_set_cursor(staying, { 2, 0 })
    vim.api.nvim_win_set_cursor(following, { vim.api.nvim_buf_line_count(buffer), 0 })
    vim.api.nvim_set_current_win(own)
    world.ask("run/send", { runId = run.id, text = "\n" })
    world.until_text(buffer, "line 120\n")
    world.wait("the follower at the end", function()
      return at_end(following)
    end)
    assert.equal(2, vim.api.nvim_win_get_cursor(staying)[1])
    assert.equal(own, vim.api.nvim_get_current_win())
  end)

  it("interrupts the run by Ctrl-C, in normal mode too", function()
    local run = world.sh("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done")
    local buffer = output(run)
    world.until_text(buffer, "ready")
    world.press("<C-c>")
    world.until_text(buffer, "caught")
  end)

  it("gives what is typed in terminal mode to an interactive run with a terminal", function()
    local run = world.sh("stty -echo; echo ready; read line; echo got:$line", { interactive = true, tty = true })
    local child = world.child()
    child.lua("vim.cmd('Loomd output ' .. ...)", run.id:sub(-8))
    world.wait("the prompt", function()
      return child.text():find("ready")
    end)
    child.type("ityped<CR>")
    world.wait("the answer", function()
      return child.text():find("got:typed")
    end)
  end)

  it("is there again when its buffer was closed, and follows no more in between", function()
    local run = world.sh("echo first; read line; echo second", { interactive = true })
    local buffer = output(run)
    world.until_text(buffer, "first")
    vim.api.nvim_buf_delete(buffer, { force = true })
    assert.is_nil(require("loomd.view.output").of(run.id))
    world.ask("run/send", { runId = run.id, text = "\n" })
    world.until_state(run.id, "succeeded")
    buffer = output(run)
    world.until_text(buffer, "first\nsecond")
  end)

  it("of an older run shows the end, and all of it one key away", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { backlog_bytes = 4096 })
    local run = world.sh("for n in $(seq 300); do echo number $n; sleep 0.001; done")
    world.until_state(run.id, "succeeded")
    local buffer = output(run)
    world.until_text(buffer, "number 300\n")
    assert.is_truthy(world.text(buffer):find("earlier output is not shown"))
    assert.is_falsy(world.text(buffer):find("number 1\n"))
    world.press("gA")
    world.wait("the whole output", function()
      return vim.api.nvim_get_current_buf() ~= buffer and vim.api.nvim_buf_line_count(0) == 300
    end)
    assert.equal("number 1", world.lines()[1])
  end)

  it("of 100 MB leaves room for typing, and keeps no more lines than it may", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { max_lines = 2000 })
    -- 100 MB at least, and no end before the keys were typed.
    local stop = world.folder .. "/stop"
    local flood = "read line; n=0; while [ $n -lt 50 ] || [ ! -e %s ]; do yes 'a line of the flood, long enough' | head -c 2000000; n=$((n+1)); done; echo the end"
    local run = world.sh(flood:format(stop), { interactive = true })
    local child = world.child()
    local buffer = child.lua(
      [[
        require("loomd").connect()
        vim.cmd("Loomd output " .. ...)
        vim.wait(90000, function() return vim.bo.buftype == "terminal" end, 5)
        local buffer = vim.api.nvim_get_current_buf()
        -- A person types into another window while it pours.
        vim.cmd("topleft new | startinsert")
        return buffer
      ]],
      run.id:sub(-8)
    )
    local function look()
      return child.lua(
        [[
          local view, run = require("loomd.view.output").of(...), require("loomd.store").runs[...]
          return {
            attached = view.follower and view.follower.attached or false, paints = view.painter.count, dropped = view.total_dropped,
            pile = view.most_queued, final = require("loomd.store").is_final(run), bytes = run.bytes.stdout,
          }
        ]],
        run.id
      )
    end
    world.wait("the attachment", function()
      return look().attached
    end)
    world.ask("run/send", { runId = run.id, text = "\n" })
    world.wait("the flood", function()
      return look().bytes > 0
    end)
    local first, begun = look(), vim.uv.now()
    for typed = 1, 100 do
      -- The next key is only typed when this one is on the screen: each is answered while the flood pours.
      child.type("x")
      world.wait("the key that was typed", function()
        return #child.text() == typed
      end)
    end
    local now = look()
    assert.is_false(now.final)
    local spent = vim.uv.now() - begun
    vim.fn.writefile({}, stop)
    assert.is_true(now.pile <= require("loomd.view.output").pile + 2 * 65536, ("a pile of %d bytes"):format(now.pile))
    assert.is_true(now.paints - first.paints <= spent / 50 + 2, ("%d paints in %d ms"):format(now.paints - first.paints, spent))
    world.wait("the end", function()
      return child.text(buffer):find("the end")
    end)
    assert.is_true(world.ask("run/get", { runId = run.id }).run.bytes.stdout >= 100000000)
    local _, lines = child.text(buffer):gsub("\n", "")
    assert.is_true(lines <= 2000 + 100, lines .. " lines are kept")
    assert.is_truthy(child.lua("return require('loomd.view').bar(...)", run.id):find("MB left out, gA has"))
  end)
end)

describe("Neovim that is closed while a run goes on", function()
  after_each(world.finish)

  it("shows it live, where it is, when it is opened again", function()
    world.fresh()
    local stop = world.folder .. "/stop"
    -- Another Neovim, a whole one, that is left with :qa! .
    local script = ([[
      vim.opt.runtimepath:prepend(%q)
      vim.cmd.source(%q)
      vim.g.loomd = { cmd = %q, tty = false }
      require("loomd").start({ provider = "command", title = "survivor",
        command = { "sh", "-c", %q } }, function(run)
        require("loomd.view").open(run)
        vim.cmd("qa!")
      end)
    ]]):format(world.plugin, world.plugin .. "/plugin/loomd.lua", world.binary, ("n=0; while [ ! -e %s ]; do n=$((n+1)); echo tick $n; sleep 0.02; done; echo stopped"):format(stop))
    local file = world.folder .. "/first.lua"
    vim.fn.writefile(vim.split(script, "\n"), file)
    local ended = vim.system({ vim.v.progpath, "--headless", "-u", "NONE", "-i", "NONE", "-c", "luafile " .. file }, { timeout = world.deadline_ms }):wait()
    assert.equal(0, ended.code)

    vim.cmd.Loomd()
    world.until_text(0, "▶ running.*survivor")
    world.go_to("survivor")
    world.press("<CR>")
    local buffer = vim.api.nvim_get_current_buf()
    world.until_text(buffer, "tick 1\n")
    local text = world.text(buffer)
    local last = tonumber(text:match(".*tick (%d+)"))
    world.until_text(buffer, "tick " .. (last + 20) .. "\n")
    vim.fn.writefile({}, stop)
    world.until_text(buffer, "stopped")
    -- No gap and no repeat.
    local expected = 1
    for number in world.text(buffer):gmatch("tick (%d+)") do
      assert.equal(expected, tonumber(number))
      expected = expected + 1
    end
  end)
end)
