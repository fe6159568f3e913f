// What a program wrote for a terminal, as text.
import { strictEqual } from "node:assert";
import { plainTerminalText, terminalText } from "../../src/runs/terminal-text";

describe("text for a terminal", () => {
  const CASES: [name: string, text: string, plain: string][] = [
    ["titles, links and the clipboard are dropped", "a\x1b]0;title\x07b\x1b]8;;https://x\x1b\\c\x1b]8;;\x1b\\\x1b]52;c;aGk=\x07d", "abcd"],
    ["device control, application and privacy strings are dropped", "a\x1bP1$r0m\x1b\\b\x1b_Gf=1;AAAA\x1b\\c\x1b^x\x1b\\d\x1bXsos\x1b\\e\x90q\x9cf", "abcdef"],
    ["a string without an end hides no more than itself and its line", "a\x1b]0;title\nb", "a\nb"],
    ["character sets, modes and short sequences are dropped", "\x1b(B\x1b)0a\x1b=\x1b>\x1b7\x1b8\x1b#8\x1bcb\x1b[?25l\x1b[>4;1m\x1b[!p\x9b31mc", "abc"],
    ["a carriage return overwrites from the line's beginning", "100%\r 42%\rx\nnext", "x42%\nnext"],
    ["a line end of two characters is one", "a\r\nb\r\r\nc", "a\nb\nc"],
    ["backspaces overwrite", "abc\b\bX\ba", "aac"],
    ["erased parts are gone", "Downloading 10%\r\x1b[KDone\nabc\x1b[2K\rx\nabcdef\x1b[3D\x1b[K\nab\x1b[1Kc", "Done\nx\nabc\n  c"],
    ["movements in a line are made", "a\x1b[3Cb\x1b[1GX\x1b[2P\nabc\x1b[2D\x1b[X", "X b\na c"],
    ["movements of absurd length end", "a\x1b[999999999Gb\x1b[999999999Dc", `c${" ".repeat(9_998)}b`],
    ["other control characters are dropped", "a\x00b\x07c\x7fd\x85e\tf", "abcde\tf"],
    ["characters outside of the basic plane are one", "a😀b\b\bX", "aXb"],
  ];
  for (const [name, text, plain] of CASES) it(name, () => strictEqual(plainTerminalText(text), plain));

  it("colors stay, in one form", () => {
    strictEqual(terminalText("\x1b[38:2::1:2:3ma\x1b[38:2:1:2:3mb\x1b[48:5:9mc\x1b[4:3md\x1b[58:5:1me\x1b[m"), "\x1b[38;2;1;2;3ma\x1b[38;2;1;2;3mb\x1b[48;5;9mc\x1b[4mde\x1b[m");
  });

  it("an overwritten text has the colors that it was written with", () => {
    strictEqual(terminalText("\x1b[31mred\r\x1b[32mg\x1b[0m!\nplain"), "\x1b[0m\x1b[32mg\x1b[0m!\x1b[0m\x1b[31md\x1b[0m\nplain");
    strictEqual(terminalText("\x1b[31mred\nab\rX"), "\x1b[31mred\nXb", "colors hold over lines");
  });

  it("reads a megabyte of nothing but sequences", () => {
    strictEqual(terminalText("\x1b]".repeat(500_000)), "");
    strictEqual(plainTerminalText("\x1b[1m\r".repeat(200_000) + "x"), "x");
    strictEqual(plainTerminalText("\x1b]x".repeat(300_000)), "x".repeat(299_999));
  });
});
