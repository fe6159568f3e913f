-- The server's life: found, greeted, crashed, restarted, ended. Against a fake one where a real one cannot be made to fail.

local world = require("world")

local fake = { "python3", world.plugin .. "/tests/fake_server.py" }

local function until_server(state)
  world.wait("a server that is " .. state, function()
    return world.server().state == state
  end)
end

describe("the binary", function()
  after_each(world.finish)

  it("is what vim.g.loomd.cmd says, with arguments of its own and a log file", function()
    local seen = vim.fn.tempname()
    world.fresh({ cmd = { fake[1], fake[2], "--mine" }, env = { FAKE_ARGUMENTS = seen, FAKE_MARK = "from the options" } })
    world.connect()
    local told = vim.json.decode(table.concat(vim.fn.readfile(seen)))
    assert.equal("--mine", told.argv[2])
    assert.same({ "--log-file", world.server().log_path() }, { told.argv[3], told.argv[4] })
    assert.equal("from the options", told.mark)
    assert.equal("loomd.nvim", told.params.clientInfo.name)
    assert.equal(1, told.params.protocolVersion)
    assert.equal(vim.fn.getpid(), told.params.processId)
    assert.is_true(told.params.capabilities.permissions)
  end)

  it("is found on PATH otherwise", function()
    world.fresh()
    vim.g.loomd = { tty = false }
    local folder = vim.fn.tempname()
    vim.fn.mkdir(folder)
    vim.uv.fs_symlink(world.binary, folder .. "/loomd")
    local path = vim.env.PATH
    vim.env.PATH = folder .. ":" .. path
    assert.same({ folder .. "/loomd" }, (require("loomd.config").argv()))
    vim.env.PATH = "/nowhere"
    local argv, problem = require("loomd.config").argv()
    vim.env.PATH = path
    assert.is_nil(argv)
    assert.is_truthy(problem:find("was not found on PATH; install it"))
  end)

  it("is never chosen by the working directory", function()
    world.fresh({ cmd = "./loomd" })
    vim.uv.fs_symlink(world.binary, vim.fn.getcwd() .. "/loomd")
    local argv, problem = require("loomd.config").argv()
    assert.is_nil(argv)
    assert.is_truthy(problem:find("relative path"))
  end)

  it("is missed in one sentence, in the list and in every answer", function()
    world.fresh({ cmd = "/no/such/loomd" })
    vim.cmd.Loomd()
    world.until_text(0, "/no/such/loomd is not there")
    assert.is_truthy(world.text():find(":Loomd restart"))
    local failure = world.await(function(done)
      world.server().request("run/list", nil, done)
    end)
    assert.equal("connection", failure.data.kind)
  end)

  it("is missed by :Loomd restart, too, which does not say that it was started", function()
    world.fresh({ cmd = "/no/such/loomd" })
    vim.cmd("Loomd restart")
    world.wait("a sentence", function()
      return #world.said > 0
    end)
    assert.is_truthy(world.heard("^loomd: /no/such/loomd is not there"))
    assert.is_nil(world.heard("started again"))
    vim.g.loomd = { cmd = world.binary, tty = false }
    world.said = {}
    vim.cmd("Loomd restart")
    world.wait("the other sentence", function()
      return world.heard("the server is started again")
    end)
    until_server("ready")
  end)

  it("is missed in words that a narrow window shows to their end", function()
    local cmd = "/no/such/" .. ("folder-of-a-long-name/"):rep(4) .. "loomd"
    world.fresh({ cmd = cmd })
    vim.cmd("vnew")
    vim.cmd.Loomd()
    vim.cmd.wincmd("L")
    vim.cmd("vertical resize 36")
    local width = vim.api.nvim_win_get_width(0)
    local list = vim.api.nvim_get_current_buf()
    -- The resize is seen by a main loop, which a spec does not have.
    vim.api.nvim_exec_autocmds("VimResized", {})
    world.wait("the sentence in that width", function()
      return vim.iter(world.lines(list)):all(function(line)
        return vim.fn.strdisplaywidth(line) <= width
      end)
    end)
    -- Nothing of it is left out: joined, it is the sentence.
    local joined = table.concat(vim.tbl_map(vim.trim, world.lines(list)), " ")
    local bare = (joined:gsub("%s", ""))
    assert.is_truthy(bare:find(("loomd is not running: " .. world.server().problem):gsub("%s", ""), 1, true), joined)
    assert.is_truthy(joined:find("install it with `cargo install", 1, true))
    assert.is_truthy(joined:find(":Loomd restart", 1, true))
  end)
end)

describe("the handshake", function()
  after_each(world.finish)

  it("says which side is old when versions do not fit, once", function()
    world.fresh({ cmd = fake, env = { FAKE_PROTOCOL = "2" } })
    require("loomd").connect()
    until_server("failed")
    assert.equal("loomd 9.9.9 speaks protocol 2 and this plugin 1: update the plugin", world.server().problem)
    world.fresh({ cmd = fake, env = { FAKE_PROTOCOL = "0" } })
    require("loomd").connect()
    until_server("failed")
    assert.is_truthy(world.server().problem:find("update loomd$"))
  end)

  it("hands on what the server says of a bad configuration, and does not try again", function()
    world.fresh({ cmd = fake, env = { FAKE_REFUSE = "config" } })
    local failure = world.await(function(done)
      world.server().request("run/list", nil, done)
    end)
    assert.is_truthy(failure.message:find("config.toml, line 3"))
    assert.equal("failed", world.server().state)
  end)
end)

