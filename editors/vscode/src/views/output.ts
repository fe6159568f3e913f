// Shows a run's output in a terminal. Ctrl-C ends the run; input is sent to an interactive run. Closing the terminal
// does not end the run.
import { EventEmitter, ThemeIcon, window, type Disposable, type Pseudoterminal, type Terminal, type TerminalDimensions } from "vscode";
import type { Services } from "../services";
import type { Entry, Run } from "../protocol";
import { NewlineConverter, OutputBuffer } from "../runs/output-buffer";
import { capitalized, commandLine, formatElapsed, isFinal, stateLabel, titleOf, visible } from "../runs/run";
import { Failure } from "../server/failure";

/** Output is written to the terminal this often at most. */
const WRITE_INTERVAL_MS = 40;
/** If a run printed more than this, only the end is shown. */
const MAX_INITIAL_BYTES = 1_048_576;

/**
 * What a terminal answers to programs: its attributes, its status, where the cursor is. The run's supervisor has answered
 * already, and stored output, which asks again, must not type into the program.
 */
const TERMINAL_ANSWERS = /\x1b\[(?:[?>][\d;]*c|0n|\d+;\d+R)/g;

/** Whether it runs in a pseudoterminal, of the usual size or of one that its start named. */
const hasTerminal = (run: Run | undefined): boolean => run?.tty != null || Boolean(run?.params["tty"]);

type OutputServices = Pick<Services, "server" | "runs" | "feeds">;

export interface OutputHooks {
  rerun(run: Run): void;
  /** Nothing is written before. */
  ready?: Promise<void>;
  /** Called when the run has ended and all of its output is written. */
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
  private readonly buffer = new OutputBuffer();
  private readonly newlines = new NewlineConverter();
  private subscription: Disposable | undefined;
  private timer: NodeJS.Timeout | undefined;
  private inputLine = "";
  private finalRun: Run | undefined;

  constructor(
    private readonly services: OutputServices,
    readonly runId: string,
    private readonly hooks: OutputHooks,
  ) {}

  get run(): Run | undefined {
    return this.services.runs.get(this.runId);
  }

  open(size?: TerminalDimensions): void {
    if (size) this.setDimensions(size);
    void (this.hooks.ready ?? Promise.resolve()).then(() => this.follow()).catch((error: unknown) => this.append(`\r\n\x1b[31m${Failure.from(error).message}\x1b[0m\r\n`));
  }

  /** The run's terminal gets the size of ours, so that programs draw for what is seen. */
  setDimensions({ rows, columns }: TerminalDimensions): void {
    const { run } = this;
    if (!run || !hasTerminal(run) || isFinal(run) || !this.services.server.can("run/setSize")) return;
    // The run may end meanwhile, and its size has to fit no program then.
    void this.services.server.request("run/setSize", { runId: this.runId, rows, cols: columns }).catch(() => {});
  }

  close(): void {
    this.subscription?.dispose();
    clearTimeout(this.timer);
    this.hooks.closed();
  }

  /** Closes the terminal with the exit code of its task. */
  exit(code: number): void {
    this.finish.fire(code);
  }

  private async follow(): Promise<void> {
    const { run } = await this.services.server.request("run/get", { runId: this.runId });
    this.append(`\x1b[2m$ ${visible(commandLine(run.command)).replaceAll("\n", "\r\n  ")}\x1b[0m\r\n`);
    let afterSeq = 0;
    if (run.bytes.stdout + run.bytes.stderr > MAX_INITIAL_BYTES) {
      const page = await this.services.server.request("run/read", { runId: this.runId, beforeSeq: run.lastSeq + 1, maxBytes: MAX_INITIAL_BYTES, kinds: ["output"] });
      if (page.atStart !== true) this.append("\x1b[2mOutput truncated. Use \"loomd: Save Output…\" for all of it.\x1b[0m\r\n");
      for (const entry of page.entries) this.handleEntry(entry);
      afterSeq = isFinal(run) ? run.lastSeq - 1 : run.lastSeq;
    }
    this.subscription = this.services.feeds.followOutput(this.runId, {
      afterSeq,
      onEntries: entries => {
        for (const entry of entries) this.handleEntry(entry);
      },
      onFailure: failure => this.append(`\r\n\x1b[31m${failure.message}\x1b[0m\r\n`),
    });
  }

  private handleEntry(entry: Entry): void {
    if (entry.kind === "output") this.append(hasTerminal(this.run) ? entry.text : this.newlines.convert(entry.text));
    if (entry.kind === "state" && isFinal(entry)) {
      // The footer needs the run's totals, which only the whole run has.
      void this.services.runs.refresh(this.runId).finally(() => {
        this.finalRun = this.run;
        this.scheduleWrite();
      });
    }
  }

  private append(text: string): void {
    this.buffer.push(text);
    this.scheduleWrite();
  }

  private scheduleWrite(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const text = this.buffer.next();
      if (text !== "") this.write.fire(text);
      if (!this.buffer.empty) this.scheduleWrite();
      else if (this.finalRun) this.writeFooter(this.finalRun);
    }, WRITE_INTERVAL_MS);
  }

  private writeFooter(run: Run): void {
    if (!this.subscription) return;
    this.subscription.dispose();
    this.subscription = undefined;
    const color = run.state === "succeeded" ? 32 : run.state === "cancelled" ? 33 : 31;
    const rerunHint = this.hooks.ended ? "" : " Press R to run again.";
    this.write.fire(`\r\n\x1b[${color}m${visible(capitalized(stateLabel(run)))}\x1b[0;2m ${run.state === "succeeded" ? "in" : "after"} ${formatElapsed(run, Date.now())}.${rerunHint}\x1b[0m\r\n`);
    this.hooks.ended?.(run);
  }

  handleInput(data: string): void {
    const run = this.run;
    if (!run) return;
    if (isFinal(run)) {
      if (data.toLowerCase() === "r") this.hooks.rerun(run);
      return;
    }
    const [interactive, tty] = [run.params["interactive"] === true, hasTerminal(run)];
    // A program in a pseudoterminal gets Ctrl-C itself, as in any terminal.
    if (interactive && tty) return this.send(data.replace(TERMINAL_ANSWERS, ""));
    if (data === "\x03") {
      this.write.fire("^C\r\n");
      void this.services.server.request("run/cancel", { runId: this.runId }).catch((error: unknown) => this.append(`\x1b[31m${Failure.from(error).message}\x1b[0m\r\n`));
      return;
    }
    if (interactive) this.editLine(data);
  }

  /** A line editor for a program behind a pipe, which has none. It knows Backspace, Enter and Ctrl-D. */
  private editLine(data: string): void {
    for (const key of data) {
      if (key === "\r") {
        this.write.fire("\r\n");
        this.send(`${this.inputLine}\n`);
        this.inputLine = "";
      } else if (key === "\x7f") {
        if (this.inputLine === "") continue;
        this.inputLine = [...this.inputLine].slice(0, -1).join("");
        this.write.fire("\b \b");
      } else if (key === "\x04" && this.inputLine === "") {
        void this.services.server.request("run/closeInput", { runId: this.runId }).catch(() => {});
      } else if (key >= " ") {
        this.inputLine += key;
        this.write.fire(key);
      }
    }
  }

  private send(text: string): void {
    if (text === "") return;
    void this.services.server.request("run/send", { runId: this.runId, text }).catch((error: unknown) => this.append(`\r\n\x1b[31m${Failure.from(error).message}\x1b[0m\r\n`));
  }
}

/** The open output terminals, one for each run. */
export class Outputs {
  private readonly open = new Map<string, { terminal: Terminal; pty: OutputTerminal }>();
  rerun: (run: Run) => void = () => {};

  constructor(private readonly services: OutputServices) {}

  show(run: Run, preserveFocus = false): void {
    const known = this.open.get(run.id);
    if (known) return known.terminal.show(preserveFocus);
    const pty = new OutputTerminal(this.services, run.id, { rerun: again => this.rerun(again), closed: () => this.open.delete(run.id) });
    const terminal = window.createTerminal({ name: titleOf(run).slice(0, 40), pty, isTransient: true, iconPath: new ThemeIcon("run-all") });
    this.open.set(run.id, { terminal, pty });
    terminal.show(preserveFocus);
  }

  /**
   * The run that a terminal shows. For terminals of tasks it returns `undefined`: there VS Code finds file locations
   * itself.
   */
  runOf(terminal: Terminal): Run | undefined {
    const { pty } = terminal.creationOptions as { pty?: unknown };
    return pty instanceof OutputTerminal ? pty.run : undefined;
  }

  isActive(runId: string): boolean {
    const known = this.open.get(runId);
    return known !== undefined && window.activeTerminal === known.terminal;
  }
}

