// Follows the logs of runs. Each follower gets every entry of the kinds it wants, in order, once: first what is stored, page by page and no
// faster than it takes them, then what comes. The server knows one cursor for each connection and run; here many followers share it, and a
// server that was started again is told where to go on.
import type { Entry, Kind } from "../protocol";
import { Failure } from "../server/failure";
import type { Server } from "../server/server";

export interface Follower {
  kinds: readonly Kind[];
  /** Entries up to here are not wanted. */
  afterSeq: number;
  /** Entries in order. A promise holds back the next stored page. */
  take(entries: Entry[]): void | Promise<void>;
  /** The run is gone, or cannot be read. */
  failed?(failure: Failure): void;
}

const PAGE_BYTES = 1_048_576;

type Attachable = "output" | "update";

/** Where one follower stands. */
class Place {
  cursor: number;
  live = false;
  joining = false;
  gone = false;
  /** Next byte of each stream, as far as known: parts of one entry carry the same seq and are told apart by their offsets. */
  private readonly next: { stdout?: number; stderr?: number } = {};

  constructor(readonly follower: Follower) {
    this.cursor = follower.afterSeq;
  }

  /** The entry, or the part of it that is new; nothing where all of it was seen. */
  sift(entry: Entry): Entry | undefined {
    if (!this.follower.kinds.includes(entry.kind)) return undefined;
    if (entry.kind !== "output") return this.seen(entry.seq) ? undefined : entry;
    const next = this.next[entry.stream];
    if (next === undefined && this.seen(entry.seq)) return undefined;
    const raw = entry.data ? Buffer.from(entry.data, "base64") : Buffer.from(entry.text);
    const end = entry.offset + raw.length;
    if (next !== undefined && end <= next) return undefined;
    this.next[entry.stream] = end;
    this.cursor = Math.max(this.cursor, entry.seq);
    if (next === undefined || entry.offset >= next) return entry;
    const rest = raw.subarray(next - entry.offset);
    return { ...entry, offset: next, text: rest.toString("utf8"), ...(entry.data ? { data: rest.toString("base64") } : {}) };
  }

  private seen(seq: number): boolean {
    if (seq <= this.cursor) return true;
    this.cursor = seq;
    return false;
  }
}

/** All followers of one run. */
class Feed {
  readonly places = new Set<Place>();
  private attached = new Set<Attachable>();
  private turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly server: Server,
    private readonly runId: string,
  ) {}

  hear(entry: Entry): void {
    for (const place of this.places) {
      if (!place.live) continue;
      const news = place.sift(entry);
      if (news) void place.follower.take([news]);
    }
  }

  /** Brings one follower from where it stands to the present, then lets it hear what comes. */
  async join(place: Place): Promise<void> {
    if (place.joining) return;
    place.joining = true;
    const arrived = await this.catchUp(place).finally(() => (place.joining = false));
    if (!arrived) return;
    place.live = true;
    await this.attach(true);
  }

  private async catchUp(place: Place): Promise<boolean> {
    while (!place.gone) {
      try {
        const page = await this.server.request("run/read", {
          runId: this.runId,
          afterSeq: place.cursor,
          maxBytes: PAGE_BYTES,
          kinds: [...place.follower.kinds],
        });
        if (place.gone) return false;
        const news = page.entries.map(entry => place.sift(entry)).filter(entry => entry !== undefined);
        place.cursor = Math.max(place.cursor, page.nextAfterSeq ?? 0);
        if (news.length > 0) await place.follower.take(news);
        if (page.atEnd !== false) return true;
      } catch (error) {
        const failure = Failure.from(error);
        // After a restart of the server the same page is asked for again; while it is down there is nothing to wait for here, `again` comes.
        if (failure.kind === "gone") {
          const back = await this.server.ready().then(() => true, () => false);
          if (back) continue;
          return false;
        }
        if (failure.kind !== "stopped") place.follower.failed?.(failure);
        return false;
      }
    }
    return false;
  }

  /** Tells the server what is wanted now. `anew`: it does not know, or somebody stands further back. */
  attach(anew: boolean): Promise<void> {
    this.turn = this.turn.then(async () => {
      const live = [...this.places].filter(place => place.live);
      const wanted = new Set(live.flatMap(place => place.follower.kinds).filter((kind): kind is Attachable => kind === "output" || kind === "update"));
      try {
        if (live.length === 0) {
          if (this.attached.size > 0 && this.places.size === 0) await this.server.request("run/detach", { runId: this.runId });
          this.attached = new Set();
          return;
        }
        if (!anew && wanted.size === this.attached.size) return;
        this.attached = wanted;
        // One entry back: of an output entry that came in parts, some may be missing. What was seen is sifted out.
        const afterSeq = Math.max(0, Math.min(...live.map(place => place.cursor)) - 1);
        await this.server.request("run/attach", { runId: this.runId, afterSeq, kinds: [...wanted] });
      } catch (error) {
        const failure = Failure.from(error);
        if (failure.kind === "gone" || failure.kind === "stopped") return;
        for (const place of live) place.follower.failed?.(failure);
      }
    });
    return this.turn;
  }

  /** The server is another one: go on from where each follower stands. */
  again(): void {
    for (const place of this.places) {
      if (!place.live) void this.join(place);
    }
    if ([...this.places].some(place => place.live)) void this.attach(true);
  }
}

export class Feeds {
  private readonly feeds = new Map<string, Feed>();

  constructor(private readonly server: Server) {
    server.onNotification(({ name, params }) => {
      if (name === "run/changed" || name === "run/deleted") return;
      this.feeds.get(params.runId)?.hear(params as Entry);
    });
    let was = server.state.is;
    server.onDidChange(state => {
      if (state.is === "running" && was !== "running") for (const feed of this.feeds.values()) feed.again();
      was = state.is;
    });
  }

  follow(runId: string, follower: Follower): { dispose(): void } {
    let feed = this.feeds.get(runId);
    if (!feed) this.feeds.set(runId, (feed = new Feed(this.server, runId)));
    const place = new Place(follower);
    feed.places.add(place);
    const mine = feed;
    void mine.join(place);
    return {
      dispose: () => {
        if (place.gone) return;
        place.gone = true;
        mine.places.delete(place);
        // The feed stays: its turn keeps a detach from overtaking the attach of the next follower.
        void mine.attach(false);
      },
    };
  }
}
