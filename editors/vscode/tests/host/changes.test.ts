import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { allow, ask, cancelAll, closeAll, extension, final, folder, inState, node, start, until, waiting } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);
const read = (path: string) => readFileSync(path, "utf8");

describe("the review of changes", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(async () => {
    await execute("endReview");
    await closeAll();
    await cancelAll(api);
  });

  const lenses = async (path: string) => (await vscode.commands.executeCommand<vscode.CodeLens[]>("vscode.executeCodeLensProvider", vscode.Uri.file(path))).map(({ command, range }) => `${range.start.line} ${command!.title}`);
  const active = () => vscode.window.activeTextEditor?.document.uri.fsPath;
  /** A run that has edited parser.js, in its one turn. */
  const parserRun = async () => {
    const run = await start(api, { provider: "opencode", prompt: "Fix the parser.", interactive: true });
    await waiting(api, run.id);
    await allow(api, run.id);
    await inState(api, run.id, "idle");
    return run;
  };
  const parser = () => join(folder(), "parser.js");
  /** An editor that was open reads what the agent wrote some time after the agent did. */
  const shown = () => until("the change is shown", async () => (await lenses(parser())).length > 0);

  it("has each change in its file, and undoes it where the file still has it", async () => {
    const run = await parserRun();
    const written = read(parser());
    await execute("reviewChanges", node(run.id));
    strictEqual(active(), parser());
    await shown();
    deepStrictEqual(await lenses(parser()), ["1 $(check) Keep", "1 $(discard) Undo", "1 Show Step", "1 Change 1 of 1 · Next"]);
    await execute("undoChange");
    await until("the old text is on disk", () => !read(parser()).includes("text.length === 0"));
    strictEqual(read(parser()).length, written.length - "  if (text.length === 0) return [];\n".length);
    deepStrictEqual(await lenses(parser()), []);
    strictEqual(api.reviews.run, undefined);
  });

  it("leaves alone what was changed since, and keeps what was typed elsewhere in the file", async () => {
    const run = await parserRun();
    await execute("reviewChanges", node(run.id));
    const editor = vscode.window.activeTextEditor!;
    await shown();
    await editor.edit(edit => edit.insert(new vscode.Position(0, 0), "// mine\n"));
    ok((await lenses(parser()))[0]!.startsWith("2 "));
    await editor.edit(edit => edit.insert(new vscode.Position(2, 0), "X"));
    deepStrictEqual(await lenses(parser()), []);
    await editor.edit(edit => edit.delete(new vscode.Range(2, 0, 2, 1)));
    await execute("undoChange", { path: parser(), key: JSON.stringify(["", "  if (text.length === 0) return [];\n"]) });
    ok(editor.document.getText().startsWith("// mine\nexport function parse(text) {\n  const first"));
    // What was not saved before is not saved by it.
    ok(editor.document.isDirty && read(parser()).includes("text.length === 0"));
    await vscode.commands.executeCommand("workbench.action.files.revert");
  });

  it("goes from change to change over files, keeps what is kept, and shows the step that made one", async () => {
    const files = ["review-a.txt", "review-b.txt"].map(name => join(folder(), name));
    const run = await ask(api, files.map(file => `edit ${file} words`).join("\n"));
    for (let answered = 0; answered < 2; answered++) {
      const { permissions } = await waiting(api, run.id);
      await allow(api, run.id);
      await until("that is answered", () => api.runs.get(run.id)!.permissions?.[0]?.permissionId !== permissions![0]!.permissionId);
    }
    await final(api, run.id);
    await execute("reviewChanges", node(run.id));
    strictEqual(active(), files[0]);
    await execute("nextChange");
    strictEqual(active(), files[1]);
    await execute("previousChange");
    strictEqual(active(), files[0]);
    await execute("keepFile");
    strictEqual(active(), files[1]);
    deepStrictEqual(await lenses(files[0]!), []);
    await execute("showStep");
    await until("the transcript is open", () => api.transcripts.isVisible(run.id));
    // Kept changes stay kept in the next review; the last one that is undone ends it.
    await execute("endReview");
    await execute("reviewChanges", node(run.id));
    strictEqual(active(), files[1]);
    await execute("undoFile");
    await until("the new file is gone", () => !existsSync(files[1]!));
    strictEqual(read(files[0]!), "words");
    strictEqual(api.reviews.run, undefined);
  });

  it("takes files back to before a turn, but none that has changed since", async () => {
    const [first, second, third] = ["turn-1.txt", "turn-2.txt", "turn-3.txt"].map(name => join(folder(), name)) as [string, string, string];
    // The run does not work there.
    const outside = join(folder(), "../outside.txt");
    const run = await ask(api, `edit ${first} one`, { interactive: true });
    const answer = async (count: number) => {
      for (let answered = 0; answered < count; answered++) {
        const { permissions } = await waiting(api, run.id);
        await allow(api, run.id);
        await until("that is answered", () => api.runs.get(run.id)!.permissions?.[0]?.permissionId !== permissions![0]!.permissionId);
      }
      await inState(api, run.id, "idle");
    };
    await answer(1);
    await api.server.request("run/send", { runId: run.id, prompt: `edit ${second} two\nedit ${third} three\nedit ${outside} four` });
    await answer(3);
    writeFileSync(third, "mine");
    const { items } = await api.server.request("run/items", { runId: run.id });
    const turns = items.flatMap(item => (item.kind === "message" && item.role === "user" ? [item.turn!] : []));
    await execute("undoTurn", node(run.id), { turn: turns[1], confirmation: "sure" });
    await until("the second turn's file is gone", () => !existsSync(second));
    deepStrictEqual([read(first), read(third), read(outside)], ["one", "mine", "four"]);
    await execute("cancel", node(run.id));
  });
});
