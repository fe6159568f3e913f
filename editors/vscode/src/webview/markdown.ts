// Renders an agent's Markdown. Raw HTML is escaped and images are not loaded, because the text comes from a model that
// may have read anything. A text that grows keeps the nodes of its finished blocks: only the rest is rendered again.
import MarkdownIt, { type Token } from "markdown-it";
import { findFileLocations } from "../runs/file-locations";
import { bridge } from "./bridge";
import { element, iconButton } from "./dom";
import { highlight } from "./highlight";
import { decodedUri } from "./uri";

const markdown = new MarkdownIt({ html: false, linkify: true, typographer: false }).disable("image");

// The page's content security policy allows no style attributes, so columns are aligned by classes.
for (const cell of ["th_open", "td_open"]) {
  markdown.renderer.rules[cell] = (tokens, index, options, _, self) => {
    const token = tokens[index]!;
    const align = /text-align:(\w+)/.exec(String(token.attrGet("style") ?? ""))?.[1];
    token.attrs = align ? [["class", `align-${align}`]] : null;
    return self.renderToken(tokens, index, options);
  };
}

/** A block longer than this is shown as plain text while it grows. */
const MAX_GROWING_CHARS = 8_192;
/** A line longer than this is shown as plain text: the time to parse it grows faster than its length. */
const MAX_LINE_CHARS = 32_768;

/** Between the blocks of a text: nothing is found across it. */
export const BLOCK_END = "\0";

/** A longer text is searched with its markup. */
const MAX_READABLE_CHARS = 65_536;

export interface MarkdownActions {
  copy(text: string): void;
  openFile(path: string, line?: number, column?: number): void;
}

/** What is read of a text, without its markup: as it is drawn, block by block. */
export function readableText(text: string): string {
  if (text.length > MAX_READABLE_CHARS || text.split("\n").some(line => line.length > MAX_LINE_CHARS)) return text;
  const inline = (tokens: readonly Token[]): string => tokens.map(({ type, content, children }) => (children ? inline(children) : /break$/.test(type) ? "\n" : content)).join("");
  return markdown.parse(text, {}).filter(({ type }) => type === "inline" || type === "fence" || type === "code_block").map(token => inline([token]).replace(/\n$/, "")).join(BLOCK_END);
}

