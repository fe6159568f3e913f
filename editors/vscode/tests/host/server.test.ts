import { match, ok, rejects, strictEqual } from "node:assert";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { aboutText } from "../../src/commands/server";
import { RESTARTS } from "../../src/server/restarts";
import { alive } from "../lib/world";
import { closeAll, extension, node, rows, start, until } from "./world";

const run = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("the server in the editor", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(closeAll);
  const pid = () => (api.server.state.is === "running" ? api.server.state.connection.pid! : 0);

  it("is restarted and stopped by command, while runs go on", async () => {
    const long = await start(api, { line: "sleep 1000" });
    const first = pid();
    await run("restartServer");
    ok(pid() !== first && pid() > 0);
    ok(!alive(first));
    await run("stopServer");
    strictEqual(api.server.state.is, "stopped");
    ok(alive(long.pid!));
    await rejects(api.server.request("run/list", {}), /goes? on without it|go on without it|was stopped/);
    await run("restartServer");
    await api.runs.loaded();
    strictEqual(api.runs.get(long.id)!.state, "running");
    await run("cancel", node(long.id));
  });

  it("that is killed comes back, with the same list", async () => {
    const before = [...api.runs.all()].length;
    const first = pid();
    process.kill(first, "SIGKILL");
    await until("another one runs", () => pid() !== 0 && pid() !== first);
    await api.runs.loaded();
    strictEqual([...api.runs.all()].length, before);
  });

  it("that dies again and again becomes one row, with a way out", async () => {
    for (let count = 0; count <= RESTARTS; count++) {
      const running = await until("it runs or is down", () => pid() || (api.server.state.is === "down" && -1));
      if (running < 0) break;
      process.kill(running, "SIGKILL");
      await until("that was noticed", () => pid() !== running);
    }
    await until("it is down", () => api.server.state.is === "down");
    const problems = await until("the row is there", () => {
      const found = rows(api).filter(({ node: { is } }) => is === "problem");
      return found.length > 0 && found;
    });
    strictEqual(problems.length, 1);
    match(String(problems[0]!.item.description), /restarted too often/);
    strictEqual(problems[0]!.item.command?.command, "loomd.restartServer");
    strictEqual(api.status.item.text, "$(error) loomd");
    strictEqual((api.status.item.backgroundColor as { id: string }).id, "statusBarItem.errorBackground");
    await rejects(api.server.request("run/list", {}), /restarted too often/);
    await run("restartServer");
    strictEqual(api.server.state.is, "running");
    await until("the row is gone", () => !rows(api).some(({ node: { is } }) => is === "problem"));
  });

  it("says what it is", () => {
    match(aboutText(api), /extension \d+\.\d+\.\d+\nloomd \d+\.\d+\.\d+ \(process \d+, protocol 1\)\nstore .*loomd\.redb/);
  });

  it("is not chosen by the workspace", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    for (const name of ["path", "rules", "permissions"]) {
      await rejects(async () => config.update(name, name === "rules" ? [] : "x", vscode.ConfigurationTarget.Workspace), Error);
      strictEqual(vscode.workspace.getConfiguration("loomd").inspect(name)!.workspaceValue, undefined);
    }
  });

  it("that cannot be found is one clear row, and no toast", async () => {
    const config = vscode.workspace.getConfiguration("loomd");
    const kept = config.inspect<string>("path")!.globalValue;
    const said = api.notifier.said.length;
    await config.update("path", "/nowhere/loomd", vscode.ConfigurationTarget.Global);
    const problem = await until("the row is there", () => rows(api).find(({ node: { is } }) => is === "problem"));
    match(String(problem.item.description), /loomd\.path names \/nowhere\/loomd/);
    strictEqual(api.notifier.said.length, said);
    await config.update("path", kept, vscode.ConfigurationTarget.Global);
    await until("it runs again", () => api.server.state.is === "running");
  });
});
