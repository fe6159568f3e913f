// A text that grows: what is drawn, and how much of it is drawn again.
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { StreamedMarkdown } from "../../src/webview/markdown";
import { setUpDom } from "../lib/dom";

const actions = { copy: () => {}, openFile: () => {} };

/** Draws a text that comes in chunks. Returns the drawing, and the most nodes that were made for one chunk after `from`. */
function stream(text: string, chunkChars: number, from = 0): { body: HTMLElement; most: number } {
  const streamed = new StreamedMarkdown(actions);
  let known = new Set<Node>();
  let most = 0;
  for (let end = chunkChars; ; end += chunkChars) {
    streamed.update(text.slice(0, end), end >= text.length);
    const nodes = new Set<Node>();
    const visit = (node: Node) => (nodes.add(node), node.childNodes.forEach(visit));
    visit(streamed.body);
    if (end > from) most = Math.max(most, [...nodes].filter(node => !known.has(node)).length);
    known = nodes;
    if (end >= text.length) return { body: streamed.body, most };
  }
}

const whole = (text: string) => stream(text, text.length).body;
/** The text and the tags of a drawing, without the difference between a tight list and one that has been cut. */
const shape = (body: HTMLElement) => body.innerHTML.replace(/<\/?p>/g, "").replace(/\s*(?=<)|(?<=>)\s*/g, "");

describe("a message that grows", () => {
  before(setUpDom);

  const TEXTS: Record<string, string> = {
    paragraphs: Array.from({ length: 40 }, (_, at) => `Paragraph **${at}** with \`code\` and a [link](https://example.com/${at}).`).join("\n\n"),
    list: Array.from({ length: 60 }, (_, at) => `- item ${at} with *words*`).join("\n"),
    "numbered list": Array.from({ length: 60 }, (_, at) => `${at + 1}. item ${at}`).join("\n"),
    "nested list": Array.from({ length: 20 }, (_, at) => `- item ${at}\n  - inner\n  - inner too`).join("\n"),
    code: `Before\n\n\`\`\`js\n${Array.from({ length: 60 }, (_, at) => `let a${at} = ${at};\n\n`).join("")}\`\`\`\n\nAfter`,
    mixed: "# Title\n\nText\n- a\n- b\n\n> quote\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n1. one\n2. two\n\n* star\n\n~~~\nplain\n\n```\n~~~\nend",
  };

  for (const [name, text] of Object.entries(TEXTS)) {
    for (const chunkChars of [1, 7, 64]) {
      it(`is drawn as the whole of it is: ${name}, ${chunkChars} characters at a time`, () => ok(shape(stream(text, chunkChars).body) === shape(whole(text)), shape(stream(text, chunkChars).body)));
    }
  }

  it("makes no more nodes for a chunk because of what came before", () => {
    const unit: Record<string, string> = { paragraphs: "Some **words** in a paragraph.\n\n", list: "- an item with *words*\n", code: "a line of code;\n\n" };
    for (const [name, text] of Object.entries(unit)) {
      const head = name === "code" ? "```js\n" : "";
      const [short, long] = [stream(head + text.repeat(40), 20, 200), stream(head + text.repeat(400), 20, text.length * 200)];
      ok(long.most <= short.most + 2, `${name}: ${long.most} nodes for a chunk of a long text, ${short.most} of a short one`);
    }
  });

  it("keeps the nodes of its finished blocks, and of code that is still written", () => {
    const streamed = new StreamedMarkdown(actions);
    streamed.update("First.\n\n```\none\n", false);
    const [first, code] = [streamed.body.firstChild, streamed.body.querySelector("code")!.firstChild];
    streamed.update("First.\n\n```\none\n\ntwo\n", false);
    strictEqual(streamed.body.firstChild, first);
    strictEqual(streamed.body.querySelector("code")!.firstChild, code);
    strictEqual(code!.textContent, "one\n\ntwo\n");
    const pre = streamed.body.querySelector("pre");
    streamed.update("First.\n\n```\none\n\ntwo\n```\nLast.", true);
    strictEqual(streamed.body.querySelector("pre"), pre);
    strictEqual(code!.textContent, "one\n\ntwo\n");
    ok(streamed.body.textContent!.includes("Last."));
  });

  it("has colored code once that is complete, aligned columns, and boxes", () => {
    const { body } = stream("```js\nconst a = 'x';\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n- [ ] open\n- [x] done\n- [y] neither", 5);
    deepStrictEqual([...body.querySelectorAll("code span")].map(span => [span.className, span.textContent]), [["hljs-keyword", "const"], ["hljs-string", "'x'"]]);
    deepStrictEqual([...body.querySelectorAll("td")].map(cell => [cell.className, cell.getAttribute("style")]), [["", null], ["align-right", null]]);
    deepStrictEqual([...body.querySelectorAll("li")].map(item => [item.querySelector(".box")?.getAttribute("aria-label") ?? "", item.textContent]), [["To do", "open"], ["Done", "done"], ["", "[y] neither"]]);
  });

  it("is drawn anew when it was corrected", () => {
    const streamed = new StreamedMarkdown(actions);
    streamed.update("One two.\n\nThree", false);
    streamed.update("One TWO.\n\nThree four", true);
    strictEqual(streamed.body.textContent!.replace(/\s+/g, " ").trim(), "One TWO. Three four");
  });

  it("is shown as it is where it cannot be parsed in time", () => {
    const text = "[a](b ".repeat(22_000);
    const { body } = stream(text, 4_000);
    strictEqual(body.textContent, text);
    ok([...body.children].every(({ className }) => className === "raw"), "it was parsed");
  });

  it("survives links that are not well-formed", () => {
    ok(whole("[a](%E0%A4%A.txt) and [b](file:///x%zz)").textContent!.includes("and"));
  });
});
