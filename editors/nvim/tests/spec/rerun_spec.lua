-- Running again with the same parameters, and the messages for finished runs. On the real server.

local support = require("support")

local function rerun(run)
  return support.await(function(done)
    require("loomd.actions").rerun(support.store().runs[run.id], done)
  end, "the rerun")
end

local function output(run)
  support.until_state(run.id, "succeeded")
  return support.request("run/text", { runId = run.id }).text
end

describe("a run that is run again", function()
  before_each(function()
    support.reset({ tty = true })
    support.connect()
    vim.env.PAGER, vim.env.GIT_PAGER = nil, nil
  end)
  after_each(function()
    vim.env.PAGER, vim.env.GIT_PAGER = nil, nil
    support.cleanup()
  end)

  local function start(template, text)
    return support.await(function(done)
      require("loomd.start").start_template(template, text, done)
    end, "the start of a run")
  end

  it("has no pager that would wait for a key, as the first time, and there is no notification", function()
    local run = start("command", "echo p=$GIT_PAGER-$PAGER")
    assert.equal("p=cat-cat", vim.trim(output(run)))
    support.notifications = {}
    vim.env.PAGER = "more"
    local again = rerun(run)
    assert.equal("p=cat-cat", vim.trim(output(again)))
    assert.is_nil(support.find_notification("Environment is not stored"))
    -- Run again from the stored parameters of the second run.
    assert.equal("p=cat-cat", vim.trim(output(rerun(again))))
    assert.is_nil(support.find_notification("Environment is not stored"))
  end)

  it("names the variables whose values are not stored, and only those", function()
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { templates = { own = { command = "echo v=$LOOMD_SPEC p=$PAGER", env = { LOOMD_SPEC = "mine" } } } })
    local run = start("own")
    assert.equal("v=mine p=cat", vim.trim(output(run)))
    vim.env.LOOMD_SPEC = "of the editor"
    local again = rerun(run)
    vim.env.LOOMD_SPEC = nil
    assert.equal("v=of the editor p=cat", vim.trim(output(again)))
    local message = assert(support.find_notification("Environment is not stored"))
    assert.is_truthy(message:find(": LOOMD_SPEC$"), message)
  end)

  it("has the current pager of Neovim if the user had set one, and names the variable", function()
    local run = support.sh("echo p=$PAGER", { tty = true, env = { PAGER = "mine" } })
    assert.equal("p=mine", vim.trim(output(run)))
    vim.env.PAGER = "more"
    assert.equal("p=more", vim.trim(output(rerun(run))))
    assert.is_truthy(support.find_notification("Environment is not stored.*: PAGER$"))
  end)
end)

describe("a run that has ended", function()
  before_each(function()
    support.reset()
    support.connect()
  end)
  after_each(support.cleanup)

  -- The number of prompts that the user sees while `action` runs.
  local function count_prompts(action)
    local input, count = vim.ui.input, 0
    vim.ui.input = function(_, done)
      count = count + 1
      done("a long prompt that would be lost")
    end
    action()
    vim.ui.input = input
    return count + (vim.bo.filetype == "loomd-prompt" and 1 or 0)
  end

  it("of an agent accepts no message, and says how to continue before one is typed", function()
    local run = support.await(function(done)
      require("loomd").start({
        provider = "acp",
        command = { "python3", vim.fs.normalize(support.plugin .. "/../../tests/agents/scripted.py") },
        prompt = "say one",
        cwd = support.folder .. "/work",
      }, done)
    end, "the start of an agent")
    support.until_state(run.id, "succeeded")
    vim.cmd.Loomd()
    support.until_text(0, "✓ succeeded")
    support.move_to("✓ succeeded")
    local sentence = run.id:sub(-8) .. " has ended %(succeeded%); use R / :Loomd resume$"
    for _, key in ipairs({ "s", "S" }) do
      support.notifications = {}
      assert.equal(0, count_prompts(function()
        support.press(key)
      end))
      assert.is_truthy(support.find_notification(sentence), vim.inspect(support.notifications))
    end
    for _, command in ipairs({ "send", "steer" }) do
      support.notifications = {}
      vim.cmd(("Loomd %s %s and more"):format(command, run.id:sub(-8)))
      support.wait("the message", function()
        return support.find_notification(sentence)
      end)
      assert.equal(1, #support.notifications)
    end
  end)

  it("of a command accepts no line, and says how to run it again", function()
    local run = support.sh("exit 3")
    support.until_state(run.id, "failed")
    vim.cmd.Loomd()
    support.until_text(0, "✗ failed")
    support.move_to("✗ failed")
    assert.equal(0, count_prompts(function()
      support.press("s")
    end))
    assert.is_truthy(support.find_notification(run.id:sub(-8) .. " has ended %(failed%); use r / :Loomd rerun$"), vim.inspect(support.notifications))
  end)
end)
