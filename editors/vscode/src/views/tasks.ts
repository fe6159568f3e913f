// Tasks of type `loomd`: runs defined in tasks.json, with problem matchers, also as a `preLaunchTask`. Terminating the
// task ends its run; reloading the window does not.
import { CustomExecution, EventEmitter, Task, tasks as taskRegistry, TaskScope, workspace, type Disposable, type Pseudoterminal, type TaskDefinition, type TaskProvider, type WorkspaceFolder } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { Run, StartParams } from "../protocol";
import { startParams, type Template } from "../runs/start";
import { isFinal } from "../runs/run";
import { Failure } from "../server/failure";
import { OutputTerminal } from "./output";

export const TASK_TYPE = "loomd";

interface LoomdTaskDefinition extends TaskDefinition, Omit<Partial<Template>, "name"> {
  template?: string;
}

/**
 * Delay between the end of a task's terminal and the end of its run. A window that reloads is gone before, so the run
 * stays.
 */
const CANCEL_DELAY_MS = 1_000;

/** How long a task's output is held back for a VS Code that does not tell when it reads. */
const READ_TIMEOUT_MS = 10_000;

export class Tasks implements TaskProvider, Disposable {
  private readonly cancelTimers = new Set<NodeJS.Timeout>();
  /** Tasks whose terminal is open, by name, and what lets them write. */
  private readonly held: { name: string; release(): void }[] = [];
  private readonly started: Disposable;

  constructor(private readonly app: App) {
    // VS Code's problem matchers read a terminal only from this event on. A short task would have ended before.
    this.started = taskRegistry.onDidStartTaskProcess(({ execution: { task } }) => this.held.find(({ name }) => name === task.name)?.release());
  }

  dispose(): void {
    this.started.dispose();
    for (const timer of this.cancelTimers) clearTimeout(timer);
  }

  provideTasks(): Task[] {
    return settings
      .templates()
      .filter(template => template.command !== undefined || template.prompt !== undefined)
      .map(template => this.createTask({ type: TASK_TYPE, template: template.name }, template.name, undefined));
  }

  resolveTask(task: Task): Task {
    const scope = task.scope;
    return this.createTask(task.definition as LoomdTaskDefinition, task.name, typeof scope === "object" ? scope : undefined, task);
  }

  private createTask(definition: LoomdTaskDefinition, name: string, folder: WorkspaceFolder | undefined, given?: Task): Task {
    const execution = new CustomExecution(async resolved => this.openTerminal(resolved as LoomdTaskDefinition, name, folder));
    const task = new Task(given?.definition ?? definition, folder ?? TaskScope.Workspace, name, TASK_TYPE, execution, given?.problemMatchers ?? []);
    return task;
  }

  private async openTerminal(definition: LoomdTaskDefinition, name: string, folder: WorkspaceFolder | undefined): Promise<Pseudoterminal> {
    const template = definition.template === undefined ? undefined : settings.templates().find(({ name }) => name === definition.template);
    if (definition.template !== undefined && !template) return errorTerminal(`Template "${definition.template}" not found in loomd.templates.`);
    const complete: Template = { ...template, ...definition, name, provider: definition.provider ?? template?.provider ?? "command" };
    const cwd = (folder ?? workspace.workspaceFolders?.[0])?.uri.fsPath;
    let run: Run;
    try {
      const begin = (given: StartParams) => this.app.server.request("run/start", given);
      const params = startParams(complete, { cwd, title: name, terminal: settings.terminal(), permissions: settings.permissions(), model: settings.model(complete.provider), singleTurn: true });
      ({ run } = await (complete.worktree ? this.app.worktrees.start(params, begin) : begin(params)));
    } catch (error) {
      return errorTerminal(Failure.from(error).message);
    }
    this.app.startedHere.add(run.id);
    this.app.runs.put(run);
    const pty = new OutputTerminal(this.app, run.id, {
      rerun: () => {},
      ready: this.hold(name),
      ended: ({ state, exitCode }) => pty.exit(exitCode ?? (state === "succeeded" ? 0 : 1)),
      closed: () => {
        const known = this.app.runs.get(run.id);
        if (!known || isFinal(known)) return;
        const timer = setTimeout(() => {
          this.cancelTimers.delete(timer);
          void this.app.server.request("run/cancel", { runId: run.id }).catch(() => {});
        }, CANCEL_DELAY_MS);
        this.cancelTimers.add(timer);
      },
    });
    return pty;
  }

  /** Settles when VS Code reads the terminal of the task. */
  private hold(name: string): Promise<void> {
    return new Promise(resolve => {
      const release = () => {
        clearTimeout(timer);
        const at = this.held.indexOf(entry);
        if (at !== -1) this.held.splice(at, 1);
        resolve();
      };
      const timer = setTimeout(release, READ_TIMEOUT_MS);
      const entry = { name, release };
      this.held.push(entry);
    });
  }
}

/** A terminal that shows why the task could not be started. */
function errorTerminal(message: string): Pseudoterminal {
  const write = new EventEmitter<string>();
  const close = new EventEmitter<number>();
  return {
    onDidWrite: write.event,
    onDidClose: close.event,
    open: () => {
      write.fire(`\x1b[31m${message}\x1b[0m\r\n`);
      close.fire(127);
    },
    close: () => {},
  };
}
