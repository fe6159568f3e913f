// The extension right after activation. The file's name sorts first, so that no other test has opened anything yet.
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import * as vscode from "vscode";
import { extension } from "./extension";

describe("the extension after activation", () => {
  it("opens no view, no editor and no terminal, and takes no focus", async () => {
    const api = await extension();
    ok(!api.tree.view.visible);
    strictEqual(vscode.window.activeTerminal, undefined);
    strictEqual(vscode.window.terminals.length, 0);
    strictEqual(vscode.window.visibleTextEditors.length, 0);
    strictEqual(vscode.window.tabGroups.all.flatMap(group => group.tabs).length, 0);
    deepStrictEqual(api.notifier.messages, []);
  });

  it("has no key bindings", () => {
    const { contributes } = vscode.extensions.getExtension("loomd.loomd")!.packageJSON;
    strictEqual(contributes.keybindings, undefined);
  });

  it("registers every command of package.json, each with a title", async () => {
    const known = new Set(await vscode.commands.getCommands(true));
    for (const { command, title } of vscode.extensions.getExtension("loomd.loomd")!.packageJSON.contributes.commands) {
      ok(known.has(command), command);
      ok(title);
    }
  });

  it("runs in the workspace and has limited support for untrusted ones", () => {
    const { extensionKind, capabilities, main } = vscode.extensions.getExtension("loomd.loomd")!.packageJSON;
    deepStrictEqual(extensionKind, ["workspace"]);
    strictEqual(capabilities.untrustedWorkspaces.supported, "limited");
    strictEqual(main, "./dist/main.js");
  });
});
