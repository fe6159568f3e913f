// Marks runs that ended or finished responding while nobody looked, until they are opened.
import { EventEmitter, Uri, window, type Disposable, type FileDecoration, type FileDecorationProvider } from "vscode";
import type { Services } from "../services";
import type { Run } from "../protocol";
import { isFinal } from "../runs/run";
import { isInWorkspace } from "./files";
import { RUN_SCHEME, runUri } from "./rows";

const UNREAD_KEY = "loomd.unread";
const MAX_UNREAD = 500;
/** When this window last looked at the runs. What ended later, while it was closed, is unread. */
const LOOKED_AT_KEY = "loomd.lookedAt";
const LOOKED_AT_INTERVAL_MS = 1_000;

export class Unread implements FileDecorationProvider, Disposable {
  private readonly ids: Set<string>;
  private readonly changed = new EventEmitter<Uri[]>();
  readonly onDidChangeFileDecorations = this.changed.event;
  private readonly disposables: Disposable[];
  private lookedAt: number;

  /** `isSeen`: whether the run is on the screen now. `redraw` draws its row again. */
  constructor(
    private readonly services: Pick<Services, "context" | "runs">,
    private readonly isSeen: (id: string) => boolean,
    private readonly redraw: (ids: string[]) => void,
  ) {
    this.ids = new Set(services.context.workspaceState.get<string[]>(UNREAD_KEY, []));
    const closedAt = (this.lookedAt = services.context.workspaceState.get<number>(LOOKED_AT_KEY, Date.now()));
    this.disposables = [
      window.registerFileDecorationProvider(this),
      services.runs.onDidChange(({ runs }) => {
        for (const [id, { before, after }] of runs) {
          // Whoever ended a run knows.
          if (!after || after.state === "cancelled") this.mark(id, false);
          else if ((before ? hasNews(before, after) : isInWorkspace(after) && endedSince(after, closedAt)) && !this.isSeen(id)) this.mark(id, true);
        }
        this.look();
      }),
    ];
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private look(): void {
    if (Date.now() - this.lookedAt < LOOKED_AT_INTERVAL_MS) return;
    this.lookedAt = Date.now();
    void this.services.context.workspaceState.update(LOOKED_AT_KEY, this.lookedAt);
  }

  has(id: string): boolean {
    return this.ids.has(id);
  }

  mark(id: string, unread: boolean): void {
    if (this.ids.has(id) === unread) return;
    if (unread) this.ids.add(id);
    else this.ids.delete(id);
    void this.services.context.workspaceState.update(UNREAD_KEY, [...this.ids].slice(-MAX_UNREAD));
    this.changed.fire([runUri(id)]);
    this.redraw([id]);
  }

  markAllRead(): void {
    for (const id of [...this.ids]) this.mark(id, false);
  }

  provideFileDecoration({ scheme, path }: Uri): FileDecoration | undefined {
    return scheme === RUN_SCHEME && this.ids.has(path.slice(1)) ? { badge: "●", tooltip: "Unread" } : undefined;
  }
}

const endedSince = (run: Run, at: number): boolean => isFinal(run) && (run.endedAt ?? 0) > at;

function hasNews(before: Run, after: Run): boolean {
  if (isFinal(after)) return !isFinal(before);
  return after.state === "idle" && before.state !== "idle" && before.state !== "starting";
}
