import { embedded, fileLink, partsOf, promptOf } from "../../src/transcript/context";
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import type { Item, ItemAppend } from "../../src/protocol";
import { inputParts, outputText, plainText, Transcript, type ItemOf } from "../../src/transcript/items";
import { message, question, resolved, tool } from "../lib/runs";

const transcriptOf = (...items: Item[]) => {
  const transcript = new Transcript();
  transcript.takePage(items, false);
  return transcript;
};
const append = (transcript: Transcript, item: number, seq: number, append: ItemAppend) => transcript.takeChange({ runId: "1", seq, item, append });
const rows = (transcript: Transcript, isOpen: (item: Item) => boolean = () => true) => transcript.rows(isOpen).map(({ number, depth }) => [number, depth]);

describe("the transcript", () => {
  it("appends text, once, and not what a whole item has already", () => {
    const transcript = transcriptOf(message(1, "Hel", { lastSeq: 5 }));
    append(transcript, 1, 5, { text: "Hel" });
    append(transcript, 1, 6, { text: "l" });
    // One entry may come in several pieces.
    append(transcript, 1, 6, { text: "o" });
    strictEqual(plainText(transcript.get(1)!), "Hello");
    strictEqual(transcript.get(1)!.lastSeq, 6);
    transcript.takeChange({ runId: "1", seq: 6, item: message(1, "Hello", { lastSeq: 6 }) });
    append(transcript, 1, 6, { text: "o" });
    strictEqual(plainText(transcript.get(1)!), "Hello");
  });

  it("appends to output and errors, and drops bytes behind what is omitted", () => {
    const transcript = transcriptOf(tool(1), { ...tool(2), kind: "command", output: { text: "out\n" } } as Item);
    append(transcript, 1, 2, { output: { text: "début…" } });
    append(transcript, 2, 3, { output: { text: "more\n" } });
    append(transcript, 2, 4, { stderr: { text: "wrong\n" } });
    append(transcript, 2, 5, { stderr: { text: "again\n" } });
    strictEqual((transcript.get(1) as ItemOf<"tool">).output!.text, "début…");
    const command = transcript.get(2) as ItemOf<"command">;
    deepStrictEqual([command.output.text, command.stderr!.text], ["out\nmore\n", "wrong\nagain\n"]);
    const cut = transcriptOf(tool(1, { output: { text: "äöü-end", omittedAt: 4, omittedBytes: 10 } }));
    append(cut, 1, 2, { output: { text: "+é", dropBytes: 3 } });
    deepStrictEqual((cut.get(1) as ItemOf<"tool">).output, { text: "äöend+é", omittedAt: 4, omittedBytes: 13 });
    ok(outputText({ text: "äöend", omittedAt: 4, omittedBytes: 13 }).startsWith("äö\n… 13 bytes omitted"));
  });

  it("keeps the newest state of an item, whatever the order of answers", () => {
    const transcript = transcriptOf(tool(1, { lastSeq: 9, status: "failed" }));
    transcript.takePage([tool(1, { lastSeq: 4, status: "pending" })], true);
    strictEqual((transcript.get(1) as ItemOf<"tool">).status, "failed");
  });

  it("knows what is omitted, until it was read by its number", () => {
    const omitted = tool(1, { diffs: [{ path: "a", kind: "modify", omitted: true }] });
    const transcript = transcriptOf(omitted);
    ok(transcript.isIncomplete(1));
    transcript.takePage([tool(1, { diffs: [{ path: "a", kind: "modify", oldText: "a", newText: "b" }] })], true);
    ok(!transcript.isIncomplete(1));
    // The same state comes again after a break. What was read stays.
    transcript.takeChange({ runId: "1", seq: 1, item: omitted });
    ok(!transcript.isIncomplete(1));
    strictEqual((transcript.get(1) as ItemOf<"tool">).diffs[0]!.newText, "b");
  });

  it("puts earlier pages before later ones, and passes over changes of items in pages that are not here", () => {
    const transcript = new Transcript();
    transcript.prev = 5;
    transcript.takePage([message(5, "five"), message(6, "six")], false);
    transcript.takeChange({ runId: "1", seq: 9, item: tool(2, { lastSeq: 9 }) });
    append(transcript, 3, 10, { text: "x" });
    deepStrictEqual(rows(transcript), [[5, 0], [6, 0]]);
    transcript.prev = 3;
    transcript.takePage([message(3, "three"), message(4, "four")], false);
    deepStrictEqual(rows(transcript).map(([number]) => number), [3, 4, 5, 6]);
  });

  it("puts a sub-agent's items below the call that started it, folded as one", () => {
    const transcript = transcriptOf(tool(1), message(2, "inside", { parent: 1 }), message(3, "beside"), tool(4, { parent: 1 }), message(5, "deeper", { parent: 4 }));
    deepStrictEqual(rows(transcript), [[1, 0], [2, 1], [4, 1], [5, 2], [3, 0]]);
    deepStrictEqual(rows(transcript, () => false), [[1, 0], [3, 0]]);
    deepStrictEqual(transcript.childrenOf(1), [2, 4]);
    ok(transcript.isInside(5, 1));
  });

  it("moves a sub-agent's items below their call when its page comes", () => {
    const transcript = transcriptOf(message(7, "inside", { parent: 2 }), message(8, "beside"));
    deepStrictEqual(rows(transcript), [[7, 0], [8, 0]]);
    transcript.takePage([tool(2)], true);
    deepStrictEqual(rows(transcript), [[2, 0], [7, 1], [8, 0]]);
  });

  it("survives calls inside of calls, however deep, and parents that cannot be", () => {
    const transcript = transcriptOf(...Array.from({ length: 20_000 }, (_, at) => tool(at + 1, at > 0 ? { parent: at } : {})), message(20_001, "odd", { parent: 20_001 }));
    strictEqual(rows(transcript).length, 20_001);
  });

  it("knows the open questions, oldest first", () => {
    const transcript = transcriptOf(question(2), question(4));
    transcript.takePage([question(1)], false);
    deepStrictEqual(transcript.questions().map(({ item }) => item), [1, 2, 4]);
    const before = transcript.structure;
    transcript.takeChange({ runId: "1", seq: 1002, item: resolved(2, "yes") });
    deepStrictEqual(transcript.questions().map(({ item }) => item), [1, 4]);
    ok(transcript.structure > before);
  });

  it("shows all parts of a message as withdrawn, also one that comes later", () => {
    const transcript = new Transcript();
    transcript.takePage([message(3, "b", { continues: 2 }), message(4, "c", { continues: 3, abandoned: true }), message(5, "kept")], false);
    transcript.takePage([message(1, "x"), message(2, "a")], false);
    deepStrictEqual([1, 2, 3, 4, 5].map(number => transcript.isWithdrawn(number)), [false, true, true, true, false]);
  });

  it("shows of a tool's input what its title, files and changes do not say", () => {
    const input = (rawInput: Record<string, unknown>, more: Partial<ItemOf<"tool">> = {}) => inputParts(tool(1, { title: "ls", rawInput, ...more }) as ItemOf<"tool">);
    deepStrictEqual(input({ command: "ls" }), []);
    deepStrictEqual(input({ command: "ls", cwd: "/w", n: 1 }), [{ label: "cwd", text: "/w" }, { label: "n", text: "1" }]);
    deepStrictEqual(input({ file: "/a", new: "b" }, { diffs: [{ path: "/a", kind: "modify", newText: "b" }] }), []);
    deepStrictEqual(input({ omitted: true }), []);
  });
});

describe("a prompt that is taken back", () => {
  it("has the text and everything that went with it", () => {
    const context = [fileLink("file:///w/a.txt", "a.txt"), embedded("file:///w/b.txt#L1", "b.txt:1", "one"), { label: "image", detail: "image", block: { type: "image", mimeType: "image/png", data: "AAAA" } }];
    const parts = partsOf(promptOf("Fix it", context) as Record<string, unknown>[]);
    strictEqual(parts.text, "Fix it");
    deepStrictEqual(parts.context.map(({ block }) => block), context.map(({ block }) => block));
    deepStrictEqual(parts.context.map(({ label, detail }) => [label, detail]), [["a.txt", "file:///w/a.txt"], ["b.txt#L1", "one"], ["image", "image"]]);
  });
});
