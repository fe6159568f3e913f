// The transcript panels. The page in a panel draws the transcript; this side passes it items, and does what it requests.
import { randomBytes } from "node:crypto";
import { basename, isAbsolute, join } from "node:path";
import { commands, env, Uri, ViewColumn, window, type Disposable, type WebviewPanel, type WebviewPanelSerializer } from "vscode";
import type { Services } from "../services";
import type { Run } from "../protocol";
import { titleOf } from "../runs/run";
import { elsewhere } from "../server/run-ids";
import type { Attachment } from "../transcript/context";
import type { ToExtension, ToPage } from "../transcript/messages";
import { TranscriptSession, type HostAction } from "../transcript/session";
import { CHANGE_SCHEME } from "./changes";
import { findContext } from "./files";
import { openAt } from "./links";
import { showInformation } from "./messages";
import { pageHtml } from "./page";

export const TRANSCRIPT_VIEW = "loomd.transcript";

export class Transcripts implements WebviewPanelSerializer<{ runId?: string }>, Disposable {
  private readonly panels = new Map<string, Panel>();
  private readonly disposables: Disposable[];
  /** Texts of the diffs that were opened from a transcript, by URI. */
  readonly diffs = new Map<string, string>();
  /** Called when a transcript came to the front. */
  onShown: (runId: string) => void = () => {};

  constructor(private readonly services: Services) {
    this.disposables = [window.registerWebviewPanelSerializer(TRANSCRIPT_VIEW, this)];
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  /** Shows the run's transcript. `find` opens the find widget with this query; `question` shows a permission request, `item` an item; `draft` goes below what is in the message box; `context` goes into the message box, with `text`. */
  show(run: Run, { find, question, item, draft, context, text = "" }: { find?: string; question?: string; item?: number; draft?: { text: string; context: Attachment[] }; context?: Attachment[]; text?: string } = {}): void {
    let panel = this.panels.get(run.id);
    if (panel) panel.view.reveal();
    else panel = this.adopt(run.id, window.createWebviewPanel(TRANSCRIPT_VIEW, titleOf(run), ViewColumn.Active, this.options()));
    if (find !== undefined) panel.postWhenReady({ kind: "find", query: find });
    if (question !== undefined) panel.postWhenReady({ kind: "question", permissionId: question });
    if (item !== undefined) panel.postWhenReady({ kind: "reveal", item });
    if (draft) return panel.postWhenReady({ kind: "draft", ...draft });
    if (context) panel.postWhenReady({ kind: "attach", context, text });
    else if (find === undefined && question === undefined && item === undefined) panel.postWhenReady({ kind: "focus" });
  }

  /** Restores the panel of a run after a reload. */
  async deserializeWebviewPanel(view: WebviewPanel, state: { runId?: string } | undefined): Promise<void> {
    if (!state?.runId) return view.dispose();
    view.webview.options = this.options();
    this.adopt(state.runId, view);
  }

  isVisible(runId: string): boolean {
    return this.panels.get(runId)?.view.visible ?? false;
  }

  /** The run of the active transcript panel. */
  get active(): string | undefined {
    for (const [id, panel] of this.panels) if (panel.view.active) return id;
    return undefined;
  }

  find(): void {
    const id = this.active;
    if (id) this.panels.get(id)?.postWhenReady({ kind: "find", query: "" });
  }

  private options() {
    return { enableScripts: true, retainContextWhenHidden: true, localResourceRoots: [Uri.joinPath(this.services.context.extensionUri, "dist")] };
  }

  private adopt(runId: string, view: WebviewPanel): Panel {
    const panel = new Panel(this.services, runId, view, this.diffs, next => {
      this.panels.delete(panel.runId);
      this.panels.set(next, panel);
    });
    this.panels.set(runId, panel);
    view.onDidChangeViewState(() => view.visible && this.onShown(panel.runId));
    view.onDidDispose(() => {
      if (this.panels.get(panel.runId) === panel) this.panels.delete(panel.runId);
      panel.dispose();
    });
    return panel;
  }
}

class Panel implements Disposable {
  readonly session: TranscriptSession;
  private readonly disposables: Disposable[];

  constructor(
    services: Services,
    runId: string,
    readonly view: WebviewPanel,
    private readonly diffs: Map<string, string>,
    onRunReplaced: (runId: string) => void,
  ) {
    const icon = (theme: string) => Uri.joinPath(services.context.extensionUri, "media", `tab-${theme}.svg`);
    view.iconPath = { light: icon("light"), dark: icon("dark") };
    this.session = new TranscriptSession(services, runId, {
      post: message => this.post(message),
      act: message => this.act(message),
      resume: async (run, prompt) => commands.executeCommand<Run | undefined>("loomd.continue", { kind: "run", id: run.id }, prompt),
      onRunReplaced,
      onHeader: ({ run }) => (view.title = titleOf(run)),
    });
    this.disposables = [
      view.onDidChangeViewState(() => view.visible && this.post({ kind: "visible" })),
      view.webview.onDidReceiveMessage((message: ToExtension) => void this.session.handle(message)),
    ];
    view.webview.html = pageHtml(view.webview, services.context.extensionUri, "transcript.js", "Transcript");
  }

  get runId(): string {
    return this.session.runId;
  }

  dispose(): void {
    this.session.dispose();
    for (const disposable of this.disposables) disposable.dispose();
  }

  postWhenReady(message: ToPage): void {
    this.session.postWhenReady(message);
  }

  private post(message: ToPage): void {
    void this.view.webview.postMessage(message);
  }

  private async act(message: HostAction): Promise<void> {
    const { runId } = this;
    const run = { kind: "run", id: runId };
    switch (message.kind) {
      case "always":
        await commands.executeCommand("loomd.always", { kind: "permission", id: runId, permissionId: message.permissionId });
        return;
      case "find":
        return this.post({ kind: "found", query: message.query, found: await findContext(message.query) });
      case "cancel":
      case "configure":
      case "openOutput":
      case "takeover":
      case "changes":
      case "rerun":
      case "queued":
        await commands.executeCommand(`loomd.${message.kind}`, run);
        return;
      case "review":
        await commands.executeCommand("loomd.reviewChanges", run);
        return;
      case "undoTurn":
        await commands.executeCommand("loomd.undoTurn", run, { turn: message.turn });
        return;
      case "openFile": {
        const there = this.session.run && elsewhere(this.session.run);
        if (there) return void showInformation(`${message.path}: ${there} Only their text is shown here.`);
        const cwd = this.session.run?.cwd ?? "/";
        return await openAt(isAbsolute(message.path) ? message.path : join(cwd, message.path), message.line, message.column);
      }
      case "openDiff": {
        const side = (name: string, text: string) => {
          const uri = Uri.from({ scheme: CHANGE_SCHEME, authority: "transcript", path: message.path.startsWith("/") ? message.path : `/${message.path}`, query: `${name}-${randomBytes(6).toString("hex")}` });
          this.diffs.set(uri.toString(), text);
          return uri;
        };
        await commands.executeCommand("vscode.diff", side("before", message.oldText), side("after", message.newText), `${basename(message.path)} (proposed)`, { preview: true });
        return;
      }
      case "copy":
        await env.clipboard.writeText(message.text);
        return;
      default:
        return message satisfies never;
    }
  }
}
