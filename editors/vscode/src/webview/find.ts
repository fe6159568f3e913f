// Finds text in the whole transcript, in sight or not, and marks what is in sight.
import { element, icon, iconButton } from "./dom";

export interface Searched {
  count(): number;
  text(index: number): string;
  /** Opens the item and brings it into sight. */
  show(index: number): void;
  boxes(): Iterable<[number, HTMLElement]>;
}

interface Hit {
  item: number;
  /** Which occurrence within the item. */
  nth: number;
}

export class Find {
  private readonly input = element("input", { type: "text", aria: { label: "Find in transcript" } });
  private readonly counter = element("span", { class: "find-count", role: "status" });
  readonly bar = element("div", { class: "find", role: "search" });
  private hits: Hit[] = [];
  private at = -1;
  private query = "";
  /** The first match is still to be gone to, as soon as there is one. */
  private sought = false;

  constructor(private readonly searched: Searched) {
    this.input.placeholder = "Find";
    this.bar.hidden = true;
    this.bar.append(icon("search"), this.input, this.counter, iconButton("arrow-up", "Previous match", () => this.step(-1)), iconButton("arrow-down", "Next match", () => this.step(1)), iconButton("close", "Close", () => this.close()));
    this.input.addEventListener("input", () => this.search(true));
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

  /** With `query`, what is looked for; else what was looked for last. */
  open(query = ""): void {
    this.bar.hidden = false;
    if (query !== "") this.input.value = query;
    this.sought = query !== "";
    this.input.focus();
    this.input.select();
    this.search(this.sought);
  }

  close(): void {
    this.bar.hidden = true;
    this.query = "";
    this.hits = [];
    this.mark();
    this.sought = false;
    this.onClose();
  }

  onClose: () => void = () => {};

  /** The transcript grew. */
  refresh(): void {
    if (this.isOpen && this.query !== "") this.search(this.sought);
  }

  private search(jump: boolean): void {
    this.query = this.input.value.toLowerCase();
    const old = this.hits[this.at];
    this.hits = [];
    if (this.query !== "") {
      for (let item = 0; item < this.searched.count(); item++) {
        const text = this.searched.text(item).toLowerCase();
        for (let from = text.indexOf(this.query), nth = 0; from >= 0; from = text.indexOf(this.query, from + this.query.length)) this.hits.push({ item, nth: nth++ });
      }
    }
    this.at = old ? this.hits.findIndex(hit => hit.item === old.item && hit.nth === old.nth) : -1;
    if (jump && this.hits.length > 0) {
      this.sought = false;
      this.at = Math.max(0, this.at);
      this.searched.show(this.hits[this.at]!.item);
    }
    this.tell();
    this.mark();
  }

  private step(by: number): void {
    if (this.hits.length === 0) return;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    this.searched.show(this.hits[this.at]!.item);
    this.tell();
    this.mark();
  }

  private tell(): void {
    this.counter.textContent = this.query === "" ? "" : this.hits.length === 0 ? "nothing found" : `${this.at + 1} of ${this.hits.length}`;
  }

  /** Marks without touching the elements: by the browser's highlights. */
  mark(): void {
    if (!("highlights" in CSS)) return;
    CSS.highlights.delete("found");
    CSS.highlights.delete("found-now");
    if (this.query === "") return;
    const all = new Highlight();
    const now = new Highlight();
    const current = this.hits[this.at];
    for (const [index, box] of this.searched.boxes()) {
      let nth = 0;
      const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = (node.textContent ?? "").toLowerCase();
        for (let from = text.indexOf(this.query); from >= 0; from = text.indexOf(this.query, from + this.query.length)) {
          const range = new Range();
          range.setStart(node, from);
          range.setEnd(node, from + this.query.length);
          (current?.item === index && current.nth === nth ? now : all).add(range);
          nth++;
        }
      }
    }
    CSS.highlights.set("found", all);
    CSS.highlights.set("found-now", now);
  }
}
