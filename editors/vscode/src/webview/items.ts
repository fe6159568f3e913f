// Renders the items of a transcript, from their data and from what the reader expanded or collapsed. Of a text that grows
// only what is new is drawn; all other items are drawn completely.
import type { Item } from "../protocol";
import { capitalized, formatCount, formatDuration } from "../runs/run";
import { dataText, outputText, plainText, titleOf, type ItemOf, type Row, type Transcript } from "../transcript/items";
import type { ToExtension } from "../transcript/messages";
import { lastLines } from "./ansi";
import { bridge } from "./bridge";
import { element, icon, iconButton } from "./dom";
import { StreamedMarkdown, type MarkdownActions } from "./markdown";
import { planCount, planSteps } from "./plan";
import { answerText, isAllowed, Questions, shown } from "./question";
import { isRunning, statusLabel, ToolRenderer } from "./tool";
import { decodedUri } from "./uri";

/** A finished tool with at most this many lines of output stays expanded. */
const MAX_UNFOLDED_LINES = 12;
/** Items of deeper sub-agents are not indented further. */
const MAX_DEPTH = 4;

type Message = ItemOf<"message"> | ItemOf<"thought">;

export class Renderer {
  /** The run's working directory. Files in it are shown with relative paths. */
  cwd = "";
  /** The agent's name. */
  agent = "Agent";
  /** Whether the run ended because its session was continued in a terminal. */
  takenOver = false;
  readonly questions: Questions;
  private readonly tools: ToolRenderer;
  /** Items that the reader expanded or collapsed, by number. */
  private readonly folds = new Map<number, boolean>();
  private readonly texts = new WeakMap<HTMLElement, { head: string; text: StreamedMarkdown }>();

  constructor(
    private readonly transcript: () => Transcript,
    private readonly post: (message: ToExtension) => void,
    private readonly redraw: (item: number) => void,
  ) {
    this.questions = new Questions(post, redraw);
    const cwd = () => this.cwd;
    this.tools = new ToolRenderer({ post, redraw, get cwd() { return cwd(); } });
  }

  reset(): void {
    this.folds.clear();
    this.tools.reset();
    this.questions.forgetAnswers();
  }

  isOpen(item: Item): boolean {
    const chosen = this.folds.get(item.item);
    if (chosen !== undefined) return chosen;
    switch (item.kind) {
      case "thought":
      case "other":
        return false;
      case "permission":
        return !item.resolved;
      case "tool":
        if (this.transcript().childrenOf(item.item).length > 0) return this.isWaiting(item);
        // The request shows all of it.
        if (this.isWaiting(item)) return false;
        return isRunning(item) || item.diffs.length > 0 || lastLines(outputText(item.output), MAX_UNFOLDED_LINES).before === 0;
      default:
        return true;
    }
  }

  canFold = (item: Item): boolean => item.kind === "tool" || item.kind === "thought" || item.kind === "other" || (item.kind === "permission" && item.resolved != null);

  fold(item: Item, open = !this.isOpen(item)): void {
    this.folds.set(item.item, open);
    this.redraw(item.item);
  }

  /** Whether the tool, or its sub-agent, waits for an answer. */
  private isWaiting(item: ItemOf<"tool">): boolean {
    return this.transcript().questions().some(({ item: number, permissionId }) => item.permissions.includes(permissionId) || this.transcript().isInside(number, item.item));
  }

  /** Changes when an item has to be drawn again for what is inside of it: a call tells of its sub-agent's steps and questions. */
  revision(item: Item): string {
    return item.kind === "tool" ? `${this.transcript().childrenOf(item.item).length} ${this.isWaiting(item)}` : "";
  }

  label(item: Item): string {
    switch (item.kind) {
      case "message":
        return this.author(item);
      case "thought":
        return "Thought";
      case "tool":
        return `${item.title || item.toolKind}, ${statusLabel(item, this.isWaiting(item))}`;
      case "plan":
        return "Plan";
      case "permission":
        return `Permission request: ${item.shown[0]?.text ?? ""}, ${answerText(item)}`;
      case "notice":
        return item.severity === "info" ? "Notice" : capitalized(item.severity);
      case "turn":
        return this.turnLabel(item);
      case "command":
        return "Output";
      default:
        return titleOf(item);
    }
  }

  draw({ number, depth }: Row, into: HTMLElement): void {
    const item = this.transcript().get(number)!;
    into.className = `item ${item.kind}${depth > 0 ? ` nested nested-${Math.min(depth, MAX_DEPTH)}` : ""}`;
    if (this.transcript().isIncomplete(number) && this.isOpen(item)) this.post({ kind: "item", item: number });
    try {
      if (item.kind === "message" || item.kind === "thought") this.drawText(item, into);
      else into.replaceChildren(...this.parts(item));
    } catch (error) {
      console.warn(error);
      this.texts.delete(into);
      into.replaceChildren(element("pre", { tabIndex: 0 }, plainText(item)));
    }
  }

