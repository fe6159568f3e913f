// The hunks of a change, where they are in a file now, and how one is taken back: only where the file still has the new
// lines.
import { diffArrays } from "diff";

/** Lines that were replaced. Each line has its line end, so that joined lines are the text, byte for byte. */
export interface Hunk {
  oldLines: readonly string[];
  newLines: readonly string[];
  /** The line, counted from 0, at which the new lines begin in the text after the change. */
  newStart: number;
}

export interface PlacedHunk extends Hunk {
  /** Where the new lines begin in the current text; absent if they were changed since. */
  line?: number;
}

/** A comparison is given up after this time. The whole text is then one hunk. */
const COMPARE_TIMEOUT_MS = 2_000;

export const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

export function hunksOf(before: string, after: string): Hunk[] {
  const [oldLines, newLines] = [linesOf(before), linesOf(after)];
  const parts = diffArrays(oldLines, newLines, { timeout: COMPARE_TIMEOUT_MS });
  if (!parts) return before === after ? [] : [{ oldLines, newLines, newStart: 0 }];
  const hunks: { oldLines: string[]; newLines: string[]; newStart: number }[] = [];
  let [line, open] = [0, false];
  for (const { value, added, removed } of parts) {
    if (!added && !removed) {
      line += value.length;
      open = false;
      continue;
    }
    if (!open) hunks.push({ oldLines: [], newLines: [], newStart: line });
    open = true;
    hunks.at(-1)![added ? "newLines" : "oldLines"].push(...value);
    if (added) line += value.length;
  }
  return hunks;
}

/** Finds the hunks of a change to `after` in the current text, which may have been edited since. */
export function placeHunks(hunks: readonly Hunk[], after: string, current: string): PlacedHunk[] {
  if (after === current) return hunks.map(hunk => ({ ...hunk, line: hunk.newStart }));
  const count = linesOf(current).length;
  /** For each line of `after` that is still there, its line in the current text; -1 before the first, `count` behind the last. */
  const places = new Map<number, number>([[-1, -1]]);
  let [from, to] = [0, 0];
  for (const { value, added, removed } of diffArrays(linesOf(after), linesOf(current), { timeout: COMPARE_TIMEOUT_MS }) ?? []) {
    if (!added && !removed) for (let each = 0; each < value.length; each++) places.set(from + each, to + each);
    if (!added) from += value.length;
    if (!removed) to += value.length;
  }
  places.set(linesOf(after).length, count);
  return hunks.map(hunk => {
    const line = placeOf(hunk, places);
    return line === undefined ? { ...hunk } : { ...hunk, line };
  });
}

function placeOf({ newLines, newStart }: Hunk, places: ReadonlyMap<number, number>): number | undefined {
  if (newLines.length === 0) {
    // Lines were only removed: they go back between the lines around them, if these still are neighbors.
    const [before, behind] = [places.get(newStart - 1), places.get(newStart)];
    return before !== undefined && behind === before + 1 ? behind : undefined;
  }
  const first = places.get(newStart);
  return first !== undefined && newLines.every((_, index) => places.get(newStart + index) === first + index) ? first : undefined;
}

/** The current text without the change of a hunk; `undefined` if its new lines are not at its line. */
export function withoutHunk(current: string, { line, oldLines, newLines }: PlacedHunk): string | undefined {
  const lines = linesOf(current);
  if (line === undefined || newLines.some((text, index) => lines[line + index] !== text)) return undefined;
  const rest = lines.slice(line + newLines.length);
  const before = lines.slice(0, line);
  return joined(joined(before.join(""), oldLines.join("")), rest.join(""));
}

/** A last line without an end gets one where something follows it now. */
const joined = (first: string, second: string) => (first !== "" && second !== "" && !first.endsWith("\n") ? `${first}\n${second}` : first + second);

/** What the hunks of a file are remembered by: their texts, and of equal ones which of them. */
export function hunkKeys(hunks: readonly Hunk[]): string[] {
  const counts = new Map<string, number>();
  return hunks.map(({ oldLines, newLines }) => {
    const key = JSON.stringify([oldLines.join(""), newLines.join("")]);
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    return count === 1 ? key : `${key}#${count}`;
  });
}
