// The review of a run's changes, in the files themselves: each change has a line above it to keep it, to undo it, and to
// go to the step that made it.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { CodeLens, commands, EventEmitter, languages, MarkdownString, Range, Selection, TextEditorRevealType, ThemeColor, Uri, window, workspace, WorkspaceEdit, type CodeLensProvider, type Disposable, type TextDocument, type TextEditor } from "vscode";
import type { Services } from "../services";
import type { Run } from "../protocol";
import { placeHunks, withoutHunk, type Hunk } from "../runs/hunks";
import { pendingHunks, reviewedFile, type PendingHunk, type ReviewedFile } from "../runs/reviewed";
import { nameOf } from "../runs/run";
import { elsewhere } from "../server/run-ids";
import { CHANGE_SCHEME, type Changes } from "./changes";
import { showInformation, showWarning } from "./messages";

/** The runs whose kept changes are remembered. */
const MAX_KEPT_RUNS = 50;
const KEPT_KEY = "loomd.keptChanges";

/** A change in a file: what the line above it passes to its commands. */
export interface ChangeTarget {
  path: string;
  key: string;
}

interface Place {
  file: ReviewedFile;
  uri: Uri;
  hunk: PendingHunk;
}

/** The file's text as VS Code reads it; `undefined` if it does not exist. */
export const readText = (path: string): Promise<string | undefined> => readFile(path, "utf8").then(text => text.replace(/^\uFEFF/, ""), () => undefined);

export class Review implements CodeLensProvider, Disposable {
  private readonly changed = new EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.changed.event;
  private readonly added = window.createTextEditorDecorationType({ isWholeLine: true, backgroundColor: new ThemeColor("diffEditor.insertedLineBackground"), overviewRulerColor: new ThemeColor("editorOverviewRuler.addedForeground") });
  private readonly removed = window.createTextEditorDecorationType({ isWholeLine: true, borderWidth: "1px 0 0 0", borderStyle: "solid", borderColor: new ThemeColor("editorGutter.deletedBackground"), overviewRulerColor: new ThemeColor("editorOverviewRuler.deletedForeground") });
  private readonly disposables: Disposable[];
  private files: ReviewedFile[] = [];
  /** The run whose changes are reviewed. */
  run: Run | undefined;

