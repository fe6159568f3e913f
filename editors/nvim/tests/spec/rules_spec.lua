-- The file of remembered answers, looked at and written, and what a new rule does to questions that wait already.

local world = require("world")

local fake = { "python3", world.plugin .. "/tests/fake_server.py" }

describe(":Loomd rules", function()
  before_each(function()
    world.fresh()
  end)
  after_each(world.finish)

  it("only shows what a file would begin with: nothing is modified and nothing written until somebody types", function()
    vim.cmd("Loomd rules")
    assert.is_truthy(world.text():find('"rules": [', 1, true))
    assert.is_false(vim.bo.modified)
    assert.is_nil(vim.uv.fs_stat(require("loomd.rules").path()))
    -- There is nothing before it that could be gone back to.
    pcall(vim.cmd, "silent undo")
    assert.is_truthy(world.text():find('"rules": [', 1, true))
    vim.api.nvim_buf_set_lines(0, 3, 3, false, { '    { "decision": "deny", "command": "rm *" }' })
    assert.is_true(vim.bo.modified)
    vim.cmd("silent write")
    assert.same({ { decision = "deny", command = "rm *" } }, (require("loomd.rules").read()))
  end)

  it("lets Neovim be left after a look", function()
    local child = world.child()
    child.lua("vim.cmd('Loomd rules')")
    -- One that stays says why it cannot go; one that goes answers nothing any more.
    local _, problem = pcall(child.lua, "vim.cmd('qa')")
    assert.is_nil(tostring(problem):match("E%d+:[^\n]*"))
    assert.is_false((pcall(child.lua, "return 1")))
  end)

  it("leaves alone what was typed and not yet written", function()
    vim.cmd("Loomd rules")
    vim.api.nvim_buf_set_lines(0, 0, -1, false, { "typed" })
    vim.cmd("Loomd rules")
    assert.equal("typed", world.text())
  end)
end)

describe("a new rule", function()
  after_each(world.finish)

  it("answers every question that waits already and that it allows, and no other", function()
    world.fresh({ cmd = fake })
    world.connect()
    local ids = {}
    for index, line in ipairs({ "make", "make", "make install" }) do
      local id = ("01990000-0000-7000-8000-0000abcd000%d"):format(index)
      ids[index] = id
      world.ask("fake/run", { run = { id = id, cwd = world.folder .. "/work", params = { prompt = "number " .. index } } })
      world.ask("fake/push", {
        entry = {
          runId = id,
          kind = "permission",
          permissionId = "p" .. index,
          status = "requested",
          toolCall = { toolCallId = "t", kind = "execute", title = "run", rawInput = { command = line } },
          options = { { optionId = "yes", name = "Allow", kind = "allow_once" }, { optionId = "no", name = "Reject", kind = "reject_once" } },
        },
      })
      world.ask("fake/push", { entry = { runId = id, kind = "state", state = "awaitingPermission", turn = 1 } })
    end
    local permission = require("loomd.permission")
    world.wait("the questions", function()
      return #permission.open() == 3
    end)
    vim.cmd("Loomd next")
    world.wait("the float", function()
      return vim.bo.filetype == "loomd-question"
    end)
    world.press("A")
    world.wait("the answers", function()
      return #permission.open() == 1 and not world.store().is_waiting(world.store().runs[ids[1]]) and not world.store().is_waiting(world.store().runs[ids[2]])
    end)
    local answers = {}
    for _, call in ipairs(world.ask("fake/calls").calls) do
      if call.method == "run/answer" then
        table.insert(answers, { call.params.runId, call.params.optionId, call.params.message })
      end
    end
    assert.same({ { ids[1], "yes" }, { ids[2], "yes", "by a remembered rule" } }, answers)
    assert.is_truthy(world.heard("allowed by a rule: make"))
    assert.equal(ids[3], permission.open()[1].run.id)
    -- What is left is what is told of.
    assert.is_nil(world.heard("2 more waiting"))
  end)
end)
