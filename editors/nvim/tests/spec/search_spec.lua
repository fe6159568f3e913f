-- Search in the output of runs: pages, canceling, and opening a result. The runs are those of a fake server.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }
local build, agent = "01990000-0000-7000-8000-0000abcd1234", "01990000-0000-7000-8000-0000abcd5678"

local function push(entry)
  return support.request("fake/push", { entry = entry })
end

-- Adds output to a run of the fake server.
local offsets
local function write(id, text, stream)
  stream = stream or "stdout"
  local key = id .. stream
  push({ runId = id, kind = "output", stream = stream, offset = offsets[key] or 0, text = text })
  offsets[key] = (offsets[key] or 0) + #text
end

local function start()
  offsets = {}
  support.reset({ cmd = fake })
  support.connect()
  support.request("fake/run", { run = { id = build, provider = "command", cwd = support.folder .. "/work", params = { command = { "make" } }, createdAt = 1 } })
  support.request("fake/run", { run = { id = agent, provider = "codex", cwd = support.folder .. "/work", params = { prompt = "fix it" }, createdAt = 2 } })
end

local function search(line)
  vim.cmd("Loomd" .. line)
  support.wait("the end of the search", function()
    return vim.bo.filetype == "loomd-search" and not support.text():find("searching") and support.lines()[1] ~= ""
  end)
end

local function calls(method)
  return vim.tbl_filter(function(call)
    return call.method == method
  end, support.request("fake/calls").calls)
end

