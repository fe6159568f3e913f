// A part of a run's output as a document that can be read and searched, at the line that a search found.
import { Selection, TextEditorRevealType, Uri, window, workspace, type TextDocumentContentProvider } from "vscode";
import type { Base } from "../base";
import type { Run } from "../protocol";
import { excerpt } from "../runs/hits";
import { nameOf } from "../runs/words";
import type { Hit } from "../server/optional";

export const EXCERPT = "loomd-output";

export class Excerpts implements TextDocumentContentProvider {
  constructor(private readonly app: Pick<Base, "server">) {}

  async provideTextDocumentContent({ authority, query }: Uri): Promise<string> {
    const { stream, offset } = JSON.parse(query) as Pick<Hit, "stream" | "offset">;
    return (await excerpt(this.app.server, { runId: authority, stream, offset })).text;
  }

  async show(run: Run, hit: Hit): Promise<void> {
    const { runId, stream, offset } = hit;
    const uri = Uri.from({ scheme: EXCERPT, authority: runId, path: `/${nameOf(run).replace(/[^\w .-]+/g, "-").slice(0, 40)} (${stream})`, query: JSON.stringify({ stream, offset }) });
    const [document, { line }] = await Promise.all([workspace.openTextDocument(uri), excerpt(this.app.server, { runId, stream, offset })]);
    const editor = await window.showTextDocument(document, { preview: true });
    const { range } = document.lineAt(Math.min(line, document.lineCount - 1));
    editor.selection = new Selection(range.start, range.end);
    editor.revealRange(range, TextEditorRevealType.InCenter);
  }
}
