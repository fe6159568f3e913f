import { deepStrictEqual, strictEqual } from "node:assert";
import type { ChangedFile } from "../../src/protocol";
import { diffSides } from "../../src/runs/diff-sides";
import { hunksOf, placeHunks, withoutHunk } from "../../src/runs/hunks";
import { pendingHunks, reviewedFile } from "../../src/runs/reviewed";
import { stepOfHunk, stepsOf, type Step } from "../../src/runs/steps";
import { beforeDiff, takeBack } from "../../src/runs/taken-back";
import { tool } from "../lib/runs";

const text = (...lines: string[]) => lines.map(line => `${line}\n`).join("");
const BEFORE = text("one", "two", "three", "four", "five");
const AFTER = text("ONE", "two", "three", "five", "six");

/** Takes the hunks of BEFORE → AFTER back in a text that may have been edited; those that cannot be are skipped. */
function undoAll(current: string, before = BEFORE, after = AFTER): string {
  return placeHunks(hunksOf(before, after), after, current).reverse().reduce((result, hunk) => withoutHunk(result, hunk) ?? result, current);
}

describe("hunks of a change", () => {
  it("are taken back one by one, and together give the old text", () => {
    const hunks = hunksOf(BEFORE, AFTER);
    deepStrictEqual(hunks.map(({ oldLines, newLines, newStart }) => [oldLines.join(""), newLines.join(""), newStart]), [["one\n", "ONE\n", 0], ["four\n", "", 3], ["", "six\n", 4]]);
    strictEqual(withoutHunk(AFTER, placeHunks(hunks, AFTER, AFTER)[1]!), text("ONE", "two", "three", "four", "five", "six"));
    strictEqual(undoAll(AFTER), BEFORE);
  });

  it("are found where the file was edited elsewhere since, and not where it was edited itself", () => {
    const edited = text("mine", "ONE", "two", "three", "five", "SIX");
    deepStrictEqual(placeHunks(hunksOf(BEFORE, AFTER), AFTER, edited).map(({ line }) => line), [1, 4, undefined]);
    strictEqual(undoAll(edited), text("mine", "one", "two", "three", "four", "five", "SIX"));
    // Between the lines from which one was removed there is a new one now.
    deepStrictEqual(placeHunks(hunksOf(BEFORE, AFTER), AFTER, text("ONE", "two", "three", "mine", "five", "six"))[1]!.line, undefined);
  });

  it("are not taken back at a line that no longer has the new text", () => {
    const [hunk] = placeHunks(hunksOf(BEFORE, AFTER), AFTER, AFTER);
    strictEqual(withoutHunk(text("other", "two"), hunk!), undefined);
  });

  it("keep line ends as they are, also a missing one", () => {
    strictEqual(undoAll("a\r\nB\r\nc", "a\r\nb\r\nc", "a\r\nB\r\nc"), "a\r\nb\r\nc");
    strictEqual(undoAll("a\nb\nc\n", "a\nb", "a\nb\nc\n"), "a\nb");
    // What was written behind it since does not run into it.
    strictEqual(undoAll("a\nb\nc\nd\n", "a\nb", "a\nb\nc\n"), "a\nb\nd\n");
    strictEqual(undoAll("", "a\n", ""), "a\n");
  });
});

