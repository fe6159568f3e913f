// Draws the transcripts that the server's fold is tested with, and looks for everything that is in their items.
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Item } from "../../src/protocol";
import { formatCount } from "../../src/runs/run";
import { Transcript, type ItemOf } from "../../src/transcript/items";
import type { ToExtension } from "../../src/transcript/messages";
import { Renderer } from "../../src/webview/items";
import { setUpDom } from "../lib/dom";
import { message, notice, question, tool } from "../lib/runs";

const FOLDER = join(process.env["LOOMD_REPOSITORY"] ?? join(process.cwd(), "../.."), "tests/transcripts");
const fixture = (name: string) => JSON.parse(readFileSync(join(FOLDER, name, "items.json"), "utf8")) as Item[];

class Drawing {
  readonly transcript = new Transcript();
  readonly posted: ToExtension[] = [];
  readonly renderer: Renderer;

  constructor(items: Item[]) {
    this.renderer = new Renderer(() => this.transcript, message => this.posted.push(message), () => {});
    this.renderer.agent = "Claude";
    this.transcript.takePage(items, false);
  }

  openAll(): this {
    for (const number of this.transcript.all()) this.renderer.fold(this.transcript.get(number)!, true);
    return this;
  }

  rows(): number[] {
    return this.transcript.rows(item => this.renderer.isOpen(item)).map(({ number }) => number);
  }

  box(number: number): HTMLElement {
    const row = this.transcript.rows(item => this.renderer.isOpen(item)).find(row => row.number === number);
    ok(row, `item ${number} is not among the rows`);
    const box = document.createElement("article");
    this.renderer.draw(row, box);
    return box;
  }

  /** The item's text as it is read, without the names of icons. */
  text = (number: number) => this.box(number).textContent!.replace(/\s+/g, " ").trim();
}

/** Every text for people in an item. */
function texts(item: Item): string[] {
  switch (item.kind) {
    case "message":
    case "thought":
      return [item.text, ...(item.blocks ?? []).map(({ name, type }) => String(name ?? (type === "image" ? "" : type)))];
    case "tool":
      return [item.title, item.output?.text ?? "", ...item.diffs.flatMap(({ path, patch, oldText, newText }) => [path, ...(patch ?? "").split("\n").filter(line => /^[-+ ](?![-+])/.test(line)).map(line => line.slice(1)), oldText ?? "", newText ?? ""]), ...item.locations.map(({ path }) => path.split("/").at(-1)!)];
    case "plan":
      return item.entries.map(({ content }) => content);
    case "permission":
      return [...item.shown.map(({ text }) => text), ...item.shown.slice(1).map(({ label }) => label), item.resolved?.message ?? "", ...(item.resolved ? [] : item.options.map(({ name }) => name))];
    case "notice":
      return [item.title, item.description ?? ""];
    case "turn":
      return [item.error?.message ?? "", item.usage?.inputTokens != null ? `${formatCount(item.usage.inputTokens)} in` : ""];
    case "command":
      return [item.output.text, item.stderr?.text ?? ""];
    case "other":
      return [item.title, ...Object.values(item.data ?? {}).filter(value => typeof value === "string")];
  }
}

