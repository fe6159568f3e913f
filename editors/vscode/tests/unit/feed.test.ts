import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { createHash } from "node:crypto";
import type { Entry, Item } from "../../src/protocol";
import { Feeds } from "../../src/runs/feed";
import { isFinal } from "../../src/runs/run";
import type { Server } from "../../src/server/server";
import { Transcript } from "../../src/transcript/items";
import { shell, until, TestEnvironment } from "../lib/environment";

class RecordingFollower {
  entries: Entry[] = [];
  constructor(readonly afterSeq = 0) {}
  onEntries = (entries: Entry[]) => void this.entries.push(...entries);
  text(): string {
    return this.entries.map(entry => (entry.kind === "output" ? entry.text : "")).join("");
  }
  ended(): boolean {
    return this.entries.some(entry => entry.kind === "state" && isFinal(entry));
  }
}

describe("following output", () => {
  let environment: TestEnvironment;
  beforeEach(() => (environment = new TestEnvironment()));
  afterEach(() => environment.close());

  const COUNT = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done";
  const COUNTED = Array.from({ length: 3000 }, (_, i) => `line ${i}\n`).join("");

  it("gives each byte once, whether stored or live", async () => {
    const { server, feeds } = await environment.open();
    const { run } = await server.request("run/start", shell(COUNT));
    const early = new RecordingFollower();
    feeds.followOutput(run.id, early);
    await until("the run has ended", () => early.ended());
    strictEqual(early.text(), COUNTED);
    const late = new RecordingFollower();
    feeds.followOutput(run.id, late);
    await until("the second has the end", () => late.ended());
    strictEqual(late.text(), COUNTED);
  });

  it("lets several followers share one run, whichever of them leaves", async () => {
    const { server, feeds } = await environment.open();
    const gate = `${environment.folder}/gate`;
    const { run } = await server.request("run/start", shell(`echo one; while [ ! -e ${gate} ]; do sleep 0.05; done; echo two`));
    const [first, second] = [new RecordingFollower(), new RecordingFollower()];
    const following = feeds.followOutput(run.id, first);
    const items = await followItems(server, feeds, run.id);
    await until("the first line is there", () => first.text() === "one\n");
    feeds.followOutput(run.id, second);
    await until("the second has it", () => second.text() === "one\n");
    following.dispose();
    items.dispose();
    environment.writeScript("gate", "");
    await until("the second has the end", () => second.ended());
    strictEqual(second.text(), "one\ntwo\n");
    strictEqual(first.text(), "one\n");
  });

  it("continues without a gap or a repeat when the server is killed", async () => {
    const { server, feeds } = await environment.open();
    const { run } = await server.request("run/start", shell(`i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.01; done`));
    const follower = new RecordingFollower();
    feeds.followOutput(run.id, follower);
    for (const mark of ["line 20\n", "line 100\n"]) {
      await until(`${mark} has come`, () => follower.text().includes(mark));
      if (server.state.kind === "running") process.kill(server.state.connection.pid!, "SIGKILL");
    }
    await until("the run has ended", () => follower.ended());
    strictEqual(follower.text(), Array.from({ length: 200 }, (_, i) => `line ${i}\n`).join(""));
  });

  it("fetches the next stored page only after the follower has taken the last", async () => {
    const { server, feeds } = await environment.open();
    const { run } = await server.request("run/start", shell("head -c 6000000 /dev/zero | tr '\\0' 'x'"));
    await until("the run has ended", async () => isFinal((await server.request("run/get", { runId: run.id })).run));
    let open!: () => void;
    const gate = new Promise<void>(resolve => (open = resolve));
    let pages = 0;
    const hash = createHash("sha256");
    let bytes = 0;
    let ended = false;
    feeds.followOutput(run.id, {
      afterSeq: 0,
      onEntries: entries => {
        pages++;
        for (const entry of entries) {
          if (entry.kind === "output") hash.update(entry.text), (bytes += entry.text.length);
          if (entry.kind === "state" && isFinal(entry)) ended = true;
        }
        return gate;
      },
    });
    await until("the first page is there", () => pages === 1);
    // Other requests are answered meanwhile, and no second page comes.
    for (let count = 0; count < 20; count++) await server.request("run/get", { runId: run.id });
    strictEqual(pages, 1);
    open();
    await until("all of it has come", () => ended);
    strictEqual(bytes, 6_000_000);
    strictEqual(hash.digest("hex"), createHash("sha256").update("x".repeat(6_000_000)).digest("hex"));
  });

  it("gives a follower all that is stored, though another one is attached while it reads", async () => {
    type Notify = (notification: { name: string; params: unknown }) => void;
    let notify: Notify = () => {};
    const answers: ((value: unknown) => void)[] = [];
    const server = { state: { kind: "running" }, onNotification: (listener: Notify) => (notify = listener), onDidChange: () => {}, request: () => new Promise(resolve => answers.push(resolve)) };
    const answer = async (value: unknown) => {
      await until("it is requested", () => answers.length > 0);
      answers.shift()!(value);
      await new Promise(setImmediate);
    };
    const output = (seq: number) => ({ kind: "output", stream: "stdout", seq, offset: seq - 2, text: String(seq) });
    const end = { kind: "state", seq: 4, state: "succeeded" };
    const feeds = new Feeds(server as never);
    const [first, second] = [new RecordingFollower(), new RecordingFollower()];
    feeds.followOutput("1", first);
    await answer({ entries: [output(2)], nextAfterSeq: 2 });
    feeds.followOutput("1", second);
    // The attach of the first one is answered, and brings the end, before the second one has read anything.
    await answer({});
    notify({ name: "run/output", params: { runId: "1", ...output(3) } });
    notify({ name: "run/state", params: { runId: "1", ...end } });
    strictEqual(first.text(), "23");
    await answer({ entries: [output(2), output(3), end], nextAfterSeq: 4 });
    await until("the second has the end", () => second.ended());
    strictEqual(second.text(), "23");
  });

  it("reports to a follower that its run does not exist", async () => {
    const { feeds } = await environment.open();
    let failureKind = "";
    feeds.followOutput("01900000-0000-7000-8000-000000000000", { afterSeq: 0, onEntries: () => {}, onFailure: failure => (failureKind = failure.kind) });
    await until("the failure is reported", () => failureKind === "runNotFound");
  });
});

