// Continue in Terminal: opens the agent's session in a terminal. The run here ends first, so that two programs never
// write one session.
import { homedir } from "node:os";
import { ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { Run, Takeover } from "../protocol";
import { isFinal, nameOf, takeoversOf, titleOf } from "../runs/run";
import { terminalCommand } from "../server/hosts";
import { findProgram } from "../server/locate";
import { hostOf } from "../server/run-ids";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";
import { showInformation } from "../views/messages";

const TAKEOVER_LABELS: Record<Takeover["kind"], string> = {
  live: "Attach to the running process",
  resume: "Resume the session",
  fork: "Fork the session",
  load: "Load the session",
  replayCommand: "Start again",
};

interface TakeoverItem extends QuickPickItem {
  takeover: Takeover;
}

/** `requested`, from a key binding or another extension, skips the picker and its question. */
export async function takeOver(app: App, node?: RunsNode, requested?: Takeover["kind"]): Promise<void> {
  const run = await pickRun(app, node, "Select a run to continue in a terminal", candidate => takeoversOf(candidate).length > 0);
  if (!run) return;
  const takeovers = takeoversOf(run);
  if (takeovers.length === 0) {
    const reason = run.session?.takeover[0]?.reason ?? "it has no session";
    void showInformation(`${nameOf(run)} can't be continued in a terminal: ${reason}.`);
    return;
  }
  const choice = requested ? takeovers.find(({ kind }) => kind === requested) : await pickTakeover(run, takeovers);
  if (!choice) return;
  if (hostOf(run.id) !== undefined) {
    // The session and the program that opens it are there, and so is the command of loomd that does both.
    const [program, ...shellArgs] = terminalCommand(run.id, "takeover", "--kind", choice.kind === "replayCommand" ? "replay-command" : choice.kind);
    // A terminal may have another PATH than the connection to the host.
    const shellPath = (await findProgram(program!, process.env["PATH"] ?? "")) ?? program!;
    return window.createTerminal({ name: titleOf(run).slice(0, 40), shellPath, shellArgs, cwd: homedir(), iconPath: new ThemeIcon("person") }).show();
  }
  const result = await app.server.request("run/takeover", { runId: run.id, kind: choice.kind, ...(choice.kind === "live" ? { stop: false } : {}) });
  const { command, cwd, env, display } = result.takeover;
  if (!command?.length) {
    void showInformation(display);
    return;
  }
  const [shellPath, ...shellArgs] = command;
  const terminal = window.createTerminal({
    name: nameOf(run).slice(0, 40),
    shellPath: shellPath!,
    shellArgs,
    cwd: cwd ?? run.cwd,
    env: env ?? {},
    iconPath: new ThemeIcon("person"),
    message: `\x1b[2m${display}\x1b[0m`,
  });
  terminal.show();
}

/**
 * Picks the only verified way of an ended run without asking. For an active run it always asks, because the run here
 * will end.
 */
async function pickTakeover(run: Run, takeovers: readonly Takeover[]): Promise<Takeover | undefined> {
  const verified = takeovers.filter(takeover => takeover.verified);
  if (isFinal(run) && verified.length === 1 && takeovers.length === 1) return verified[0];
  const rows = takeovers.map((takeover): TakeoverItem => ({
    label: TAKEOVER_LABELS[takeover.kind],
    description: takeover.verified ? "" : `untested${takeover.reason ? `: ${takeover.reason}` : ""}`,
    detail: takeover.display,
    iconPath: new ThemeIcon(takeover.verified ? "person" : "warning"),
    takeover,
  }));
  const ends = isFinal(run) ? "" : " (the run here will end)";
  return (await window.showQuickPick(rows, { title: `Continue ${nameOf(run)} in a terminal${ends}`, placeHolder: "Opens the agent's session in a terminal", ignoreFocusOut: true }))?.takeover;
}
