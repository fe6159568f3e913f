import { deepStrictEqual, match, notStrictEqual, ok, rejects, strictEqual, throws } from "node:assert";
import { rmSync } from "node:fs";
import { basename } from "node:path";
import type { Run } from "../../src/protocol";
import type { Failure } from "../../src/server/failure";
import { Hosts, readHosts, terminalCommand } from "../../src/server/hosts";
import { MAX_GREETING_BYTES } from "../../src/server/lines";
import { Reconnects } from "../../src/server/restarts";
import { bareId, hostOf } from "../../src/server/run-ids";
import { isFinal } from "../../src/runs/run";
import { search } from "../../src/runs/hits";
import { Feeds } from "../../src/runs/feed";
import { RunStore } from "../../src/runs/store";
import { Server } from "../../src/server/server";
import { Transcript } from "../../src/transcript/items";
import { refuseLinks } from "../../src/runs/rerun";
import { SCRIPTED, shell, TestHosts, until, TestEnvironment } from "../lib/environment";

describe("hosts", () => {
  let environment: TestEnvironment;
  let there: TestHosts;
  let hosts: Hosts | undefined;
  beforeEach(() => {
    environment = new TestEnvironment();
    there = new TestHosts(environment.folder);
  });
  afterEach(async () => {
    await there.close();
    await hosts?.stop();
    hosts = undefined;
    await environment.close();
  });

  /** Connects to hosts, with a store and feeds as the extension has them. */
  async function open(...names: string[]): Promise<{ server: Server; hosts: Hosts; runs: RunStore; feeds: Feeds }> {
    const server = new Server(async () => environment.launch(), line => environment.lines.push(line));
    environment.keep(server);
    hosts = new Hosts(server, { name: "test", version: "0" }, line => environment.lines.push(line), () => new Reconnects(20));
    const [runs, feeds] = [new RunStore(server, hosts), new Feeds(server, hosts)];
    hosts.set(names);
    hosts.start();
    await server.start();
    return { server, hosts, runs, feeds };
  }
  const inState = (name: string, kind: string) =>
    until(`${name} is ${kind}`, () => {
      const { state } = hosts!.of(name);
      return state.kind === kind && state;
    });
  const ready = (name: string) => inState(name, "running");
  const onHost = (name: string, line: string, more = {}) => hosts!.of(name).request("run/start", shell(line, more));
  const state = (runs: RunStore, { id }: Run, wanted: string) => until(`the run is ${wanted}`, () => runs.get(id)?.state === wanted && runs.get(id));

  it("have names that ssh takes for a host and never for an option; a bad one is one sentence", () => {
    const { names, problems } = readHosts(["build", "ann@build-2.example.org", "-oProxyCommand=x", "a b", "build:22", "a;b", "", 7, "build"]);
    deepStrictEqual(names, ["build", "ann@build-2.example.org"]);
    strictEqual(problems.length, 6);
    strictEqual(problems[0], 'loomd.hosts: "-oProxyCommand=x" is not a host\'s name: a letter or digit first, then letters, digits and . _ - @. The rest goes into ~/.ssh/config.');
  });

  it("are started by argv; their greeting is passed over; their runs are in the store beside those of this computer", async () => {
    there.add("build", { banner: 'Welcome to build\n{"jsonrpc": no frame}\nno line feed:' });
    const { server, runs } = await open("build");
    await ready("build");
    deepStrictEqual(there.calls(), ["-T -- build loomd"]);
    const here = (await server.request("run/start", shell("sleep 1000"))).run;
    const { run } = await onHost("build", "pwd; sleep 1000");
    strictEqual(hostOf(run.id), "build");
    strictEqual(basename(run.cwd), "build");
    await until("both are known", () => runs.get(here.id) && runs.get(run.id));
    // The server of this computer passes on what is about a run of a host.
    strictEqual((await server.request("run/get", { runId: run.id })).run.id, run.id);
    deepStrictEqual((await server.request("run/list", {})).runs.map(({ id }) => id), [here.id]);
    const found: string[] = [];
    await until("its output is found", async () => {
      await search([server, hosts!.of("build")], "hosts/build", { isCancellationRequested: false, onCancellationRequested: () => ({ dispose: () => {} }) }, hits => found.splice(0, found.length, ...hits.map(({ runId }) => runId)));
      return found.length > 0;
    });
    deepStrictEqual([...new Set(found)], [run.id]);
    await server.request("run/cancel", { runId: run.id, graceMs: 0 });
    await state(runs, run, "cancelled");
    await server.request("run/delete", { runId: run.id });
    await until("it is gone", () => runs.get(run.id) === undefined);
    strictEqual(runs.get(here.id)?.state, "running");
    await rejects(server.request("run/get", { runId: run.id }), (failure: Failure) => failure.kind === "runNotFound" && failure.data["runId"] === run.id);
  });

  it("have permission requests, follow-ups and transcripts; a resumed session stays there", async () => {
    there.add("build");
    const { server, runs, feeds } = await open("build");
    await ready("build");
    const command = ["python3", SCRIPTED, "--keep", `${environment.folder}/sessions`];
    const { run } = await hosts!.of("build").request("run/start", { provider: "acp", command, prompt: "ask execute", interactive: true, attach: false });
    const asking = await until("it asks", () => (runs.get(run.id)?.permissions ?? []).length > 0 && runs.get(run.id));
    const { permissionId, runId } = asking.permissions![0]!;
    strictEqual(runId, run.id);
    await server.request("run/answer", { runId, permissionId, optionId: "yes" }).catch(() => server.request("run/answer", { runId, permissionId, cancelled: true }));
    await state(runs, run, "idle");
    const { items, seq } = await server.request("run/items", { runId });
    const transcript = new Transcript();
    transcript.takePage(items, false);
    const following = feeds.followItems(runId, { afterSeq: seq, onChange: change => void transcript.takeChange(change) });
    await server.request("run/send", { runId, prompt: "say over there" });
    await until("the answer is there", () => transcript.all().some(number => JSON.stringify(transcript.get(number)).includes("over there")));
    await state(runs, run, "idle");
    following.dispose();
    await server.request("run/cancel", { runId, graceMs: 0 });
    const { run: next } = await server.request("run/start", { provider: "acp", command, prompt: "say again", interactive: true, attach: false, resume: { runId } });
    strictEqual(hostOf(next.id), "build");
    strictEqual(next.parentRunId, run.id);
  });

  it("that are not there say why in ssh's last line, once, and hold up nothing", async () => {
    there.add("gone", { gone: "Warning: added a key\nssh: connect to host gone port 22: Connection refused\n" });
    there.add("hang", { hang: "" });
    there.add("build");
    const { runs, server } = await open("gone", "hang", "build");
    await ready("build");
    const { run } = await onHost("build", "echo works");
    await state(runs, run, "succeeded");
    const { failure, retries } = (await inState("gone", "down")) as { failure: Failure; retries?: boolean };
    strictEqual(failure.message, "gone: ssh: connect to host gone port 22: Connection refused");
    strictEqual(retries, false);
    await rejects(server.request("run/get", { runId: "gone/0" }), /Connection refused/);
    await rejects(server.request("run/get", { runId: "unknown/0" }), /unknown is not in the setting loomd\.hosts/);
    strictEqual(hosts!.of("hang").state.kind, "starting");
    strictEqual(there.calls().filter(line => line.includes(" gone ")).length, 1);
    // Connect Again.
    rmSync(`${there.folder}/gone/gone`);
    await hosts!.of("gone").start();
    strictEqual(hosts!.of("gone").state.kind, "running");
    // The end of the window does not wait for one that hangs.
    const before = Date.now();
    await hosts!.stop();
    ok(Date.now() - before < 10_000);
  });

  it("that write much before an answer are given up with a sentence", async () => {
    there.add("loud", { banner: "x".repeat(MAX_GREETING_BYTES + 1) });
    await open("loud");
    match(((await inState("loud", "down")) as { failure: Failure }).failure.message, /^loud: it wrote too much that is no answer of loomd$/);
  });

  it("whose connection breaks are connected again, and followers go on without gap or repeat", async () => {
    there.add("build");
    const { runs, server, feeds } = await open("build");
    await ready("build");
    const { run } = await onHost("build", "n=1; while read word; do echo line $n; n=$((n+1)); done", { interactive: true });
    let text = "";
    const failures: Failure[] = [];
    feeds.followOutput(run.id, { afterSeq: 0, onEntries: entries => void (text += entries.map(entry => (entry.kind === "output" ? entry.text : "")).join("")), onFailure: failure => failures.push(failure) });
    let wanted = "";
    for (let line = 1; line <= 6; line++) {
      wanted += `line ${line}\n`;
      await server.request("run/send", { runId: run.id, text: "x\n" });
      await until(`line ${line} is there`, () => text === wanted || (text.length > wanted.length && Promise.reject(new Error(text))));
      if (line % 2 === 0) continue;
      const first = there.pid("build");
      process.kill(first, "SIGKILL");
      await until("the break is noticed", () => hosts!.of("build").state.kind !== "running");
      await ready("build");
      notStrictEqual(there.pid("build"), first);
    }
    strictEqual(text, wanted);
    deepStrictEqual(failures, []);
    strictEqual(runs.get(run.id)?.state, "running");
    // What ends while there is no connection is known after the next.
    there.write("build", "gone", "ssh: no route\n");
    process.kill(there.pid("build"), "SIGKILL");
    const { failure, retries } = (await until("two tries have failed", () => {
      const { state } = hosts!.of("build");
      return there.calls().length >= 6 && state.kind === "down" && state;
    })) as { failure: Failure; retries?: boolean };
    deepStrictEqual([failure.message, retries], ["build: ssh: no route", true]);
    there.loomd("build", "cancel", bareId(run.id));
    rmSync(`${there.folder}/build/gone`);
    await ready("build");
    await until("its end is known", () => isFinal(runs.get(run.id)!));
  });

  it("are connected again after pauses that grow, and not at all before the first time", () => {
    const never = new Reconnects();
    strictEqual(never.pause(undefined), undefined);
    const reconnects = new Reconnects();
    deepStrictEqual([5, undefined, undefined, undefined, undefined, undefined, undefined, undefined].map(stood => reconnects.pause(stood)), [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    // One that stood for a while begins anew.
    strictEqual(reconnects.pause(600_000), 1000);
    strictEqual(reconnects.pause(10), 2000);
  });

  it("of another version work; another protocol is one sentence", async () => {
    there.add("newer", { loomd: '#!/bin/sh\n"$LOOMD_BIN" | sed -u \'s/"name":"loomd","version":"[^"]*"/"name":"loomd","version":"0.9.7"/\'\n' });
    there.add("future", { loomd: '#!/bin/sh\nread line\necho \'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":2,"serverInfo":{"name":"loomd","version":"2.0.0"},"providers":[]}}\'\ncat >/dev/null\n' });
    const { runs } = await open("newer", "future");
    await ready("newer");
    strictEqual(hosts!.of("newer").handshake?.serverInfo.version, "0.9.7");
    await state(runs, (await onHost("newer", "echo works")).run, "succeeded");
    const { failure, retries } = (await inState("future", "down")) as { failure: Failure; retries?: boolean };
    deepStrictEqual([failure.message, retries], ["loomd 2.0.0 is not compatible with this extension (protocol 2, expected 1). Update this extension.", undefined]);
  });

  it("that are no longer set are disconnected, and their runs are gone", async () => {
    there.add("build");
    const { runs } = await open("build");
    await ready("build");
    const { run } = await onHost("build", "echo works");
    await state(runs, run, "succeeded");
    hosts!.set([]);
    await until("its runs are gone", () => runs.get(run.id) === undefined);
    deepStrictEqual(hosts!.names, []);
  });

  it("are continued in a terminal by argv, and get no links to files of this computer", () => {
    deepStrictEqual(terminalCommand("build/0199-1", "takeover", "--kind", "resume"), ["ssh", "-t", "--", "build", "loomd", "takeover", "0199-1", "--kind", "resume"]);
    const link = [{ type: "text", text: "x" }, { type: "resource_link", uri: "file:///a", name: "a" }];
    refuseLinks(undefined, link as never);
    refuseLinks("build", "x");
    throws(() => refuseLinks("build", link as never), /a is on this computer, and build can't read it/);
  });
});
