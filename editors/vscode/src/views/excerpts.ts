// Shows a part of a run's output as a read-only document, with the line of a search hit selected.
import { Selection, TextEditorRevealType, Uri, window, workspace, type TextDocumentContentProvider } from "vscode";
import type { Services } from "../services";
import type { Run } from "../protocol";
import { excerpt } from "../runs/hits";
import { nameOf } from "../runs/run";
import type { Hit } from "../server/optional";
import { authorityOf, runOfAuthority } from "./changes";

export const OUTPUT_SCHEME = "loomd-output";

export class Excerpts implements TextDocumentContentProvider {
  constructor(private readonly services: Pick<Services, "server">) {}

  async provideTextDocumentContent({ authority, query }: Uri): Promise<string> {
    const { stream, offset } = JSON.parse(query) as Pick<Hit, "stream" | "offset">;
    return (await excerpt(this.services.server, { runId: runOfAuthority(authority), stream, offset })).text;
  }

  async show(run: Run, hit: Hit): Promise<void> {
    const { runId, stream, offset } = hit;
    const uri = Uri.from({ scheme: OUTPUT_SCHEME, authority: authorityOf(runId), path: `/${nameOf(run).replace(/[^\w .-]+/g, "-").slice(0, 40)} (${stream})`, query: JSON.stringify({ stream, offset }) });
    const [document, { line }] = await Promise.all([workspace.openTextDocument(uri), excerpt(this.services.server, { runId, stream, offset })]);
    const editor = await window.showTextDocument(document, { preview: true });
    const { range } = document.lineAt(Math.min(line, document.lineCount - 1));
    editor.selection = new Selection(range.start, range.end);
    editor.revealRange(range, TextEditorRevealType.InCenter);
  }
}
