import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { MAX_BUFFERED_CHARS, MAX_CHUNK_CHARS } from "../../src/runs/output-buffer";
import { findFileLinks, openAt } from "../../src/views/links";
import { OutputTerminal } from "../../src/views/output";
import { closeAll, extension, final, folder, node, start, until } from "./extension";

/** Opens a run's output and records what is written to the terminal. */
function openOutput(api: Api, id: string) {
  const pty = new OutputTerminal(api, id, { rerun: run => (output.rerunId = run.id), closed: () => {} });
  const output = { text: "", longestWrite: 0, rerunId: "", pty };
  pty.onDidWrite(text => ((output.text += text), (output.longestWrite = Math.max(output.longestWrite, text.length))));
  pty.open();
  return output;
}

describe("output", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(closeAll);

  it("is live and in color, and ends with the run's result", async () => {
    const gate = join(folder(), "gate-1");
    const run = await start(api, { line: `printf '\\033[32mgreen\\033[0m\\n'; while [ ! -e ${gate} ]; do sleep 0.05; done; echo done; exit 2` });
    const output = openOutput(api, run.id);
    await until("the first line is there", () => output.text.includes("\x1b[32mgreen\x1b[0m\r\n"));
    ok(!output.text.includes("done\r\n"));
    writeFileSync(gate, "");
    await until("the footer is written", () => /Failed \(exit code 2\)/.test(output.text));
    ok(output.text.includes("done\r\n"));
    output.pty.handleInput("r");
    strictEqual(output.rerunId, run.id);
    output.pty.close();
  });

  it("ends its run, and no other, with Ctrl-C", async () => {
    const [one, other] = [await start(api, { line: "sleep 1000" }), await start(api, { line: "sleep 1000" })];
    const output = openOutput(api, one.id);
    await until("it is open", () => output.text !== "");
    output.pty.handleInput("\x03");
    strictEqual((await final(api, one.id)).state, "cancelled");
    strictEqual((await api.server.request("run/get", { runId: other.id })).run.state, "running");
    await vscode.commands.executeCommand("loomd.cancel", node(other.id));
    output.pty.close();
  });

  it("does not end the run when it is closed", async () => {
    const run = await start(api, { line: "sleep 1000" });
    await vscode.commands.executeCommand("loomd.openOutput", node(run.id));
    await until("the terminal is open", () => vscode.window.terminals.length === 1);
    await closeAll();
    strictEqual((await api.server.request("run/get", { runId: run.id })).run.state, "running");
    await vscode.commands.executeCommand("loomd.cancel", node(run.id));
  });

  it("sends input to an interactive run", async () => {
    const run = await start(api, { line: "while read word; do echo you said $word; done", interactive: true });
    const output = openOutput(api, run.id);
    await until("it is open", () => output.text !== "");
    output.pty.handleInput("hex\x7fllo\r");
    await until("it has answered", () => output.text.includes("you said hello\r\n"));
    output.pty.handleInput("\x04");
    strictEqual((await final(api, run.id)).state, "succeeded");
    output.pty.close();
  });

  it("passes Ctrl-C to a program in a pseudoterminal", async () => {
    const run = await start(api, { line: "trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.1; done", interactive: true, tty: true });
    const output = openOutput(api, run.id);
    // The command line, which is shown first, has these words too.
    await until("it is ready", () => output.text.includes("\nready\r\n"));
    output.pty.handleInput("\x03");
    await until("it was caught", () => output.text.includes("caught\r\n"));
    strictEqual((await final(api, run.id)).state, "succeeded");
    output.pty.close();
  });

  it("gives its size to the run's terminal, and answers no program in the user's name", async () => {
    const run = await start(api, { line: "stty -echo; echo ready; while read word; do echo got $word, $(stty size); done", interactive: true, tty: { rows: 10, cols: 20 } });
    const output = openOutput(api, run.id);
    await until("it is ready", () => output.text.includes("\nready\r\n"));
    output.pty.setDimensions({ rows: 33, columns: 44 });
    await until("the terminal has the size", async () => (await api.server.request("run/get", { runId: run.id })).run.tty?.cols === 44);
    output.pty.handleInput("\x1b[?1;2c\x1b[5;7R");
    output.pty.handleInput("typed\r");
    await until("it has what was typed", () => output.text.includes("\ngot "));
    ok(output.text.includes("\ngot typed, 33 44\r\n"), output.text);
    await vscode.commands.executeCommand("loomd.cancel", node(run.id));
    output.pty.close();
  });

  it("of 100 MB is truncated, with its end, while the editor stays responsive", async () => {
    const gate = join(folder(), "gate-flood");
    const run = await start(api, { line: `yes 'a line of some forty characters, again.' | head -c 100000000; echo; while [ ! -e ${gate} ]; do sleep 0.05; done; echo the very end` });
    const output = openOutput(api, run.id);
    // The extension host stays responsive while the output arrives.
    await until("output arrives", () => output.text.length > MAX_BUFFERED_CHARS / 2);
    for (let count = 0; count < 20; count++) await vscode.commands.executeCommand("setContext", "loomd.test", count);
    strictEqual((await api.server.request("run/get", { runId: run.id })).run.state, "running");
    writeFileSync(gate, "");
    await until("the footer is written", () => /Succeeded/.test(output.text), 300_000);
    ok(output.text.includes("the very end"));
    // How much is shown depends on the speed. Whatever is skipped is reported.
    ok(output.text.length >= 100_000_000 || /skipped\. Use/.test(output.text), "output was dropped without a note");
    ok(output.longestWrite <= MAX_CHUNK_CHARS + 200, `${output.longestWrite} characters in one write`);
    strictEqual((await api.server.request("run/text", { runId: run.id, lastLines: 1 })).totalBytes, 100_000_014);
    output.pty.close();
    // Opened later, only the end is fetched.
    const later = openOutput(api, run.id);
    await until("the footer is written again", () => /Succeeded/.test(later.text));
    ok(later.text.includes("the very end") && later.text.length < 3 * MAX_BUFFERED_CHARS, `${later.text.length}`);
    later.pty.close();
  });

  it("links locations in files that exist", async () => {
    const file = join(folder(), "source.c");
    writeFileSync(file, "one\ntwo\nthree\n");
    const links = await findFileLinks("source.c:2:3: error; see missing.c:1 and " + file, folder());
    deepStrictEqual(links.map(link => [link.startIndex, link.length, link.file]), [[0, 12, file], [41, file.length, file]]);
    await openAt(file, 2, 3);
    deepStrictEqual([vscode.window.activeTextEditor!.document.uri.fsPath, vscode.window.activeTextEditor!.selection.active.line, vscode.window.activeTextEditor!.selection.active.character], [file, 1, 2]);
  });
});

