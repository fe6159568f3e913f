import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import type { Run, StartParams } from "../../src/protocol";
import { findFileLinks, FileLinkProvider } from "../../src/views/links";
import { OPENCODE, SCRIPTED, TestHosts } from "../lib/environment";
import { cancelAll, closeAll, extension, final, inState, node, rows, start, until, waiting } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("hosts in the editor", () => {
  let api: Api;
  let work: string;
  let there: TestHosts;
  const set = (names: unknown) => vscode.workspace.getConfiguration("loomd").update("hosts", names, vscode.ConfigurationTarget.Global);
  const onHost = async (params: Partial<StartParams>): Promise<Run> => {
    const { run } = await api.hosts.of("build").request("run/start", { provider: "command", attach: false, ...params });
    api.runs.put(run);
    return run;
  };
  const agent = (prompt: string) => onHost({ provider: "acp", command: ["python3", SCRIPTED, "--keep", join(work, "sessions")], prompt, interactive: true });
  const hostRow = (name: string) => rows(api).find(({ node: row }) => row.kind === "host" && row.name === name);

  before(async () => {
    api = await extension();
    work = mkdtempSync(join(tmpdir(), "loomd-hosts-"));
    there = new TestHosts(work);
    there.add("build");
    there.add("Gone", { gone: "ssh: connect to host gone port 22: Connection refused\n" });
  });
  afterEach(async () => {
    await closeAll();
    await cancelAll(api);
  });
  after(async () => {
    await set(undefined);
    await until("there are no hosts", () => api.hosts.names.length === 0);
    await there.close();
    rmSync(work, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  });

  it("are none by default: no row, and nothing is connected", () => {
    deepStrictEqual(api.hosts.names, []);
    ok(!rows(api).some(({ node: { kind } }) => kind === "host"));
    deepStrictEqual(there.calls(), []);
  });

  it("are groups below the runs of this computer; one that is not there says why and connects again", async () => {
    await set(["build", "Gone"]);
    await until("one is there", () => api.hosts.get("build")?.state.kind === "running");
    await until("the other is not", () => api.hosts.get("Gone")?.state.kind === "down");
    const here = await start(api, { line: "sleep 1000", title: "here" });
    const run = await onHost({ command: ["sleep", "1000"], title: "far away" });
    const all = await until("both are listed", () => {
      const found = rows(api);
      return found.some(({ item }) => item.label === "here") && rows(api, { kind: "host", name: "build" }).length > 0 && found;
    });
    deepStrictEqual(all.slice(-2).map(({ item }) => item.label), ["build", "Gone"]);
    const [build, gone] = all.slice(-2);
    deepStrictEqual(rows(api, build!.node).map(({ item }) => item.label), ["far away"]);
    strictEqual(api.tree.getParent(node(run.id) as never), build!.node);
    match(String((rows(api, build!.node)[0]!.item.tooltip as vscode.MarkdownString).value), /Host: build/);
    strictEqual(gone!.item.description, "not connected: ssh: connect to host gone port 22: Connection refused");
    strictEqual(gone!.item.contextValue, "host down");
    strictEqual(gone!.item.command?.command, "loomd.connectHost");
    rmSync(join(there.folder, "Gone/gone"));
    await execute("connectHost", gone!.node);
    await until("it is there", () => hostRow("Gone")?.item.contextValue === "host");
    strictEqual(hostRow("Gone")!.item.description, "0");
    await execute("filter", { text: "far away" });
    deepStrictEqual(rows(api).map(({ item }) => item.label), ["build"]);
    await execute("clearFilter");
    await execute("copyId", node(run.id));
    strictEqual(await vscode.env.clipboard.readText(), run.id);
    ok(run.id.startsWith("build/") && !here.id.includes("/"));
  });

  it("have their notifications, requests and rules named by the host", async () => {
    const shown = api.notifier.messages.length;
    const run = await agent("ask execute");
    api.startedHere.add(run.id);
    await waiting(api, run.id);
    await execute("open", node(run.id));
    const [request] = await until("its row is there", () => api.tree.getChildren(node(run.id)));
    strictEqual((request as { id: string }).id, run.id);
    await until("its panel is there", () => vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs).some(({ label }) => label.startsWith("build: ")));
    const messages = api.notifier.messages.slice(shown);
    ok(messages.every(text => text.startsWith("build: ")), messages.join("\n"));
    await execute("always", request, { decision: "allow", provider: "acp", toolKind: "execute", command: "touch it", cwd: run.cwd });
    await inState(api, run.id, "idle");
    strictEqual((await api.server.request("rule/list", {})).rules.length, 0);
    const { rules } = await api.hosts.of("build").request("rule/list", {});
    strictEqual(rules.length, 1);
    await api.hosts.of("build").request("rule/remove", { ruleId: rules[0]!.id });
  });

  it("have files that are not opened or changed here, and exports that are written here", async () => {
    // A file of the same path here is another one.
    const output = await onHost({ command: ["sh", "-c", `echo ${there.folder}/ssh.log:1:1; echo exported`], title: "prints a path" });
    await final(api, output.id);
    strictEqual((await findFileLinks(`${there.folder}/ssh.log:1:1`, work)).length, 1);
    const links = new FileLinkProvider(() => api.runs.get(output.id));
    strictEqual((await links.provideTerminalLinks({ line: `${there.folder}/ssh.log:1:1`, terminal: undefined as never })).length, 0);
    const target = vscode.Uri.file(join(work, "exported.log"));
    await execute("export", node(output.id), { format: "text", target });
    match(readFileSync(target.fsPath, "utf8"), /exported/);
    const run = await agent("say done");
    await inState(api, run.id, "idle");
    await execute("undoTurn", node(run.id), { turn: 1, confirmation: "sure" });
    await execute("reviewChanges", node(run.id));
    strictEqual(api.reviews.run, undefined);
  });

  it("are continued in a terminal by ssh", async () => {
    const run = await onHost({ provider: "acp", command: [OPENCODE, "acp"], prompt: "Fix the parser.", interactive: true });
    await waiting(api, run.id);
    await execute("takeover", node(run.id), "resume");
    const { shellPath, shellArgs } = vscode.window.terminals.find(({ name }) => name.startsWith("build: "))!.creationOptions as vscode.TerminalOptions;
    strictEqual(shellPath, there.ssh);
    deepStrictEqual(shellArgs, ["-t", "--", "build", "loomd", "takeover", run.id.slice("build/".length), "--kind", "resume"]);
  });
});
