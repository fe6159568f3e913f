// The steps of an agent that changed files, and which of them made a change.
import type { FileDiff, Item } from "../protocol";
import type { Server } from "../server/server";

export type Diff = Pick<FileDiff, "path" | "kind" | "patch" | "oldText" | "newText">;

/** A step of an agent and what it changed. */
export interface Step {
  item: number;
  turn: number | undefined;
  diffs: Diff[];
}

/** The steps among the items that changed files. Only a completed one did. */
export function stepsOf(items: readonly Item[]): Step[] {
  return items.flatMap(item => (item.kind === "tool" && item.status === "completed" && item.diffs.length > 0 ? [{ item: item.item, turn: item.turn ?? undefined, diffs: item.diffs }] : []));
}

/** Reads all steps of a run, with nothing omitted, in order. */
export async function readSteps(server: Pick<Server, "request">, runId: string): Promise<Step[]> {
  const items: Item[] = [];
  for (let after: number | null | undefined = 0; after != null; ) {
    const page: { items: Item[]; next?: number | null } = await server.request("run/items", { runId, after, limit: 1000 });
    for (const item of page.items) {
      const omitted = item.kind === "tool" && item.diffs.some(diff => diff.omitted === true);
      items.push(omitted ? (await server.request("run/getItem", { runId, item: item.item })).item : item);
    }
    after = page.next;
  }
  return stepsOf(items);
}

/** The last step that wrote the new lines of a hunk, or removed the old ones. */
export function stepOfHunk(steps: readonly Step[], isSamePath: (path: string) => boolean, { oldLines, newLines }: { oldLines: readonly string[]; newLines: readonly string[] }): Step | undefined {
  const [written, removed] = [newLines.join("").trim(), oldLines.join("").trim()];
  const has = (text: string | null | undefined, part: string) => part !== "" && (text ?? "").includes(part);
  const signed = (patch: string | null | undefined, sign: string) => (patch ?? "").split("\n").filter(line => line.startsWith(sign)).map(line => line.slice(1)).join("\n");
  const wrote = ({ patch, oldText, newText }: Diff) =>
    written !== "" ? has(newText, written) || has(signed(patch, "+"), written) : (has(oldText, removed) && !has(newText, removed)) || has(signed(patch, "-"), removed);
  const touching = steps.filter(({ diffs }) => diffs.some(({ path }) => isSamePath(path)));
  // A hunk that several steps made is that of the last one which touched the file.
  return touching.findLast(({ diffs }) => diffs.some(diff => isSamePath(diff.path) && wrote(diff))) ?? touching.at(-1);
}
