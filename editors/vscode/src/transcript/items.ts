// The items of a run's transcript that the page has, as the server sent them: pages, single items, and what is appended.
// It interprets nothing. Uses neither VS Code nor the DOM.
import type { Item, ItemAppend, ItemParams, Output, OutputAppend } from "../protocol";

export type ItemOf<K extends Item["kind"]> = Extract<Item, { kind: K }>;

interface Known {
  item: Item;
  /** Incremented with every change. */
  revision: number;
  /** The entry as of which the item came whole. Appends of earlier entries are in it. */
  wholeSeq: number;
  /** Whether it was read with nothing omitted. */
  complete: boolean;
}

export interface Row {
  number: number;
  /** How many sub-agents it is inside of. */
  depth: number;
}

export class Transcript {
  private readonly known = new Map<number, Known>();
  private readonly numbers: number[] = [];
  private readonly children = new Map<number, number[]>();
  private readonly turnStarts = new Map<number, number>();
  private readonly permissionIds = new Set<string>();
  private readonly withdrawn = new Set<number>();
  private readonly openQuestions = new Map<number, ItemOf<"permission">>();
  /** The agent's last plan; a sub-agent's own is not it. */
  lastPlan: number | undefined;
  /** How many items the run has. */
  total = 0;
  /** `before` of the page before the first one here; absent if that is the first of all. */
  prev: number | undefined;
  /** Increases when an item is added or a question is opened or answered. */
  structure = 0;
  private sortedStructure = 0;

  get size(): number {
    return this.numbers.length;
  }

  get(number: number): Item | undefined {
    return this.known.get(number)?.item;
  }

  revision(number: number): number {
    return this.known.get(number)?.revision ?? 0;
  }

  /** Whether something is omitted in the item that reading it by its number has. */
  isIncomplete(number: number): boolean {
    const known = this.known.get(number);
    return known !== undefined && !known.complete && isOmitted(known.item);
  }

  /** Takes a page, or an item that was read by its number. */
  takePage(items: readonly Item[], complete: boolean): void {
    for (const item of items) this.put(item, complete);
    this.sort();
  }

  /** Takes the params of a `run/item`. */
  takeChange({ seq, ...change }: ItemParams): void {
    if ("append" in change) {
      const known = this.known.get(change.item);
      if (!known || seq <= known.wholeSeq) return;
      known.item = { ...grown(known.item, change.append), lastSeq: seq };
      known.revision++;
      return;
    }
    const { item } = change;
    // Items of pages that are not here yet come with their page.
    if (!this.known.has(item.item) && item.item < (this.prev ?? 0)) return;
    this.put(item, false);
    this.sort();
  }

  /** The items in the order in which they are drawn: a sub-agent's items below the call that started it, if that is open. */
  rows(isOpen: (item: Item) => boolean): Row[] {
    const rows: Row[] = [];
    const stack = this.numbers.filter(number => this.parentOf(number) === undefined).map(number => ({ number, depth: 0 })).reverse();
    for (let row = stack.pop(); row; row = stack.pop()) {
      rows.push(row);
      const children = this.children.get(row.number);
      if (children && isOpen(this.get(row.number)!)) for (const number of [...children].reverse()) stack.push({ number, depth: row.depth + 1 });
    }
    return rows;
  }

  /** The call whose sub-agent the item belongs to, if it is here. */
  parentOf(number: number): number | undefined {
    const parent = this.get(number)?.parent;
    return parent != null && parent < number && this.known.has(parent) ? parent : undefined;
  }

  childrenOf(number: number): readonly number[] {
    return this.children.get(number) ?? [];
  }

  /** Permission requests without an answer, oldest first. */
  questions(): ItemOf<"permission">[] {
    return [...this.openQuestions.values()].sort((a, b) => a.item - b.item);
  }

  /** Whether a permission request, made with this entry, is in a page that is not here. */
  isEarlier({ permissionId, seq }: { permissionId: string; seq: number }): boolean {
    return !this.permissionIds.has(permissionId) && seq < (this.get(this.prev ?? 0)?.seq ?? 0);
  }

  /** All items that are here, in order. */
  all(): readonly number[] {
    return this.numbers;
  }

  isInside(number: number, ancestor: number): boolean {
    for (let parent = this.parentOf(number); parent !== undefined; parent = this.parentOf(parent)) if (parent === ancestor) return true;
    return false;
  }

  /** Whether the agent gave the message up. Of a message in several items the last one says so. */
  isWithdrawn(number: number): boolean {
    return this.withdrawn.has(number);
  }

  /** When the first item of a turn began. */
  turnStart(turn: number): number | undefined {
    return this.turnStarts.get(turn);
  }

  last(): Item | undefined {
    return this.get(this.numbers.at(-1) ?? 0);
  }

  private put(item: Item, complete: boolean): void {
    const { item: number } = item;
    const known = this.known.get(number);
    if (known && (known.item.lastSeq > item.lastSeq || (known.complete && known.item.lastSeq === item.lastSeq))) return;
    this.known.set(number, { item, revision: (known?.revision ?? 0) + 1, wholeSeq: item.lastSeq, complete });
    if (item.kind === "permission") {
      this.permissionIds.add(item.permissionId);
      if (this.openQuestions.delete(number) !== !item.resolved) this.structure++;
      if (!item.resolved) this.openQuestions.set(number, item);
    }
    if (("abandoned" in item && item.abandoned) || this.withdrawn.has(number)) this.withdraw(item);
    if (item.kind === "plan" && item.parent == null) this.lastPlan = Math.max(number, this.lastPlan ?? 0);
    if (known) return;
    this.structure++;
    this.numbers.push(number);
    this.total = Math.max(this.total, number);
    if (item.parent != null && item.parent < number) {
      const siblings = this.children.get(item.parent);
      if (siblings) siblings.push(number);
      else this.children.set(item.parent, [number]);
    }
    if (item.turn != null) this.turnStarts.set(item.turn, Math.min(item.at, this.turnStarts.get(item.turn) ?? item.at));
  }

