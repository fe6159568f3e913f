// The host's side of a page with a transcript, in an editor and in a browser: it sends the run's items and what follows,
// and asks the server for what the page wants. What only one host can do is left to that host.
import type { ItemParams, Prompt, Run } from "../protocol";
import type { Feeds } from "../runs/feed";
import { refuseLinks } from "../runs/rerun";
import { isFinal, isWaiting, nameOf, stateLabel, takeoversOf } from "../runs/run";
import type { RunStore } from "../runs/store";
import { Failure } from "../server/failure";
import type { Hosts } from "../server/hosts";
import { hostOf } from "../server/run-ids";
import type { ServerLink } from "../server/server";
import { promptOf } from "./context";
import type { Header, ToExtension, ToPage } from "./messages";

/** Changes are collected this long before they are sent. */
const BATCH_INTERVAL_MS = 40;

/** What the page wants and its host does. */
export type HostAction = Exclude<ToExtension, { kind: "ready" | "earlier" | "item" | "answer" | "send" | "interrupt" }>;

export interface TranscriptHost {
  post(message: ToPage): void;
  act(message: HostAction): Promise<void>;
  /** Starts a run that resumes the session of an ended one; `undefined` if the user thought better of it. */
  resume(run: Run, prompt: Prompt): Promise<Run | undefined>;
  /** Another run is shown now. */
  onRunReplaced?(runId: string): void;
  onHeader?(header: Header): void;
  /** Whether the user may only look on. */
  readonly readOnly?: boolean;
}

export class TranscriptSession {
  private subscription: { dispose(): void } | undefined;
  private readonly disposables: { dispose(): void }[];
  private batch: ItemParams[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ready = false;
  /** Messages for when the page has its items. */
  private waiting: ToPage[] = [];
  /** Incremented with every load, so that an overtaken one gives up. */
  private loads = 0;
  private disposed = false;

  constructor(
    private readonly services: { server: ServerLink; runs: RunStore; feeds: Feeds; hosts?: Pick<Hosts, "get" | "onDidChange"> },
    public runId: string,
    private readonly host: TranscriptHost,
  ) {
    this.disposables = [
      services.runs.onDidChange(({ runs }) => {
        if (runs.has(this.runId)) this.postHeader();
      }),
      services.server.onDidChange(state => {
        if (state.kind !== "running") return;
        void this.services.runs.loaded().then(() => this.postHeader());
        this.loadAgain(undefined);
      }),
    ];
    const { hosts } = services;
    if (hosts) this.disposables.push(hosts.onDidChange(host => hosts.get(host)?.state.kind === "running" && this.loadAgain(host)));
  }

  /** Loads what could not be loaded before its server was there. */
  private loadAgain(host: string | undefined): void {
    if (this.ready && !this.subscription && hostOf(this.runId) === host) void this.load();
  }

  dispose(): void {
    this.loads++;
    this.disposed = true;
    this.subscription?.dispose();
    clearTimeout(this.timer);
    for (const disposable of this.disposables) disposable.dispose();
  }

  /** What an answer brings that came too late is for nobody: the page may show another run by now. */
  private post(message: ToPage): void {
    if (!this.disposed) this.host.post(message);
  }

  get run(): Run | undefined {
    return this.services.runs.get(this.runId);
  }

  postWhenReady(message: ToPage): void {
    if (this.subscription) this.post(message);
    else this.waiting.push(message);
  }

  async handle(message: ToExtension): Promise<void> {
    const { runId } = this;
    const { server } = this.services;
    try {
      switch (message.kind) {
        case "ready":
          this.ready = true;
          return await this.load();
        case "earlier": {
          const { items, prev } = await server.request("run/items", { runId, before: message.before, limit: 500 });
          if (runId === this.runId) this.post({ kind: "earlier", items, ...(prev == null ? {} : { prev }) });
          return;
        }
        case "item": {
          const { item } = await server.request("run/getItem", { runId, item: message.item });
          if (runId === this.runId) this.post({ kind: "item", item });
          return;
        }
        case "answer": {
          const { permissionId, optionId, cancelled, message: reason } = message;
          await server.request("run/answer", { runId, permissionId, ...(optionId ? { optionId } : {}), ...(cancelled ? { cancelled } : {}), ...(reason ? { message: reason } : {}) });
          return;
        }
        case "send":
          return await this.send(promptOf(message.text, message.context), message.mode);
        case "interrupt":
          await server.request("run/interrupt", { runId });
          return;
        default:
          return await this.host.act(message);
      }
    } catch (error) {
      this.post({ kind: "failed", message: Failure.from(error).message });
    }
  }

  private postHeader(): void {
    const { run } = this;
    if (!run || this.disposed) return;
    const { server, hosts } = this.services;
    const host = hostOf(run.id);
    const provider = (host === undefined ? server : hosts?.get(host))?.handshake?.providers.find(({ id }) => id === run.provider);
    const can = provider?.capabilities;
    const final = isFinal(run);
    const may = this.host.readOnly !== true;
    const header: Header = {
      run,
      name: nameOf(run),
      stateLabel: isWaiting(run) ? "waiting for permission" : stateLabel(run),
      // Whatever names the agent says where it is, also a permission request.
      provider: `${provider?.title ?? run.provider}${host === undefined ? "" : ` on ${host}`}`,
      final,
      can: {
        answer: may,
        send: may && !final && (can?.send ?? false),
        steer: can?.steer ?? false,
        interrupt: may && (can?.interrupt ?? false),
        configure: may && !final && run.hasTranscript === true,
        resume: may && final && run.hasTranscript === true && (run.session?.resumable ?? false),
        takeover: may && takeoversOf(run).length > 0,
      },
    };
    this.host.onHeader?.(header);
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

  /** Sends a message. If the run has ended, a new run resumes its session in the same page. */
  private async send(prompt: Prompt, mode: "queue" | "steer"): Promise<void> {
    const { run } = this;
    refuseLinks(hostOf(this.runId), prompt);
    if (!run || !isFinal(run)) {
      await this.services.server.request("run/send", { runId: this.runId, prompt, mode });
      return this.post({ kind: "sent" });
    }
    const next = await this.host.resume(run, prompt);
    if (!next) return;
    this.post({ kind: "sent" });
    this.runId = next.id;
    this.host.onRunReplaced?.(next.id);
    await this.load();
  }
}
