// A run's output in a terminal: colours as they are, Ctrl-C cancels, what is typed goes to a run that listens. Closing it ends nothing.
import { EventEmitter, ThemeIcon, window, type Disposable, type Pseudoterminal, type Terminal } from "vscode";
import type { Base } from "../base";
import type { Entry, Run } from "../protocol";
import { Newlines, Pace } from "../runs/pace";
import { commandLine, elapsed, isFinal, nameOf, stateWords } from "../runs/words";
import { Failure } from "../server/failure";

/** How often the terminal is given something. */
const DRAW_MS = 40;
/** Of a run that wrote more than this, the end is shown. */
const SHOWN_BYTES = 1_048_576;

type Shared = Pick<Base, "server" | "runs" | "feeds">;

export interface Hooks {
  rerun(run: Run): void;
  /** The run is final and all of it has been written. */
  ended?(run: Run): void;
  closed(): void;
}

export class OutputTerminal implements Pseudoterminal {
  private readonly write = new EventEmitter<string>();
  private readonly finish = new EventEmitter<number | void>();
  private readonly rename = new EventEmitter<string>();
  readonly onDidWrite = this.write.event;
  readonly onDidClose = this.finish.event;
  readonly onDidChangeName = this.rename.event;
  private readonly pace = new Pace();
  private readonly newlines = new Newlines();
  private following: Disposable | undefined;
  private timer: NodeJS.Timeout | undefined;
  private line = "";
  private end: Run | undefined;

  constructor(
    private readonly app: Shared,
    readonly runId: string,
    private readonly hooks: Hooks,
  ) {}

  get run(): Run | undefined {
    return this.app.runs.get(this.runId);
  }

  open(): void {
    void this.begin().catch((error: unknown) => this.put(`\r\n\x1b[31m${Failure.from(error).message}\x1b[0m\r\n`));
  }

  close(): void {
    this.following?.dispose();
    clearTimeout(this.timer);
    this.hooks.closed();
  }

  /** Ends the terminal as a task ends. */
  exit(code: number): void {
    this.finish.fire(code);
  }

  private async begin(): Promise<void> {
    const { run } = await this.app.server.request("run/get", { runId: this.runId });
    this.put(`\x1b[2m$ ${commandLine(run.command).replace(/\r?\n/g, "\r\n  ")}\x1b[0m\r\n`);
    let afterSeq = 0;
    if (run.bytes.stdout + run.bytes.stderr > SHOWN_BYTES) {
      const page = await this.app.server.request("run/read", { runId: this.runId, beforeSeq: run.lastSeq + 1, maxBytes: SHOWN_BYTES, kinds: ["output"] });
      if (page.atStart !== true) this.put("\x1b[2m… earlier output is not shown here; “loomd: Save Output…” has all of it …\x1b[0m\r\n");
      for (const entry of page.entries) this.take(entry);
      afterSeq = isFinal(run) ? run.lastSeq - 1 : run.lastSeq;
    }
    this.following = this.app.feeds.follow(this.runId, {
      kinds: ["output", "state"],
      afterSeq,
      take: entries => {
        for (const entry of entries) this.take(entry);
      },
      failed: failure => this.put(`\r\n\x1b[31m${failure.message}\x1b[0m\r\n`),
    });
  }

  private take(entry: Entry): void {
    if (entry.kind === "output") this.put(this.run?.params["tty"] === true ? entry.text : this.newlines.convert(entry.text));
    if (entry.kind === "state" && isFinal(entry)) {
      // The store has the whole run by then, or very soon.
      void this.app.runs.refresh(this.runId).finally(() => {
        this.end = this.run;
        this.draw();
      });
    }
  }

  private put(text: string): void {
    this.pace.push(text);
    this.draw();
  }

  private draw(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const text = this.pace.take();
      if (text !== "") this.write.fire(text);
      if (!this.pace.empty) this.draw();
      else if (this.end) this.foot(this.end);
    }, DRAW_MS);
  }

  private foot(run: Run): void {
    if (!this.following) return;
    this.following.dispose();
    this.following = undefined;
    const colour = run.state === "succeeded" ? 32 : run.state === "cancelled" ? 33 : 31;
    const again = this.hooks.ended ? "" : "; press R to run it again";
    this.write.fire(`\r\n\x1b[${colour}m● ${stateWords(run)}\x1b[0;2m after ${elapsed(run, Date.now())}${again}\x1b[0m\r\n`);
    this.hooks.ended?.(run);
  }

  handleInput(data: string): void {
    const run = this.run;
    if (!run) return;
    if (isFinal(run)) {
      if (data.toLowerCase() === "r") this.hooks.rerun(run);
      return;
    }
    const [interactive, tty] = [run.params["interactive"] === true, run.params["tty"] === true];
    // A program with a terminal of its own hears Ctrl-C as it would in any terminal.
    if (interactive && tty) return this.send(data);
    if (data === "\x03") {
      this.write.fire("^C\r\n");
      void this.app.server.request("run/cancel", { runId: this.runId }).catch((error: unknown) => this.put(`\x1b[31m${Failure.from(error).message}\x1b[0m\r\n`));
      return;
    }
    if (interactive) this.edit(data);
  }

  /** A program behind a pipe has no line editor; this one knows Backspace, Enter and Ctrl-D. */
  private edit(data: string): void {
    for (const key of data) {
      if (key === "\r") {
        this.write.fire("\r\n");
        this.send(`${this.line}\n`);
        this.line = "";
      } else if (key === "\x7f") {
        if (this.line === "") continue;
        this.line = [...this.line].slice(0, -1).join("");
        this.write.fire("\b \b");
      } else if (key === "\x04" && this.line === "") {
        void this.app.server.request("run/closeInput", { runId: this.runId }).catch(() => {});
      } else if (key >= " ") {
        this.line += key;
        this.write.fire(key);
      }
    }
  }

  private send(text: string): void {
    void this.app.server.request("run/send", { runId: this.runId, text }).catch((error: unknown) => this.put(`\r\n\x1b[31m${Failure.from(error).message}\x1b[0m\r\n`));
  }
}

/** The output terminals that are open: one for each run. */
export class Outputs {
  private readonly open = new Map<string, { terminal: Terminal; pty: OutputTerminal }>();
  rerun: (run: Run) => void = () => {};

  constructor(private readonly app: Shared) {}

  show(run: Run, preserveFocus = false): void {
    const known = this.open.get(run.id);
    if (known) return known.terminal.show(preserveFocus);
    const pty = new OutputTerminal(this.app, run.id, { rerun: again => this.rerun(again), closed: () => this.open.delete(run.id) });
    const terminal = window.createTerminal({ name: nameOf(run).slice(0, 40), pty, isTransient: true, iconPath: new ThemeIcon("run-all") });
    this.open.set(run.id, { terminal, pty });
    terminal.show(preserveFocus);
  }

  /** The run that a terminal shows. In the terminals of tasks VS Code finds places by itself. */
  runOf(terminal: Terminal): Run | undefined {
    const { pty } = terminal.creationOptions as { pty?: unknown };
    return pty instanceof OutputTerminal ? pty.run : undefined;
  }

  isActive(runId: string): boolean {
    const known = this.open.get(runId);
    return known !== undefined && window.activeTerminal === known.terminal;
  }
}

