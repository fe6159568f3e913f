// The extension under test, and functions that its tests share.
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import type { Run, RunState, StartParams } from "../../src/protocol";
import { isFinal } from "../../src/runs/run";
import type { RunsNode } from "../../src/views/tree";
import { until } from "../lib/environment";

export { until };

export async function extension(): Promise<Api> {
  const found = vscode.extensions.getExtension<Api>("loomd.loomd");
  if (!found) throw new Error("the extension is not installed");
  const api = await found.activate();
  await until("the server runs", () => api.server.state.kind === "running");
  return api;
}

export const folder = (): string => vscode.workspace.workspaceFolders![0]!.uri.fsPath;

/** Starts a run without showing it, as another window would. */
export async function start(api: Api, params: Partial<StartParams> & { line?: string }): Promise<Run> {
  const { line, ...rest } = params;
  const { run } = await api.server.request("run/start", { provider: "command", ...(line === undefined ? {} : { command: ["/bin/sh", "-c", line] }), cwd: folder(), attach: false, ...rest });
  api.runs.put(run);
  return run;
}

export const ask = (api: Api, prompt: string, more: Partial<StartParams> = {}) => start(api, { provider: "scripted", prompt, ...more });

export function inState(api: Api, id: string, ...states: RunState[]): Promise<Run> {
  return until(`the run is ${states.join(" or ")}`, () => {
    const run = api.runs.get(id);
    return run && states.includes(run.state) && run;
  });
}

export const final = (api: Api, id: string): Promise<Run> =>
  until("the run has ended", () => {
    const run = api.runs.get(id);
    return run && isFinal(run) && run;
  });

export const waiting = (api: Api, id: string): Promise<Run> =>
  until("the run needs input", () => {
    const run = api.runs.get(id);
    return run !== undefined && (run.permissions ?? []).length > 0 && run;
  });

/** Allows the run's oldest request, as the transcript does. */
export async function allow(api: Api, id: string): Promise<void> {
  const { permissionId, ...request } = api.runs.get(id)!.permissions![0]!;
  const { optionId } = "options" in request ? request.options.find(({ kind }) => kind === "allow_once")! : { optionId: "" };
  await api.server.request("run/answer", { runId: id, permissionId, optionId });
}

export const node = (id: string): RunsNode => ({ kind: "run", id });

/** The rows of the tree and their tree items. */
export function rows(api: Api, parent?: RunsNode): { node: RunsNode; item: vscode.TreeItem }[] {
  return api.tree.getChildren(parent).map(child => ({ node: child, item: api.tree.getTreeItem(child) }));
}

export async function closeAll(): Promise<void> {
  await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  for (const terminal of vscode.window.terminals) terminal.dispose();
  await until("all terminals are closed", () => vscode.window.terminals.length === 0);
}

export async function cancelAll(api: Api): Promise<void> {
  const live = [...api.runs.all()].filter(run => !isFinal(run));
  await Promise.all(live.map(run => api.server.request("run/cancel", { runId: run.id, graceMs: 0 })));
  await until("no run is active", () => [...api.runs.all()].every(isFinal));
}
