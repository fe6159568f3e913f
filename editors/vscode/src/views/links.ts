// Places in files that a run's output names become links, looked for from the run's own folder.
import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { Position, Range, TerminalLink, Uri, window, type Terminal, type TerminalLinkContext, type TerminalLinkProvider } from "vscode";
import type { Run } from "../protocol";
import { placesIn, type Place } from "../runs/places";

export class FileLink extends TerminalLink {
  constructor(
    readonly file: string,
    readonly place: Place,
  ) {
    super(place.start, place.length, "Open file");
  }
}

export class Links implements TerminalLinkProvider<FileLink> {
  /** `runOf`: the run whose output a terminal shows. */
  constructor(private readonly runOf: (terminal: Terminal) => Run | undefined) {}

  async provideTerminalLinks({ line, terminal }: TerminalLinkContext): Promise<FileLink[]> {
    const run = this.runOf(terminal);
    return run ? linksIn(line, run.cwd) : [];
  }

  handleTerminalLink({ file, place }: FileLink): Promise<void> {
    return openAt(file, place.line, place.column);
  }
}

/** Only what is there becomes a link. */
export async function linksIn(line: string, cwd: string): Promise<FileLink[]> {
  const links = await Promise.all(
    placesIn(line).map(async place => {
      const file = resolve(cwd, place.path.replace(/^~(?=\/)/, homedir()));
      const found = await stat(file).catch(() => undefined);
      return found?.isFile() ? new FileLink(file, place) : undefined;
    }),
  );
  return links.filter(link => link !== undefined);
}

/** Opens a file; lines and columns count from 1, as programs print them. */
export async function openAt(file: string, line?: number, column?: number): Promise<void> {
  const position = new Position(Math.max(0, (line ?? 1) - 1), Math.max(0, (column ?? 1) - 1));
  await window.showTextDocument(Uri.file(file), { preview: true, ...(line === undefined ? {} : { selection: new Range(position, position) }) });
}
