// Computes what a changed file looked like before and after, from the agent's report and from the file on disk. An
// agent reports a whole file, the part that it replaced, or only a patch.
import { applyPatch, parsePatch, reversePatch } from "diff";
import type { ChangedFile } from "../protocol";

/** `undefined` for a side means that the file did not, or does not, exist. */
export interface DiffSides {
  before: string | undefined;
  after: string | undefined;
  /** `after` equals the file on disk, so that the editor can show the file itself. */
  current: boolean;
}

export function diffSides(file: ChangedFile, disk: string | undefined): DiffSides {
  const [oldText, newText] = [file.oldText ?? undefined, file.newText ?? undefined];
  if (file.kind === "add") return { before: undefined, after: disk ?? newText ?? applyPatchTo("", file.patch), current: disk !== undefined };
  if (file.kind === "delete") return { before: oldText ?? revertPatchFrom("", file.patch), after: undefined, current: false };
  if (newText !== undefined) {
    if (disk === newText) return { before: oldText ?? "", after: disk, current: true };
    // The agent reported only the part that it replaced. We put the old part back if the new one occurs exactly once.
    if (disk !== undefined && oldText !== undefined && newText !== "" && disk.split(newText).length === 2) {
      const start = disk.indexOf(newText);
      return { before: disk.slice(0, start) + oldText + disk.slice(start + newText.length), after: disk, current: true };
    }
    return { before: oldText ?? "", after: newText, current: false };
  }
  if (file.patch != null && disk !== undefined) {
    const before = revertPatchFrom(disk, file.patch);
    if (before !== undefined) return { before, after: disk, current: true };
  }
  // The file has changed since, so the patch no longer applies. The lines of the patch itself are all that can be
  // shown.
  return { before: removedLines(file.patch), after: addedLines(file.patch), current: false };
}

export function applyPatchTo(text: string, patch: string | null | undefined): string | undefined {
  return applyParts(text, patch, parts => parts);
}

export function revertPatchFrom(text: string, patch: string | null | undefined): string | undefined {
  return applyParts(text, patch, parts => parts.reverse().map(part => reversePatch(part)));
}

type PatchParts = ReturnType<typeof parsePatch>;

function applyParts(text: string, patch: string | null | undefined, prepare: (parts: PatchParts) => PatchParts): string | undefined {
  if (patch == null) return undefined;
  try {
    let result: string = text;
    for (const part of prepare(parsePatch(patch))) {
      const next = applyPatch(result, part);
      if (next === false) return undefined;
      result = next;
    }
    return result;
  } catch {
    return undefined;
  }
}

const removedLines = (patch: string | null | undefined) => linesWithSign(patch, "-");
const addedLines = (patch: string | null | undefined) => linesWithSign(patch, "+");

function linesWithSign(patch: string | null | undefined, sign: string): string {
  const lines = (patch ?? "").split("\n").filter(line => !line.startsWith("---") && !line.startsWith("+++"));
  return lines
    .filter(line => line.startsWith(sign) || line.startsWith(" ") || line.startsWith("@@"))
    .map(line => (line.startsWith("@@") ? line : line.slice(1)))
    .join("\n");
}
