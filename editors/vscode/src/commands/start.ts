// Starts runs: from the form, from a template, or from an earlier run.
import { commands, ThemeIcon, window, workspace } from "vscode";
import type { App } from "../app";
import { providerOf, serverOf } from "../services";
import { settings } from "../config";
import type { PermissionMode, ProviderInfo, Run, StartParams } from "../protocol";
import { missingEnvironment, refuseLinks, rerunParams } from "../runs/rerun";
import { startParams, type Template } from "../runs/start";
import { promptText, plain } from "../runs/run";
import { Failure } from "../server/failure";
import { hostOf } from "../server/run-ids";
import type { RunsNode } from "../views/tree";
import { promptOf, type Attachment } from "../transcript/context";
import type { FormInput } from "../transcript/form";
import { PERMISSION_MODE_LABELS } from "./configure";
import { pickRun } from "./pick";
import { pickPlace } from "./server";
import { showError, showInformation } from "../views/messages";

/** Keys of what was entered before in the workspace's state. */
const HISTORY_KEY = "loomd.history";
const LAST_KEY = "loomd.lastInput";
const FOLDER_KEY = "loomd.folder";
const MAX_HISTORY = 100;

/** Where the form starts runs, if it is not this computer. */
interface HostFolder {
  name: string;
  /** Empty: the home directory. */
  cwd: string;
}

/** Starts a run and shows it. If it cannot be started, shows the error with the server's hint. */
export async function startRun(app: App, params: StartParams, { hidden = false, worktree = false, host }: { hidden?: boolean; worktree?: boolean; host?: string | undefined } = {}): Promise<Run | undefined> {
  let run: Run;
  try {
    if (worktree && host !== undefined) throw new Failure("unsupported", `Worktrees are made on this computer, not on ${host}.`);
    refuseLinks(host, params.prompt ?? "");
    const begin = (given: StartParams) => serverOf(app, host).request("run/start", given);
    ({ run } = await (worktree ? app.worktrees.start(params, begin) : begin(params)));
  } catch (error) {
    const failure = Failure.from(error);
    const hint = typeof failure.data["hint"] === "string" && !failure.message.includes(failure.data["hint"]) ? ` ${failure.data["hint"]}` : "";
    void showError(`${failure.message}${hint}`, "Show Log").then(choice => choice && app.log.show());
    return undefined;
  }
  app.startedHere.add(run.id);
  app.runs.put(run);
  if (!hidden) await commands.executeCommand("loomd.open", { kind: "run", id: run.id });
  return run;
}

/** `New Run…`: the form, or at once what `requested`, a template or its name from a key binding, is. */
export async function start(app: App, requested?: Template | string): Promise<Run | undefined> {
  const template = typeof requested === "string" ? settings.templates().find(({ name }) => name === requested) : requested;
  if (typeof requested === "string" && !template) {
    void showError(`Template "${requested}" not found in loomd.templates.`);
    return undefined;
  }
  // Whether a template is complete depends on its provider.
  if (template) await app.server.ready();
  if (template && isComplete(app, template)) return startWith(app, template, await pickFolder());
  const place = template ? { host: undefined } : await pickPlace(app, "Select where to run");
  if (!place) return undefined;
  const { host } = place;
  await serverOf(app, host).ready();
  const cwd = host === undefined ? undefined : await askFolder(app, host);
  if (host === undefined || cwd !== undefined) showForm(app, template, undefined, host === undefined || cwd === undefined ? undefined : { name: host, cwd });
  return undefined;
}

/** A folder of a host; empty is its home. */
async function askFolder(app: App, host: string): Promise<string | undefined> {
  const key = `${FOLDER_KEY} ${host}`;
  const folder = await window.showInputBox({ title: `Folder on ${host}`, prompt: "Absolute path. Empty: your home directory there", value: app.context.globalState.get<string>(key, ""), ignoreFocusOut: true, validateInput: text => (/^(\/|$)/.test(text.trim()) ? undefined : "Enter an absolute path.") });
  if (folder !== undefined) await app.context.globalState.update(key, folder.trim());
  return folder?.trim();
}

/** `Run Template…`. A template that lacks its prompt or command opens the form. */
export async function startTemplate(app: App): Promise<Run | undefined> {
  const rows = settings.templates().map(template => ({
    label: plain(template.name),
    description: [template.provider, template.fromWorkspace ? "from workspace settings" : ""].filter(text => text !== "").join(" · "),
    detail: plain(textOf(template)),
    iconPath: new ThemeIcon("star"),
    template,
  }));
  if (rows.length === 0) return void showInformation("No templates. The setting loomd.templates has them.");
  const row = await window.showQuickPick(rows, { placeHolder: "Select a template to run", matchOnDetail: true });
  return row && start(app, row.template);
}

/** The prompt or the command line of a template. */
const textOf = ({ command, prompt }: Template): string => (typeof command === "string" ? command : command?.join(" ")) ?? promptText(prompt);

export const isAgent = (provider: ProviderInfo | undefined): boolean => provider !== undefined && provider.kind !== "command";

