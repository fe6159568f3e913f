// The messages between the extension and the page of a transcript.
import type { Item, ItemParams, Run } from "../protocol";
import type { Attachment } from "./context";

/** What the page shows about the run in addition to its items. */
export interface Header {
  run: Run;
  name: string;
  stateLabel: string;
  provider: string;
  final: boolean;
  can: { answer: boolean; send: boolean; steer: boolean; interrupt: boolean; configure: boolean; resume: boolean; takeover: boolean };
}

export type ToPage =
  | { kind: "header"; header: Header }
  /** The last items of this or another run, in place of all that the page has. `prev` is `before` of the page before. */
  | { kind: "items"; items: Item[]; total: number; prev?: number }
  /** The page before the first one. */
  | { kind: "earlier"; items: Item[]; prev?: number }
  /** One item with nothing omitted. */
  | { kind: "item"; item: Item }
  | { kind: "changes"; changes: ItemParams[] }
  /** The page came into view: it was hidden behind another editor. */
  | { kind: "visible" }
  | { kind: "failed"; message: string }
  | { kind: "sent" }
  /** Puts attachments, and a text if there is none yet, into the message box. */
  | { kind: "attach"; context: Attachment[]; text: string }
  /** Puts a message that was taken back into the message box, below what is there. */
  | { kind: "draft"; context: Attachment[]; text: string }
  /** Files and symbols that match what was typed after `@`. */
  | { kind: "found"; query: string; found: Attachment[] }
  | { kind: "find"; query: string }
  /** Puts the focus where typing is expected: on the first permission request, else in the message box. */
  | { kind: "focus" }
  /** Shows a permission request and focuses it; without an ID the first one. */
  | { kind: "question"; permissionId?: string }
  /** Shows an item and focuses it. */
  | { kind: "reveal"; item: number };

export type ToExtension =
  | { kind: "ready" }
  | { kind: "earlier"; before: number }
  | { kind: "item"; item: number }
  | { kind: "answer"; permissionId: string; optionId?: string; cancelled?: true; message?: string }
  | { kind: "always"; permissionId: string }
  | { kind: "send"; text: string; mode: "queue" | "steer"; context: Attachment[] }
  | { kind: "find"; query: string }
  | { kind: "interrupt" }
  | { kind: "cancel" }
  | { kind: "configure" }
  | { kind: "openOutput" }
  | { kind: "takeover" }
  | { kind: "changes" }
  | { kind: "review" }
  | { kind: "queued" }
  /** Takes back what was changed since the begin of a turn. */
  | { kind: "undoTurn"; turn: number }
  | { kind: "rerun" }
  | { kind: "openFile"; path: string; line?: number; column?: number }
  | { kind: "openDiff"; path: string; oldText: string; newText: string }
  | { kind: "copy"; text: string };