describe("the server's transcripts", () => {
  before(setUpDom);

  for (const name of readdirSync(FOLDER)) {
    it(`${name}: everything in its items is drawn`, () => {
      const items = fixture(name);
      const drawing = new Drawing(items).openAll();
      deepStrictEqual([...drawing.rows()].sort((a, b) => a - b), items.map(({ item }) => item));
      for (const item of items) {
        const drawn = drawing.text(item.item);
        for (const text of texts(item)) for (const line of text.split("\n")) ok(drawn.includes(line.replace(/[`*]/g, "").replace(/\s+/g, " ").trim()), `item ${item.item} lacks "${line}": ${drawn}`);
      }
    });
  }

  it("show notices with the look of their severity, their title and their description", () => {
    const drawing = new Drawing([...fixture("corrected-and-abandoned"), notice(90, { severity: "error", title: "No credit" })]);
    const box = drawing.box(4);
    ok(box.querySelector(".notice.warning .codicon-warning"));
    strictEqual(box.querySelector(".notice-title")!.textContent, "The provider is busy");
    strictEqual(box.querySelector(".notice-description")!.textContent, "It is tried again in 2 s");
    ok(drawing.box(90).querySelector(".notice.error .codicon-error"));
    strictEqual(drawing.renderer.label(drawing.transcript.get(4)!), "Warning");
  });

  it("show abandoned messages and thoughts as withdrawn, and no others", () => {
    const drawing = new Drawing([...fixture("corrected-and-abandoned"), { ...message(90, "a thing"), kind: "thought", abandoned: true } as Item]);
    ok(drawing.box(3).querySelector(".withdrawn"));
    ok(drawing.text(3).includes("withdrawn"));
    ok(!drawing.box(2).querySelector(".withdrawn") && !drawing.box(5).querySelector(".withdrawn"));
    ok(drawing.box(90).querySelector(".preview.withdrawn"));
  });

  it("fold a sub-agent's items into their call, and tell how many there are", () => {
    const drawing = new Drawing(fixture("sub-agents"));
    deepStrictEqual(drawing.rows(), [1, 2, 3, 8, 13, 14]);
    ok(drawing.text(2).includes("5 steps"), drawing.text(2));
    for (const number of [2, 9]) drawing.renderer.fold(drawing.transcript.get(number)!, true);
    deepStrictEqual(drawing.rows(), [1, 2, 4, 6, 9, 10, 11, 12, 3, 8, 13, 14]);
    ok(drawing.box(10).classList.contains("nested-2"));
    ok(drawing.text(4).includes("Sub-agent"));
  });

  it("open a call whose sub-agent asks something", () => {
    const drawing = new Drawing([tool(1, { status: "in_progress" }), message(2, "inside", { parent: 1 }), question(3, { parent: 1 })]);
    deepStrictEqual(drawing.rows(), [1, 2, 3]);
    ok(drawing.text(1).includes("Waiting for permission"));
  });

  it("ask with everything that is shown, and pick nothing by the names of its members", () => {
    const [item] = fixture("questions").filter(item => item.kind === "permission" && item.permissionId === "p3") as ItemOf<"permission">[];
    const { resolved: _, ...open } = item!;
    const drawing = new Drawing([{ ...open, options: [{ optionId: "yes", name: "Yes, once", kind: "allow_once" }] } as Item]);
    const box = drawing.box(item!.item);
    deepStrictEqual([...box.querySelectorAll(".shown-label")].map(({ textContent }) => textContent), ["command", "cwd", "sandbox", "opts"]);
    deepStrictEqual([...box.querySelectorAll(".shown pre")].map(({ textContent }) => textContent), item!.shown.map(({ text }) => text));
    deepStrictEqual([...box.querySelectorAll("button")].map(({ textContent }) => textContent), ["Yes, once", "Deny", "Always allow in loomd…"]);
    ok(!box.querySelector(".reach")!.textContent!.includes("kept by"));
    const agentsOwn = new Drawing([question(1)]).box(1);
    strictEqual(agentsOwn.querySelector(".reach")!.textContent, "“Always allow” is kept by Claude alone, which decides for what and how long; often for this session. “Always allow in loomd…” adds a rule that you choose. It holds in every client of loomd, until you remove it.");
    // A long diff is whole, and a member that is called like one loses nothing.
    const long = Array.from({ length: 2000 }, (_, line) => `+line ${line}`).join("\n");
    const other = new Drawing([question(1, { shown: [{ label: "diff", text: long }, { label: "diff", text: "no\n@@ patch\n\\ at all" }] })]).box(1);
    deepStrictEqual([...other.querySelectorAll(".shown pre")].map(({ textContent }) => textContent), [long, "no\n@@ patch\n\\ at all"]);
  });

  it("tell how a request was answered", () => {
    const drawing = new Drawing([...fixture("questions"), question(90, { resolved: { optionId: "no", by: "policy", rule: "r7" } })]);
    const answers = [3, 5, 7, 8, 10, 90].map(number => drawing.box(number).querySelector(".answer")!.textContent);
    deepStrictEqual(answers, ["Allowed once: go on", "Denied", "Dismissed", "Allowed automatically (permission mode)", "Allowed once", "Denied by rule r7"]);
  });

  it("go on in another item without naming the author again", () => {
    const drawing = new Drawing([message(1, "one"), message(2, "two", { continues: 1 }), tool(3), tool(4, { continues: 3 })]);
    ok(drawing.text(1).startsWith("Claude"));
    strictEqual(drawing.text(2), "two");
    ok(drawing.text(4).includes("continued"));
  });

  it("draw items of kinds that are not known yet by their title", () => {
    const drawing = new Drawing([{ ...message(1, ""), kind: "weather", title: "Sunny" } as unknown as Item]);
    ok(drawing.text(1).includes("Sunny"));
  });

  it("ask for what is omitted when it is shown", () => {
    const drawing = new Drawing([tool(1, { diffs: [{ path: "a", kind: "modify", omitted: true }] }), { ...tool(2), kind: "other", title: "Big" } as Item]);
    drawing.box(1);
    drawing.box(2);
    deepStrictEqual(drawing.posted, [{ kind: "item", item: 1 }]);
    drawing.openAll().box(2);
    deepStrictEqual(drawing.posted.at(-1), { kind: "item", item: 2 });
  });

  it("show the state of every run's end", () => {
    const ends = readdirSync(FOLDER).map(name => fixture(name).at(-1) as ItemOf<"turn">);
    const drawing = new Drawing(ends.map((end, at) => ({ ...end, item: at + 1 })));
    for (const [at, { state }] of ends.entries()) ok(drawing.text(at + 1).startsWith({ succeeded: "Completed", failed: "Failed", cancelled: "Canceled", lost: "Lost", idle: "Finished" }[state as string]!), drawing.text(at + 1));
  });
});