  private withdraw(item: Item): void {
    for (let part: Item | undefined = item; part; part = part.continues == null ? undefined : this.get(part.continues)) {
      this.withdrawn.add(part.item);
      // It may come later, with its page.
      if (part.continues != null) this.withdrawn.add(part.continues);
      this.known.get(part.item)!.revision++;
    }
  }

  private sort(): void {
    if (this.sortedStructure === this.structure) return;
    this.sortedStructure = this.structure;
    const ascending = (list: number[]) => {
      for (let at = 1; at < list.length; at++) if (list[at - 1]! > list[at]!) return void list.sort((a, b) => a - b);
    };
    ascending(this.numbers);
    for (const list of this.children.values()) ascending(list);
  }
}

/** The item with what was appended to it. */
export function grown(item: Item, append: ItemAppend): Item {
  if ("text" in append) return { ...item, text: ((item as { text?: string }).text ?? "") + append.text } as Item;
  const [[name, growth]] = Object.entries(append) as [["output" | "stderr", OutputAppend]];
  return { ...item, [name]: grownOutput((item as { output?: Output; stderr?: Output })[name], growth) } as Item;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function grownOutput(output: Output = { text: "" }, { text, dropBytes = 0 }: OutputAppend): Output {
  if (dropBytes === 0) return { ...output, text: output.text + text };
  const at = output.omittedAt ?? 0;
  const bytes = encoder.encode(output.text);
  return { text: decoder.decode(bytes.subarray(0, at)) + decoder.decode(bytes.subarray(at + dropBytes)) + text, omittedAt: at, omittedBytes: (output.omittedBytes ?? 0) + dropBytes };
}

/** The text of an output, with a line where something is omitted. */
export function outputText(output: Output | null | undefined): string {
  if (!output) return "";
  const { text, omittedAt, omittedBytes } = output;
  if (omittedAt == null || !omittedBytes) return text;
  const bytes = encoder.encode(text);
  return `${decoder.decode(bytes.subarray(0, omittedAt))}\n… ${omittedBytes} bytes omitted; Open Output has all of it …\n${decoder.decode(bytes.subarray(omittedAt))}`;
}

function isOmitted(item: Item): boolean {
  const omitted = (value: unknown) => (value as { omitted?: unknown } | null | undefined)?.omitted === true;
  switch (item.kind) {
    case "message":
    case "thought":
      return item.blocks?.some(omitted) ?? false;
    case "tool":
      return omitted(item.rawInput) || item.diffs.some(omitted);
    case "other":
      return item.data === undefined;
    default:
      return false;
  }
}

/** The item as plain text, to copy and to search. */
export function plainText(item: Item): string {
  switch (item.kind) {
    case "message":
    case "thought":
      return item.text;
    case "notice":
      return lines(item.title, item.description);
    case "plan":
      return item.entries.map(({ content, status }) => `[${status === "completed" ? "x" : " "}] ${content}`).join("\n");
    case "tool":
      return lines(item.title, ...inputParts(item).map(({ text }) => text), outputText(item.output), ...item.diffs.flatMap(({ path, patch, oldText, newText }) => [path, patch, oldText, newText]));
    case "permission":
      return lines(...item.shown.flatMap(({ label, text }) => (label === "title" ? [text] : [`${label}: ${text}`])), item.resolved?.message);
    case "turn":
      return lines(item.state, item.error?.message);
    case "command":
      return lines(outputText(item.output), outputText(item.stderr));
    default:
      return lines(titleOf(item), dataText(item));
  }
}

const lines = (...texts: (string | null | undefined)[]) => texts.filter(text => text != null && text !== "").join("\n");

/** The title of an item of a kind that has no look of its own. */
export const titleOf = (item: Item): string => (item as { title?: string }).title || String(item.kind);

/** The data of an item of the kind `other`. */
export const dataText = (item: Item): string => (item.kind === "other" && item.data ? pretty(item.data) : "");

/** What a tool was given, without what its title, its files and its diffs say, compared as values. */
export function inputParts({ rawInput, title, diffs, locations }: ItemOf<"tool">): { label: string; text: string }[] {
  if (rawInput == null || isRecord(rawInput) && rawInput["omitted"] === true) return [];
  const shown = new Set<unknown>([title, ...locations.map(({ path }) => path), ...diffs.flatMap(({ path, oldText, newText }) => [path, oldText, newText])]);
  const entries: [string, unknown][] = isRecord(rawInput) ? Object.entries(rawInput) : [["input", rawInput]];
  return entries.filter(([, value]) => !shown.has(value) && value !== "" && value != null).map(([label, value]) => ({ label, text: typeof value === "string" ? value : pretty(value) }));
}

const isRecord = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === "object" && !Array.isArray(value);
const pretty = (value: unknown) => JSON.stringify(value, undefined, 2);
