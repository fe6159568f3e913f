// Commands about what a run changed: review, from a change to its step, and back to before a turn.
import { resolve, sep } from "node:path";
import { window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { isFinal, nameOf, plain, relativeTo } from "../runs/run";
import { readSteps, stepOfHunk, type Step } from "../runs/steps";
import { takeBack } from "../runs/taken-back";
import { elsewhere } from "../server/run-ids";
import { confirm, showInformation, showWarning } from "../views/messages";
import { readText, writeTexts, type ChangeTarget, type Review } from "../views/review";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";

/** A question about several files names at most this many. */
const MAX_FILES_NAMED = 10;

const absolute = (run: Run, path: string): string => resolve(run.cwd, path);

export async function reviewChanges(app: App, review: Review, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to review its changes", candidate => candidate.hasTranscript === true);
  if (run) await review.start(run);
}

/** `Show Step in Transcript`: the step that made the change at the cursor. */
export async function showStep(app: App, review: Review, target?: ChangeTarget): Promise<void> {
  const { run } = review;
  const change = await review.changeAt(target);
  if (!run || !change) return;
  const step = stepOfHunk(await readSteps(app.server, run.id), path => absolute(run, path) === change.path, change.hunk);
  if (step) app.transcripts.show(run, { item: step.item });
  else void showInformation("No step of the transcript names this change.");
}

/**
 * `Undo Changes Since…`: writes back what files had before a turn. `requested.turn` skips the picker, `confirmation` the
 * question. The agent is not informed.
 */
export async function undoTurn(app: App, node?: RunsNode, { turn, confirmation }: { turn?: number; confirmation?: "sure" } = {}): Promise<void> {
  const run = await pickRun(app, node, "Select a run to undo its changes", candidate => candidate.hasTranscript === true);
  if (!run) return;
  const there = elsewhere(run);
  if (there) return void showInformation(`${there} Nothing was undone.`);
  if (!isFinal(run) && run.state !== "idle") return void showWarning(`${nameOf(run)} is working. Stop its response first.`);
  const steps = await readSteps(app.server, run.id);
  const from = turn ?? (await pickTurn(run, steps));
  if (from === undefined) return;
  const all = await takeBack(steps.filter(step => (step.turn ?? 0) >= from), path => absolute(run, path), readText);
  const name = (path: string) => relativeTo(path, run.cwd);
  const list = (paths: string[]) => [...paths.slice(0, MAX_FILES_NAMED).map(name), ...(paths.length > MAX_FILES_NAMED ? [`and ${paths.length - MAX_FILES_NAMED} more`] : [])].join("\n");
  // What was there before is only what the agent reported. Where a run does not work, its word is not enough to write.
  const [files, outside] = [all.filter(({ path }) => path.startsWith(run.cwd + sep)), all.filter(({ path }) => !path.startsWith(run.cwd + sep)).map(({ path }) => path)];
  const undone = files.flatMap(({ path, before }) => (before === "changed" ? [] : [{ path, text: before.text }]));
  const left = files.filter(({ before }) => before === "changed").map(({ path }) => path);
  if (undone.length === 0 && outside.length > 0) return void showInformation(`Nothing can be undone: ${outside.slice(0, MAX_FILES_NAMED).join(", ")} outside of the run's folder.`);
  if (undone.length === 0) return void showInformation(left.length > 0 ? `Nothing can be undone: changed since in ${left.map(name).slice(0, MAX_FILES_NAMED).join(", ")}.` : "No changes since this message.");
  const count = undone.length === 1 ? "1 file" : `${undone.length} files`;
  const detail = [list(undone.map(({ path }) => path)), ...(left.length > 0 ? [`Left as they are, because they have changed since:\n${list(left)}`] : []), ...(outside.length > 0 ? [`Left as they are, because they are outside of the run's folder:\n${list(outside)}`] : []), "The agent is not informed."].join("\n\n");
  if (confirmation !== "sure" && (await confirm(`Undo the changes since this message in ${count}?`, detail, "Undo")) !== "Undo") return;
  if (!(await writeTexts(undone))) void showWarning("A file has unsaved or newer text. Nothing was undone.");
}

interface TurnRow extends QuickPickItem {
  turn: number;
}

async function pickTurn(run: Run, steps: readonly Step[]): Promise<number | undefined> {
  const turns = [...new Set(steps.map(step => step.turn ?? 0))].sort((a, b) => b - a);
  if (turns.length === 0) return void showInformation(`No changes reported by ${nameOf(run)}.`);
  const rows = turns.map((turn): TurnRow => {
    const files = new Set(steps.filter(step => (step.turn ?? 0) === turn).flatMap(({ diffs }) => diffs.map(({ path }) => relativeTo(absolute(run, path), run.cwd))));
    return { label: `Turn ${turn}`, description: plain([...files].slice(0, 3).join(", ") + (files.size > 3 ? ` and ${files.size - 3} more` : "")), turn };
  });
  return (await window.showQuickPick(rows, { title: `Undo changes of ${plain(nameOf(run))}`, placeHolder: "Select the first turn whose changes are undone" }))?.turn;
}
