// Takes steps of an agent back, the last one first: each only where the file still has what the step wrote.
import { applyPatchTo, revertPatchFrom } from "./diff-sides";
import { hunksOf, placeHunks, withoutHunk } from "./hunks";
import type { Diff, Step } from "./steps";

/** A text; `undefined` for a file that does not exist. */
type Text = string | undefined;

/** The text before the diff was applied; "changed" if the file does not have the new text anymore. */
export function beforeDiff(text: Text, { kind, patch, oldText, newText }: Diff): { text: Text } | "changed" {
  if (kind === "add") return text !== undefined && text === (newText ?? applyPatchTo("", patch)) ? { text: undefined } : "changed";
  if (kind === "delete") {
    const old = oldText ?? revertPatchFrom("", patch);
    return text === undefined && old !== undefined ? { text: old } : "changed";
  }
  // What a moved file was called is not known.
  if (kind === "move" || text === undefined) return "changed";
  if (patch != null) {
    const old = revertPatchFrom(text, patch);
    return old === undefined ? "changed" : { text: old };
  }
  if (newText == null || oldText == null) return "changed";
  if (text === newText) return { text: oldText };
  // The agent reported the part that it replaced. One that occurs twice may be either.
  const parts = newText === "" ? [text] : text.split(newText);
  return parts.length === 2 ? { text: parts.join(oldText) } : parts.length > 2 ? "changed" : beforeEdits(text, oldText, newText);
}

/** The file was edited elsewhere since: every hunk has to be as it was written. */
function beforeEdits(text: string, oldText: string, newText: string): { text: string } | "changed" {
  const placed = placeHunks(hunksOf(oldText, newText), newText, text);
  let result = text;
  for (const hunk of placed.reverse()) {
    const next = withoutHunk(result, hunk);
    if (next === undefined) return "changed";
    result = next;
  }
  return placed.length > 0 ? { text: result } : "changed";
}

/** A file, and its text before the steps; "changed" if one of its diffs cannot be taken back. */
export type TakenBack = { path: string; before: { text: Text } | "changed" };

/** Takes all steps back. `pathOf` gives the one name of a file, `read` its current text. */
export async function takeBack(steps: readonly Step[], pathOf: (path: string) => string, read: (path: string) => Promise<Text>): Promise<TakenBack[]> {
  const results = new Map<string, TakenBack["before"]>();
  for (const diff of steps.flatMap(({ diffs }) => diffs).reverse()) {
    const path = pathOf(diff.path);
    const known = results.get(path) ?? { text: await read(path) };
    results.set(path, known === "changed" ? known : beforeDiff(known.text, diff));
  }
  return [...results].map(([path, before]) => ({ path, before }));
}
