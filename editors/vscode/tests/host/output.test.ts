import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { KEPT, PORTION } from "../../src/runs/pace";
import { linksIn, openAt } from "../../src/views/links";
import { OutputTerminal } from "../../src/views/output";
import { closeAll, extension, final, folder, node, start, until } from "./world";

/** A terminal's other side: what it was given to show. */
function look(api: Api, id: string) {
  const pty = new OutputTerminal(api, id, { rerun: run => (seen.again = run.id), closed: () => {} });
  const seen = { text: "", most: 0, again: "", pty };
  pty.onDidWrite(text => ((seen.text += text), (seen.most = Math.max(seen.most, text.length))));
  pty.open();
  return seen;
}

describe("output", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(closeAll);

  it("comes live, with its colours, and says how it ended", async () => {
    const gate = join(folder(), "gate-1");
    const run = await start(api, { line: `printf '\\033[32mgreen\\033[0m\\n'; while [ ! -e ${gate} ]; do sleep 0.05; done; echo done; exit 2` });
    const seen = look(api, run.id);
    await until("the first line is there", () => seen.text.includes("\x1b[32mgreen\x1b[0m\r\n"));
    ok(!seen.text.includes("done\r\n"));
    writeFileSync(gate, "");
    await until("the end is told", () => /failed with exit code 2/.test(seen.text));
    ok(seen.text.includes("done\r\n"));
    seen.pty.handleInput("r");
    strictEqual(seen.again, run.id);
    seen.pty.close();
  });

  it("cancels its run with Ctrl-C, and no other", async () => {
    const [one, other] = [await start(api, { line: "sleep 1000" }), await start(api, { line: "sleep 1000" })];
    const seen = look(api, one.id);
    await until("it is open", () => seen.text !== "");
    seen.pty.handleInput("\x03");
    strictEqual((await final(api, one.id)).state, "cancelled");
    strictEqual((await api.server.request("run/get", { runId: other.id })).run.state, "running");
    await vscode.commands.executeCommand("loomd.cancel", node(other.id));
    seen.pty.close();
  });

  it("ends no run when it is closed", async () => {
    const run = await start(api, { line: "sleep 1000" });
    await vscode.commands.executeCommand("loomd.openOutput", node(run.id));
    await until("the terminal is there", () => vscode.window.terminals.length === 1);
    await closeAll();
    strictEqual((await api.server.request("run/get", { runId: run.id })).run.state, "running");
    await vscode.commands.executeCommand("loomd.cancel", node(run.id));
  });

  it("takes what is typed for a run that listens", async () => {
    const run = await start(api, { line: "while read word; do echo you said $word; done", interactive: true });
    const seen = look(api, run.id);
    await until("it is open", () => seen.text !== "");
    seen.pty.handleInput("hex\x7fllo\r");
    await until("it has answered", () => seen.text.includes("you said hello\r\n"));
    seen.pty.handleInput("\x04");
    strictEqual((await final(api, run.id)).state, "succeeded");
    seen.pty.close();
  });

  it("gives a program with a terminal its own Ctrl-C", async () => {
    const run = await start(api, { line: "trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.1; done", interactive: true, tty: true });
    const seen = look(api, run.id);
    await until("it is ready", () => seen.text.includes("ready"));
    seen.pty.handleInput("\x03");
    await until("it was caught", () => seen.text.includes("caught"));
    strictEqual((await final(api, run.id)).state, "succeeded");
    seen.pty.close();
  });

  it("of 100 MB is held to what can be read, with its end, while the editor answers", async () => {
    const gate = join(folder(), "gate-flood");
    const run = await start(api, { line: `yes 'a line of some forty characters, again.' | head -c 100000000; echo; while [ ! -e ${gate} ]; do sleep 0.05; done; echo the very end` });
    const seen = look(api, run.id);
    // The host goes on answering while it comes.
    await until("it flows", () => seen.text.length > KEPT / 2);
    for (let count = 0; count < 20; count++) await vscode.commands.executeCommand("setContext", "loomd.test", count);
    strictEqual((await api.server.request("run/get", { runId: run.id })).run.state, "running");
    writeFileSync(gate, "");
    await until("the end is told", () => /succeeded/.test(seen.text), 300_000);
    ok(seen.text.includes("the very end"));
    // How much of it is shown depends on how fast it came; what is left out is said.
    ok(seen.text.length >= 100_000_000 || /not shown here/.test(seen.text), "something is missing without a word");
    ok(seen.most <= PORTION + 200, `${seen.most} characters at once`);
    strictEqual((await api.server.request("run/text", { runId: run.id, lastLines: 1 })).totalBytes, 100_000_014);
    seen.pty.close();
    // Looked at later, only its end is fetched.
    const later = look(api, run.id);
    await until("the end is told again", () => /succeeded/.test(later.text));
    ok(later.text.includes("the very end") && later.text.length < 3 * KEPT, `${later.text.length}`);
    later.pty.close();
  });

  it("links places in files that are there", async () => {
    const file = join(folder(), "source.c");
    writeFileSync(file, "one\ntwo\nthree\n");
    const links = await linksIn("source.c:2:3: error; see missing.c:1 and " + file, folder());
    deepStrictEqual(links.map(link => [link.startIndex, link.length, link.file]), [[0, 12, file], [41, file.length, file]]);
    await openAt(file, 2, 3);
    deepStrictEqual([vscode.window.activeTextEditor!.document.uri.fsPath, vscode.window.activeTextEditor!.selection.active.line, vscode.window.activeTextEditor!.selection.active.character], [file, 1, 2]);
  });
});

