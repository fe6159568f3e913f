// Differences: two texts, or a patch, as lines with a sign, so that colour is not needed to read them.
import { parsePatch, structuredPatch, type StructuredPatchHunk } from "diff";
import { element } from "./dom";

/** More lines than this are for the editor's own diff. */
const SHOWN = 400;
/** Two texts that take longer to compare are not compared here. */
const PATIENCE_MS = 200;

export function renderTexts(path: string, oldText: string, newText: string): HTMLElement {
  if (oldText === "") return renderHunks([{ oldStart: 0, oldLines: 0, newStart: 1, newLines: 0, lines: linesOf(newText).map(line => `+${line}`) }]);
  const patch = structuredPatch(path, path, oldText, newText, undefined, undefined, { context: 3, timeout: PATIENCE_MS });
  return patch ? renderHunks(patch.hunks) : element("p", { class: "quiet" }, "The two are too different to be shown here.");
}

export function renderPatch(patch: string): HTMLElement {
  try {
    return renderHunks(parsePatch(patch).flatMap(({ hunks }) => hunks));
  } catch {
    return element("pre", { class: "output", tabIndex: 0 }, patch);
  }
}

function renderHunks(hunks: readonly StructuredPatchHunk[]): HTMLElement {
  const body = element("div", { class: "diff", role: "region", tabIndex: 0, aria: { label: "Difference" } });
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
      if (++shown > SHOWN) {
        hidden++;
        continue;
      }
      const kind = sign === "+" ? "added" : sign === "-" ? "removed" : "same";
      body.append(element("div", { class: `diff-line ${kind}` }, element("span", { class: "diff-number", aria: { hidden: "true" } }, String(number)), element("span", { class: "diff-sign" }, sign), element("span", { class: "diff-text" }, line.slice(1))));
    }
  }
  if (hidden > 0) body.append(element("div", { class: "diff-gap" }, `${hidden} more lines in the editor's diff`));
  if (shown === 0) body.append(element("div", { class: "diff-gap" }, "no difference"));
  return body;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** How many lines came and went. */
export function counts(oldText: string, newText: string): string {
  if (oldText === "") return `+${linesOf(newText).length}`;
  const patch = structuredPatch("", "", oldText, newText, undefined, undefined, { context: 0, timeout: PATIENCE_MS });
  if (!patch) return "";
  const lines = patch.hunks.flatMap(hunk => hunk.lines);
  return `+${lines.filter(line => line.startsWith("+")).length} −${lines.filter(line => line.startsWith("-")).length}`;
}
