// Completion in a text box: files after `@`, and the agent's commands after `/` at the begin.
import { element } from "./dom";

export interface Suggestion {
  label: string;
  detail: string;
  /** What replaces the word that was begun. */
  insert: string;
  accept?(): void;
}

export interface Word {
  trigger: "@" | "/";
  query: string;
  /** Where it begins, with its trigger. */
  from: number;
}

/** The word before the cursor, if it is one that is completed. */
export function wordAt(text: string, cursor: number): Word | undefined {
  const before = text.slice(0, cursor);
  const command = /^\/(\S*)$/.exec(before);
  if (command) return { trigger: "/", query: command[1]!, from: 0 };
  const file = /(?:^|\s)@([^\s@]*)$/.exec(before);
  return file ? { trigger: "@", query: file[1]!, from: cursor - file[1]!.length - 1 } : undefined;
}

export class Completion {
  readonly list = element("ul", { class: "completion", role: "listbox", aria: { label: "Completions" } });
  private suggestions: Suggestion[] = [];
  private at = 0;

  /** `wanted` is called when a word is begun; `offer` has the answer. */
  constructor(
    private readonly box: HTMLTextAreaElement,
    private readonly wanted: (word: Word) => void,
  ) {
    this.list.id = "completions";
    this.list.hidden = true;
    box.setAttribute("aria-autocomplete", "list");
    box.setAttribute("aria-controls", this.list.id);
    box.addEventListener("input", () => this.update());
    box.addEventListener("blur", () => this.close());
    // In front of the box's own keys.
    box.addEventListener("keydown", event => this.key(event), true);
  }

  private get word(): Word | undefined {
    return wordAt(this.box.value, this.box.selectionStart);
  }

  private update(): void {
    const word = this.word;
    if (word) this.wanted(word);
    else this.close();
  }

  /** Shows what completes a word, if that is still the one before the cursor. */
  offer(trigger: Word["trigger"], query: string, suggestions: Suggestion[]): void {
    const word = this.word;
    if (word?.trigger !== trigger || word.query !== query || document.activeElement !== this.box) return;
    [this.suggestions, this.at] = [suggestions, 0];
    this.draw();
  }

  private close(): void {
    this.suggestions = [];
    this.draw();
  }

  private accept(suggestion: Suggestion): void {
    const word = this.word;
    this.close();
    if (!word) return;
    this.box.setRangeText(`${suggestion.insert} `, word.from, this.box.selectionStart, "end");
    suggestion.accept?.();
    this.box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  private key(event: KeyboardEvent): void {
    const chosen = this.suggestions[this.at];
    if (!chosen || event.isComposing) return;
    const count = this.suggestions.length;
    if (event.key === "ArrowDown") this.at = (this.at + 1) % count;
    else if (event.key === "ArrowUp") this.at = (this.at + count - 1) % count;
    else if (event.key === "Escape") this.suggestions = [];
    else if ((event.key === "Enter" && !event.shiftKey) || event.key === "Tab") this.accept(chosen);
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.draw();
  }

  private draw(): void {
    this.list.hidden = this.suggestions.length === 0;
    this.list.replaceChildren(
      ...this.suggestions.map((suggestion, index) => {
        const row = element("li", { role: "option", aria: { selected: String(index === this.at) } }, element("span", {}, suggestion.label), element("span", { class: "quiet" }, suggestion.detail));
        row.id = `completion-${index}`;
        // The focus stays in the box.
        row.addEventListener("mousedown", event => (event.preventDefault(), this.accept(suggestion)));
        return row;
      }),
    );
    if (this.list.hidden) this.box.removeAttribute("aria-activedescendant");
    else this.box.setAttribute("aria-activedescendant", `completion-${this.at}`);
    this.list.children[this.at]?.scrollIntoView({ block: "nearest" });
  }
}
