// Show Changes: every file that a run changed, in the editor's own multi-file diff.
import { readFile } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";
import { commands, EventEmitter, Uri, window, type TextDocumentContentProvider } from "vscode";
import type { Base } from "../base";
import type { Run } from "../protocol";
import { sidesOf } from "../runs/changed";
import { nameOf } from "../runs/words";

export const SCHEME = "loomd-change";
/** A file, and its two sides; a side that is missing has no file. */
type Row = [Uri, Uri | undefined, Uri | undefined];

/** Texts of so many runs are kept for the diffs that are open. */
const KEPT = 20;

export class Changes implements TextDocumentContentProvider {
  private readonly texts = new Map<string, Map<string, string>>();
  private readonly changed = new EventEmitter<Uri>();
  readonly onDidChange = this.changed.event;

  /** `asked`: sides of the diffs that transcripts open, by their addresses. */
  constructor(
    private readonly app: Pick<Base, "server">,
    private readonly asked: ReadonlyMap<string, string>,
  ) {}

  async provideTextDocumentContent(uri: Uri): Promise<string> {
    const text = this.asked.get(uri.toString());
    if (text !== undefined || uri.authority === "transcript") return text ?? "";
    // After a reload the diff is still open, and its texts are to be had again.
    if (!this.texts.has(uri.authority)) await this.load(uri.authority).catch(() => {});
    return this.texts.get(uri.authority)?.get(uri.path + uri.query) ?? "";
  }

  async show(run: Run): Promise<void> {
    const { rows, complete } = await this.load(run.id);
    if (rows.length === 0) {
      const rest = complete ? "" : " Commands that it ran may have changed files without telling.";
      void window.showInformationMessage(`${nameOf(run)} changed no files, as far as it told.${rest}`);
      return;
    }
    const title = `Changes of ${nameOf(run)}${complete ? "" : " (as far as it told)"}`;
    try {
      await commands.executeCommand("vscode.changes", title, rows);
    } catch {
      // Editors without the multi-file diff get one diff for each file.
      for (const [file, left, right] of rows) {
        const empty = Uri.from({ scheme: SCHEME, authority: "transcript", path: file.path, query: "empty" });
        await commands.executeCommand("vscode.diff", left ?? empty, right ?? empty, `${basename(file.path)} (${nameOf(run)})`, { preview: false });
      }
    }
  }

  /** Asks the server what the run changed, and keeps the texts that are not on the disk. */
  private async load(runId: string): Promise<{ rows: Row[]; complete: boolean }> {
    const [{ run }, { files, complete }] = await Promise.all([this.app.server.request("run/get", { runId }), this.app.server.request("run/changes", { runId })]);
    const texts = new Map<string, string>();
    this.texts.delete(runId);
    this.texts.set(runId, texts);
    for (const old of [...this.texts.keys()].slice(0, -KEPT)) this.texts.delete(old);

    const put = (path: string, side: "before" | "after", text: string): Uri => {
      const uri = Uri.from({ scheme: SCHEME, authority: runId, path, query: side });
      texts.set(uri.path + uri.query, text);
      this.changed.fire(uri);
      return uri;
    };
    const rows: Row[] = [];
    for (const file of files) {
      const path = isAbsolute(file.path) ? file.path : join(run.cwd, file.path);
      const disk = await readFile(path, "utf8").catch(() => undefined);
      const { before, after, current } = sidesOf(file, disk);
      const left = before === undefined ? undefined : put(path, "before", before);
      const right = current ? Uri.file(path) : after === undefined ? undefined : put(path, "after", after);
      rows.push([Uri.file(path), left, right]);
    }
    return { rows, complete };
  }
}