  constructor(
    private readonly services: Pick<Services, "context" | "server">,
    private readonly changes: Changes,
  ) {
    const redraw = () => this.draw();
    this.disposables = [
      this.added,
      this.removed,
      languages.registerCodeLensProvider([{ scheme: "file" }, { scheme: CHANGE_SCHEME }], this),
      workspace.onDidChangeTextDocument(({ document }) => this.fileOf(document) && redraw()),
      workspace.onDidDeleteFiles(redraw),
      window.onDidChangeVisibleTextEditors(redraw),
      window.onDidChangeActiveTextEditor(redraw),
    ];
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  /** Begins the review of a run's changes at the first one. */
  async start(run: Run): Promise<void> {
    const there = elsewhere(run);
    if (there) return void showInformation(`${there} Show Changes shows what changed in them.`);
    const { changes, complete } = await this.changes.load(run.id);
    const kept = this.kept()[run.id] ?? {};
    this.run = run;
    this.files = changes.map(({ path, file, sides }) => reviewedFile(path, file, sides, kept[path] ?? []));
    const places = await this.places();
    const unknown = this.files.filter(({ hunks }) => hunks.length === 0).length;
    if (places.length === 0) {
      this.end();
      const hint = unknown > 0 ? ` Show Changes has ${unknown === 1 ? "a file" : `${unknown} files`} that can't be reviewed here.` : complete ? "" : " Commands it ran may have changed files.";
      return void showInformation(`No changes to review in ${nameOf(run)}.${hint}`);
    }
    this.draw();
    await this.reveal(places[0]!);
  }

  end(): void {
    this.run = undefined;
    this.files = [];
    this.draw();
  }

  /** Goes to the next or the previous change, also in another file: from the target, else from the cursor. */
  async go(direction: 1 | -1, target?: ChangeTarget): Promise<void> {
    const places = await this.places();
    if (places.length === 0) return this.run && this.finish();
    const editor = window.activeTextEditor;
    const from = target && places.find(({ file, hunk }) => file.path === target.path && hunk.key === target.key);
    const [uri, line] = from ? [from.uri.toString(), from.hunk.line] : [editor?.document.uri.toString(), editor?.selection.active.line ?? 0];
    const inFile = places.filter(place => place.uri.toString() === uri);
    if (inFile.length > 0) {
      const next = direction === 1 ? inFile.find(({ hunk }) => hunk.line > line) : inFile.findLast(({ hunk }) => hunk.line < line);
      if (next) return this.reveal(next);
    }
    // Past the last one of a file comes the first one of the next file.
    const at = places.findIndex(place => place.uri.toString() === uri);
    const other = direction === 1 ? places[at + Math.max(inFile.length, 1)] : places[at - 1];
    return this.reveal(other ?? (direction === 1 ? places[0] : places.at(-1))!);
  }

  /** Keeps a change, or the one at the cursor, or all of the file: it is reviewed. */
  async keep(target: ChangeTarget | undefined, scope: "change" | "file"): Promise<void> {
    const found = await this.find(target, scope);
    if (!found) return;
    for (const hunk of found.hunks) found.file.kept.add(hunk.key);
    const runs = { ...this.kept(), [this.run!.id]: Object.fromEntries(this.files.filter(({ kept }) => kept.size > 0).map(({ path, kept }) => [path, [...kept]])) };
    await this.services.context.workspaceState.update(KEPT_KEY, Object.fromEntries(Object.entries(runs).slice(-MAX_KEPT_RUNS)));
    await this.goOn();
  }

  /** Writes the old lines back, where the file still has the new ones. */
  async undo(target: ChangeTarget | undefined, scope: "change" | "file"): Promise<void> {
    const found = await this.find(target, scope);
    if (!found) return;
    const { file, hunks } = found;
    const text = await this.current(file);
    const result = file.kind === "delete" ? file.before : file.kind === "add" ? undefined : withoutHunks(file, hunks, text ?? "");
    if (result === null || !(await writeTexts([{ path: file.path, text: result }]))) return void showWarning(`${basename(file.path)} has changed since. Nothing was undone.`);
    await this.goOn();
  }

  /** The change at the target or at the cursor, for the step that made it. */
  async changeAt(target: ChangeTarget | undefined): Promise<{ path: string; hunk: Hunk } | undefined> {
    const found = await this.find(target, "change");
    return found && { path: found.file.path, hunk: found.hunks[0]! };
  }

  async provideCodeLenses(document: TextDocument): Promise<CodeLens[]> {
    const file = this.fileOf(document);
    if (!file) return [];
    const pending = pendingHunks(file, file.kind === "delete" ? undefined : document.getText());
    return pending.flatMap((hunk, index) => {
      const range = new Range(hunk.line, 0, hunk.line, 0);
      const target: ChangeTarget = { path: file.path, key: hunk.key };
      const what = file.kind === "delete" ? "Deleted file" : file.kind === "add" ? "New file" : `Change ${index + 1} of ${pending.length}`;
      const lens = (title: string, command: string) => new CodeLens(range, { title, command: `loomd.${command}`, arguments: [target] });
      return [lens(`$(check) Keep`, "keepChange"), lens(`$(discard) Undo`, "undoChange"), lens("Show Step", "showStep"), lens(`${what} · Next`, "nextChange")];
    });
  }

  private kept(): Record<string, Record<string, string[]>> {
    return this.services.context.workspaceState.get(KEPT_KEY, {});
  }

  private fileOf({ uri }: TextDocument): ReviewedFile | undefined {
    return this.files.find(file => this.uriOf(file).toString() === uri.toString());
  }

  /** A deleted file is shown as it was. */
  private uriOf({ path, kind }: ReviewedFile): Uri {
    return kind === "delete" ? Uri.from({ scheme: CHANGE_SCHEME, authority: this.run?.id ?? "", path, query: "before" }) : Uri.file(path);
  }

  /** The file's text, with what was typed and not saved. */
  private async current({ path }: ReviewedFile): Promise<string | undefined> {
    const open = workspace.textDocuments.find(({ uri }) => uri.scheme === "file" && uri.fsPath === path);
    return open?.isDirty ? open.getText() : readText(path);
  }

  /** All changes that are neither kept nor gone, in order. */
  private async places(): Promise<Place[]> {
    const places: Place[] = [];
    for (const file of this.files) {
      const text = await this.current(file);
      for (const hunk of pendingHunks(file, text)) places.push({ file, uri: this.uriOf(file), hunk });
    }
    return places;
  }

  private async find(target: ChangeTarget | undefined, scope: "change" | "file"): Promise<{ file: ReviewedFile; hunks: PendingHunk[] } | undefined> {
    const editor = window.activeTextEditor;
    const file = target ? this.files.find(({ path }) => path === target.path) : editor && this.fileOf(editor.document);
    const pending = file ? pendingHunks(file, await this.current(file)) : [];
    if (file && scope === "file" && pending.length > 0) return { file, hunks: pending };
    const line = editor?.selection.active.line ?? 0;
    const hunk = target ? pending.find(each => each.key === target.key) : pending.find(each => line >= each.line && line <= each.line + Math.max(0, each.newLines.length - 1));
    if (file && hunk) return { file, hunks: [hunk] };
    void showInformation(this.run ? "No change at the cursor." : "No changes are being reviewed. Use Review Changes… first.");
    return undefined;
  }

  private async goOn(): Promise<void> {
    this.draw();
    const places = await this.places();
    const here = window.activeTextEditor?.document.uri.toString();
    if (places.length === 0) this.finish();
    else if (!places.some(({ uri }) => uri.toString() === here)) await this.reveal(places[0]!);
  }

  private finish(): void {
    const name = this.run ? nameOf(this.run) : "";
    this.end();
    void showInformation(`All changes of ${name} are reviewed.`);
  }

  private async reveal({ uri, hunk: { line } }: Place): Promise<void> {
    const editor = await window.showTextDocument(await workspace.openTextDocument(uri), { preview: false });
    editor.selection = new Selection(line, 0, line, 0);
    editor.revealRange(new Range(line, 0, line, 0), TextEditorRevealType.InCenterIfOutsideViewport);
    this.draw();
  }

  private draw(): void {
    this.changed.fire();
    for (const editor of window.visibleTextEditors) this.decorate(editor);
    const active = window.activeTextEditor && this.fileOf(window.activeTextEditor.document);
    void commands.executeCommand("setContext", "loomd.reviewing", this.run !== undefined);
    void commands.executeCommand("setContext", "loomd.reviewedFile", active !== undefined);
  }

  private decorate(editor: TextEditor): void {
    const file = this.fileOf(editor.document);
    const pending = file && file.kind !== "delete" ? pendingHunks(file, editor.document.getText()) : [];
    const options = ({ line, newLines, oldLines }: PendingHunk) => ({ range: new Range(line, 0, line + Math.max(0, newLines.length - 1), 0), hoverMessage: oldLines.length > 0 ? new MarkdownString(before(oldLines)) : [] });
    editor.setDecorations(this.added, pending.filter(({ newLines }) => newLines.length > 0).map(options));
    editor.setDecorations(this.removed, pending.filter(({ newLines }) => newLines.length === 0).map(options));
  }
}

/** The old lines, as a block of code whose fence is longer than any in them. */
function before(oldLines: readonly string[]): string {
  const text = oldLines.join("");
  const fence = "`".repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([run]) => run.length + 1)));
  return `Before:\n\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

/** The text without these hunks; `null` if one of them is not in it anymore. */
function withoutHunks(file: ReviewedFile, hunks: readonly Hunk[], text: string): string | null {
  let result = text;
  for (const hunk of placeHunks(hunks, file.after ?? "", text).reverse()) {
    const next = withoutHunk(result, hunk);
    if (next === undefined) return null;
    result = next;
  }
  return result;
}

/**
 * Writes texts, `undefined` to remove a file, as one edit that VS Code can undo. Saves what had nothing unsaved before.
 * Returns false, and writes nothing, if a file on disk is not what its editor has.
 */
export async function writeTexts(files: readonly { path: string; text: string | undefined }[]): Promise<boolean> {
  const edit = new WorkspaceEdit();
  const saved: TextDocument[] = [];
  for (const { path, text } of files) {
    const uri = Uri.file(path);
    const disk = await readText(path);
    if (disk === undefined && text !== undefined) edit.createFile(uri, { contents: new TextEncoder().encode(text), overwrite: false });
    if (disk === undefined) continue;
    const document = await workspace.openTextDocument(uri);
    const current = document.getText();
    if (!document.isDirty && unified(current) !== unified(disk)) return false;
    if (text === undefined) {
      if (document.isDirty) return false;
      edit.deleteFile(uri);
      continue;
    }
    if (!document.isDirty) saved.push(document);
    const [from, to] = changedRange(current, text);
    edit.replace(uri, new Range(document.positionAt(from), document.positionAt(current.length - to)), text.slice(from, text.length - to));
  }
  if (!(await workspace.applyEdit(edit))) return false;
  for (const document of saved) await document.save();
  return true;
}

const unified = (text: string) => text.replace(/\r\n/g, "\n");

/** How many characters at the begin and at the end of both texts are the same. Whole lines, so that no line end is cut. */
function changedRange(current: string, text: string): [number, number] {
  const most = Math.min(current.length, text.length);
  let from = 0;
  while (from < most && current[from] === text[from]) from++;
  from = from === 0 ? 0 : current.lastIndexOf("\n", from - 1) + 1;
  let to = 0;
  while (to < most - from && current[current.length - 1 - to] === text[text.length - 1 - to]) to++;
  const lineEnd = current.indexOf("\n", current.length - to);
  return [from, lineEnd === -1 ? 0 : current.length - lineEnd - 1];
}
