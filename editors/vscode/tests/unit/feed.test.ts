import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { createHash } from "node:crypto";
import type { Entry, Kind } from "../../src/protocol";
import { isFinal } from "../../src/runs/words";
import { shell, until, World } from "../lib/world";

class Heard {
  entries: Entry[] = [];
  constructor(readonly kinds: Kind[], readonly afterSeq = 0) {}
  take = (entries: Entry[]) => void this.entries.push(...entries);
  text(): string {
    return this.entries.map(entry => (entry.kind === "output" ? entry.text : "")).join("");
  }
  ended(): boolean {
    return this.entries.some(entry => entry.kind === "state" && isFinal(entry));
  }
}

describe("following a run", () => {
  let world: World;
  beforeEach(() => (world = new World()));
  afterEach(() => world.close());

  const COUNT = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done";
  const COUNTED = Array.from({ length: 3000 }, (_, i) => `line ${i}\n`).join("");

  it("gives each byte once, whether stored or live", async () => {
    const { server, feeds } = await world.open();
    const { run } = await server.request("run/start", shell(COUNT));
    const early = new Heard(["output", "state"]);
    feeds.follow(run.id, early);
    await until("the run has ended", () => early.ended());
    strictEqual(early.text(), COUNTED);
    const late = new Heard(["output", "state"]);
    feeds.follow(run.id, late);
    await until("the second has heard the end", () => late.ended());
    strictEqual(late.text(), COUNTED);
  });

  it("lets several follow one run, each with the kinds it wants", async () => {
    const { server, feeds } = await world.open();
    const gate = `${world.folder}/gate`;
    const { run } = await server.request("run/start", shell(`echo one; while [ ! -e ${gate} ]; do sleep 0.05; done; echo two`));
    const [output, states] = [new Heard(["output", "state"]), new Heard(["update", "permission", "state"])];
    feeds.follow(run.id, output);
    await until("the first line is there", () => output.text() === "one\n");
    feeds.follow(run.id, states);
    const third = new Heard(["output", "state"]);
    const following = feeds.follow(run.id, third);
    await until("the third has it", () => third.text() === "one\n");
    following.dispose();
    world.script("gate", "");
    await until("both have heard the end", () => output.ended() && states.ended());
    strictEqual(output.text(), "one\ntwo\n");
    strictEqual(states.text(), "");
    strictEqual(third.text(), "one\n");
  });

  it("goes on without a gap or a repeat when the server is killed", async () => {
    const { server, feeds } = await world.open();
    const { run } = await server.request("run/start", shell(`i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.01; done`));
    const heard = new Heard(["output", "state"]);
    feeds.follow(run.id, heard);
    for (const mark of ["line 20\n", "line 100\n"]) {
      await until(`${mark} has come`, () => heard.text().includes(mark));
      if (server.state.is === "running") process.kill(server.state.connection.pid!, "SIGKILL");
    }
    await until("the run has ended", () => heard.ended());
    strictEqual(heard.text(), Array.from({ length: 200 }, (_, i) => `line ${i}\n`).join(""));
  });

  it("holds back what is stored until the follower has taken it", async () => {
    const { server, feeds } = await world.open();
    const { run } = await server.request("run/start", shell("head -c 6000000 /dev/zero | tr '\\0' 'x'"));
    await until("the run has ended", async () => isFinal((await server.request("run/get", { runId: run.id })).run));
    let open!: () => void;
    const gate = new Promise<void>(resolve => (open = resolve));
    let pages = 0;
    const hash = createHash("sha256");
    let bytes = 0;
    let ended = false;
    feeds.follow(run.id, {
      kinds: ["output", "state"],
      afterSeq: 0,
      take: entries => {
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

  it("tells a follower of a run that is not there", async () => {
    const { feeds } = await world.open();
    let said = "";
    feeds.follow("01900000-0000-7000-8000-000000000000", { kinds: ["output"], afterSeq: 0, take: () => {}, failed: failure => (said = failure.kind) });
    await until("it was told", () => said === "runNotFound");
  });
});

describe("the run store", () => {
  let world: World;
  beforeEach(() => (world = new World()));
  afterEach(() => world.close());

  it("knows a run's state as it happens, and its totals at the end", async () => {
    const { server, runs } = await world.open();
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
    const [first, second] = [await world.open(), await world.open()];
    await second.runs.loaded();
    const { run } = await first.server.request("run/start", shell("true"));
    await until("the other has seen it end", () => second.runs.get(run.id) && isFinal(second.runs.get(run.id)!));
    await first.server.request("run/edit", { runId: run.id, title: "named" });
    await until("the other has the name", () => second.runs.get(run.id)?.title === "named");
    await first.server.request("run/delete", { runId: run.id });
    await until("it is gone there", () => second.runs.get(run.id) === undefined);
  });

  it("gathers what changes at once into one telling", async () => {
    const { server, runs } = await world.open();
    await runs.loaded();
    let tellings = 0;
    runs.onDidChange(() => tellings++);
    const { run } = await server.request("run/start", shell("true"));
    for (let count = 0; count < 500; count++) runs.put({ ...run, title: `title ${count}` });
    await until("it was told", () => tellings > 0);
    ok(tellings < 10, `${tellings} tellings`);
  });

  it("hears of questions of an agent, and that they were answered", async () => {
    const { server, runs } = await world.open();
    await runs.loaded();
    const asked: string[] = [];
    runs.onDidAsk(run => asked.push(run.id));
    const { run } = await server.request("run/start", { provider: "scripted", prompt: "say before\nask execute\nsay after", attach: false });
    const waiting = await until("it waits", () => {
      const known = runs.get(run.id);
      return known?.permissions?.length === 1 && known;
    });
    ok(asked.includes(run.id));
    const [question] = waiting.permissions!;
    await server.request("run/answer", { runId: run.id, permissionId: question!.permissionId, optionId: "yes" });
    const ended = await until("it has ended", () => runs.get(run.id) && isFinal(runs.get(run.id)!) && runs.get(run.id));
    strictEqual((ended as { state: string }).state, "succeeded");
    deepStrictEqual(runs.get(run.id)?.permissions ?? [], []);
  });
});