describe("tasks", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(closeAll);

  it("of the type loomd end with their run's exit code, and problem matchers read them", async () => {
    writeFileSync(join(folder(), "wrong.c"), "x\n");
    const gate = join(folder(), "gate-task");
    // A task's terminal is there some time before VS Code reads its lines: what is wrong is said until it was heard, a minute long.
    const line = `i=0; while [ ! -e ${gate} ] && [ $i -lt 300 ]; do i=$((i+1)); echo wrong.c:1:1: error: it is wrong; echo other.c:1:1: error: so is this; sleep 0.2; done; exit 3`;
    writeTasks([{ type: "loomd", label: "compile", command: line, tty: false, problemMatcher: { owner: "test", fileLocation: ["relative", "${workspaceFolder}"], pattern: { regexp: "^(.*):(\\d+):(\\d+): error: (.*)$", file: 1, line: 2, column: 3, message: 4 } } }]);
    const task = await until("the task is known", async () => (await vscode.tasks.fetchTasks({ type: "loomd" })).find(({ name }) => name === "compile"));
    const code = new Promise<number | undefined>(resolve => vscode.tasks.onDidEndTaskProcess(({ execution, exitCode }) => execution.task.name === "compile" && resolve(exitCode)));
    await vscode.tasks.executeTask(task);
    const problems = await until("the problem is found", () => {
      const found = vscode.languages.getDiagnostics(vscode.Uri.file(join(folder(), "wrong.c")));
      return found.length > 0 && found;
    });
    writeFileSync(gate, "");
    strictEqual(await code, 3);
    strictEqual(problems[0]!.message, "it is wrong");
    ok([...api.runs.all()].some(({ title, exitCode }) => title === "compile" && exitCode === 3));
  });

  it("that are terminated cancel their run", async () => {
    writeTasks([{ type: "loomd", label: "endless", command: "sleep 1000", problemMatcher: [] }]);
    const task = await until("the task is known", async () => (await vscode.tasks.fetchTasks({ type: "loomd" })).find(({ name }) => name === "endless"));
    const execution = await vscode.tasks.executeTask(task);
    const run = await until("it runs", () => [...api.runs.all()].find(({ title, state }) => title === "endless" && state === "running"));
    execution.terminate();
    strictEqual((await final(api, run.id)).state, "cancelled");
  });

  it("come from templates too", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    await config.update("templates", [{ name: "Check", provider: "command", command: "true" }], vscode.ConfigurationTarget.Global);
    await until("it is offered", async () => (await vscode.tasks.fetchTasks({ type: "loomd" })).some(({ name }) => name === "Check"));
    await config.update("templates", undefined, vscode.ConfigurationTarget.Global);
  });

  function writeTasks(tasks: unknown[]): void {
    const folderUri = join(folder(), ".vscode");
    mkdirSync(folderUri, { recursive: true });
    writeFileSync(join(folderUri, "tasks.json"), JSON.stringify({ version: "2.0.0", tasks }));
  }
});
