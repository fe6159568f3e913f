-- What other plugins and files see of this one: pickers, lualine, <Plug> mappings, and tasks.json.

local support = require("support")

describe("for other plugins", function()
  after_each(support.cleanup)

  it("each subcommand has a <Plug> mapping, and send and steer one for a selection", function()
    support.reset()
    for name in pairs(require("loomd.command").subcommands) do
      assert.is_truthy(vim.fn.maparg(("<Plug>(loomd-%s)"):format(name), "n"):find("Loomd " .. name, 1, true), name)
    end
    assert.is_truthy(vim.fn.maparg("<Plug>(loomd-send)", "x"):find(":Loomd send", 1, true))
  end)

  it("runs are picked through vim.ui.select, with all that one searches for", function()
    support.reset()
    support.connect()
    for number = 1, 2 do
      support.until_state(support.sh("true", { title = "number " .. number }).id, "succeeded")
    end
    local select, shown = vim.ui.select, nil
    vim.ui.select = function(items, options, done)
      shown = { kind = options.kind, lines = vim.tbl_map(options.format_item, items) }
      done(items[2])
    end
    vim.cmd("Loomd pick")
    vim.ui.select = select
    assert.equal("loomd_run", shown.kind)
    assert.is_truthy(shown.lines[2]:find("^%x+  succeeded  command  number 1$"), shown.lines[2])
    assert.equal("terminal", vim.bo.buftype)
  end)

  it("lualine has a component that starts no server", function()
    support.reset()
    local component = require("lualine.components.loomd")
    assert.equal("", component())
    assert.is_nil(package.loaded["loomd.server"])
    support.connect()
    support.sh("sleep 1000")
    assert.equal("loomd: 1 running", component())
  end)
end)

describe("tasks.json", function()
  before_each(function()
    support.reset()
    support.connect()
    vim.fn.mkdir(".vscode")
    vim.fn.mkdir("src")
  end)
  after_each(support.cleanup)

  local function tasks(text)
    vim.fn.writefile(vim.split(text, "\n"), ".vscode/tasks.json")
    return require("loomd.tasks").templates()
  end

  it("gives templates that start as its tasks would, also from a folder below", function()
    tasks([[{
      // A comment with a "quote".
      "version": "2.0.0", /* and another */
      "tasks": [
        { "label": "Build all", "type": "shell", "command": "printf '%s,'", "args": ["a b", "${workspaceFolderBasename}"], "options": { "env": { "SPEC": "${workspaceFolder}" } } },
        { "label": "here", "type": "process", "command": "pwd", "options": { "cwd": "${workspaceFolder}/src" }, },
      ],
    }]])
    vim.cmd.cd("src")
    assert.same({ "task:Build-all", "task:here" }, vim.fn.getcompletion("Loomd start task:", "cmdline"))
    local function output(name)
      local run = support.await(function(done)
        require("loomd.start").start_template(name, nil, done)
      end)
      support.until_state(run.id, "succeeded")
      return vim.trim(support.request("run/text", { runId = run.id }).text), run
    end
    local text, run = output("task:Build-all")
    assert.equal("a b,work,", text)
    assert.same({ "Build all", "Build all" }, { run.title, run.labels.task })
    assert.same({ "SPEC" }, run.params.envNames)
    assert.equal(vim.uv.fs_realpath(support.folder .. "/work/src"), vim.uv.fs_realpath((output("task:here"))))
  end)

  it("gives none for what is not known here, and runs nothing by itself", function()
    local found = tasks([[{ "tasks": [
      { "label": "asks", "command": "echo", "args": ["${input:name}"] },
      { "label": "depends", "command": "echo", "dependsOn": ["asks"] },
      { "label": "npm", "type": "npm", "script": "test" },
      { "label": "odd", "command": 7 },
      "no task",
      { "label": "file", "type": "shell", "command": "cat ${file}" }
    ] }]])
    assert.same({}, found)
    vim.cmd.edit("fine.txt")
    assert.same({ "task:file" }, vim.tbl_keys(tasks('{ "tasks": [{ "label": "file", "type": "shell", "command": "cat ${relativeFile}" }] }')))
    -- A shell would run what is in this name.
    vim.cmd.edit(vim.fn.fnameescape("$(touch hit).txt"))
    assert.same({}, require("loomd.tasks").templates())
    assert.same({}, support.store().runs)
    local _, problem = tasks("{ not JSON")
    assert.is_truthy(problem:find("tasks.json is not valid JSON", 1, true))
    vim.g.loomd = vim.tbl_extend("force", vim.g.loomd, { tasks = false })
    assert.is_nil(require("loomd.start").templates()["task:file"])
  end)
end)
