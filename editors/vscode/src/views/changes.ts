// Show Changes: opens every file that a run changed in the editor's multi-file diff.
import { readFile } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";
import { commands, EventEmitter, Uri, type TextDocumentContentProvider } from "vscode";
import type { Services } from "../services";
import type { ChangedFile, Run } from "../protocol";
import { diffSides, type DiffSides } from "../runs/diff-sides";
import { nameOf } from "../runs/run";
import { elsewhere, hostOf } from "../server/run-ids";
import { showInformation } from "./messages";

export const CHANGE_SCHEME = "loomd-change";
/** A file, its left side and its right side; `undefined` if the file does not exist on that side. */
type ChangeRow = [Uri, Uri | undefined, Uri | undefined];

/** A file that a run changed, as far as its sides are known. */
export interface FileChange {
  path: string;
  file: ChangedFile;
  sides: DiffSides;
  row: ChangeRow;
}

/** VS Code keeps no capitals and slashes of an authority, which names of hosts may have. */
export const authorityOf = (runId: string): string => (hostOf(runId) === undefined ? runId : `host-${Buffer.from(runId).toString("hex")}`);
export const runOfAuthority = (authority: string): string => (authority.startsWith("host-") ? Buffer.from(authority.slice("host-".length), "hex").toString() : authority);

/** The texts of this many runs stay in memory for the diffs that are open. */
const MAX_CACHED_RUNS = 20;

export class Changes implements TextDocumentContentProvider {
  private readonly texts = new Map<string, Map<string, string>>();
  private readonly changed = new EventEmitter<Uri>();
  readonly onDidChange = this.changed.event;

  /** `transcriptDiffs`: texts of the diffs that transcripts opened, by URI. */
  constructor(
    private readonly services: Pick<Services, "server">,
    private readonly transcriptDiffs: ReadonlyMap<string, string>,
  ) {}

  async provideTextDocumentContent(uri: Uri): Promise<string> {
    const text = this.transcriptDiffs.get(uri.toString());
    if (text !== undefined || uri.authority === "transcript") return text ?? "";
    // After a reload the diff is still open, so its texts are loaded again.
    const runId = runOfAuthority(uri.authority);
    if (!this.texts.has(runId)) await this.load(runId).catch(() => {});
    return this.texts.get(runId)?.get(uri.path + uri.query) ?? "";
  }

  async show(run: Run): Promise<void> {
    const { changes, complete } = await this.load(run.id);
    const rows = changes.map(({ row }) => row);
    if (rows.length === 0) {
      const hint = complete ? "" : " (Commands it ran may have changed files.)";
      void showInformation(`No changes reported by ${nameOf(run)}.${hint}`);
      return;
    }
    const title = `Changes: ${nameOf(run)}${complete ? "" : " (may be incomplete)"}`;
    try {
      await commands.executeCommand("vscode.changes", title, rows);
    } catch {
      // An editor without the multi-file diff opens one diff for each file.
      for (const [file, left, right] of rows) {
        const empty = Uri.from({ scheme: CHANGE_SCHEME, authority: "transcript", path: file.path, query: "empty" });
        await commands.executeCommand("vscode.diff", left ?? empty, right ?? empty, `${basename(file.path)} (${nameOf(run)})`, { preview: false });
      }
    }
  }

  /** Reads the run's changes from the server, and stores the texts that are not on disk. */
  async load(runId: string): Promise<{ changes: FileChange[]; complete: boolean }> {
    const [{ run }, { files, complete }] = await Promise.all([this.services.server.request("run/get", { runId }), this.services.server.request("run/changes", { runId })]);
    const texts = new Map<string, string>();
    this.texts.delete(runId);
    this.texts.set(runId, texts);
    for (const old of [...this.texts.keys()].slice(0, -MAX_CACHED_RUNS)) this.texts.delete(old);

    const put = (path: string, side: "before" | "after", text: string): Uri => {
      const uri = Uri.from({ scheme: CHANGE_SCHEME, authority: authorityOf(runId), path, query: side });
      texts.set(uri.path + uri.query, text);
      this.changed.fire(uri);
      return uri;
    };
    const changes: FileChange[] = [];
    for (const file of files) {
      const path = isAbsolute(file.path) ? file.path : join(run.cwd, file.path);
      // A file of the same name here is another one.
      const disk = elsewhere(run) ? undefined : await readFile(path, "utf8").catch(() => undefined);
      const sides = diffSides(file, disk);
      const { before, after, current } = sides;
      const left = before === undefined ? undefined : put(path, "before", before);
      const right = current ? Uri.file(path) : after === undefined ? undefined : put(path, "after", after);
      const resource = elsewhere(run) ? Uri.from({ scheme: CHANGE_SCHEME, authority: authorityOf(runId), path, query: "name" }) : Uri.file(path);
      changes.push({ path, file, sides, row: [resource, left, right] });
    }
    return { changes, complete };
  }
}
