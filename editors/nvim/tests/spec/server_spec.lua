-- The server process: finding, starting, initializing, crashing, restarting and stopping it. A fake server fails
-- where the real one cannot be made to.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }

local function until_server(state)
  support.wait("a server that is " .. state, function()
    return support.server().state == state
  end)
end

describe("the executable", function()
  after_each(support.cleanup)

  it("is what vim.g.loomd.cmd says, with arguments of its own and a log file", function()
    local seen = vim.fn.tempname()
    support.reset({ cmd = { fake[1], fake[2], "--mine" }, env = { FAKE_ARGUMENTS = seen, FAKE_MARK = "from the options" } })
    support.connect()
    local recorded = vim.json.decode(table.concat(vim.fn.readfile(seen)))
    assert.equal("--mine", recorded.argv[2])
    assert.same({ "--log-file", support.server().log_path() }, { recorded.argv[3], recorded.argv[4] })
    assert.equal("from the options", recorded.mark)
    assert.equal("loomd.nvim", recorded.params.clientInfo.name)
    assert.equal(1, recorded.params.protocolVersion)
    assert.equal(vim.fn.getpid(), recorded.params.processId)
    assert.is_true(recorded.params.capabilities.permissions)
  end)

  it("is found on PATH otherwise", function()
    support.reset()
    vim.g.loomd = { tty = false }
    local folder = vim.fn.tempname()
    vim.fn.mkdir(folder)
    vim.uv.fs_symlink(support.binary, folder .. "/loomd")
    local path = vim.env.PATH
    vim.env.PATH = folder .. ":" .. path
    assert.same({ folder .. "/loomd" }, (require("loomd.config").argv()))
    vim.env.PATH = "/nowhere"
    local argv, problem = require("loomd.config").argv()
    vim.env.PATH = path
    assert.is_nil(argv)
    assert.is_truthy(problem:find("not found on PATH; install it"))
  end)

  it("is never chosen by the working directory", function()
    support.reset({ cmd = "./loomd" })
    vim.uv.fs_symlink(support.binary, vim.fn.getcwd() .. "/loomd")
    local argv, problem = require("loomd.config").argv()
    assert.is_nil(argv)
    assert.is_truthy(problem:find("must be an absolute path or a name on PATH, not ./loomd", 1, true))
  end)

  it("is reported missing in the list and in every failure", function()
    support.reset({ cmd = "/no/such/loomd" })
    vim.cmd.Loomd()
    support.until_text(0, "/no/such/loomd does not exist")
    assert.is_truthy(support.text():find(":Loomd restart"))
    local failure = support.await(function(done)
      support.server().request("run/list", nil, done)
    end)
    assert.equal("connection", failure.data.kind)
  end)

  it("is reported missing by :Loomd restart, which then does not report a restart", function()
    support.reset({ cmd = "/no/such/loomd" })
    vim.cmd("Loomd restart")
    support.wait("a message", function()
      return #support.notifications > 0
    end)
    assert.is_truthy(support.find_notification("^loomd: /no/such/loomd does not exist or is not executable"))
    assert.is_nil(support.find_notification("restarted"))
    vim.g.loomd = { cmd = support.binary, tty = false }
    support.notifications = {}
    vim.cmd("Loomd restart")
    support.wait("the other message", function()
      return support.find_notification("^loomd: Server restarted$")
    end)
    until_server("ready")
  end)

  it("is reported missing in full, however narrow the window", function()
    local cmd = "/no/such/" .. ("folder-of-a-long-name/"):rep(4) .. "loomd"
    support.reset({ cmd = cmd })
    vim.cmd("vnew")
    vim.cmd.Loomd()
    vim.cmd.wincmd("L")
    vim.cmd("vertical resize 36")
    local width = vim.api.nvim_win_get_width(0)
    local list = vim.api.nvim_get_current_buf()
    -- Only a main loop notices the resize, and a spec has none.
    vim.api.nvim_exec_autocmds("VimResized", {})
    support.wait("the sentence in that width", function()
      return vim.iter(support.lines(list)):all(function(line)
        return vim.fn.strdisplaywidth(line) <= width
      end)
    end)
    -- Joined, the lines are the whole message.
    local joined = table.concat(vim.tbl_map(vim.trim, support.lines(list)), " ")
    local bare = (joined:gsub("%s", ""))
    assert.is_truthy(bare:find(("loomd is not running: " .. support.server().problem):gsub("%s", ""), 1, true), joined)
    assert.is_truthy(joined:find("install it with `cargo install", 1, true))
    assert.is_truthy(joined:find(":Loomd restart", 1, true))
  end)
end)

describe("the handshake", function()
  after_each(support.cleanup)

  it("names the side to update if the versions do not match", function()
    support.reset({ cmd = fake, env = { FAKE_PROTOCOL = "2" } })
    require("loomd").connect()
    until_server("failed")
    assert.equal("loomd 9.9.9 is not compatible with this plugin (protocol 2, expected 1); update the plugin", support.server().problem)
    support.reset({ cmd = fake, env = { FAKE_PROTOCOL = "0" } })
    require("loomd").connect()
    until_server("failed")
    assert.is_truthy(support.server().problem:find("update loomd$"))
  end)

  it("shows the server's message about an invalid configuration, and does not retry", function()
    support.reset({ cmd = fake, env = { FAKE_REFUSE = "config" } })
    local failure = support.await(function(done)
      support.server().request("run/list", nil, done)
    end)
    assert.is_truthy(failure.message:find("config.toml, line 3"))
    assert.equal("failed", support.server().state)
  end)
end)

