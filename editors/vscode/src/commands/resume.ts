// Resume Session…: continues the session of an ended run, or one that was started outside loomd, in a new run.
import { CancellationTokenSource, ThemeIcon, window, workspace, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { ListedSession, Prompt, ProviderInfo, Run } from "../protocol";
import { isFinal, nameOf, placeOf, plain } from "../runs/run";
import { listSessions } from "../runs/sessions";
import { rerunParams } from "../runs/rerun";
import { startParams } from "../runs/start";
import { Failure } from "../server/failure";
import { hostOf } from "../server/run-ids";
import { confirm, showInformation } from "../views/messages";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";
import { startRun } from "./start";

interface SessionRow extends QuickPickItem {
  run?: Run;
  session?: { provider: string; id: string; cwd?: string };
}

/** Resumes the session of an ended run in a new run. Asks for the prompt if `followUp` is missing. */
export async function resumeRun(app: App, node?: RunsNode, followUp?: Prompt): Promise<Run | undefined> {
  const run = await pickRun(app, node, "Select a run to resume", candidate => isFinal(candidate) && candidate.session?.resumable === true);
  if (!run) return undefined;
  if (run.takenOverAt) {
    const choice = await confirm(`${nameOf(run)} may still be open in a terminal. Resuming it here as well may corrupt the session.`, "", "Resume Anyway");
    if (choice !== "Resume Anyway") return undefined;
  }
  const prompt = followUp ?? (await askFollowUp(nameOf(run)));
  if (prompt === undefined) return undefined;
  const again = rerunParams(run);
  return startRun(app, { ...again, prompt, interactive: true, resume: { runId: run.id } }, { hidden: followUp !== undefined, host: hostOf(run.id) });
}

/** `Resume Session…`: offers ended runs with a session, and the agents' own sessions that were started outside loomd. */
export async function resume(app: App, node?: RunsNode): Promise<Run | undefined> {
  if (node && "id" in node) return resumeRun(app, node);
  const cwd = workspace.workspaceFolders?.[0]?.uri.fsPath;
  const row = await pickSession(app, cwd);
  if (row?.run) return resumeRun(app, { kind: "run", id: row.run.id });
  if (!row?.session) return undefined;
  const prompt = await askFollowUp(row.label);
  if (prompt === undefined) return undefined;
  const { provider, id } = row.session;
  return startRun(app, { ...startParams({ name: "", provider, prompt }, { cwd: row.session.cwd ?? cwd, terminal: false, permissions: settings.permissions() }), resume: { sessionId: id } });
}

/** Returns `undefined` if nothing was entered. */
async function askFollowUp(name: string): Promise<string | undefined> {
  const prompt = await window.showInputBox({ title: `Resume ${plain(name)}`, prompt: "Enter a follow-up", ignoreFocusOut: true });
  return prompt?.trim() ? prompt : undefined;
}

/**
 * The list is there at once, and rows are added as each agent answers. Until then it stays open wherever the focus
 * moves: nobody closes a list that has not yet come.
 */
async function pickSession(app: App, cwd: string | undefined): Promise<SessionRow | undefined> {
  const pick = window.createQuickPick<SessionRow>();
  const source = new CancellationTokenSource();
  pick.placeholder = "Select a session to resume";
  pick.matchOnDescription = pick.matchOnDetail = true;
  pick.keepScrollPosition = true;
  pick.ignoreFocusOut = pick.busy = true;
  const add = (rows: readonly SessionRow[]) => {
    const active = pick.activeItems;
    pick.items = [...pick.items, ...rows];
    // New items would make the first one the active one.
    if (active.length > 0) pick.activeItems = active;
  };
  const picked = new Promise<SessionRow | undefined>(resolve => {
    pick.onDidAccept(() => {
      const [row] = pick.selectedItems;
      if (row?.run || row?.session) resolve(row);
    });
    pick.onDidHide(() => resolve(undefined));
  });
  pick.show();
  const loaded = async () => {
    const { providers } = (await app.server.ready()).handshake;
    await app.runs.loaded();
    const runs = [...app.runs.all()].filter(run => isFinal(run) && run.session?.resumable).sort((a, b) => b.createdAt - a.createdAt);
    const known = new Set(runs.map(run => run.session?.id));
    add(runs.map(runRow));
    await listSessions(app.server, providers, cwd, source.token, (provider, answer) => {
      if (!(answer instanceof Failure)) return add(answer.filter(({ id }) => !known.has(id)).map(session => sessionRow(provider, session)));
      app.log.warn(`${provider.id} lists no sessions: ${answer.message}`);
      // An agent that keeps no list is no failure.
      if (answer.kind !== "unsupported") add([{ label: `Sessions of ${plain(provider.title)} could not be listed`, detail: plain(answer.message), iconPath: new ThemeIcon("warning"), alwaysShow: true }]);
    });
    pick.ignoreFocusOut = pick.busy = false;
    return pick.items.length > 0;
  };
  try {
    // A choice need not wait for the agents, but a failure to ask them ends the choice.
    return await Promise.race([picked, loaded().then(any => (any ? picked : void showInformation("No sessions to resume.")))]);
  } finally {
    source.cancel();
    pick.dispose();
  }
}

const runRow = (run: Run): SessionRow => ({ label: plain(nameOf(run)), description: `${placeOf(run)}${run.provider} · ${new Date(run.createdAt).toLocaleString()}`, detail: plain(run.cwd), run });

function sessionRow(provider: ProviderInfo, { id, title, cwd, runId }: ListedSession): SessionRow {
  return { label: plain(title ?? id), description: `${plain(provider.title)}${runId == null ? " · started outside loomd" : ""}`, ...(cwd ? { detail: plain(cwd) } : {}), session: { provider: provider.id, id, ...(cwd ? { cwd } : {}) } };
}
