// How each kind of item looks. An item is drawn whole, from what the fold holds and what the reader opened or closed.
import type { PermissionOption } from "../protocol";
import { duration, within } from "../runs/words";
import type { ToExtension } from "../transcript/messages";
import { outputOf, plainText, type Item, type Message, type Notice, type Plan, type Question, type Tool, type Turn } from "../transcript/fold";
import { lastLines, renderAnsi } from "./ansi";
import { counts, renderPatch, renderTexts } from "./diff";
import { button, element, icon, iconButton } from "./dom";
import { renderMarkdown } from "./markdown";

/** Lines of a tool's output that are shown before somebody asks for all. */
const LINES = 40;
/** So much output needs no folding. */
const SMALL = 12;

const KINDS: Record<string, string> = { read: "file", edit: "edit", delete: "trash", move: "arrow-right", search: "search", execute: "terminal", think: "lightbulb", fetch: "globe", switch_mode: "arrow-swap" };
const STATES: Record<string, { icon: string; words: string }> = {
  pending: { icon: "circle-large-outline", words: "not yet begun" },
  in_progress: { icon: "loading codicon-modifier-spin", words: "running" },
  completed: { icon: "pass", words: "done" },
  failed: { icon: "error", words: "failed" },
};

export class Drawer {
  /** The run's folder: files in it are named from there. */
  cwd = "";
  /** Whether the run ended because somebody took it over. */
  takenOver = false;
  /** What the reader opened or closed by hand. */
  private readonly folds = new Map<number, boolean>();
  private readonly whole = new Set<number>();
  private readonly sent = new Set<string>();

  constructor(
    private readonly tell: (message: ToExtension) => void,
    private readonly again: (index: number) => void,
  ) {}

  reset(): void {
    this.folds.clear();
    this.whole.clear();
    this.sent.clear();
  }

  /** An answer that did not arrive may be given again. */
  unsend(): void {
    this.sent.clear();
  }

  open(item: Item): boolean {
    const chosen = this.folds.get(item.index);
    if (chosen !== undefined) return chosen;
    if (item.is === "thought") return false;
    if (item.is !== "tool") return true;
    if (item.status === "pending" || item.status === "in_progress" || item.questions.some(({ answer }) => !answer)) return true;
    return item.content.some(part => part.type === "diff") || item.patch !== undefined || lastLines(outputOf(item), SMALL).before === 0;
  }

  fold(item: Item, open = !this.open(item)): void {
    this.folds.set(item.index, open);
    this.again(item.index);
  }

  label(item: Item): string {
    switch (item.is) {
      case "user":
        return "You";
      case "agent":
        return "Agent";
      case "thought":
        return "Thought";
      case "tool":
        return `${item.title || item.kind}, ${statusWords(item)}`;
      case "plan":
        return "Plan";
      case "notice":
        return `${item.level === "info" ? "Notice" : item.level}`;
      case "turn":
        return turnWords(item, this.takenOver);
    }
  }

  draw(item: Item, into: HTMLElement): void {
    into.className = `item ${item.is}${item.parent === undefined ? "" : " nested"}`;
    into.replaceChildren(...this.parts(item));
  }

  private parts(item: Item): HTMLElement[] {
    switch (item.is) {
      case "user":
      case "agent":
        return this.message(item);
      case "thought":
        return this.thought(item);
      case "tool":
        return this.tool(item);
      case "plan":
        return plan(item);
      case "notice":
        return notice(item);
      case "turn":
        return turn(item, this.takenOver);
    }
  }

  private copy(item: Item): HTMLElement {
    return iconButton("copy", "Copy", () => this.tell({ say: "copy", text: plainText(item) }), "item-copy");
  }

  private readonly wishes = {
    copy: (text: string) => this.tell({ say: "copy", text }),
    openFile: (path: string, line?: number, column?: number) => this.tell({ say: "openFile", path, ...(line === undefined ? {} : { line }), ...(column === undefined ? {} : { column }) }),
  };

  private message(item: Message): HTMLElement[] {
    const who = item.is === "user" ? "You" : "Agent";
    const head = element("header", { class: "item-head" }, icon(item.is === "user" ? "account" : "hubot"), element("span", { class: "who" }, who), item.abandoned && element("span", { class: "quiet" }, "given up, tried again below"), this.copy(item));
    const body = item.is === "user" ? element("div", { class: "said" }, item.text) : renderMarkdown(item.text, this.wishes);
    if (item.abandoned) body.classList.add("abandoned");
    const images = item.images.map(({ mimeType, data }) => {
      const image = element("img", { class: "picture" });
      image.alt = "A picture";
      image.src = `data:${mimeType};base64,${data}`;
      return image;
    });
    return [head, body, ...images];
  }

  private toggle(item: Item, key: string, ...words: (Node | string)[]): HTMLElement {
    const open = this.open(item);
    return element("button", { class: "toggle", type: "button", data: { key }, aria: { expanded: String(open) }, on: () => this.fold(item) }, icon(open ? "chevron-down" : "chevron-right"), ...words);
  }

