import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import * as vscode from "vscode";
import { deleteRuns, endRuns, exportRuns } from "../../src/commands/several";
import type { Api } from "../../src/main";
import { MAX_ENDED_SHOWN } from "../../src/runs/groups";
import type { RunChanges } from "../../src/runs/store";
import { Unread } from "../../src/views/unread";
import { makeRun } from "../lib/runs";
import { ask, cancelAll, closeAll, extension, final, folder, inState, node, rows, start, until, waiting } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("the list of runs", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(async () => {
    await execute("clearFilter");
    await vscode.workspace.getConfiguration("loomd").update("groupBy", undefined, vscode.ConfigurationTarget.Global);
    await closeAll();
    await cancelAll(api);
  });

  const labels = (parent?: Parameters<typeof rows>[1]): unknown[] => rows(api, parent).map(({ item }) => item.label);

  it("is filtered by text, state, folder and agent, also what is under Earlier", async () => {
    const name = `needle ${Date.now()}`;
    for (let count = 0; count < MAX_ENDED_SHOWN + 2; count++) await final(api, (await start(api, { line: "exit 3", title: name })).id);
    await final(api, (await start(api, { line: "true", title: "hay" })).id);
    await execute("filter", { text: name.toUpperCase() });
    const names = (count: number) => Array.from({ length: count }, () => name);
    deepStrictEqual(labels(), [...names(MAX_ENDED_SHOWN), "Earlier"]);
    const earlier = rows(api).at(-1)!;
    deepStrictEqual([labels(earlier.node), earlier.item.collapsibleState], [names(2), vscode.TreeItemCollapsibleState.Expanded]);
    strictEqual(api.tree.view.message, `"${name.toUpperCase()}": ${MAX_ENDED_SHOWN + 2} runs`);
    await execute("filter", { text: name, states: ["succeeded"] });
    deepStrictEqual(labels(), []);
    await execute("filter", { text: name, states: ["failed"], folders: [folder()], providers: ["command"] });
    strictEqual(labels().length, MAX_ENDED_SHOWN + 1);
    // Commands still offer all runs.
    ok(Object.values(api.tree.groups()).flat().length > 6);
    await execute("clearFilter");
    ok(!api.tree.view.message);
  });

  it("is grouped by folder or day, with runs that need input first", async () => {
    const other = mkdtempSync(join(folder(), "other-"));
    await final(api, (await start(api, { line: "true", title: "here" })).id);
    await final(api, (await start(api, { line: "true", title: "there", cwd: other })).id);
    const asking = await ask(api, "ask execute", { title: "asks" });
    await waiting(api, asking.id);
    await execute("groupBy.folder");
    await until("there are groups", () => rows(api)[1]?.node.kind === "group");
    const [first, second, third] = rows(api);
    deepStrictEqual([first!.item.label, second!.item.label, second!.item.tooltip, third!.item.label], ["asks", basename(other), other, "app"]);
    deepStrictEqual(labels(second!.node), ["there"]);
    const [row] = api.tree.getChildren(second!.node);
    strictEqual(api.tree.getParent(row!), second!.node);
    await execute("groupBy.day");
    await until("there is a group for today", () => rows(api)[1]?.item.label === "Today");
    await execute("groupBy.state");
    await until("the groups are gone", () => !rows(api).some(({ node: { kind } }) => kind === "group"));
    await execute("cancel", node(asking.id));
  });

  it("ends, deletes and exports several selected runs", async () => {
    const runs = [await start(api, { line: "sleep 1000", title: "several one" }), await start(api, { line: "sleep 1000", title: "several two" })];
    const nodes = runs.map(({ id }) => node(id));
    await endRuns(api, nodes, "sure");
    for (const { id } of runs) strictEqual((await inState(api, id, "cancelled")).state, "cancelled");
    const target = join(folder(), "exported");
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target);
    await exportRuns(api, nodes, { format: "text", folder: vscode.Uri.file(target) });
    deepStrictEqual(readdirSync(target).sort(), runs.map(({ id }, at) => `several-${["one", "two"][at]}-${id.slice(-8)}.log`).sort());
    strictEqual(readFileSync(join(target, readdirSync(target)[0]!), "utf8"), "");
    await deleteRuns(api, nodes, "sure");
    for (const { id } of runs) strictEqual(api.runs.get(id), undefined);
  });

  it("marks what ended while the window was closed, in its folders", () => {
    const state = new Map<string, unknown>([["loomd.lookedAt", 1000]]);
    let change: (changes: RunChanges) => void = () => {};
    const services = { context: { workspaceState: { get: (key: string, otherwise: unknown) => state.get(key) ?? otherwise, update: async (key: string, value: unknown) => void state.set(key, value) } }, runs: { onDidChange: (listener: typeof change) => ((change = listener), { dispose() {} }) } };
    const unread = new Unread(services as never, () => false, () => {});
    const ended = (id: string, endedAt: number, cwd: string) => [id, { before: undefined, after: makeRun(id, "succeeded", { endedAt, cwd }) }] as const;
    change({ runs: new Map([ended("late", 2000, folder()), ended("before", 500, folder()), ended("elsewhere", 2000, "/somewhere")]) });
    deepStrictEqual(["late", "before", "elsewhere"].filter(id => unread.has(id)), ["late"]);
    ok((state.get("loomd.lookedAt") as number) > 2000);
    unread.dispose();
  });

  it("marks what ended or finished responding until it is opened, and shows the agent of a run", async () => {
    const run = await ask(api, "say hi", { title: "unread one", interactive: true });
    await inState(api, run.id, "idle");
    await until("it is unread", () => api.unread.has(run.id));
    const item = api.tree.getTreeItem(node(run.id));
    match(item.contextValue!, /\bunread\b/);
    match(item.accessibilityInformation!.label, /^unread one, unread, idle/);
    match(String(item.description), / · scripted$/);
    ok(api.unread.provideFileDecoration(item.resourceUri!));
    await execute("open", node(run.id));
    await until("it is read", () => !api.unread.has(run.id));
    strictEqual(api.unread.provideFileDecoration(item.resourceUri!), undefined);
    await execute("markUnread", node(run.id));
    ok(api.unread.has(run.id));
    await execute("markAllRead");
    ok(!api.unread.has(run.id));
    // The user who ends a run knows.
    await execute("cancel", node(run.id));
    await final(api, run.id);
    ok(!api.unread.has(run.id));
  });
});
