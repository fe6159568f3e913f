import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { partOf } from "../../src/commands/context";
import { findContext } from "../../src/views/files";
import { closeAll, extension, folder, until } from "./extension";

describe("the editor's context", () => {
  before(extension);
  afterEach(closeAll);

  const open = async () => {
    mkdirSync(join(folder(), "deep"), { recursive: true });
    writeFileSync(join(folder(), "deep/context-file.txt"), "one\ntwo\nthree\n");
    return vscode.workspace.openTextDocument(join(folder(), "deep/context-file.txt"));
  };

  it("is a part of a file, as it is in the editor, with its lines", async () => {
    const document = await open();
    const uri = document.uri.toString();
    const part = (...[from, to]: [vscode.Position, vscode.Position]) => partOf(document, new vscode.Range(from, to));
    deepStrictEqual(part(new vscode.Position(0, 0), new vscode.Position(2, 0)), { label: "deep/context-file.txt:1-2", detail: "one\ntwo\n", block: { type: "resource", resource: { uri: `${uri}#L1-2`, mimeType: "text/plain", text: "one\ntwo\n" } } });
    deepStrictEqual(part(new vscode.Position(1, 1), new vscode.Position(1, 3)).label, "deep/context-file.txt:2");
  });

  it("finds files by parts of their names, and only those that match", async () => {
    await open();
    for (const query of ["context-f", "deep/context"]) await until(`${query} is found`, async () => (await findContext(query)).some(({ block }) => block["type"] === "resource_link" && block["name"] === "deep/context-file.txt"));
    deepStrictEqual((await findContext("no-such-{file}")).length, 0);
  });

  it("offers to fix a problem, and nothing where there is none", async () => {
    const document = await open();
    const problems = vscode.languages.createDiagnosticCollection("test");
    const range = new vscode.Range(1, 0, 1, 3);
    const actions = async () => (await vscode.commands.executeCommand<vscode.CodeAction[]>("vscode.executeCodeActionProvider", document.uri, range)).filter(({ title }) => title.includes("loomd"));
    try {
      strictEqual((await actions()).length, 0);
      problems.set(document.uri, [new vscode.Diagnostic(range, "it is wrong")]);
      const [action] = await until("it is offered", async () => {
        const offered = await actions();
        return offered.length > 0 && offered;
      });
      strictEqual(action!.title, "Fix This with loomd…");
      ok(action!.kind?.contains(vscode.CodeActionKind.QuickFix));
    } finally {
      problems.dispose();
    }
  });
});
