// Folds the entries of a run's log into the items of its transcript: messages, thoughts, tool calls, plans, questions, turns. Pure: no editor,
// no page. It holds every item, so what can grow without end (the output of a tool) is kept by its end only.
import type { Entry, PermissionOption, RunError, RunState, Usage } from "../protocol";
import { blockOf, textOf, type Location, type ToolContent, type ToolFields, type Update } from "./acp";

interface Base {
  /** Position in the list; items never move. */
  index: number;
  at: number;
  /** Raised with every change. */
  revision: number;
  /** The tool call of the agent that this sub-agent's item belongs to. */
  parent?: string;
}

export interface Message extends Base {
  is: "user" | "agent" | "thought";
  messageId: string;
  text: string;
  images: { mimeType: string; data: string }[];
  abandoned: boolean;
  endedAt: number;
}

export interface Question {
  permissionId: string;
  options: PermissionOption[];
  at: number;
  answer?: { optionId?: string; cancelled: boolean; by: string; message?: string };
}

export interface Tool extends Base {
  is: "tool";
  toolCallId: string;
  title: string;
  kind: string;
  status: string;
  /** What it was called with, as far as it is a command line. */
  command?: string;
  input?: unknown;
  locations: Location[];
  content: ToolContent[];
  patch?: string;
  output: Output;
  questions: Question[];
  endedAt?: number;
}

export interface Plan extends Base {
  is: "plan";
  entries: { content: string; status: string }[];
}

export interface Notice extends Base {
  is: "notice";
  text: string;
  level: "info" | "warning" | "error";
}

export interface Turn extends Base {
  is: "turn";
  turn: number;
  state: RunState;
  stopReason?: string;
  usage?: Usage;
  error?: RunError;
  exitCode?: number;
  signal?: string;
  startedAt: number;
  left: number;
}

export type Item = Message | Tool | Plan | Notice | Turn;

/** Most of a tool's output that is kept. */
export const OUTPUT_KEPT = 262_144;

const bytes = new TextEncoder();
const words = new TextDecoder();

/** Growing output of a tool, counted in bytes as the protocol counts. */
export class Output {
  text = "";
  /** Bytes before `text` that were let go. */
  dropped = 0;
  private length = 0;

  get end(): number {
    return this.dropped + this.length;
  }

  /** Cut at byte `offset`, append. */
  write(offset: number, text: string): void {
    if (offset < this.end) {
      const keep = Math.max(0, offset - this.dropped);
      this.text = words.decode(bytes.encode(this.text).subarray(0, keep));
      if (offset < this.dropped) this.dropped = offset;
      this.length = keep;
    }
    this.text += text;
    this.length += bytes.encode(text).length;
    if (this.text.length <= 2 * OUTPUT_KEPT) return;
    const from = this.text.indexOf("\n", this.text.length - OUTPUT_KEPT) + 1 || this.text.length - OUTPUT_KEPT;
    this.dropped += bytes.encode(this.text.slice(0, from)).length;
    this.text = this.text.slice(from);
    this.length = bytes.encode(this.text).length;
  }
}

export class Transcript {
  readonly items: Item[] = [];
  /** How full the agent's context is, as it last said. */
  context: { used: number; size: number } | undefined;
  private readonly tools = new Map<string, Tool>();
  private readonly messages = new Map<string, Message>();
  private plan: Plan | undefined;
  private turnStart = 0;
  private changed = new Set<number>();

  /** Takes entries in; returns the indexes of the items that are new or different. */
  add(entries: readonly Entry[]): number[] {
    this.changed = new Set();
    for (const entry of entries) this.entry(entry);
    return [...this.changed].sort((a, b) => a - b);
  }

  question(permissionId: string): { tool: Tool; question: Question } | undefined {
    for (const tool of this.tools.values()) {
      const question = tool.questions.find(asked => asked.permissionId === permissionId);
      if (question) return { tool, question };
    }
    return undefined;
  }

  /** Questions without an answer, oldest first. */
  open(): { tool: Tool; question: Question }[] {
    return [...this.tools.values()].flatMap(tool => tool.questions.filter(({ answer }) => !answer).map(question => ({ tool, question })));
  }

  private entry(entry: Entry): void {
    switch (entry.kind) {
      case "update":
        return this.update(entry.update as unknown as Update, entry.at);
      case "permission":
        if (entry.status === "requested") {
          const call = entry.toolCall as ToolFields;
          const tool = this.tool(call, entry.at);
          tool.questions.push({ permissionId: entry.permissionId, options: entry.options, at: entry.at });
        } else {
          const found = this.question(entry.permissionId);
          if (!found) return;
          const { optionId, cancelled, by, message } = entry;
          found.question.answer = { cancelled: cancelled ?? false, by, ...(optionId ? { optionId } : {}), ...(message ? { message } : {}) };
          this.touch(found.tool);
        }
        return;
      case "state":
        if (entry.state === "running" && entry.turn != null) this.turnStart = entry.at;
        if (entry.state === "idle" || isFinal(entry.state)) {
          this.push<Turn>({
            is: "turn",
            at: entry.at,
            turn: entry.turn ?? 0,
            state: entry.state,
            startedAt: this.turnStart || entry.at,
            left: entry.left?.length ?? 0,
            ...(entry.stopReason ? { stopReason: entry.stopReason } : {}),
            ...(entry.usage ? { usage: entry.usage } : {}),
            ...(entry.error ? { error: entry.error } : {}),
            ...(entry.exitCode != null ? { exitCode: entry.exitCode } : {}),
            ...(entry.signal ? { signal: entry.signal } : {}),
          });
          // A plan of the next turn is another plan, and an end between turns took no time.
          this.plan = undefined;
          this.turnStart = 0;
        }
        return;
    }
  }

