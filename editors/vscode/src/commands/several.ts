// Commands about several selected runs: end, delete and export them.
import { join } from "node:path";
import { ProgressLocation, Uri, window } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { isFinal, nameOf } from "../runs/run";
import type { ExportFormat } from "../server/optional";
import { confirm, showInformation } from "../views/messages";
import type { RunsNode } from "../views/tree";
import { exportTo, fileNameOf, pickFormat } from "./export";

/** A question about several runs names at most this many. */
const MAX_NAMES = 10;

/** "3 runs", and their names below each other. */
function named(runs: readonly Run[]): [count: string, names: string] {
  const names = runs.slice(0, MAX_NAMES).map(nameOf);
  if (runs.length > names.length) names.push(`and ${runs.length - names.length} more`);
  return [runs.length === 1 ? "1 run" : `${runs.length} runs`, names.join("\n")];
}

export function runsOf(app: App, nodes: readonly RunsNode[]): Run[] {
  const ids = new Set(nodes.flatMap(node => ("id" in node ? [node.id] : [])));
  return [...ids].flatMap(id => app.runs.get(id) ?? []);
}

/** `confirmation` skips the question. */
export async function endRuns(app: App, nodes: readonly RunsNode[], confirmation?: "sure"): Promise<void> {
  const runs = runsOf(app, nodes).filter(run => !isFinal(run));
  if (runs.length === 0) return void showInformation("None of the selected runs is active.");
  const [count, names] = named(runs);
  if (confirmation !== "sure" && (await confirm(`End ${count}?`, names, "End")) !== "End") return;
  for (const { run } of await Promise.all(runs.map(({ id }) => app.server.request("run/cancel", { runId: id })))) app.runs.put(run);
}

/** `confirmation` skips the question. */
export async function deleteRuns(app: App, nodes: readonly RunsNode[], confirmation?: "sure"): Promise<void> {
  const selected = runsOf(app, nodes);
  const runs = selected.filter(isFinal);
  if (runs.length === 0) return void showInformation("None of the selected runs has ended.");
  const [count, names] = named(runs);
  const left = selected.length - runs.length;
  const detail = `${names}${left > 0 ? `\n\nActive runs stay: ${left}.` : ""}${worktreeHint(runs)}`;
  if (confirmation !== "sure" && (await confirm(`Delete ${count}? Logs and output will be permanently deleted.`, detail, "Delete")) !== "Delete") return;
  for (const { id } of runs) {
    await app.server.request("run/delete", { runId: id });
    app.runs.remove([id]);
  }
}

/** What a question about deleting runs says of their worktrees. */
export const worktreeHint = (runs: readonly Run[]): string => (runs.some(({ labels }) => labels["worktree"] !== undefined) ? "\n\nWorktrees stay." : "");

/** Exports each run into a file of its own in one folder. `requested` skips the pickers. */
export async function exportRuns(app: App, nodes: readonly RunsNode[], requested?: { format: ExportFormat; folder: Uri }): Promise<void> {
  const runs = runsOf(app, nodes);
  if (!app.server.can("run/export")) return void showInformation("Export requires a newer loomd.");
  const format = await pickFormat(requested?.format, `Export ${named(runs)[0]}`);
  if (!format) return;
  const folder = requested?.folder ?? (await window.showOpenDialog({ canSelectFolders: true, canSelectFiles: false, openLabel: "Export Here", title: "Select a folder for the exported runs" }))?.[0];
  if (!folder) return;
  await window.withProgress({ location: ProgressLocation.Notification, title: `Exporting ${named(runs)[0]}…`, cancellable: true }, async (progress, token) => {
    for (const run of runs) {
      if (token.isCancellationRequested) return;
      // Two runs may have one name; the end of an ID tells them apart.
      const path = join(folder.fsPath, fileNameOf(run, `-${run.id.slice(-8)}.${format.extension}`));
      await exportTo(app, run, format.format, path);
      progress.report({ increment: 100 / runs.length });
    }
  });
  if (!requested) void showInformation(`Exported ${named(runs)[0]} to ${folder.fsPath}.`);
}
