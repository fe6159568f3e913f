-- Agents that cannot do everything, on the real server: one that cannot be steered, that names no models, that was asked nothing yet.

local world = require("world")

local scripted = vim.fs.normalize(world.plugin .. "/../../tests/agents/scripted.py")

local function agent(prompt)
  return assert(
    world.await(function(done)
      require("loomd").start({ provider = "acp", command = { "python3", scripted }, prompt = prompt, interactive = true, cwd = world.folder .. "/work" }, done)
    end, "the start of an agent"),
    vim.inspect(world.said)
  )
end

local function until_idle(run)
  world.until_state(run.id, "idle")
end

describe("an agent", function()
  before_each(function()
    world.fresh()
    world.connect()
  end)
  after_each(world.finish)

  it("that cannot be steered takes the text for its next turn, and that is said", function()
    assert.is_false(world.store().providers.acp.capabilities.steer)
    local run = agent("say first\nwait")
    world.until_state(run.id, "running")
    vim.cmd(("Loomd steer %s say second"):format(run.id:sub(-8)))
    world.wait("the sentence", function()
      return world.heard("acp cannot be steered; it is queued for the next turn")
    end)
    -- The same by the key.
    world.said = {}
    local input = vim.ui.input
    vim.ui.input = function(_, done)
      done("say third")
    end
    vim.cmd.Loomd()
    world.go_to("say first")
    world.press("S")
    vim.ui.input = input
    world.wait("the sentence", function()
      return world.heard("acp cannot be steered; it is queued for the next turn")
    end)
    -- A prompt of the ordinary kind is told of by the list alone.
    world.said = {}
    world.await(function(done)
      require("loomd.actions").send(world.store().runs[run.id], "say fourth", nil, done)
    end)
    assert.is_nil(world.heard("queued"))
  end)

  it("that waits for a prompt has no turn to be steered, so nothing is said of one", function()
    local run = agent("say first")
    until_idle(run)
    local failure = world.await(function(done)
      require("loomd.actions").send(world.store().runs[run.id], "say second", "steer", done)
    end)
    assert.is_nil(failure)
    assert.is_nil(world.heard("steered"))
  end)

  it("that names no models is asked for the name of one, and an empty answer changes nothing", function()
    local run = agent("say first")
    until_idle(run)
    local asked = {}
    local select, input, request = vim.ui.select, vim.ui.input, world.server().request
    local configured = {}
    world.server().request = function(method, params, callback)
      if method == "run/configure" then
        table.insert(configured, params)
        callback(nil, { run = vim.deepcopy(world.store().runs[run.id]) })
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
      table.insert(asked, vim.tbl_map(options.format_item, items))
      done(items[1])
    end
    local answers = { "", "small-1" }
    vim.ui.input = function(options, done)
      table.insert(asked, options.prompt)
      done(table.remove(answers, 1))
    end
    vim.cmd("Loomd configure " .. run.id:sub(-8))
    world.wait("the question for a name", function()
      return #asked == 2
    end)
    assert.same({ { "model  (now the provider's own)", "permissions  (now ask)" }, "acp names no models; type one, or nothing to leave it: " }, asked)
    assert.same({}, configured)
    vim.cmd("Loomd configure " .. run.id:sub(-8))
    world.wait("the setting", function()
      return #configured == 1
    end)
    vim.ui.select, vim.ui.input, world.server().request = select, input, request
    assert.same({ { runId = run.id, model = "small-1" } }, configured)
  end)

  it("that was asked nothing yet is not named by its command line", function()
    local run = agent(nil)
    until_idle(run)
    vim.cmd.Loomd()
    world.until_text(0, "idle +acp +%(no prompt%)")
    assert.is_falsy(world.text():find("python3", 1, true))
    -- Those words are no title that somebody would want to change.
    local input, default = vim.ui.input, "not asked"
    vim.ui.input = function(options)
      default = options.default
    end
    world.go_to("no prompt")
    world.press("t")
    vim.ui.input = input
    assert.is_nil(default)
    vim.cmd("Loomd rename " .. run.id:sub(-8) .. " a talk")
    world.until_text(0, "idle +acp +a talk")
  end)
end)
