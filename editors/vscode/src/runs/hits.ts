// Searches the output of all runs. Each `run/search` returns within a second with the hits so far and a cursor; we
// continue until there are enough.
import type { CancellationToken } from "vscode-jsonrpc/node";
import type { Hit } from "../server/optional";
import type { Server } from "../server/server";
import { plainTerminalText } from "./terminal-text";

/** The search stops after this many hits; nobody reads through more. */
export const MAX_HITS = 200;
/** How much output an excerpt has on each side of the hit. */
const CONTEXT_BYTES = 131_072;

/** Calls `onHits` with all hits so far, after every page; `finished` is true for the last call. */
export async function search(server: Server, query: string, token: CancellationToken, onHits: (hits: readonly Hit[], finished: boolean) => void): Promise<void> {
  const hits: Hit[] = [];
  let cursor: string | undefined;
  do {
    const page = await server.request("run/search", { query, ignoreCase: query === query.toLowerCase(), limit: 50, ...(cursor ? { cursor } : {}) }, token);
    if (token.isCancellationRequested) return;
    hits.push(...page.hits);
    cursor = page.nextCursor ?? undefined;
    onHits(hits, cursor === undefined || hits.length >= MAX_HITS);
  } while (cursor !== undefined && hits.length < MAX_HITS);
}

export interface Excerpt {
  text: string;
  /** The line of the hit, counted from 0. */
  line: number;
}

/** Reads the output around a hit, without escape sequences, and finds the line of the hit in it. */
export async function excerpt(server: Server, { runId, stream, offset }: Pick<Hit, "runId" | "stream" | "offset">): Promise<Excerpt> {
  const from = Math.max(0, offset - CONTEXT_BYTES);
  const page = await server.request("run/text", { runId, stream, offset: from, maxBytes: 2 * CONTEXT_BYTES });
  const before = Buffer.from(page.text).subarray(0, Math.max(0, offset - page.offset)).toString("utf8");
  return { text: plainTerminalText(page.text), line: plainTerminalText(before).split("\n").length - 1 };
}
