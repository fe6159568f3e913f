// Export Run…: a run as a file that can be read, sent or played without loomd.
import { join } from "node:path";
import { Uri, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { nameOf } from "../runs/words";
import type { ExportFormat } from "../server/optional";
import type { Node } from "../views/tree";
import { pickRun } from "./pick";

interface Row extends QuickPickItem {
  format: ExportFormat;
  ending: string;
}

const FORMATS: readonly Row[] = [
  { format: "markdown", ending: "md", label: "Markdown", detail: "A page to read or to paste" },
  { format: "html", ending: "html", label: "HTML", detail: "One page that needs nothing else, with colours and differences" },
  { format: "text", ending: "log", label: "Text", detail: "What the program wrote, byte for byte" },
  { format: "asciicast", ending: "cast", label: "Recording", detail: "The output with its timing, for asciinema" },
  { format: "jsonl", ending: "jsonl", label: "JSON lines", detail: "Every entry of the log, for programs" },
];

/** `given` and `target`: format and file, from a key binding or another extension. */
export async function exportRun(app: App, node?: Node, given?: { format: ExportFormat; target: Uri }): Promise<Uri | undefined> {
  const run = await pickRun(app, node, "Export which run?");
  if (!run) return undefined;
  if (!app.server.can("run/export")) {
    void window.showInformationMessage("This loomd cannot export yet; update it. “Save Output…” saves what the run printed.");
    return undefined;
  }
  const row = given ? FORMATS.find(({ format }) => format === given.format) : await window.showQuickPick(FORMATS, { title: `Export ${nameOf(run)}`, placeHolder: "In which form?" });
  if (!row) return undefined;
  const name = `${nameOf(run).replace(/[^\w.-]+/g, "-").slice(0, 40) || "run"}.${row.ending}`;
  const target = given?.target ?? (await window.showSaveDialog({ defaultUri: Uri.file(join(run.cwd, name)), title: "Export Run" }));
  if (!target) return undefined;
  await app.server.request("run/export", { runId: run.id, format: row.format, path: target.fsPath });
  if (!given) void window.showInformationMessage(`Exported to ${target.fsPath}.`, "Open").then(choice => choice && window.showTextDocument(target));
  return target;
}
