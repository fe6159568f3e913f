// Change Model or Permission Mode…: these and the agent's own options, from the next turn of an active agent.
import { QuickPickItemKind, ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { ConfigureParams, PermissionMode, Run } from "../protocol";
import { agentOptions, type AgentOption } from "../runs/agent-options";
import { isFinal, nameOf, plain } from "../runs/run";
import { hostOf } from "../server/run-ids";
import { serverOf } from "../services";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";

export const PERMISSION_MODE_LABELS: Record<PermissionMode, string> = {
  ask: "Ask before every action",
  acceptEdits: "Accept edits",
  readOnly: "Read-only",
  bypass: "Bypass permissions",
};

export type Configuration = Pick<ConfigureParams, "model" | "permissions" | "options">;

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
  if (!requested) void window.setStatusBarMessage(`${plain(nameOf(run))}: ${described(choice)}. Applies from the next turn.`, 5000);
}

function described({ model, permissions, options }: Configuration): string {
  const set = Object.entries(options ?? {}).map(([id, value]) => `${id} ${value}`);
  return plain([...(model == null ? [] : [model]), ...(permissions == null ? [] : [PERMISSION_MODE_LABELS[permissions]]), ...set].join(", "));
}

/** What an option can be set to, below its name. */
function valuesOf({ id, name, values, current }: AgentOption): ConfigurationItem[] {
  const rows = values.map((value): ConfigurationItem => ({ label: plain(value.name), description: value.id === current ? `${plain(value.id)} · current` : plain(value.id), iconPath: new ThemeIcon(value.id === current ? "check" : "settings"), configuration: { options: { [id]: value.id } } }));
  return [{ label: plain(name), kind: QuickPickItemKind.Separator }, ...rows];
}

async function pickConfiguration(app: App, run: Run): Promise<Configuration | undefined> {
  const items = async (): Promise<ConfigurationItem[]> => {
    // An agent that lists no models still accepts a model ID.
    const options = agentOptions(run);
    const own = options.find(({ isModel }) => isModel);
    const models = own?.values ?? (await serverOf(app, hostOf(run.id)).request("provider/options", { provider: run.provider, cwd: run.cwd }).catch(() => ({ models: [] }))).models;
    return [
      { label: "Permission mode", kind: QuickPickItemKind.Separator },
      ...(Object.keys(PERMISSION_MODE_LABELS) as PermissionMode[]).map((permissions): ConfigurationItem => ({ label: PERMISSION_MODE_LABELS[permissions], description: permissions, iconPath: new ThemeIcon("shield"), configuration: { permissions } })),
      ...options.filter(({ isModel }) => !isModel).flatMap(valuesOf),
      { label: "Model", kind: QuickPickItemKind.Separator },
      ...(models ?? []).map(({ id, name }): ConfigurationItem => ({ label: name, description: id === own?.current ? `${id} · current` : id, iconPath: new ThemeIcon(id === own?.current ? "check" : "sparkle"), configuration: { model: id } })),
      { label: "Enter Model ID…", iconPath: new ThemeIcon("edit") },
    ];
  };
  const row = await window.showQuickPick(items(), { title: `${nameOf(run)}: Applies from the next turn`, placeHolder: "Select a permission mode, a model or an option of the agent", matchOnDescription: true });
  if (!row || row.configuration) return row?.configuration;
  const model = (await window.showInputBox({ title: "Model", prompt: 'Model ID, for example "opus"', ignoreFocusOut: true }))?.trim();
  return model ? { model } : undefined;
}
