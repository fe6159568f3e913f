-- What goes with a prompt: mentions become content blocks, are completed, and are seen before they are sent.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"

local function sent()
  return vim.tbl_map(
    function(call)
      return call.params.prompt or call.params.text
    end,
    vim.tbl_filter(function(call)
      return call.method == "run/send"
    end, support.request("fake/calls").calls)
  )
end

local function until_sent()
  return support.wait("the message", function()
    return sent()[1]
  end)
end

local function prompt_window()
  support.wait("the window for a prompt", function()
    return vim.bo.filetype == "loomd-prompt"
  end)
  vim.cmd.stopinsert()
  return vim.api.nvim_get_current_buf()
end

local function type_text(text)
  vim.api.nvim_buf_set_lines(0, 0, -1, false, vim.split(text, "\n"))
  vim.api.nvim_exec_autocmds("TextChanged", { buffer = 0 })
end

-- The lines below the text.
local function attached(buffer)
  local lines = {}
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buffer, -1, 0, -1, { details = true })) do
    for _, chunks in ipairs(mark[4].virt_lines or {}) do
      lines[#lines + 1] = table.concat(vim.tbl_map(function(chunk)
        return chunk[1]
      end, chunks))
    end
  end
  return lines
end

describe("a prompt", function()
  before_each(function()
    support.reset({ cmd = fake })
    support.connect()
    vim.fn.writefile({ "local a = 1", "local b = 2", "return a + b" }, "sum.lua")
    vim.fn.mkdir("sub dir", "p")
    vim.fn.writefile({ "x" }, "sub dir/a b.txt")
    support.request("fake/run", {
      run = {
        id = id,
        cwd = vim.fn.getcwd(),
        state = "idle",
        params = { prompt = "fix the parser", provider = "codex" },
        agent = { commands = { { name = "compact", description = "shorten the context" }, { name = "compare", description = "two files", hint = "a b" }, { name = "review", description = "review changes" } } },
      },
    })
    support.wait("the run", function()
      return support.store().runs[id]
    end)
  end)
  after_each(support.cleanup)

  it("takes the selected lines by a range, and shows them before they are sent", function()
    vim.cmd.edit("sum.lua")
    vim.cmd("2,3Loomd send " .. id:sub(-8) .. " why?")
    local buffer = prompt_window()
    assert.equal("why?\n@selection\n", support.text())
    assert.same({ "+ @sum.lua:2-3 selection, 2 lines" }, attached(buffer))
    support.press("gp")
    local shown = "why?\n@sum.lua:2-3\n\n── @sum.lua:2-3 (selection, 2 lines)\n%s#L2-3\nlocal b = 2\nreturn a + b"
    assert.equal(shown:format(vim.uri_from_fname(vim.fn.getcwd() .. "/sum.lua")), support.text())
    support.press("q")
    assert.same({}, sent())
    support.press("<C-s>")
    local prompt = until_sent()
    assert.same({ type = "text", text = "why?\n@sum.lua:2-3" }, prompt[1])
    assert.equal("local b = 2\nreturn a + b", prompt[2].resource.text)
    assert.equal(vim.uri_from_fname(vim.fn.getcwd() .. "/sum.lua") .. "#L2-3", prompt[2].resource.uri)
    assert.equal(2, #prompt)
  end)

  it("links files, sends unsaved changes and images, and takes what is no file as text", function()
    vim.fn.writefile({ "not really an image" }, "shot.png")
    vim.cmd.edit("sum.lua")
    vim.cmd("Loomd send " .. id:sub(-8))
    local buffer = prompt_window()
    type_text('Look at @file, (@"sub dir/a b.txt") and @shot.png, not at me@example.org or @nobody. @sum.lua:2.')
    assert.same({ "+ @sum.lua link, 37 bytes", '+ @"sub dir/a b.txt" link, 2 bytes', "+ @shot.png image, 20 bytes", "+ @sum.lua:2 1 line" }, attached(buffer))
    support.press("<C-s>")
    local prompt = until_sent()
    assert.equal('Look at @sum.lua, (@"sub dir/a b.txt") and @shot.png, not at me@example.org or @nobody. @sum.lua:2.', prompt[1].text)
    assert.same({ "resource_link", "resource_link", "image", "resource" }, vim.tbl_map(function(block)
      return block.type
    end, vim.list_slice(prompt, 2)))
    assert.equal("sub dir/a b.txt", prompt[3].name)
    assert.equal("not really an image\n", vim.base64.decode(prompt[4].data))
    assert.equal("local b = 2", prompt[5].resource.text)
    vim.api.nvim_buf_set_lines(vim.fn.bufnr("sum.lua"), 0, 1, false, { "local a = 10" })
    local changed = require("loomd.context").resolve("sum.lua", nil, vim.fn.getcwd())
    assert.equal("local a = 10\nlocal b = 2\nreturn a + b\n", changed.block.resource.text)
  end)

  it("takes no image for an agent that takes none, and says so", function()
    vim.fn.writefile({ "not really an image" }, "shot.png")
    local run = support.store().runs[id]
    run.agent.promptCapabilities = { image = false, audio = false, embeddedContext = true }
    vim.cmd("Loomd send " .. id:sub(-8))
    local buffer = prompt_window()
    type_text("Look at @shot.png")
    assert.is_truthy(vim.tbl_contains(attached(buffer), ("! @shot.png: %s takes no images"):format(run.provider)))
    support.press("<C-s>")
    assert.is_truthy(support.find_notification("Not sent: @shot.png: .* takes no images"))
    assert.same({}, sent())
  end)

  it("takes diagnostics and symbols of the file, and is not sent with what is missing", function()
    vim.cmd.edit("sum.lua")
    local namespace = vim.api.nvim_create_namespace("a linter")
    vim.diagnostic.set(namespace, 0, { { lnum = 1, col = 6, message = "unused", severity = vim.diagnostic.severity.WARN, source = "lint" } })
    local original = vim.lsp.buf_request_sync
    local requests = 0
    vim.lsp.buf_request_sync = function()
      requests = requests + 1
      local range = { start = { line = 0 }, ["end"] = { line = 2 } }
      return { { result = { { name = "sum", kind = 12, range = range, children = { { name = "a", kind = 13, range = range } } } } } }
    end
    vim.cmd("Loomd send " .. id:sub(-8))
    prompt_window()
    type_text("@selection")
    support.press("<C-s>")
    assert.is_truthy(support.find_notification("Not sent: @selection: nothing was selected"))
    type_text("fix @diagnostics in @symbols")
    type_text("fix @diagnostics in @symbols now")
    support.press("<C-s>")
    local prompt = until_sent()
    vim.lsp.buf_request_sync = original
    vim.diagnostic.reset(namespace)
    assert.equal("sum.lua:2:7: warning: unused [lint]", prompt[2].resource.text)
    assert.equal("function sum (lines 1-3)\n  variable a (lines 1-3)", prompt[3].resource.text)
    assert.equal(1, requests)
  end)

  it("completes mentions, and the agent's commands at its beginning", function()
    vim.cmd.edit("sum.lua")
    vim.cmd("Loomd send " .. id:sub(-8))
    prompt_window()
    local complete = require("loomd.complete")
    local function words(line, row)
      vim.api.nvim_buf_set_lines(0, 0, -1, false, row == 2 and { "", line } or { line })
      vim.api.nvim_win_set_cursor(0, { row or 1, #line })
      -- In insert mode the cursor may stand behind the line.
      local start = complete.start_of(line, row or 1)
      return start and vim.tbl_map(function(item)
        return item.word
      end, complete.complete(0, line:sub(start + 1)))
    end
    assert.same({ "/compact", "/compare" }, words("/comp"))
    assert.is_nil(words("/comp", 2))
    assert.is_nil(words("see /comp"))
    assert.is_nil(words("me@example"))
    assert.same({ "@file" }, words("see @fil"))
    assert.same({ "@sum.lua" }, words("(@sum"))
    assert.same({ '@"sub dir/a b.txt"' }, words('see @"sub d'))
  end)

  it("is kept with its mentions, which are text where no file is open", function()
    vim.cmd.edit("sum.lua")
    for _ = 1, 2 do
      vim.cmd("1Loomd send " .. id:sub(-8))
      assert.equal("@selection\n", table.concat(support.lines(prompt_window()), "\n"))
      support.press("q")
    end
    vim.cmd.enew()
    vim.cmd("Loomd send " .. id:sub(-8))
    prompt_window()
    type_text("the @file tag of @selection")
    support.press("<C-s>")
    assert.equal("the @file tag of @selection", until_sent())
  end)

  it("names the key that sends it in a narrow window, too", function()
    local columns = vim.o.columns
    for width, footer in pairs({ [120] = " <C-s> send · @ context · / commands · gC model · g? help · q close ", [60] = " <C-s> send · g? help · q close ", [24] = " <C-s> send " }) do
      vim.o.columns = width
      vim.cmd("Loomd send " .. id:sub(-8))
      prompt_window()
      assert.equal(footer, vim.api.nvim_win_get_config(0).footer[1][1])
      support.press("q")
    end
    vim.o.columns = columns
  end)

  it("of a new run has its context, too, and is offered again as it was typed", function()
    vim.cmd.edit("sum.lua")
    for _, expected in ipairs({ "", "explain @file" }) do
      local run = support.await(function(done)
        require("loomd.start").start_template("codex", nil, done)
        prompt_window()
        assert.equal(expected, support.text())
        type_text("explain @file")
        support.press("<C-s>")
      end)
      assert.equal("explain @sum.lua", run.params.prompt[1].text)
      assert.equal("resource_link", run.params.prompt[2].type)
    end
  end)

  it("of a command is the selected lines", function()
    support.request("fake/run", { run = { id = "01990000-0000-7000-8000-0000c0ffee00", provider = "command", cwd = vim.fn.getcwd(), command = { "sh" }, params = { command = { "sh" } } } })
    support.wait("the run", function()
      return support.store().runs["01990000-0000-7000-8000-0000c0ffee00"]
    end)
    vim.cmd.edit("sum.lua")
    vim.cmd("1,2Loomd send c0ffee00")
    assert.equal("local a = 1\nlocal b = 2\n", until_sent())
  end)
end)