/** Reads a run's last items and follows what comes, as a transcript does. */
async function followItems(server: Server, feeds: Feeds, runId: string, limit = 200) {
  const transcript = new Transcript();
  const page = await server.request("run/items", { runId, limit });
  transcript.prev = page.prev ?? undefined;
  transcript.takePage(page.items, false);
  let changes = 0;
  const { dispose } = feeds.followItems(runId, { afterSeq: page.seq, onChange: change => (changes++, transcript.takeChange(change)) });
  const items = (): Item[] => transcript.all().map(number => transcript.get(number)!);
  return { transcript, items, dispose, changes: () => changes, ended: () => items().some(item => item.kind === "turn" && isFinal(item)) };
}

describe("following items", () => {
  let environment: TestEnvironment;
  beforeEach(() => (environment = new TestEnvironment()));
  afterEach(() => environment.close());

  const PROMPT = "think about it\nsay one two three\ntool execute 300000\nsay before\nask execute\nsay after\ntool read 100\nsay done";
  const allItems = async (server: Server, runId: string) => (await server.request("run/items", { runId, limit: 1000, maxBytes: 8_000_000 })).items;
  const answer = async (server: Server, runId: string) => {
    const { run } = await until("it asks", async () => {
      // The request fails if the server was killed.
      const result = await server.request("run/get", { runId }).catch(() => undefined);
      return (result?.run.permissions ?? []).length > 0 && result;
    });
    await server.request("run/answer", { runId, permissionId: run.permissions![0]!.permissionId, optionId: "yes" });
  };

  it("comes to the items that pages have, live and when it begins late", async () => {
    const { server, feeds } = await environment.open();
    const { run } = await server.request("run/start", { provider: "scripted", prompt: PROMPT, attach: false });
    const early = await followItems(server, feeds, run.id);
    await answer(server, run.id);
    await until("it has ended", () => early.ended());
    deepStrictEqual(early.items(), await allItems(server, run.id));
    early.dispose();
    const late = await followItems(server, feeds, run.id);
    deepStrictEqual(late.items(), early.items());
  });

  it("goes on without a gap or a repeat when the server is killed, wherever it was", async () => {
    const { server, feeds } = await environment.open();
    const words = Array.from({ length: 400 }, (_, at) => `word-${at}`).join(" ");
    const { run } = await server.request("run/start", { provider: "scripted", prompt: `say ${words}\ntool execute 300000\nask execute\nsay ${words}`, attach: false });
    const followed = await followItems(server, feeds, run.id);
    const pid = () => (server.state.kind === "running" ? server.state.connection.pid : undefined);
    const kill = async () => {
      const killed = await until("a server runs", pid);
      process.kill(killed, "SIGKILL");
      await until("the next server runs", () => pid() !== undefined && pid() !== killed);
    };
    await until("something has come", () => followed.changes() > 0);
    await kill();
    await until("the question is there", () => followed.transcript.questions().length === 1);
    await kill();
    await answer(server, run.id);
    await until("more has come", () => followed.transcript.questions().length === 0);
    await kill();
    await until("it has ended", () => followed.ended());
    deepStrictEqual(followed.items(), await allItems(server, run.id));
  });

  it("has its own place, though another follower of the run attached before", async () => {
    const { server, feeds } = await environment.open();
    const { run } = await server.request("run/start", { provider: "scripted", prompt: PROMPT, attach: false });
    const output = new RecordingFollower();
    feeds.followOutput(run.id, output);
    await until("output has come", () => output.entries.length > 0);
    const followed = await followItems(server, feeds, run.id);
    await answer(server, run.id);
    await until("it has ended", () => followed.ended() && output.ended());
    deepStrictEqual(followed.items(), await allItems(server, run.id));
  });

  it("takes no change before its own attach is answered", async () => {
    type Notify = (notification: { name: string; params: unknown }) => void;
    let notify: Notify = () => {};
    let duringAttach = () => {};
    const server = { state: { kind: "running" }, onNotification: (listener: Notify) => (notify = listener), onDidChange: () => {}, ready: async () => {}, request: async (method: string) => (method === "run/attach" && duringAttach(), {}) };
    const change = (seq: number) => notify({ name: "run/item", params: { runId: "1", seq, item: 1, append: { text: "x" } } });
    // The change of an attach before, which ours sends again.
    duringAttach = () => change(6);
    const seen: number[] = [];
    new Feeds(server as never).followItems("1", { afterSeq: 5, onChange: ({ seq }) => seen.push(seq) });
    await new Promise(setImmediate);
    change(6);
    deepStrictEqual(seen, [6]);
  });
});

