-- Transcripts: items are drawn whole, live, and each in its place. The items are those of the server's own fixtures, or
-- pushed by a fake server.

local support = require("support")

local fake = { "python3", support.plugin .. "/tests/fake_server.py" }
local id = "01990000-0000-7000-8000-0000abcd1234"
local fixtures = vim.fs.normalize(support.plugin .. "/../../tests/transcripts")

local function start(options)
  support.reset(vim.tbl_extend("force", { cmd = fake }, options or {}))
  support.connect()
  support.request("fake/run", { run = { id = id, cwd = support.folder .. "/work", params = { prompt = "fix the parser", provider = "codex" } } })
  support.wait("the run", function()
    return support.store().runs[id]
  end)
end

local function push(entry)
  return support.request("fake/push", { entry = vim.tbl_extend("keep", entry, { runId = id }) })
end

local function push_item(item)
  return support.request("fake/item", { runId = id, item = item }).item
end

local function append(item, what)
  support.request("fake/append", { runId = id, item = item, append = what })
end

local function message(text, more)
  return push_item(vim.tbl_extend("keep", more or {}, { kind = "message", role = "agent", turn = 1, text = text }))
end

local function tool(more)
  return push_item(vim.tbl_extend("keep", more, { kind = "tool", turn = 1, toolCallId = "c", toolKind = "execute", status = "in_progress", locations = {}, diffs = {}, permissions = {} }))
end

local function view()
  return require("loomd.view.transcript").find(id)
end

local function open()
  vim.cmd("Loomd output " .. id:sub(-8))
  local buffer = vim.api.nvim_get_current_buf()
  support.wait("the transcript to follow", function()
    return view() and view().items.attached
  end)
  return buffer
end

-- The range of the closed fold at that line, and its text.
local function fold_at(line)
  vim.cmd.redraw()
  return { vim.fn.foldclosed(line), vim.fn.foldclosedend(line) }
end

-- The highlight groups of a line.
local function groups(buffer, line)
  local namespace, found = vim.api.nvim_get_namespaces().loomd_transcript, {}
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(buffer, namespace, { line - 1, 0 }, { line - 1, -1 }, { details = true })) do
    found[mark[4].hl_group or ""] = true
  end
  return found
end

local function line_with(buffer, text)
  for index, line in ipairs(support.lines(buffer)) do
    if line:find(text, 1, true) then
      return index
    end
  end
  error(("no line has %q in:\n%s"):format(text, support.text(buffer)), 2)
end

local function read_items(name)
  local file = assert(io.open(("%s/%s/items.json"):format(fixtures, name), "rb"))
  local items = vim.json.decode(file:read("*a"), { luanil = { object = true } })
  file:close()
  return items
end

local function draw_all(items)
  local draw, list, lines = require("loomd.draw"), require("loomd.items").new("r"), {}
  for _, item in ipairs(items) do
    list:put(vim.deepcopy(item))
  end
  for index in ipairs(list.blocks) do
    vim.list_extend(lines, draw.draw_block(list, index, "codex").lines)
  end
  return lines, list
end

