// The panels that show transcripts. The page does the drawing; here its entries are fetched, no faster than it takes them, and its wishes done.
import { randomBytes } from "node:crypto";
import { isAbsolute, join } from "node:path";
import { commands, env, Uri, ViewColumn, window, type Disposable, type Webview, type WebviewPanel, type WebviewPanelSerializer } from "vscode";
import { isAgent, providerOf, type Base } from "../base";
import type { Entry, Run } from "../protocol";
import { isFinal, nameOf, stateWords, waysOf } from "../runs/words";
import { Failure } from "../server/failure";
import type { Head, ToExtension, ToPage } from "../transcript/messages";
import { SCHEME } from "./changes";
import { openAt } from "./links";

export const VIEW = "loomd.transcript";

/** Live entries are gathered for so long. */
const GATHER_MS = 40;

export class Transcripts implements WebviewPanelSerializer<{ runId?: string }>, Disposable {
  private readonly panels = new Map<string, Panel>();
  private readonly garbage: Disposable[];
  /** Left and right side of the diffs that were opened from a transcript. */
  readonly diffs = new Map<string, string>();

  constructor(private readonly app: Base) {
    this.garbage = [window.registerWebviewPanelSerializer(VIEW, this)];
  }

  dispose(): void {
    for (const thing of this.garbage) thing.dispose();
  }

  /** `find`: what is to be looked for in it. */
  show(run: Run, { find }: { find?: string } = {}): void {
    let panel = this.panels.get(run.id);
    if (panel) panel.view.reveal();
    else panel = this.adopt(run.id, window.createWebviewPanel(VIEW, nameOf(run), ViewColumn.Active, this.options()));
    if (find !== undefined) panel.find(find);
  }

  /** After a reload: the same run again. */
  async deserializeWebviewPanel(view: WebviewPanel, state: { runId?: string } | undefined): Promise<void> {
    if (!state?.runId) return view.dispose();
    view.webview.options = this.options();
    this.adopt(state.runId, view);
  }

  isVisible(runId: string): boolean {
    return this.panels.get(runId)?.view.visible ?? false;
  }

  /** The run of the transcript that is in front. */
  get active(): string | undefined {
    for (const [id, panel] of this.panels) if (panel.view.active) return id;
    return undefined;
  }

  find(): void {
    const id = this.active;
    if (id) this.panels.get(id)?.find();
  }

  private options() {
    return { enableScripts: true, retainContextWhenHidden: true, localResourceRoots: [Uri.joinPath(this.app.context.extensionUri, "dist")] };
  }

  private adopt(runId: string, view: WebviewPanel): Panel {
    const panel = new Panel(this.app, runId, view, this.diffs, next => {
      this.panels.delete(panel.runId);
      this.panels.set(next, panel);
    });
    this.panels.set(runId, panel);
    view.onDidDispose(() => {
      if (this.panels.get(panel.runId) === panel) this.panels.delete(panel.runId);
      panel.dispose();
    });
    return panel;
  }
}

class Panel implements Disposable {
  private following: Disposable | undefined;
  private readonly garbage: Disposable[];
  private gathered: Entry[] = [];
  private timer: NodeJS.Timeout | undefined;
  private number = 0;
  private readonly takers = new Map<number, () => void>();
  private ready = false;
  /** What is to be looked for once the page is there. */
  private sought: string | undefined;

  constructor(
    private readonly app: Base,
    public runId: string,
    readonly view: WebviewPanel,
    private readonly diffs: Map<string, string>,
    private readonly moved: (runId: string) => void,
  ) {
    const icon = (theme: string) => Uri.joinPath(app.context.extensionUri, "media", `tab-${theme}.svg`);
    view.iconPath = { light: icon("light"), dark: icon("dark") };
    this.garbage = [
      view.webview.onDidReceiveMessage((message: ToExtension) => void this.hear(message)),
      app.runs.onDidChange(({ runs }) => {
        if (runs.has(this.runId)) this.head();
      }),
      app.server.onDidChange(state => {
        if (state.is === "running") void this.app.runs.loaded().then(() => this.head());
      }),
    ];
    view.webview.html = page(view.webview, app.context.extensionUri);
  }

  dispose(): void {
    this.following?.dispose();
    clearTimeout(this.timer);
    for (const taken of this.takers.values()) taken();
    for (const thing of this.garbage) thing.dispose();
  }

  post(message: ToPage): void {
    void this.view.webview.postMessage(message);
  }

  find(query = ""): void {
    if (this.ready) this.post({ say: "find", query });
    else this.sought = query;
  }

  private get run(): Run | undefined {
    return this.app.runs.get(this.runId);
  }

