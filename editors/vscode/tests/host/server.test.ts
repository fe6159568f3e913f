import { match, ok, rejects, strictEqual } from "node:assert";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { aboutText } from "../../src/commands/server";
import { MAX_RESTARTS } from "../../src/server/restarts";
import { alive } from "../lib/environment";
import { closeAll, extension, node, rows, start, until } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("the server in the editor", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(closeAll);
  const pid = () => (api.server.state.kind === "running" ? api.server.state.connection.pid! : 0);

  it("is restarted and stopped by command, while runs keep going", async () => {
    const long = await start(api, { line: "sleep 1000" });
    const first = pid();
    await execute("restartServer");
    ok(pid() !== first && pid() > 0);
    ok(!alive(first));
    await execute("stopServer");
    strictEqual(api.server.state.kind, "stopped");
    ok(alive(long.pid!));
    await rejects(api.server.request("run/list", {}), /server stopped/);
    await execute("restartServer");
    await api.runs.loaded();
    strictEqual(api.runs.get(long.id)!.state, "running");
    await execute("cancel", node(long.id));
  });

  it("is restarted after it was killed, with the same list", async () => {
    const before = [...api.runs.all()].length;
    const first = pid();
    process.kill(first, "SIGKILL");
    await until("another one runs", () => pid() !== 0 && pid() !== first);
    await api.runs.loaded();
    strictEqual([...api.runs.all()].length, before);
  });

  it("becomes one row with a restart action when it crashes too often", async () => {
    for (let count = 0; count <= MAX_RESTARTS; count++) {
      const running = await until("it runs or is down", () => pid() || (api.server.state.kind === "down" && -1));
      if (running < 0) break;
      process.kill(running, "SIGKILL");
      await until("the exit is noticed", () => pid() !== running);
    }
    await until("it is down", () => api.server.state.kind === "down");
    const problems = await until("the row is there", () => {
      const found = rows(api).filter(({ node: { kind } }) => kind === "problem");
      return found.length > 0 && found;
    });
    strictEqual(problems.length, 1);
    match(String(problems[0]!.item.description), /will not be restarted/);
    strictEqual(problems[0]!.item.command?.command, "loomd.restartServer");
    strictEqual(api.status.item.text, "$(error) loomd");
    strictEqual((api.status.item.backgroundColor as { id: string }).id, "statusBarItem.errorBackground");
    await rejects(api.server.request("run/list", {}), /will not be restarted/);
    await execute("restartServer");
    strictEqual(api.server.state.kind, "running");
    await until("the row is gone", () => !rows(api).some(({ node: { kind } }) => kind === "problem"));
  });

  it("describes itself", () => {
    match(aboutText(api), /Extension \d+\.\d+\.\d+\nloomd \d+\.\d+\.\d+ \(process \d+, protocol 1\)\nstore .*loomd\.redb/);
  });

  it("cannot be chosen by the workspace", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    for (const name of ["path", "hosts", "rules", "permissions"]) {
      await rejects(async () => config.update(name, name === "rules" || name === "hosts" ? [] : "x", vscode.ConfigurationTarget.Workspace), Error);
      strictEqual(vscode.workspace.getConfiguration("loomd").inspect(name)!.workspaceValue, undefined);
    }
  });

  it("is one row, and no notification, when it cannot be found", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    const previousPath = config.inspect<string>("path")!.globalValue;
    const shown = api.notifier.messages.length;
    await config.update("path", "/nowhere/loomd", vscode.ConfigurationTarget.Global);
    const problem = await until("the row is there", () => rows(api).find(({ node: { kind } }) => kind === "problem"));
    match(String(problem.item.description), /loomd\.path: \/nowhere\/loomd is not an executable/);
    strictEqual(api.notifier.messages.length, shown);
    await config.update("path", previousPath, vscode.ConfigurationTarget.Global);
    await until("it runs again", () => api.server.state.kind === "running");
  });
});