/** A provider from loomd's configuration already has its command line there. */
const isComplete = (app: App, template: Template): boolean => (isAgent(providerOf(app, template.provider)) ? template.prompt != null : template.command !== undefined || template.provider !== "command");

async function startWith(app: App, template: Template, cwd: string | undefined, host?: string): Promise<Run | undefined> {
  const provider = providerOf(app, template.provider, host);
  if (provider && !provider.available) {
    void showError(provider.reason ?? `${provider.title} is not available.`);
    return undefined;
  }
  return startRun(app, startParams(template, { cwd, title: template.name, terminal: settings.terminal(), permissions: settings.permissions(), model: settings.model(template.provider), onHost: host !== undefined }), { worktree: template.worktree === true, host });
}

/** `given`: what goes with the prompt of an agent. */
export function showForm(app: App, template?: Template, given?: { context: Attachment[]; text: string }, host?: HostFolder): void {
  const there = host?.name;
  const history = () => app.context.workspaceState.get<string[]>(HISTORY_KEY, []);
  app.form.show(there === undefined ? "New Run" : `New Run on ${there}`, {
    choices: async () => {
      const { providers } = (await serverOf(app, there).ready()).handshake;
      const last = app.context.workspaceState.get<Partial<FormInput>>(LAST_KEY, {});
      // The provider `acp` has no program of its own; a template or loomd's configuration names one.
      const usable = providers.filter(({ id, available, kind }) => available && id !== "acp" && (kind !== "command" || id === "command"));
      return {
        providers: usable.map(provider => ({ id: provider.id, title: provider.id === "command" ? "Command" : provider.title, isAgent: isAgent(provider), model: settings.model(provider.id) ?? "" })),
        folders: host ? [{ name: host.cwd, path: host.cwd }] : (workspace.workspaceFolders ?? []).map(({ name, uri }) => ({ name, path: uri.fsPath })),
        templates: settings.templates().map(each => ({ name: each.name, provider: each.provider, text: textOf(each), ...(each.model ? { model: each.model } : {}), ...(each.permissions ? { permissions: each.permissions } : {}), worktree: each.worktree === true })),
        permissionModes: Object.entries(PERMISSION_MODE_LABELS) as [PermissionMode, string][],
        history: history(),
        initial: { provider: template?.provider ?? (given && !isAgent(providerOf(app, last.provider ?? "", there)) ? usable.find(isAgent)?.id : last.provider) ?? "command", text: given?.text ?? (template ? textOf(template) : ""), context: given?.context ?? [], model: template?.model ?? "", permissions: template?.permissions ?? settings.permissions(), cwd: host?.cwd ?? activeFolder() ?? "", template: template?.name ?? "", worktree: template?.worktree === true },
      };
    },
    models: async (provider, cwd) => (await serverOf(app, there).request("provider/options", { provider, ...(cwd === "" ? {} : { cwd }) }).catch(() => ({ models: [] }))).models ?? [],
    start: async input => {
      await app.context.workspaceState.update(HISTORY_KEY, [...history().filter(text => text !== input.text), input.text].slice(-MAX_HISTORY));
      await app.context.workspaceState.update(LAST_KEY, { provider: input.provider });
      return (await startWith(app, ofForm(app, input, there), input.cwd === "" ? undefined : input.cwd, there)) !== undefined;
    },
  });
}

/** What was entered, with what the template has besides. */
function ofForm(app: App, { provider, text, model, permissions, template: name, context, worktree }: FormInput, host: string | undefined): Template {
  const template = settings.templates().find(template => template.name === name && template.provider === provider);
  const { prompt: _, command: __, ...kept } = template ?? { name: "", provider };
  const rest = { ...kept, worktree };
  if (isAgent(providerOf(app, provider, host))) return { ...rest, prompt: promptOf(text, context), permissions, ...(model === "" ? {} : { model }) };
  // A command that was not changed keeps its words.
  return { ...rest, command: template && text === textOf(template) ? (template.command ?? text) : text };
}

/** The folder for a new run: the only one, else that of the active editor, else the one that the user picks. */
async function pickFolder(): Promise<string | undefined> {
  return activeFolder() ?? (workspace.workspaceFolders && (await window.showWorkspaceFolderPick({ placeHolder: "Select a workspace folder" })))?.uri.fsPath;
}

export function activeFolder(): string | undefined {
  const folders = workspace.workspaceFolders ?? [];
  if (folders.length < 2) return folders[0]?.uri.fsPath;
  const file = window.activeTextEditor?.document.uri;
  return (file && workspace.getWorkspaceFolder(file))?.uri.fsPath;
}

export async function rerun(app: App, node?: RunsNode): Promise<Run | undefined> {
  const run = await pickRun(app, node, "Select a run to run again");
  if (!run) return undefined;
  const missing = missingEnvironment(run);
  if (missing.length > 0) app.log.warn(`${run.id} was started with ${missing.join(", ")} in its environment. Values are not stored, so the new run does not have them.`);
  return startRun(app, rerunParams(run), { host: hostOf(run.id) });
}
