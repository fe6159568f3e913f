// The transcript panels. The page in a panel draws the transcript; this side passes it items, and does what it requests.
import { randomBytes } from "node:crypto";
import { basename, isAbsolute, join } from "node:path";
import { commands, env, Uri, ViewColumn, window, type Disposable, type WebviewPanel, type WebviewPanelSerializer } from "vscode";
import { providerOfRun, type Services } from "../services";
import type { ItemParams, Prompt, Run } from "../protocol";
import { isFinal, isWaiting, nameOf, stateLabel, takeoversOf, titleOf } from "../runs/run";
import { Failure } from "../server/failure";
import { refuseLinks } from "../runs/start";
import { elsewhere, hostOf } from "../server/run-ids";
import { promptOf, type Attachment } from "../transcript/context";
import type { Header, ToExtension, ToPage } from "../transcript/messages";
import { CHANGE_SCHEME } from "./changes";
import { findContext } from "./files";
import { openAt } from "./links";
import { showInformation } from "./messages";
import { pageHtml } from "./page";

export const TRANSCRIPT_VIEW = "loomd.transcript";

/** Changes are collected this long before they are sent. */
const BATCH_INTERVAL_MS = 40;

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
    else panel = this.adopt(run.id, window.createWebviewPanel(TRANSCRIPT_VIEW, nameOf(run), ViewColumn.Active, this.options()));
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
  private subscription: Disposable | undefined;
  private readonly disposables: Disposable[];
  private batch: ItemParams[] = [];
  private timer: NodeJS.Timeout | undefined;
  private ready = false;
  /** Messages for when the page has its items. */
  private waiting: ToPage[] = [];
  /** Incremented with every load, so that an overtaken one gives up. */
  private loads = 0;

  constructor(
    private readonly services: Services,
    public runId: string,
    readonly view: WebviewPanel,
    private readonly diffs: Map<string, string>,
    private readonly onRunReplaced: (runId: string) => void,
  ) {
    const icon = (theme: string) => Uri.joinPath(services.context.extensionUri, "media", `tab-${theme}.svg`);
    view.iconPath = { light: icon("light"), dark: icon("dark") };
    this.disposables = [
      view.onDidChangeViewState(() => view.visible && this.post({ kind: "visible" })),
      view.webview.onDidReceiveMessage((message: ToExtension) => void this.handle(message)),
      services.runs.onDidChange(({ runs }) => {
        if (runs.has(this.runId)) this.postHeader();
      }),
      services.server.onDidChange(state => {
        if (state.kind !== "running") return;
        void this.services.runs.loaded().then(() => this.postHeader());
        if (this.ready && !this.subscription && hostOf(this.runId) === undefined) void this.load();
      }),
      services.hosts.onDidChange(host => {
        if (host === hostOf(this.runId) && services.hosts.get(host)?.state.kind === "running" && this.ready && !this.subscription) void this.load();
      }),
    ];
    view.webview.html = pageHtml(view.webview, services.context.extensionUri, "transcript.js", "Transcript");
  }

  dispose(): void {
    this.subscription?.dispose();
    clearTimeout(this.timer);
    for (const disposable of this.disposables) disposable.dispose();
  }

  post(message: ToPage): void {
    void this.view.webview.postMessage(message);
  }

  postWhenReady(message: ToPage): void {
    if (this.subscription) this.post(message);
    else this.waiting.push(message);
  }

  private get run(): Run | undefined {
    return this.services.runs.get(this.runId);
  }

  private postHeader(): void {
    const run = this.run;
    if (!run) return;
    this.view.title = titleOf(run);
    const provider = providerOfRun(this.services, run);
    const can = provider?.capabilities;
    const host = hostOf(run.id);
    const final = isFinal(run);
    const header: Header = {
      run,
      name: nameOf(run),
      stateLabel: isWaiting(run) ? "waiting for permission" : stateLabel(run),
      // Whatever names the agent says where it is, also a permission request.
      provider: `${provider?.title ?? run.provider}${host === undefined ? "" : ` on ${host}`}`,
      final,
      can: {
        send: !final && (can?.send ?? false),
        steer: can?.steer ?? false,
        interrupt: can?.interrupt ?? false,
        configure: !final && run.hasTranscript === true,
        resume: final && run.hasTranscript === true && (run.session?.resumable ?? false),
        takeover: takeoversOf(run).length > 0,
      },
    };
    this.post({ kind: "header", header });
  }

  /** Sends the run's last items, and what follows. */
  private async load(): Promise<void> {
    const [load, { runId }] = [++this.loads, this];
    this.subscription?.dispose();
    this.subscription = undefined;
    this.batch = [];
    void this.services.runs.refresh(runId).finally(() => this.postHeader());
    try {
      const { items, total, seq, prev } = await this.services.server.request("run/items", { runId });
      if (load !== this.loads) return;
      this.post({ kind: "items", items, total, ...(prev == null ? {} : { prev }) });
      this.subscription = this.services.feeds.followItems(runId, { afterSeq: seq, onChange: change => this.addChange(change), onFailure: ({ message }) => this.post({ kind: "failed", message }) });
      this.postHeader();
      for (const message of this.waiting.splice(0)) this.post(message);
    } catch (error) {
      if (load === this.loads) this.post({ kind: "failed", message: Failure.from(error).message });
    }
  }

  private addChange(change: ItemParams): void {
    this.batch.push(change);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.post({ kind: "changes", changes: this.batch });
      this.batch = [];
    }, BATCH_INTERVAL_MS);
  }

  private async handle(message: ToExtension): Promise<void> {
    const { runId } = this;
    try {
      switch (message.kind) {
        case "ready":
          this.ready = true;
          return await this.load();
        case "earlier": {
          const { items, prev } = await this.services.server.request("run/items", { runId, before: message.before, limit: 500 });
          if (runId === this.runId) this.post({ kind: "earlier", items, ...(prev == null ? {} : { prev }) });
          return;
        }
        case "item": {
          const { item } = await this.services.server.request("run/getItem", { runId, item: message.item });
          if (runId === this.runId) this.post({ kind: "item", item });
          return;
        }
        case "answer": {
          const { permissionId, optionId, cancelled, message: reason } = message;
          await this.services.server.request("run/answer", { runId, permissionId, ...(optionId ? { optionId } : {}), ...(cancelled ? { cancelled } : {}), ...(reason ? { message: reason } : {}) });
          return;
        }
        case "always":
          await commands.executeCommand("loomd.always", { kind: "permission", id: runId, permissionId: message.permissionId });
          return;
        case "send":
          return await this.send(promptOf(message.text, message.context), message.mode);
        case "find":
          return this.post({ kind: "found", query: message.query, found: await findContext(message.query) });
        case "interrupt":
          await this.services.server.request("run/interrupt", { runId });
          return;
        case "cancel":
        case "configure":
        case "openOutput":
        case "takeover":
        case "changes":
        case "rerun":
        case "queued":
          await commands.executeCommand(`loomd.${message.kind}`, { kind: "run", id: runId });
          return;
        case "review":
          await commands.executeCommand("loomd.reviewChanges", { kind: "run", id: runId });
          return;
        case "undoTurn":
          await commands.executeCommand("loomd.undoTurn", { kind: "run", id: runId }, { turn: message.turn });
          return;
        case "openFile": {
          const there = this.run && elsewhere(this.run);
          if (there) return void showInformation(`${message.path}: ${there} Only their text is shown here.`);
          const cwd = this.run?.cwd ?? "/";
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
      }
    } catch (error) {
      this.post({ kind: "failed", message: Failure.from(error).message });
    }
  }

  /** Sends a message. If the run has ended, a new run resumes its session in the same panel. */
  private async send(prompt: Prompt, mode: "queue" | "steer"): Promise<void> {
    const run = this.run;
    refuseLinks(hostOf(this.runId), prompt);
    if (!run || !isFinal(run)) {
      await this.services.server.request("run/send", { runId: this.runId, prompt, mode });
      return this.post({ kind: "sent" });
    }
    const next = await commands.executeCommand<Run | undefined>("loomd.continue", { kind: "run", id: run.id }, prompt);
    if (!next) return;
    this.post({ kind: "sent" });
    this.runId = next.id;
    this.onRunReplaced(next.id);
    await this.load();
  }
}
