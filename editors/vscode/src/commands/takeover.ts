// Takeover: the agent's own session, opened in a terminal. The run here ends first, so that two never write one session.
import { ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { Run, Takeover } from "../protocol";
import { isFinal, nameOf, waysOf } from "../runs/words";
import type { Node } from "../views/tree";
import { pickRun } from "./pick";

const WORDS: Record<Takeover["kind"], string> = {
  live: "Join the running process",
  resume: "Open the same session",
  fork: "Open a copy of the session",
  load: "Load the session",
  replayCommand: "Start the same command again",
};

interface Row extends QuickPickItem {
  takeover: Takeover;
}

export async function takeover(app: App, node?: Node): Promise<void> {
  const run = await pickRun(app, node, "Take over which run?", candidate => waysOf(candidate).length > 0);
  if (!run) return;
  const ways = waysOf(run);
  if (ways.length === 0) {
    const why = run.session?.takeover[0]?.reason ?? "it has no session that a terminal could open";
    void window.showInformationMessage(`${nameOf(run)} cannot be taken over: ${why}.`);
    return;
  }
  const way = await choose(run, ways);
  if (!way) return;
  const result = await app.server.request("run/takeover", { runId: run.id, kind: way.kind, ...(way.kind === "live" ? { stop: false } : {}) });
  const { command, cwd, env, display } = result.takeover;
  if (!command?.length) {
    void window.showInformationMessage(display);
    return;
  }
  const [shellPath, ...shellArgs] = command;
  const terminal = window.createTerminal({
    name: `${nameOf(run).slice(0, 40)} (taken over)`,
    shellPath: shellPath!,
    shellArgs,
    cwd: cwd ?? run.cwd,
    env: env ?? {},
    iconPath: new ThemeIcon("person"),
    message: `\x1b[2m${display}\x1b[0m`,
  });
  terminal.show();
}

/** One sure way of a run that has ended needs no question; a run that is alive is not ended by a slip. */
async function choose(run: Run, ways: readonly Takeover[]): Promise<Takeover | undefined> {
  const sure = ways.filter(way => way.verified);
  if (isFinal(run) && sure.length === 1 && ways.length === 1) return sure[0];
  const rows = ways.map((way): Row => ({
    label: WORDS[way.kind],
    description: way.verified ? "" : `not verified${way.reason ? `: ${way.reason}` : ""}`,
    detail: way.display,
    iconPath: new ThemeIcon(way.verified ? "person" : "warning"),
    takeover: way,
  }));
  const ends = isFinal(run) ? "" : " — what runs here ends first";
  return (await window.showQuickPick(rows, { title: `Take over ${nameOf(run)}${ends}`, placeHolder: "The agent's own session opens in a terminal", ignoreFocusOut: true }))?.takeover;
}
