-- Runs in worktrees, on the real server and git: started, merged and removed, each only after a question.

local support = require("support")

local function git(...)
  local done = vim.system({ "git", ... }, { cwd = support.folder .. "/work" }):wait()
  assert(done.code == 0, table.concat({ ... }, " ") .. ": " .. done.stderr)
  return vim.trim(done.stdout)
end

describe("a run in a worktree", function()
  local select, prompts, choice, environment

  before_each(function()
    support.reset()
    support.connect()
    environment = {}
    for name, value in pairs({ GIT_CONFIG_GLOBAL = "/dev/null", GIT_CONFIG_SYSTEM = "/dev/null", GIT_AUTHOR_NAME = "A", GIT_AUTHOR_EMAIL = "a@example.org", GIT_COMMITTER_NAME = "A", GIT_COMMITTER_EMAIL = "a@example.org" }) do
      environment[name] = vim.env[name] or false
      vim.env[name] = value
    end
    git("init", "--quiet", "--initial-branch=main")
    vim.fn.mkdir("sub")
    vim.fn.writefile({ "one" }, "sub/a.txt")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    select, prompts, choice = vim.ui.select, {}, 1
    vim.ui.select = function(items, options, done)
      table.insert(prompts, options.prompt)
      done(items[choice])
    end
  end)
  after_each(function()
    vim.ui.select = select
    for name, value in pairs(environment) do
      vim.env[name] = value or nil
    end
    support.cleanup()
  end)

  local function start(line)
    local before = vim.tbl_count(support.store().runs)
    vim.cmd.cd("sub")
    vim.cmd("Loomd worktree command " .. line)
    vim.cmd.cd("..")
    local run = support.wait("the run", function()
      return vim.tbl_count(support.store().runs) > before and vim.iter(vim.tbl_values(support.store().runs)):find(function(run)
        return run.labels.branch
      end)
    end)
    support.until_state(run.id, "succeeded")
    support.until_sealed(run.id)
    return support.store().runs[run.id]
  end

  local function until_notified(pattern)
    return support.wait(pattern, function()
      return support.find_notification(pattern)
    end)
  end

  it("changes nothing of the checkout, names its branch in its row, and is merged after a question", function()
    local run = start("sh -c 'echo two >a.txt; echo new >b.txt'")
    assert.same({ "one" }, vim.fn.readfile("sub/a.txt"))
    assert.equal(run.labels.worktree .. "/sub", run.cwd)
    assert.is_truthy(git("branch"):find("loomd/sh-c-echo", 1, true))
    vim.cmd.Loomd()
    support.until_text(0, "✓ succeeded")
    local short = run.id:sub(-8)
    assert.same({ short }, vim.fn.getcompletion("Loomd merge ", "cmdline"))
    vim.api.nvim_win_set_width(0, 200)
    vim.cmd("Loomd merge " .. short)
    support.wait("the question", function()
      return prompts[1]
    end)
    assert.is_truthy(prompts[1]:find("Merge 2 files not yet committed of loomd/sh-c-echo", 1, true), prompts[1])
    assert.is_truthy(prompts[1]:find("into main in"))
    assert.equal("1", git("rev-list", "--count", "--all"))
    choice = 2
    -- Not while another run works there.
    local other = support.sh("sleep 1000", { cwd = run.cwd, labels = { worktree = run.labels.worktree } })
    vim.cmd("Loomd merge " .. short)
    until_notified(other.id:sub(-8) .. " works in the worktree %(running%)")
    support.request("run/cancel", { runId = other.id, graceMs = 0 })
    support.until_state(other.id, "cancelled")
    vim.cmd("Loomd merge " .. short)
    until_notified("Merged loomd/sh%-c%-echo%S* into main")
    assert.same({ "two" }, vim.fn.readfile("sub/a.txt"))
    assert.same({ "new" }, vim.fn.readfile("sub/b.txt"))
    -- The worktree stays until it is removed.
    assert.equal(1, vim.fn.isdirectory(run.labels.worktree))
    vim.cmd("Loomd discard " .. short)
    until_notified("Removed loomd/sh%-c%-echo")
    assert.is_truthy(prompts[3]:find("nothing is lost"))
    assert.equal(0, vim.fn.isdirectory(run.labels.worktree))
    assert.equal("* main", git("branch"))
    support.wait("the labels to go", function()
      return not support.request("run/get", { runId = run.id }).run.labels.branch
    end)
  end)

  it("that conflicts is not merged, and the checkout stays as it was", function()
    local run = start("sh -c 'echo two >a.txt'")
    vim.fn.writefile({ "three" }, "sub/a.txt")
    git("commit", "--quiet", "--all", "-m", "second")
    choice = 2
    vim.cmd("Loomd merge " .. run.id:sub(-8))
    until_notified("Not merged, and everything is as before: git merge: .*CONFLICT")
    assert.same({ "three" }, vim.fn.readfile("sub/a.txt"))
    assert.equal("", git("status", "--porcelain"))
    choice = 1
    vim.cmd("Loomd discard " .. run.id:sub(-8))
    support.wait("the question", function()
      return prompts[2]
    end)
    assert.is_truthy(prompts[2]:find("LOST: 1 commit not merged", 1, true), prompts[2])
    assert.equal(1, vim.fn.isdirectory(run.labels.worktree))
  end)

  it("is only one that was made here: labels alone name none", function()
    local run = support.sh("true", { labels = { worktree = support.folder .. "/work", branch = "main", repository = support.folder .. "/work" } })
    support.until_state(run.id, "succeeded")
    for _, command in ipairs({ "merge", "discard" }) do
      support.notifications = {}
      vim.cmd(("Loomd %s %s"):format(command, run.id:sub(-8)))
      until_notified("This run has no worktree that was made here")
    end
    assert.same({}, prompts)
  end)

  it("that cannot start leaves no worktree, and outside of a repository nothing is started", function()
    vim.cmd("Loomd worktree command /no/such/program")
    until_notified("Could not start the run")
    support.wait("the worktree to go", function()
      -- A git that lists worktrees fails while another one removes the folder that they are in.
      local listed, is_gone = pcall(function()
        return git("branch") == "* main" and not git("worktree", "list"):find("\n")
      end)
      return listed and is_gone
    end)
    vim.cmd.cd("/")
    vim.cmd("Loomd worktree command true")
    until_notified("git rev%-parse: .*not a git repository")
    assert.same({}, support.store().runs)
  end)
end)
