// Toasts: the second way to hear that a run waits or is done, for whoever does not see the list. Each thing is said once, in the window that
// it concerns, and a toast that is dismissed is no answer.
import { commands, window, workspace, type Disposable } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { Run } from "../protocol";
import { subjectOf } from "../runs/rules";
import { isFinal, nameOf, questions, stateWords, within, type Requested } from "../runs/words";

/** Longest part of an action that a toast shows; all of it stands in the transcript. */
const SHOWN = 300;

export class Notifier implements Disposable {
  private readonly asked = new Set<string>();
  private readonly opened = Date.now();
  private readonly garbage: Disposable[];
  /** What was said, for whoever wants to know. */
  readonly said: string[] = [];

  constructor(private readonly app: App) {
    this.garbage = [
      app.runs.onDidAsk(run => {
        for (const question of questions(run)) this.ask(run, question);
      }),
      app.runs.onDidChange(({ runs }) => {
        for (const { before, after } of runs.values()) if (after) this.done(before, after);
      }),
    ];
  }

  dispose(): void {
    for (const thing of this.garbage) thing.dispose();
  }

  private ask(run: Run, question: Requested): void {
    const key = `${run.id}/${question.permissionId}`;
    if (this.asked.has(key)) return;
    this.asked.add(key);
    if (settings.notify() === "off" || !this.concerns(run) || this.seen(run)) return;
    const subject = subjectOf(run, question);
    const what = [subject.command ?? subject.title, ...subject.paths.map(path => within(path, run.cwd))].join(" · ");
    const text = `${nameOf(run)} asks (${subject.kind}): ${what.length > SHOWN ? `${what.slice(0, SHOWN)}… (Show tells all)` : what}`;
    this.said.push(text);
    const node = { is: "question", id: run.id, permissionId: question.permissionId };
    void window.showWarningMessage(text, "Allow", "Deny", "Show").then(choice => {
      if (choice === "Allow") return commands.executeCommand("loomd.allow", node);
      if (choice === "Deny") return commands.executeCommand("loomd.deny", node);
      if (choice === "Show") return commands.executeCommand("loomd.open", { is: "run", id: run.id });
      return undefined;
    });
  }

  private done(before: Run | undefined, after: Run): void {
    // One that came and went between two tellings is news; what was there before this window is not.
    if (before ? isFinal(before) : after.createdAt < this.opened) return;
    const ended = isFinal(after);
    const turned = after.state === "idle" && before !== undefined && before.state !== "idle" && before.state !== "starting";
    if (!ended && !turned) return;
    if (settings.notify() !== "all" || !this.concerns(after) || this.seen(after)) return;
    // Who cancelled it knows.
    if (after.state === "cancelled") return;
    const text = turned ? `${nameOf(after)}: the turn is done` : `${nameOf(after)}: ${stateWords(after)}`;
    this.said.push(text);
    const show = after.state === "succeeded" || turned ? window.showInformationMessage : window.showErrorMessage;
    void show(text, "Show").then(choice => choice && commands.executeCommand("loomd.open", { is: "run", id: after.id }));
  }

  /** Two windows see every run; the one that started it, or that has its folder open, speaks of it. */
  private concerns(run: Run): boolean {
    if (this.app.mine.has(run.id)) return true;
    return (workspace.workspaceFolders ?? []).some(({ uri }) => uri.scheme === "file" && (run.cwd === uri.fsPath || run.cwd.startsWith(`${uri.fsPath}/`)));
  }

  /** Whether it is on the screen anyhow. */
  private seen(run: Run): boolean {
    return window.state.focused && (this.app.tree.view.visible || this.app.transcripts.isVisible(run.id) || this.app.outputs.isActive(run.id));
  }
}
