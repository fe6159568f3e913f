// What a reader has in an item that is drawn again: the focus and typed text, the selection, and how far boxes are
// scrolled. Elements are found again by their `data-key`; a control without one by its name and its place among those of that name.

/** A box scrolled this close to its end follows the end. */
const END_DISTANCE_PX = 4;

/** Remembers the state of an item. The returned function restores it after the item was drawn again. */
export function saveState(box: HTMLElement): () => void {
  const restores = [saveFocus(box), saveSelection(box), ...saveScroll(box)];
  return () => {
    for (const restore of restores) restore();
    // New boxes of live output begin at their end.
    for (const live of box.querySelectorAll<HTMLElement>("[data-live]")) if (!live.dataset["scrolled"]) live.scrollTop = live.scrollHeight;
  };
}

const find = (box: HTMLElement, key: string | undefined) => (key === undefined ? null : box.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`));

/** The controls of an item that a reader cannot tell from this one but by their places. */
function namesakes(box: HTMLElement, control: HTMLElement): HTMLElement[] {
  const name = (each: HTMLElement) => each.getAttribute("aria-label") ?? each.textContent;
  return [...box.querySelectorAll<HTMLElement>(control.tagName)].filter(each => name(each) === name(control));
}

function saveFocus(box: HTMLElement): () => void {
  const active = document.activeElement as HTMLElement | null;
  if (!active || active === box || !box.contains(active)) return () => {};
  const place = namesakes(box, active).indexOf(active);
  return () => {
    if (active.isConnected) return;
    const again = find(box, active.dataset["key"]) ?? namesakes(box, active)[place];
    if (again instanceof HTMLInputElement && active instanceof HTMLInputElement) again.setSelectionRange(active.selectionStart, active.selectionEnd);
    (again ?? box).focus({ preventScroll: true });
  };
}

function saveScroll(box: HTMLElement): (() => void)[] {
  return [...box.querySelectorAll<HTMLElement>("[data-key]")].flatMap(old => {
    const { scrollTop, scrollLeft, scrollHeight, clientHeight } = old;
    const atEnd = scrollHeight - scrollTop - clientHeight <= END_DISTANCE_PX;
    // Live output that was scrolled stays where the reader put it.
    if (scrollTop === 0 && scrollLeft === 0 && (atEnd || old.dataset["live"] === undefined)) return [];
    return [
      () => {
        const again = find(box, old.dataset["key"]);
        if (!again || again === old) return;
        if (atEnd && again.dataset["live"] !== undefined) return;
        again.dataset["scrolled"] = "yes";
        again.scrollTop = scrollTop;
        again.scrollLeft = scrollLeft;
      },
    ];
  });
}

/** A selection that begins or ends in the item, as numbers of characters from the item's start. */
function saveSelection(box: HTMLElement): () => void {
  const selection = document.getSelection();
  if (!selection || selection.isCollapsed) return () => {};
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
  const [anchor, focus] = [offsetOf(box, anchorNode, anchorOffset), offsetOf(box, focusNode, focusOffset)];
  if (anchor === undefined && focus === undefined) return () => {};
  return () => {
    // Where the nodes were kept, so was the selection.
    if (selection.anchorNode === anchorNode && selection.focusNode === focusNode && selection.anchorOffset === anchorOffset && selection.focusOffset === focusOffset) return;
    const from = anchor === undefined ? ([anchorNode, anchorOffset] as const) : pointAt(box, anchor);
    const to = focus === undefined ? ([focusNode, focusOffset] as const) : pointAt(box, focus);
    if (from?.[0]?.isConnected && to?.[0]?.isConnected) selection.setBaseAndExtent(from[0], from[1], to[0], to[1]);
  };
}

function offsetOf(box: HTMLElement, node: Node | null, offset: number): number | undefined {
  if (!node || !box.contains(node)) return undefined;
  const range = document.createRange();
  range.selectNodeContents(box);
  range.setEnd(node, offset);
  return range.toString().length;
}

function pointAt(box: HTMLElement, offset: number): readonly [Node, number] | undefined {
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  let left = offset;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { length } = node as Text;
    if (left <= length) return [node, left];
    left -= length;
  }
  return undefined;
}
