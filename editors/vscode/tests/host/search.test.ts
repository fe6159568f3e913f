import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { excerpt, search } from "../../src/runs/hits";
import type { Hit } from "../../src/server/optional";
import { FAKE } from "../lib/environment";
import { closeAll, extension, final, folder, node, start, until } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

async function hits(api: Api, query: string): Promise<readonly Hit[]> {
  let all: readonly Hit[] = [];
  await search([api.server], query, new vscode.CancellationTokenSource().token, found => (all = found));
  return all;
}

describe("searching and exporting", () => {
  let api: Api;
  let previousPath: string | undefined;
  const config = () => vscode.workspace.getConfiguration("loomd");

  describe("with a server that has the methods", () => {
    before(async () => {
      api = await extension();
      previousPath = config().inspect<string>("path")!.globalValue;
      const program = join(folder(), "optional");
      writeFileSync(program, `#!/bin/sh\nexec ${JSON.stringify(process.execPath)} ${JSON.stringify(FAKE)} optional\n`);
      chmodSync(program, 0o755);
      await config().update("path", program, vscode.ConfigurationTarget.Global);
      await until("the other server runs", () => api.server.can("run/search"));
      await api.runs.loaded();
    });
    after(async () => {
      await config().update("path", previousPath, vscode.ConfigurationTarget.Global);
      await until("the real one runs again", () => api.server.state.kind === "running" && !api.server.handshake!.serverInfo.version.startsWith("9.9"));
      await api.runs.loaded();
    });
    afterEach(closeAll);

    it("continues until it has all hits", async () => {
      deepStrictEqual((await hits(api, "needle")).map(({ line }) => line), ["\x1b[31mtwo\x1b[0m needle ä", "three needle"]);
      deepStrictEqual(await hits(api, "nothing"), []);
    });

    it("shows the output around a hit, without colors, at its line", async () => {
      const [first, second] = await hits(api, "needle");
      deepStrictEqual(await excerpt(api.server, first!), { text: "one\ntwo needle ä\nthree needle\n", line: 1 });
      strictEqual((await excerpt(api.server, second!)).line, 2);
    });

    it("searches while the user types, and Enter opens the hit", async () => {
      const searching = execute("search", "needle");
      const editor = await until("the output is open", async () => {
        await vscode.commands.executeCommand("workbench.action.acceptSelectedQuickOpenItem");
        return vscode.window.activeTextEditor;
      });
      await searching;
      await until("the line is selected", () => editor.document.getText(editor.selection) === "two needle ä");
      ok(editor.document.isClosed === false && editor.document.uri.scheme === "loomd-output");
      match(editor.document.fileName, /Built/);
    });

    it("writes a run into a file", async () => {
      const [one] = api.runs.all();
      const target = vscode.Uri.file(join(folder(), "run.md"));
      await execute("export", node(one!.id), { format: "markdown", target });
      strictEqual(readFileSync(target.fsPath, "utf8"), `markdown of ${one!.id}`);
    });
  });

  it("works with the real server, as far as it has the methods", async () => {
    api = await extension();
    const one = await start(api, { line: "echo 'a very rare Word'; seq 1 5000; echo 'rare word again'" });
    await final(api, one.id);
    if (api.server.can("run/search")) {
      const found = await until("it is found", async () => {
        const all = await hits(api, "rare word");
        return all.length === 2 && all;
      });
      deepStrictEqual(found.map(({ line }) => line.trim()).sort(), ["a very rare Word", "rare word again"]);
      for (const hit of found) {
        const { text, line } = await excerpt(api.server, hit);
        strictEqual(text.split("\n")[line], hit.line.trim());
      }
    }
    if (api.server.can("run/export")) {
      const target = vscode.Uri.file(join(folder(), "real.log"));
      await execute("export", node(one.id), { format: "text", target });
      match(readFileSync(target.fsPath, "utf8"), /a very rare Word[^]*rare word again/);
    }
  });
});
