// The run store: all known runs, updated by the server's notifications. Views read runs from here only.
import { Emitter, type Event } from "vscode-jsonrpc/node";
import type { Entry, PermissionEntry, Run, RunState, SessionEntry, StateEntry } from "../protocol";
import type { Hosts } from "../server/hosts";
import { hostOf } from "../server/run-ids";
import type { ServerLink, ServerNotification } from "../server/server";
import { isFinal } from "./run";

/** The runs that changed within one batch, with their values before and after. `undefined` means absent. */
export interface RunChanges {
  runs: Map<string, { before: Run | undefined; after: Run | undefined }>;
}

const ACTIVE_STATES: RunState[] = ["starting", "running", "awaitingPermission", "idle"];

/** `onDidChange` fires at most this often; a row that is drawn more often only flickers. */
const BATCH_INTERVAL_MS = 40;
const PAGE_SIZE = 100;

export class RunStore {
  private readonly runs = new Map<string, Run>();
  /** When idle runs became so; `undefined` while that is read. */
  private readonly idle = new Map<string, number | undefined>();
  private readonly changed = new Emitter<RunChanges>();
  private readonly permissionRequested = new Emitter<Run>();
  private batch: RunChanges["runs"] = new Map();
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Where the earlier runs of a host begin, and of this computer (`undefined`). */
  private readonly cursors = new Map<string | undefined, string>();
  private fetching = new Set<string>();
  private loading: Promise<void> = Promise.resolve();

  readonly onDidChange: Event<RunChanges> = this.changed.event;
  /** Fires immediately when an agent requests a permission. */
  readonly onDidRequestPermission: Event<Run> = this.permissionRequested.event;

  constructor(
    private readonly server: ServerLink,
    private readonly hosts?: Pick<Hosts, "get" | "onDidChange" | "onNotification">,
  ) {
    server.onNotification(notification => this.handle(notification));
    server.onDidChange(state => {
      if (state.kind === "running") this.loading = this.load(server, undefined).catch(() => {});
    });
    hosts?.onNotification(notification => this.handle(notification));
    hosts?.onDidChange(host => {
      const there = hosts.get(host);
      if (there?.state.kind === "running") void this.load(there, host).catch(() => {});
      if (there) return;
      this.cursors.delete(host);
      this.remove([...this.runs.keys()].filter(id => hostOf(id) === host));
    });
  }

  get(id: string): Run | undefined {
    return this.runs.get(id);
  }

  /** When an idle run became so, as far as it is known. */
  idleSince(run: Run): number | undefined {
    return run.state === "idle" ? this.idle.get(run.id) : undefined;
  }

  all(): Iterable<Run> {
    return this.runs.values();
  }

  /** Whether the server has earlier runs that have not been fetched. */
  get hasMore(): boolean {
    return this.cursors.size > 0;
  }

  /** Settles when the runs that existed at the start of the connection are in the store. */
  loaded(): Promise<void> {
    return this.loading;
  }

  async loadMore(): Promise<void> {
    // A host that is not there now has its page when it is.
    const there = [...this.cursors].flatMap(([host, cursor]) => {
      const server = host === undefined ? this.server : this.hosts?.get(host);
      return server?.state.kind === "running" ? [{ host, cursor, server }] : [];
    });
    await Promise.all(there.map(async ({ host, cursor, server }) => this.putPage(host, await server.request("run/list", { limit: PAGE_SIZE, cursor }))));
  }

  private putPage(host: string | undefined, { runs, nextCursor }: { runs: readonly Run[]; nextCursor?: string | null }): void {
    if (nextCursor == null) this.cursors.delete(host);
    else this.cursors.set(host, nextCursor);
    for (const run of runs) this.put(run);
  }

  /** Stores a run from a response of the server. */
  put(run: Run): void {
    const known = this.runs.get(run.id);
    if (known && known.lastSeq > run.lastSeq) {
      // The response is older than the entries already applied, but no entry carries title, labels and pinned.
      this.set({ ...known, title: run.title ?? null, ...(run.displayTitle === undefined ? {} : { displayTitle: run.displayTitle }), labels: run.labels, pinned: run.pinned });
      return;
    }
    this.set(run);
    const requestIds = (list: Run | undefined) => new Set(list?.permissions?.map(entry => entry.permissionId));
    const knownIds = requestIds(known);
    if ([...requestIds(run)].some(id => !knownIds.has(id))) this.permissionRequested.fire(run);
  }

  remove(ids: readonly string[]): void {
    for (const id of ids) {
      const before = this.runs.get(id);
      this.idle.delete(id);
      if (this.runs.delete(id)) this.recordChange(id, before, undefined);
    }
  }

