// Follows runs. The server keeps one cursor for each connection and run, so all followers of a run share one `run/attach`.
// While a transcript follows the run, that is in the form of items; readers of output then take any notification as a sign
// that the log has grown, and read it. Otherwise output itself is sent. After a restart of the server each goes on where
// it was.
import type { Entry, ItemParams } from "../protocol";
import { Failure } from "../server/failure";
import type { Hosts } from "../server/hosts";
import { hostOf } from "../server/run-ids";
import type { ServerLink, ServerNotification } from "../server/server";

export interface ItemFollower {
  /** The items are known as of this entry. */
  afterSeq: number;
  /** Takes changes in order. Whole items may come again; nothing is appended twice. */
  onChange(change: ItemParams): void;
  /** Called when the run was deleted or cannot be read. */
  onFailure?(failure: Failure): void;
}

export interface OutputFollower {
  /** Entries up to this one are skipped. */
  afterSeq: number;
  /** Takes output and states in order, each once. If it returns a promise, the next page is read after that settles. */
  onEntries(entries: Entry[]): void | Promise<void>;
  onFailure?(failure: Failure): void;
}

const PAGE_BYTES = 1_048_576;

type Form = "items" | "output";

/** A follower as its feed sees it. */
interface Subscription {
  form: Form;
  /** Whether the connection has attached for it, since the server runs. */
  joined: boolean;
  /** Going on after this entry misses nothing. */
  cursor(): number;
  /** Called when the connection is attached in this form, for this or another follower. */
  attached(form: Form): void;
  notify(name: string, params: unknown): void;
  /** Called when the server runs again. */
  resume(): void;
  fail(failure: Failure): void;
}

/** All followers of one run, and how this connection is attached to it. */
class Feed {
  readonly subscriptions = new Set<Subscription>();
  private form: Form | undefined;
  private attaching: Promise<void> = Promise.resolve();

  constructor(
    private readonly server: ServerLink,
    private readonly runId: string,
  ) {}

  notify(name: string, params: unknown): void {
    for (const subscription of this.subscriptions) subscription.notify(name, params);
  }

  /** Attaches for the followers that there are, or detaches. One after the other, so that none overtakes another. */
  update(joining?: Subscription): Promise<void> {
    return (this.attaching = this.attaching.then(() => this.attach(joining).catch(error => {
      const failure = Failure.from(error);
      if (failure.kind !== "gone" && failure.kind !== "stopped") joining?.fail(failure);
    })));
  }

  private async attach(joining: Subscription | undefined): Promise<void> {
    const all = [...this.subscriptions];
    const form = all.some(({ form }) => form === "items") ? "items" : all.length > 0 ? "output" : undefined;
    if (form === undefined) {
      if (this.form) await this.server.request("run/detach", { runId: this.runId });
    } else if (form !== this.form || joining?.form === form) {
      const cursor = Math.min(...all.filter(each => each.form === form).map(each => each.cursor()));
      await this.server.request("run/attach", { runId: this.runId, afterSeq: cursor, ...(form === "items" ? { as: form } : { kinds: [form] }) });
    }
    const [changed] = [form !== this.form, (this.form = form)];
    if (joining) joining.joined = true;
    // One that still reads what is stored takes nothing yet: its own attach sends what comes after.
    if (form) for (const each of all) if (each === joining || (changed && each.joined)) each.attached(form);
  }

  /** Called for a new server process. */
  resume(): void {
    this.form = undefined;
    for (const subscription of this.subscriptions) {
      subscription.joined = false;
      subscription.resume();
    }
  }
}

export class Feeds {
  private readonly feeds = new Map<string, Feed>();

  constructor(
    private readonly server: ServerLink,
    hosts?: Pick<Hosts, "get" | "onDidChange" | "onNotification">,
  ) {
    const notify = ({ name, params }: ServerNotification) => {
      if (name !== "run/changed" && name !== "run/deleted") this.feeds.get(params.runId)?.notify(name, params);
    };
    server.onNotification(notify);
    hosts?.onNotification(notify);
    let previousState = server.state.kind;
    server.onDidChange(state => {
      if (state.kind === "running" && previousState !== "running") this.resume(undefined);
      previousState = state.kind;
    });
    hosts?.onDidChange(host => hosts.get(host)?.state.kind === "running" && this.resume(host));
  }

  /** Goes on where the followers of a host's runs were, on a new connection. */
  private resume(host: string | undefined): void {
    for (const [runId, feed] of this.feeds) if (hostOf(runId) === host) feed.resume();
  }

