-- Hosts: their runs in the list and all that is done with them. An `ssh` in PATH runs the server here in another home; one
-- host is gone, one hangs, one prints a banner, and connections break.

local support = require("support")

local path = vim.env.PATH
local scripted = vim.fs.normalize(support.plugin .. "/../../tests/agents/scripted.py")

local function read(file)
  local handle = io.open(file, "rb")
  local text = handle and handle:read("*a")
  if handle then
    handle:close()
  end
  return text
end

-- What the stand-in for ssh was called with, without the calls for other hosts.
local function calls(name)
  return vim.tbl_filter(function(line)
    return line:find(" " .. name .. " ", 1, true) ~= nil
  end, vim.split(read(support.folder .. "/hosts/ssh.log") or "", "\n", { trimempty = true }))
end

---@param names string[]
---@param files? table<string, table<string, string>> host → file → text
local function start(names, files)
  support.reset({ hosts = names })
  vim.env.PATH = support.plugin .. "/tests/hosts:" .. path
  vim.env.LOOMD_TEST_HOSTS = support.folder .. "/hosts"
  for _, name in ipairs(names) do
    vim.fn.mkdir(support.folder .. "/hosts/" .. name, "p")
    for file, text in pairs(files and files[name] or {}) do
      vim.fn.writefile(vim.split(text, "\n"), support.folder .. "/hosts/" .. name .. "/" .. file, "b")
    end
  end
  require("loomd").initialize()
end

local function host(name)
  return vim.iter(require("loomd.hosts").list()):find(function(each)
    return each.name == name
  end)
end

local function until_host(name, state)
  require("loomd.server").start()
  return support.wait(("%s to be %s"):format(name, state), function()
    return host(name).state == state and host(name)
  end)
end

-- Starts a command on a host.
local function sh(name, line, more)
  local params = vim.tbl_extend("force", { provider = "command", command = { "sh", "-c", line } }, more or {})
  local run = support.await(function(done)
    require("loomd.actions").start(params, done, name)
  end, "the start of a run")
  return assert(run, "the run did not start: " .. vim.inspect(support.notifications))
end

local function start_agent(name, prompt)
  return sh(name, nil, { provider = "acp", command = { "python3", scripted, "--keep", support.folder .. "/sessions" }, prompt = prompt, interactive = true })
end

-- Breaks the connection to a host, as a network does.
local function cut(name)
  vim.uv.kill(tonumber(read(support.folder .. "/hosts/" .. name .. "/pid")) --[[@as integer]], "sigkill")
end

-- Ends what a spec has left on its hosts, and the connections.
local function cleanup()
  for id, run in pairs(support.store().runs) do
    if require("loomd.run_id").host(id) and not support.store().is_final(run) then
      support.await(function(done)
        support.server().request("run/cancel", { runId = id, graceMs = 0 }, done)
      end, "the end of a run")
    end
  end
  vim.env.PATH = path
  support.cleanup()
end

-- Answers the next question of vim.ui.select and vim.ui.input; `choices` by what the prompt begins with.
local function with_answers(choices, action)
  local select, input, questions = vim.ui.select, vim.ui.input, {}
  local function answer(prompt)
    table.insert(questions, prompt)
    for start_of, choice in pairs(choices) do
      if vim.startswith(prompt, start_of) then
        return choice
      end
    end
  end
  vim.ui.select = function(items, options, done)
    local choice = answer(options.prompt)
    done(vim.tbl_contains(items, choice) and choice or nil)
  end
  vim.ui.input = function(options, done)
    done(answer(options.prompt))
  end
  local ok, problem = pcall(action)
  vim.ui.select, vim.ui.input = select, input
  assert(ok, problem)
  return questions
end

