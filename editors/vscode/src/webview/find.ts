// Finds text in the whole transcript, also in items that are not drawn, and highlights matches in those that are.
import { element, icon, iconButton } from "./dom";
import { BLOCK_END } from "./markdown";

export interface FindTarget {
  /** The items that are here, by number. */
  numbers(): readonly number[];
  text(number: number): string;
  /** Expands the item and scrolls to it. */
  show(number: number): void;
  boxes(): Iterable<[number, HTMLElement]>;
}

interface Match {
  item: number;
  /** Which occurrence within the item, counted from 0. */
  occurrence: number;
}

export class Find {
  private readonly input = element("input", { type: "text", aria: { label: "Find in transcript" } });
  private readonly counter = element("span", { class: "find-count", role: "status" });
  readonly bar = element("div", { class: "find", role: "search" });
  private matches: Match[] = [];
  private current = -1;
  private query = "";
  /** Whether to go to the first match as soon as there is one. */
  private jumpPending = false;
  /** Whether the current match is new, and has to be scrolled to once it is drawn. */
  private unseen = false;

  constructor(private readonly target: FindTarget) {
    this.input.placeholder = "Find";
    this.bar.hidden = true;
    this.bar.append(icon("search"), this.input, this.counter, iconButton("arrow-up", "Previous match", () => this.step(-1)), iconButton("arrow-down", "Next match", () => this.step(1)), iconButton("close", "Close", () => this.close()));
    this.input.addEventListener("input", () => {
      this.jumpPending = true;
      this.search(true);
    });
    this.bar.addEventListener("keydown", event => {
      if (event.key === "Escape") this.close();
      else if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  get isOpen(): boolean {
    return !this.bar.hidden;
  }

  get isSearching(): boolean {
    return this.isOpen && this.query !== "";
  }

  /** Opens the find widget with `query`, or with the last query if it is empty. */
  open(query = ""): void {
    this.bar.hidden = false;
    if (query !== "") this.input.value = query;
    this.jumpPending = query !== "";
    this.input.focus();
    this.input.select();
    this.search(this.jumpPending);
  }

  close(): void {
    this.bar.hidden = true;
    this.query = "";
    this.matches = [];
    this.mark();
    this.jumpPending = false;
    this.onClose();
  }

  onClose: () => void = () => {};
  /** Called after a search: there may be more to search in than what is here. */
  onSearch: () => void = () => {};

  /** Called when there are new items. */
  refresh(): void {
    if (this.isOpen && this.query !== "") this.search(this.jumpPending);
  }

  private search(jump: boolean): void {
    this.query = folded(this.input.value);
    const old = this.matches[this.current];
    this.matches = [];
    if (this.query !== "") {
      for (const item of this.target.numbers()) {
        const text = folded(this.target.text(item));
        for (let from = text.indexOf(this.query), nth = 0; from >= 0; from = text.indexOf(this.query, from + this.query.length)) this.matches.push({ item, occurrence: nth++ });
      }
    }
    this.current = old ? this.matches.findIndex(hit => hit.item === old.item && hit.occurrence === old.occurrence) : -1;
    if (jump && this.matches.length > 0) {
      this.jumpPending = false;
      this.current = Math.max(0, this.current);
      this.unseen = true;
      this.target.show(this.matches[this.current]!.item);
    }
    this.showCount();
    this.mark();
    this.onSearch();
  }

  private step(by: number): void {
    if (this.matches.length === 0) return;
    this.current = (this.current + by + this.matches.length) % this.matches.length;
    this.unseen = true;
    this.target.show(this.matches[this.current]!.item);
    this.showCount();
    this.mark();
  }

  private showCount(): void {
    this.counter.textContent = this.query === "" ? "" : this.matches.length === 0 ? "No results" : `${this.current + 1} of ${this.matches.length}`;
  }

  /** Highlights matches with the CSS Custom Highlight API, which changes no elements. */
  mark(): void {
    if (!("highlights" in CSS)) return;
    CSS.highlights.delete("found");
    CSS.highlights.delete("found-now");
    if (this.query === "") return;
    const all = new Highlight();
    const now = new Highlight();
    const current = this.matches[this.current];
    for (const [item, box] of this.target.boxes()) {
      const ranges = rangesOf(box, this.query);
      // What is drawn may have fewer: a long output shows only its end.
      const at = current?.item === item ? Math.min(current.occurrence, ranges.length - 1) : -1;
      for (const [nth, range] of ranges.entries()) (nth === at ? now : all).add(range);
    }
    CSS.highlights.set("found", all);
    CSS.highlights.set("found-now", now);
    const [range] = now as unknown as Iterable<Range>;
    if (range && this.unseen) this.reveal(range);
  }

  /** Scrolls to the current match if it is drawn but not in view: its item may be longer than the page. */
  private reveal(range: Range): void {
    this.unseen = false;
    const { top, bottom } = range.getBoundingClientRect();
    if (top < this.bar.getBoundingClientRect().bottom || bottom > window.innerHeight) range.startContainer.parentElement?.scrollIntoView({ block: "center" });
  }
}

/** The text as it is compared, of the same length. A line break is a blank. */
function folded(text: string): string {
  const lower = text.toLowerCase();
  return (lower.length === text.length ? lower : text).replace(/\s/g, " ");
}

/** Parts of an item that are not its text. */
const APART = ".item-head, .reach, .tool-state, .tool-facts, .diff-number, .diff-sign, .question .buttons, .visually-hidden";

/** The places of a query in an item, also where one crosses elements: a bold word, a link, colors of code. */
export function rangesOf(box: HTMLElement, query: string): Range[] {
  const nodes: { node: Node; from: number }[] = [];
  let text = "";
  let block: Element | null = null;
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement!.closest(APART)) continue;
    const own: Element | null = node.parentElement!.closest("p, li, pre, td, th, h1, h2, h3, h4, h5, h6, div, button, blockquote");
    if (own !== block) text += BLOCK_END;
    block = own;
    nodes.push({ node, from: text.length });
    text += node.textContent ?? "";
  }
  text = folded(text);
  const ranges: Range[] = [];
  let first = 0;
  for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) {
    while (first + 1 < nodes.length && nodes[first + 1]!.from <= at) first++;
    let last = first;
    while (last + 1 < nodes.length && nodes[last + 1]!.from < at + query.length) last++;
    const range = document.createRange();
    range.setStart(nodes[first]!.node, at - nodes[first]!.from);
    range.setEnd(nodes[last]!.node, at + query.length - nodes[last]!.from);
    ranges.push(range);
  }
  return ranges;
}
