-- The tab of a run's changes: whose they are, and how it goes away.

local world = require("world")

local fake = { "python3", world.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"

describe("the changes of a run", function()
  local view, tabs

  before_each(function()
    world.fresh({ cmd = fake })
    world.connect()
    -- With a second run, so that it is not clear by itself which one is meant.
    for _, each in ipairs({ id, "01990000-0000-7000-8000-0000ffff0000" }) do
      world.ask("fake/run", { run = { id = each, cwd = world.folder .. "/work", params = { prompt = "mend " .. each } } })
    end
    world.ask("fake/result", {
      method = "run/changes",
      result = {
        complete = true,
        files = {
          { path = "/src/a.lua", kind = "modify", oldText = "local a = 1\n", newText = "local a = 2\n" },
          { path = "gone.txt", kind = "modify", patch = "@@ -1 +1 @@\n-never\n+was here\n" },
        },
      },
    })
    tabs = #vim.api.nvim_list_tabpages()
    view = world.await(function(done)
      require("loomd.view.changes").open(world.store().runs[id], done)
    end)
    assert.equal(tabs + 1, #vim.api.nvim_list_tabpages())
  end)
  after_each(world.finish)

  local function until_closed()
    world.wait("the tab to close", function()
      return #vim.api.nvim_list_tabpages() == tabs
    end)
    world.wait("its buffers to go", function()
      return not vim.iter(vim.api.nvim_list_bufs()):any(function(buffer)
        return vim.api.nvim_buf_is_loaded(buffer) and vim.startswith(vim.api.nvim_buf_get_name(buffer), "loomd://changes")
      end)
    end)
  end

  it("are those of the run that commands mean there, on both sides, in the list and in a patch", function()
    local select = vim.ui.select
    vim.ui.select = function(_, options)
      error("asked: " .. options.prompt)
    end
    local function is_meant()
      assert.equal(id, (require("loomd.pick").here() or {}).id)
      vim.fn.setreg('"', "")
      vim.cmd("Loomd copy")
      assert.equal(id, vim.fn.getreg('"'))
    end
    for _, window in ipairs({ view.list, view.sides[1], view.sides[2] }) do
      vim.api.nvim_set_current_win(window)
      is_meant()
    end
    world.press("]f")
    assert.is_truthy(world.text():find("+was here", 1, true))
    is_meant()
    vim.ui.select = select
  end)

  for name, window_of in pairs({
    ["the old text"] = function()
      return view.sides[1]
    end,
    ["the new text"] = function()
      return view.sides[2]
    end,
    ["the list"] = function()
      return view.list
    end,
  }) do
    it("go away whole when the window of " .. name .. " is closed", function()
      vim.api.nvim_set_current_win(window_of())
      vim.cmd.quit()
      until_closed()
    end)
  end

  it("go away whole when the window of a patch is closed, and stay when a file needs but one window", function()
    vim.api.nvim_set_current_win(view.sides[2])
    world.press("]f")
    assert.equal(2, #vim.api.nvim_tabpage_list_wins(0))
    world.press("[f")
    -- What was put off until now has had its turn.
    world.await(vim.schedule)
    assert.equal(3, #vim.api.nvim_tabpage_list_wins(0))
    world.press("]f")
    vim.cmd.quit()
    until_closed()
  end)

  it("are left alone when their tab is closed by hand", function()
    vim.cmd.tabclose()
    world.await(vim.schedule)
    until_closed()
    assert.same({}, world.said)
  end)
end)
