-- What runs wrote, searched: pages, giving up, and the place of a hit. The runs are a fake server's.

local world = require("world")

local fake = { "python3", world.plugin .. "/tests/fake_server.py" }
local build, agent = "01990000-0000-7000-8000-0000abcd1234", "01990000-0000-7000-8000-0000abcd5678"

local function push(entry)
  return world.ask("fake/push", { entry = entry })
end

-- Writes to a run of the fake server, as its program would.
local offsets
local function write(id, text, stream)
  stream = stream or "stdout"
  local key = id .. stream
  push({ runId = id, kind = "output", stream = stream, offset = offsets[key] or 0, text = text })
  offsets[key] = (offsets[key] or 0) + #text
end

local function begin()
  offsets = {}
  world.fresh({ cmd = fake })
  world.connect()
  world.ask("fake/run", { run = { id = build, provider = "command", cwd = world.folder .. "/work", params = { command = { "make" } }, createdAt = 1 } })
  world.ask("fake/run", { run = { id = agent, provider = "codex", cwd = world.folder .. "/work", params = { prompt = "mend it" }, createdAt = 2 } })
end

local function searched(line)
  vim.cmd("Loomd" .. line)
  world.wait("the end of the search", function()
    return vim.bo.filetype == "loomd-search" and not world.text():find("searching") and world.lines()[1] ~= ""
  end)
end

local function calls(method)
  return vim.tbl_filter(function(call)
    return call.method == method
  end, world.ask("fake/calls").calls)
end