  private parts(item: Exclude<Item, Message>): HTMLElement[] {
    switch (item.kind) {
      case "tool":
        return this.tool(item);
      case "plan":
        return plan(item);
      case "permission":
        return this.permission(item);
      case "notice":
        return notice(item);
      case "turn":
        return this.turn(item);
      case "command":
        return [this.header("terminal", "Output", item), ...this.tools.output(item.item, item.output, item.endAt == null), ...(item.stderr?.text ? [element("p", { class: "quiet" }, "Errors"), ...this.tools.output(item.item, item.stderr, item.endAt == null, "Errors")] : [])];
      default:
        return this.other(item);
    }
  }

  private copy(item: Item): HTMLElement {
    return iconButton("copy", "Copy", () => this.post({ kind: "copy", text: plainText(item) }), "item-copy");
  }

  private header(symbol: string, text: string, item: Item, ...facts: string[]): HTMLElement {
    return element("header", { class: "item-head" }, icon(symbol), element("span", { class: "who" }, text), ...facts.map(fact => element("span", { class: "quiet" }, fact)), time(item.at), this.copy(item));
  }

  private readonly actions: MarkdownActions = {
    copy: text => this.post({ kind: "copy", text }),
    openFile: (path, line, column) => this.post({ kind: "openFile", path, ...(line === undefined ? {} : { line }), ...(column === undefined ? {} : { column }) }),
  };

  private author(item: Message): string {
    if (item.role === "user") return "You";
    return item.parent == null ? this.agent : "Sub-agent";
  }

  private drawText(item: Message, into: HTMLElement): void {
    const withdrawn = this.transcript().isWithdrawn(item.item);
    const open = this.isOpen(item);
    const head = JSON.stringify([item.kind, item.role, withdrawn, open, this.agent, item.kind === "thought" ? [item.endAt, open || firstLine(item.text)] : "", item.blocks?.length, this.transcript().isIncomplete(item.item)]);
    const known = this.texts.get(into);
    const text = known?.text ?? new StreamedMarkdown(this.actions);
    if (item.role === "agent" && open) text.update(item.text, item.endAt != null);
    if (known?.head === head && item.role === "agent") return;
    this.texts.set(into, { head, text });
    const body = item.role === "user" ? element("div", { class: "user-text" }, item.text) : text.body;
    body.classList.toggle("withdrawn", withdrawn);
    into.replaceChildren(...this.textHead(item, withdrawn, open), ...(open ? [body, ...(item.blocks ?? []).map(block => this.block(block))] : []));
  }

  private textHead(item: Message, withdrawn: boolean, open: boolean): HTMLElement[] {
    const facts = withdrawn ? ["withdrawn; retried below"] : [];
    if (item.kind === "message") {
      if (item.continues != null && !withdrawn) return [];
      const head = this.header(item.role === "user" ? "account" : "hubot", this.author(item), item, ...facts);
      const { turn } = item;
      if (bridge().hasEditor && item.role === "user" && turn != null) head.append(iconButton("discard", "Undo Changes Since This Message…", () => this.post({ kind: "undoTurn", turn }), "item-copy"));
      return [head];
    }
    const took = item.endAt != null && item.endAt - item.at >= 1000 ? ` for ${formatDuration(item.endAt - item.at)}` : "";
    return [this.toggle(item, icon("lightbulb"), element("span", { class: "who" }, `Thought${took}`), ...facts.map(fact => element("span", { class: "quiet" }, fact)), ...(open ? [] : [element("span", { class: `preview ${withdrawn ? "withdrawn" : ""}` }, firstLine(item.text))]))];
  }

  /** A content block that is no text: an image, a link to a file or a page, or its type. */
  private block(block: Record<string, unknown>): HTMLElement {
    const { type, data, mimeType, uri, name } = stringsOf(block);
    const resource = stringsOf(block["resource"]);
    if (type === "image" && data && /^image\/[\w.+-]+$/.test(mimeType ?? "")) {
      const image = element("img", { class: "image" });
      image.alt = "Image";
      image.src = `data:${mimeType};base64,${data}`;
      return image;
    }
    const link = uri ?? resource.uri;
    const path = link === undefined ? undefined : /^file:\/\/(\/.*)$/.exec(link)?.[1];
    const text = name ?? link ?? type ?? "content";
    if (path !== undefined) return element("a", { href: "#", class: "file-link", title: link ?? "", onClick: event => (event.preventDefault(), this.actions.openFile(decodedUri(path))) }, text);
    return element("div", { class: "quiet block", title: link ?? "" }, icon("link"), ` ${text}`, resource.text !== undefined && element("pre", { tabIndex: 0 }, resource.text));
  }