describe("a server that dies", function()
  after_each(world.finish)

  it("fails every caller with a clear error, and is started again", function()
    local guard = vim.fn.tempname()
    vim.fn.writefile({}, guard)
    world.fresh({ cmd = fake, env = { FAKE_CRASH = "run/get", FAKE_CRASH_FILE = guard } })
    world.connect()
    local failures = {}
    for index = 1, 3 do
      world.server().request("fake/hang", nil, function(failure)
        failures[index] = failure
      end)
    end
    local failure = world.await(function(done)
      world.server().request("run/get", { runId = "x" }, done)
    end)
    vim.fn.delete(guard)
    assert.equal("connection", failure.data.kind)
    assert.is_truthy(failure.message:find("loomd ended with 7 before it answered"))
    assert.equal(3, #failures)
    until_server("ready")
    assert.same({ providers = world.ask("provider/list").providers }, world.ask("provider/list"))
  end)

  it("is started again four times in three minutes, then says so in the list until :Loomd restart", function()
    world.fresh({ cmd = fake, env = { FAKE_CRASH = "fake/crash" } })
    vim.cmd.Loomd()
    local list = vim.api.nvim_get_current_buf()
    for count = 1, 5 do
      until_server("ready")
      local failure = world.await(function(done)
        world.server().request("fake/crash", nil, done)
      end)
      assert.equal("connection", failure.data.kind)
      if count < 5 then
        world.wait("the next start", function()
          return world.server().state ~= "failed"
        end)
      end
    end
    until_server("failed")
    world.until_text(list, "loomd is not running: ended 5 times in 3 minutes, last with 7")
    assert.is_truthy(world.heard("5 times in 3 minutes"))
    vim.cmd("Loomd restart")
    until_server("ready")
    world.until_text(list, "0 waiting")
  end)

  it("leaves the runs alone: they go on, and their views go on with them", function()
    world.fresh()
    world.connect()
    local run = world.sh("echo before; read line; echo $line", { interactive = true })
    vim.cmd("Loomd output " .. run.id:sub(-8))
    local buffer = vim.api.nvim_get_current_buf()
    world.until_text(buffer, "before")
    world.server().crash()
    world.wait("the crash to be noticed", function()
      return world.server().state ~= "ready"
    end)
    until_server("ready")
    world.ask("run/send", { runId = run.id, text = "after\n" })
    world.until_text(buffer, "after")
    local text = world.text(buffer)
    assert.equal(1, select(2, text:gsub("before", "")))
    assert.equal(1, select(2, text:gsub("after", "")))
  end)
end)

describe("a call that is given up", function()
  after_each(world.finish)

  it("is settled at once, though vim.lsp.rpc never tells of -32800", function()
    world.fresh({ cmd = fake })
    world.connect()
    local failure, times = nil, 0
    local call = world.server().request("fake/hang", nil, function(problem)
      failure, times = problem, times + 1
    end)
    call.cancel()
    world.wait("the failure", function()
      return failure
    end)
    assert.equal(-32800, failure.code)
    call.cancel()
    local calls = world.ask("fake/calls").calls
    assert.equal("$/cancelRequest", calls[#calls].method)
    assert.equal(1, times)
  end)
end)

describe("the end", function()
  after_each(world.finish)

  it("is a shutdown and an exit, when Neovim leaves", function()
    local log, seen = vim.fn.tempname(), {}
    -- The real server tells by its exit code: 0 after shutdown, 1 without.
    local script = ("%s; echo $? > %s"):format(vim.fn.shellescape(world.binary) .. ' "$@"', log)
    world.fresh({ cmd = { "sh", "-c", script, "loomd" } })
    world.connect()
    vim.api.nvim_exec_autocmds("VimLeavePre", {})
    world.wait("the server's exit code", function()
      local ok, lines = pcall(vim.fn.readfile, log)
      seen = ok and lines or {}
      return #seen > 0
    end)
    assert.same({ "0" }, seen)
    assert.equal("stopped", world.server().state)
  end)

  it("of :Loomd stop leaves the runs running", function()
    world.fresh()
    world.connect()
    local run = world.sh("sleep 1000")
    vim.cmd("Loomd stop")
    assert.equal("", require("loomd").status())
    vim.cmd("Loomd restart")
    until_server("ready")
    assert.equal("running", world.ask("run/get", { runId = run.id }).run.state)
  end)
end)

describe("health and status", function()
  after_each(world.finish)

  it("names the binary, its version, the store and the providers", function()
    world.fresh({ notifi = "all" })
    vim.cmd("checkhealth loomd")
    local text = world.text()
    assert.is_truthy(text:find("binary: " .. vim.pesc(world.binary)))
    assert.is_truthy(text:find("version %d+%.%d+%.%d+, protocol 1"))
    assert.is_truthy(text:find("store: " .. vim.pesc(world.folder)))
    assert.is_truthy(text:find("OK command"))
    assert.is_truthy(text:find("vim.g.loomd.notifi: there is no such option"))
  end)

  it("tells a status line in words, and nothing when there is nothing", function()
    world.fresh()
    assert.equal("", require("loomd").status())
    world.connect()
    assert.equal("", require("loomd").status())
    local run = world.sh("sleep 1000")
    assert.equal("loomd: 1 running", require("loomd").status())
    world.ask("run/cancel", { runId = run.id, graceMs = 0 })
    world.until_state(run.id, "cancelled")
    assert.equal("", require("loomd").status())
  end)

  it("opens the server's log, the same file after a restart", function()
    world.fresh()
    world.connect()
    vim.cmd("Loomd restart")
    until_server("ready")
    vim.cmd("Loomd log")
    assert.equal(vim.uv.fs_realpath(world.server().log_path()), vim.uv.fs_realpath(vim.api.nvim_buf_get_name(0)))
  end)
end)