  /** Follows a run's items, from where a page of them was read. A run has one such follower at a time. */
  followItems(runId: string, { afterSeq, onChange, onFailure }: ItemFollower): { dispose(): void } {
    const feed = this.feed(runId);
    let cursor = afterSeq;
    // Only after its own attach: before it, a change may come that the attach sends again.
    let live = false;
    const subscription: Subscription = {
      form: "items",
      joined: false,
      cursor: () => cursor,
      attached: () => (live = true),
      notify: (name, params) => {
        if (!live || name !== "run/item") return;
        const change = params as ItemParams;
        // One entry may change several items, so going on after the entry before this one misses nothing.
        cursor = Math.max(cursor, change.seq - 1);
        onChange(change);
      },
      resume: () => {
        live = false;
        void feed.update(subscription);
      },
      fail: failure => onFailure?.(failure),
    };
    return this.join(feed, subscription);
  }

  /** Follows a run's output and states. */
  followOutput(runId: string, { afterSeq, onEntries, onFailure }: OutputFollower): { dispose(): void } {
    const feed = this.feed(runId);
    let cursor = afterSeq;
    // Whether it takes output as it is sent.
    let live = false;
    let reading: "no" | "yes" | "again" = "no";
    const unseen = unseenParts();
    const take = (entries: readonly Entry[]) => {
      const parts = entries.flatMap(entry => unseen(entry, cursor) ?? []);
      for (const { seq } of parts) cursor = Math.max(cursor, seq);
      return parts.length > 0 ? onEntries(parts) : undefined;
    };
    const read = async (): Promise<void> => {
      if (reading !== "no") return void (reading = "again");
      try {
        do {
          reading = "yes";
          for (let atEnd = false; !atEnd && feed.subscriptions.has(subscription); ) {
            const page = await this.server.request("run/read", { runId, afterSeq: cursor, maxBytes: PAGE_BYTES, kinds: ["output", "state"] });
            if (!feed.subscriptions.has(subscription)) return;
            await take(page.entries);
            cursor = Math.max(cursor, page.nextAfterSeq ?? 0);
            atEnd = page.atEnd !== false;
          }
        } while ((reading as string) === "again");
      } catch (error) {
        const failure = Failure.from(error);
        // If the server restarts, `resume` reads on.
        if (failure.kind !== "gone" && failure.kind !== "stopped") onFailure?.(failure);
      } finally {
        reading = "no";
      }
    };
    const subscription: Subscription = {
      form: "output",
      joined: false,
      // One entry back, because parts of the last one may be missing.
      cursor: () => Math.max(0, cursor - 1),
      attached: form => {
        live = form === "output";
        if (!live) void read();
      },
      notify: (name, params) => {
        if (!live && (name === "run/item" || name === "run/state")) void read();
        if (live && (name === "run/output" || name === "run/state")) void take([params as Entry]);
      },
      resume: () => {
        live = false;
        void read().then(() => feed.update(subscription));
      },
      fail: failure => onFailure?.(failure),
    };
    return this.join(feed, subscription);
  }

  private feed(runId: string): Feed {
    let feed = this.feeds.get(runId);
    if (!feed) this.feeds.set(runId, (feed = new Feed(this.server, runId)));
    return feed;
  }

  private join(feed: Feed, subscription: Subscription): { dispose(): void } {
    feed.subscriptions.add(subscription);
    subscription.resume();
    return {
      dispose: () => {
        // The feed stays in the map: its queue keeps this detach from overtaking the attach of the next follower.
        if (feed.subscriptions.delete(subscription)) void feed.update();
      },
    };
  }
}

/**
 * Returns what was not seen of an entry: parts of one output entry share a `seq`, so only their offsets tell them apart.
 * States arrive by their `seq`.
 */
function unseenParts(): (entry: Entry, cursor: number) => Entry | undefined {
  const next: { stdout?: number; stderr?: number } = {};
  return (entry, cursor) => {
    if (entry.kind !== "output") return entry.seq > cursor ? entry : undefined;
    const known = next[entry.stream];
    if (known === undefined && entry.seq <= cursor) return undefined;
    const raw = entry.data || (known !== undefined && entry.offset < known) ? Buffer.from(entry.data ?? entry.text, entry.data ? "base64" : "utf8") : undefined;
    const end = entry.offset + (raw?.length ?? Buffer.byteLength(entry.text));
    if (known !== undefined && end <= known) return undefined;
    next[entry.stream] = end;
    if (known === undefined || entry.offset >= known || !raw) return entry;
    const rest = raw.subarray(known - entry.offset);
    return { ...entry, offset: known, text: rest.toString("utf8"), ...(entry.data ? { data: rest.toString("base64") } : {}) };
  };
}
