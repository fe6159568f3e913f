// Change Model or Permission Mode…: applies from the next turn of an active agent.
import { QuickPickItemKind, ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { ConfigureParams, PermissionMode, Run } from "../protocol";
import { isFinal, nameOf, plain } from "../runs/run";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";

export const PERMISSION_MODE_LABELS: Record<PermissionMode, string> = {
  ask: "Ask before every action",
  acceptEdits: "Accept edits",
  readOnly: "Read-only",
  bypass: "Bypass permissions",
};

export type Configuration = Pick<ConfigureParams, "model" | "permissions">;

interface ConfigurationItem extends QuickPickItem {
  configuration?: Configuration;
}

/** `requested`, from a key binding or another extension, skips the picker. */
export async function configure(app: App, node?: RunsNode, requested?: Configuration): Promise<void> {
  const run = await pickRun(app, node, "Select a run to configure", candidate => !isFinal(candidate) && candidate.hasTranscript === true);
  if (!run) return;
  const choice = requested ?? (await pickConfiguration(app, run));
  if (!choice) return;
  app.runs.put((await app.server.request("run/configure", { runId: run.id, ...choice })).run);
  if (!requested) void window.setStatusBarMessage(`${plain(nameOf(run))}: ${choice.model ?? PERMISSION_MODE_LABELS[choice.permissions!]}. Applies from the next turn.`, 5000);
}

async function pickConfiguration(app: App, run: Run): Promise<Configuration | undefined> {
  const items = async (): Promise<ConfigurationItem[]> => {
    // An agent that lists no models still accepts a model ID.
    const { models } = await app.server.request("provider/options", { provider: run.provider, cwd: run.cwd }).catch(() => ({ models: [] }));
    return [
      { label: "Permission mode", kind: QuickPickItemKind.Separator },
      ...(Object.keys(PERMISSION_MODE_LABELS) as PermissionMode[]).map((permissions): ConfigurationItem => ({ label: PERMISSION_MODE_LABELS[permissions], description: permissions, iconPath: new ThemeIcon("shield"), configuration: { permissions } })),
      { label: "Model", kind: QuickPickItemKind.Separator },
      ...(models ?? []).map(({ id, name }): ConfigurationItem => ({ label: name, description: id, iconPath: new ThemeIcon("sparkle"), configuration: { model: id } })),
      { label: "Enter Model ID…", iconPath: new ThemeIcon("edit") },
    ];
  };
  const row = await window.showQuickPick(items(), { title: `${nameOf(run)}: Applies from the next turn`, placeHolder: "Select a permission mode or model", matchOnDescription: true });
  if (!row || row.configuration) return row?.configuration;
  const model = (await window.showInputBox({ title: "Model", prompt: 'Model ID, for example "opus"', ignoreFocusOut: true }))?.trim();
  return model ? { model } : undefined;
}