describe(":Loomd search", function()
  after_each(support.cleanup)

  it("shows results by run, and opens the byte in the output", function()
    start()
    -- More than one page, with colors, both streams, and letters of several bytes before the result.
    write(build, ("a line that says nothing of interest, ü\n"):rep(5000))
    write(build, "a needle on the other stream\n", "stderr")
    write(build, "\27[1;32mgrün\27[0m then a \27[31mneedle\27[0m here\n")
    write(build, ("and after it\n"):rep(5000))
    search(" search needle")
    assert.same({ ' "needle": 2 results', " abcd1234  make", "   grün then a needle here", "   a needle on the other stream" }, support.lines())
    support.move_to("grün then")
    support.press("<CR>")
    support.wait("the location", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.equal("grün then a needle here", vim.api.nvim_get_current_line())
    assert.equal(#"grün then a ", vim.api.nvim_win_get_cursor(0)[2])
    assert.is_truthy(vim.wo.winbar:find("stdout, bytes"))
    assert.is_false(vim.bo.modifiable)
    local windows = #vim.api.nvim_list_wins()
    vim.cmd.wincmd("p")
    support.move_to("other stream")
    support.press("<CR>")
    support.wait("the other location", function()
      return vim.bo.filetype == "loomd-place" and vim.api.nvim_get_current_line():find("other stream")
    end)
    assert.equal(windows, #vim.api.nvim_list_wins())
  end)

  it("moves the cursor to the first result, and <CR> on a run's heading opens its first one", function()
    start()
    write(build, "a needle of the build\nanother needle\n")
    write(agent, "a needle of the agent\n")
    -- The newest run comes first. It is a command, so its output is opened.
    support.request("fake/run", { run = { id = "01990000-0000-7000-8000-0000abcd9999", provider = "command", cwd = support.folder, params = { command = { "ls" } }, createdAt = 3 } })
    write("01990000-0000-7000-8000-0000abcd9999", "a needle of the third\n")
    search(" search needle")
    assert.equal("   a needle of the third", vim.api.nvim_get_current_line())
    support.press("<CR>")
    support.wait("the location", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.equal("a needle of the third", vim.api.nvim_get_current_line())
    vim.cmd.wincmd("p")
    support.move_to("abcd1234  make")
    support.press("<CR>")
    support.wait("the first place of the build", function()
      return vim.bo.filetype == "loomd-place" and vim.api.nvim_get_current_line() == "a needle of the build"
    end)
    assert.is_nil(support.find_notification("No result"))
    -- Another search starts with the cursor on its own first result.
    search(" search of the build")
    assert.equal("   a needle of the build", vim.api.nvim_get_current_line())
    -- Without results there is nothing to open, and a message says so.
    search(" search nothing of this kind")
    support.press("<CR>")
    assert.is_truthy(support.find_notification("No result under cursor"))
  end)

  it("finds the location after invalid UTF-8", function()
    start()
    -- One byte of the log is three in the text.
    support.request("fake/result", { method = "run/search", result = { hits = { { runId = build, seq = 1, stream = "stdout", offset = 10, line = "a needle" } } } })
    support.request("fake/result", { method = "run/text", result = { text = "\239\191\189\239\191\189\239\191\189\239\191\189\nabcd\na needle\nlast\n", offset = 0, nextOffset = 23, totalBytes = 23 } })
    search(" search needle")
    support.move_to("a needle")
    support.press("<CR>")
    support.wait("the location", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.same({ 3, 2 }, vim.api.nvim_win_get_cursor(0))
  end)

  it("loads pages on request, and does not move the cursor", function()
    start()
    for index = 1, 120 do
      write(build, ("needle %d\n"):format(index))
    end
    search(" search needle")
    assert.equal(' "needle": 50 results, M for more', support.lines()[1])
    assert.same({ 50 }, vim.tbl_map(function(call)
      return call.params.limit
    end, calls("run/search")))
    support.move_to("needle 20$")
    support.press("M")
    support.until_text(0, "100 results, M for more")
    assert.equal("   needle 20", vim.api.nvim_get_current_line())
    support.press("M")
    support.until_text(0, "120 results\n")
    support.press("M")
    assert.is_truthy(support.find_notification("No more results"))
    assert.equal(122, #support.lines())
  end)

  it("continues by itself if a response has no results yet", function()
    start()
    write(build, "needle\n")
    -- The first responses have a cursor but no results.
    support.request("fake/result", { method = "run/search", result = { hits = {}, nextCursor = "0" } })
    vim.cmd("Loomd search needle")
    support.wait("a third request", function()
      return #calls("run/search") > 2
    end)
    support.until_text(0, "0 results, searching … <C%-c> to cancel")
    support.request("fake/result", { method = "run/search" })
    support.until_text(0, '"needle": 1 result\n')
  end)

  it("is canceled by Ctrl-C, by closing it, and by another search", function()
    start()
    write(build, "needle\n")
    support.request("fake/hold", { method = "run/search" })
    local function cancelled(count)
      support.wait(count .. " cancelled", function()
        return #calls("$/cancelRequest") == count
      end)
    end
    vim.cmd("Loomd search needle")
    support.until_text(0, "searching")
    support.press("<C-c>")
    cancelled(1)
    support.until_text(0, '^ "needle": ')
    assert.is_falsy(support.text():find("searching"))
    vim.cmd("Loomd search needle")
    support.until_text(0, "searching")
    vim.cmd("Loomd search another")
    cancelled(2)
    support.until_text(0, '"another": 0 results, searching')
    support.press("q")
    cancelled(3)
    assert.is_nil(support.find_notification("canceled"))
  end)

  it("takes regular expressions with !, searches one run by gs, and ignores case without capital letters", function()
    start()
    write(build, "one Needle\nno noodle\n")
    write(agent, "one needle\n")
    search("! search n(ee|oo)dle")
    assert.is_truthy(support.text():find("/n%(ee|oo%)dle/: 3 results"))
    search(" search Needle")
    assert.is_truthy(support.text():find("1 result\n"))
    search(" search nothing of this kind")
    assert.equal(' "nothing of this kind": no results', support.text())
    vim.cmd("Loomd")
    support.move_to("make")
    local input = vim.ui.input
    vim.ui.input = function(_, done)
      done("needle")
    end
    support.press("gs")
    vim.ui.input = input
    support.until_text(0, '"needle" in abcd1234: 1 result\n')
    assert.equal(build, vim.iter(calls("run/search")):last().params.runId)
  end)

  it("shows the lines of an agent's transcript, each once, and opens them there, or the raw output by gr", function()
    start()
    local function say(role, text)
      support.request("fake/item", { runId = agent, item = { kind = "message", role = role, turn = 1, text = text } })
    end
    say("user", "where is the needle?")
    write(agent, '{"far":"' .. ("x"):rep(300) .. '","text":"the needle is here"}\n')
    say("agent", "I looked.\nThe needle is here.")
    write(agent, '{"again":"the needle is here"}\n')
    search(" search the needle is")
    support.until_text(0, '^ "the needle is": 1 result\n[^\n]*\n   The needle is here%.$')
    support.move_to("needle is here")
    support.press("<CR>")
    support.wait("the transcript", function()
      return vim.fn.expand("%:e") == "md"
    end)
    assert.equal("The needle is here.", vim.api.nvim_get_current_line())
    vim.cmd.wincmd("p")
    support.press("gr")
    support.wait("the raw output", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.is_truthy(vim.api.nvim_get_current_line():sub(vim.api.nvim_win_get_cursor(0)[2] + 1):find("^the needle is here"))
  end)
end)
