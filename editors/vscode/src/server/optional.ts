// Methods that a server of this protocol version need not have. Callers check `Server.can` first. If the generated
// protocol has such a method, its types replace the ones here.
import type { Methods } from "../protocol";

export interface Hit {
  runId: string;
  seq: number;
  stream: "stdout" | "stderr";
  /** Offset of the match within its stream, in bytes. */
  offset: number;
  line: string;
}

export type ExportFormat = "text" | "jsonl" | "markdown" | "html" | "asciicast";

interface OptionalMethods {
  "run/search": {
    params: { query: string; regex?: boolean; ignoreCase?: boolean; runId?: string; limit?: number; cursor?: string };
    result: { hits: Hit[]; nextCursor?: string | null };
  };
  "run/export": {
    params: { runId: string; format: ExportFormat; path?: string };
    result: { path?: string | null; content?: string | null };
  };
}

/** All methods of the server. */
export type ServerMethods = Methods & Omit<OptionalMethods, keyof Methods>;