const LIST_ITEM = /^(?:([-*+])|\d{1,9}([.)]))[ \t]/;
const FENCE = /^(`{3,}|~{3,})([^\n]*)$/;

/** The end of the finished blocks of a text, and the fence of code in which it ends. */
interface Blocks {
  end: number;
  /** Where the code begins, if the rest of the text is a fence that is still open. */
  code?: number;
}

const markerOf = (line: string) => LIST_ITEM.exec(line)?.slice(1).find(marker => marker !== undefined);

/** Finds where the last block begins, from `from` on, where a block begins too. `inList`: the block before is a list. */
function findBlocks(text: string, from: number, inList: boolean): Blocks {
  let [end, fence, code, afterBlank] = [from, "", 0, true];
  for (let start = from; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const next = newline < 0 ? text.length : newline + 1;
    const line = text.slice(start, newline < 0 ? next : newline);
    if (fence !== "") {
      const closed = line.trimEnd();
      if (newline >= 0 && closed.length >= fence.length && closed === fence[0]!.repeat(closed.length)) [fence, end, afterBlank, inList] = ["", next, true, false];
    } else if (line.trim() === "") {
      afterBlank = true;
    } else {
      const opened = newline >= 0 ? FENCE.exec(line) : null;
      const isItem = LIST_ITEM.test(line);
      if (/^\S/.test(line)) {
        if (afterBlank || opened || (isItem && inList)) end = start;
        if (isItem) inList = true;
        else if (afterBlank || opened) inList = false;
      }
      if (opened && !(opened[1]![0] === "`" && opened[2]!.includes("`"))) [fence, code] = [opened[1]!, next];
      afterBlank = false;
    }
    start = next;
  }
  return fence === "" ? { end } : { end, code };
}

export class StreamedMarkdown {
  readonly body = element("div", { class: "markdown" });
  private source = "";
  private ended = false;
  /** The nodes of the text up to here are final. */
  private finished = 0;
  /** The list in which the finished text ends, and its marker. */
  private list: { element: Element; marker: string } | undefined;
  private rest: ChildNode[] = [];
  private growing: Text | undefined;
  /** The fence that is open at the end: how it begins, where its code begins, and the node of its code. */
  private fence: { marker: string; from: number; code: Text } | undefined;

  constructor(private readonly actions: MarkdownActions) {}

  /** Draws the text. `ended`: nothing more is expected. */
  update(text: string, ended: boolean): void {
    if (text === this.source && ended === this.ended) return;
    if (!text.startsWith(this.source) || this.ended) this.reset();
    [this.source, this.ended] = [text, ended];
    if (this.fence && !this.closeFence(ended ? `${text}\n` : text)) return;
    const { end, code } = ended ? { end: text.length } : findBlocks(text, this.finished, this.list !== undefined);
    if (end > this.finished) this.finish(text.slice(this.finished, end), end);
    if (code === undefined) this.drawRest(text.slice(this.finished));
    else this.openFence(text, code);
  }

  private reset(): void {
    this.clearRest();
    [this.finished, this.list, this.fence] = [0, undefined, undefined];
    this.body.replaceChildren();
  }

  private clearRest(): void {
    for (const node of this.rest) node.remove();
    [this.rest, this.growing] = [[], undefined];
  }

  private finish(text: string, end: number): void {
    this.clearRest();
    const nodes = render(text, this.actions);
    const first = nodes[0] as Element | undefined;
    // The items of a list that was cut belong to one list.
    if (first && this.list && first.nodeName === this.list.element.nodeName && markerOf(text) === this.list.marker) {
      this.list.element.append(...first.childNodes);
      nodes.shift();
    }
    this.body.append(...nodes);
    this.finished = end;
    const last = this.body.lastElementChild;
    const marker = text.split("\n").reduce((marker, line) => markerOf(line) ?? marker, this.list?.marker);
    this.list = last && marker !== undefined && /^[OU]L$/i.test(last.nodeName) ? { element: last, marker } : undefined;
  }

  /** Code grows in its own text node, so that it keeps its scroll position and selection. */
  private openFence(text: string, from: number): void {
    this.clearRest();
    const code = document.createTextNode(text.slice(from));
    const [, marker, info] = FENCE.exec(text.slice(text.lastIndexOf("\n", from - 2) + 1, from - 1))!;
    this.fence = { marker: marker!, from, code };
    const language = info!.trim().split(/\s/, 1)[0]!;
    this.body.append(codeFrame(element("pre", {}, element("code", language === "" ? {} : { class: `language-${language}` }, code)), this.actions));
  }

  /** Adds to the code of the open fence. Returns whether the fence is closed now. */
  private closeFence(text: string): boolean {
    const { marker, from, code } = this.fence!;
    const line = Math.max(from, text.lastIndexOf("\n", from + code.length - 1) + 1);
    const closing = new RegExp(`^${marker[0]}{${marker.length},}[ \\t]*\\n`, "m").exec(text.slice(line));
    const end = closing ? line + closing.index : this.source.length;
    if (end < from + code.length) code.data = text.slice(from, end);
    else code.appendData(text.slice(from + code.length, end));
    if (!closing) return false;
    this.finished = Math.min(this.source.length, end + closing[0].length);
    colorCode(code.parentElement!);
    [this.fence, this.list] = [undefined, undefined];
    return true;
  }

  private drawRest(text: string): void {
    if (text.length > MAX_GROWING_CHARS) {
      if (this.growing && text.startsWith(this.growing.data)) return this.growing.appendData(text.slice(this.growing.length));
      this.clearRest();
      this.growing = document.createTextNode(text);
      this.rest = [element("p", { class: "raw" }, this.growing)];
    } else {
      this.clearRest();
      this.rest = render(text, this.actions);
    }
    this.body.append(...this.rest);
  }
}

function codeFrame(block: HTMLElement, actions: MarkdownActions): HTMLElement {
  block.tabIndex = 0;
  return element("div", { class: "code-frame" }, block, iconButton("copy", "Copy code", () => actions.copy(block.textContent ?? ""), "code-copy"));
}

/** Colors a block of code that is complete. */
function colorCode(code: Element): void {
  const language = /(?:^|\s)language-(\S+)/.exec(code.className)?.[1];
  if (language !== undefined) code.replaceChildren(...highlight(code.textContent ?? "", language.toLowerCase()));
}

/** Makes a box of `[ ]` or `[x]` at the begin of a list item. */
function drawBox(item: Element): void {
  const first = item.firstElementChild?.nodeName.toLowerCase() === "p" ? item.firstElementChild.firstChild : item.firstChild;
  const box = first?.nodeName === "#text" ? /^\s*\[([ xX])\]\s/.exec(first.textContent ?? "") : null;
  if (!box) return;
  first!.textContent = first!.textContent!.slice(box[0].length);
  const checked = box[1] !== " ";
  item.classList.add("task");
  first!.parentNode!.insertBefore(element("span", { class: `codicon codicon-${checked ? "pass" : "circle-large-outline"} box`, role: "img", aria: { label: checked ? "Done" : "To do" } }), first!);
}

/** The nodes of a text. One that cannot be parsed in time is shown as it is. */
function render(text: string, actions: MarkdownActions): ChildNode[] {
  if (text.trim() === "") return [];
  const body = element("div");
  if (text.split("\n").some(line => line.length > MAX_LINE_CHARS)) return [element("p", { class: "raw" }, text)];
  body.innerHTML = markdown.render(text);
  for (const item of body.querySelectorAll("li")) drawBox(item);
  for (const code of body.querySelectorAll("pre > code")) colorCode(code);
  for (const block of body.querySelectorAll("pre")) {
    const place = document.createComment("");
    block.replaceWith(place);
    place.replaceWith(codeFrame(block, actions));
  }
  for (const code of body.querySelectorAll("code")) {
    if (code.closest("pre")) continue;
    const text = code.textContent ?? "";
    const location = findFileLocations(text)[0];
    // A bare name like `main.rs` may be anything; with a path or a line number it is a file location.
    if (!location || location.start !== 0 || location.length !== text.length || (location.line === undefined && !/[/\\]/.test(text))) continue;
    const link = element("a", { href: "#", class: "file-link", onClick: event => (event.preventDefault(), actions.openFile(location.path, location.line, location.column)) });
    code.replaceWith(link);
    link.append(code);
  }
  for (const link of body.querySelectorAll<HTMLAnchorElement>("a[href]:not(.file-link)")) {
    const href = link.getAttribute("href") ?? "";
    if (/^(https?|mailto):/i.test(href)) continue;
    const [encoded = "", fragment] = href.replace(/^file:\/\//, "").split("#");
    const path = decodedUri(encoded);
    const line = /^L?(\d+)/.exec(fragment ?? "")?.[1] ?? /:(\d+)$/.exec(path)?.[1];
    // In a browser a click with another button would follow the address, whatever its scheme is.
    if (!bridge().hasEditor) link.setAttribute("href", "#");
    link.addEventListener("click", event => {
      event.preventDefault();
      if (path) actions.openFile(path.replace(/:\d+$/, ""), line === undefined ? undefined : Number(line));
    });
  }
  return [...body.childNodes];
}