  private head(): void {
    const run = this.run;
    if (!run) return;
    this.view.title = nameOf(run);
    const can = providerOf(this.app, run.provider)?.capabilities;
    const final = isFinal(run);
    const head: Head = {
      run,
      name: nameOf(run),
      words: stateWords(run),
      provider: providerOf(this.app, run.provider)?.title ?? run.provider,
      final,
      can: {
        send: !final && (can?.send ?? false),
        steer: can?.steer ?? false,
        interrupt: can?.interrupt ?? false,
        configure: !final && isAgent(this.app, run),
        resume: final && isAgent(this.app, run) && (run.session?.resumable ?? false),
        takeover: waysOf(run).length > 0,
      },
    };
    this.post({ say: "head", head });
  }

  /** Sends the log from its first entry on. */
  private begin(): void {
    this.following?.dispose();
    this.gathered = [];
    this.post({ say: "reset" });
    void this.app.runs.refresh(this.runId).finally(() => this.head());
    this.following = this.app.feeds.follow(this.runId, {
      kinds: ["update", "permission", "state"],
      afterSeq: 0,
      take: entries => this.take(entries),
      failed: failure => this.post({ say: "failed", message: failure.message }),
    });
  }

  private take(entries: Entry[]): Promise<void> | void {
    this.gathered.push(...entries);
    if (entries.length > 1) return this.flush();
    this.timer ??= setTimeout(() => void this.flush(), GATHER_MS);
  }

  private flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const number = ++this.number;
    const taken = new Promise<void>(resolve => this.takers.set(number, resolve));
    this.post({ say: "entries", entries: this.gathered, number });
    this.gathered = [];
    return taken;
  }

  private async hear(message: ToExtension): Promise<void> {
    const { runId } = this;
    try {
      switch (message.say) {
        case "ready":
          this.ready = true;
          this.begin();
          if (this.sought !== undefined) this.find(this.sought);
          return;
        case "took":
          this.takers.get(message.number)?.();
          this.takers.delete(message.number);
          return;
        case "answer": {
          const { permissionId, optionId, cancelled, message: words } = message;
          await this.app.server.request("run/answer", { runId, permissionId, ...(optionId ? { optionId } : {}), ...(cancelled ? { cancelled } : {}), ...(words ? { message: words } : {}) });
          return;
        }
        case "always":
          await commands.executeCommand("loomd.always", { is: "question", id: runId, permissionId: message.permissionId });
          return;
        case "send":
          return await this.send(message.text, message.mode);
        case "interrupt":
          await this.app.server.request("run/interrupt", { runId });
          return;
        case "cancel":
        case "configure":
        case "openOutput":
        case "takeover":
        case "changes":
        case "rerun":
          await commands.executeCommand(`loomd.${message.say}`, { is: "run", id: runId });
          return;
        case "openFile": {
          const cwd = this.run?.cwd ?? "/";
          return await openAt(isAbsolute(message.path) ? message.path : join(cwd, message.path), message.line, message.column);
        }
        case "openDiff": {
          const side = (name: string, text: string) => {
            const uri = Uri.from({ scheme: SCHEME, authority: "transcript", path: message.path.startsWith("/") ? message.path : `/${message.path}`, query: `${name}-${randomBytes(6).toString("hex")}` });
            this.diffs.set(uri.toString(), text);
            return uri;
          };
          await commands.executeCommand("vscode.diff", side("before", message.oldText), side("after", message.newText), `${message.path} (as asked)`, { preview: true });
          return;
        }
        case "copy":
          await env.clipboard.writeText(message.text);
          return;
      }
    } catch (error) {
      this.post({ say: "failed", message: Failure.from(error).message });
    }
  }

  /** A follow-up; where the run has ended, a new run goes on with its session, in the same panel. */
  private async send(text: string, mode: "queue" | "steer"): Promise<void> {
    const run = this.run;
    if (!run || !isFinal(run)) {
      await this.app.server.request("run/send", { runId: this.runId, prompt: text, mode });
      return this.post({ say: "sent" });
    }
    const next = await commands.executeCommand<Run | undefined>("loomd.continue", { is: "run", id: run.id }, text);
    if (!next) return;
    this.post({ say: "sent" });
    this.runId = next.id;
    this.moved(next.id);
    this.begin();
  }
}

function page(webview: Webview, extension: Uri): string {
  const nonce = randomBytes(16).toString("base64");
  const at = (name: string) => webview.asWebviewUri(Uri.joinPath(extension, "dist", name)).toString();
  // Nothing but our own script, style and font; pictures only as data that an agent sent. There is no connection to anywhere.
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource}; font-src ${webview.cspSource}; img-src data:; form-action 'none'; base-uri 'none'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${at("codicon.css")}">
<link rel="stylesheet" href="${at("transcript.css")}">
<title>Transcript</title>
</head>
<body>
<script nonce="${nonce}" src="${at("transcript.js")}"></script>
</body>
</html>`;
}
