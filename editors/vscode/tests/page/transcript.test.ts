import { deepStrictEqual, ok, strictEqual } from "node:assert";
import type { Server } from "node:http";
import type { Browser, BrowserContext } from "playwright-core";
import type { Item } from "../../src/protocol";
import { accessibilityViolations } from "../lib/axe";
import { openBrowser } from "../lib/browser";
import { embedded, fileLink } from "../../src/transcript/context";
import { message, notice, plan, question, resolved, thought, tool, turn } from "../lib/runs";
import { serve, TranscriptPage } from "./harness";

describe("the transcript's page", () => {
  let browser: Browser, context: BrowserContext, otherHosts: Set<string>, server: Server, address: string, transcript: TranscriptPage;
  before(async () => {
    ({ browser, context, otherHosts } = await openBrowser());
    ({ server, address } = await serve());
  });
  after(async () => {
    await browser.close();
    server.close();
  });
  beforeEach(async () => {
    transcript = await TranscriptPage.open(context, address);
    await transcript.header();
  });
  afterEach(async () => {
    await transcript.page.close();
    deepStrictEqual(transcript.errors, [], "the page logged errors");
    deepStrictEqual([...otherHosts], [], "the page connected to other hosts");
  });

  const item = (number: number) => transcript.page.locator(`article[data-item="${number}"]`);
  const allow = (number: number) => item(number).getByRole("button", { name: "Allow", exact: true });
  const many = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => message(from + at, `message ${from + at}`));
  const scrollTop = () => transcript.page.evaluate(() => document.querySelector(".scroller")!.scrollTop);

  it("renders a message as it streams", async () => {
    await transcript.items(message(1, "Fix it", { role: "user" }), message(2, "I **will"));
    await item(2).getByText("I **will").waitFor();
    await transcript.append(2, 9, { text: " fix** it." });
    await item(2).locator("strong", { hasText: "will fix" }).waitFor();
    strictEqual(await transcript.page.locator("article").count(), 2);
  });

  it("keeps a selection, and the place in scrolled code, while a message streams", async () => {
    const code = Array.from({ length: 60 }, (_, line) => `line ${line}`).join("\n");
    await transcript.items(message(1, `Selected words.\n\n\`\`\`\n${code}\n\`\`\`\n\nThe rest`));
    await transcript.page.evaluate(() => {
      const text = document.querySelector("article p")!.firstChild!;
      document.getSelection()!.setBaseAndExtent(text, 0, text, 8);
      document.querySelector("article pre")!.scrollTop = 123;
    });
    for (let seq = 10; seq < 20; seq++) await transcript.append(1, seq, { text: ` and ${seq}` });
    await item(1).getByText("and 19").waitFor();
    deepStrictEqual(await transcript.page.evaluate(() => [document.getSelection()!.toString(), document.querySelector("article pre")!.scrollTop]), ["Selected", 123]);
    // Also in the block that is drawn again.
    await transcript.page.evaluate(() => {
      const text = document.querySelector("article .markdown > p:last-child")!.firstChild!;
      document.getSelection()!.setBaseAndExtent(text, 4, text, 8);
    });
    await transcript.append(1, 20, { text: " at last" });
    strictEqual(await transcript.page.evaluate(() => document.getSelection()!.toString()), "rest");
  });

  it("puts the focus on the first question, else into the message box, else on the last item", async () => {
    const focused = (selector: string) => transcript.page.waitForFunction(selector => document.activeElement?.matches(selector), selector);
    await transcript.items(message(1, "hello"));
    await transcript.send({ kind: "focus" });
    await focused(".composer textarea");
    await transcript.header({ state: "succeeded", endedAt: 2000 }, { resume: false });
    await transcript.send({ kind: "focus" });
    await focused('[data-item="1"]');
    await transcript.header();
    await transcript.changes(question(2), question(3));
    await transcript.send({ kind: "focus" });
    await focused('[data-item="2"]');
  });

  it("blocks markup, scripts, images and connections of an agent", async () => {
    const trick = `<img src=x onerror="window.broken=1"><script>window.broken=1</script> ![p](http://192.0.2.1/p.png) [click](javascript:window.broken=1) <b>bold</b>`;
    await transcript.items(message(1, trick), message(2, trick, { role: "user" }), tool(3, { title: trick, output: { text: trick } }), question(4, { shown: [{ label: trick, text: trick }] }), notice(5, { title: trick }));
    await item(3).waitFor();
    strictEqual(await transcript.page.locator("article img, article script, article b, article a[href^='javascript']").count(), 0);
    strictEqual(await transcript.page.evaluate(() => (window as unknown as { broken?: number }).broken), undefined);
    const fetched = await transcript.page.evaluate(() => fetch("/theme.css").then(() => "reached", () => "refused"));
    strictEqual(fetched, "refused");
    transcript.errors.length = 0;
  });

  it("collapses thoughts, and expands them by keyboard", async () => {
    await transcript.items(thought(1, "first line\n\nsecond line"));
    const fold = item(1).locator("button.toggle");
    strictEqual(await fold.getAttribute("aria-expanded"), "false");
    strictEqual(await item(1).getByText("second line").count(), 0);
    await item(1).focus();
    await transcript.page.keyboard.press("Enter");
    await item(1).getByText("second line").waitFor();
    await item(1).locator('button.toggle[aria-expanded="true"]').waitFor();
  });

  it("shows a tool call's state, its live output in color, and its end", async () => {
    await transcript.items(tool(1, { status: "in_progress", rawInput: { command: "make" } }));
    await item(1).getByText("Running").waitFor();
    await transcript.append(1, 5, { output: { text: "one\n\x1b[31mred\x1b[0m\n" } });
    await item(1).locator(".output .fg-ansi-red", { hasText: "red" }).waitFor();
    await transcript.changes(tool(1, { lastSeq: 6, output: { text: "one\n" } }));
    await item(1).locator(".tool-state", { hasText: "Completed" }).waitFor();
  });

  it("shows a tool that the run's end came before as not finished, and it does not spin", async () => {
    await transcript.items({ ...tool(1, { status: "in_progress" }), endAt: 9 });
    await item(1).locator(".tool-state", { hasText: "Not finished" }).waitFor();
    strictEqual(await item(1).locator(".codicon-modifier-spin").count(), 0);
  });

  it("marks what nobody would see in a title and in a file's name", async () => {
    await transcript.items(tool(1, { title: "rm \u202e x\u200b", diffs: [{ path: "/w/a\u202eb.txt", kind: "modify", oldText: "a\n", newText: "b\n" }] }));
    await item(1).locator(".tool-title", { hasText: "rm � x�" }).waitFor();
    await item(1).locator(".file-link", { hasText: "a�b.txt" }).click();
    strictEqual((await transcript.posted("openFile")).path, "/w/a\u202eb.txt");
  });

  it("opens a link whose escapes are wrong, and survives blocks of any shape", async () => {
    const blocks = [{ type: "resource_link", uri: "file:///tmp/%E9.txt", name: { a: 1 } }, { type: 7, resource: "x" }, { type: "image", data: 5, mimeType: {} }];
    await transcript.items(message(1, "See [it](/tmp/%E9.md#L3) and [that](/tmp/a%20b.md)", { blocks }));
    for (const name of ["%E9.txt", "it", "that"]) await item(1).locator("a", { hasText: name }).first().click();
    const opened = await transcript.page.evaluate(() => (window as unknown as { posted: { kind: string; path?: string }[] }).posted.filter(({ kind }) => kind === "openFile").map(({ path }) => path));
    deepStrictEqual(opened, ["/tmp/%E9.txt", "/tmp/%E9.md", "/tmp/a b.md"]);
  });

  it("shows colors of 24 bits and of 256, each only as far as it reaches", async () => {
    await transcript.items(tool(1, { output: { text: "\x1b[38;2;1;2;3mtrue\x1b[31mred\x1b[38;5;196mcube\x1b[38;5;244mgray\x1b[0mplain" } }));
    const color = (text: string) => item(1).locator(".output span", { hasText: text }).evaluate(span => [(span as HTMLElement).style.color, span.className]);
    deepStrictEqual([await color("true"), await color("red"), await color("cube"), await color("gray")], [["rgb(1, 2, 3)", ""], ["", "fg-ansi-red"], ["rgb(255, 0, 0)", ""], ["rgb(128, 128, 128)", ""]]);
    strictEqual(await item(1).locator(".output span", { hasText: "plain" }).count(), 0);
  });

  it("follows the end of live output until the reader scrolls in it", async () => {
    await transcript.items(tool(1, { status: "in_progress" }));
    const output = (seq: number) => transcript.append(1, seq, { output: { text: Array.from({ length: 50 }, (_, line) => `line ${seq}.${line}\n`).join("") } });
    const left = () => item(1).locator(".output").evaluate(box => box.scrollHeight - box.clientHeight - box.scrollTop);
    for (const seq of [2, 3]) await output(seq);
    ok(Math.abs(await left()) < 2, `${await left()} px from the end`);
    await item(1).locator(".output").evaluate(box => (box.scrollTop = 40));
    await output(4);
    strictEqual(await item(1).locator(".output").evaluate(box => box.scrollTop), 40);
    await item(1).locator(".output").evaluate(box => (box.scrollTop = box.scrollHeight));
    await output(5);
    ok(Math.abs(await left()) < 2);
  });

  it("shows diffs with signs and line numbers, and opens them in the editor", async () => {
    await transcript.items(tool(1, { toolKind: "edit", diffs: [{ path: "/w/a.ts", kind: "modify", oldText: "one\ntwo\nthree\n", newText: "one\nTWO\nthree\n" }] }));
    await item(1).locator(".diff-line").nth(3).waitFor();
    deepStrictEqual(await item(1).locator(".diff-line").allInnerTexts(), ["1\n \none", "2\n-\ntwo", "2\n+\nTWO", "3\n \nthree"]);
    await item(1).getByRole("button", { name: "Open Diff" }).click();
    deepStrictEqual(await transcript.posted("openDiff"), { kind: "openDiff", path: "/w/a.ts", oldText: "one\ntwo\nthree\n", newText: "one\nTWO\nthree\n" });
    await item(1).locator(".file-link").click();
    deepStrictEqual(await transcript.posted("openFile"), { kind: "openFile", path: "/w/a.ts" });
  });

  it("fetches what is omitted once it is shown, and no more often than it changes", async () => {
    const omitted = tool(1, { toolKind: "edit", diffs: [{ path: "a", kind: "modify", omitted: true }] });
    await transcript.items(omitted);
    deepStrictEqual(await transcript.posted("item"), { kind: "item", item: 1 });
    await transcript.header({ lastSeq: 5 });
    await transcript.changes(omitted);
    strictEqual(await transcript.postedCount("item"), 1);
    await transcript.send({ kind: "item", item: tool(1, { toolKind: "edit", diffs: [{ path: "a", kind: "modify", patch: "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n" }] }) });
    await item(1).locator(".diff-line.added", { hasText: "y" }).waitFor();
  });

  it("never hides a tool's state behind a long title", async () => {
    await transcript.items(tool(1, { title: "a very long title ".repeat(40), status: "failed" }));
    const [state, box] = [await item(1).locator(".tool-state").boundingBox(), await item(1).boundingBox()];
    ok(state && box && state.width > 30 && state.x + state.width <= box.x + box.width, JSON.stringify({ state, box }));
  });

  it("cuts a long thought with an ellipsis, and scrolls nothing sideways", async () => {
    const long = "unbreakable".repeat(200);
    const thoughts = thought(1, `${"a long thought ".repeat(60)}\n\nand more`, { endAt: 2 });
    await transcript.items(thoughts, message(2, `${long}\n\n\`\`\`\n${long}\n\`\`\`\n\n| a | b |\n|---|---|\n| ${long} | ${long} |`), message(3, long, { role: "user" }), tool(4, { title: long, output: { text: long } }), question(5, { shown: [{ label: "title", text: long }] }), notice(6, { title: long, description: long }));
    const cut = await item(1).locator(".preview").evaluate(preview => [getComputedStyle(preview).textOverflow, preview.scrollWidth > preview.clientWidth, preview.getBoundingClientRect().right <= preview.closest("article")!.getBoundingClientRect().right]);
    deepStrictEqual(cut, ["ellipsis", true, true]);
    const wide = await transcript.page.evaluate(() => [document.documentElement, document.querySelector(".scroller")!, ...document.querySelectorAll("article")].filter(box => box.scrollWidth > box.clientWidth + 1).map(box => `${box.tagName} ${(box as HTMLElement).dataset["item"] ?? box.className}`));
    deepStrictEqual(wide, []);
  });

  it("says who speaks and when, and has headings of their sizes and buttons of their ranks", async () => {
    await transcript.items(message(1, "Fix it", { role: "user" }), message(2, "# One\n\n## Two\n\n### Three\n\ntext"), question(3));
    deepStrictEqual([await item(1).locator(".who").textContent(), await item(2).locator(".who").textContent()], ["You", "Codex"]);
    for (const number of [1, 2]) ok((await item(number).locator("time").textContent())?.match(/\d/));
    const sizes = await item(2).evaluate(article => ["h1, [aria-level='1']", "h2, [aria-level='2']", "h3, [aria-level='3']", "p"].map(selector => parseFloat(getComputedStyle(article.querySelector(`.markdown :is(${selector})`)!).fontSize)));
    ok(sizes[0]! > sizes[1]! && sizes[1]! > sizes[2]! && sizes[2]! >= sizes[3]!, String(sizes));
    const background = (name: string) => item(3).getByRole("button", { name, exact: true }).evaluate(button => getComputedStyle(button).backgroundColor);
    ok((await background("Allow")) !== (await background("Reject")));
  });

  it("keeps the focus on every control while the agent works", async () => {
    await transcript.items(message(1, "A [link](https://example.org).\n\n```\ncode\n```", { endAt: 2 }), tool(2, { status: "in_progress", output: { text: "a\n" } }), question(3));
    const controls = "button, select, textarea, input, a[href], [tabindex='0']";
    const visible = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)].filter(each => each.checkVisibility() && !(each as HTMLButtonElement).disabled);
    const find = `(${visible.toString()})(${JSON.stringify(controls)})`;
    // A control that is drawn anew is another element, but the same one for the reader.
    const name = (control: Element | null) => control && [control.closest("article")?.getAttribute("data-item"), control.tagName, control.getAttribute("aria-label"), control.className, control.tagName === "PRE" || control.tagName === "ARTICLE" ? "" : control.textContent].join(" ");
    const count = await transcript.page.evaluate<number>(`${find}.length`);
    ok(count > 12, String(count));
    for (let at = 0; at < count; at++) {
      const focused = () => transcript.page.evaluate<string>(`(${name.toString()})(document.activeElement)`);
      await transcript.page.evaluate(`${find}[${at}]?.focus()`);
      const before = await focused();
      await transcript.append(2, 100 + at, { output: { text: "more\n" } });
      await transcript.header({ lastSeq: 100 + at, usage: { inputTokens: at } });
      await transcript.changes(question(3, { lastSeq: 200 + at }));
      strictEqual(await focused(), before);
    }
  });

  describe("a permission request", () => {
    it("is answered by click, once, and shows the answer", async () => {
      await transcript.items(tool(1), question(2, { shown: [{ label: "title", text: "rm -r build" }, { label: "cwd", text: "/w" }] }));
      await item(2).getByText("rm -r build").waitFor();
      await item(2).getByText("/w").waitFor();
      await allow(2).click();
      deepStrictEqual(await transcript.posted("answer"), { kind: "answer", permissionId: "p2", optionId: "yes" });
      await item(2).getByRole("button", { name: "Reject", disabled: true }).waitFor();
      await transcript.changes(resolved(2, "yes"));
      await item(2).getByText("Allowed once").waitFor();
    });

    it("takes no key and no click right after it appeared, nor what was pressed before", async () => {
      await transcript.items(message(1, "before"));
      await transcript.stopClock(true);
      await transcript.changes(question(2));
      await item(2).focus();
      // Pressed too early, and let go when the request could be answered.
      const button = (await allow(2).boundingBox())!;
      await transcript.page.mouse.move(button.x + 5, button.y + 5);
      await transcript.page.mouse.down();
      await transcript.page.keyboard.press("a");
      await allow(2).click({ force: true, position: { x: 5, y: 5 } }).catch(() => {});
      strictEqual(await transcript.postedCount("answer"), 0);
      await transcript.stopClock(false);
      await item(2).locator('.button[aria-disabled="false"]').first().waitFor();
      strictEqual(await transcript.postedCount("answer"), 0);
      await item(2).focus();
      await transcript.page.keyboard.press("a");
      deepStrictEqual(await transcript.posted("answer"), { kind: "answer", permissionId: "p2", optionId: "yes" });
    });

    it("is not answered by the second click on the one before", async () => {
      await transcript.items(question(1), question(2));
      await item(2).locator('.button[aria-disabled="false"]').first().waitFor();
      await transcript.stopClock(true);
      await allow(1).click();
      await transcript.changes(resolved(1, "yes"));
      await allow(2).click({ force: true });
      await transcript.stopClock(false);
      // Nor by what was meant for the editor that was in front until now.
      await item(2).locator('.button[aria-disabled="false"]').first().waitFor();
      await transcript.stopClock(true);
      await transcript.send({ kind: "visible" });
      await transcript.drawn();
      await allow(2).click({ force: true });
      await item(2).focus();
      await transcript.page.keyboard.press("a");
      strictEqual(await transcript.postedCount("answer"), 1);
      await transcript.stopClock(false);
      await allow(2).click();
      await transcript.page.waitForFunction(() => (window as unknown as { posted: { kind: string }[] }).posted.filter(({ kind }) => kind === "answer").length === 2);
    });

    it("takes keys only once its end was seen", async () => {
      await transcript.items(question(1, { shown: [{ label: "title", text: "edit" }, { label: "content", text: Array.from({ length: 300 }, (_, line) => `line ${line}`).join("\n") }] }));
      await transcript.send({ kind: "question", permissionId: "p1" });
      await transcript.page.waitForFunction(() => document.activeElement?.getAttribute("data-item") === "1");
      await item(1).getByText("line 0", { exact: false }).waitFor();
      ok((await scrollTop()) < 100, "it is not shown from its top");
      // Longer than any guard: nothing was seen, so nothing is counted.
      await transcript.page.evaluate(() => new Promise(resolve => setTimeout(resolve, 700)));
      await transcript.page.keyboard.press("a");
      strictEqual(await transcript.postedCount("answer"), 0);
      await transcript.page.evaluate(() => (document.querySelector(".scroller")!.scrollTop = 1e6));
      await item(1).locator('.button[aria-disabled="false"]').first().waitFor();
      await item(1).focus();
      await transcript.page.keyboard.press("a");
      await transcript.posted("answer");
    });

    it("sends a reason with a denial, and keeps it while other things change", async () => {
      await transcript.items(tool(1), question(2));
      await item(2).getByLabel("Reason for denying").fill("not that f");
      await transcript.append(1, 8, { output: { text: "more\n" } });
      await transcript.header({ provider: "claude" });
      await transcript.changes(question(2, { lastSeq: 50 }));
      await item(2).getByLabel("Reason for denying").focus();
      await transcript.page.keyboard.press("End");
      await transcript.page.keyboard.type("older");
      await item(2).getByRole("button", { name: "Reject" }).click();
      deepStrictEqual(await transcript.posted("answer"), { kind: "answer", permissionId: "p2", optionId: "no", message: "not that folder" });
    });

    it("is answered by keyboard alone", async () => {
      await transcript.items(message(1, "hello"), question(2));
      await item(2).locator('.button[aria-disabled="false"]').first().waitFor();
      await item(1).focus();
      await transcript.page.keyboard.press("ArrowDown");
      await transcript.page.waitForFunction(() => document.activeElement?.getAttribute("data-item") === "2");
      await transcript.page.keyboard.press("d");
      deepStrictEqual(await transcript.posted("answer"), { kind: "answer", permissionId: "p2", optionId: "no" });
    });

    it("can be answered again when an answer could not be sent", async () => {
      await transcript.items(question(1));
      await allow(1).click();
      await transcript.send({ kind: "failed", message: "The loomd server was terminated." });
      await transcript.page.getByRole("alert").getByText("The loomd server was terminated.").waitFor();
      await transcript.page.waitForFunction(() => !document.querySelector<HTMLButtonElement>("article .buttons button")!.disabled);
    });

    it("has a bar while it is not visible, which scrolls to it", async () => {
      await transcript.items(tool(1), question(2), ...many(3, 200));
      await transcript.page.getByRole("button", { name: "Review", exact: true }).click();
      await allow(2).waitFor();
      await transcript.page.getByRole("button", { name: "Review", exact: true }).waitFor({ state: "hidden" });
      await transcript.page.locator("[role=status][aria-live]", { hasText: "Permission request: question 2" }).waitFor({ state: "attached" });
    });

    it("of an earlier page, or inside of a sub-agent, is found", async () => {
      await transcript.header({ permissions: [{ permissionId: "p3", seq: 3, at: 1, runId: "1", status: "requested", toolCall: {}, options: [] }] });
      await transcript.itemsAfter(500, ...many(500, 700));
      deepStrictEqual(await transcript.posted("earlier"), { kind: "earlier", before: 500 });
      await transcript.send({ kind: "question", permissionId: "p3" });
      await transcript.send({ kind: "earlier", items: [tool(2, { status: "in_progress" }), question(3, { parent: 2 }), ...many(4, 499)] });
      await transcript.page.waitForFunction(() => document.activeElement?.getAttribute("data-item") === "3");
      await allow(3).waitFor();
    });
  });

  it("loads earlier items when the reader scrolls up, and what he sees stays where it is", async () => {
    await transcript.itemsAfter(300, ...many(300, 500));
    await item(500).waitFor();
    strictEqual(await transcript.postedCount("earlier"), 0);
    await item(500).focus();
    await transcript.page.keyboard.press("Home");
    deepStrictEqual(await transcript.posted("earlier"), { kind: "earlier", before: 300 });
    const place = () => item(302).evaluate(box => box.getBoundingClientRect().top);
    const before = await place();
    await transcript.send({ kind: "earlier", items: many(100, 299), prev: 100 });
    await transcript.drawn();
    await item(299).waitFor();
    ok(Math.abs((await place()) - before) < 3, `moved by ${(await place()) - before} px`);
    strictEqual(await transcript.postedCount("earlier"), 1);
    await transcript.page.keyboard.press("Home");
    await transcript.page.waitForFunction(() => (window as unknown as { posted: { kind: string }[] }).posted.filter(({ kind }) => kind === "earlier").length === 2);
    await transcript.send({ kind: "earlier", items: many(1, 99) });
    await item(99).waitFor();
    strictEqual(await item(99).getAttribute("aria-setsize"), "500");
    await transcript.page.keyboard.press("Home");
    await transcript.page.waitForFunction(() => document.activeElement?.getAttribute("data-item") === "1");
  });

  it("fetches the call of a sub-agent whose items begin before the page", async () => {
    await transcript.itemsAfter(50, ...many(50, 60).map(inside => ({ ...inside, parent: 7 }) as Item), message(61, "beside"));
    deepStrictEqual(await transcript.posted("item"), { kind: "item", item: 7 });
    await transcript.send({ kind: "item", item: tool(7, { title: "Explore" }) });
    await item(7).getByText("11 steps").waitFor();
    await item(50).waitFor({ state: "detached" });
    await item(7).locator("button.toggle").click();
    await item(55).waitFor();
  });

  it("queues or steers a message, and keeps its text until it is accepted", async () => {
    const box = transcript.page.getByLabel("Message", { exact: true });
    await box.fill("and the tests");
    await transcript.page.getByLabel("When to send").selectOption("steer");
    await box.press("Enter");
    deepStrictEqual(await transcript.posted("send"), { kind: "send", text: "and the tests", mode: "steer", context: [] });
    strictEqual(await box.inputValue(), "and the tests");
    await transcript.send({ kind: "sent" });
    await transcript.page.waitForFunction(() => document.querySelector<HTMLTextAreaElement>(".composer textarea")!.value === "");
    await box.fill("line");
    await box.press("Shift+Enter");
    strictEqual(await box.inputValue(), "line\n");
  });

  it("completes files and the agent's commands, and shows what goes with a message before it is sent", async () => {
    const box = transcript.page.getByLabel("Message", { exact: true });
    const option = (name: string) => transcript.page.getByRole("option", { name });
    await transcript.header({ agent: { commands: [{ name: "review", description: "Reviews changes" }, { name: "reset", description: "" }, { name: "plan", description: "" }] } });
    await box.pressSequentially("/re");
    await option("/review").waitFor();
    strictEqual(await transcript.page.locator(".completion [role=option]").count(), 2);
    await box.press("ArrowDown");
    await box.press("ArrowUp");
    await box.press("Enter");
    strictEqual(await box.inputValue(), "/review ");
    strictEqual(await transcript.postedCount("send"), 0);
    await box.pressSequentially("of @pars");
    await transcript.page.waitForFunction(() => (window as unknown as { posted: { kind: string; query?: string }[] }).posted.some(({ kind, query }) => kind === "find" && query === "pars"));
    const file = fileLink("file:///w/src/parser.js", "src/parser.js");
    await transcript.send({ kind: "found", query: "par", found: [fileLink("file:///w/old", "old")] });
    await transcript.send({ kind: "found", query: "pars", found: [file] });
    await option("src/parser.js").click();
    strictEqual(await box.inputValue(), "/review of @src/parser.js ");
    const part = embedded("file:///w/a.js#L1", "a.js:1", "let a = 1;");
    await transcript.send({ kind: "attach", context: [part, fileLink("file:///w/b.js", "b.js")], text: "not used" });
    await transcript.page.getByRole("button", { name: "a.js:1", exact: true }).click();
    await transcript.page.getByText("let a = 1;").waitFor();
    await transcript.page.getByRole("button", { name: "Remove b.js" }).click();
    deepStrictEqual(await accessibilityViolations(transcript.page), []);
    transcript.errors.length = 0;
    await box.press("Enter");
    deepStrictEqual(await transcript.posted("send"), { kind: "send", text: "/review of @src/parser.js", mode: "queue", context: [file, part] });
    await transcript.send({ kind: "sent" });
    await transcript.page.waitForFunction(() => document.querySelectorAll(".attachments li").length === 0);
  });

  it("shows that messages are queued, and takes one back below what is in the box", async () => {
    await transcript.header({ queued: 2 });
    await transcript.page.getByRole("button", { name: "2 messages queued" }).click();
    await transcript.posted("queued");
    const box = transcript.page.getByLabel("Message", { exact: true });
    await box.fill("already here");
    await transcript.send({ kind: "draft", text: "taken back", context: [fileLink("file:///a.txt", "a.txt")] });
    await transcript.page.getByRole("button", { name: "a.txt", exact: true }).waitFor();
    strictEqual(await box.inputValue(), "already here\ntaken back");
    deepStrictEqual(await accessibilityViolations(transcript.page), []);
  });

  it("offers to steer only while a turn runs, and to resume after the end", async () => {
    await transcript.header({ state: "idle" });
    await transcript.page.getByLabel("When to send").waitFor({ state: "hidden" });
    await transcript.header({ state: "succeeded", endedAt: Date.now() });
    await transcript.page.getByRole("button", { name: "Resume" }).waitFor();
    await transcript.header({ state: "succeeded", endedAt: Date.now() }, { resume: false });
    await transcript.page.getByLabel("Message", { exact: true }).waitFor({ state: "hidden" });
  });

  it("finds text that is not visible, by keyboard, also in earlier pages", async () => {
    await transcript.itemsAfter(2, ...many(2, 500));
    await transcript.page.getByText("message 500").waitFor();
    await transcript.atRest();
    await transcript.page.keyboard.press("Control+f");
    await transcript.page.keyboard.type("needle");
    deepStrictEqual(await transcript.posted("earlier"), { kind: "earlier", before: 2 });
    await transcript.send({ kind: "earlier", items: [message(1, "a needle in here, and a Needle there")] });
    await transcript.page.getByText("1 of 2").waitFor();
    await item(1).getByText("a needle in here").waitFor();
    await transcript.page.waitForFunction(() => CSS.highlights.get("found-now")!.size === 1 && CSS.highlights.get("found")!.size === 1);
    await transcript.page.keyboard.press("Enter");
    await transcript.page.getByText("2 of 2").waitFor();
    await transcript.page.keyboard.press("Escape");
    await transcript.page.getByRole("search").waitFor({ state: "hidden" });
  });

  it("finds text across markup, and scrolls to it in a long item", async () => {
    const long = Array.from({ length: 200 }, (_, at) => `paragraph ${at}`).join("\n\n");
    await transcript.items(message(1, `${long}\n\nA **bold** word, \`code\` and\n[a link](https://example.com).\n\n\`\`\`js\nconst a = 1;\n\`\`\`\n\n${long}`, { endAt: 2 }));
    await transcript.page.keyboard.press("Control+f");
    const current = () => transcript.page.evaluate(() => [...(CSS.highlights.get("found-now") as unknown as Iterable<Range> | undefined) ?? []].map(range => ({ text: range.toString(), seen: range.getBoundingClientRect().top > 0 && range.getBoundingClientRect().bottom < innerHeight })));
    for (const query of ["bold word, code and", "and\na link.", "const a = 1;"]) {
      await transcript.page.getByLabel("Find in transcript").fill(query.replace("\n", " "));
      await transcript.page.getByText("1 of 1").waitFor();
      await transcript.drawn();
      deepStrictEqual(await current(), [{ text: query, seen: true }]);
    }
  });

  it("finds text in a collapsed item, also of a sub-agent, and expands it", async () => {
    await transcript.items(tool(1), thought(2, "first\n\na hidden thing", { parent: 1 }));
    await item(2).waitFor({ state: "detached" });
    await transcript.page.keyboard.press("Control+f");
    await transcript.page.keyboard.type("hidden thing");
    await item(2).getByText("a hidden thing").waitFor();
  });

  it("shows the step that made a change, also one that is not here yet", async () => {
    await transcript.itemsAfter(500, ...many(500, 700));
    await transcript.send({ kind: "reveal", item: 320 });
    strictEqual((await transcript.posted("earlier")).before, 500);
    await transcript.send({ kind: "earlier", items: [...many(300, 319), tool(320, { title: "the step", output: { text: "x\n".repeat(50) } }), ...many(321, 499)], prev: 300 });
    await item(320).getByText("the step").waitFor();
    await transcript.page.waitForFunction(() => document.activeElement?.getAttribute("data-item") === "320");
    strictEqual(await item(320).locator(".toggle").getAttribute("aria-expanded"), "true");
  });

  it("takes changes back from a message of the user on", async () => {
    await transcript.items(message(1, "Fix it", { role: "user", turn: 3 }), message(2, "Done."));
    strictEqual(await transcript.page.getByRole("button", { name: "Undo Changes Since This Message…" }).count(), 1);
    await item(1).getByRole("button", { name: "Undo Changes Since This Message…" }).click();
    strictEqual((await transcript.posted("undoTurn")).turn, 3);
  });

  it("copies an item and opens files that the agent mentions", async () => {
    await transcript.items(message(1, "See `src/main.rs:12:5` and [this](lib/a.ts#L7)."));
    await item(1).hover();
    await item(1).getByRole("button", { name: "Copy" }).click();
    strictEqual((await transcript.posted("copy")).text, "See `src/main.rs:12:5` and [this](lib/a.ts#L7).");
    await item(1).locator(".file-link").click();
    deepStrictEqual(await transcript.posted("openFile"), { kind: "openFile", path: "src/main.rs", line: 12, column: 5 });
  });

  it("pins the plan while the agent works, and not afterwards", async () => {
    const bar = transcript.page.getByRole("region", { name: "Current plan" });
    await transcript.items(plan(1, ["Read the parser", "completed"], ["Fix it", "in_progress"], ["Run the tests", "pending"]), ...many(2, 200));
    // The plan itself is far above.
    await bar.getByText("Fix it").waitFor();
    await bar.getByText("1 of 3 completed").waitFor();
    strictEqual(await bar.getByText("Run the tests").count(), 0);
    await bar.getByRole("button").click();
    await bar.getByText("Run the tests").waitFor();
    await transcript.changes({ ...plan(1, ["Read the parser", "completed"], ["Fix it", "completed"], ["Run the tests", "in_progress"]), lastSeq: 900 });
    await bar.getByText("2 of 3 completed").waitFor();
    deepStrictEqual((await accessibilityViolations(transcript.page)).length, 0);
    await transcript.header({ state: "idle" });
    await bar.waitFor({ state: "hidden" });
    // The plan of an earlier turn is not that of this one.
    await transcript.header({ state: "running", turn: 2 });
    strictEqual(await bar.isVisible(), false);
  });

  it("takes images that are pasted or dropped, and shows them before they are sent", async () => {
    const drop = (kind: "paste" | "drop", name: string, type: string, bytes: number) =>
      transcript.page.getByLabel("Message", { exact: true }).evaluate(
        (box, { kind, name, type, bytes }) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type }));
          box.dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }) : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        },
        { kind, name, type, bytes },
      );
    await drop("paste", "shot.png", "image/png", 3);
    await drop("drop", "dropped.jpeg", "image/jpeg", 6);
    await drop("drop", "notes.txt", "text/plain", 6);
    await drop("drop", "huge.png", "image/png", 5_000_001);
    await transcript.page.getByText("huge.png is larger than 5.00 MB.").waitFor();
    await transcript.page.getByRole("button", { name: "dropped.jpeg", exact: true }).waitFor();
    await transcript.page.getByRole("button", { name: "shot.png", exact: true }).click();
    strictEqual(await transcript.page.locator(".attachment-preview img").getAttribute("src"), "data:image/png;base64,AAAA");
    await transcript.page.getByRole("button", { name: "Send", exact: true }).click();
    const { context } = await transcript.posted("send");
    deepStrictEqual(context.map(({ block }) => block), [{ type: "image", mimeType: "image/png", data: "AAAA" }, { type: "image", mimeType: "image/jpeg", data: "AAAAAAAA" }]);
  });

  it("takes no image for an agent that takes none, and says so", async () => {
    await transcript.header({ agent: { promptCapabilities: { image: false, audio: false, embeddedContext: true } } });
    await transcript.page.getByLabel("Message", { exact: true }).evaluate(box => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(3)], "shot.png", { type: "image/png" }));
      box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    });
    await transcript.page.getByText("Codex takes no images.").waitFor();
    strictEqual(await transcript.page.getByRole("button", { name: "shot.png", exact: true }).count(), 0);
  });

  it("shows beside the message box what the agent's options are set to, and changes them from there", async () => {
    const option = (id: string, current: unknown) => ({ id, name: id, type: typeof current === "boolean" ? "boolean" : "select", currentValue: current, options: [{ value: "low", name: "Low" }, { value: "high", name: "High" }] });
    const configOptions = [option("effort", "high"), option("fast", true), option("quiet", false)];
    await transcript.header({ agent: { modes: [{ id: "plan", name: "Plan" }], modeId: "plan", configOptions } });
    await transcript.page.getByRole("button", { name: "Options: Plan · High · fast", exact: true }).click();
    await transcript.posted("configure");
    await transcript.header({ agent: { configOptions: [] } });
    strictEqual(await transcript.page.getByRole("button", { name: /^Options/ }).count(), 0);
  });

  it("takes files that are dropped from VS Code's views as links", async () => {
    await transcript.page.getByLabel("Message", { exact: true }).evaluate(box => {
      const data = new DataTransfer();
      data.setData("application/vnd.code.uri-list", "file:///home/me/my%20notes.md\r\nhttps://example.org/");
      box.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    });
    await transcript.page.getByRole("button", { name: "Send", exact: true }).click();
    deepStrictEqual((await transcript.posted("send")).context.map(({ block }) => block), [{ type: "resource_link", uri: "file:///home/me/my%20notes.md", name: "my notes.md" }]);
  });

  it("shows usage and the end of a turn", async () => {
    await transcript.header({ usage: { inputTokens: 1200, outputTokens: 34, costUsd: 0.056 } });
    await transcript.page.getByText("1.2k in · 34 out · $0.06").waitFor();
    await transcript.header({ usage: { inputTokens: 7 }, agent: { context: { used: 24_600, size: 200_000 } }, queued: 1 });
    await transcript.page.getByText("7 in · 88% context left · 1 message queued").waitFor();
    await transcript.items(message(1, "x", { at: 1000 }), turn(2, { at: 4000, stopReason: "end_turn", usage: { inputTokens: 7, outputTokens: 8 } }));
    await item(2).getByText("Finished · 3s · 7 in · 8 out").waitFor();
  });

  it("distinguishes a run that was continued in a terminal from one that was canceled", async () => {
    await transcript.items(turn(1, { state: "cancelled" }));
    await item(1).getByText("Canceled").waitFor();
    await transcript.header({ state: "cancelled", endedAt: Date.now(), takenOverAt: Date.now() });
    await item(1).getByText("Continued in terminal").waitFor();
  });

  it("stores which run it shows", async () => {
    deepStrictEqual(await transcript.page.evaluate(() => (window as unknown as { savedState: unknown }).savedState), { runId: "0190-run" });
  });

  it("keeps a draft over a reload", async () => {
    const box = transcript.page.getByLabel("Message", { exact: true });
    await box.fill("not yet sent");
    await transcript.page.reload();
    await transcript.header();
    strictEqual(await box.inputValue(), "not yet sent");
  });

  it("holds 100,000 messages, draws few, follows the end and stops when the reader scrolls up", async () => {
    await transcript.page.evaluate(async () => {
      const page = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at).map(item => ({ item, seq: item, lastSeq: item, at: 1, turn: 1, kind: "message", role: "agent", text: `message number ${item}${item % 7 === 0 ? "\n\nwith a second paragraph" : ""}` }));
      const send = (data: unknown) => window.dispatchEvent(new MessageEvent("message", { data }));
      send({ kind: "items", items: page(90_001, 100_000), total: 100_000, prev: 90_001 });
      for (let from = 80_001; from > 0; from -= 10_000) {
        send({ kind: "earlier", items: page(from, from + 9_999), ...(from > 1 ? { prev: from } : {}) });
        await new Promise(requestAnimationFrame);
      }
    });
    await transcript.page.getByText("message number 100000").waitFor();
    ok((await transcript.page.locator("article").count()) < 60);
    strictEqual(await item(100_000).getAttribute("aria-setsize"), "100000");
    // Every item can be scrolled to, wherever it is.
    await item(100_000).focus();
    await transcript.page.keyboard.press("Home");
    await transcript.page.waitForFunction(() => document.activeElement?.getAttribute("data-item") === "1");
    await transcript.page.locator(".scroller").hover();
    for (let turn = 0; turn < 20; turn++) await transcript.page.mouse.wheel(0, 3000);
    await transcript.page.waitForFunction(() => [...document.querySelectorAll("article")].some(box => Number(box.dataset["item"]) > 300));
    // New items do not move a reader who has scrolled up.
    const top = await transcript.page.evaluate(async () => {
      const scroller = document.querySelector(".scroller")!;
      // The last wheel events are still being processed: waits until the position is stable.
      for (let still = 0, last = -1; still < 30; still = scroller.scrollTop === last ? still + 1 : 0) {
        last = scroller.scrollTop;
        await new Promise(requestAnimationFrame);
      }
      return scroller.scrollTop;
    });
    await transcript.changes(message(100_001, "late"));
    await transcript.page.getByRole("button", { name: "Scroll to Bottom" }).waitFor();
    ok(Math.abs((await scrollTop()) - top) < 400);
    await transcript.page.getByRole("button", { name: "Scroll to Bottom" }).click();
    await item(100_001).getByText("late").waitFor();
    // While scrolling, only items near the visible ones are drawn.
    const most = await transcript.page.evaluate(async () => {
      const scroller = document.querySelector(".scroller")!;
      let most = 0;
      for (let count = 0; count < 60; count++) {
        scroller.scrollTop -= 5000;
        await new Promise(requestAnimationFrame);
        most = Math.max(most, document.querySelectorAll("article").length);
      }
      return most;
    });
    ok(most < 80, `${most} items are in the DOM`);
  });

  it("has no accessibility violations", async () => {
    await transcript.items(
      message(1, "Fix it", { role: "user" }),
      thought(2, "hm"),
      message(3, "# Title\n\nText with `code`, a [link](https://example.com) and\n\n```js\nlet a = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
      plan(4, ["a", "completed"], ["b", "in_progress"]),
      tool(5, { toolKind: "edit", diffs: [{ path: "/w/a.ts", kind: "modify", oldText: "one\n", newText: "two\n" }] }),
      tool(6, { output: { text: "out" }, rawInput: { a: 1 } }),
      message(7, "given up", { abandoned: true }),
      notice(8, { severity: "warning", title: "Reconnecting", description: "high demand" }),
      question(9, { shown: [{ label: "title", text: "edit" }, { label: "diff", text: "-a\n+b" }] }),
      turn(10),
    );
    await item(9).locator('.button[aria-disabled="false"]').first().waitFor();
    deepStrictEqual(await accessibilityViolations(transcript.page), []);
    transcript.errors.length = 0;
  });

  it("has text for every state", async () => {
    await transcript.items(...["pending", "in_progress", "completed", "failed"].map((status, at) => tool(at + 1, { status })));
    await item(4).getByText("Failed", { exact: true }).last().waitFor();
    deepStrictEqual(await transcript.page.locator(".tool-state").allInnerTexts(), ["Pending", "Running", "Completed", "Failed"]);
  });
});
