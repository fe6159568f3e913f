// Export Run…: writes a run to a file that can be read, shared or played without loomd.
import { writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { Uri, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { nameOf } from "../runs/run";
import type { ExportFormat } from "../server/optional";
import { hostOf } from "../server/run-ids";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";
import { showInformation } from "../views/messages";

interface FormatItem extends QuickPickItem {
  format: ExportFormat;
  extension: string;
}

const FORMATS: readonly FormatItem[] = [
  { format: "markdown", extension: "md", label: "Markdown", detail: "Readable document" },
  { format: "html", extension: "html", label: "HTML", detail: "Single self-contained page with colors and diffs" },
  { format: "text", extension: "log", label: "Text", detail: "Raw output" },
  { format: "asciicast", extension: "cast", label: "Recording", detail: "asciinema recording (.cast)" },
  { format: "jsonl", extension: "jsonl", label: "JSON Lines", detail: "Machine-readable log" },
];

/** A name for a file of the run, with its ending. */
export const fileNameOf = (run: Run, ending: string): string => `${nameOf(run).replace(/[^\w.-]+/g, "-").slice(0, 40) || "run"}${ending}`;

export const pickFormat = async (requested: ExportFormat | undefined, title: string): Promise<FormatItem | undefined> =>
  requested ? FORMATS.find(({ format }) => format === requested) : window.showQuickPick(FORMATS, { title, placeHolder: "Select a format" });

/** Where a file about a run goes, unless the user says otherwise: its folder, if it is on this computer. */
export const folderFor = (run: Run): string => (hostOf(run.id) === undefined ? run.cwd : homedir());

/** Writes a run to a file of this computer. A server elsewhere sends the content. */
export async function exportTo(app: App, run: Run, format: ExportFormat, path: string): Promise<void> {
  if (hostOf(run.id) === undefined) return void (await app.server.request("run/export", { runId: run.id, format, path }));
  const { content } = await app.server.request("run/export", { runId: run.id, format });
  await writeFile(path, content ?? "", { mode: 0o600 });
}

/** `requested`, the format and file from a key binding or another extension, skips the pickers. */
export async function exportRun(app: App, node?: RunsNode, requested?: { format: ExportFormat; target: Uri }): Promise<Uri | undefined> {
  const run = await pickRun(app, node, "Select a run to export");
  if (!run) return undefined;
  if (!app.server.can("run/export")) {
    void showInformation("Export requires a newer loomd. You can use Save Output… instead.");
    return undefined;
  }
  const row = await pickFormat(requested?.format, `Export ${nameOf(run)}`);
  if (!row) return undefined;
  const name = fileNameOf(run, `.${row.extension}`);
  const target = requested?.target ?? (await window.showSaveDialog({ defaultUri: Uri.file(join(folderFor(run), name)), title: "Export Run" }));
  if (!target) return undefined;
  await exportTo(app, run, row.format, target.fsPath);
  if (!requested) void showInformation(`Exported to ${target.fsPath}.`, "Open").then(choice => choice !== undefined && void window.showTextDocument(target));
  return target;
}
