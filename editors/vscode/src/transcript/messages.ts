// What the extension and the page of a transcript say to each other.
import type { Entry, Run } from "../protocol";

/** What the page needs to know about the run beside its log. */
export interface Head {
  run: Run;
  name: string;
  words: string;
  provider: string;
  final: boolean;
  can: { send: boolean; steer: boolean; interrupt: boolean; configure: boolean; resume: boolean; takeover: boolean };
}

export type ToPage =
  | { say: "head"; head: Head }
  /** Begins anew: another run, or the same from its first entry. */
  | { say: "reset" }
  | { say: "entries"; entries: Entry[]; number: number }
  | { say: "failed"; message: string }
  | { say: "sent" }
  | { say: "find"; query: string };

export type ToExtension =
  | { say: "ready" }
  | { say: "took"; number: number }
  | { say: "answer"; permissionId: string; optionId?: string; cancelled?: true; message?: string }
  | { say: "always"; permissionId: string }
  | { say: "send"; text: string; mode: "queue" | "steer" }
  | { say: "interrupt" }
  | { say: "cancel" }
  | { say: "configure" }
  | { say: "openOutput" }
  | { say: "takeover" }
  | { say: "changes" }
  | { say: "rerun" }
  | { say: "openFile"; path: string; line?: number; column?: number }
  | { say: "openDiff"; path: string; oldText: string; newText: string }
  | { say: "copy"; text: string };