  private async load(server: ServerLink, host: string | undefined): Promise<void> {
    const active: string[] = [];
    const known = [...this.runs.keys()].filter(id => hostOf(id) === host);
    for (let cursor: string | null | undefined; ; ) {
      const page = await server.request("run/list", { states: ACTIVE_STATES, limit: 500, ...(cursor ? { cursor } : {}) });
      for (const run of page.runs) active.push(run.id), this.put(run);
      if (!(cursor = page.nextCursor)) break;
    }
    const page = await server.request("run/list", { limit: PAGE_SIZE });
    this.putPage(host, page);
    // Runs that we knew and that are in neither list have ended or were deleted while we were disconnected.
    const seen = new Set([...active, ...page.runs.map(run => run.id)]);
    for (const id of known) if (!seen.has(id)) void this.refresh(id);
  }

  /** Reads one run again. Usage and byte totals come only with the whole run. */
  async refresh(id: string): Promise<void> {
    if (this.fetching.has(id)) return;
    this.fetching.add(id);
    try {
      const { run } = await this.server.request("run/get", { runId: id });
      this.put(run);
    } catch (error) {
      if ((error as { kind?: string }).kind === "runNotFound") this.remove([id]);
    } finally {
      this.fetching.delete(id);
    }
  }

  private handle({ name, params }: ServerNotification): void {
    switch (name) {
      case "run/changed":
        return this.put(params.run);
      case "run/deleted":
        return this.remove(params.runIds);
      case "run/state":
        if (params.state === "idle") this.idle.set(params.runId, params.at);
        return this.apply(params.runId, params.seq, run => withState(run, params));
      case "run/permission":
        this.apply(params.runId, params.seq, run => withPermission(run, params));
        if (params.status === "requested") {
          const run = this.runs.get(params.runId);
          if (run) this.permissionRequested.fire(run);
        }
        return;
      case "run/session":
        return this.apply(params.runId, params.seq, run => withSession(run, params));
    }
  }

  private apply(id: string, seq: Entry["seq"], change: (run: Run) => Run): void {
    const run = this.runs.get(id);
    if (!run) {
      void this.refresh(id);
      return;
    }
    if (seq <= run.lastSeq) return;
    const after = { ...change(run), lastSeq: seq };
    this.set(after);
    // A state entry does not carry the totals of usage and bytes.
    if (isFinal(after) || after.state === "idle") void this.refresh(id);
  }

  private set(run: Run): void {
    const before = this.runs.get(run.id);
    this.runs.set(run.id, run);
    this.recordChange(run.id, before, run);
    if (run.state !== "idle") this.idle.delete(run.id);
    else if (!this.idle.has(run.id)) void this.readIdleSince(run);
  }

  /** A run's record does not tell when it became idle; the last state in its log does. */
  private async readIdleSince({ id, lastSeq }: Run): Promise<void> {
    this.idle.set(id, undefined);
    const page = await this.server.request("run/read", { runId: id, beforeSeq: lastSeq + 1, kinds: ["state"], maxBytes: 4096 }).catch(() => undefined);
    const at = page?.entries.at(-1)?.at;
    const run = this.runs.get(id);
    if (at === undefined || run?.state !== "idle" || this.idle.get(id) !== undefined) return;
    this.idle.set(id, at);
    this.recordChange(id, run, run);
  }

  private recordChange(id: string, before: Run | undefined, after: Run | undefined): void {
    const first = this.batch.get(id);
    this.batch.set(id, { before: first ? first.before : before, after });
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const runs = this.batch;
      this.batch = new Map();
      this.changed.fire({ runs });
    }, BATCH_INTERVAL_MS);
  }
}

function withState(run: Run, entry: StateEntry): Run {
  const { state, turn, exitCode, signal, error } = entry;
  const next: Run = { ...run, state };
  if (turn != null) next.turn = turn;
  if (exitCode != null) next.exitCode = exitCode;
  if (signal != null) next.signal = signal;
  if (state === "running" && run.startedAt == null) next.startedAt = entry.at;
  if (isFinal(next)) {
    next.endedAt = entry.at;
    next.permissions = [];
    next.error = error ?? null;
  }
  return next;
}

function withPermission(run: Run, entry: PermissionEntry): Run {
  const others = (run.permissions ?? []).filter(open => open.permissionId !== entry.permissionId);
  return { ...run, permissions: entry.status === "requested" ? [...others, entry] : others };
}

function withSession(run: Run, entry: SessionEntry): Run {
  return { ...run, session: entry.session };
}
