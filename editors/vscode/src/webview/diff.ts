// Renders diffs, of two texts or from a patch, as lines with a sign, so that they can be read without color.
import { parsePatch, structuredPatch, type StructuredPatchHunk } from "diff";
import { element } from "./dom";
import { highlight, languageOf } from "./highlight";

/** A diff shows at most this many lines here; *Open Diff* shows all of them. */
const MAX_LINES = 400;
/** The comparison of two texts is given up after this time. */
const COMPARE_TIMEOUT_MS = 200;

export function renderTexts(path: string, oldText: string, newText: string): HTMLElement {
  if (oldText === "") return renderHunks(path, [{ oldStart: 0, oldLines: 0, newStart: 1, newLines: 0, lines: linesOf(newText).map(line => `+${line}`) }]);
  const patch = structuredPatch(path, path, oldText, newText, undefined, undefined, { context: 3, timeout: COMPARE_TIMEOUT_MS });
  return patch ? renderHunks(path, patch.hunks) : element("p", { class: "quiet" }, "Diff too large to show here.");
}

export function renderPatch(path: string, patch: string): HTMLElement {
  try {
    return renderHunks(path, parsePatch(patch).flatMap(({ hunks }) => hunks));
  } catch {
    return element("pre", { class: "output", tabIndex: 0 }, patch);
  }
}

function renderHunks(path: string, hunks: readonly StructuredPatchHunk[]): HTMLElement {
  const language = languageOf(path);
  const body = element("div", { class: "diff", role: "group", tabIndex: 0, aria: { label: "Diff" } });
  let shown = 0;
  let hidden = 0;
  for (const hunk of hunks) {
    if (shown > 0) body.append(element("div", { class: "diff-gap" }, "⋯"));
    let [before, after] = [hunk.oldStart, hunk.newStart];
    for (const line of hunk.lines) {
      const sign = line[0] ?? " ";
      if (sign === "\\") continue;
      const number = sign === "-" ? before : after;
      if (sign !== "+") before++;
      if (sign !== "-") after++;
      if (++shown > MAX_LINES) {
        hidden++;
        continue;
      }
      const kind = sign === "+" ? "added" : sign === "-" ? "removed" : "same";
      body.append(element("div", { class: `diff-line ${kind}` }, element("span", { class: "diff-number", aria: { hidden: "true" } }, String(number)), element("span", { class: "diff-sign" }, sign), element("span", { class: "diff-text" }, ...highlight(line.slice(1), language))));
    }
  }
  if (hidden > 0) body.append(element("div", { class: "diff-gap" }, `${hidden} more lines (Open Diff)`));
  if (shown === 0) body.append(element("div", { class: "diff-gap" }, "No changes"));
  return body;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** The number of added and removed lines, as text. */
export function lineCounts(oldText: string, newText: string): string {
  if (oldText === "") return `+${linesOf(newText).length}`;
  const patch = structuredPatch("", "", oldText, newText, undefined, undefined, { context: 0, timeout: COMPARE_TIMEOUT_MS });
  if (!patch) return "";
  const lines = patch.hunks.flatMap(hunk => hunk.lines);
  return `+${lines.filter(line => line.startsWith("+")).length} −${lines.filter(line => line.startsWith("-")).length}`;
}
