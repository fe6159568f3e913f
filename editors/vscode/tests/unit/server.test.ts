import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Failure } from "../../src/server/failure";
import { locate } from "../../src/server/locate";
import { RestartPolicy, MAX_RESTARTS, RESTART_WINDOW_MS } from "../../src/server/restarts";
import { Server } from "../../src/server/server";
import { alive, FAKE, program, shell, until, TestEnvironment } from "../lib/environment";

describe("the server", () => {
  let environment: TestEnvironment;
  beforeEach(() => (environment = new TestEnvironment()));
  afterEach(() => environment.close());

  const fake = (mode: string) => environment.open(async () => ({ program: process.execPath, args: [FAKE, mode], client: { name: "test", version: "0" } }));
  const pidOf = (server: Server) => (server.state.kind === "running" ? server.state.connection.pid! : undefined);

  it("reports its name and the path of its store", async () => {
    const { server } = await environment.open();
    strictEqual(server.state.kind, "running");
    strictEqual(server.handshake!.serverInfo.name, "loomd");
    ok(server.handshake!.storePath.startsWith(environment.data));
    ok(server.can("run/start") && !server.can("run/unknown"));
  });

  it("is asked for output in batches of 40 ms", async () => {
    const { server } = await environment.open();
    strictEqual(server.handshake!.capabilities.output.minIntervalMs, 40);
  });

  it("is restarted when it is killed, and has the same runs", async () => {
    const { server, runs } = await environment.open();
    const { run } = await server.request("run/start", shell("sleep 1000"));
    const first = pidOf(server)!;
    process.kill(first, "SIGKILL");
    await until("another one runs", () => pidOf(server) !== undefined && pidOf(server) !== first);
    await runs.loaded();
    strictEqual((await server.request("run/get", { runId: run.id })).run.state, "running");
    strictEqual(runs.get(run.id)?.state, "running");
  });

  it("rejects pending requests with a message when it exits", async () => {
    const { server } = await fake("silent");
    const answer = server.request("run/list", {});
    process.kill(pidOf(server)!, "SIGKILL");
    await rejects(answer, (failure: Failure) => failure.kind === "gone" && /was terminated by SIGKILL before it responded/.test(failure.message));
  });

  it("is not restarted after four restarts, until the user starts it", async () => {
    let starts = 0;
    const { server } = await environment.open(async () => (starts++, { program: process.execPath, args: [FAKE, "crash"], client: { name: "test", version: "0" } }));
    await until("it is down", () => server.state.kind === "down");
    strictEqual(starts, 1 + MAX_RESTARTS);
    await rejects(server.request("run/list", {}), /crashed 5 times in the last 3 minutes and will not be restarted/);
    await server.start();
    ok(starts > 1 + MAX_RESTARTS);
  });

  it("counts as crashed when it does not read its stdin anymore", async () => {
    const { server } = await fake("closed");
    await until("it is down", () => server.state.kind === "down");
    match((server.state as { failure: Failure }).failure.message, /was terminated by SIGKILL\. It crashed 5 times/);
  });

  it("counts as crashed when it exits before it responds", async () => {
    const { server } = await fake("early");
    await until("it is down", () => server.state.kind === "down");
    match((server.state as { failure: Failure }).failure.message, /exited with code 7/);
  });

  it("reports once that the versions differ, and is not restarted", async () => {
    const { server } = await fake("version");
    strictEqual(server.state.kind, "down");
    deepStrictEqual(environment.lines, ["loomd 9.9.9 is not compatible with this extension (protocol 99, expected 1). Update this extension."]);
  });

  it("reports an error of its configuration, and is not restarted", async () => {
    const { server } = await fake("config");
    strictEqual(server.state.kind, "down");
    deepStrictEqual(environment.lines, ["config.toml, line 3: unknown key `colour`."]);
  });

  it("exits after a stop, while its runs keep going", async () => {
    const { server } = await environment.open();
    const { run } = await server.request("run/start", shell("sleep 1000"));
    const pid = pidOf(server)!;
    await server.stop();
    ok(!alive(pid), "the server still runs");
    ok(alive(run.pid!), "the run has ended");
    await rejects(server.request("run/list", {}), /was stopped/);
  });

  it("exits when its stdin is closed", async () => {
    const { server, runs } = await environment.open();
    await runs.loaded();
    const connection = server.state.kind === "running" ? server.state.connection : undefined;
    // The system closes it when the window's process is killed.
    (connection as unknown as { child: { stdin: { end(): void } } }).child.stdin.end();
    match(await connection!.ended, /exited with code 0/);
  });

  it("is not started twice by two starts at once", async () => {
    const { server } = await environment.open();
    await Promise.all([server.start(), server.start()]);
    strictEqual(environment.lines.filter(line => line.startsWith("Connected")).length, 1);
  });
});

describe("the restart policy", () => {
  it("allows four restarts in three minutes", () => {
    let now = 0;
    const restarts = new RestartPolicy(() => now);
    for (let count = 0; count < MAX_RESTARTS; count++) ok(restarts.allow());
    ok(!restarts.allow());
    now = RESTART_WINDOW_MS - 1;
    ok(!restarts.allow());
    now = RESTART_WINDOW_MS;
    ok(restarts.allow());
  });
});

describe("locating the executable", () => {
  let environment: TestEnvironment;
  beforeEach(() => (environment = new TestEnvironment()));
  afterEach(() => environment.close());

  it("uses the setting, then the bundled one, then PATH", async () => {
    mkdirSync(join(environment.folder, "bin"));
    const configured = environment.writeScript("set", "");
    const bundled = environment.writeScript("bin/loomd", "");
    mkdirSync(join(environment.folder, "path"));
    const onPath = environment.writeScript("path/loomd", "");
    const options = { extension: environment.folder, path: `relative:${join(environment.folder, "path")}`, windows: false };
    deepStrictEqual(await locate({ ...options, setting: configured }), { program: configured, from: "setting" });
    deepStrictEqual(await locate({ ...options, setting: "" }), { program: bundled, from: "extension" });
    deepStrictEqual(await locate({ ...options, extension: "/nowhere", setting: "" }), { program: onPath, from: "path" });
  });

  it("reports what is missing, and ignores the workspace", async () => {
    await rejects(locate({ setting: "", extension: "/nowhere", path: "." }), /loomd not found/);
    await rejects(locate({ setting: "./loomd", extension: "/nowhere", path: "" }), /not an absolute path/);
    await rejects(locate({ setting: "/nowhere/loomd", extension: "/nowhere", path: "" }), /not an executable/);
  });

  it("reports a program that cannot be executed", async () => {
    const broken = environment.writeScript("broken", "#!/nowhere/interpreter\n");
    const { server } = await environment.open(async () => ({ program: broken, args: [], client: { name: "test", version: "0" } }));
    strictEqual(server.state.kind, "down");
    match((server.state as { failure: Failure }).failure.message, /Could not start/);
    ok(program());
  });
});
