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

/** Searches the runs of all servers. Calls `onHits` with all hits so far, after every page; `finished` is true for the last call. */
export async function search(servers: readonly Server[], query: string, token: CancellationToken, onHits: (hits: readonly Hit[], finished: boolean) => void): Promise<void> {
  // The hits of each server, in the order of the servers. One that does not answer holds up no other.
  const found: Hit[][] = servers.map(() => []);
  const all = () => found.flat().slice(0, MAX_HITS);
  const searchOne = async (server: Server, hits: Hit[]) => {
    let cursor: string | undefined;
    do {
      const page = await server.request("run/search", { query, ignoreCase: query === query.toLowerCase(), limit: 50, ...(cursor ? { cursor } : {}) }, token);
      if (token.isCancellationRequested) return;
      hits.push(...page.hits);
      cursor = page.nextCursor ?? undefined;
      onHits(all(), false);
    } while (cursor !== undefined && all().length < MAX_HITS);
  };
  const results = await Promise.allSettled(servers.map((server, at) => searchOne(server, found[at]!)));
  if (token.isCancellationRequested) return;
  // Hits of the others are worth more than the failure of one.
  const failed = results.find(result => result.status === "rejected");
  if (failed && found.every(hits => hits.length === 0)) throw failed.reason;
  onHits(all(), true);
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
