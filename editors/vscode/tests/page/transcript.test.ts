import { deepStrictEqual, ok, strictEqual } from "node:assert";
import type { Server } from "node:http";
import type { Browser, BrowserContext } from "playwright-core";
import type { Entry } from "../../src/protocol";
import { faults } from "../lib/axe";
import { openBrowser } from "../lib/browser";
import { aQuestion, chunk, state, update } from "../lib/runs";
import { serve, Sheet } from "./harness";

describe("the transcript's page", () => {
  let browser: Browser, context: BrowserContext, outside: Set<string>, server: Server, address: string, sheet: Sheet;
  before(async () => {
    ({ browser, context, outside } = await openBrowser());
    ({ server, address } = await serve());
  });
  after(async () => {
    await browser.close();
    server.close();
  });
  beforeEach(async () => {
    sheet = await Sheet.open(context, address);
    await sheet.head();
  });
  afterEach(async () => {
    await sheet.page.close();
    deepStrictEqual(sheet.complaints, [], "the page complained");
    deepStrictEqual([...outside], [], "the page went outside");
  });

  const tool = (id: string, more: Record<string, unknown> = {}) => update({ sessionUpdate: "tool_call", toolCallId: id, title: `tool ${id}`, kind: "execute", status: "pending", ...more });
  const asked = (id: string, more: Record<string, unknown> = {}): Entry => ({ kind: "permission", ...aQuestion({ toolCallId: id, ...more }, { permissionId: `p-${id}` }) }) as Entry;
  const item = (at: number) => sheet.page.locator(`article[data-index="${at}"]`);

  it("renders a message as it streams", async () => {
    await sheet.entries(chunk("user_message_chunk", "u", "Mend it"), chunk("agent_message_chunk", "a", "I **will"));
    await item(1).getByText("I **will").waitFor();
    await sheet.entries(chunk("agent_message_chunk", "a", " mend** it."));
    await item(1).locator("strong", { hasText: "will mend" }).waitFor();
    strictEqual(await sheet.page.locator("article").count(), 2);
  });

  it("lets no markup, script, picture or connection of an agent through", async () => {
    const trick = `<img src=x onerror="window.broken=1"><script>window.broken=1</script> ![p](http://192.0.2.1/p.png) [click](javascript:window.broken=1) <b>bold</b>`;
    await sheet.entries(chunk("agent_message_chunk", "a", trick), chunk("user_message_chunk", "u", trick), tool("1", { title: trick, content: [{ type: "content", content: { type: "text", text: trick } }] }));
    await item(2).waitFor();
    strictEqual(await sheet.page.locator("article img, article script, article b, article a[href^='javascript']").count(), 0);
    strictEqual(await sheet.page.evaluate(() => (window as unknown as { broken?: number }).broken), undefined);
    const fetched = await sheet.page.evaluate(() => fetch("/theme.css").then(() => "reached", () => "refused"));
    strictEqual(fetched, "refused");
    sheet.complaints.length = 0;
  });

  it("folds thoughts, and opens them by keyboard", async () => {
    await sheet.entries(chunk("agent_thought_chunk", "t", "first line\n\nsecond line"));
    const fold = item(0).locator("button.toggle");
    strictEqual(await fold.getAttribute("aria-expanded"), "false");
    strictEqual(await item(0).getByText("second line").count(), 0);
    await item(0).focus();
    await sheet.page.keyboard.press("Enter");
    await item(0).getByText("second line").waitFor();
    await item(0).locator('button.toggle[aria-expanded="true"]').waitFor();
  });

  it("shows a tool call's state, its live output in colour, and its end", async () => {
    await sheet.entries(tool("1", { status: "in_progress", rawInput: { command: "make" } }));
    await item(0).getByText("running").waitFor();
    await sheet.entries(update({ sessionUpdate: "tool_call_update", toolCallId: "1", _meta: { "loomd/output": { offset: 0, text: "one\n\x1b[31mred\x1b[0m\n" } } }));
    await item(0).locator(".output .fg-ansi-red", { hasText: "red" }).waitFor();
    await sheet.entries(update({ sessionUpdate: "tool_call_update", toolCallId: "1", status: "completed" }));
    await item(0).locator(".tool-state", { hasText: "done" }).waitFor();
  });

  it("shows differences with signs and numbers, and opens them in the editor", async () => {
    await sheet.entries(tool("1", { kind: "edit", content: [{ type: "diff", path: "/w/a.ts", oldText: "one\ntwo\nthree\n", newText: "one\nTWO\nthree\n" }] }));
    await item(0).locator(".diff-line").nth(3).waitFor();
    deepStrictEqual(await item(0).locator(".diff-line").allInnerTexts(), ["1\n \none", "2\n-\ntwo", "2\n+\nTWO", "3\n \nthree"]);
    await item(0).getByRole("button", { name: /Open the difference/ }).click();
    deepStrictEqual(await sheet.told("openDiff"), { say: "openDiff", path: "/w/a.ts", oldText: "one\ntwo\nthree\n", newText: "one\nTWO\nthree\n" });
    await item(0).locator(".file-link").click();
    deepStrictEqual(await sheet.told("openFile"), { say: "openFile", path: "/w/a.ts" });
  });

  it("shows a patch where an agent told only that", async () => {
    await sheet.entries(tool("1", { kind: "edit", _meta: { "loomd/patch": "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n" } }));
    await item(0).locator(".diff-line.added", { hasText: "y" }).waitFor();
    strictEqual(await item(0).locator(".diff-line").count(), 2);
  });

  it("answers a question by click, once, and shows how it was answered", async () => {
    await sheet.entries(tool("1", { rawInput: { command: "rm -r build" } }), asked("1"));
    await item(0).getByText("rm -r build").waitFor();
    await item(0).getByRole("button", { name: "Allow", exact: true }).click();
    deepStrictEqual(await sheet.told("answer"), { say: "answer", permissionId: "p-1", optionId: "yes" });
    await item(0).getByRole("button", { name: "Reject", disabled: true }).waitFor();
    await sheet.entries({ kind: "permission", runId: "1", seq: 1e6, at: 1, permissionId: "p-1", status: "resolved", optionId: "yes", by: "client" });
    await item(0).getByText("Allowed: Allow").waitFor();
  });

  it("sends a word along with a denial", async () => {
    await sheet.entries(tool("1"), asked("1"));
    await item(0).getByLabel("A word to the agent").fill("not that folder");
    await item(0).getByRole("button", { name: "Reject" }).click();
    deepStrictEqual(await sheet.told("answer"), { say: "answer", permissionId: "p-1", optionId: "no", message: "not that folder" });
  });

  it("answers by keyboard alone", async () => {
    await sheet.entries(chunk("agent_message_chunk", "a", "hello"), tool("1"), asked("1"));
    await item(0).focus();
    await sheet.page.keyboard.press("ArrowDown");
    await sheet.page.waitForFunction(() => document.activeElement?.getAttribute("data-index") === "1");
    await sheet.page.keyboard.press("d");
    deepStrictEqual(await sheet.told("answer"), { say: "answer", permissionId: "p-1", optionId: "no" });
  });

  it("gives the buttons back when an answer did not arrive", async () => {
    await sheet.entries(tool("1"), asked("1"));
    await item(0).getByRole("button", { name: "Allow", exact: true }).click();
    await sheet.say({ say: "failed", message: "The loomd server was killed." });
    await sheet.page.getByRole("alert").getByText("The loomd server was killed.").waitFor();
    await sheet.page.waitForFunction(() => !document.querySelector<HTMLButtonElement>("article .buttons button")!.disabled);
  });

  it("keeps what is being typed while the item is drawn anew", async () => {
    await sheet.entries(tool("1"), asked("1"));
    await item(0).getByLabel("A word to the agent").fill("not th");
    await sheet.entries(update({ sessionUpdate: "tool_call_update", toolCallId: "1", _meta: { "loomd/output": { offset: 0, text: "more\n" } } }));
    await item(0).getByText("more").waitFor();
    await sheet.page.keyboard.type("at");
    strictEqual(await item(0).getByLabel("A word to the agent").inputValue(), "not that");
  });

  it("tells of a question that is out of sight, and leads to it", async () => {
    await sheet.entries(tool("1"), asked("1"), ...Array.from({ length: 200 }, (_, at) => chunk("agent_message_chunk", `m${at}`, `message ${at}`)));
    await sheet.page.getByRole("button", { name: "Go to question" }).click();
    await item(0).getByRole("button", { name: "Allow", exact: true }).waitFor();
    await sheet.page.getByRole("button", { name: "Go to question" }).waitFor({ state: "hidden" });
    await sheet.page.locator("[role=status][aria-live]", { hasText: "asks for permission: tool 1" }).waitFor({ state: "attached" });
  });

  it("queues or steers a follow-up, and keeps the words until they have arrived", async () => {
    const box = sheet.page.getByLabel("Follow-up to the agent");
    await box.fill("and the tests");
    await sheet.page.getByLabel("When it is taken").selectOption("steer");
    await box.press("Enter");
    deepStrictEqual(await sheet.told("send"), { say: "send", text: "and the tests", mode: "steer" });
    strictEqual(await box.inputValue(), "and the tests");
    await sheet.say({ say: "sent" });
    await sheet.page.waitForFunction(() => document.querySelector<HTMLTextAreaElement>(".composer textarea")!.value === "");
    await box.fill("line");
    await box.press("Shift+Enter");
    strictEqual(await box.inputValue(), "line\n");
  });

  it("offers to steer only while a turn runs, and to go on after the end", async () => {
    await sheet.head({ state: "idle" });
    await sheet.page.getByLabel("When it is taken").waitFor({ state: "hidden" });
    await sheet.head({ state: "succeeded", endedAt: Date.now() });
    await sheet.page.getByRole("button", { name: "Go on" }).waitFor();
    await sheet.head({ state: "succeeded", endedAt: Date.now() }, { resume: false });
    await sheet.page.getByLabel("Follow-up to the agent").waitFor({ state: "hidden" });
  });

  it("finds what is out of sight, by keyboard", async () => {
    await sheet.entries(chunk("agent_message_chunk", "needle", "a needle in here, and a Needle there"), ...Array.from({ length: 500 }, (_, at) => chunk("agent_message_chunk", `m${at}`, `hay ${at}`)));
    await sheet.page.getByText("hay 499").waitFor();
    await sheet.page.keyboard.press("Control+f");
    await sheet.page.keyboard.type("needle");
    await sheet.page.getByText("1 of 2").waitFor();
    await item(0).getByText("a needle in here").waitFor();
    await sheet.page.waitForFunction(() => CSS.highlights.get("found-now")!.size === 1 && CSS.highlights.get("found")!.size === 1);
    await sheet.page.keyboard.press("Enter");
    await sheet.page.getByText("2 of 2").waitFor();
    await sheet.page.keyboard.press("Escape");
    await sheet.page.getByRole("search").waitFor({ state: "hidden" });
  });

  it("finds what is folded away, and opens it", async () => {
    await sheet.entries(chunk("agent_thought_chunk", "t", "first\n\na hidden thing"));
    await sheet.page.keyboard.press("Control+f");
    await sheet.page.keyboard.type("hidden thing");
    await item(0).getByText("a hidden thing").waitFor();
  });

  it("copies an item and opens files that the agent names", async () => {
    await sheet.entries(chunk("agent_message_chunk", "a", "See `src/main.rs:12:5` and [this](lib/a.ts#L7)."));
    await item(0).hover();
    await item(0).getByRole("button", { name: "Copy" }).click();
    strictEqual((await sheet.told("copy")).text, "See `src/main.rs:12:5` and [this](lib/a.ts#L7).");
    await item(0).locator(".file-link").click();
    deepStrictEqual(await sheet.told("openFile"), { say: "openFile", path: "src/main.rs", line: 12, column: 5 });
  });

  it("shows usage and the end of a turn", async () => {
    await sheet.head({ usage: { inputTokens: 1200, outputTokens: 34, costUsd: 0.056 } });
    await sheet.page.getByText("1200 tokens in · 34 out · $0.06").waitFor();
    await sheet.entries(state({ state: "running", turn: 1 }, 1000), state({ state: "idle", turn: 1, stopReason: "end_turn", usage: { inputTokens: 7, outputTokens: 8 } }, 4000));
    await item(0).getByText("Turn done · 3 s · 7 tokens in, 8 out").waitFor();
  });

  it("tells a run that was taken over from one that was cancelled", async () => {
    await sheet.entries(state({ state: "cancelled", turn: 1 }));
    await item(0).getByText("Cancelled").waitFor();
    await sheet.head({ state: "cancelled", endedAt: Date.now(), takenOverAt: Date.now() });
    await item(0).getByText("Taken over in a terminal").waitFor();
  });

  it("remembers which run it shows", async () => {
    deepStrictEqual(await sheet.page.evaluate(() => (window as unknown as { kept: unknown }).kept), { runId: "0190-run" });
  });

  it("holds 100,000 messages, draws few, follows the end and leaves it when told", async () => {
    await sheet.page.evaluate(async () => {
      for (let at = 0; at < 100_000; at += 10_000) {
        const entries = Array.from({ length: 10_000 }, (_, i) => ({ kind: "update", runId: "1", seq: at + i + 1, at: 1, update: { sessionUpdate: "agent_message_chunk", messageId: `m${at + i}`, content: { type: "text", text: `message number ${at + i}${(at + i) % 7 === 0 ? "\n\nwith a second paragraph" : ""}` } } }));
        window.dispatchEvent(new MessageEvent("message", { data: { say: "entries", entries, number: -1 - at } }));
        await new Promise(requestAnimationFrame);
      }
    });
    await sheet.page.getByText("message number 99999").waitFor();
    ok((await sheet.page.locator("article").count()) < 60);
    strictEqual(await item(99_999).getAttribute("aria-setsize"), "100000");
    // Through all of it: what is asked for comes into sight, wherever it is.
    await item(99_999).focus();
    await sheet.page.keyboard.press("Home");
    await sheet.page.waitForFunction(() => document.activeElement?.getAttribute("data-index") === "0");
    await sheet.page.locator(".scroller").hover();
    for (let turn = 0; turn < 20; turn++) await sheet.page.mouse.wheel(0, 3000);
    await sheet.page.waitForFunction(() => [...document.querySelectorAll("article")].some(box => Number(box.dataset["index"]) > 300));
    // New entries do not pull a reader away.
    const top = await sheet.page.evaluate(async () => {
      const scroller = document.querySelector(".scroller")!;
      // The wheel's last turns are still being worked on: until it stands still.
      for (let still = 0, last = -1; still < 30; still = scroller.scrollTop === last ? still + 1 : 0) {
        last = scroller.scrollTop;
        await new Promise(requestAnimationFrame);
      }
      return scroller.scrollTop;
    });
    await sheet.entries(chunk("agent_message_chunk", "late", "late"));
    await sheet.page.getByRole("button", { name: "Newest" }).waitFor();
    ok(Math.abs((await sheet.page.evaluate(() => document.querySelector(".scroller")!.scrollTop)) - top) < 400);
    await sheet.page.getByRole("button", { name: "Newest" }).click();
    await item(100_000).getByText("late").waitFor();
    // Whatever is scrolled past, only what is near is drawn.
    const most = await sheet.page.evaluate(async () => {
      const scroller = document.querySelector(".scroller")!;
      let most = 0;
      for (let count = 0; count < 60; count++) {
        scroller.scrollTop -= 5000;
        await new Promise(requestAnimationFrame);
        most = Math.max(most, document.querySelectorAll("article").length);
      }
      return most;
    });
    ok(most < 80, `${most} items are drawn`);
  });

  it("has no fault that the accessibility rules know", async () => {
    await sheet.entries(
      chunk("user_message_chunk", "u", "Mend it"),
      chunk("agent_thought_chunk", "t", "hm"),
      chunk("agent_message_chunk", "a", "# Title\n\nText with `code`, a [link](https://example.com) and\n\n```js\nlet a = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
      update({ sessionUpdate: "plan", entries: [{ content: "a", status: "completed" }, { content: "b", status: "in_progress" }] }),
      tool("1", { kind: "edit", content: [{ type: "diff", path: "/w/a.ts", oldText: "one\n", newText: "two\n" }] }),
      tool("2", { status: "completed", content: [{ type: "content", content: { type: "text", text: "out" } }] }),
      tool("3"),
      asked("3"),
      state({ state: "idle", turn: 1 }),
    );
    await item(6).getByRole("button", { name: "Reject" }).waitFor();
    deepStrictEqual(await faults(sheet.page), []);
    sheet.complaints.length = 0;
  });

  it("says every state in words", async () => {
    for (const status of ["pending", "in_progress", "completed", "failed"]) await sheet.entries(tool(status, { status }));
    await item(3).getByText("failed", { exact: true }).last().waitFor();
    deepStrictEqual(await sheet.page.locator(".tool-state").allInnerTexts(), ["not yet begun", "running", "done", "failed"]);
  });
});
