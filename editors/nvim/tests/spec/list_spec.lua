-- Lists of many runs: filter, groups, selected runs, and what is unread.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }

local function id_of(number)
  return ("01990000-0000-7000-8000-0000000000%02d"):format(number)
end

local function run(number, more)
  local made = vim.tbl_extend("force", { id = id_of(number), cwd = "/src/parser", createdAt = 1000 * number, params = { prompt = "task " .. number } }, more)
  support.request("fake/run", { run = made })
  support.wait("the run", function()
    return support.store().runs[made.id]
  end)
end

local function calls(method)
  return vim.tbl_map(
    function(call)
      return call.params.runId
    end,
    vim.tbl_filter(function(call)
      return call.method == method
    end, support.request("fake/calls").calls)
  )
end

-- The headings and titles of the list, in its order.
local function shown()
  local found = {}
  for _, line in ipairs(support.lines()) do
    found[#found + 1] = line:match("^ (filter: .*)$") or line:match("task %d+") or line:match("^ ([%a/%d].*)$")
  end
  return vim.list_slice(found, 2)
end

local function until_shown(expected)
  support.wait(vim.inspect(expected), function()
    return vim.deep_equal(expected, shown())
  end)
end

describe("a list of many runs", function()
  local input, select, text, choice, prompts

  before_each(function()
    support.reset({ cmd = fake })
    vim.fn.delete(vim.fn.stdpath("state") .. "/loomd/seen.json")
    support.connect()
    run(1, { state = "failed", endedAt = 1000, provider = "claude" })
    run(2, { state = "succeeded", endedAt = 2000, cwd = "/src/lexer" })
    run(3, { state = "idle" })
    run(4, {})
    input, select, prompts = vim.ui.input, vim.ui.select, {}
    vim.ui.input = function(options, done)
      table.insert(prompts, options.prompt)
      done(text)
    end
    vim.ui.select = function(items, options, done)
      table.insert(prompts, options.prompt)
      done(choice or items[#items])
    end
    choice = nil
    vim.cmd.Loomd()
    until_shown({ "Active", "task 4", "Idle", "task 3", "Finished", "task 2", "task 1" })
  end)
  after_each(function()
    vim.ui.input, vim.ui.select = input, select
    support.cleanup()
  end)

  it("is filtered by words, state, agent and folder, and completes them", function()
    local cases = {
      { "task 2", { "Finished", "task 2" } },
      { "state:fail", { "Finished", "task 1" } },
      { "state:active agent:codex", { "Active", "task 4", "Idle", "task 3" } },
      { "agent:claude", { "Finished", "task 1" } },
      { "in:/src/lexer", { "Finished", "task 2" } },
      { "nowhere", {} },
    }
    for _, case in ipairs(cases) do
      text = case[1]
      support.press("f")
      until_shown(vim.list_extend({ ("filter: %s (F: clear)"):format(text) }, case[2]))
    end
    assert.is_truthy(support.text():find("No run matches"))
    support.press("F")
    until_shown({ "Active", "task 4", "Idle", "task 3", "Finished", "task 2", "task 1" })
    local complete = require("loomd.filter").complete
    assert.same({ "x agent:claude", "x agent:codex" }, complete("", "x agent:"))
    assert.same({ "in:/src/lexer", "in:/src/parser" }, complete("", "in:"))
  end)

  it("is grouped by folder, by day, and by state again", function()
    support.press("gb")
    until_shown({ "/src/parser", "task 4", "task 3", "task 1", "/src/lexer", "task 2" })
    run(5, { createdAt = os.time() * 1000 })
    support.press("gb")
    until_shown({ "Today", "task 5", os.date("%Y-%m-%d", 1), "task 4", "task 3", "task 2", "task 1" })
    support.press("gb")
    until_shown({ "Active", "task 5", "task 4", "Idle", "task 3", "Finished", "task 2", "task 1" })
  end)

  it("ends, deletes and exports all that are selected, after one question", function()
    support.move_to("task 4")
    support.press("mm")
    support.move_to("task 2")
    support.press("Vjm")
    support.until_text(0, "3 runs selected")
    support.request("fake/result", { method = "run/delete", result = {} })
    support.press("X")
    support.wait("the runs to be deleted", function()
      return #calls("run/delete") == 2
    end)
    assert.same({ "Delete 2 of 3 selected runs and their logs?" }, prompts)
    support.wait("the rows to go", function()
      return not support.text():find("task 1") and not support.text():find("selected")
    end)
    support.move_to("task 4")
    support.press("m")
    support.move_to("task 3")
    support.press("m")
    prompts, text = {}, support.folder .. "/exports"
    choice = "text"
    support.request("fake/result", { method = "run/export", result = { path = "/there" } })
    support.press("E")
    support.wait("the exports", function()
      return #calls("run/export") == 2
    end)
    assert.same({ "Export 2 runs as:", "Export to folder: " }, prompts)
    choice = nil
    support.move_to("task 4")
    support.press("m")
    support.move_to("task 3")
    support.press("m")
    support.press("x")
    support.wait("the runs to end", function()
      return #calls("run/cancel") == 2
    end)
    assert.equal("End 2 of 2 selected runs?", prompts[3])
  end)

  it("marks what has ended and was not opened, also in the next Neovim, and counts it", function()
    assert.is_falsy(support.text():find("unread"))
    support.request("fake/push", { entry = { runId = id_of(4), kind = "state", state = "succeeded", turn = 1 } })
    support.until_text(0, "•✓ succeeded[^\n]*task 4[^\n]*%[unread%]")
    support.move_to("task 4")
    support.press("<CR>")
    local unread = require("loomd.unread")
    assert.is_false(unread.is_unread(support.store().runs[id_of(4)]))
    assert.equal("rw-------", vim.fn.getfperm(vim.fn.stdpath("state") .. "/loomd/seen.json"))
    -- What ends while it is in a window is seen.
    vim.cmd("Loomd output " .. id_of(3):sub(-8))
    support.request("fake/push", { entry = { runId = id_of(3), kind = "state", state = "succeeded", turn = 2 } })
    support.until_state(id_of(3), "succeeded")
    assert.is_false(unread.is_unread(support.store().runs[id_of(3)]))
    package.loaded["loomd.unread"] = nil
    unread = require("loomd.unread")
    assert.is_false(unread.is_unread(support.store().runs[id_of(4)]))
    local later = vim.tbl_extend("force", support.store().runs[id_of(4)], { lastSeq = 100 })
    assert.is_true(unread.is_unread(later))
  end)
end)
