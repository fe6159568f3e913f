// Turns file locations in a run's output into links. Relative paths are resolved against the run's working directory.
import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { Position, Range, TerminalLink, Uri, window, type Terminal, type TerminalLinkContext, type TerminalLinkProvider } from "vscode";
import type { Run } from "../protocol";
import { elsewhere } from "../server/run-ids";
import { findFileLocations, type FileLocation } from "../runs/file-locations";

export class FileLink extends TerminalLink {
  constructor(
    readonly file: string,
    readonly location: FileLocation,
  ) {
    super(location.start, location.length, "Open file in editor");
  }
}

export class FileLinkProvider implements TerminalLinkProvider<FileLink> {
  /** `runOf` returns the run whose output a terminal shows. */
  constructor(private readonly runOf: (terminal: Terminal) => Run | undefined) {}

  async provideTerminalLinks({ line, terminal }: TerminalLinkContext): Promise<FileLink[]> {
    const run = this.runOf(terminal);
    return run && !elsewhere(run) ? findFileLinks(line, run.cwd) : [];
  }

  handleTerminalLink({ file, location: place }: FileLink): Promise<void> {
    return openAt(file, place.line, place.column);
  }
}

/** The links of a line: only locations whose file exists. */
export async function findFileLinks(line: string, cwd: string): Promise<FileLink[]> {
  const links = await Promise.all(
    findFileLocations(line).map(async place => {
      const file = resolve(cwd, place.path.replace(/^~(?=\/)/, homedir()));
      const found = await stat(file).catch(() => undefined);
      return found?.isFile() ? new FileLink(file, place) : undefined;
    }),
  );
  return links.filter(link => link !== undefined);
}

/** Opens a file in the editor. Lines and columns count from 1, as programs print them. */
export async function openAt(file: string, line?: number, column?: number): Promise<void> {
  const position = new Position(Math.max(0, (line ?? 1) - 1), Math.max(0, (column ?? 1) - 1));
  await window.showTextDocument(Uri.file(file), { preview: true, ...(line === undefined ? {} : { selection: new Range(position, position) }) });
}
