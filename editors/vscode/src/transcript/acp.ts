// The parts of the Agent Client Protocol's session updates that the transcript reads. Everything may be missing: updates come unchecked.

export interface Block {
  type: string;
  text?: string;
  data?: string;
  mimeType?: string;
  uri?: string;
  name?: string;
  resource?: { uri?: string; text?: string; mimeType?: string };
}

export type ToolContent =
  | { type: "content"; content?: Block }
  | { type: "diff"; path?: string; oldText?: string | null; newText?: string }
  | { type: "terminal"; terminalId?: string };

export interface Location {
  path: string;
  line?: number | null;
}

export interface Meta {
  "loomd/abandoned"?: boolean;
  "loomd/parentToolCallId"?: string;
  "loomd/output"?: { offset?: number; text?: string };
  "loomd/patch"?: string;
  "loomd/contradiction"?: { at?: number };
}

export interface ToolFields {
  toolCallId?: string;
  title?: string | null;
  kind?: string | null;
  status?: string | null;
  content?: ToolContent[] | null;
  locations?: Location[] | null;
  rawInput?: unknown;
  rawOutput?: unknown;
}

export interface Update extends ToolFields {
  sessionUpdate: string;
  messageId?: string | null;
  _meta?: Meta | null;
  entries?: { content?: string; priority?: string; status?: string }[];
  message?: string;
  text?: string;
  level?: string;
  used?: number;
  size?: number;
  cost?: { amount?: number; currency?: string } | null;
}

/** What a chunk's `content` is; tool calls use the same name for a list. */
export function blockOf(update: { content?: unknown }): Block | undefined {
  const content = update.content;
  return content !== null && typeof content === "object" && !Array.isArray(content) ? (content as Block) : undefined;
}

export function textOf(block: Block | undefined): string {
  if (!block) return "";
  if (typeof block.text === "string") return block.text;
  if (block.type === "resource_link" || block.type === "resource") return block.resource?.text ?? `[${block.name ?? block.resource?.uri ?? block.uri ?? "resource"}]`;
  return "";
}
