// Which run a command is about: the row it was called on, the transcript or terminal in front, else the one that is picked.
import { ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { ago, iconOf, nameOf, stateWords } from "../runs/words";
import type { Node } from "../views/tree";

export type Fits = (run: Run) => boolean;

export async function pickRun(app: App, node: Node | undefined, placeholder: string, fits: Fits = () => true): Promise<Run | undefined> {
  if (node && "id" in node) return app.runs.get(node.id);
  const front = app.transcripts.active ?? (window.activeTerminal && app.outputs.runOf(window.activeTerminal)?.id);
  const inFront = front === undefined ? undefined : app.runs.get(front);
  if (inFront && fits(inFront)) return inFront;
  await app.server.ready();
  await app.runs.loaded();
  const { waiting, live, ended, earlier } = app.tree.ordered();
  const rows = [...waiting, ...live, ...ended, ...earlier].filter(fits).map(run => ({ ...row(run), run }));
  if (rows.length === 0) {
    void window.showInformationMessage("loomd: there is no such run.");
    return undefined;
  }
  return (await window.showQuickPick(rows, { placeHolder: placeholder, matchOnDescription: true }))?.run;
}

function row(run: Run): QuickPickItem {
  return {
    label: nameOf(run),
    description: `${stateWords(run)} · ${run.provider} · ${ago(run.createdAt, Date.now())}`,
    iconPath: new ThemeIcon(iconOf(run).icon.replace("~spin", "")),
  };
}