describe(":Loomd search", function()
  after_each(world.finish)

  it("shows hits by run, and jumps to the byte in the output", function()
    begin()
    -- More than one page of it, colours, other streams and letters of several bytes before the place.
    write(build, ("a line that says nothing of interest, ü\n"):rep(5000))
    write(build, "a needle on the other stream\n", "stderr")
    write(build, "\27[1;32mgrün\27[0m then a \27[31mneedle\27[0m here\n")
    write(build, ("and after it\n"):rep(5000))
    searched(" search needle")
    assert.same({ ' "needle": 2 hits', " abcd1234  make", "   grün then a needle here", "   a needle on the other stream" }, world.lines())
    world.go_to("grün then")
    world.press("<CR>")
    world.wait("the place", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.equal("grün then a needle here", vim.api.nvim_get_current_line())
    assert.equal(#"grün then a ", vim.api.nvim_win_get_cursor(0)[2])
    assert.is_truthy(vim.wo.winbar:find("stdout, bytes"))
    assert.is_false(vim.bo.modifiable)
    local windows = #vim.api.nvim_list_wins()
    vim.cmd.wincmd("p")
    world.go_to("other stream")
    world.press("<CR>")
    world.wait("the other place", function()
      return vim.bo.filetype == "loomd-place" and vim.api.nvim_get_current_line():find("other stream")
    end)
    assert.equal(windows, #vim.api.nvim_list_wins())
  end)

  it("has the cursor on the first hit when hits come, and <CR> on a run's heading opens its first one", function()
    begin()
    write(build, "a needle of the build\nanother needle\n")
    write(agent, "a needle of the agent\n")
    -- The newest run stands first; as a command, so that its output is opened.
    world.ask("fake/run", { run = { id = "01990000-0000-7000-8000-0000abcd9999", provider = "command", cwd = world.folder, params = { command = { "ls" } }, createdAt = 3 } })
    write("01990000-0000-7000-8000-0000abcd9999", "a needle of the third\n")
    searched(" search needle")
    assert.equal("   a needle of the third", vim.api.nvim_get_current_line())
    world.press("<CR>")
    world.wait("the place", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.equal("a needle of the third", vim.api.nvim_get_current_line())
    vim.cmd.wincmd("p")
    world.go_to("abcd1234  make")
    world.press("<CR>")
    world.wait("the first place of the build", function()
      return vim.bo.filetype == "loomd-place" and vim.api.nvim_get_current_line() == "a needle of the build"
    end)
    assert.is_nil(world.heard("no hit"))
    -- Another search begins anew; what was left somewhere is not where its hits are.
    searched(" search of the build")
    assert.equal("   a needle of the build", vim.api.nvim_get_current_line())
    -- With nothing found there is nothing to go to, and that is said.
    searched(" search nothing of this kind")
    world.press("<CR>")
    assert.is_truthy(world.heard("no hit under the cursor"))
  end)

  it("finds the place behind bytes that are no text, too", function()
    begin()
    -- What the log has as one byte is three in the text.
    world.ask("fake/result", { method = "run/search", result = { hits = { { runId = build, seq = 1, stream = "stdout", offset = 10, line = "a needle" } } } })
    world.ask("fake/result", { method = "run/text", result = { text = "\239\191\189\239\191\189\239\191\189\239\191\189\nabcd\na needle\nlast\n", offset = 0, nextOffset = 23, totalBytes = 23 } })
    searched(" search needle")
    world.go_to("a needle")
    world.press("<CR>")
    world.wait("the place", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.same({ 3, 2 }, vim.api.nvim_win_get_cursor(0))
  end)

  it("reads pages on demand, and leaves the cursor where somebody reads", function()
    begin()
    for index = 1, 120 do
      write(build, ("needle %d\n"):format(index))
    end
    searched(" search needle")
    assert.equal(' "needle": 50 hits, M shows more', world.lines()[1])
    assert.same({ 50 }, vim.tbl_map(function(call)
      return call.params.limit
    end, calls("run/search")))
    world.go_to("needle 20$")
    world.press("M")
    world.until_text(0, "100 hits, M shows more")
    assert.equal("   needle 20", vim.api.nvim_get_current_line())
    world.press("M")
    world.until_text(0, "120 hits\n")
    world.press("M")
    assert.is_truthy(world.heard("these are all hits"))
    assert.equal(122, #world.lines())
  end)

  it("goes on by itself where an answer came for want of time", function()
    begin()
    write(build, "needle\n")
    -- The first answers have nothing, but a cursor.
    world.ask("fake/result", { method = "run/search", result = { hits = {}, nextCursor = "0" } })
    vim.cmd("Loomd search needle")
    world.wait("a third request", function()
      return #calls("run/search") > 2
    end)
    world.until_text(0, "0 hits, searching … <C%-c> gives up")
    world.ask("fake/result", { method = "run/search" })
    world.until_text(0, '"needle": 1 hit\n')
  end)

  it("is given up by Ctrl-C, by closing it, and by another search", function()
    begin()
    write(build, "needle\n")
    world.ask("fake/hold", { method = "run/search" })
    local function cancelled(count)
      world.wait(count .. " cancelled", function()
        return #calls("$/cancelRequest") == count
      end)
    end
    vim.cmd("Loomd search needle")
    world.until_text(0, "searching")
    world.press("<C-c>")
    cancelled(1)
    world.until_text(0, '^ "needle": ')
    assert.is_falsy(world.text():find("searching"))
    vim.cmd("Loomd search needle")
    world.until_text(0, "searching")
    vim.cmd("Loomd search another")
    cancelled(2)
    world.until_text(0, '"another": 0 hits, searching')
    world.press("q")
    cancelled(3)
    assert.is_nil(world.heard("given up"))
  end)

  it("takes regular expressions with !, one run by gs, and heeds case when something is in capitals", function()
    begin()
    write(build, "one Needle\nno noodle\n")
    write(agent, "one needle\n")
    searched("! search n(ee|oo)dle")
    assert.is_truthy(world.text():find("/n%(ee|oo%)dle/: 3 hits"))
    searched(" search Needle")
    assert.is_truthy(world.text():find("1 hit\n"))
    searched(" search nothing of this kind")
    assert.equal(' "nothing of this kind": nothing', world.text())
    vim.cmd("Loomd")
    world.go_to("make")
    local input = vim.ui.input
    vim.ui.input = function(_, done)
      done("needle")
    end
    world.press("gs")
    vim.ui.input = input
    world.until_text(0, '"needle" in abcd1234: 1 hit\n')
    assert.equal(build, vim.iter(calls("run/search")):last().params.runId)
  end)

  it("opens an agent's transcript at what the hit means, its raw output by gr", function()
    begin()
    push({ runId = agent, kind = "update", update = { sessionUpdate = "user_message_chunk", messageId = "u", content = { type = "text", text = "where is the needle?" } } })
    write(agent, '{"far":"' .. ("x"):rep(300) .. '","text":"the needle is here"}\n')
    push({ runId = agent, kind = "update", update = { sessionUpdate = "agent_message_chunk", messageId = "m", content = { type = "text", text = "I looked.\nThe needle is here." } } })
    searched(" search the needle is")
    -- The match is in sight, though it is far to the right.
    assert.is_truthy(world.lines()[3]:find("^   ….*the needle is here"))
    world.go_to("needle is here")
    world.press("<CR>")
    world.wait("the transcript", function()
      return vim.fn.expand("%:e") == "md"
    end)
    assert.equal("The needle is here.", vim.api.nvim_get_current_line())
    vim.cmd.wincmd("p")
    world.press("gr")
    world.wait("the raw output", function()
      return vim.bo.filetype == "loomd-place"
    end)
    assert.is_truthy(vim.api.nvim_get_current_line():sub(vim.api.nvim_win_get_cursor(0)[2] + 1):find("^the needle is here"))
  end)
end)
