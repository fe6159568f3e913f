import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { MAX_ENDED_SHOWN } from "../../src/runs/groups";
import { statusOf } from "../../src/views/status";
import { program } from "../lib/environment";
import { allow, ask, cancelAll, closeAll, extension, final, folder, inState, node, rows, start, until, waiting } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("runs", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(async () => {
    await closeAll();
    await cancelAll(api);
  });

  it("are started from a template in the settings, by name", async () => {
    await vscode.workspace.getConfiguration("loomd").update("templates", [{ name: "Greet", provider: "command", command: "echo hello", tty: false }], vscode.ConfigurationTarget.Global);
    const started = (await execute("start", "Greet")) as { id: string };
    const ended = await final(api, started.id);
    deepStrictEqual([ended.title, ended.state, ended.cwd], ["Greet", "succeeded", folder()]);
    // A run that the user starts is shown.
    await until("its terminal is open", () => vscode.window.terminals.some(({ name }) => name === "Greet"));
    await vscode.workspace.getConfiguration("loomd").update("templates", undefined, vscode.ConfigurationTarget.Global);
  });

  it("from workspace templates cannot grant themselves permissions", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    await config.update("templates", [{ name: "Shared", provider: "scripted", prompt: "say hi", permissions: "bypass" }], vscode.ConfigurationTarget.Workspace);
    const started = (await execute("start", "Shared")) as { id: string };
    strictEqual(api.runs.get(started.id)!.params["permissions"], "ask");
    await config.update("templates", undefined, vscode.ConfigurationTarget.Workspace);
    await inState(api, started.id, "idle");
    await execute("cancel", node(started.id));
  });

  it("are started by asking an agent, with what is selected", async () => {
    const file = join(folder(), "asked.txt");
    writeFileSync(file, "one\ntwo\n");
    const editor = await vscode.window.showTextDocument(vscode.Uri.file(file));
    editor.selection = new vscode.Selection(0, 0, 1, 0);
    const started = (await execute("ask", { provider: "opencode", prompt: "hello" })) as { id: string };
    await inState(api, started.id, "idle");
    const { params } = api.runs.get(started.id)!;
    deepStrictEqual((params["prompt"] as { type: string }[]).map(({ type }) => type), ["text", "resource"]);
    deepStrictEqual([params["interactive"], params["permissions"], params["cwd"]], [true, "ask", folder()]);
    await until("it is shown", () => api.transcripts.isVisible(started.id));
    await execute("cancel", node(started.id));
  });

  it("are listed with those that need input first, then active ones, with requests below their run", async () => {
    const live = await start(api, { line: "sleep 1000", title: "long" });
    const asking = await ask(api, "ask execute", { title: "asker" });
    await waiting(api, asking.id);
    await until("the rows are in order", () => rows(api)[0]?.item.label === "asker" && rows(api)[1]?.item.label === "long");
    const [first, second] = rows(api);
    match(String(first!.item.description), /^needs input · \d+s · scripted$/);
    match(String(second!.item.description), /^running · \d+s$/);
    strictEqual(first!.item.collapsibleState, vscode.TreeItemCollapsibleState.Expanded);
    const [request] = rows(api, first!.node);
    strictEqual(request!.item.contextValue, "permission");
    strictEqual(request!.item.label, "touch it");
    match(request!.item.accessibilityInformation!.label, /asker requests permission to run a command: touch it/);
    match(first!.item.accessibilityInformation!.label, /asker, needs input/);
    match(second!.item.contextValue!, /\blive\b/);
    await until("the badge counts it", () => api.tree.view.badge?.value === 1 && /^1 needs input/.test(api.tree.view.badge.tooltip));
    await execute("deny", request!.node);
    await until("no run needs input", () => api.tree.view.badge?.value === 1 && /running$/.test(api.tree.view.badge.tooltip));
    await execute("cancel", node(live.id));
    strictEqual((await final(api, live.id)).state, "cancelled");
    await until("the badge is gone", () => api.tree.view.badge === undefined);
  });

  it("redraw one row when one run changes", async () => {
    const drawn: unknown[] = [];
    const listening = api.tree.onDidChangeTreeData(element => drawn.push(element));
    const one = await start(api, { line: "sleep 1000", title: "one" });
    // Changes by its start, and by the tests before this one, may still arrive, so it is tried again.
    let names = 0;
    await until("a new name redraws its row and nothing else", async () => {
      drawn.length = 0;
      await execute("rename", node(one.id), `name ${names++}`);
      await until("the row has the name", () => drawn.length > 0);
      return drawn.every(element => (element as { id?: string } | undefined)?.id === one.id);
    });
    listening.dispose();
    await execute("cancel", node(one.id));
  });

  it("are denied by command, the one that has waited longest first", async () => {
    const first = await ask(api, "ask execute");
    await waiting(api, first.id);
    const denied = await ask(api, "ask execute");
    await waiting(api, denied.id);
    await execute("deny");
    await final(api, first.id);
    ok(api.runs.get(denied.id)!.permissions!.length === 1, "only one was answered");
    await execute("deny", node(denied.id));
    await final(api, denied.id);
    const log = (await api.server.request("run/read", { runId: denied.id, kinds: ["update"] })).entries.map(entry => JSON.stringify(entry)).join("");
    match(log, /chosen: no/);
  });

  it("open their request from a row, which answers nothing", async () => {
    const asking = await ask(api, "ask execute", { title: "opens" });
    await waiting(api, asking.id);
    const row = rows(api, rows(api)[0]!.node)[0]!;
    strictEqual(row.item.command!.command, "loomd.review");
    await execute("review", ...row.item.command!.arguments!);
    await until("its transcript is open", () => api.transcripts.isVisible(asking.id));
    strictEqual((await api.server.request("run/get", { runId: asking.id })).run.state, "awaitingPermission");
    // No command and no button of a row allows anything.
    const { commands, menus } = vscode.extensions.getExtension("loomd.loomd")!.packageJSON.contributes as { commands: { command: string }[]; menus: Record<string, { command: string; when: string; group?: string }[]> };
    ok(!commands.some(({ command }) => command === "loomd.allow"));
    deepStrictEqual(menus["view/item/context"]!.filter(({ when, group }) => when.includes("permission") && group?.startsWith("inline")), []);
    await execute("cancel", node(asking.id));
  });

  it("are answered by a rule that Always Allow… added, in loomd itself", async () => {
    const asking = await ask(api, "ask execute");
    await waiting(api, asking.id);
    await execute("always", node(asking.id), { decision: "allow", provider: "scripted", toolKind: "execute", command: "touch it", cwd: folder() });
    strictEqual((await final(api, asking.id)).state, "succeeded");
    const { rules } = await api.server.request("rule/list", {});
    deepStrictEqual(rules.map(({ decision, command }) => [decision, command]), [["allow", "touch it"]]);
    strictEqual(vscode.workspace.getConfiguration("loomd").inspect("rules")!.globalValue, undefined);
    await api.server.request("rule/remove", { ruleId: rules[0]!.id });
    const next = await ask(api, "ask execute");
    await waiting(api, next.id);
    await execute("cancel", node(next.id));
  });

  it("are not answered by rules in the settings, which earlier versions applied", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    await config.update("rules", [{ answer: "allow", kind: "execute", command: "touch it" }], vscode.ConfigurationTarget.Global);
    const asking = await ask(api, "ask execute");
    await waiting(api, asking.id);
    const after = await start(api, { line: "true" });
    await final(api, after.id);
    strictEqual((await api.server.request("run/get", { runId: asking.id })).run.state, "awaitingPermission");
    await config.update("rules", undefined, vscode.ConfigurationTarget.Global);
    await execute("cancel", node(asking.id));
  });

  it("are run again with what they were started with", async () => {
    const once = await start(api, { line: "echo again; exit 4", title: "twice", tty: true });
    await final(api, once.id);
    const again = (await execute("rerun", node(once.id))) as { id: string };
    const ended = await final(api, again.id);
    deepStrictEqual([ended.title, ended.exitCode, ended.command, ended.params["tty"]], ["twice", 4, once.command, true]);
  });

  it("are renamed, pinned, copied and deleted", async () => {
    const one = await start(api, { line: "true" });
    await final(api, one.id);
    await execute("rename", node(one.id), "a better name");
    strictEqual(api.runs.get(one.id)!.title, "a better name");
    await execute("pin", node(one.id));
    ok(api.runs.get(one.id)!.pinned);
    await execute("unpin", node(one.id));
    await execute("copyId", node(one.id));
    strictEqual(await vscode.env.clipboard.readText(), one.id);
    await execute("delete", node(one.id), "sure");
    strictEqual(api.runs.get(one.id), undefined);
    await rejects(api.server.request("run/get", { runId: one.id }), { kind: "runNotFound" });
  });

  it("are picked from a list when a command has no run", async () => {
    const newest = await start(api, { line: "sleep 1000", title: "the newest" });
    await until("it is listed first", () => rows(api)[0]?.item.label === "the newest");
    await vscode.env.clipboard.writeText("");
    const copying = execute("copyId");
    // Accepts the first row, repeatedly until the picker is open.
    await until("the first one is taken", async () => {
      await vscode.commands.executeCommand("workbench.action.acceptSelectedQuickOpenItem");
      return (await vscode.env.clipboard.readText()) === newest.id;
    });
    await copying;
  });

  it("that are idle say since when, and are ended all at once", async () => {
    const [one, two] = [await ask(api, "say one", { interactive: true, title: "idle one" }), await ask(api, "say two", { interactive: true, title: "idle two" })];
    for (const { id } of [one, two]) await inState(api, id, "idle");
    const asking = await ask(api, "ask execute", { title: "asks" });
    await waiting(api, asking.id);
    await until("the row says since when", () => /^idle for \d+s · scripted$/.test(String(api.tree.getTreeItem(node(one.id)).description)));
    await execute("endIdle", undefined, "sure");
    for (const { id } of [one, two]) strictEqual(api.runs.get(id)!.state, "cancelled");
    strictEqual(api.runs.get(asking.id)!.state, "awaitingPermission");
    await execute("cancel", node(asking.id));
  });

  it("of an agent can change model and permission mode", async () => {
    const talk = await start(api, { provider: "opencode", prompt: "hello", interactive: true });
    await inState(api, talk.id, "idle");
    await execute("configure", node(talk.id), { model: "large" });
    await execute("configure", node(talk.id), { permissions: "readOnly" });
    await api.server.request("run/send", { runId: talk.id, prompt: "again" });
    const transcript = async () => (await api.server.request("run/read", { runId: talk.id, kinds: ["update"] })).entries.map(entry => (entry.kind === "update" ? ((entry.update as { content?: { text?: string } }).content?.text ?? "") : "")).join("");
    await until("the other model has answered", async () => (await transcript()).includes("Echo: again (to the large model)"));
    await execute("cancel", node(talk.id));
  });

  it("from the command line are listed too, and old ones under Earlier", async () => {
    execFileSync(program(), ["run", "--title", "from a shell", "--", "true"], { stdio: "ignore" });
    const seen = await until("it is listed", () => [...api.runs.all()].find(({ title }) => title === "from a shell"));
    await final(api, seen.id);
    for (let count = 0; count < MAX_ENDED_SHOWN; count++) await final(api, (await start(api, { line: "true" })).id);
    const ended = [...api.runs.all()].filter(({ endedAt }) => endedAt).length;
    const earlier = await until("there are earlier ones", () => rows(api).find(({ node: { kind } }) => kind === "earlier"));
    strictEqual(earlier.item.collapsibleState, vscode.TreeItemCollapsibleState.Collapsed);
    strictEqual(rows(api, earlier.node).length, ended - MAX_ENDED_SHOWN);
    strictEqual(rows(api).filter(({ node: { kind } }) => kind === "run").length, MAX_ENDED_SHOWN);
  });

  it("have queued messages, which are edited or removed", async () => {
    const run = await ask(api, "wait", { interactive: true, title: "queues" });
    await inState(api, run.id, "running");
    for (const text of ["first", "second"]) await api.server.request("run/send", { runId: run.id, prompt: text, mode: "queue" });
    const queued = async () => (await api.server.request("run/queue", { runId: run.id })).prompts.map(({ prompt }) => prompt[0]!["text"]);
    await until("both wait", async () => (await queued()).length === 2);
    await execute("queued", node(run.id), { index: 0, action: "remove" });
    deepStrictEqual(await queued(), ["second"]);
    await execute("queued", node(run.id), { index: 0, action: "edit" });
    deepStrictEqual(await queued(), []);
    await until("it is in the message box of the transcript", () => api.transcripts.isVisible(run.id));
    await execute("cancel", node(run.id));
  });

  it("are resumed from their session", async () => {
    const first = await ask(api, "say one");
    await final(api, first.id);
    const ended = await until("its session is stored", async () => {
      await api.runs.refresh(first.id);
      const known = api.runs.get(first.id)!;
      return known.session?.resumable && known;
    });
    match(rows(api).map(({ item }) => item.contextValue).join(" "), /resumable/);
    const next = (await execute("continue", node(ended.id), "say two")) as { id: string };
    const idle = await inState(api, next.id, "idle");
    deepStrictEqual([idle.parentRunId, idle.session?.id], [first.id, ended.session!.id]);
    await execute("cancel", node(next.id));
  });

  it("are counted by the status bar item, which opens the list", async () => {
    strictEqual(api.status.item.command, "loomd.runs.focus");
    await until("no run is active", () => statusOf(api).text === "$(check) loomd");
    const live = await start(api, { line: "sleep 1000" });
    await until("one runs", () => statusOf(api).text === "$(loading~spin) 1 running");
    const asking = await ask(api, "ask execute");
    await waiting(api, asking.id);
    await until("one needs input", () => api.status.item.text === "$(bell-dot) 1 needs input");
    strictEqual((api.status.item.backgroundColor as { id: string }).id, "statusBarItem.warningBackground");
    match(api.status.item.accessibilityInformation!.label, /1 needs input, 1 running/);
    await execute("cancel", node(live.id));
    await execute("cancel", node(asking.id));
  });

  it("are notified about once, as the setting says", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    const count = (from: number, text: string) => api.notifier.messages.slice(from).filter(message => message.includes(text)).length;
    for (const [notify, expected] of [["all", 2], ["waiting", 1], ["off", 0]] as const) {
      await config.update("notify", notify, vscode.ConfigurationTarget.Global);
      const from = api.notifier.messages.length;
      const asking = await ask(api, "ask execute", { title: `notify ${notify}` });
      await waiting(api, asking.id);
      await allow(api, asking.id);
      await final(api, asking.id);
      // The store reports changes in batches, in order: the end of another run comes after this one's.
      const after = await start(api, { line: "exit 1", title: "after" });
      await final(api, after.id);
      if (notify === "all") await until("the end is notified", () => count(from, "after") === 1);
      strictEqual(count(from, `notify ${notify}`), expected, api.notifier.messages.slice(from).join("\n"));
    }
    await config.update("notify", undefined, vscode.ConfigurationTarget.Global);
  });

  it("that change a file change it in the editor too", async () => {
    const file = join(folder(), "notes.txt");
    writeFileSync(file, "before\n");
    const document = await vscode.workspace.openTextDocument(file);
    await vscode.window.showTextDocument(document);
    const editing = await ask(api, `edit ${file} after`);
    await waiting(api, editing.id);
    await allow(api, editing.id);
    await final(api, editing.id);
    strictEqual(readFileSync(file, "utf8"), "after");
    await until("the editor shows it", () => document.getText() === "after");
  });

  it("show the changes of all files in one diff", async () => {
    const files = ["made.txt", "made-too.txt"].map(name => join(folder(), name));
    const editing = await ask(api, files.map(file => `edit ${file} words`).join("\n"));
    for (let answered = 0; answered < 2; answered++) {
      const { permissions } = await waiting(api, editing.id);
      await allow(api, editing.id);
      await until("that is answered", () => api.runs.get(editing.id)!.permissions?.[0]?.permissionId !== permissions![0]!.permissionId);
    }
    await final(api, editing.id);
    await execute("changes", node(editing.id));
    await until("the diff is open", () => vscode.window.tabGroups.all.flatMap(group => group.tabs).some(({ label }) => label.startsWith("Changes: ")));
    await until("both files are in it", () => files.every(file => vscode.workspace.textDocuments.some(({ uri }) => uri.fsPath === file)));
  });

  it("save their whole output to a file", async () => {
    const long = await start(api, { line: "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done" });
    await final(api, long.id);
    const target = vscode.Uri.file(join(folder(), "saved.log"));
    await execute("saveOutput", node(long.id), target);
    strictEqual(readFileSync(target.fsPath, "utf8"), Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join(""));
  });
});
