// Methods that a server of this protocol may have or not. They are asked for only where the server says that it has them (`Server.can`).
// Where the schema knows a method, its own types count.
import type { Methods } from "../protocol";

export interface Hit {
  runId: string;
  seq: number;
  stream: "stdout" | "stderr";
  /** Where the match begins within its stream, in bytes. */
  offset: number;
  line: string;
}

export type ExportFormat = "text" | "jsonl" | "markdown" | "html" | "asciicast";

interface Optional {
  "run/search": {
    params: { query: string; regex?: boolean; ignoreCase?: boolean; runId?: string; limit?: number; cursor?: string };
    result: { hits: Hit[]; nextCursor?: string | null };
  };
  "run/export": {
    params: { runId: string; format: ExportFormat; path?: string };
    result: { path?: string | null; content?: string | null };
  };
}

/** Everything that can be asked. */
export type Asked = Methods & Omit<Optional, keyof Methods>;
