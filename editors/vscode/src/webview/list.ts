// A virtual list: draws only the visible items, of any number and height. It follows its end until the reader scrolls
// away from it.
import { defaultRangeExtractor, elementScroll, measureElement, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { element } from "./dom";
import { saveState } from "./state";

export interface ListItems {
  count(): number;
  /** How many there are in all, also those that are not here. */
  total(): number;
  /** The item's number. It stays the same while other items come before it. */
  key(index: number): number;
  indexOf(key: number): number;
  /** Fills or refills the element of an item. */
  draw(key: number, into: HTMLElement): void;
  /** Changes when the item has to be drawn again. */
  revision(key: number): string;
  label(key: number): string;
}

/** A scroll position this close to the end counts as the end. */
const END_DISTANCE_PX = 40;
/** Earlier items are loaded when the reader is this close to the start. */
const START_DISTANCE_PX = 1_500;
const ESTIMATED_HEIGHT_PX = 56;

export class List {
  readonly scroller = element("div", { class: "scroller", tabIndex: -1 });
  private readonly sizer = element("div", { class: "sizer", role: "feed", aria: { label: "Transcript", busy: "true" } });
  private readonly shown = new Map<number, { box: HTMLElement; revision: string }>();
  private readonly virtual: Virtualizer<HTMLElement, HTMLElement>;
  /** Number of the item that has, or had last, the keyboard focus. */
  private focused = 0;
  private following = true;
  /** The visible rows as of the last drawing. */
  private drawn: { key: number; start: number; end: number }[] = [];
  /**
   * The last known scroll position. We update it whenever we scroll, so a smaller position means that the reader
   * scrolled up.
   */
  private top = 0;
  private pending = false;
  /** Called when the list starts or stops following its end. */
  onFollowing: (stuck: boolean) => void = () => {};
  /** Called after the visible items were drawn. */
  onDrawn: () => void = () => {};

  constructor(private readonly items: ListItems) {
    this.scroller.append(this.sizer);
    this.virtual = new Virtualizer<HTMLElement, HTMLElement>({
      count: 0,
      getScrollElement: () => this.scroller,
      estimateSize: () => ESTIMATED_HEIGHT_PX,
      getItemKey: index => items.key(index),
      overscan: 8,
      // The focused item stays in the DOM when it scrolls out of view. Without it the keyboard focus would be lost.
      rangeExtractor: range => {
        const indexes = defaultRangeExtractor(range);
        const focused = this.items.indexOf(this.focused);
        if (focused >= 0 && !indexes.includes(focused) && this.sizer.contains(document.activeElement)) {
          indexes.push(focused);
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
      onChange: () => this.scheduleDraw(),
    });
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.sizer.addEventListener("focusin", event => {
      const box = (event.target as HTMLElement).closest<HTMLElement>("[data-item]");
      if (box) this.focused = Number(box.dataset["item"]);
    });
    this.sizer.addEventListener("keydown", event => this.key(event));
  }

  /** Has to be called once the scroller is part of the page. */
  mount(): void {
    this.virtual._didMount();
    this.virtual._willUpdate();
  }

  busy(busy: boolean): void {
    this.sizer.setAttribute("aria-busy", String(busy));
  }

  /** Called when items changed. `rowsChanged`: also which rows there are. What the reader sees stays where it is. */
  update(rowsChanged: boolean): void {
    if (rowsChanged) {
      const anchor = this.following ? undefined : this.drawn.find(({ end }) => end > this.scroller.scrollTop);
      const offset = this.scroller.scrollTop - (anchor?.start ?? 0);
      // A new function makes the virtualizer compute all positions again, from the heights that it knows by key.
      this.virtual.setOptions({ ...this.virtual.options, count: this.items.count(), getItemKey: index => this.items.key(index) });
      this.sizer.style.height = `${this.virtual.getTotalSize()}px`;
      const index = anchor ? this.items.indexOf(anchor.key) : -1;
      const start = this.virtual.measurementsCache[index]?.start;
      if (start !== undefined && start !== anchor!.start) this.scroller.scrollTop = this.top = start + offset;
      this.virtual._willUpdate();
    }
    this.scheduleDraw();
  }

  reset(): void {
    for (const { box } of this.shown.values()) box.remove();
    this.shown.clear();
    this.drawn = [];
    this.focused = 0;
    this.setFollowing(true);
    this.virtual.measure();
    this.update(true);
  }

  get atEnd(): boolean {
    return this.following;
  }

  toEnd(): void {
    this.setFollowing(true);
    this.scheduleDraw();
  }

  /** Whether the reader is near the first item that is here. */
  get nearStart(): boolean {
    return this.scroller.scrollTop < START_DISTANCE_PX;
  }

  /** Scrolls to an item, and with `focus` moves the keyboard focus to it. */
  show(key: number, focus: boolean, align: "start" | "center" | "auto" = "center"): void {
    this.setFollowing(false);
    this.virtual.scrollToIndex(this.items.indexOf(key), { align });
    if (focus) this.focus(key);
  }

  visible(key: number): HTMLElement | undefined {
    return this.shown.get(key)?.box;
  }

  boxes(): Iterable<[number, HTMLElement]> {
    return [...this.shown].map(([key, { box }]) => [key, box] as [number, HTMLElement]);
  }

  focus(key: number): void {
    this.focused = key;
    const tryFocus = (tries: number) => {
      const box = this.shown.get(key)?.box;
      if (box) box.focus({ preventScroll: true });
      else if (tries > 0) requestAnimationFrame(() => tryFocus(tries - 1));
    };
    tryFocus(30);
  }

  /** Moves the focus back to the item that had it last, else to the last one. */
  refocus(): void {
    if (this.items.count() > 0) this.focus(this.items.indexOf(this.focused) >= 0 ? this.focused : this.items.key(this.items.count() - 1));
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.items.count() - 1;
    const at = this.items.indexOf(this.focused);
    const next = { ArrowDown: at + 1, j: at + 1, PageDown: at + 10, ArrowUp: at - 1, k: at - 1, PageUp: at - 10, Home: 0, End: last }[event.key];
    // Inside of a long output or diff the arrow keys scroll it.
    if (next === undefined || (target.matches("pre, .diff") && event.key !== "j" && event.key !== "k")) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(last, next));
    this.show(this.items.key(index), true, "auto");
    if (index === last) this.setFollowing(true);
  }

  private scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const near = scrollHeight - scrollTop - clientHeight < END_DISTANCE_PX;
    const moved = scrollTop - this.top;
    this.top = scrollTop;
    // Only scrolling up stops following: when the list grows, the end moves away without it.
    if (moved < -1 && !near) this.setFollowing(false);
    else if (near && moved >= 0) this.setFollowing(true);
  }

  private setFollowing(following: boolean): void {
    if (following === this.following) return;
    this.following = following;
    this.onFollowing(following);
  }

  private scheduleDraw(): void {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
    });
  }

  private draw(): void {
    const follow = this.following;
    const rows = this.virtual.getVirtualItems();
    const keys = new Set(rows.map(({ key }) => key as number));
    for (const [key, { box }] of this.shown) {
      if (keys.has(key)) continue;
      box.remove();
      this.shown.delete(key);
    }
    this.sizer.style.height = `${this.virtual.getTotalSize()}px`;
    // The item that keeps its place in the order of tabs when none has the focus.
    const tabStop = keys.has(this.focused) ? this.focused : (rows.at(-1)?.key as number | undefined);
    let before: HTMLElement | null = null;
    for (const { index, start, key: rowKey } of rows) {
      const key = rowKey as number;
      const revision = this.items.revision(key);
      let known = this.shown.get(key);
      if (!known) {
        const box = element("article", { class: "item", tabIndex: -1, data: { item: String(key) } });
        known = { box, revision: "" };
        this.shown.set(key, known);
      }
      const { box } = known;
      // The virtualizer measures by this attribute.
      box.dataset["index"] = String(index);
      if (known.revision !== revision) {
        const restore = saveState(box);
        this.items.draw(key, box);
        known.revision = revision;
        restore();
        box.setAttribute("aria-label", this.items.label(key));
      }
      box.tabIndex = key === tabStop ? 0 : -1;
      box.setAttribute("aria-posinset", String(key));
      box.setAttribute("aria-setsize", String(this.items.total()));
      box.style.transform = `translateY(${start}px)`;
      // Screen readers read the elements in DOM order, so it has to be the order of the items.
      const place: ChildNode | null = before ? before.nextSibling : this.sizer.firstChild;
      if (place !== box) this.sizer.insertBefore(box, place);
      before = box;
      this.virtual.measureElement(box);
    }
    this.drawn = rows.map(({ key, start, end }) => ({ key: key as number, start, end }));
    if (follow) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.top = this.scroller.scrollTop;
    }
    this.onDrawn();
  }
}
