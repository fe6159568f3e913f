// A file that a run changed, while the changes are reviewed: which of them are there still and were not kept yet.
import type { ChangedFile } from "../protocol";
import { applyPatchTo, type DiffSides } from "./diff-sides";
import { hunkKeys, hunksOf, placeHunks, type Hunk } from "./hunks";

/** A hunk, and what it is remembered by. */
export interface ReviewedHunk extends Hunk {
  key: string;
}

export interface ReviewedFile {
  path: string;
  kind: ChangedFile["kind"];
  /** The text before the run; `undefined` if there was no file, or if it is not known. */
  before: string | undefined;
  /** The text that the agent wrote. */
  after: string | undefined;
  hunks: ReviewedHunk[];
  kept: Set<string>;
}

/** A hunk that is still in the file, with its line. */
export type PendingHunk = ReviewedHunk & { line: number };

export function reviewedFile(path: string, file: ChangedFile, { before, after: shown, current }: DiffSides, kept: Iterable<string>): ReviewedFile {
  // Of a new file the text on disk may have been edited since.
  const after = file.kind === "add" ? (file.newText ?? applyPatchTo("", file.patch) ?? shown) : shown;
  // Where the patch does not apply anymore, only its lines are known, not their places.
  const known = file.kind !== "move" && (current || file.kind !== "modify" || file.patch == null) && (before !== undefined || after !== undefined);
  const hunks = known ? hunksOf(before ?? "", after ?? "") : [];
  const keys = hunkKeys(hunks);
  return { path, kind: file.kind, before, after, hunks: hunks.map((hunk, index) => ({ ...hunk, key: keys[index]! })), kept: new Set(kept) };
}

/** The hunks that can be kept or undone. `current`: the file's text, `undefined` if it does not exist. */
export function pendingHunks({ kind, before, after, hunks, kept }: ReviewedFile, current: string | undefined): PendingHunk[] {
  const open = hunks.filter(hunk => !kept.has(hunk.key));
  // What was deleted is shown as it was.
  if (kind === "delete") return current === undefined && before !== undefined ? open.map(hunk => ({ ...hunk, line: 0 })) : [];
  if (current === undefined || after === undefined) return [];
  // A file that was made and edited since is no longer the agent's alone.
  if (kind === "add" && current !== after) return [];
  return placeHunks(open, after, current).flatMap(({ line }, index) => (line === undefined ? [] : [{ ...open[index]!, line }]));
}
