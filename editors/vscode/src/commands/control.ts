// What is done to one run: open, cancel, rename, pin, delete, copy, save.
import { open } from "node:fs/promises";
import { join } from "node:path";
import { env, ProgressLocation, Uri, window } from "vscode";
import type { App } from "../app";
import { isAgent } from "../base";
import type { Run } from "../protocol";
import { isFinal, nameOf } from "../runs/words";
import { Failure } from "../server/failure";
import type { Node } from "../views/tree";
import { pickRun } from "./pick";

const alive = (run: Run) => !isFinal(run);

export async function openRun(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Open which run?");
  if (run) (isAgent(app, run) ? app.transcripts : app.outputs).show(run);
}

export async function openOutput(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Show the output of which run?");
  if (run) app.outputs.show(run);
}

export async function openTranscript(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Show the transcript of which run?", candidate => isAgent(app, candidate));
  if (run) app.transcripts.show(run);
}

export async function cancel(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Cancel which run?", alive);
  if (!run) return;
  app.runs.put((await app.server.request("run/cancel", { runId: run.id })).run);
}

export async function interrupt(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Stop the turn of which run?", alive);
  if (run) await app.server.request("run/interrupt", { runId: run.id });
}

/** `given`: the new name, from a key binding or another extension. */
export async function rename(app: App, node?: Node, given?: string): Promise<void> {
  const run = await pickRun(app, node, "Rename which run?");
  if (!run) return;
  const title = given ?? (await window.showInputBox({ title: "Rename Run", value: nameOf(run) }));
  if (title !== undefined && title.trim() !== "") app.runs.put((await app.server.request("run/edit", { runId: run.id, title: title.trim() })).run);
}

export async function pin(app: App, pinned: boolean, node?: Node): Promise<void> {
  const run = await pickRun(app, node, pinned ? "Pin which run?" : "Unpin which run?", candidate => candidate.pinned !== pinned);
  if (run) app.runs.put((await app.server.request("run/edit", { runId: run.id, pinned })).run);
}

/** `sure`: whoever calls has asked already. */
export async function remove(app: App, node?: Node, sure?: "sure"): Promise<void> {
  const run = await pickRun(app, node, "Delete which run?", isFinal);
  if (!run) return;
  const choice = sure === "sure" ? "Delete" : await window.showWarningMessage(`Delete “${nameOf(run)}” with all that is kept of it?`, { modal: true }, "Delete");
  if (choice !== "Delete") return;
  await app.server.request("run/delete", { runId: run.id });
  app.runs.remove([run.id]);
}

export async function copyId(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Copy the id of which run?");
  if (run) await env.clipboard.writeText(run.id);
}

const PAGE_BYTES = 4_194_304;

/** All of the output into a file, page by page. */
export async function saveOutput(app: App, node?: Node, target?: Uri): Promise<void> {
  const run = await pickRun(app, node, "Save the output of which run?");
  if (!run) return;
  const proposal = Uri.file(join(run.cwd, `${nameOf(run).replace(/[^\w.-]+/g, "-").slice(0, 40) || "output"}.log`));
  const file = target ?? (await window.showSaveDialog({ defaultUri: proposal, title: "Save Output" }));
  if (!file) return;
  await window.withProgress({ location: ProgressLocation.Notification, title: `Saving the output of ${nameOf(run)}`, cancellable: true }, async (progress, token) => {
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

/** A command that fails says why, and what is asked of a run that is gone removes its row. */
export async function said<T>(app: App, doing: Promise<T>): Promise<T | undefined> {
  try {
    return await doing;
  } catch (error) {
    const failure = Failure.from(error);
    app.log.warn(failure.message);
    if (failure.kind === "runNotFound" && typeof failure.data["runId"] === "string") app.runs.remove([failure.data["runId"]]);
    void window.showErrorMessage(failure.message);
    return undefined;
  }
}