  private thought(item: Message): HTMLElement[] {
    const open = this.open(item);
    const first = item.text.trim().split("\n", 1)[0] ?? "";
    const time = item.endedAt - item.at >= 1000 ? ` for ${duration(item.endedAt - item.at)}` : "";
    const head = this.toggle(item, "fold", icon("lightbulb"), element("span", { class: "who" }, `Thought${time}`), ...(open ? [] : [element("span", { class: "preview" }, first)]));
    return open ? [head, renderMarkdown(item.text, this.wishes)] : [head];
  }

  private tool(item: Tool): HTMLElement[] {
    const state = STATES[item.status] ?? STATES["pending"]!;
    const waiting = item.questions.some(({ answer }) => !answer);
    const time = item.endedAt !== undefined && item.endedAt - item.at >= 1000 ? duration(item.endedAt - item.at) : "";
    const change = item.content.flatMap(part => (part.type === "diff" ? [counts(part.oldText ?? "", part.newText ?? "")] : [])).join(" ");
    const head = this.toggle(
      item,
      "fold",
      icon(KINDS[item.kind] ?? "tools"),
      element("span", { class: "tool-title" }, item.title || item.kind),
      ...(change === "" ? [] : [element("span", { class: "quiet" }, change)]),
      element("span", { class: `tool-state ${waiting ? "waiting" : item.status}` }, icon(waiting ? "bell-dot" : state.icon), waiting ? "waiting for you" : state.words, time === "" ? "" : ` · ${time}`),
    );
    const line = element("div", { class: "tool-line" }, head, this.copy(item));
    if (!this.open(item)) return [line];
    const body = element("div", { class: "tool-body" });
    if (item.command !== undefined && item.command !== item.title) body.append(element("pre", { class: "command", tabIndex: 0, aria: { label: "Command" } }, item.command));
    const files = item.locations.filter(({ path }) => !item.content.some(part => part.type === "diff" && part.path === path));
    if (files.length > 0) body.append(element("div", { class: "files" }, ...files.map(({ path, line }) => this.file(path, line ?? undefined))));
    for (const part of item.content) {
      if (part.type === "diff") body.append(this.diff(part.path ?? "", part.oldText ?? "", part.newText ?? ""));
      if (part.type === "content" && part.content?.type === "image" && part.content.data && part.content.mimeType) {
        const image = element("img", { class: "picture" });
        image.alt = "A picture";
        image.src = `data:${part.content.mimeType};base64,${part.content.data}`;
        body.append(image);
      }
    }
    if (item.patch !== undefined && !item.content.some(part => part.type === "diff")) body.append(renderPatch(item.patch));
    const input = item.command === undefined && waiting && item.content.length === 0 ? inputText(item.input) : "";
    if (input !== "") body.append(element("pre", { class: "command", tabIndex: 0, aria: { label: "Input" } }, input));
    this.output(item, body);
    for (const question of item.questions) body.append(this.question(item, question));
    return [line, body];
  }

  private output(item: Tool, body: HTMLElement): void {
    const text = outputOf(item);
    if (text.trim() === "") return;
    const { text: shown, before } = this.whole.has(item.index) ? { text, before: 0 } : lastLines(text, LINES);
    if (before > 0 || item.output.dropped > 0) {
      const hidden = item.output.dropped > 0 && before === 0 ? "The beginning is not kept here" : `Show ${before} earlier lines`;
      const more = () => (this.whole.add(item.index), this.again(item.index));
      body.append(before > 0 ? button(hidden, more, "link") : element("p", { class: "quiet" }, hidden));
    }
    body.append(renderAnsi(shown));
  }

  private file(path: string, line: number | undefined): HTMLElement {
    const name = within(path, this.cwd);
    const words = line === undefined ? name : `${name}:${line}`;
    return element("a", { href: "#", class: "file-link", title: path, on: event => (event.preventDefault(), this.wishes.openFile(path, line)) }, words);
  }

  private diff(path: string, oldText: string, newText: string): HTMLElement {
    const open = iconButton("diff", `Open the difference of ${path} in the editor`, () => this.tell({ say: "openDiff", path, oldText, newText }));
    return element("div", { class: "change" }, element("div", { class: "change-head" }, this.file(path, undefined), open), renderTexts(path, oldText, newText));
  }

