import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Failure } from "../../src/server/failure";
import { locate } from "../../src/server/locate";
import { Restarts, RESTARTS, WINDOW_MS } from "../../src/server/restarts";
import { Server } from "../../src/server/server";
import { alive, FAKE, program, shell, until, World } from "../lib/world";

describe("the server", () => {
  let world: World;
  beforeEach(() => (world = new World()));
  afterEach(() => world.close());

  const fake = (how: string) => world.open(async () => ({ program: process.execPath, args: [FAKE, how], client: { name: "test", version: "0" } }));
  const pidOf = (server: Server) => (server.state.is === "running" ? server.state.connection.pid! : undefined);

  it("introduces itself and says where its store is", async () => {
    const { server } = await world.open();
    strictEqual(server.state.is, "running");
    strictEqual(server.hello!.serverInfo.name, "loomd");
    ok(server.hello!.storePath.startsWith(world.data));
    ok(server.can("run/start") && !server.can("run/knit"));
  });

  it("asks for output in batches of 40 ms", async () => {
    const { server } = await world.open();
    strictEqual(server.hello!.capabilities.output.minIntervalMs, 40);
  });

  it("is started again when it is killed, and goes on with the runs", async () => {
    const { server, runs } = await world.open();
    const { run } = await server.request("run/start", shell("sleep 1000"));
    const first = pidOf(server)!;
    process.kill(first, "SIGKILL");
    await until("another one runs", () => pidOf(server) !== undefined && pidOf(server) !== first);
    await runs.loaded();
    strictEqual((await server.request("run/get", { runId: run.id })).run.state, "running");
    strictEqual(runs.get(run.id)?.state, "running");
  });

  it("fails what was asked when it dies, with words", async () => {
    const { server } = await fake("mute");
    const answer = server.request("run/list", {});
    process.kill(pidOf(server)!, "SIGKILL");
    await rejects(answer, (failure: Failure) => failure.kind === "gone" && /was killed by SIGKILL before it answered/.test(failure.message));
  });

  it("gives up after four restarts, and takes one more when a person asks", async () => {
    let starts = 0;
    const { server } = await world.open(async () => (starts++, { program: process.execPath, args: [FAKE, "crash"], client: { name: "test", version: "0" } }));
    await until("it is down", () => server.state.is === "down");
    strictEqual(starts, 1 + RESTARTS);
    await rejects(server.request("run/list", {}), /restarted too often/);
    await server.start();
    ok(starts > 1 + RESTARTS);
  });

  it("takes a pipe that nobody reads for the end of the server, and says so in words", async () => {
    const { server } = await fake("deaf");
    await until("it is down", () => server.state.is === "down");
    match((server.state as { failure: Failure }).failure.message, /was killed by SIGKILL\. It has been restarted too often/);
  });

  it("counts a server that ends before it answers as a crash", async () => {
    const { server } = await fake("early");
    await until("it is down", () => server.state.is === "down");
    match((server.state as { failure: Failure }).failure.message, /code 7/);
  });

  it("says once that the versions differ, and does not try again", async () => {
    const { server } = await fake("version");
    strictEqual(server.state.is, "down");
    deepStrictEqual(world.lines, ["loomd 9.9.9 speaks version 99 of its protocol, this extension version 1. Update the extension."]);
  });

  it("shows what the configuration has wrong, and does not try again", async () => {
    const { server } = await fake("config");
    strictEqual(server.state.is, "down");
    deepStrictEqual(world.lines, ["config.toml, line 3: unknown key `colour`."]);
  });

  it("is gone after a stop, while its runs go on", async () => {
    const { server } = await world.open();
    const { run } = await server.request("run/start", shell("sleep 1000"));
    const pid = pidOf(server)!;
    await server.stop();
    ok(!alive(pid), "the server is left");
    ok(alive(run.pid!), "the run has ended");
    await rejects(server.request("run/list", {}), /was stopped/);
  });

  it("ends when its stdin does", async () => {
    const { server, runs } = await world.open();
    await runs.loaded();
    const connection = server.state.is === "running" ? server.state.connection : undefined;
    // What the system does when the window's process is killed.
    (connection as unknown as { child: { stdin: { end(): void } } }).child.stdin.end();
    match(await connection!.ended, /ended with code 0/);
  });

  it("is not started twice by two starts at once", async () => {
    const { server } = await world.open();
    await Promise.all([server.start(), server.start()]);
    strictEqual(world.lines.filter(line => line.startsWith("connected")).length, 1);
  });
});

describe("the restart policy", () => {
  it("allows four restarts in three minutes", () => {
    let now = 0;
    const restarts = new Restarts(() => now);
    for (let count = 0; count < RESTARTS; count++) ok(restarts.allow());
    ok(!restarts.allow());
    now = WINDOW_MS - 1;
    ok(!restarts.allow());
    now = WINDOW_MS;
    ok(restarts.allow());
  });
});

describe("finding the program", () => {
  let world: World;
  beforeEach(() => (world = new World()));
  afterEach(() => world.close());

  it("takes the setting, then the extension's own, then PATH", async () => {
    mkdirSync(join(world.folder, "bin"));
    const set = world.script("set", "");
    const bundled = world.script("bin/loomd", "");
    mkdirSync(join(world.folder, "path"));
    const onPath = world.script("path/loomd", "");
    const places = { extension: world.folder, path: `relative:${join(world.folder, "path")}`, windows: false };
    deepStrictEqual(await locate({ ...places, setting: set }), { program: set, from: "setting" });
    deepStrictEqual(await locate({ ...places, setting: "" }), { program: bundled, from: "extension" });
    deepStrictEqual(await locate({ ...places, extension: "/nowhere", setting: "" }), { program: onPath, from: "path" });
  });

  it("says what is missing, and never looks in the workspace", async () => {
    await rejects(locate({ setting: "", extension: "/nowhere", path: "." }), /not on PATH/);
    await rejects(locate({ setting: "./loomd", extension: "/nowhere", path: "" }), /absolute path/);
    await rejects(locate({ setting: "/nowhere/loomd", extension: "/nowhere", path: "" }), /not a program/);
  });

  it("says so when the program cannot be executed", async () => {
    const broken = world.script("broken", "#!/nowhere/interpreter\n");
    const { server } = await world.open(async () => ({ program: broken, args: [], client: { name: "test", version: "0" } }));
    strictEqual(server.state.is, "down");
    match((server.state as { failure: Failure }).failure.message, /cannot be started/);
    ok(program());
  });
});
