-- The tab page with a run's changes: which run its commands take, and how it closes.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"

describe("the changes of a run", function()
  local view, tabs

  before_each(function()
    support.reset({ cmd = fake })
    support.connect()
    -- A second run, so that a command without a run is ambiguous.
    for _, each in ipairs({ id, "01990000-0000-7000-8000-0000ffff0000" }) do
      support.request("fake/run", { run = { id = each, cwd = support.folder .. "/work", params = { prompt = "fix " .. each } } })
    end
    support.request("fake/result", {
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
    view = support.await(function(done)
      require("loomd.view.changes").open(support.store().runs[id], done)
    end)
    assert.equal(tabs + 1, #vim.api.nvim_list_tabpages())
  end)
  after_each(support.cleanup)

  local function until_closed()
    support.wait("the tab to close", function()
      return #vim.api.nvim_list_tabpages() == tabs
    end)
    support.wait("its buffers to go", function()
      return not vim.iter(vim.api.nvim_list_bufs()):any(function(buffer)
        return vim.api.nvim_buf_is_loaded(buffer) and vim.api.nvim_buf_get_name(buffer):find("^loomd://%x+/")
      end)
    end)
  end

  it("are those of the run that commands take there, on both sides, in the list and in a patch", function()
    local select = vim.ui.select
    vim.ui.select = function(_, options)
      error("asked: " .. options.prompt)
    end
    local function is_meant()
      assert.equal(id, (require("loomd.pick").current_run() or {}).id)
      vim.fn.setreg('"', "")
      vim.cmd("Loomd copy")
      assert.equal(id, vim.fn.getreg('"'))
    end
    for _, window in ipairs({ view.list, view.sides[1], view.sides[2] }) do
      vim.api.nvim_set_current_win(window)
      is_meant()
    end
    support.press("]f")
    assert.is_truthy(support.text():find("+was here", 1, true))
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
    it("close together when the window of " .. name .. " is closed", function()
      vim.api.nvim_set_current_win(window_of())
      vim.cmd.quit()
      until_closed()
    end)
  end

  it("close together when the window of a patch is closed, and stay open when a file needs one window only", function()
    vim.api.nvim_set_current_win(view.sides[2])
    support.press("]f")
    assert.equal(2, #vim.api.nvim_tabpage_list_wins(0))
    support.press("[f")
    -- Scheduled functions have run after this.
    support.await(vim.schedule)
    assert.equal(3, #vim.api.nvim_tabpage_list_wins(0))
    support.press("]f")
    vim.cmd.quit()
    until_closed()
  end)

  it("stay closed without messages when their tab page is closed by :tabclose", function()
    vim.cmd.tabclose()
    support.await(vim.schedule)
    until_closed()
    assert.same({}, support.notifications)
  end)
end)

describe("a change", function()
  local view, work

  -- The text before, in which the run changed lines 2 and 12, and the text after.
  local before, after = {}, {}
  for line = 1, 14 do
    before[line] = "line " .. line
    after[line] = (line == 2 or line == 12) and "line " .. line .. " of the run" or before[line]
  end

  local function read(name)
    return table.concat(vim.fn.readfile(work .. "/" .. name), "\n")
  end

  before_each(function()
    support.reset({ cmd = fake })
    support.connect()
    work = support.folder .. "/work"
    support.request("fake/run", { run = { id = id, cwd = work, params = { prompt = "fix it" } } })
    vim.fn.writefile(after, "a.txt")
    vim.fn.writefile({ "made" }, "new.txt")
    local old, new = table.concat(before, "\n") .. "\n", table.concat(after, "\n") .. "\n"
    support.request("fake/result", {
      method = "run/changes",
      result = { complete = true, files = { { path = work .. "/a.txt", kind = "modify", oldText = old, newText = new }, { path = "new.txt", kind = "add", newText = "made\n" } } },
    })
    for turn, title in ipairs({ "Edit the top", "Edit the bottom" }) do
      local diff = { path = "a.txt", kind = "modify", newText = turn == 1 and after[2] or after[12] }
      support.request("fake/item", { runId = id, item = { kind = "tool", turn = turn, title = title, toolCallId = "c" .. turn, toolKind = "edit", status = "completed", locations = {}, diffs = { diff }, permissions = {} } })
    end
    view = support.await(function(done)
      require("loomd.view.changes").open(support.store().runs[id], done)
    end)
    vim.api.nvim_set_current_win(view.sides[2])
  end)
  after_each(support.cleanup)

  it("is undone alone by do, in the file, and its neighbor by dp from the other side", function()
    vim.api.nvim_win_set_cursor(0, { 12, 0 })
    support.press("do")
    assert.equal("line 2 of the run|line 12", vim.fn.readfile("a.txt")[2] .. "|" .. vim.fn.readfile("a.txt")[12])
    assert.equal(12, vim.api.nvim_win_get_cursor(0)[1])
    vim.api.nvim_set_current_win(view.sides[1])
    support.press("gg]cdp")
    assert.equal(table.concat(before, "\n"), read("a.txt"))
    assert.same({ "M a.txt · undone", "A new.txt" }, support.lines(vim.api.nvim_win_get_buf(view.list)))
  end)

  it("is undone where it moved to, and not where somebody changed it since", function()
    local moved = vim.deepcopy(after)
    moved[2] = "mine"
    table.insert(moved, 1, "a new first line")
    vim.fn.writefile(moved, "a.txt")
    vim.api.nvim_win_set_cursor(0, { 2, 0 })
    support.press("do")
    assert.is_truthy(support.find_notification("Not undone: a.txt: the file has changed there since"))
    assert.equal(table.concat(moved, "\n"), read("a.txt"))
    vim.api.nvim_win_set_cursor(0, { 12, 0 })
    support.press("do")
    moved[13] = "line 12"
    assert.equal(table.concat(moved, "\n"), read("a.txt"))
  end)

  it("is not undone under unsaved changes", function()
    local buffer = vim.fn.bufadd("a.txt")
    vim.fn.bufload(buffer)
    vim.api.nvim_buf_set_lines(buffer, 0, 1, false, { "typed" })
    support.press("gU")
    assert.is_truthy(support.find_notification("the file has unsaved changes"))
    assert.equal(table.concat(after, "\n"), read("a.txt"))
  end)

  it("is undone only in the folder of the run, and not in .git", function()
    local change, run = require("loomd.change"), { cwd = work }
    vim.fn.mkdir(work .. "/.git")
    vim.fn.mkdir(support.folder .. "/outside")
    vim.uv.fs_symlink(support.folder .. "/outside", work .. "/link")
    for _, path in ipairs({ support.folder .. "/outside/x", "../outside/x", "link/x", "link/deep/x", ".git/config", "none/../../outside/x" }) do
      assert.equal("it is not in the folder of the run", change.undo(run, { path = path, kind = "delete", oldText = "x", newText = "" }), path)
    end
    assert.is_nil(change.undo(run, { path = "inside", kind = "delete", oldText = "x", newText = "" }))
    assert.equal("x", read("inside"))
  end)

  it("of a whole file is undone by gU: a new file goes, if it is as the run left it", function()
    support.press("gU]f")
    assert.equal(table.concat(before, "\n"), read("a.txt"))
    vim.fn.writefile({ "made", "more" }, "new.txt")
    support.press("gU")
    assert.is_truthy(support.find_notification("Not undone: new.txt: the file has changed since"))
    vim.fn.writefile({ "made" }, "new.txt")
    support.press("gU")
    assert.equal(0, vim.fn.filereadable("new.txt"))
  end)

  it("is kept by gk, and the file when all are; ]c goes on into the next file", function()
    support.press("gg]cgk")
    assert.equal(12, vim.api.nvim_win_get_cursor(0)[1])
    assert.equal("M a.txt", support.lines(vim.api.nvim_win_get_buf(view.list))[1])
    support.press("gk")
    assert.equal("M a.txt · kept", support.lines(vim.api.nvim_win_get_buf(view.list))[1])
    assert.equal(2, view.current)
    support.press("[c")
    assert.same({ 1, 12 }, { view.current, vim.api.nvim_win_get_cursor(0)[1] })
    support.press("]fgK")
    assert.equal("A new.txt · kept", support.lines(vim.api.nvim_win_get_buf(view.list))[2])
    assert.equal(table.concat(after, "\n"), read("a.txt"))
  end)

  it("leads to the step that made it", function()
    for _, case in ipairs({ { 2, "Edit the top" }, { 12, "Edit the bottom" } }) do
      vim.api.nvim_set_current_win(view.sides[2])
      vim.api.nvim_win_set_cursor(0, { case[1], 0 })
      support.press("gs")
      support.wait("the step", function()
        return vim.api.nvim_get_current_line():find("edit: " .. case[2], 1, true)
      end)
      vim.cmd.tabclose()
    end
  end)
end)

describe("the text without hunks", function()
  it("is exact for parts of lines, line ends and empty sides", function()
    local change = require("loomd.change")
    local function undo(text, file)
      local path = vim.fs.normalize(vim.fn.tempname())
      local stream = assert(io.open(path, "wb"))
      stream:write(text)
      stream:close()
      local problem = change.undo({ cwd = vim.fs.dirname(path) }, vim.tbl_extend("error", { path = path, kind = "modify" }, file))
      return problem or change.read_file(path)
    end
    assert.equal("x = foo(1)\ny", undo("x = bar(1)\ny", { oldText = "foo", newText = "bar" }))
    assert.equal("the file has changed there since", undo("bar bar\n", { oldText = "foo", newText = "bar" }))
    assert.equal("a\r\nb", undo("a\r\nc\n", { oldText = "a\r\nb", newText = "a\r\nc\n" }))
    assert.equal("", undo("a\n", { oldText = "", newText = "a\n" }))
    assert.equal("a\nb\nc\n", undo("a\nc\n", { oldText = "a\nb\nc\n", newText = "a\nc\n" }))
    assert.equal("a\nb\nc\nd\n", undo("a\nc\nd\n", { oldText = "a\nb\nc\n", newText = "a\nc\n" }))
  end)
end)
