// What goes with a prompt: files, selections and problems of the editor, as ACP content blocks.
import type { Prompt } from "../protocol";

export interface Attachment {
  /** A few words, as the user sees it. */
  label: string;
  /** All that is sent of it. */
  detail: string;
  /** A `resource_link`, an embedded `resource` or an `image`. */
  block: Record<string, unknown>;
  /** An image as a `data:` address, to look at. */
  imageUrl?: string;
}

/** A link to a file, which the agent reads itself. */
export const fileLink = (uri: string, name: string): Attachment => ({ label: name, detail: uri, block: { type: "resource_link", uri, name } });

/** A text that is sent as it is. */
export const embedded = (uri: string, label: string, text: string): Attachment => ({ label, detail: text, block: { type: "resource", resource: { uri, mimeType: "text/plain", text } } });

/** The prompt with what goes with it. */
export function promptOf(text: string, context: readonly Attachment[]): Prompt {
  return context.length === 0 ? text : [{ type: "text", text }, ...context.map(({ block }) => block)];
}

/** What `promptOf` made a prompt of, for one that is taken back to be edited. */
export function partsOf(blocks: readonly Record<string, unknown>[]): { text: string; context: Attachment[] } {
  const isText = (block: Record<string, unknown>): block is { type: "text"; text: string } => block["type"] === "text" && typeof block["text"] === "string";
  const attachment = (block: Record<string, unknown>): Attachment => {
    const resource = (block["resource"] ?? {}) as Record<string, unknown>;
    const [uri, name] = [block["uri"] ?? resource["uri"], block["name"]].map(value => (typeof value === "string" ? value : undefined));
    const text = resource["text"];
    const { type, data, mimeType } = block;
    const isImage = type === "image" && typeof data === "string" && /^image\/[\w.+-]+$/.test(String(mimeType));
    return { label: name ?? uri?.split("/").at(-1) ?? String(type), detail: typeof text === "string" ? text : (uri ?? String(type)), block, ...(isImage ? { imageUrl: `data:${String(mimeType)};base64,${data}` } : {}) };
  };
  return { text: blocks.filter(isText).map(({ text }) => text).join("\n"), context: blocks.filter(block => !isText(block)).map(attachment) };
}