describe("the names of hosts", function()
  after_each(cleanup)

  it("are what ssh takes for a host and never an option; a bad one is one sentence", function()
    support.reset({ hosts = { "build", "ann@build-2.example.org", "-oProxyCommand=x", "a b", "build:22", "a;b", "", "build" } })
    assert.same({ "build", "ann@build-2.example.org" }, require("loomd.config").hosts())
    local problems = require("loomd.config").problems()
    assert.equal(5, #problems)
    assert.equal('vim.g.loomd.hosts: "-oProxyCommand=x" is not a host\'s name (a letter or digit first, then letters, digits and . _ - @; the rest goes into ~/.ssh/config)', problems[1])
  end)

  it("start nothing and change no line of the list if there are none", function()
    start({})
    support.connect()
    vim.cmd.Loomd()
    support.until_text(0, "No runs yet")
    assert.equal(2, #support.lines())
    local questions = with_answers({}, function()
      require("loomd.start").select_template()
      support.wait("a question", function()
        return true
      end)
    end)
    assert.same({ "New run:" }, questions)
    assert.is_nil(read(support.folder .. "/hosts/ssh.log"))
  end)
end)

describe("a host", function()
  after_each(cleanup)

  it("is a group after the runs of this computer; the server is started by argv, and its greeting is passed over", function()
    start({ "build", "ann@other" }, { build = { banner = 'Welcome to build\n{"jsonrpc": no frame}\nno line feed:' } })
    support.connect()
    until_host("build", "ready")
    until_host("ann@other", "ready")
    assert.same({ "-T -- build loomd" }, calls("build"))
    assert.same({ "-T -- ann@other loomd" }, calls("ann@other"))
    local here = support.sh("echo here; exec sleep 600")
    local there = sh("build", "pwd; exec sleep 600")
    assert.is_truthy(there.id:find("^build/%x+%-"))
    assert.equal(vim.uv.fs_realpath(support.folder .. "/hosts/build"), vim.uv.fs_realpath(there.cwd))
    vim.cmd.Loomd()
    support.until_text(0, "build/" .. there.id:sub(-8))
    local text = support.text()
    local first, group, second = text:find(here.id:sub(-8), 1, true), text:find("\n build\n", 1, true), text:find("build/" .. there.id:sub(-8), 1, true)
    assert.is_true(first < group and group < second)
    assert.is_truthy(text:find("\n ann@other", 1, true))
    assert.is_truthy(text:find("^ 0 waiting · 2 running"))
    local matches = require("loomd.filter").matches
    assert.is_true(matches("host:build", there))
    assert.is_false(matches("host:build", here))
    assert.is_false(matches("in:" .. vim.fn.getcwd(), vim.tbl_extend("force", there, { cwd = "/elsewhere" })))
  end)

  it("has its runs live, and what is done with them is done there", function()
    start({ "build" })
    until_host("build", "ready")
    local run = sh("build", "echo $HOME; read line; echo got $line; exec sleep 600", { interactive = true })
    local buffer = require("loomd.view").open(run)
    support.until_text(buffer, "hosts/build")
    require("loomd.actions").send(run, "a line")
    support.until_text(buffer, "got a line")
    -- The ID with its host names the run, completed too.
    local short = "build/" .. run.id:sub(-8)
    assert.same({ short }, require("loomd.command").complete("build/", "Loomd cancel build/", 19))
    vim.cmd("Loomd rename " .. short .. " a new title")
    support.wait("the title", function()
      return support.store().runs[run.id].title == "a new title"
    end)
    vim.cmd("Loomd cancel " .. short)
    support.until_state(run.id, "cancelled")
    local hits = support.await(function(done)
      require("loomd.view.search").search("got a", {}, done)
    end, "the results")
    assert.is_truthy(support.text(hits):find(short .. "  a new title\n   got a line", 1, true))
    local file = support.folder .. "/exported.txt"
    require("loomd.export").to_file(run, "text", file)
    support.wait("the export", function()
      return support.find_notification("Exported to")
    end)
    assert.is_truthy(read(file):find("got a line", 1, true))
    vim.cmd("Loomd! delete " .. short)
    support.wait("the deletion", function()
      return not support.store().runs[run.id]
    end)
  end)

  it("starts runs where the user says, in a directory of that host", function()
    start({ "build" })
    until_host("build", "ready")
    vim.fn.mkdir(support.folder .. "/hosts/build/src")
    local folder = support.folder .. "/hosts/build/src"
    local run
    local questions = with_answers({ Where = "build", ["New run on build"] = "command", Command = "pwd && exit 3", ["Directory on build"] = folder }, function()
      require("loomd.start").select_template(function(started)
        run = started
      end)
      support.wait("the run", function()
        return run
      end)
    end)
    assert.same({ "Where:", "New run on build:", "Command: ", "Directory on build (empty: home): " }, questions)
    assert.same({ "sh", "-c", "pwd && exit 3" }, run.command)
    assert.equal(vim.uv.fs_realpath(folder), vim.uv.fs_realpath(run.cwd))
    -- By name as well; a relative path is refused in one sentence.
    with_answers({ ["Directory on build"] = "src" }, function()
      vim.cmd("Loomd start build/command true")
      support.wait("the refusal", function()
        return support.find_notification("Not started: src is no absolute path")
      end)
    end)
  end)

  it("has its permission requests answered there; the notification, the request and the rule say the host", function()
    start({ "build" })
    support.connect()
    until_host("build", "ready")
    local run = start_agent("build", "ask execute")
    support.wait("the request", function()
      return #require("loomd.permission").pending() == 1
    end)
    assert.is_truthy(support.find_notification("^loomd: build: acp wants to"))
    vim.cmd("Loomd next")
    local shown = support.wait("the floating window", function()
      local current = require("loomd.view.permission_request").current()
      return current and current.is_armed and current
    end)
    assert.is_truthy(support.text(shown.buffer):find("^build: acp wants to"))
    -- A long line is broken anywhere.
    assert.is_truthy(support.text(shown.buffer):gsub(" ↩\n", ""):find(" on build · run build/" .. run.id:sub(-8), 1, true))
    support.press("A")
    support.until_state(run.id, "idle")
    assert.is_truthy(support.find_notification("Added rule on build: .*; see :Loomd rules build"))
    assert.same({}, support.request("rule/list", {}).rules)
    vim.cmd("Loomd rules build")
    support.until_text(0, "allow · provider: acp")
  end)

  it("has transcripts and follow-ups; its files are not opened or changed here", function()
    start({ "build" })
    support.connect()
    until_host("build", "ready")
    local run = start_agent("build", "say first words")
    support.until_state(run.id, "idle")
    local buffer = require("loomd.view").open(support.store().runs[run.id])
    support.until_text(buffer, "first words")
    require("loomd.actions").send(support.store().runs[run.id], "say second words")
    support.until_text(buffer, "second words")
    support.until_state(run.id, "idle")
    run = support.store().runs[run.id]
    for sentence, action in pairs({
      ["Nothing was taken back: the files of this run are on build"] = function()
        require("loomd.rewind").rewind(run, 1)
      end,
      ["No quickfix list: the files of this run are on build"] = function()
        require("loomd.quickfix").open(run)
      end,
    }) do
      action()
      assert.is_truthy(support.find_notification(sentence))
    end
    assert.equal("the files of this run are on build", require("loomd.change").obstacle(run, support.folder .. "/work/file"))
    -- A file of the same path here is no side of its changes.
    vim.fn.writefile({ "here" }, support.folder .. "/here.txt")
    local patch = { path = support.folder .. "/here.txt", kind = "modify", patch = "@@ -1 +1 @@\n-old\n+here\n" }
    assert.is_nil((require("loomd.change").sides(run, patch)))
    local local_run = vim.tbl_extend("force", {}, run, { id = run.id:match("[^/]*$") })
    assert.equal("old\n", (require("loomd.change").sides(local_run, patch)))
  end)

  it("takes over a session in a terminal there, by argv", function()
    start({ "build" })
    support.connect()
    until_host("build", "ready")
    local run = start_agent("build", "say words")
    support.until_state(run.id, "idle")
    local buffer = support.await(function(done)
      require("loomd.actions").takeover(support.store().runs[run.id], done, true)
    end, "the terminal")
    support.wait("the call", function()
      return #calls("build") == 2
    end)
    assert.equal("-t -- build loomd takeover " .. run.id:match("[^/]*$"), calls("build")[2])
    support.until_state(run.id, "cancelled")
    vim.api.nvim_buf_delete(buffer, { force = true })
  end)
end)

describe("a connection to a host", function()
  after_each(cleanup)

  it("that cannot be made is a row that says why, and holds up nothing; <CR> connects again", function()
    start({ "gone", "hang", "build" }, { gone = { gone = "Warning: added a key\nssh: connect to host gone port 22: Connection refused\n" }, hang = { hang = "" } })
    support.connect()
    until_host("build", "ready")
    local run = sh("build", "echo works")
    support.until_state(run.id, "succeeded")
    until_host("gone", "failed")
    vim.cmd.Loomd()
    support.until_text(0, " gone · not connected · <CR>: connect again\n   ssh: connect to host gone port 22: Connection refused\n")
    assert.is_truthy(support.text():find(" hang · connecting …", 1, true))
    local failure = support.await(function(done)
      support.server().request("run/list", nil, done, "gone")
    end)
    assert.equal("gone is not connected (ssh: connect to host gone port 22: Connection refused)", failure.message)
    vim.cmd("Loomd connect unknown")
    assert.is_truthy(support.find_notification("unknown is not in vim.g.loomd.hosts"))
    -- It was tried once; only the user tries again.
    assert.equal(1, #calls("gone"))
    vim.fn.delete(support.folder .. "/hosts/gone/gone")
    support.move_to(" gone ·")
    support.press("<CR>")
    until_host("gone", "ready")
    support.until_text(0, "\n gone\n")
  end)

  it("that gets no answer ends after a while, with a sentence", function()
    start({ "hang" }, { hang = { hang = "" } })
    require("loomd.hosts").connect_timeout_ms = 200
    local found = until_host("hang", "failed")
    assert.equal("no answer within 0 s", found.problem)
  end)

  it("that gets endless text instead of an answer ends with a sentence", function()
    start({ "loud" }, { loud = { banner = ("x"):rep(70 * 1024) .. "\n" } })
    assert.equal("it wrote too much that is no answer of loomd", until_host("loud", "failed").problem)
  end)

  it("that breaks is made again after a pause, and a view goes on after what it has", function()
    start({ "build" })
    until_host("build", "ready")
    require("loomd.hosts").first_pause_ms = 50
    local run = sh("build", "n=1; while read word; do echo line $n; n=$((n+1)); done", { interactive = true })
    local buffer = require("loomd.view").open(run)
    for round = 1, 3 do
      require("loomd.actions").send(run, "x")
      support.until_text(buffer, "line " .. 2 * round - 1 .. "\n?")
      cut("build")
      support.wait("the break", function()
        return host("build").state ~= "ready"
      end)
      until_host("build", "ready")
      support.wait("the view to be attached", function()
        return require("loomd.view.output").find(run.id).follower.attached
      end)
      require("loomd.actions").send(run, "x")
      support.until_text(buffer, "line " .. 2 * round .. "\n?")
    end
    local lines = vim.tbl_filter(function(line)
      return line:find("^line ") ~= nil
    end, support.lines(buffer))
    assert.same({ "line 1", "line 2", "line 3", "line 4", "line 5", "line 6" }, vim.tbl_map(vim.trim, lines))
    assert.equal(4, #calls("build"))
  end)

  it("that breaks again and again is made again after pauses that grow", function()
    start({ "build" })
    until_host("build", "ready")
    local pauses, defer = {}, vim.defer_fn
    local hosts = require("loomd.hosts")
    vim.fn.writefile({ "ssh: no route" }, support.folder .. "/hosts/build/gone")
    vim.defer_fn = function(action, ms)
      if ms >= hosts.first_pause_ms and ms ~= hosts.connect_timeout_ms then
        pauses[#pauses + 1] = ms
        return defer(action, 0)
      end
      return defer(action, ms)
    end
    cut("build")
    support.wait("eight tries", function()
      return #pauses >= 8
    end)
    vim.defer_fn = defer
    assert.same({ 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 }, vim.list_slice(pauses, 1, 8))
    vim.cmd.Loomd()
    support.until_text(0, " build · connection lost, reconnecting · <CR>: connect now\n   ssh: no route")
  end)

  it("to another version says so; to another protocol is one sentence", function()
    start({ "newer", "future" }, {
      newer = { loomd = '#!/bin/sh\n"$LOOMD_BIN" | sed -u \'s/"name":"loomd","version":"[^"]*"/"name":"loomd","version":"0.9.7"/\'\n' },
      future = { loomd = '#!/bin/sh\nread line\necho \'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":2,"serverInfo":{"name":"loomd","version":"2.0.0"},"providers":[]}}\'\ncat >/dev/null\n' },
    })
    for _, name in ipairs({ "newer", "future" }) do
      vim.uv.fs_chmod(support.folder .. "/hosts/" .. name .. "/loomd", tonumber("755", 8))
    end
    support.connect()
    until_host("newer", "ready")
    assert.equal("loomd 2.0.0 is not compatible with this plugin (protocol 2, expected 1); update the plugin", until_host("future", "failed").problem)
    vim.cmd.Loomd()
    support.until_text(0, "\n newer · loomd 0.9.7\n")
    vim.cmd("checkhealth loomd")
    support.until_text(0, "newer: version 0.9.7")
    support.until_text(0, "future: loomd 2.0.0 is not compatible")
    local run = sh("newer", "echo works")
    support.until_state(run.id, "succeeded")
  end)
end)
