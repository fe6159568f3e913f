// Starting: from a template, again, or on from where a session ended.
import { commands, QuickPickItemKind, ThemeIcon, window, workspace, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { providerOf } from "../base";
import { settings } from "../config";
import type { ProviderInfo, Run, StartParams } from "../protocol";
import { againParams, lostEnvironment, startParams, type Template } from "../runs/start";
import { isFinal, nameOf, promptText } from "../runs/words";
import { Failure } from "../server/failure";
import type { Node } from "../views/tree";
import { pickRun } from "./pick";

/** The last answers, kept for this workspace. */
const LAST = "loomd.lastAnswers";

interface Row extends QuickPickItem {
  template?: Template;
}

/** Starts a run and shows it. What cannot be started is said, with what to do about it. */
export async function begin(app: App, params: StartParams, show: "show" | "hide" = "show"): Promise<Run | undefined> {
  let run: Run;
  try {
    ({ run } = await app.server.request("run/start", params));
  } catch (error) {
    const failure = Failure.from(error);
    const hint = typeof failure.data["hint"] === "string" && !failure.message.includes(failure.data["hint"]) ? ` ${failure.data["hint"]}` : "";
    void window.showErrorMessage(`${failure.message}${hint}`, "Show Log").then(choice => choice && app.log.show());
    return undefined;
  }
  app.mine.add(run.id);
  app.runs.put(run);
  if (show === "show") await commands.executeCommand("loomd.open", { is: "run", id: run.id });
  return run;
}

/** `loomd.start`, with a template or its name from a key binding, else with a picker. */
export async function start(app: App, given?: Template | string): Promise<Run | undefined> {
  const { providers } = (await app.server.ready()).hello;
  const template = typeof given === "string" ? settings.templates().find(({ name }) => name === given) : (given ?? (await pickTemplate(providers)));
  if (!template) {
    if (typeof given === "string") void window.showErrorMessage(`There is no template “${given}” in the setting loomd.templates.`);
    return undefined;
  }
  const provider = providerOf(app, template.provider);
  if (provider && !provider.available) {
    void window.showErrorMessage(provider.reason ?? `${provider.title} cannot be started.`);
    return undefined;
  }
  const whole = await fill(app, template, provider);
  if (!whole) return undefined;
  const cwd = await folder();
  const title = template.name === "" ? "" : template.name;
  return begin(app, startParams(whole, { cwd, title, terminal: settings.terminal(), permissions: settings.permissions(), model: settings.model(whole.provider) }));
}

async function pickTemplate(providers: readonly ProviderInfo[]): Promise<Template | undefined> {
  const own: Row[] = settings.templates().map(template => ({
    label: template.name,
    description: [template.provider, template.fromWorkspace ? "from this workspace" : ""].filter(text => text !== "").join(" · "),
    detail: (typeof template.command === "string" ? template.command : template.command?.join(" ")) ?? promptText(template.prompt),
    iconPath: new ThemeIcon("star"),
    template,
  }));
  const general: Row[] = providers
    // Of the general `acp` nothing is known but its protocol; a template or loomd's configuration names the program.
    .filter(provider => provider.id !== "acp")
    .sort((a, b) => Number(b.available) - Number(a.available))
    .map(provider => ({
      label: provider.id === "command" ? "Command…" : provider.kind === "command" ? provider.title : `${provider.title}…`,
      description: provider.available ? (provider.id === "command" ? "any program" : provider.kind === "command" ? "" : "an agent") : "not available",
      ...(provider.available ? {} : { detail: provider.reason ?? "" }),
      iconPath: new ThemeIcon(provider.kind === "command" ? "terminal" : "hubot"),
      template: { name: "", provider: provider.id },
    }));
  const separator: Row = { label: "Your templates", kind: QuickPickItemKind.Separator };
  const rows = own.length > 0 ? [separator, ...own, { label: "Anything", kind: QuickPickItemKind.Separator }, ...general] : general;
  return (await window.showQuickPick(rows, { placeHolder: "What is to be run?", matchOnDetail: true }))?.template;
}

/** Asks for what the template leaves open, with the last answer as the proposal. */
async function fill(app: App, template: Template, provider: ProviderInfo | undefined): Promise<Template | undefined> {
  const agent = provider !== undefined && provider.kind !== "command";
  // A command of loomd's configuration has its words there.
  const whole = agent ? template.prompt != null : template.command !== undefined || template.provider !== "command";
  if (whole) return template;
  const last = app.context.workspaceState.get<Record<string, string>>(LAST, {});
  const key = `${template.provider}/${template.name}`;
  const answer = await window.showInputBox({
    title: template.name || (agent ? provider.title : "Command"),
    prompt: agent ? "What is to be done?" : "A line for the shell",
    value: last[key] ?? "",
    ignoreFocusOut: true,
  });
  if (answer === undefined || answer.trim() === "") return undefined;
  await app.context.workspaceState.update(LAST, { ...last, [key]: answer });
  return agent ? { ...template, prompt: answer } : { ...template, command: answer };
}

/** Where a run works: the only folder, the folder of the file in front, or the one that is picked. */
async function folder(): Promise<string | undefined> {
  const folders = workspace.workspaceFolders ?? [];
  if (folders.length < 2) return folders[0]?.uri.fsPath;
  const file = window.activeTextEditor?.document.uri;
  const front = file && workspace.getWorkspaceFolder(file);
  return (front ?? (await window.showWorkspaceFolderPick({ placeHolder: "In which folder?" })))?.uri.fsPath;
}

export async function rerun(app: App, node?: Node): Promise<Run | undefined> {
  const run = await pickRun(app, node, "Run which one again?");
  if (!run) return undefined;
  const lost = lostEnvironment(run);
  if (lost.length > 0) app.log.warn(`${run.id} ran with ${lost.join(", ")} in its environment; the values are not kept, so it runs without them now`);
  return begin(app, againParams(run));
}

/** Goes on with the session of an ended run; without words, they are asked for. */
export async function goOn(app: App, node?: Node, words?: string): Promise<Run | undefined> {
  const run = await pickRun(app, node, "Go on with which run?", candidate => isFinal(candidate) && candidate.session?.resumable === true);
  if (!run) return undefined;
  if (run.takenOverAt) {
    const choice = await window.showWarningMessage(`${nameOf(run)} was taken over in a terminal. Going on with it here while it is open there mixes two conversations.`, "Go On", "Leave It");
    if (choice !== "Go On") return undefined;
  }
  const prompt = words ?? (await window.showInputBox({ title: `Go on with ${nameOf(run)}`, prompt: "What is next?", ignoreFocusOut: true }));
  if (prompt === undefined || prompt.trim() === "") return undefined;
  const again = againParams(run);
  return begin(app, { ...again, prompt, interactive: true, resume: { runId: run.id } }, words === undefined ? "show" : "hide");
}

/** `Resume Run…`: ended runs with a session, and the agents' own sessions that were made elsewhere. */
export async function resume(app: App, node?: Node): Promise<Run | undefined> {
  if (node && "id" in node) return goOn(app, node);
  const { providers } = (await app.server.ready()).hello;
  await app.runs.loaded();
  const runs = [...app.runs.all()].filter(run => isFinal(run) && run.session?.resumable).sort((a, b) => (a.id < b.id ? 1 : -1));
  type SessionRow = QuickPickItem & { run?: Run; session?: { provider: string; id: string; cwd?: string } };
  const rows: SessionRow[] = runs.map(run => ({ label: nameOf(run), description: `${run.provider} · ${new Date(run.createdAt).toLocaleString()}`, detail: run.cwd, run }));
  const known = new Set(runs.map(run => run.session?.id));
  const cwd = workspace.workspaceFolders?.[0]?.uri.fsPath;
  const lists = providers
    .filter(provider => provider.available && provider.capabilities.resume)
    .map(async provider => {
      const { sessions } = await app.server.request("session/list", { provider: provider.id, ...(cwd === undefined ? {} : { cwd }) });
      return (sessions ?? [])
        .filter(session => !known.has(session.id))
        .map((session): SessionRow => ({
          label: session.title ?? session.id,
          description: `${provider.title}, made elsewhere`,
          ...(session.cwd ? { detail: session.cwd } : {}),
          session: { provider: provider.id, id: session.id, ...(session.cwd ? { cwd: session.cwd } : {}) },
        }));
    });
  for (const list of await Promise.allSettled(lists)) {
    // An agent that keeps no list is no trouble.
    if (list.status === "fulfilled") rows.push(...list.value);
  }
  if (rows.length === 0) {
    void window.showInformationMessage("loomd: there is no session to go on with.");
    return undefined;
  }
  const row = await window.showQuickPick(rows, { placeHolder: "Go on with which session?", matchOnDescription: true, matchOnDetail: true });
  if (row?.run) return goOn(app, { is: "run", id: row.run.id });
  if (!row?.session) return undefined;
  const prompt = await window.showInputBox({ title: row.label, prompt: "What is next?", ignoreFocusOut: true });
  if (!prompt?.trim()) return undefined;
  const { provider, id } = row.session;
  return begin(app, { ...startParams({ name: "", provider, prompt }, { cwd: row.session.cwd ?? cwd, terminal: false, permissions: settings.permissions() }), resume: { sessionId: id } });
}

