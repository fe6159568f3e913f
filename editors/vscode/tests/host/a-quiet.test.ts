// First of all, before any other test has opened anything.
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import * as vscode from "vscode";
import { extension } from "./world";

describe("an extension that nobody has called", () => {
  it("opens no view, no editor and no terminal, and takes no focus", async () => {
    const api = await extension();
    ok(!api.tree.view.visible);
    strictEqual(vscode.window.activeTerminal, undefined);
    strictEqual(vscode.window.terminals.length, 0);
    strictEqual(vscode.window.visibleTextEditors.length, 0);
    strictEqual(vscode.window.tabGroups.all.flatMap(group => group.tabs).length, 0);
    deepStrictEqual(api.notifier.said, []);
  });

  it("binds no key", () => {
    const { contributes } = vscode.extensions.getExtension("loomd.loomd")!.packageJSON;
    strictEqual(contributes.keybindings, undefined);
  });

  it("has registered every command that it names, and names a title for each", async () => {
    const known = new Set(await vscode.commands.getCommands(true));
    for (const { command, title } of vscode.extensions.getExtension("loomd.loomd")!.packageJSON.contributes.commands) {
      ok(known.has(command), command);
      ok(title);
    }
  });

  it("runs where the workspace is, and starts nothing in one that is not trusted", () => {
    const { extensionKind, capabilities, main } = vscode.extensions.getExtension("loomd.loomd")!.packageJSON;
    deepStrictEqual(extensionKind, ["workspace"]);
    strictEqual(capabilities.untrustedWorkspaces.supported, "limited");
    strictEqual(main, "./dist/main.js");
  });
});