describe("the run store", () => {
  let environment: TestEnvironment;
  beforeEach(() => (environment = new TestEnvironment()));
  afterEach(() => environment.close());

  it("knows a run's state as it happens, and its totals at the end", async () => {
    const { server, runs } = await environment.open();
    await runs.loaded();
    const { run } = await server.request("run/start", shell("echo hello; exit 3", { title: "three" }));
    const ended = await until("the run has ended", () => {
      const known = runs.get(run.id);
      return known && isFinal(known) && known.bytes.stdout > 0 && known;
    });
    strictEqual(ended.state, "failed");
    strictEqual(ended.exitCode, 3);
    strictEqual(ended.bytes.stdout, 6);
    strictEqual(ended.title, "three");
  });

  it("shows a second window what the first one starts, edits and deletes", async () => {
    const [first, second] = [await environment.open(), await environment.open()];
    await second.runs.loaded();
    const { run } = await first.server.request("run/start", shell("true"));
    await until("the other has seen it end", () => second.runs.get(run.id) && isFinal(second.runs.get(run.id)!));
    await first.server.request("run/edit", { runId: run.id, title: "named" });
    await until("the other has the name", () => second.runs.get(run.id)?.title === "named");
    await first.server.request("run/delete", { runId: run.id });
    await until("it is gone there", () => second.runs.get(run.id) === undefined);
  });

  it("reports simultaneous changes in one event", async () => {
    const { server, runs } = await environment.open();
    await runs.loaded();
    let events = 0;
    runs.onDidChange(() => events++);
    const { run } = await server.request("run/start", shell("true"));
    for (let count = 0; count < 500; count++) runs.put({ ...run, title: `title ${count}` });
    await until("the change is reported", () => events > 0);
    ok(events < 10, `${events} events`);
  });

  it("knows permission requests of an agent, and that they were answered", async () => {
    const { server, runs } = await environment.open();
    await runs.loaded();
    const requested: string[] = [];
    runs.onDidRequestPermission(run => requested.push(run.id));
    const { run } = await server.request("run/start", { provider: "scripted", prompt: "say before\nask execute\nsay after", attach: false });
    const waiting = await until("it waits", () => {
      const known = runs.get(run.id);
      return known?.permissions?.length === 1 && known;
    });
    ok(requested.includes(run.id));
    const [request] = waiting.permissions!;
    await server.request("run/answer", { runId: run.id, permissionId: request!.permissionId, optionId: "yes" });
    const ended = await until("it has ended", () => runs.get(run.id) && isFinal(runs.get(run.id)!) && runs.get(run.id));
    strictEqual((ended as { state: string }).state, "succeeded");
    deepStrictEqual(runs.get(run.id)?.permissions ?? [], []);
  });
});
