-- Agents without some capabilities, on the real server: one that cannot be steered, one that lists no models, one
-- without a prompt.

local support = require("support")

local scripted = vim.fs.normalize(support.plugin .. "/../../tests/agents/scripted.py")

local function agent(prompt)
  return assert(
    support.await(function(done)
      require("loomd").start({ provider = "acp", command = { "python3", scripted }, prompt = prompt, interactive = true, cwd = support.folder .. "/work" }, done)
    end, "the start of an agent"),
    vim.inspect(support.notifications)
  )
end

local function until_idle(run)
  support.until_state(run.id, "idle")
end

describe("an agent", function()
  before_each(function()
    support.reset()
    support.connect()
  end)
  after_each(support.cleanup)

  it("that cannot be steered queues the message for its next turn, and a notification says so", function()
    assert.is_false(support.store().providers.acp.capabilities.steer)
    local run = agent("say first\nwait")
    support.until_state(run.id, "running")
    vim.cmd(("Loomd steer %s say second"):format(run.id:sub(-8)))
    support.wait("the message", function()
      return support.find_notification("Steering not supported by acp; queued")
    end)
    -- The key S does the same.
    support.notifications = {}
    vim.cmd.Loomd()
    support.move_to("say first")
    support.press("S")
    support.send_prompt("say third")
    support.wait("the message", function()
      return support.find_notification("Steering not supported by acp; queued")
    end)
    -- For a message that is not steered there is no notification.
    support.notifications = {}
    support.await(function(done)
      require("loomd.actions").send(support.store().runs[run.id], "say fourth", nil, done)
    end)
    assert.is_nil(support.find_notification("queued"))
  end)

  it("gets what goes with a prompt, and its transcript shows it", function()
    vim.fn.writefile({ "local a = 1", "local b = 2" }, "sum.lua")
    local run = agent("say first")
    until_idle(run)
    vim.cmd.edit("sum.lua")
    vim.cmd("2Loomd send " .. run.id:sub(-8) .. " say @sum.lua")
    support.wait("the window for a prompt", function()
      return vim.bo.filetype == "loomd-prompt"
    end)
    support.press("<C-s>")
    vim.cmd("Loomd output " .. run.id:sub(-8))
    support.until_text(0, "say @sum.lua\n@sum.lua:2%-2.*%[sum.lua%]%(file://.*/sum.lua%)\nfile://.*/sum.lua#L2%-2:\n```\nlocal b = 2\n```")
  end)

  it("that is idle has no turn to steer, so there is no notification", function()
    local run = agent("say first")
    until_idle(run)
    local failure = support.await(function(done)
      require("loomd.actions").send(support.store().runs[run.id], "say second", "steer", done)
    end)
    assert.is_nil(failure)
    assert.is_nil(support.find_notification("Steering"))
  end)

  it("that lists no models lets the user type one, and an empty name changes nothing", function()
    local run = agent("say first")
    until_idle(run)
    local shown = {}
    local select, input, request = vim.ui.select, vim.ui.input, support.server().request
    local configured = {}
    support.server().request = function(method, params, callback)
      if method == "run/configure" then
        table.insert(configured, params)
        callback(nil, { run = vim.deepcopy(support.store().runs[run.id]) })
        return { cancel = function() end }
      elseif method == "provider/options" then
        vim.schedule(function()
          callback(nil, { models = {}, modes = {} })
        end)
        return { cancel = function() end }
      end
      return request(method, params, callback)
    end
    vim.ui.select = function(items, options, done)
      table.insert(shown, vim.tbl_map(options.format_item, items))
      done(items[1])
    end
    local answers = { "", "small-1" }
    vim.ui.input = function(options, done)
      table.insert(shown, options.prompt)
      done(table.remove(answers, 1))
    end
    vim.cmd("Loomd configure " .. run.id:sub(-8))
    support.wait("the question for a name", function()
      return #shown == 2
    end)
    assert.same({ { "model  (default)", "permissions  (ask)" }, "Model (empty: keep): " }, shown)
    assert.same({}, configured)
    vim.cmd("Loomd configure " .. run.id:sub(-8))
    support.wait("the setting", function()
      return #configured == 1
    end)
    vim.ui.select, vim.ui.input, support.server().request = select, input, request
    assert.same({ { runId = run.id, model = "small-1" } }, configured)
  end)

  it("without a prompt is not titled by its command line", function()
    local run = agent(nil)
    until_idle(run)
    vim.cmd.Loomd()
    support.until_text(0, "idle +acp +%(no prompt%)")
    assert.is_falsy(support.text():find("python3", 1, true))
    -- "(no prompt)" is not a title that the user would edit.
    local input, default = vim.ui.input, "not asked"
    vim.ui.input = function(options)
      default = options.default
    end
    support.move_to("no prompt")
    support.press("t")
    vim.ui.input = input
    assert.is_nil(default)
    vim.cmd("Loomd rename " .. run.id:sub(-8) .. " a talk")
    support.until_text(0, "idle +acp +a talk")
  end)
end)
