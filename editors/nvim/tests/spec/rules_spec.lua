-- Permission rules: the server keeps them; here they are listed, added and removed.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }

describe("the list of rules", function()
  after_each(support.cleanup)

  it("shows each rule and removes the one under the cursor, after a question", function()
    support.reset({ cmd = fake })
    support.connect()
    support.request("rule/add", { rule = { decision = "allow", command = "make *", cwd = "/src" } })
    support.request("rule/add", { rule = { decision = "deny", path = "/etc/**" } })
    vim.cmd("Loomd rules")
    support.until_text(0, " allow · command: make %* · cwd: /src\n deny · path: /etc/%*%*")
    support.move_to("deny")
    local select, choice = vim.ui.select, "Cancel"
    vim.ui.select = function(_, _, done)
      done(choice)
    end
    support.press("x")
    assert.equal(2, #support.request("rule/list", {}).rules)
    choice = "Remove"
    support.press("x")
    vim.ui.select = select
    support.wait("the removal", function()
      return not support.text():find("deny")
    end)
    assert.equal(1, #support.request("rule/list", {}).rules)
  end)
end)

describe("rules on the real server", function()
  before_each(function()
    support.reset()
    vim.fn.mkdir(support.folder .. "/config/loomd", "p", tonumber("700", 8))
    support.connect()
  end)
  after_each(support.cleanup)

  local function rules()
    return vim.tbl_map(function(rule)
      rule.id = nil
      return rule
    end, support.request("rule/list", {}).rules)
  end

  it("answer the next request without a notification, after A in the first one", function()
    local scripted = vim.fs.normalize(support.plugin .. "/../../tests/agents/scripted.py")
    local run = support.await(function(done)
      require("loomd").start({
        provider = "acp",
        command = { "python3", scripted, "--keep", support.folder .. "/sessions" },
        prompt = "ask execute",
        interactive = true,
      }, done)
    end)
    support.wait("the request", function()
      return #require("loomd.permission").pending() == 1
    end)
    vim.cmd("Loomd next")
    support.wait("the floating window", function()
      local current = require("loomd.view.permission_request").current()
      return current and current.is_armed
    end)
    support.press("A")
    support.until_state(run.id, "idle")
    assert.same({ { decision = "allow", provider = "acp", toolKind = "execute", command = "touch it", cwd = support.folder .. "/work" } }, rules())
    support.notifications = {}
    vim.cmd(("Loomd send %s ask execute"):format(run.id:sub(-8)))
    vim.cmd("Loomd output " .. run.id:sub(-8))
    support.until_text(0, "✓ Allowed: run: touch it · by a rule")
    assert.is_nil(support.find_notification("wants to"))
  end)

  it("of earlier versions are taken over by :Loomd rules import alone, which shows each and asks", function()
    local path = support.folder .. "/config/loomd/rules.json"
    vim.fn.writefile({ '{ "version": 1, "rules": [', '{ "decision": "allow", "kind": "execute", "command": "make *", "cwd": "/src" },', '{ "decision": "deny", "command": "rm *" } ] }' }, path)
    vim.uv.fs_chmod(path, tonumber("600", 8))
    assert.same({ "import" }, vim.fn.getcompletion("Loomd rules ", "cmdline"))
    vim.cmd("Loomd rules")
    support.until_text(0, "^Could not read the rules:")
    vim.cmd("Loomd rules import")
    local buffer = vim.api.nvim_get_current_buf()
    local function answer(question, text)
      support.until_text(buffer, question)
      vim.fn.chansend(vim.bo[buffer].channel, text .. "\n")
    end
    answer('Rule 1 of 2: allow kind "execute" command "make %*" in "/src"', "n")
    answer('Rule 2 of 2: deny command "rm %*"', "y")
    support.until_text(buffer, "Took over 1 of 2 rules")
    assert.same({ { decision = "deny", command = "rm *" } }, rules())
  end)
end)
