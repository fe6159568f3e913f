import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { KEPT_IN_SIGHT } from "../../src/runs/order";
import { statusOf } from "../../src/views/status";
import { program } from "../lib/world";
import { ask, cancelAll, closeAll, extension, final, folder, inState, node, rows, start, until, waiting } from "./world";

const run = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("runs", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(async () => {
    await closeAll();
    await cancelAll(api);
  });

  it("are started from a template in the settings, by name", async () => {
    await vscode.workspace.getConfiguration("loomd").update("templates", [{ name: "Greet", provider: "command", command: "echo hello", tty: false }], vscode.ConfigurationTarget.Global);
    const started = (await run("start", "Greet")) as { id: string };
    const ended = await final(api, started.id);
    deepStrictEqual([ended.title, ended.state, ended.cwd], ["Greet", "succeeded", folder()]);
    // What a person starts is shown.
    await until("its terminal is open", () => vscode.window.terminals.some(({ name }) => name === "Greet"));
    await vscode.workspace.getConfiguration("loomd").update("templates", undefined, vscode.ConfigurationTarget.Global);
  });

  it("of a workspace's templates cannot grant themselves permissions", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    await config.update("templates", [{ name: "Shared", provider: "scripted", prompt: "say hi", permissions: "bypass" }], vscode.ConfigurationTarget.Workspace);
    const started = (await run("start", "Shared")) as { id: string };
    strictEqual(api.runs.get(started.id)!.params["permissions"], "ask");
    await config.update("templates", undefined, vscode.ConfigurationTarget.Workspace);
    await inState(api, started.id, "idle");
    await run("cancel", node(started.id));
  });

  it("stand in the tree: who waits first, with its question below, then what runs", async () => {
    const live = await start(api, { line: "sleep 1000", title: "long" });
    const asking = await ask(api, "ask execute", { title: "asker" });
    await waiting(api, asking.id);
    await until("the rows are in order", () => rows(api)[0]?.item.label === "asker" && rows(api)[1]?.item.label === "long");
    const [first, second] = rows(api);
    match(String(first!.item.description), /^waiting for you · \d+ s$/);
    match(String(second!.item.description), /^running · \d+ s$/);
    strictEqual(first!.item.collapsibleState, vscode.TreeItemCollapsibleState.Expanded);
    const [question] = rows(api, first!.node);
    strictEqual(question!.item.contextValue, "question");
    strictEqual(question!.item.label, "touch it");
    match(question!.item.accessibilityInformation!.label, /asker asks: execute, touch it/);
    match(first!.item.accessibilityInformation!.label, /asker, waiting for you/);
    match(second!.item.contextValue!, /\blive\b/);
    await until("the badge counts it", () => api.tree.view.badge?.value === 1 && /^1 waiting/.test(api.tree.view.badge.tooltip));
    await run("deny", question!.node);
    await until("nobody waits", () => api.tree.view.badge?.value === 1 && /running$/.test(api.tree.view.badge.tooltip));
    await run("cancel", node(live.id));
    strictEqual((await final(api, live.id)).state, "cancelled");
    await until("no badge is left", () => api.tree.view.badge === undefined);
  });

  it("draw one row anew when one run changes", async () => {
    const drawn: unknown[] = [];
    let last = Date.now();
    const listening = api.tree.onDidChangeTreeData(element => (drawn.push(element), (last = Date.now())));
    const one = await start(api, { line: "sleep 1000", title: "one" });
    // Its start, and what the tests before this one have left, is told in batches.
    await until("the tree stands still", () => drawn.includes(undefined) && Date.now() - last > 500);
    drawn.length = 0;
    await run("rename", node(one.id), "two");
    await until("the row has the name", () => drawn.length > 0);
    listening.dispose();
    ok(drawn.every(element => element !== undefined), "the whole tree was drawn anew");
    await run("cancel", node(one.id));
  });

  it("are allowed and denied, the one that waits longest first", async () => {
    const allowed = await ask(api, "ask execute");
    await waiting(api, allowed.id);
    const denied = await ask(api, "ask execute");
    await waiting(api, denied.id);
    await run("allow");
    strictEqual((await final(api, allowed.id)).state, "succeeded");
    ok(api.runs.get(denied.id)!.permissions!.length === 1, "only one was answered");
    await run("deny", node(denied.id));
    await final(api, denied.id);
    const said = (await api.server.request("run/read", { runId: denied.id, kinds: ["update"] })).entries.map(entry => JSON.stringify(entry)).join("");
    match(said, /chosen: no/);
  });

  it("still wait when the question is closed without a choice", async () => {
    const asking = await ask(api, "ask execute");
    await waiting(api, asking.id);
    const review = run("review", node(asking.id));
    await until("the question is gone from the screen", async () => {
      await vscode.commands.executeCommand("workbench.action.closeQuickOpen");
      return Promise.race([Promise.resolve(review).then(() => true), new Promise<false>(resolve => setTimeout(() => resolve(false), 50))]);
    });
    strictEqual((await api.server.request("run/get", { runId: asking.id })).run.state, "awaitingPermission");
    await run("cancel", node(asking.id));
  });

  it("are answered by a rule, which stands in the user's settings", async () => {
    const asking = await ask(api, "ask execute");
    await waiting(api, asking.id);
    await run("always", node(asking.id), { answer: "allow", provider: "scripted", kind: "execute", command: "touch it", cwd: folder() });
    strictEqual((await final(api, asking.id)).state, "succeeded");
    const read = vscode.workspace.getConfiguration("loomd").inspect("rules")!;
    strictEqual((read.globalValue as unknown[]).length, 1);
    // The next one is not even asked.
    const next = await ask(api, "ask execute");
    strictEqual((await final(api, next.id)).state, "succeeded");
    // Another kind still is.
    const other = await ask(api, "ask fetch");
    await waiting(api, other.id);
    await run("cancel", node(other.id));
    await vscode.workspace.getConfiguration("loomd").update("rules", undefined, vscode.ConfigurationTarget.Global);
  });

  it("are run again with what they were started with", async () => {
    const once = await start(api, { line: "echo again; exit 4", title: "twice", tty: true });
    await final(api, once.id);
    const again = (await run("rerun", node(once.id))) as { id: string };
    const ended = await final(api, again.id);
    deepStrictEqual([ended.title, ended.exitCode, ended.command, ended.params["tty"]], ["twice", 4, once.command, true]);
  });

  it("are renamed, pinned, copied and deleted", async () => {
    const one = await start(api, { line: "true" });
    await final(api, one.id);
    await run("rename", node(one.id), "a better name");
    strictEqual(api.runs.get(one.id)!.title, "a better name");
    await run("pin", node(one.id));
    ok(api.runs.get(one.id)!.pinned);
    await run("unpin", node(one.id));
    await run("copyId", node(one.id));
    strictEqual(await vscode.env.clipboard.readText(), one.id);
    await run("delete", node(one.id), "sure");
    strictEqual(api.runs.get(one.id), undefined);
    await rejects(api.server.request("run/get", { runId: one.id }), { kind: "runNotFound" });
  });

  it("are picked from a list where a command is not told which", async () => {
    const newest = await start(api, { line: "sleep 1000", title: "the newest" });
    await until("it stands first", () => rows(api)[0]?.item.label === "the newest");
    await vscode.env.clipboard.writeText("");
    const copying = run("copyId");
    // Enter, as soon as the list is there to take it.
    await until("the first one is taken", async () => {
      await vscode.commands.executeCommand("workbench.action.acceptSelectedQuickOpenItem");
      return (await vscode.env.clipboard.readText()) === newest.id;
    });
    await copying;
  });

  it("of an agent get another model and other permissions", async () => {
    const talk = await start(api, { provider: "opencode", prompt: "hello", interactive: true });
    await inState(api, talk.id, "idle");
    await run("configure", node(talk.id), { model: "large" });
    await run("configure", node(talk.id), { permissions: "readOnly" });
    await api.server.request("run/send", { runId: talk.id, prompt: "again" });
    const said = async () => (await api.server.request("run/read", { runId: talk.id, kinds: ["update"] })).entries.map(entry => (entry.kind === "update" ? ((entry.update as { content?: { text?: string } }).content?.text ?? "") : "")).join("");
    await until("the other model has answered", async () => (await said()).includes("You said: again (to the large model)"));
    await run("cancel", node(talk.id));
  });

  it("of the command line appear as well, and old ones under Earlier", async () => {
    execFileSync(program(), ["run", "--title", "from a shell", "--", "true"], { stdio: "ignore" });
    const seen = await until("it is there", () => [...api.runs.all()].find(({ title }) => title === "from a shell"));
    await final(api, seen.id);
    for (let count = 0; count < KEPT_IN_SIGHT; count++) await final(api, (await start(api, { line: "true" })).id);
    const ended = [...api.runs.all()].filter(({ endedAt }) => endedAt).length;
    const earlier = await until("there are earlier ones", () => rows(api).find(({ node: { is } }) => is === "earlier"));
    strictEqual(earlier.item.collapsibleState, vscode.TreeItemCollapsibleState.Collapsed);
    strictEqual(rows(api, earlier.node).length, ended - KEPT_IN_SIGHT);
    strictEqual(rows(api).filter(({ node: { is } }) => is === "run").length, KEPT_IN_SIGHT);
  });

  it("go on from where their session ended", async () => {
    const first = await ask(api, "say one");
    await final(api, first.id);
    const ended = await until("its session is kept", async () => {
      await api.runs.refresh(first.id);
      const known = api.runs.get(first.id)!;
      return known.session?.resumable && known;
    });
    match(rows(api).map(({ item }) => item.contextValue).join(" "), /resumable/);
    const next = (await run("continue", node(ended.id), "say two")) as { id: string };
    const idle = await inState(api, next.id, "idle");
    deepStrictEqual([idle.parentRunId, idle.session?.id], [first.id, ended.session!.id]);
    await run("cancel", node(next.id));
  });

  it("are counted by the status item, whose click opens the list", async () => {
    strictEqual(api.status.item.command, "loomd.runs.focus");
    await until("nothing runs", () => statusOf(api).text === "$(check) loomd");
    const live = await start(api, { line: "sleep 1000" });
    await until("one runs", () => statusOf(api).text === "$(loading~spin) 1 running");
    const asking = await ask(api, "ask execute");
    await waiting(api, asking.id);
    await until("one waits", () => api.status.item.text === "$(bell-dot) 1 waiting");
    strictEqual((api.status.item.backgroundColor as { id: string }).id, "statusBarItem.warningBackground");
    match(api.status.item.accessibilityInformation!.label, /1 waiting for you, 1 running/);
    await run("cancel", node(live.id));
    await run("cancel", node(asking.id));
  });

  it("are told of once, as the setting says", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    const told = (from: number, text: string) => api.notifier.said.slice(from).filter(said => said.includes(text)).length;
    for (const [notify, expected] of [["all", 2], ["waiting", 1], ["off", 0]] as const) {
      await config.update("notify", notify, vscode.ConfigurationTarget.Global);
      const from = api.notifier.said.length;
      const asking = await ask(api, "ask execute", { title: `told ${notify}` });
      await waiting(api, asking.id);
      await run("allow", node(asking.id));
      await final(api, asking.id);
      // The store tells of changes in batches: another run's end is told after this one's.
      const after = await start(api, { line: "exit 1", title: "after" });
      await final(api, after.id);
      if (notify === "all") await until("the end is told", () => told(from, "after") === 1);
      strictEqual(told(from, `told ${notify}`), expected, api.notifier.said.slice(from).join("\n"));
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
    await run("allow", node(editing.id));
    await final(api, editing.id);
    strictEqual(readFileSync(file, "utf8"), "after");
    await until("the editor shows it", () => document.getText() === "after");
  });

  it("show the changes of all files in one diff", async () => {
    const files = ["made.txt", "made-too.txt"].map(name => join(folder(), name));
    const editing = await ask(api, files.map(file => `edit ${file} words`).join("\n"));
    for (let answered = 0; answered < 2; answered++) {
      const { permissions } = await waiting(api, editing.id);
      await run("allow", node(editing.id));
      await until("that is answered", () => api.runs.get(editing.id)!.permissions?.[0]?.permissionId !== permissions![0]!.permissionId);
    }
    await final(api, editing.id);
    await run("changes", node(editing.id));
    await until("the diff is open", () => vscode.window.tabGroups.all.flatMap(group => group.tabs).some(({ label }) => label.startsWith("Changes of")));
    await until("both files are in it", () => files.every(file => vscode.workspace.textDocuments.some(({ uri }) => uri.fsPath === file)));
  });

  it("hand their output to a file, whole", async () => {
    const long = await start(api, { line: "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done" });
    await final(api, long.id);
    const target = vscode.Uri.file(join(folder(), "saved.log"));
    await run("saveOutput", node(long.id), target);
    strictEqual(readFileSync(target.fsPath, "utf8"), Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join(""));
  });
});
