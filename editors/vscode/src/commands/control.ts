// Commands about one run: open, end, rename, pin, delete, copy its ID, save its output.
import { open } from "node:fs/promises";
import { join } from "node:path";
import { env, ProgressLocation, Uri, window } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { isFinal, isWaiting, nameOf, plain } from "../runs/run";
import { Failure } from "../server/failure";
import type { RunsNode } from "../views/tree";
import { folderFor } from "./export";
import { pickRun } from "./pick";
import { worktreeHint } from "./several";
import { confirm, showError, showInformation } from "../views/messages";

/** A question about several runs names at most this many. */
const MAX_NAMES = 10;

const isActive = (run: Run) => !isFinal(run);

export async function openRun(app: App, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to open");
  if (!run) return;
  app.unread.mark(run.id, false);
  (run.hasTranscript ? app.transcripts : app.outputs).show(run);
}

export async function openOutput(app: App, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to show its output");
  if (!run) return;
  app.unread.mark(run.id, false);
  app.outputs.show(run);
}

export async function openTranscript(app: App, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to show its transcript", candidate => candidate.hasTranscript === true);
  if (!run) return;
  app.unread.mark(run.id, false);
  app.transcripts.show(run);
}

export async function cancel(app: App, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to end", isActive);
  if (!run) return;
  app.runs.put((await app.server.request("run/cancel", { runId: run.id })).run);
}

/** `End All Idle`: ends the agents that wait for a message. `confirmation` skips the question. */
export async function endIdle(app: App, confirmation?: "sure"): Promise<void> {
  await app.server.ready();
  await app.runs.loaded();
  const idle = [...app.runs.all()].filter(run => run.state === "idle" && !isWaiting(run));
  if (idle.length === 0) return void showInformation("No idle agents.");
  const names = idle.slice(0, MAX_NAMES).map(nameOf);
  if (idle.length > names.length) names.push(`and ${idle.length - names.length} more`);
  const count = idle.length === 1 ? "1 idle agent" : `${idle.length} idle agents`;
  if (confirmation !== "sure" && (await confirm(`End ${count}? Resume Session… continues one that the agent keeps.`, names.join("\n"), "End")) !== "End") return;
  // One that has begun a turn meanwhile is left alone.
  const still = idle.filter(({ id }) => app.runs.get(id)?.state === "idle");
  for (const { run } of await Promise.all(still.map(({ id }) => app.server.request("run/cancel", { runId: id })))) app.runs.put(run);
}

export async function interrupt(app: App, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to stop its response", isActive);
  if (run) await app.server.request("run/interrupt", { runId: run.id });
}

/** `newTitle`, from a key binding or another extension, skips the input box. */
export async function rename(app: App, node?: RunsNode, newTitle?: string): Promise<void> {
  const run = await pickRun(app, node, "Select a run to rename");
  if (!run) return;
  const title = newTitle ?? (await window.showInputBox({ title: "Rename Run", prompt: "New name", value: nameOf(run) }));
  if (title !== undefined && title.trim() !== "") app.runs.put((await app.server.request("run/edit", { runId: run.id, title: title.trim() })).run);
}

export async function pin(app: App, pinned: boolean, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, pinned ? "Select a run to pin" : "Select a run to unpin", candidate => candidate.pinned !== pinned);
  if (run) app.runs.put((await app.server.request("run/edit", { runId: run.id, pinned })).run);
}

/** `confirmation`, from a key binding or another extension, skips the question. */
export async function deleteRun(app: App, node?: RunsNode, confirmation?: "sure"): Promise<void> {
  const run = await pickRun(app, node, "Select a run to delete", isFinal);
  if (!run) return;
  const choice = confirmation === "sure" ? "Delete" : await confirm(`Delete "${nameOf(run)}"? Its log and output will be permanently deleted.`, worktreeHint([run]).trim(), "Delete");
  if (choice !== "Delete") return;
  await app.server.request("run/delete", { runId: run.id });
  app.runs.remove([run.id]);
}

export async function copyId(app: App, node?: RunsNode): Promise<void> {
  const run = await pickRun(app, node, "Select a run to copy its ID");
  if (run) await env.clipboard.writeText(run.id);
}

const PAGE_BYTES = 4_194_304;

/** Writes all of the output into a file, page by page. */
export async function saveOutput(app: App, node?: RunsNode, target?: Uri): Promise<void> {
  const run = await pickRun(app, node, "Select a run to save its output");
  if (!run) return;
  const defaultUri = Uri.file(join(folderFor(run), `${nameOf(run).replace(/[^\w.-]+/g, "-").slice(0, 40) || "output"}.log`));
  const file = target ?? (await window.showSaveDialog({ defaultUri, title: "Save Output" }));
  if (!file) return;
  await window.withProgress({ location: ProgressLocation.Notification, title: plain(`Saving output of ${nameOf(run)}…`), cancellable: true }, async (progress, token) => {
    const out = await open(file.fsPath, "w");
    try {
      for (let offset = 0; !token.isCancellationRequested; ) {
        const page = await app.server.request("run/text", { runId: run.id, offset, maxBytes: PAGE_BYTES });
        await out.write(page.text);
        if (page.nextOffset <= offset) break;
        progress.report({ increment: ((page.nextOffset - offset) / Math.max(1, page.totalBytes)) * 100 });
        offset = page.nextOffset;
      }
    } finally {
      await out.close();
    }
  });
}

/** Shows the error of a command that fails. If its run no longer exists, the run is removed from the store. */
export async function reportErrors<T>(app: App, command: Promise<T>): Promise<T | undefined> {
  try {
    return await command;
  } catch (error) {
    const failure = Failure.from(error);
    app.log.warn(failure.message);
    if (failure.kind === "runNotFound" && typeof failure.data["runId"] === "string") app.runs.remove([failure.data["runId"]]);
    void showError(failure.message);
    return undefined;
  }
}