describe("a server that crashes", function()
  after_each(support.cleanup)

  it("fails every pending request, and is restarted", function()
    local guard = vim.fn.tempname()
    vim.fn.writefile({}, guard)
    support.reset({ cmd = fake, env = { FAKE_CRASH = "run/get", FAKE_CRASH_FILE = guard } })
    support.connect()
    local failures = {}
    for index = 1, 3 do
      support.server().request("fake/hang", nil, function(failure)
        failures[index] = failure
      end)
    end
    local failure = support.await(function(done)
      support.server().request("run/get", { runId = "x" }, done)
    end)
    vim.fn.delete(guard)
    assert.equal("connection", failure.data.kind)
    assert.is_truthy(failure.message:find("loomd exited with code 7 before it responded"))
    assert.equal(3, #failures)
    until_server("ready")
    assert.same({ providers = support.request("provider/list").providers }, support.request("provider/list"))
  end)

  it("is restarted four times in three minutes; then the list reports it until :Loomd restart", function()
    support.reset({ cmd = fake, env = { FAKE_CRASH = "fake/crash" } })
    vim.cmd.Loomd()
    local list = vim.api.nvim_get_current_buf()
    for count = 1, 5 do
      until_server("ready")
      local failure = support.await(function(done)
        support.server().request("fake/crash", nil, done)
      end)
      assert.equal("connection", failure.data.kind)
      if count < 5 then
        support.wait("the next start", function()
          return support.server().state ~= "failed"
        end)
      end
    end
    until_server("failed")
    support.until_text(list, "loomd is not running: server crashed 5 times in 3 minutes %(exit code 7%)")
    assert.is_truthy(support.find_notification("^loomd: Server crashed 5 times in 3 minutes; see :Loomd log$"))
    vim.cmd("Loomd restart")
    until_server("ready")
    support.until_text(list, "0 waiting")
  end)

  it("does not affect runs and their views", function()
    support.reset()
    support.connect()
    local run = support.sh("echo before; read line; echo $line", { interactive = true })
    vim.cmd("Loomd output " .. run.id:sub(-8))
    local buffer = vim.api.nvim_get_current_buf()
    support.until_text(buffer, "before")
    support.server().crash()
    support.wait("the crash to be noticed", function()
      return support.server().state ~= "ready"
    end)
    until_server("ready")
    support.request("run/send", { runId = run.id, text = "after\n" })
    support.until_text(buffer, "after")
    local text = support.text(buffer)
    assert.equal(1, select(2, text:gsub("before", "")))
    assert.equal(1, select(2, text:gsub("after", "")))
  end)
end)

describe("a canceled request", function()
  after_each(support.cleanup)

  it("fails at once, although vim.lsp.rpc discards the error -32800", function()
    support.reset({ cmd = fake })
    support.connect()
    local failure, times = nil, 0
    local call = support.server().request("fake/hang", nil, function(problem)
      failure, times = problem, times + 1
    end)
    call.cancel()
    support.wait("the failure", function()
      return failure
    end)
    assert.equal(-32800, failure.code)
    call.cancel()
    local calls = support.request("fake/calls").calls
    assert.equal("$/cancelRequest", calls[#calls].method)
    assert.equal(1, times)
  end)
end)

describe("stopping", function()
  after_each(support.cleanup)

  it("sends shutdown and exit when Neovim exits", function()
    local log, seen = vim.fn.tempname(), {}
    -- The exit code of the real server is 0 after a shutdown request and 1 without one.
    local script = ("%s; echo $? > %s"):format(vim.fn.shellescape(support.binary) .. ' "$@"', log)
    support.reset({ cmd = { "sh", "-c", script, "loomd" } })
    support.connect()
    vim.api.nvim_exec_autocmds("VimLeavePre", {})
    support.wait("the server's exit code", function()
      local ok, lines = pcall(vim.fn.readfile, log)
      seen = ok and lines or {}
      return #seen > 0
    end)
    assert.same({ "0" }, seen)
    assert.equal("stopped", support.server().state)
  end)

  it("by :Loomd stop does not affect runs", function()
    support.reset()
    support.connect()
    local run = support.sh("sleep 1000")
    vim.cmd("Loomd stop")
    assert.equal("", require("loomd").status())
    vim.cmd("Loomd restart")
    until_server("ready")
    assert.equal("running", support.request("run/get", { runId = run.id }).run.state)
  end)
end)

describe("health and status", function()
  after_each(support.cleanup)

  it("report the executable, its version, the store and the providers", function()
    support.reset({ notifi = "all" })
    vim.cmd("checkhealth loomd")
    local text = support.text()
    assert.is_truthy(text:find("executable: " .. vim.pesc(support.binary)))
    assert.is_truthy(text:find("version %d+%.%d+%.%d+, protocol 1"))
    assert.is_truthy(text:find("store: " .. vim.pesc(support.folder)))
    assert.is_truthy(text:find("OK command"))
    assert.is_truthy(text:find("vim.g.loomd.notifi: unknown option"))
  end)

  it("report the number of runs for a status line, and nothing without runs", function()
    support.reset()
    assert.equal("", require("loomd").status())
    support.connect()
    assert.equal("", require("loomd").status())
    local run = support.sh("sleep 1000")
    assert.equal("loomd: 1 running", require("loomd").status())
    support.request("run/cancel", { runId = run.id, graceMs = 0 })
    support.until_state(run.id, "cancelled")
    assert.equal("", require("loomd").status())
  end)

  it("open the server's log, the same file after a restart", function()
    support.reset()
    support.connect()
    vim.cmd("Loomd restart")
    until_server("ready")
    vim.cmd("Loomd log")
    assert.equal(vim.uv.fs_realpath(support.server().log_path()), vim.uv.fs_realpath(vim.api.nvim_buf_get_name(0)))
  end)
end)