-- Every text that a person has to be able to read, by kind of item.
local function texts_of(item)
  local texts = {}
  local function add(text)
    for _, line in ipairs(vim.split(text and tostring(text) or "", "\n", { trimempty = true })) do
      texts[#texts + 1] = line
    end
  end
  add(item.text)
  add(item.title and require("loomd.format").visible(item.title))
  add(item.description)
  local is_over = item.endAt and (item.status == "pending" or item.status == "in_progress")
  add(is_over and "not finished" or item.status and item.status:gsub("_", " "))
  for _, name in ipairs({ "output", "stderr" }) do
    add(item[name] and item[name].text)
  end
  for _, entry in ipairs(item.entries or {}) do
    add(entry.content)
  end
  for index, part in ipairs(item.shown or {}) do
    add(index > 1 and part.label)
    add(part.text)
  end
  for _, diff in ipairs(item.diffs or {}) do
    add(diff.path)
    add(diff.patch)
    add(diff.newText)
  end
  for _, location in ipairs(item.locations or {}) do
    add(location.path)
  end
  for _, block in ipairs(item.blocks or {}) do
    add(block.uri or block.type)
  end
  if type(item.rawInput) == "table" then
    for name, value in pairs(item.rawInput) do
      local is_known = value == item.title or vim.iter(item.diffs):any(function(diff)
        return vim.tbl_contains({ diff.path, diff.oldText, diff.newText }, value)
      end)
      add(not is_known and name)
    end
  end
  add(item.error and item.error.message)
  add(item.resolved and item.resolved.message)
  return texts
end

describe("the server's fixtures", function()
  local names = {}
  for _, path in ipairs(vim.fn.globpath(fixtures, "*/items.json", false, true)) do
    names[#names + 1] = vim.fs.basename(vim.fs.dirname(path))
  end

  it("are there", function()
    assert.is_true(#names >= 13, vim.inspect(names))
  end)

  for _, name in ipairs(names) do
    it("are drawn with nothing lost: " .. name, function()
      support.reset()
      local items = read_items(name)
      local lines, list = draw_all(items)
      assert.equal(#items, #list.blocks)
      local text = table.concat(lines, "\n")
      for _, item in ipairs(items) do
        for _, each in ipairs(texts_of(item)) do
          assert.is_truthy(text:find(require("loomd.format").clean(each), 1, true), ("item %d lost %q in:\n%s"):format(item.item, each, text))
        end
      end
    end)
  end

  it("have a heading for every kind of item", function()
    support.reset()
    local seen = {}
    for _, name in ipairs(names) do
      for _, item in ipairs(read_items(name)) do
        seen[item.kind] = true
      end
    end
    assert.same({ "command", "message", "notice", "other", "permission", "plan", "thought", "tool", "turn" }, vim.fn.sort(vim.tbl_keys(seen)))
  end)

  it("have sub-agents below their calls, corrections in place and what was given up marked", function()
    support.reset()
    local lines, list = draw_all(read_items("sub-agents"))
    local order = vim.tbl_map(function(block)
      return { block.item.item, block.depth }
    end, list.blocks)
    assert.same({ { 1, 0 }, { 2, 0 }, { 4, 1 }, { 6, 1 }, { 9, 1 }, { 10, 2 }, { 11, 1 }, { 12, 1 }, { 3, 0 }, { 5, 1 }, { 7, 1 }, { 8, 0 }, { 13, 0 }, { 14, 0 } }, order)
    assert.is_truthy(table.concat(lines, "\n"):find("### ↳ sub-agent\n\nchild: reading, still reading\n", 1, true))
    local text = table.concat(draw_all(read_items("corrected-and-abandoned")), "\n")
    assert.is_truthy(text:find("## codex\n\nI will try.\n\n### Withdrawn answer\n\n> Half a sent\n\n> Warning: The provider is busy\n> It is tried again in 2 s\n\nHalf a sentence, whole.\n", 1, true), text)
  end)

  it("say who allowed and denied what", function()
    support.reset()
    local text = table.concat(draw_all(read_items("questions")), "\n")
    for _, heading in ipairs({
      "### ✓ Allowed: edit: Edit README · “go on”",
      "### ✗ Denied: delete: Delete ~/.ssh",
      "### ✗ Dismissed: run: rm -rf ~ · by the agent",
      "### ✓ Answered “Go”: run: no id at all ⟨U+202E⟩⟨U+200B⟩ · by the permission mode",
      "### ✓ Allowed: edit: Apply a patch",
    }) do
      assert.is_truthy(text:find(heading, 1, true), heading .. " in:\n" .. text)
    end
  end)
end)

describe("a transcript", function()
  after_each(support.cleanup)

  it("has prompts, thoughts, messages, plans, notices and the ends of turns", function()
    start()
    push_item({ kind = "message", role = "user", text = "fix the parser", turn = 1, at = 1000 })
    local buffer = open()
    push_item({ kind = "thought", role = "agent", turn = 1, text = "let me see\nwhat this is" })
    local first = message("I look at **the ")
    append(first.item, { text = "parser**.\n\nThen" })
    append(first.item, { text = " I fix it." })
    push_item({ kind = "plan", turn = 1, entries = { { content = "look", status = "completed" }, { content = "fix", status = "pending" } } })
    push_item({ kind = "notice", turn = 1, severity = "warning", title = "Trying again", description = "after 2 s" })
    push_item({ kind = "of_tomorrow", turn = 1, title = "Something new" })
    push({ kind = "state", state = "idle", turn = 1, at = 4500, stopReason = "end_turn", usage = { inputTokens = 1200, outputTokens = 34 } })
    support.until_text(buffer, "turn 1")
    assert.same({
      "## You",
      "",
      "fix the parser",
      "",
      "### Thinking",
      "",
      "> let me see",
      "> what this is",
      "",
      "## codex",
      "",
      "I look at **the parser**.",
      "",
      "Then I fix it.",
      "",
      "### Plan",
      "",
      "- [x] look",
      "- [ ] fix",
      "",
      "> Warning: Trying again",
      "> after 2 s",
      "",
      "### · Something new",
      "",
      "*— turn 1 · done · 3s · 1200 tokens in, 34 out —*",
      "",
    }, vim.list_slice(support.lines(buffer), 1, 27))
    assert.equal("loomd-transcript", vim.bo[buffer].filetype)
    assert.is_false(vim.bo[buffer].modifiable)
  end)

  it("highlights notices by how much they matter", function()
    start()
    local buffer = open()
    for _, severity in ipairs({ "info", "warning", "error" }) do
      push_item({ kind = "notice", severity = severity, title = "a " .. severity, description = "more of " .. severity })
    end
    support.until_text(buffer, "more of error")
    for severity, group in pairs({ info = "LoomdNoticeInfo", warning = "LoomdNoticeWarning", error = "LoomdNoticeError" }) do
      assert.is_true(groups(buffer, line_with(buffer, "a " .. severity))[group], severity)
      assert.is_true(groups(buffer, line_with(buffer, "more of " .. severity))[group], severity)
    end
  end)

  it("applies what is appended, and drops what the server drops", function()
    start()
    local buffer = open()
    local call = tool({ title = "make", output = { text = "head\ntail 1\ntail 2\n", omittedAt = 5, omittedBytes = 100 } })
    support.until_text(buffer, "head\n… 100 bytes omitted\ntail 1\ntail 2\n")
    append(call.item, { output = { text = "tail 3\n", dropBytes = 7 } })
    support.until_text(buffer, "head\n… 107 bytes omitted\ntail 2\ntail 3\n")
    local command = push_item({ kind = "command", output = { text = "out 1\n" } })
    append(command.item, { stderr = { text = "err 1\n" } })
    append(command.item, { stderr = { text = "err 2\n" } })
    append(command.item, { output = { text = "out 2\n" } })
    support.until_text(buffer, "```text\nout 1\nout 2\n```\nstderr:\n```text\nerr 1\nerr 2\n```")
    local said = message("naïve")
    append(said.item, { text = " ✓" })
    support.until_text(buffer, "naïve ✓")
  end)

  it("folds a tool call to one line with its state, and keeps a fold open that was opened", function()
    start()
    local buffer = open()
    local call = tool({ title = "cargo test", rawInput = { command = "cargo test", timeout = 5 }, output = { text = "one\ntw" } })
    append(call.item, { output = { text = "o\nthree\n" } })
    support.until_text(buffer, "three")
    assert.is_truthy(support.text(buffer):find("### ▶ run: cargo test · in progress\n\n- timeout: 5\n```text\none\ntwo\nthree\n```", 1, true), support.text(buffer))
    local heading = support.move_to("### ▶ run")
    assert.equal(heading, fold_at(heading)[1])
    assert.is_true(fold_at(heading)[2] > heading + 5)
    assert.is_truthy(require("loomd.draw").summary(view().items.blocks[1].drawing):find("cargo test · in progress · 3 lines: three$"))
    support.press("<CR>")
    assert.equal(-1, vim.fn.foldclosed(heading))
    push_item({ item = call.item, status = "completed" })
    support.until_text(buffer, "### ✓ run: cargo test · completed")
    vim.cmd.redraw()
    assert.equal(-1, vim.fn.foldclosed(heading))
  end)

  it("folds all of a tool call, however often its state changes while it is visible", function()
    start()
    message("write it", { role = "user" })
    local buffer = open()
    local function whole_fold(heading)
      support.until_text(buffer, "### " .. heading)
      local first = support.move_to("### " .. heading)
      local last = first
      while support.lines(buffer)[last + 1] ~= "" or last == first do
        last = last + 1
      end
      assert.same({ first, last }, fold_at(first), support.text(buffer))
      vim.cmd("normal! G")
    end
    local call = tool({ toolKind = "edit", title = "Write fake.txt", diffs = { { path = "/src/fake.txt", kind = "add", newText = "one\ntwo\n" } } })
    whole_fold("▶ edit")
    push_item({ item = call.item, status = "pending" })
    whole_fold("◌ edit")
    push({ kind = "permission", permissionId = "p1", status = "requested", toolCall = { toolCallId = "c", kind = "edit", title = "Write fake.txt" }, options = {} })
    whole_fold("◌ edit")
    push({ kind = "permission", permissionId = "p1", status = "resolved", by = "client", cancelled = true })
    push_item({ item = call.item, status = "in_progress" })
    whole_fold("▶ edit")
    push_item({ item = call.item, status = "completed" })
    append(message("The").item, { text = " file" })
    whole_fold("✓ edit")
    push({ kind = "state", state = "idle", turn = 1, stopReason = "end_turn" })
    support.until_text(buffer, "turn 1")
    whole_fold("✓ edit")
  end)

  it("has what a sub-agent does in the fold of its call, also what comes late", function()
    start()
    local buffer = open()
    local task = tool({ title = "Explore", toolKind = "think" })
    message("the main agent goes on")
    support.until_text(buffer, "goes on")
    local inner = tool({ title = "read it", toolKind = "read", parent = task.item, output = { text = "inner output" } })
    push_item({ kind = "thought", role = "agent", text = "a deep thought", parent = inner.item })
    message("found it", { parent = task.item })
    support.until_text(buffer, "found it")
    local heading, goes_on = line_with(buffer, "think: Explore"), line_with(buffer, "goes on")
    for _, text in ipairs({ "↳ read: read it", "a deep thought", "### ↳ sub-agent", "found it" }) do
      local line = line_with(buffer, text)
      assert.is_true(heading < line and line < goes_on, text)
      assert.equal(heading, fold_at(line)[1], text)
    end
    assert.equal(-1, fold_at(goes_on)[1])
    support.move_to("think: Explore")
    support.press("<CR>")
    assert.equal(-1, fold_at(line_with(buffer, "found it"))[1])
    assert.equal(line_with(buffer, "↳ read: read it"), fold_at(line_with(buffer, "a deep thought"))[1])
    push_item({ item = task.item, status = "completed" })
    support.until_text(buffer, "✓ think: Explore")
    assert.equal(-1, fold_at(line_with(buffer, "found it"))[1])
  end)

  it("shows the diffs of an edit, and reloads the buffers of its files", function()
    start()
    local path = support.folder .. "/work/code.c"
    vim.fn.writefile({ "old line" }, path)
    vim.cmd.edit(path)
    local file = vim.api.nvim_get_current_buf()
    local buffer = open()
    local call = tool({ toolKind = "edit", title = "edit code.c" })
    vim.uv.fs_utime(path, 1, 1)
    vim.cmd("checktime " .. file)
    vim.fn.writefile({ "new line" }, path)
    push_item({ item = call.item, status = "completed", diffs = { { path = path, kind = "modify", oldText = "old line\n", newText = "new line\n" } } })
    support.until_text(buffer, "%-old line\n%+new line")
    support.until_text(file, "new line")
    assert.is_truthy(support.text(buffer):find("code.c (+1 -1)", 1, true))
  end)

  it("marks what was given up as withdrawn, whole, and all parts of it", function()
    start()
    local buffer = open()
    local half = message("half an ans")
    message("goes on here", { continues = half.item })
    push_item({ kind = "thought", role = "agent", turn = 1, text = "a half thought", abandoned = true })
    push_item({ item = 2, abandoned = true })
    message("a whole answer")
    support.until_text(buffer, "a whole answer")
    local text = support.text(buffer)
    for _, part in ipairs({ "### Withdrawn answer\n\n> half an ans\n", "### Withdrawn answer\n\n> goes on here\n", "### Withdrawn thought\n\n> a half thought\n", "## codex\n\na whole answer\n" }) do
      assert.is_truthy(text:find(part, 1, true), text)
    end
    assert.is_true(groups(buffer, line_with(buffer, "half an ans")).LoomdQuiet)
  end)

  it("replaces the text of a corrected message, wherever it is, and joins what continues", function()
    start()
    local buffer = open()
    local first = message("streamed\nin two lines")
    message("another message")
    push_item({ item = first.item, text = "the final text" })
    local call = tool({ title = "make" })
    tool({ title = "make", continues = call.item, output = { text = "late word" } })
    local long = message("a long message")
    message("that goes on", { continues = long.item })
    support.until_text(buffer, "that goes on")
    local text = support.text(buffer)
    assert.is_truthy(text:find("## codex\n\nthe final text\n\nanother message\n", 1, true), text)
    assert.is_truthy(text:find("run: make (continued) · in progress", 1, true), text)
    assert.is_truthy(text:find("\na long message\n\nthat goes on\n", 1, true), text)
  end)

  it("shows permission requests whole, and their answers in place", function()
    start()
    local buffer = open()
    push({
      kind = "permission",
      permissionId = "p1",
      status = "requested",
      toolCall = { toolCallId = "t1", kind = "execute", title = "make" },
      shown = { { label = "title", text = "make" }, { label = "sandbox", text = "null" } },
      options = { { optionId = "yes", name = "Allow", kind = "allow_once" } },
    })
    support.until_text(buffer, "### ● Permission: run: make %(K%)\n\nsandbox:\n```\nnull\n```\n")
    support.press("K")
    local request = support.wait("the floating window", function()
      local current = require("loomd.view.permission_request").current()
      return current and current.is_armed and current
    end)
    assert.equal(request.buffer, vim.api.nvim_get_current_buf())
    support.press("a")
    support.until_text(buffer, "### ✓ Allowed: run: make\n")
  end)

  it("loads what is left out of an item when it is shown, and not before", function()
    start()
    local call = tool({ title = "edit", status = "completed", toolKind = "edit", rawInput = { omitted = true }, diffs = { { path = "big.c", kind = "modify", omitted = true } } })
    push_item({ item = call.item, whole = { rawInput = { reason = "because" }, diffs = { { path = "big.c", kind = "modify", patch = "@@ -1 +1 @@\n-x\n+y\n" } } } })
    local buffer = open()
    support.until_text(buffer, "big.c %(diff omitted%)\n… input omitted")
    local function requests()
      return #vim.tbl_filter(function(call_)
        return call_.method == "run/getItem"
      end, support.request("fake/calls").calls)
    end
    assert.equal(0, requests())
    support.move_to("✓ edit")
    support.press("<CR>")
    support.until_text(buffer, "%- big.c %(%+1 %-1%)\n%- reason: because\n```diff\n@@ %-1 %+1 @@\n%-x\n%+y\n```")
    assert.equal(1, requests())
  end)

  it("follows the end only in windows whose cursor is there", function()
    start()
    local buffer = open()
    local following = vim.api.nvim_get_current_win()
    for index = 1, 50 do
      message("message " .. index)
    end
    support.until_text(buffer, "message 50\n")
    assert.equal(vim.api.nvim_buf_line_count(buffer), vim.api.nvim_win_get_cursor(following)[1])
    vim.cmd("split")
    local staying = vim.api.nvim_get_current_win()
    vim.api.nvim_win_set_cursor(staying, { 5, 0 })
    message("message 51")
    support.until_text(buffer, "message 51\n")
    assert.equal(5, vim.api.nvim_win_get_cursor(staying)[1])
    assert.equal(vim.api.nvim_buf_line_count(buffer), vim.api.nvim_win_get_cursor(following)[1])
  end)

  it("is redrawn at most once per interval, and keeps at most max_lines", function()
    start({ max_lines = 100 })
    local buffer = open()
    local started, redraws = vim.uv.now(), view().throttle.count
    for index = 1, 150 do
      support.server().request("fake/item", { runId = id, item = { kind = "message", role = "agent", turn = 1, text = "message " .. index } })
    end
    support.until_text(buffer, "message 150\n")
    assert.is_true(view().throttle.count - redraws <= (vim.uv.now() - started) / 50 + 2)
    assert.is_true(vim.api.nvim_buf_line_count(buffer) <= 102)
    assert.is_truthy(support.text(buffer):find("^%*Earlier items: M to load"))
    -- `gA` opens all of it.
    support.press("gA")
    support.wait("the whole transcript", function()
      return support.text():find("message 1\n") and support.text():find("message 150")
    end)
  end)

  it("of a long run starts with its last items; M loads earlier ones, and the text stays where it is", function()
    start({ backlog_bytes = 4000 })
    local task = tool({ title = "Explore" })
    for index = 1, 60 do
      message("message " .. index, index == 60 and { parent = task.item } or nil)
    end
    local buffer = open()
    support.until_text(buffer, "message 60\n")
    assert.is_truthy(support.text(buffer):find("^%*Earlier items: M to load"))
    assert.is_falsy(support.text(buffer):find("message 1\n"))
    message("message 61")
    support.until_text(buffer, "message 61")
    -- What happens to an item whose page is not loaded is not shown.
    push_item({ item = task.item, status = "completed" })
    local place = support.move_to("message 55")
    local above = place - vim.fn.line("w0")
    while view().items.prev do
      local before = view().items.prev
      support.press("M")
      support.wait("an earlier page", function()
        return view().items.prev ~= before and not view().repaint
      end)
      assert.equal("message 55", vim.api.nvim_get_current_line())
      assert.equal(above, vim.fn.line(".") - vim.fn.line("w0"))
    end
    local text = support.text(buffer)
    assert.is_truthy(text:find("^### ✓ run: Explore · completed\n\n### ↳ sub%-agent\n\nmessage 60\n\n## codex\n\nmessage 1\n"), text)
    assert.is_falsy(text:find("Earlier items"))
    for index = 1, 61 do
      assert.is_truthy(text:find("message " .. index .. "\n"), index)
    end
  end)

  it("loses nothing when it was shortened in the middle of what a sub-agent did", function()
    support.reset()
    local list = require("loomd.items").new("r")
    local function item(number, more)
      return vim.tbl_extend("keep", more or {}, { item = number, seq = number, lastSeq = number, kind = "message", role = "agent", text = "message " .. number })
    end
    local page = { item(1), item(2), item(3), item(4, { parent = 1 }), item(5) }
    for _, each in ipairs(page) do
      list:put(each)
    end
    list:forget(2) -- the call and its message
    assert.equal(5, list.prev)
    local function numbers()
      return vim.tbl_map(function(block)
        return block.item.item
      end, list.blocks)
    end
    list:put(item(4, { parent = 1, text = "grown" }))
    list:put(item(2, { text = "grown" }))
    assert.same({ 2, 3, 5 }, numbers())
    assert.equal("grown", list.blocks[1].item.text)
    list.prev = 4
    list:prepend({ page[4] })
    list.prev = nil
    list:prepend({ page[1], page[2], page[3] })
    assert.same({ 1, 4, 2, 3, 5 }, numbers())
  end)

  it("goes on where it was after the server was restarted, with nothing twice", function()
    start()
    local buffer = open()
    local first = message("one")
    append(first.item, { text = " two" })
    support.until_text(buffer, "one two")
    local requests = vim.tbl_filter(function(call)
      return call.method == "run/attach"
    end, support.request("fake/calls").calls)
    assert.same({ runId = id, as = "items", afterSeq = 0 }, requests[1].params)
    -- The newest entry is sent again, whole.
    view().items:attach()
    append(first.item, { text = " three" })
    support.until_text(buffer, "one two three\n")
    requests = vim.tbl_filter(function(call)
      return call.method == "run/attach"
    end, support.request("fake/calls").calls)
    assert.same({ runId = id, as = "items", afterSeq = 1 }, requests[2].params)
  end)

  it("and the raw output of the same run are both live", function()
    start()
    local buffer = open()
    require("loomd.view.refresh_timer").interval_ms = 20
    vim.cmd("wincmd p")
    local output = require("loomd.view.output").open(support.store().runs[id])
    local function write(offset, text)
      push({ kind = "output", stream = "stdout", offset = offset, text = text })
    end
    write(0, "raw 1\n")
    message("message 1")
    support.until_text(output, "raw 1")
    support.until_text(buffer, "message 1")
    write(6, "raw 2\n")
    message("message 2")
    support.until_text(output, "raw 1\nraw 2")
    support.until_text(buffer, "message 2")
    vim.cmd("bwipeout! " .. output)
    message("message 3")
    support.until_text(buffer, "message 3")
  end)

  it("of 300 items is drawn with little work: each item once, and few writes to the buffer", function()
    start()
    for index = 1, 300 do
      local item = { kind = "message", role = "agent", turn = 1, text = ("line of %d\n"):format(index):rep(10) }
      if index % 3 == 0 then
        item = { kind = "tool", turn = 1, title = "tool " .. index, toolKind = "execute", status = "completed", locations = {}, diffs = {}, permissions = {}, output = { text = ("output\n"):rep(40) } }
      end
      support.server().request("fake/item", { runId = id, item = item })
    end
    support.request("fake/calls")
    local draw, drawn, written = require("loomd.draw"), 0, 0
    local draw_block, set_lines = draw.draw_block, vim.api.nvim_buf_set_lines
    draw.draw_block = function(...)
      drawn = drawn + 1
      return draw_block(...)
    end
    vim.api.nvim_buf_set_lines = function(...)
      written = written + 1
      return set_lines(...)
    end
    local buffer = open()
    support.until_text(buffer, "line of 299\n")
    vim.api.nvim_buf_set_lines = set_lines
    -- The last page has 200; its last items may come again when the view attaches.
    assert.is_true(drawn >= 200 and drawn < 220, drawn .. " drawings")
    assert.is_true(written < 20, written .. " writes")
  end)

  it("shows an item that cannot be drawn as it came", function()
    local item = { item = 1, at = 0, kind = "tool", title = { "no text" }, status = { "no state" }, content = 5 }
    local text = table.concat(require("loomd.draw").draw(item, {}).lines, "\n")
    assert.is_truthy(text:find("### · tool", 1, true), text)
    assert.is_truthy(text:find('"no text"', 1, true) and text:find('"no state"', 1, true), text)
  end)

  it("has a last line for the list, from the newest message or tool that counts", function()
    support.reset()
    local last_line = require("loomd.view.last_lines").last_line
    local function said(text, more)
      return vim.tbl_extend("keep", more or {}, { kind = "message", role = "agent", text = text })
    end
    assert.equal("in two lines", last_line({ said("one\nin two lines\n") }))
    assert.equal("another", last_line({ said("one"), said("another"), { kind = "turn" } }))
    assert.equal("whole", last_line({ said("whole"), said("ha", { abandoned = true }), said("", {}), said("prompt", { role = "user" }) }))
    assert.equal("make", last_line({ said("whole"), { kind = "tool", title = "make" } }))
  end)
end)

describe("the plugin", function()
  it("folds nothing itself", function()
    for _, path in ipairs(vim.fn.globpath(support.plugin .. "/lua", "**/*.lua", false, true)) do
      if not path:find("/types%.lua$") then
        local text = table.concat(vim.fn.readfile(path), "\n")
        for _, word in ipairs({ "sessionUpdate", '"loomd/', "'loomd/", "_chunk" }) do
          assert.is_falsy(text:find(word, 1, true), path .. ": " .. word)
        end
      end
    end
  end)
end)
