-- A run that is run again is the same run again, and one that has ended says so before anything is typed for it. Against the real server.

local world = require("world")

local function rerun(run)
  return world.await(function(done)
    require("loomd.actions").rerun(world.store().runs[run.id], done)
  end, "the rerun")
end

local function output(run)
  world.until_state(run.id, "succeeded")
  return world.ask("run/text", { runId = run.id }).text
end

describe("a run that is run again", function()
  before_each(function()
    world.fresh({ tty = true })
    world.connect()
    vim.env.PAGER, vim.env.GIT_PAGER = nil, nil
  end)
  after_each(function()
    vim.env.PAGER, vim.env.GIT_PAGER = nil, nil
    world.finish()
  end)

  local function start(template, text)
    return world.await(function(done)
      require("loomd.start").template(template, text, done)
    end, "the start of a run")
  end

  it("has no pager that would wait for a key, as the first time, and nothing is said of it", function()
    local run = start("command", "echo p=$GIT_PAGER-$PAGER")
    assert.equal("p=cat-cat", vim.trim(output(run)))
    world.said = {}
    vim.env.PAGER = "more"
    local again = rerun(run)
    assert.equal("p=cat-cat", vim.trim(output(again)))
    assert.is_nil(world.heard("not kept"))
    -- And once more, from what the server knows of the second one.
    assert.equal("p=cat-cat", vim.trim(output(rerun(again))))
    assert.is_nil(world.heard("not kept"))
  end)

  it("says which variables it could not keep, and only those", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { templates = { own = { command = "echo v=$LOOMD_SPEC p=$PAGER", env = { LOOMD_SPEC = "mine" } } } })
    local run = start("own")
    assert.equal("v=mine p=cat", vim.trim(output(run)))
    vim.env.LOOMD_SPEC = "of the editor"
    local again = rerun(run)
    vim.env.LOOMD_SPEC = nil
    assert.equal("v=of the editor p=cat", vim.trim(output(again)))
    local told = assert(world.heard("not kept"))
    assert.is_truthy(told:find(": LOOMD_SPEC$"), told)
  end)

  it("has the pager that somebody else gave it, where Neovim has it, and says so", function()
    local run = world.sh("echo p=$PAGER", { tty = true, env = { PAGER = "mine" } })
    assert.equal("p=mine", vim.trim(output(run)))
    vim.env.PAGER = "more"
    assert.equal("p=more", vim.trim(output(rerun(run))))
    assert.is_truthy(world.heard("not kept.*: PAGER$"))
  end)
end)

describe("a run that has ended", function()
  before_each(function()
    world.fresh()
    world.connect()
  end)
  after_each(world.finish)

  -- What is asked of the person while `act` runs.
  local function asked_by(act)
    local input, asked = vim.ui.input, 0
    vim.ui.input = function(_, done)
      asked = asked + 1
      done("a long prompt that would be lost")
    end
    act()
    vim.ui.input = input
    return asked
  end

  it("of an agent takes no prompt, and names what goes on with it, before one is typed", function()
    local run = world.await(function(done)
      require("loomd").start({
        provider = "acp",
        command = { "python3", vim.fs.normalize(world.plugin .. "/../../tests/agents/scripted.py") },
        prompt = "say one",
        cwd = world.folder .. "/work",
      }, done)
    end, "the start of an agent")
    world.until_state(run.id, "succeeded")
    vim.cmd.Loomd()
    world.until_text(0, "✓ succeeded")
    world.go_to("✓ succeeded")
    local sentence = run.id:sub(-8) .. " has ended %(succeeded%); R or :Loomd resume goes on with its session in a new run"
    for _, key in ipairs({ "s", "S" }) do
      world.said = {}
      assert.equal(0, asked_by(function()
        world.press(key)
      end))
      assert.is_truthy(world.heard(sentence), vim.inspect(world.said))
    end
    for _, command in ipairs({ "send", "steer" }) do
      world.said = {}
      vim.cmd(("Loomd %s %s and more"):format(command, run.id:sub(-8)))
      world.wait("the sentence", function()
        return world.heard(sentence)
      end)
      assert.equal(1, #world.said)
    end
  end)

  it("of a command takes no line, and names what runs it again", function()
    local run = world.sh("exit 3")
    world.until_state(run.id, "failed")
    vim.cmd.Loomd()
    world.until_text(0, "✗ failed")
    world.go_to("✗ failed")
    assert.equal(0, asked_by(function()
      world.press("s")
    end))
    assert.is_truthy(world.heard(run.id:sub(-8) .. " has ended %(failed%); r or :Loomd rerun runs it again"), vim.inspect(world.said))
  end)
end)