describe("a reviewed file", () => {
  const file = (more: Partial<ChangedFile>): ChangedFile => ({ path: "/w/a", kind: "modify", ...more });
  const review = (changed: ChangedFile, disk: string | undefined, kept: string[] = []) => reviewedFile("/w/a", changed, diffSides(changed, disk), kept);
  const pending = (changed: ChangedFile, disk: string | undefined, kept?: string[]) => pendingHunks(review(changed, disk, kept), disk).map(({ line }) => line);

  it("has its changes until they are kept or undone", () => {
    const changed = file({ oldText: BEFORE, newText: AFTER });
    deepStrictEqual(pending(changed, AFTER), [0, 3, 4]);
    deepStrictEqual(pending(changed, AFTER, [JSON.stringify(["four\n", ""])]), [0, 4]);
    deepStrictEqual(pending(changed, text("one", "two", "three", "five", "six")), [3, 4]);
    deepStrictEqual(pending(changed, BEFORE), []);
    deepStrictEqual(pending(changed, undefined), []);
  });

  it("keeps one of two equal changes", () => {
    const changed = file({ oldText: text("a", "x", "b", "x", "c"), newText: text("a", "b", "c") });
    const [first, second] = review(changed, text("a", "b", "c")).hunks;
    deepStrictEqual(pending(changed, text("a", "b", "c"), [second!.key]), [1]);
    deepStrictEqual(pending(changed, text("a", "b", "c"), [first!.key]), [2]);
  });

  it("that was made or deleted has one change, while it is as the agent left it", () => {
    deepStrictEqual(pending(file({ kind: "add", newText: "a\n" }), "a\n"), [0]);
    deepStrictEqual(pending(file({ kind: "add", newText: "a\n" }), "a\nb\n"), []);
    deepStrictEqual(pending(file({ kind: "delete", oldText: "a\n" }), undefined), [0]);
    deepStrictEqual(pending(file({ kind: "delete", oldText: "a\n" }), "a\n"), []);
  });

  it("has no changes whose place is not known", () => {
    const patch = "--- a\n+++ a\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n";
    deepStrictEqual(pending(file({ patch }), "one\nTWO\n"), [1]);
    deepStrictEqual(pending(file({ patch }), "nothing of it\n"), []);
    deepStrictEqual(pending(file({ kind: "move" }), "a\n"), []);
  });
});

describe("steps", () => {
  const modify = (oldText: string, newText: string, path = "a") => ({ path, kind: "modify" as const, oldText, newText });
  const steps: Step[] = [
    { item: 1, turn: 1, diffs: [{ path: "a", kind: "add", newText: "x\ny\n" }] },
    { item: 2, turn: 1, diffs: [modify("x\n", "z\n")] },
    { item: 3, turn: 2, diffs: [modify("z\ny\n", "z\n"), { path: "b", kind: "delete", oldText: "gone\n" }] },
  ];
  const back = async (from: number, files: Record<string, string | undefined>) =>
    Object.fromEntries((await takeBack(steps.filter(({ turn }) => turn! >= from), path => `/w/${path}`, async path => files[path])).map(({ path, before }) => [path, before]));

  it("are those of completed calls that changed files", () => {
    const diffs = [{ ...modify("a", "b") }];
    deepStrictEqual(stepsOf([tool(1, { diffs }), tool(2, { diffs, status: "failed" }), tool(3)]).map(({ item }) => item), [1]);
  });

  it("are taken back to before a turn, the last one first", async () => {
    deepStrictEqual(await back(2, { "/w/a": "z\n" }), { "/w/b": { text: "gone\n" }, "/w/a": { text: "z\ny\n" } });
    deepStrictEqual(await back(1, { "/w/a": "z\n" }), { "/w/b": { text: "gone\n" }, "/w/a": { text: undefined } });
  });

  it("leave a file that has changed since", async () => {
    deepStrictEqual(await back(1, { "/w/a": "something else\n", "/w/b": "made again\n" }), { "/w/b": "changed", "/w/a": "changed" });
    // A part that occurs twice may be either.
    strictEqual(beforeDiff("p\nq\np\n", modify("old\n", "p\n")), "changed");
    strictEqual(beforeDiff("x\ny\nz\n", { path: "a", kind: "add", newText: "x\ny\n" }), "changed");
  });

  it("survive edits elsewhere in the file", () => {
    deepStrictEqual(beforeDiff(`mine\n${AFTER}`, modify(BEFORE, AFTER)), { text: `mine\n${BEFORE}` });
  });

  it("are found for a change, the last one that wrote it", () => {
    const isSame = (path: string) => path === "a";
    strictEqual(stepOfHunk(steps, isSame, { oldLines: [], newLines: ["z\n"] })!.item, 3);
    strictEqual(stepOfHunk(steps.slice(0, 2), isSame, { oldLines: ["x\n"], newLines: ["z\n"] })!.item, 2);
    strictEqual(stepOfHunk(steps, isSame, { oldLines: ["y\n"], newLines: [] })!.item, 3);
    strictEqual(stepOfHunk(steps, path => path === "c", { oldLines: [], newLines: ["z\n"] }), undefined);
  });
});
