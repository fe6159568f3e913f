// Notifications about runs that need input or finished, for users who do not see the list. Each is shown once, in the
// window that it concerns. A permission request whose notification is dismissed stays pending.
import { commands, window, type Disposable } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { Run } from "../protocol";
import { actionText, requestTitle, isFinal, permissionRequests, stateLabel, titleOf, type PermissionRequest } from "../runs/run";
import { hostOf } from "../server/run-ids";
import { isInWorkspace } from "./files";
import { showError, showInformation, showWarning } from "./messages";

/** A notification shows at most this much of a request's title; the transcript shows all of the request. */
const MAX_TITLE_CHARS = 200;

export class Notifier implements Disposable {
  private readonly notifiedRequests = new Set<string>();
  private readonly activatedAt = Date.now();
  private readonly disposables: Disposable[];
  /** All messages shown so far, for tests. */
  readonly messages: string[] = [];

  constructor(private readonly app: App) {
    this.disposables = [
      app.runs.onDidRequestPermission(run => {
        for (const request of permissionRequests(run)) this.notifyRequest(run, request);
      }),
      app.runs.onDidChange(({ runs }) => {
        for (const { before, after } of runs.values()) if (after) this.notifyFinished(before, after);
      }),
    ];
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private notifyRequest(run: Run, request: PermissionRequest): void {
    const key = `${run.id}/${request.permissionId}`;
    if (this.notifiedRequests.has(key)) return;
    this.notifiedRequests.add(key);
    if (settings.notify() === "off" || !this.isRelevant(run) || this.isOnScreen(run)) return;
    const title = requestTitle(request);
    const text = `${titleOf(run)} wants to ${actionText(request.toolCall["kind"])}: ${title.length > MAX_TITLE_CHARS ? `${title.slice(0, MAX_TITLE_CHARS)}…` : title}`;
    this.messages.push(text);
    // It is answered where all of it is shown.
    void showWarning(text, "Review").then(choice => choice && commands.executeCommand("loomd.review", { kind: "permission", id: run.id, permissionId: request.permissionId }));
  }

  private notifyFinished(before: Run | undefined, after: Run): void {
    // A run that started and ended within one batch has no `before` and is reported; a run older than this window is
    // not.
    if (before ? isFinal(before) : after.createdAt < this.activatedAt) return;
    const ended = isFinal(after);
    const turnFinished = after.state === "idle" && before !== undefined && before.state !== "idle" && before.state !== "starting";
    if (!ended && !turnFinished) return;
    if (settings.notify() !== "all" || !this.isRelevant(after) || this.isOnScreen(after)) return;
    // The user who ended the run knows.
    if (after.state === "cancelled") return;
    const name = titleOf(after);
    const text = turnFinished ? `${name} finished responding` : `${name}: ${stateLabel(after)}`;
    this.messages.push(text);
    const show = after.state === "succeeded" || turnFinished ? showInformation : showError;
    void show(text, "Open").then(choice => choice && commands.executeCommand("loomd.open", { kind: "run", id: after.id }));
  }

  /**
   * All windows see every run. Only the window that started a run, or has its folder open, shows notifications about
   * it; no window has a folder of a host open, so that is the window in which the user works.
   */
  private isRelevant(run: Run): boolean {
    if (this.app.startedHere.has(run.id)) return true;
    return hostOf(run.id) === undefined ? isInWorkspace(run) : window.state.focused;
  }

  /** Whether the user sees the run anyway. */
  private isOnScreen(run: Run): boolean {
    return window.state.focused && (this.app.tree.view.visible || this.app.transcripts.isVisible(run.id) || this.app.outputs.isActive(run.id));
  }
}
