// Determines the run of a command: the run of the row, else that of the active transcript or terminal, else the one
// that the user picks.
import { ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { formatAgo, iconOf, nameOf, shortened, stateLabel, placeOf, plain } from "../runs/run";
import { showInformation } from "../views/messages";
import type { RunsNode } from "../views/tree";

export type RunFilter = (run: Run) => boolean;

export async function pickRun(app: App, node: RunsNode | undefined, placeholder: string, filter: RunFilter = () => true): Promise<Run | undefined> {
  if (node && "id" in node) return app.runs.get(node.id);
  const activeId = app.transcripts.active ?? (window.activeTerminal && app.outputs.runOf(window.activeTerminal)?.id);
  const activeRun = activeId === undefined ? undefined : app.runs.get(activeId);
  if (activeRun && filter(activeRun)) return activeRun;
  await app.server.ready();
  await app.runs.loaded();
  const { waiting, live, ended, idle, earlier } = app.tree.groups();
  const rows = [...waiting, ...live, ...ended, ...idle, ...earlier].filter(filter).map(run => ({ ...row(run), run }));
  if (rows.length === 0) {
    void showInformation("No matching runs.");
    return undefined;
  }
  return (await window.showQuickPick(rows, { placeHolder: placeholder, matchOnDescription: true }))?.run;
}

function row(run: Run): QuickPickItem {
  return {
    label: plain(shortened(nameOf(run))),
    description: `${placeOf(run)}${stateLabel(run)} · ${run.provider} · ${formatAgo(run.createdAt, Date.now())}`,
    iconPath: new ThemeIcon(iconOf(run).icon.replace("~spin", "")),
  };
}
