// What was entered before, in a text box: the arrow keys go through it from the first and from the last line.

export class History {
  private at: number;
  /** What was entered and not yet used. */
  private draft = "";

  constructor(private readonly entries: readonly string[]) {
    this.at = entries.length;
  }

  /** Handles a key. Returns whether it changed the text. */
  key(event: KeyboardEvent, box: HTMLTextAreaElement): boolean {
    const { value, selectionStart, selectionEnd } = box;
    if (event.shiftKey || event.altKey || event.ctrlKey || event.metaKey || selectionStart !== selectionEnd) return false;
    if (event.key === "ArrowUp" ? value.slice(0, selectionStart).includes("\n") : event.key !== "ArrowDown" || value.slice(selectionStart).includes("\n")) return false;
    const next = this.at + (event.key === "ArrowUp" ? -1 : 1);
    if (next < 0 || next > this.entries.length) return false;
    if (this.at === this.entries.length) this.draft = value;
    this.at = next;
    box.value = this.entries[next] ?? this.draft;
    box.setSelectionRange(box.value.length, box.value.length);
    event.preventDefault();
    return true;
  }
}
