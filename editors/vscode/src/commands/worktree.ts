// Merge Worktree… and Discard Worktree…: what becomes of the worktree of a run. Both ask before.
import { homedir } from "node:os";
import type { App } from "../app";
import type { Run } from "../protocol";
import { nameOf, stateLabel } from "../runs/run";
import { Worktrees, type Worktree, type WorktreeState } from "../runs/worktrees";
import { confirm, showInformation, showWarning } from "../views/messages";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

interface Examined {
  run: Run;
  worktree: Worktree;
  state: WorktreeState;
}

/** What is in the worktree of a run. Without one, or while a run works there, a message says so. */
async function examine(app: App, node: RunsNode | undefined, placeholder: string, mayBeIdle: boolean): Promise<Examined | undefined> {
  const run = await pickRun(app, node, placeholder, candidate => app.worktrees.of(candidate) !== undefined);
  const worktree = run && app.worktrees.of(run);
  if (!run || !worktree) return run && void showInformation("This run has no worktree that was made here.");
  const user = Worktrees.userOf(worktree, app.runs.all(), mayBeIdle);
  if (user) return void showWarning(`${nameOf(user)} works in the worktree (${stateLabel(user)}). Wait for it or end it.`);
  return { run, worktree, state: await app.worktrees.state(worktree) };
}

/** `confirmation` skips the question. */
export async function mergeWorktree(app: App, node?: RunsNode, confirmation?: "sure"): Promise<void> {
  const examined = await examine(app, node, "Select a run to merge its branch", true);
  if (!examined) return;
  const { run, worktree, state } = examined;
  if (state.commits === 0 && state.changes === 0) return void showInformation(`Nothing to merge in ${worktree.branch}.`);
  const what = [...(state.commits > 0 ? [counted(state.commits, "commit")] : []), ...(state.changes > 0 ? [`${counted(state.changes, "file")} not yet committed`] : [])].join(" and ");
  const button = state.changes > 0 ? "Commit and Merge" : "Merge";
  const question = `Merge ${what} of ${worktree.branch} into ${state.target} in ${worktree.repository.replace(homedir(), "~")}?`;
  if (confirmation !== "sure" && (await confirm(question, "", button)) !== button) return;
  await app.worktrees.merge(worktree, state.changes, nameOf(run));
  void showInformation(`Merged ${worktree.branch} into ${state.target}. Discard Worktree… removes its worktree.`);
}

/** `confirmation` skips the question. */
export async function discardWorktree(app: App, node?: RunsNode, confirmation?: "sure"): Promise<void> {
  const examined = await examine(app, node, "Select a run to remove its worktree", false);
  if (!examined) return;
  const { run, worktree, state } = examined;
  const lost = [...(state.commits > 0 ? [`${counted(state.commits, "commit")} not merged`] : []), ...(state.changes > 0 ? [`${counted(state.changes, "file")} not committed`] : [])];
  const detail = lost.length > 0 ? `LOST: ${lost.join(", ")}` : "Nothing is lost.";
  if (confirmation !== "sure" && (await confirm(`Remove the worktree and the branch ${worktree.branch}?`, detail, "Remove")) !== "Remove") return;
  await app.worktrees.remove(worktree);
  const { branch: _, worktree: __, ...labels } = run.labels;
  app.runs.put((await app.server.request("run/edit", { runId: run.id, labels })).run);
}
