import { deepStrictEqual, ok, strictEqual } from "node:assert";
import type { Entry } from "../../src/protocol";
import { Output, OUTPUT_KEPT, outputOf, plainText, Transcript, type Message, type Tool, type Turn } from "../../src/transcript/fold";
import { aQuestion, chunk, state, update } from "../lib/runs";

const fold = (...entries: Entry[]) => {
  const transcript = new Transcript();
  transcript.add(entries);
  return transcript;
};

describe("the transcript", () => {
  it("joins chunks of one message, also when others come between", () => {
    const { items } = fold(chunk("user_message_chunk", "u", "Do it"), chunk("agent_message_chunk", "a", "Hel"), chunk("agent_thought_chunk", "t", "hm"), chunk("agent_message_chunk", "a", "lo"));
    deepStrictEqual(items.map(item => [item.is, plainText(item)]), [["user", "Do it"], ["agent", "Hello"], ["thought", "hm"]]);
  });

  it("tells what is new or different, by index", () => {
    const transcript = new Transcript();
    deepStrictEqual(transcript.add([chunk("agent_message_chunk", "a", "x"), chunk("agent_message_chunk", "b", "y")]), [0, 1]);
    deepStrictEqual(transcript.add([chunk("agent_message_chunk", "a", "x")]), [0]);
  });

  it("marks a message that was given up", () => {
    const { items } = fold(chunk("agent_message_chunk", "a", "half"), chunk("agent_message_chunk", "a", "", { "loomd/abandoned": true }));
    ok((items[0] as Message).abandoned);
  });

  it("replaces a message by what contradicts it", () => {
    const { items } = fold(chunk("agent_message_chunk", "a", "streamed"), chunk("agent_message_chunk", "a", "final", { "loomd/contradiction": { at: 0 } }));
    strictEqual((items[0] as Message).text, "final");
  });

  it("follows a tool call: state, growing output, closing content", () => {
    const meta = (offset: number, text: string) => ({ _meta: { "loomd/output": { offset, text } } });
    const { items } = fold(
      update({ sessionUpdate: "tool_call", toolCallId: "1", title: "make", kind: "execute", status: "in_progress", rawInput: { command: ["make", "all"] } }),
      update({ sessionUpdate: "tool_call_update", toolCallId: "1", ...meta(0, "äb") }),
      update({ sessionUpdate: "tool_call_update", toolCallId: "1", ...meta(3, "c\n") }),
      update({ sessionUpdate: "tool_call_update", toolCallId: "1", status: "completed", content: [{ type: "content", content: { type: "text", text: "äbc\n" } }] }, 5000),
    );
    const tool = items[0] as Tool;
    strictEqual(items.length, 1);
    deepStrictEqual([tool.status, tool.command, tool.endedAt, outputOf(tool)], ["completed", "make all", 5000, "äbc\n"]);
  });

  it("takes the text of the content where nothing streamed", () => {
    const { items } = fold(update({ sessionUpdate: "tool_call", toolCallId: "1", title: "t", content: [{ type: "content", content: { type: "text", text: "whole" } }] }));
    strictEqual(outputOf(items[0] as Tool), "whole");
  });

  it("puts a sub-agent's items under their tool call", () => {
    const { items } = fold(chunk("agent_message_chunk", "s", "inside", { "loomd/parentToolCallId": "1" }));
    strictEqual(items[0]!.parent, "1");
  });

  it("puts questions and answers at their tool call", () => {
    const transcript = fold(update({ sessionUpdate: "tool_call", toolCallId: "1", title: "touch", status: "pending" }), { kind: "permission", ...aQuestion({ toolCallId: "1" }) } as Entry);
    strictEqual(transcript.items.length, 1);
    strictEqual(transcript.open().length, 1);
    transcript.add([{ kind: "permission", runId: "1", seq: 99, at: 1, permissionId: "p1", status: "resolved", optionId: "yes", by: "client" }]);
    strictEqual(transcript.open().length, 0);
    deepStrictEqual((transcript.items[0] as Tool).questions[0]!.answer, { cancelled: false, by: "client", optionId: "yes" });
  });

  it("shows a question whose tool call was never told", () => {
    const transcript = fold({ kind: "permission", ...aQuestion({ toolCallId: "9", title: "rm", kind: "execute", rawInput: { command: "rm x" } }) } as Entry);
    strictEqual((transcript.items[0] as Tool).command, "rm x");
  });

  it("keeps one plan for a turn, and a mark at its end", () => {
    const { items } = fold(
      state({ state: "running", turn: 1 }, 1000),
      update({ sessionUpdate: "plan", entries: [{ content: "a", status: "pending" }] }),
      update({ sessionUpdate: "plan", entries: [{ content: "a", status: "completed" }] }),
      state({ state: "idle", turn: 1, stopReason: "end_turn", usage: { inputTokens: 1 } }, 9000),
      update({ sessionUpdate: "plan", entries: [] }),
    );
    deepStrictEqual(items.map(({ is }) => is), ["plan", "turn", "plan"]);
    strictEqual((items[1] as Turn).startedAt, 1000);
  });

  it("lets updates pass that it does not know", () => {
    strictEqual(fold(update({ sessionUpdate: "weather", sunny: true }), update({} as never)).items.length, 0);
  });

  it("folds 100,000 entries", () => {
    const entries = Array.from({ length: 100_000 }, (_, at) => chunk("agent_message_chunk", `m${at >> 1}`, "word "));
    strictEqual(fold(...entries.slice(0, 10)).items.length, 5);
    const transcript = new Transcript();
    for (let at = 0; at < entries.length; at += 5000) transcript.add(entries.slice(at, at + 5000));
    strictEqual(transcript.items.length, 50_000);
  });
});

describe("a tool's output", () => {
  it("is cut at a byte and goes on from there", () => {
    const output = new Output();
    output.write(0, "grüße\n");
    output.write(4, "n\n");
    strictEqual(output.text, "grün\n");
    strictEqual(output.end, 6);
  });

  it("keeps its end, and counts on", () => {
    const output = new Output();
    let offset = 0;
    for (let line = 0; line < 50_000; line++) {
      const text = `line ${line} with some words\n`;
      output.write(offset, text);
      offset += text.length;
    }
    strictEqual(output.end, offset);
    ok(output.text.length <= 2 * OUTPUT_KEPT);
    ok(output.text.startsWith("line "));
    ok(output.text.endsWith("line 49999 with some words\n"));
  });
});