describe("tasks", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(closeAll);

  it("of type loomd end with their run's exit code and work with problem matchers", async () => {
    writeFileSync(join(folder(), "wrong.c"), "x\n");
    const gate = join(folder(), "gate-task");
    // The task goes on until its problem is found.
    const line = `i=0; while [ ! -e ${gate} ] && [ $i -lt 3000 ]; do i=$((i+1)); echo wrong.c:1:1: error: it is wrong; echo other.c:1:1: error: so is this; sleep 0.2; done; exit 3`;
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

  it("that end at once have all their problems found", async () => {
    const pattern = { regexp: "^(short\\.c):(\\d+): error: (.*)$", file: 1, line: 2, message: 3 };
    const names = Array.from({ length: 8 }, (_, at) => `short ${at}`);
    writeTasks(names.map((label, at) => ({ type: "loomd", label, command: `echo short.c:${at + 1}: error: ${label}`, tty: at % 2 === 0, problemMatcher: { owner: label, fileLocation: ["relative", "${workspaceFolder}"], pattern } })));
    const tasks = await until("the tasks are known", async () => {
      const found = (await vscode.tasks.fetchTasks({ type: "loomd" })).filter(({ name }) => names.includes(name));
      return found.length === names.length && found;
    });
    for (const task of tasks) {
      const ended = new Promise<void>(resolve => vscode.tasks.onDidEndTask(({ execution }) => execution.task.name === task.name && resolve()));
      await vscode.tasks.executeTask(task);
      await ended;
    }
    const messages = () => vscode.languages.getDiagnostics(vscode.Uri.file(join(folder(), "short.c"))).map(({ message }) => message).sort();
    // Problems come to extensions some time after the task's end; those of the last task come last.
    const last = names.at(-1)!;
    await until("the last problem is there", () => messages().includes(last), 20_000).catch(() => {});
    deepStrictEqual(messages(), names);
  });

  it("write nothing before VS Code reads it", async () => {
    const task = new vscode.Task({ type: "loomd", command: "echo unread", tty: false }, vscode.TaskScope.Workspace, "unread", "loomd");
    const { execution } = api.tasks.resolveTask(task);
    const pty = await (execution as unknown as { callback(definition: vscode.TaskDefinition): Promise<vscode.Pseudoterminal> }).callback(task.definition);
    let written = "";
    pty.onDidWrite(text => (written += text));
    pty.open(undefined);
    const run = await until("it runs", () => [...api.runs.all()].find(({ title }) => title === "unread"));
    await final(api, run.id);
    // A task that begins later has been read meanwhile.
    const other = openOutput(api, run.id);
    await until("another terminal has all of it", () => /Succeeded/.test(other.text));
    strictEqual(written, "");
    other.pty.close();
    pty.close();
  });

  it("end their run when they are terminated", async () => {
    writeTasks([{ type: "loomd", label: "endless", command: "sleep 1000", problemMatcher: [] }]);
    const task = await until("the task is known", async () => (await vscode.tasks.fetchTasks({ type: "loomd" })).find(({ name }) => name === "endless"));
    const execution = await vscode.tasks.executeTask(task);
    const run = await until("it runs", () => [...api.runs.all()].find(({ title, state }) => title === "endless" && state === "running"));
    execution.terminate();
    strictEqual((await final(api, run.id)).state, "cancelled");
  });

  it("are provided for templates", async () => {
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