  private update(update: Update, at: number): void {
    const parent = update._meta?.["loomd/parentToolCallId"];
    switch (update.sessionUpdate) {
      case "user_message_chunk":
        return this.chunk("user", update, at, parent);
      case "agent_message_chunk":
        return this.chunk("agent", update, at, parent);
      case "agent_thought_chunk":
        return this.chunk("thought", update, at, parent);
      case "tool_call":
      case "tool_call_update": {
        const tool = this.tool(update, at);
        if (parent !== undefined) tool.parent = parent;
        const output = update._meta?.["loomd/output"];
        if (output && typeof output.text === "string") tool.output.write(output.offset ?? tool.output.end, output.text);
        const patch = update._meta?.["loomd/patch"];
        if (patch !== undefined) tool.patch = patch;
        return;
      }
      case "plan": {
        const entries = (update.entries ?? []).map(({ content, status }) => ({ content: content ?? "", status: status ?? "pending" }));
        if (this.plan) {
          this.plan.entries = entries;
          this.touch(this.plan);
        } else {
          this.plan = this.push<Plan>({ is: "plan", at, entries });
        }
        return;
      }
      case "usage_update":
        if (typeof update.used === "number" && typeof update.size === "number") this.context = { used: update.used, size: update.size };
        return;
      case "notice": {
        const text = (update.message ?? update.text ?? textOf(blockOf(update))) || (update.title ?? "");
        const level = update.level === "error" || update.level === "warning" ? update.level : "info";
        if (text) this.push<Notice>({ is: "notice", at, text, level });
        return;
      }
    }
  }

  private chunk(is: Message["is"], update: Update, at: number, parent: string | undefined): void {
    const id = `${is}:${update.messageId ?? ""}`;
    const block = blockOf(update);
    const text = textOf(block);
    let message = update.messageId == null ? this.last(is) : this.messages.get(id);
    if (!message) {
      // An empty chunk opens nothing.
      if (text === "" && block?.type !== "image" && update._meta?.["loomd/abandoned"]) return;
      message = this.push<Message>({ is, at, messageId: update.messageId ?? "", text: "", images: [], abandoned: false, endedAt: at, ...(parent === undefined ? {} : { parent }) });
      this.messages.set(id, message);
    }
    if (update._meta?.["loomd/contradiction"]) message.text = text;
    else message.text += text;
    if (block?.type === "image" && block.data && block.mimeType) message.images.push({ mimeType: block.mimeType, data: block.data });
    if (update._meta?.["loomd/abandoned"]) message.abandoned = true;
    message.endedAt = at;
    this.touch(message);
  }

  private last(is: Message["is"]): Message | undefined {
    const item = this.items.at(-1);
    return item?.is === is && item.messageId === "" ? item : undefined;
  }

  private tool(fields: ToolFields, at: number): Tool {
    const id = fields.toolCallId ?? `unnamed-${this.items.length}`;
    let tool = this.tools.get(id);
    if (!tool) {
      tool = this.push<Tool>({ is: "tool", at, toolCallId: id, title: "", kind: "other", status: "pending", locations: [], content: [], output: new Output(), questions: [] });
      this.tools.set(id, tool);
    }
    if (fields.title) tool.title = fields.title;
    if (fields.kind) tool.kind = fields.kind;
    if (fields.status) {
      tool.status = fields.status;
      if (fields.status === "completed" || fields.status === "failed") tool.endedAt ??= at;
    }
    if (Array.isArray(fields.content)) tool.content = fields.content;
    if (Array.isArray(fields.locations)) tool.locations = fields.locations;
    if (fields.rawInput != null) {
      tool.input = fields.rawInput;
      const command = commandOf(fields.rawInput);
      if (command !== undefined) tool.command = command;
    }
    this.touch(tool);
    return tool;
  }

  private push<I extends Item>(item: Omit<I, "index" | "revision">): I {
    const whole = { ...item, index: this.items.length, revision: 0 } as I;
    this.items.push(whole);
    this.changed.add(whole.index);
    return whole;
  }

  private touch(item: Item): void {
    item.revision++;
    this.changed.add(item.index);
  }
}

function commandOf(input: unknown): string | undefined {
  if (input === null || typeof input !== "object") return undefined;
  const { command, cmd } = input as { command?: unknown; cmd?: unknown };
  const value = command ?? cmd;
  if (typeof value === "string") return value;
  return Array.isArray(value) && value.every(word => typeof word === "string") ? value.join(" ") : undefined;
}

const isFinal = (state: RunState) => state !== "starting" && state !== "running" && state !== "awaitingPermission" && state !== "idle";

/** What a tool printed: what streamed, else the text that its content holds. */
export function outputOf(tool: Tool): string {
  if (tool.output.end > 0) return tool.output.text;
  return tool.content
    .map(part => (part.type === "content" ? textOf(part.content) : ""))
    .filter(text => text !== "")
    .join("\n");
}

/** The item as text, to copy and to search. */
export function plainText(item: Item): string {
  switch (item.is) {
    case "user":
    case "agent":
    case "thought":
      return item.text;
    case "notice":
      return item.text;
    case "plan":
      return item.entries.map(({ content, status }) => `[${status === "completed" ? "x" : " "}] ${content}`).join("\n");
    case "tool": {
      const diffs = item.content.flatMap(part => (part.type === "diff" ? [part.path ?? "", part.newText ?? ""] : []));
      return [item.title, item.command ?? "", outputOf(item), ...diffs, item.patch ?? ""].filter(text => text !== "").join("\n");
    }
    case "turn":
      return [item.state, item.error?.message ?? ""].join(" ").trim();
  }
}