  private toggle(item: Item, ...content: (Node | string)[]): HTMLElement {
    const open = this.isOpen(item);
    return element("button", { class: "toggle", type: "button", data: { key: "fold" }, aria: { expanded: String(open) }, onClick: () => this.fold(item) }, icon(open ? "chevron-down" : "chevron-right"), ...content);
  }

  private tool(item: ItemOf<"tool">): HTMLElement[] {
    const waiting = this.isWaiting(item);
    const line = element("div", { class: "tool-line" }, this.toggle(item, ...this.tools.head(item, waiting, this.transcript().childrenOf(item.item).length)), this.copy(item));
    return this.isOpen(item) ? [line, this.tools.body(item)] : [line];
  }

  private permission(item: ItemOf<"permission">): HTMLElement[] {
    if (!item.resolved) return [this.questions.draw(item, this.agent)];
    const text = `${answerText(item)}${item.resolved.message ? `: ${item.resolved.message}` : ""}`;
    const line = element("div", { class: "tool-line" }, this.toggle(item, icon(isAllowed(item) ? "check" : "circle-slash"), element("span", { class: "answer" }, text), element("span", { class: "quiet preview" }, firstLine(item.shown[0]?.text ?? ""))), this.copy(item));
    return this.isOpen(item) ? [line, shown(item)] : [line];
  }

  private turnLabel(item: ItemOf<"turn">): string {
    const labels: Record<string, string> = { idle: "Finished", succeeded: "Completed", failed: "Failed", cancelled: this.takenOver ? "Continued in terminal" : "Canceled", timedOut: "Timed out", lost: "Lost" };
    let text = item.stopReason === "cancelled" && item.state === "idle" ? "Stopped" : item.stopReason === "refusal" ? "Refused by the model" : (labels[item.state] ?? item.state);
    if (item.error) text += `: ${item.error.message}`;
    else if (item.signal) text += ` (${item.signal})`;
    else if (item.exitCode) text += ` (exit code ${item.exitCode})`;
    const took = item.at - (this.transcript().turnStart(item.turn ?? -1) ?? item.at);
    if (took >= 1000) text += ` · ${formatDuration(took)}`;
    const { inputTokens, outputTokens, costUsd } = item.usage ?? {};
    if (inputTokens != null || outputTokens != null) text += ` · ${formatCount(inputTokens ?? 0)} in · ${formatCount(outputTokens ?? 0)} out`;
    if (costUsd != null) text += ` · $${costUsd.toFixed(2)}`;
    return text;
  }

  private turn(item: ItemOf<"turn">): HTMLElement[] {
    const bad = item.error != null || item.state === "failed" || item.state === "lost" || item.state === "timedOut";
    return [element("p", { class: `turn-end ${bad ? "bad" : ""}` }, icon(bad ? "error" : item.state === "cancelled" || item.stopReason === "cancelled" ? "circle-slash" : "pass"), this.turnLabel(item))];
  }

  /** An item of the kind `other`, or of a kind that this version does not know. */
  private other(item: Item): HTMLElement[] {
    const line = element("div", { class: "tool-line" }, this.toggle(item, icon("circle-outline"), element("span", { class: "tool-title" }, titleOf(item))), this.copy(item));
    return this.isOpen(item) ? [line, element("pre", { tabIndex: 0, aria: { label: "Data" } }, dataText(item))] : [line];
  }
}

const firstLine = (text: string) => text.trim().split("\n", 1)[0] ?? "";

function time(at: number): HTMLElement {
  const date = new Date(at);
  return element("time", { class: "quiet time", title: date.toLocaleString() }, date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
}

function plan(item: ItemOf<"plan">): HTMLElement[] {
  return [element("header", { class: "item-head" }, icon("checklist"), element("span", { class: "who" }, "Plan"), element("span", { class: "quiet" }, planCount(item.entries))), planSteps(item.entries)];
}

function notice(item: ItemOf<"notice">): HTMLElement[] {
  const text = element("div", {}, element("p", { class: "notice-title" }, item.title), item.description != null && element("p", { class: "notice-description" }, item.description));
  return [element("div", { class: `notice ${item.severity}` }, icon(item.severity), text)];
}

/** The texts among the members of a value, which an agent may have made of anything. */
function stringsOf(value: unknown): Partial<Record<"type" | "data" | "mimeType" | "uri" | "name" | "text", string>> {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string")) : {};
}
