// All runs that we know of, kept true by what the server says. The views read here and nowhere else.
import { Emitter, type Event } from "vscode-jsonrpc/node";
import type { Entry, PermissionEntry, Run, RunState, SessionEntry, StateEntry } from "../protocol";
import type { Heard, Server } from "../server/server";
import { isFinal } from "./words";

/** What became different, gathered over a moment. */
export interface Changes {
  runs: Map<string, { before: Run | undefined; after: Run | undefined }>;
}

const ACTIVE: RunState[] = ["starting", "running", "awaitingPermission", "idle"];

/** Changes are told this often at most; a row that is drawn more often only flickers. */
const GATHER_MS = 40;
const PAGE = 100;

export class RunStore {
  private readonly runs = new Map<string, Run>();
  private readonly changed = new Emitter<Changes>();
  private readonly permission = new Emitter<Run>();
  private gathered: Changes["runs"] = new Map();
  private timer: NodeJS.Timeout | undefined;
  private cursor: string | undefined;
  private fetching = new Set<string>();
  private loading: Promise<void> = Promise.resolve();

  readonly onDidChange: Event<Changes> = this.changed.event;
  /** A run asks something, told at once. */
  readonly onDidAsk: Event<Run> = this.permission.event;

  constructor(private readonly server: Server) {
    server.onNotification(heard => this.hear(heard));
    server.onDidChange(state => {
      if (state.is === "running") this.loading = this.load().catch(() => {});
    });
  }

  get(id: string): Run | undefined {
    return this.runs.get(id);
  }

  all(): Iterable<Run> {
    return this.runs.values();
  }

  /** Whether there are earlier runs that have not been fetched. */
  get hasMore(): boolean {
    return this.cursor !== undefined;
  }

  /** The list as it was when the connection began has been taken in. */
  loaded(): Promise<void> {
    return this.loading;
  }

  async more(): Promise<void> {
    if (this.cursor === undefined) return;
    const { runs, nextCursor } = await this.server.request("run/list", { limit: PAGE, cursor: this.cursor });
    this.cursor = nextCursor ?? undefined;
    for (const run of runs) this.put(run);
  }

  /** Takes in a run that somebody got as an answer. */
  put(run: Run): void {
    const known = this.runs.get(run.id);
    if (known && known.lastSeq > run.lastSeq) {
      // An answer that was overtaken still tells what no entry tells.
      this.set({ ...known, title: run.title ?? null, labels: run.labels, pinned: run.pinned });
      return;
    }
    this.set(run);
    const asked = (list: Run | undefined) => new Set(list?.permissions?.map(entry => entry.permissionId));
    const old = asked(known);
    if ([...asked(run)].some(id => !old.has(id))) this.permission.fire(run);
  }

  remove(ids: readonly string[]): void {
    for (const id of ids) {
      const before = this.runs.get(id);
      if (this.runs.delete(id)) this.note(id, before, undefined);
    }
  }

  private async load(): Promise<void> {
    const active: string[] = [];
    const known = new Set(this.runs.keys());
    for (let cursor: string | null | undefined; ; ) {
      const page = await this.server.request("run/list", { states: ACTIVE, limit: 500, ...(cursor ? { cursor } : {}) });
      for (const run of page.runs) active.push(run.id), this.put(run);
      if (!(cursor = page.nextCursor)) break;
    }
    const { runs, nextCursor } = await this.server.request("run/list", { limit: PAGE });
    for (const run of runs) this.put(run);
    this.cursor = nextCursor ?? undefined;
    // What ended or vanished while nobody listened.
    const seen = new Set([...active, ...runs.map(run => run.id)]);
    for (const id of known) if (!seen.has(id)) void this.refresh(id);
  }

  /** Reads one run anew: totals come with the whole run only. */
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

  private hear({ name, params }: Heard): void {
    switch (name) {
      case "run/changed":
        return this.put(params.run);
      case "run/deleted":
        return this.remove(params.runIds);
      case "run/state":
        return this.apply(params.runId, params.seq, run => withState(run, params));
      case "run/permission":
        this.apply(params.runId, params.seq, run => withPermission(run, params));
        if (params.status === "requested") {
          const run = this.runs.get(params.runId);
          if (run) this.permission.fire(run);
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
    // Usage and byte counts are totals that a state entry does not carry.
    if (isFinal(after) || after.state === "idle") void this.refresh(id);
  }

  private set(run: Run): void {
    const before = this.runs.get(run.id);
    this.runs.set(run.id, run);
    this.note(run.id, before, run);
  }

  private note(id: string, before: Run | undefined, after: Run | undefined): void {
    const first = this.gathered.get(id);
    this.gathered.set(id, { before: first ? first.before : before, after });
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const runs = this.gathered;
      this.gathered = new Map();
      this.changed.fire({ runs });
    }, GATHER_MS);
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
