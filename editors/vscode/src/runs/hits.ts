// Searching the output of all runs. The server answers within a second with what it has found by then, and is asked on until there is enough.
import type { CancellationToken } from "vscode-jsonrpc/node";
import type { Hit } from "../server/optional";
import type { Server } from "../server/server";

/** More than anybody reads through. */
export const MOST = 200;
/** Before and after a hit, so much of the output is shown. */
const AROUND_BYTES = 131_072;

/** Hits as they are found: called with all of them, each time there are more, and at the end. */
export async function search(server: Server, query: string, token: CancellationToken, found: (hits: readonly Hit[], over: boolean) => void): Promise<void> {
  const hits: Hit[] = [];
  let cursor: string | undefined;
  do {
    const page = await server.request("run/search", { query, ignoreCase: query === query.toLowerCase(), limit: 50, ...(cursor ? { cursor } : {}) }, token);
    if (token.isCancellationRequested) return;
    hits.push(...page.hits);
    cursor = page.nextCursor ?? undefined;
    found(hits, cursor === undefined || hits.length >= MOST);
  } while (cursor !== undefined && hits.length < MOST);
}

export interface Excerpt {
  text: string;
  /** The line of the hit, from 0. */
  line: number;
}

/** What stands around a hit, without colours, and where in it. */
export async function excerpt(server: Server, { runId, stream, offset }: Pick<Hit, "runId" | "stream" | "offset">): Promise<Excerpt> {
  const from = Math.max(0, offset - AROUND_BYTES);
  const page = await server.request("run/text", { runId, stream, offset: from, maxBytes: 2 * AROUND_BYTES });
  const before = Buffer.from(page.text).subarray(0, Math.max(0, offset - page.offset)).toString("utf8");
  return { text: plain(page.text), line: plain(before).split("\n").length - 1 };
}

const plain = (text: string) =>
  text
    .replace(/\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/g, "")
    .replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "")
    .replace(/\r+\n/g, "\n");