  private question(item: Tool, question: Question): HTMLElement {
    const { answer, permissionId } = question;
    if (answer) {
      const option = question.options.find(({ optionId }) => optionId === answer.optionId);
      const by = { client: "", policy: ", by the run's permission mode", provider: ", by the agent itself" }[answer.by] ?? "";
      const words = answer.cancelled || !option ? "Not answered; nothing was allowed" : `${option.kind.startsWith("allow") ? "Allowed" : "Denied"}: ${option.name}`;
      return element("div", { class: "answer" }, icon(option?.kind.startsWith("allow") ? "check" : "circle-slash"), `${words}${by}${answer.message ? ` — ${answer.message}` : ""}`);
    }
    const sent = this.sent.has(permissionId);
    const box = element("div", { class: "question", role: "group", aria: { label: "The agent asks for permission" } });
    const why = element("input", { class: "why", type: "text", data: { key: `why-${permissionId}` }, aria: { label: "A word to the agent, sent with a denial" } });
    why.placeholder = "A word to the agent, if you deny";
    const give = (how: Omit<Extract<ToExtension, { say: "answer" }>, "say" | "permissionId">) => {
      if (this.sent.has(permissionId)) return;
      this.sent.add(permissionId);
      this.tell({ say: "answer", permissionId, ...how });
      this.again(item.index);
    };
    const pick = (option: PermissionOption) => give({ optionId: option.optionId, ...(option.kind.startsWith("reject") && why.value !== "" ? { message: why.value } : {}) });
    const row = element("div", { class: "buttons" });
    for (const option of question.options) {
      const allow = option.kind.startsWith("allow");
      const made = button(option.name, () => pick(option), option.kind === "allow_once" ? "primary" : "secondary");
      made.dataset["key"] = `${permissionId}-${option.optionId}`;
      made.prepend(icon(allow ? "check" : "x"));
      if (sent) made.disabled = true;
      row.append(made);
    }
    if (!question.options.some(({ kind }) => kind.startsWith("reject"))) row.append(button("Deny", () => give({ cancelled: true, ...(why.value !== "" ? { message: why.value } : {}) }), "secondary"));
    const always = button("Always allow this…", () => this.tell({ say: "always", permissionId }), "link");
    always.title = "Writes a rule into your settings";
    row.append(always);
    box.append(element("p", { class: "asks" }, icon("bell-dot"), `May it do this? (${item.kind})`), row, why);
    return box;
  }

  /** The keys `a` and `d` on an item that asks. */
  answer(item: Item, how: "allow" | "deny"): boolean {
    if (item.is !== "tool") return false;
    const question = item.questions.find(({ answer, permissionId }) => !answer && !this.sent.has(permissionId));
    if (!question) return false;
    const option = question.options.find(({ kind }) => kind === (how === "allow" ? "allow_once" : "reject_once"));
    if (!option && how === "allow") return false;
    this.sent.add(question.permissionId);
    this.tell({ say: "answer", permissionId: question.permissionId, ...(option ? { optionId: option.optionId } : { cancelled: true }) });
    this.again(item.index);
    return true;
  }
}

function statusWords(item: Tool): string {
  return item.questions.some(({ answer }) => !answer) ? "waiting for you" : (STATES[item.status]?.words ?? item.status);
}

function inputText(input: unknown): string {
  if (input == null) return "";
  const text = typeof input === "string" ? input : JSON.stringify(input, undefined, 2);
  return text === "{}" ? "" : text.slice(0, 20_000);
}

function plan(item: Plan): HTMLElement[] {
  const done = item.entries.filter(({ status }) => status === "completed").length;
  const icons: Record<string, string> = { completed: "pass", in_progress: "play-circle", pending: "circle-large-outline" };
  const words: Record<string, string> = { completed: "done", in_progress: "being done", pending: "open" };
  const rows = item.entries.map(({ content, status }) => element("li", { class: `step ${status}` }, icon(icons[status] ?? "circle-large-outline"), element("span", { class: "unseen" }, `${words[status] ?? status}: `), content));
  return [element("header", { class: "item-head" }, icon("checklist"), element("span", { class: "who" }, "Plan"), element("span", { class: "quiet" }, `${done} of ${item.entries.length} done`)), element("ul", { class: "steps" }, ...rows)];
}

function notice(item: Notice): HTMLElement[] {
  return [element("p", { class: `notice ${item.level}` }, icon(item.level === "info" ? "info" : item.level === "warning" ? "warning" : "error"), item.text)];
}

function turnWords(item: Turn, takenOver: boolean): string {
  const words: Record<string, string> = { idle: "Turn done", succeeded: "Done", failed: "Failed", cancelled: takenOver ? "Taken over in a terminal" : "Cancelled", timedOut: "Timed out", lost: "Lost" };
  let text = item.stopReason === "cancelled" && item.state === "idle" ? "Turn stopped" : item.stopReason === "refusal" ? "The agent refused" : (words[item.state] ?? item.state);
  if (item.error) text += `: ${item.error.message}`;
  const time = item.at - item.startedAt;
  if (time >= 1000) text += ` · ${duration(time)}`;
  const { inputTokens, outputTokens, costUsd } = item.usage ?? {};
  if (inputTokens != null || outputTokens != null) text += ` · ${inputTokens ?? 0} tokens in, ${outputTokens ?? 0} out`;
  if (costUsd != null) text += ` · $${costUsd.toFixed(2)}`;
  if (item.left > 0) text += ` · ${item.left} processes left`;
  return text;
}

function turn(item: Turn, takenOver: boolean): HTMLElement[] {
  const bad = item.error !== undefined || item.state === "failed" || item.state === "lost" || item.state === "timedOut";
  return [element("p", { class: `turn-end ${bad ? "bad" : ""}` }, icon(bad ? "error" : item.state === "cancelled" || item.stopReason === "cancelled" ? "circle-slash" : "pass"), turnWords(item, takenOver))];
}
