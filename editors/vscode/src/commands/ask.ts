// Ask Agent…: a prompt for a new run or an active agent, all of it in the palette.
import { commands, QuickPickItemKind, ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { Run } from "../protocol";
import { iconOf, isFinal, nameOf, placeOf, plain, shortened, stateLabel } from "../runs/run";
import { refuseLinks } from "../runs/rerun";
import { startParams } from "../runs/start";
import { providerOfRun } from "../services";
import { promptOf } from "../transcript/context";
import { hostOf } from "../server/run-ids";
import { partOf } from "./context";
import { activeFolder, isAgent, startRun } from "./start";

interface AgentItem extends QuickPickItem {
  run?: Run;
  provider?: string;
}

/** The agent that was asked last. */
const LAST_KEY = "loomd.lastAgent";

/** `requested`, from a key binding or another extension, skips what it has. The editor's selection goes with the prompt. */
export async function askAgent(app: App, requested: { provider?: string; prompt?: string } = {}): Promise<Run | undefined> {
  await app.server.ready();
  await app.runs.loaded();
  const item = requested.provider === undefined ? await pickAgent(app) : { label: requested.provider, provider: requested.provider };
  if (!item) return undefined;
  const editor = window.activeTextEditor;
  const context = editor && !editor.selection.isEmpty ? [partOf(editor.document, editor.selection)] : [];
  const text = requested.prompt ?? (await window.showInputBox({ title: `Ask ${item.label}`, prompt: context.length > 0 ? `Enter a prompt. Sent with it: ${context[0]!.label}` : "Enter a prompt", ignoreFocusOut: true }));
  if (text === undefined || text.trim() === "") return undefined;
  const prompt = promptOf(text, context);
  if (item.run) {
    refuseLinks(hostOf(item.run.id), prompt);
    await app.server.request("run/send", { runId: item.run.id, prompt, mode: "queue" });
    await commands.executeCommand("loomd.open", { kind: "run", id: item.run.id });
    return item.run;
  }
  const provider = item.provider!;
  await app.context.workspaceState.update(LAST_KEY, provider);
  return startRun(app, startParams({ name: "", provider, prompt }, { cwd: activeFolder(), terminal: false, permissions: settings.permissions(), model: settings.model(provider) }));
}

async function pickAgent(app: App): Promise<AgentItem | undefined> {
  const last = app.context.workspaceState.get<string>(LAST_KEY);
  // The provider `acp` has no program of its own.
  const providers = (app.server.handshake?.providers ?? []).filter(provider => provider.available && provider.id !== "acp" && isAgent(provider));
  providers.sort((a, b) => Number(b.id === last) - Number(a.id === last));
  const { waiting, live, idle } = app.tree.groups();
  const runs = [...live, ...idle, ...waiting].filter(run => !isFinal(run) && run.hasTranscript === true && providerOfRun(app, run)?.capabilities.send);
  const items: AgentItem[] = [
    { label: "New run", kind: QuickPickItemKind.Separator },
    ...providers.map(({ id, title }): AgentItem => ({ label: plain(title), description: id === title ? "" : id, iconPath: new ThemeIcon("add"), provider: id })),
    ...(runs.length > 0 ? [{ label: "Active agents", kind: QuickPickItemKind.Separator }] : []),
    ...runs.map((run): AgentItem => ({ label: plain(shortened(nameOf(run))), description: `${placeOf(run)}${stateLabel(run)} · ${run.provider}`, iconPath: new ThemeIcon(iconOf(run).icon.replace("~spin", "")), run })),
  ];
  return window.showQuickPick(items, { placeHolder: "Select an agent to ask", matchOnDescription: true });
}
