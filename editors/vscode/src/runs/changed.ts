// What a changed file looked like before and after, from what an agent told of its edits and what is on the disk now. An agent may tell a
// whole file, the part that it replaced, or a patch only.
import { applyPatch, parsePatch, reversePatch } from "diff";
import type { ChangedFile } from "../protocol";

/** `undefined`: there was, or is, no such file. */
export interface Sides {
  before: string | undefined;
  after: string | undefined;
  /** `after` is what is on the disk, so that the editor can show the file itself. */
  current: boolean;
}

export function sidesOf(file: ChangedFile, disk: string | undefined): Sides {
  const [oldText, newText] = [file.oldText ?? undefined, file.newText ?? undefined];
  if (file.kind === "add") return { before: undefined, after: disk ?? newText ?? patched("", file.patch), current: disk !== undefined };
  if (file.kind === "delete") return { before: oldText ?? unpatched("", file.patch), after: undefined, current: false };
  if (newText !== undefined) {
    if (disk === newText) return { before: oldText ?? "", after: disk, current: true };
    // The part that was replaced: put back into the file where it stands once.
    if (disk !== undefined && oldText !== undefined && newText !== "" && disk.split(newText).length === 2) {
      const at = disk.indexOf(newText);
      return { before: disk.slice(0, at) + oldText + disk.slice(at + newText.length), after: disk, current: true };
    }
    return { before: oldText ?? "", after: newText, current: false };
  }
  if (file.patch != null && disk !== undefined) {
    const before = unpatched(disk, file.patch);
    if (before !== undefined) return { before, after: disk, current: true };
  }
  // The file has been changed since: the patch itself is what can be shown.
  return { before: removed(file.patch), after: added(file.patch), current: false };
}

function patched(text: string, patch: string | null | undefined): string | undefined {
  return fold(text, patch, parts => parts);
}

function unpatched(text: string, patch: string | null | undefined): string | undefined {
  return fold(text, patch, parts => parts.reverse().map(part => reversePatch(part)));
}

type Parts = ReturnType<typeof parsePatch>;

function fold(text: string, patch: string | null | undefined, turn: (parts: Parts) => Parts): string | undefined {
  if (patch == null) return undefined;
  try {
    let result: string = text;
    for (const part of turn(parsePatch(patch))) {
      const next = applyPatch(result, part);
      if (next === false) return undefined;
      result = next;
    }
    return result;
  } catch {
    return undefined;
  }
}

const removed = (patch: string | null | undefined) => pick(patch, "-");
const added = (patch: string | null | undefined) => pick(patch, "+");

function pick(patch: string | null | undefined, sign: string): string {
  const lines = (patch ?? "").split("\n").filter(line => !line.startsWith("---") && !line.startsWith("+++"));
  return lines
    .filter(line => line.startsWith(sign) || line.startsWith(" ") || line.startsWith("@@"))
    .map(line => (line.startsWith("@@") ? line : line.slice(1)))
    .join("\n");
}
