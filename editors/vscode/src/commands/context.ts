// The editor's context: sends a selection or problems to an agent. It is put into a message box, where it is seen before
// it is sent.
import { CodeAction, CodeActionKind, languages, Range, ThemeIcon, Uri, window, workspace, type CodeActionProvider, type Diagnostic, type QuickPickItem, type TextDocument } from "vscode";
import type { App } from "../app";
import type { Run } from "../protocol";
import { iconOf, isFinal, nameOf, placeOf, plain, shortened, stateLabel } from "../runs/run";
import { embedded, fileLink, type Attachment } from "../transcript/context";
import { showInformation } from "../views/messages";
import { showForm } from "./start";

/** A longer selection is sent as a link to its file. */
const MAX_SELECTION_CHARS = 60_000;

/** Part of a file, as it is in the editor, also where it was not saved. */
export function partOf(document: TextDocument, range: Range): Attachment {
  const [from, to] = [range.start.line + 1, range.end.character === 0 && range.end.line > range.start.line ? range.end.line : range.end.line + 1];
  const name = `${workspace.asRelativePath(document.uri)}:${from === to ? from : `${from}-${to}`}`;
  const uri = `${document.uri.toString()}#L${from}${from === to ? "" : `-${to}`}`;
  const text = document.getText(range);
  return text.length > MAX_SELECTION_CHARS ? fileLink(uri, name) : embedded(uri, name, text);
}

/** `Send Selection to Run…`: the selection of the editor; without one, a link to its file. */
export async function sendSelection(app: App): Promise<void> {
  const editor = window.activeTextEditor;
  if (!editor) return void showInformation("No editor is active.");
  const { document, selection } = editor;
  await attach(app, [selection.isEmpty ? fileLink(document.uri.toString(), workspace.asRelativePath(document.uri)) : partOf(document, selection)], "");
}

/** `Fix This with…`: problems of a file, with the lines that they are about. */
export async function fixThis(app: App, uri?: Uri, diagnostics?: readonly Diagnostic[]): Promise<void> {
  const target = uri ?? window.activeTextEditor?.document.uri;
  const problems = diagnostics ?? (target ? languages.getDiagnostics(target) : []);
  if (!target || problems.length === 0) return void showInformation("No problems in the active editor.");
  const document = await workspace.openTextDocument(target);
  const name = workspace.asRelativePath(target);
  const lines = problems.map(({ range, message, source }) => `${name}:${range.start.line + 1}:${range.start.character + 1}: ${source ? `${source}: ` : ""}${message}`);
  const parts = problems.map(({ range }) => partOf(document, new Range(document.lineAt(range.start.line).range.start, document.lineAt(Math.min(range.end.line, document.lineCount - 1)).range.end)));
  await attach(app, [embedded(`${target.toString()}#problems`, problems.length === 1 ? "1 problem" : `${problems.length} problems`, lines.join("\n")), ...parts], problems.length === 1 ? "Fix this problem." : "Fix these problems.");
}

/** Puts attachments into the message box of a run, or into the form of a new one. */
async function attach(app: App, context: Attachment[], text: string): Promise<void> {
  await app.server.ready();
  await app.runs.loaded();
  const { waiting, live, idle } = app.tree.groups();
  const runs = [...waiting, ...live, ...idle].filter(run => !isFinal(run) && run.hasTranscript === true);
  const rows: (QuickPickItem & { run?: Run })[] = [
    ...runs.map(run => ({ label: plain(shortened(nameOf(run))), description: `${placeOf(run)}${stateLabel(run)} · ${run.provider}`, iconPath: new ThemeIcon(iconOf(run).icon.replace("~spin", "")), run })),
    { label: "New Run…", iconPath: new ThemeIcon("add") },
  ];
  const row = rows.length === 1 ? rows[0] : await window.showQuickPick(rows, { placeHolder: "Select an agent" });
  if (row?.run) app.transcripts.show(row.run, { context, text });
  else if (row) showForm(app, undefined, { context, text });
}

/** Offers `Fix This with…` for problems. */
export class FixProvider implements CodeActionProvider {
  static readonly kinds = [CodeActionKind.QuickFix];

  provideCodeActions(document: TextDocument, _: Range, { diagnostics }: { diagnostics: readonly Diagnostic[] }): CodeAction[] {
    if (diagnostics.length === 0) return [];
    const action = new CodeAction("Fix This with loomd…", CodeActionKind.QuickFix);
    action.diagnostics = [...diagnostics];
    action.command = { command: "loomd.fixThis", title: "Fix This with…", arguments: [document.uri, diagnostics] };
    return [action];
  }
}
