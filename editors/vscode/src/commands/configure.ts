// Change Model or Permissions…: for the next turn of an agent that is alive.
import { QuickPickItemKind, ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { isAgent } from "../base";
import type { ConfigureParams, PermissionMode, Run } from "../protocol";
import { isFinal, nameOf } from "../runs/words";
import type { Node } from "../views/tree";
import { pickRun } from "./pick";

export const MODES: Record<PermissionMode, string> = {
  ask: "Ask about everything",
  acceptEdits: "Allow edits of files, ask about the rest",
  readOnly: "Change nothing",
  bypass: "Allow everything",
};

export type Choice = Pick<ConfigureParams, "model" | "permissions">;

interface Row extends QuickPickItem {
  choice?: Choice;
}

/** `given`: the choice, from a key binding or another extension. */
export async function configure(app: App, node?: Node, given?: Choice): Promise<void> {
  const run = await pickRun(app, node, "Change which run?", candidate => !isFinal(candidate) && isAgent(app, candidate));
  if (!run) return;
  const choice = given ?? (await choose(app, run));
  if (!choice) return;
  app.runs.put((await app.server.request("run/configure", { runId: run.id, ...choice })).run);
  if (!given) void window.setStatusBarMessage(`${nameOf(run)}: ${choice.model ?? MODES[choice.permissions!]}, from the next turn on`, 5000);
}

async function choose(app: App, run: Run): Promise<Choice | undefined> {
  const list = async (): Promise<Row[]> => {
    // An agent that tells no models has them all the same, by name.
    const { models } = await app.server.request("provider/options", { provider: run.provider, cwd: run.cwd }).catch(() => ({ models: [] }));
    return [
      { label: "Who decides", kind: QuickPickItemKind.Separator },
      ...(Object.keys(MODES) as PermissionMode[]).map(permissions => ({ label: MODES[permissions], description: permissions, iconPath: new ThemeIcon("shield"), choice: { permissions } })),
      { label: "Model", kind: QuickPickItemKind.Separator },
      ...(models ?? []).map(({ id, name }) => ({ label: name, description: id, iconPath: new ThemeIcon("sparkle"), choice: { model: id } })),
      { label: "Another model…", iconPath: new ThemeIcon("edit") },
    ];
  };
  const row = await window.showQuickPick(list(), { title: `${nameOf(run)}, from the next turn on`, placeHolder: "Who decides, or which model?", matchOnDescription: true });
  if (!row || row.choice) return row?.choice;
  const model = (await window.showInputBox({ title: "Model", prompt: `As ${run.provider} names it`, ignoreFocusOut: true }))?.trim();
  return model ? { model } : undefined;
}
