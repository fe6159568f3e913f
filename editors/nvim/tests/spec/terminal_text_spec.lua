-- What a program wrote for a terminal, as text; and texts in which nothing is invisible.

local format = require("loomd.format")
local plain = require("loomd.terminal_text").plain

describe("text for a terminal", function()
  local cases = {
    { "drops titles, links and the clipboard", "a\27]0;title\7b\27]8;;https://x\27\\c\27]52;c;aGk=\7d", "abcd" },
    { "drops strings of devices and applications", "a\27P1$r0m\27\\b\27_Gf=1;AAAA\27\\c\27^x\27\\d\27Xsos\27\\e", "abcde" },
    { "drops character sets, modes and colors", "\27(B\27)0a\27=\27>\27#8\27cb\27[?25l\27[>4;1m\27[!p\27[38:2::1:2:3mc", "abc" },
    { "overwrites after a carriage return", "100%\r 42%\rx\nnext", "x42%\nnext" },
    { "takes a line end of two characters as one", "a\r\nb\r\r\nc", "a\nb\nc" },
    { "overwrites after backspaces", "abc\b\bX\ba", "aac" },
    { "erases", "Downloading 10%\r\27[KDone\nabc\27[2K\rx\nabcdef\27[3D\27[K\nab\27[1Kc", "Done\nx\nabc\n  c" },
    { "moves in a line", "a\27[3Cb\27[1GX\27[2P\nabc\27[2D\27[X", "X b\na c" },
    { "drops other control characters", "a\0b\7c\127d\1e\tf", "abcde\tf" },
    { "counts characters, not bytes", "a😀b\b\bX", "aXb" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      assert.equal(case[3], plain(case[2]))
    end)
  end

  it("ends a movement of absurd length", function()
    assert.equal(10000, #plain("a\27[999999999Gb"))
  end)

  it("marks what nobody would see in a title", function()
    assert.equal("rm ⟨U+202E⟩ x⟨U+200B⟩ y", format.one_line("rm \226\128\174 x\226\128\139 \27(By"))
  end)

  it("shows a tool that the run's end came before as not finished", function()
    local draw = require("loomd.draw")
    local item = { kind = "tool", item = 1, seq = 1, lastSeq = 2, at = 1, endAt = 2, toolCallId = "t", title = "make", toolKind = "execute", status = "in_progress", locations = {}, diffs = {}, permissions = {} }
    local text = table.concat(draw.draw(item, { arrow = "" }).lines, "\n")
    assert.is_truthy(text:find("not finished", 1, true), text)
  end)

  it("draws an item whose names and texts have line ends where a line stands", function()
    local draw = require("loomd.draw")
    local name = "a\nb"
    local diffs = { { path = name, kind = "modify", oldText = "x\n", newText = "y\n" }, { path = name, kind = "move" }, { path = name, kind = "add", omitted = true } }
    local items = {
      { kind = "tool", toolCallId = name, title = name, toolKind = name, status = name, locations = { { path = name } }, diffs = diffs, permissions = {}, rawInput = { [name] = name } },
      { kind = "message", role = "agent", text = name, blocks = { { type = name, uri = name } } },
      { kind = "notice", severity = name, title = name, description = name },
      { kind = "plan", entries = { { content = name, status = name } } },
      { kind = "other", title = name, data = { [name] = name } },
      { kind = name, title = name },
    }
    for number, item in ipairs(items) do
      local drawing = draw.draw(vim.tbl_extend("keep", item, { item = number, seq = 1, lastSeq = 1, at = 1, turn = 1 }), { arrow = "", provider = name })
      for _, line in ipairs(drawing.lines) do
        assert.is_falsy(line:find("\n"), line)
      end
      assert.is_falsy((drawing.summary or ""):find("\n"))
    end
    assert.equal("a b", require("loomd.change").display_path({ cwd = "/w" }, "/w/a\nb"))
  end)
end)
