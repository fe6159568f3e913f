// A list that draws only what is in sight, for any number of items of any height. It follows its end until somebody scrolls away from it.
import { defaultRangeExtractor, elementScroll, measureElement, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { element } from "./dom";

export interface Drawn {
  count(): number;
  /** Fills or refills the element of an item. */
  draw(index: number, into: HTMLElement): void;
  /** Raised when the item has to be drawn anew. */
  revision(index: number): number;
  label(index: number): string;
}

/** This near to the end counts as the end, in pixels. */
const NEAR = 40;
const ESTIMATE = 56;

export class List {
  readonly scroller = element("div", { class: "scroller", tabIndex: -1 });
  private readonly sizer = element("div", { class: "sizer", role: "feed", aria: { label: "Transcript", busy: "true" } });
  private readonly shown = new Map<number, { box: HTMLElement; revision: number }>();
  private readonly virtual: Virtualizer<HTMLElement, HTMLElement>;
  private focused = 0;
  private stuck = true;
  /** Where the scroller stood last, by our hand or a reader's: what moves up from there on its own account was moved by a reader. */
  private top = 0;
  private pending = false;
  /** Told when the list begins or ceases to follow its end. */
  onStuck: (stuck: boolean) => void = () => {};
  /** Told after what is in sight was drawn. */
  onDrawn: () => void = () => {};

  constructor(private readonly items: Drawn) {
    this.scroller.append(this.sizer);
    this.virtual = new Virtualizer<HTMLElement, HTMLElement>({
      count: 0,
      getScrollElement: () => this.scroller,
      estimateSize: () => ESTIMATE,
      overscan: 8,
      // The item with the focus stays, or a keyboard's place would be lost with it.
      rangeExtractor: range => {
        const indexes = defaultRangeExtractor(range);
        if (this.focused < this.items.count() && !indexes.includes(this.focused) && this.sizer.contains(document.activeElement)) {
          indexes.push(this.focused);
          indexes.sort((a, b) => a - b);
        }
        return indexes;
      },
      observeElementRect,
      observeElementOffset,
      scrollToFn: (offset, options, instance) => {
        elementScroll(offset, options, instance);
        this.top = this.scroller.scrollTop;
      },
      measureElement,
      onChange: () => this.soon(),
    });
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.sizer.addEventListener("focusin", event => {
      const box = (event.target as HTMLElement).closest<HTMLElement>("[data-index]");
      if (box) this.focused = Number(box.dataset["index"]);
    });
    this.sizer.addEventListener("keydown", event => this.key(event));
  }

  /** Once the scroller is part of the page. */
  mount(): void {
    this.virtual._didMount();
    this.virtual._willUpdate();
  }

  busy(busy: boolean): void {
    this.sizer.setAttribute("aria-busy", String(busy));
  }

  /** The items are others, or more. */
  update(): void {
    if (this.virtual.options.count !== this.items.count()) {
      this.virtual.setOptions({ ...this.virtual.options, count: this.items.count() });
      this.virtual._willUpdate();
    }
    this.soon();
  }

  reset(): void {
    for (const { box } of this.shown.values()) box.remove();
    this.shown.clear();
    this.focused = 0;
    this.stick(true);
    this.virtual.measure();
    this.update();
  }

  get atEnd(): boolean {
    return this.stuck;
  }

  toEnd(): void {
    this.stick(true);
    this.soon();
  }

  /** Brings an item into sight, and with `focus` the keyboard to it. */
  show(index: number, focus: boolean, align: "start" | "center" | "auto" = "center"): void {
    this.stick(false);
    this.virtual.scrollToIndex(index, { align });
    if (focus) this.focus(index);
  }

  visible(index: number): HTMLElement | undefined {
    return this.shown.get(index)?.box;
  }

  boxes(): Iterable<[number, HTMLElement]> {
    return [...this.shown].map(([index, { box }]) => [index, box] as [number, HTMLElement]);
  }

  focus(index: number): void {
    this.focused = index;
    const grasp = (tries: number) => {
      const box = this.shown.get(index)?.box;
      if (box) box.focus({ preventScroll: true });
      else if (tries > 0) requestAnimationFrame(() => grasp(tries - 1));
    };
    grasp(30);
  }

  /** Back to the item that had the focus last. */
  refocus(): void {
    if (this.items.count() > 0) this.focus(Math.min(this.focused, this.items.count() - 1));
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.items.count() - 1;
    const next = { ArrowDown: this.focused + 1, j: this.focused + 1, PageDown: this.focused + 10, ArrowUp: this.focused - 1, k: this.focused - 1, PageUp: this.focused - 10, Home: 0, End: last }[event.key];
    // Inside of a long output the arrows scroll it.
    if (next === undefined || (target.matches("pre, .diff") && event.key !== "j" && event.key !== "k")) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(last, next));
    this.show(index, true, "auto");
    if (index === last) this.stick(true);
  }

  private scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR;
    const moved = scrollTop - this.top;
    this.top = scrollTop;
    // That the list grew below is no reason to leave its end.
    if (moved < -1 && !near) this.stick(false);
    else if (near && moved >= 0) this.stick(true);
  }

  private stick(stuck: boolean): void {
    if (stuck === this.stuck) return;
    this.stuck = stuck;
    this.onStuck(stuck);
  }

  private soon(): void {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  private draw(): void {
    const follow = this.stuck;
    const rows = this.virtual.getVirtualItems();
    const wanted = new Set(rows.map(({ index }) => index));
    for (const [index, { box }] of this.shown) {
      if (wanted.has(index)) continue;
      box.remove();
      this.shown.delete(index);
    }
    this.sizer.style.height = `${this.virtual.getTotalSize()}px`;
    let before: HTMLElement | null = null;
    for (const { index, start } of rows) {
      const revision = this.items.revision(index);
      let known = this.shown.get(index);
      if (!known) {
        const box = element("article", { class: "item", tabIndex: -1, data: { index: String(index) } });
        known = { box, revision: -1 };
        this.shown.set(index, known);
      }
      const { box } = known;
      if (known.revision !== revision) {
        const held = holdFocus(box);
        this.items.draw(index, box);
        known.revision = revision;
        held();
        box.setAttribute("aria-label", this.items.label(index));
      }
      box.tabIndex = index === this.focused ? 0 : -1;
      box.setAttribute("aria-posinset", String(index + 1));
      box.setAttribute("aria-setsize", String(this.items.count()));
      box.style.transform = `translateY(${start}px)`;
      // The order of the elements is the order of reading.
      const place: ChildNode | null = before ? before.nextSibling : this.sizer.firstChild;
      if (place !== box) this.sizer.insertBefore(box, place);
      before = box;
      this.virtual.measureElement(box);
    }
    if (follow) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.top = this.scroller.scrollTop;
    }
    this.onDrawn();
  }
}

/** Drawing an item anew must not take the focus away from what stands in it. */
function holdFocus(box: HTMLElement): () => void {
  const active = document.activeElement as HTMLElement | null;
  if (!active || active === box || !box.contains(active)) return () => {};
  const key = active.dataset["key"];
  const text = active instanceof HTMLInputElement ? active.value : undefined;
  return () => {
    const again = key === undefined ? null : box.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
    if (again instanceof HTMLInputElement && text !== undefined) again.value = text;
    (again ?? box).focus({ preventScroll: true });
  };
}
