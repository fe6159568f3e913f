// The workspace's files: those and symbols whose names match what was typed after `@`, and which runs work in it.
import { commands, Uri, workspace, type SymbolInformation } from "vscode";
import type { Run } from "../protocol";
import { hostOf } from "../server/run-ids";
import { fileLink, type Attachment } from "../transcript/context";

/** Whether a run works in a folder of this window. */
export const isInWorkspace = ({ id, cwd }: Pick<Run, "id" | "cwd">): boolean => hostOf(id) === undefined && (workspace.workspaceFolders ?? []).some(({ uri }) => uri.scheme === "file" && (cwd === uri.fsPath || cwd.startsWith(`${uri.fsPath}/`)));

const MAX_FOUND = 20;

export async function findContext(query: string): Promise<Attachment[]> {
  // What a glob would read as its own stands for any character.
  const pattern = query.replace(/[^\w./-]/g, "?");
  const globs = query.includes("/") ? [`**/${pattern}*`, `**/${pattern}*/**`] : [`**/*${pattern}*`];
  const [symbols, ...files] = await Promise.all([
    query.length > 1 ? Promise.resolve(commands.executeCommand<SymbolInformation[]>("vscode.executeWorkspaceSymbolProvider", query)).catch(() => []) : [],
    ...globs.map(glob => workspace.findFiles(glob, undefined, MAX_FOUND)),
  ]);
  const named = [...new Set(files.flat().map(uri => uri.toString()))].map(uri => fileLink(uri, workspace.asRelativePath(Uri.parse(uri))));
  named.sort((a, b) => a.label.length - b.label.length || (a.label < b.label ? -1 : 1));
  const found = (symbols ?? []).map(({ name, location: { uri, range } }) => fileLink(`${uri.toString()}#L${range.start.line + 1}`, `${name} (${workspace.asRelativePath(uri)}:${range.start.line + 1})`));
  return [...named, ...found].slice(0, MAX_FOUND);
}
