// Tasks of the type `loomd`: runs from tasks.json, as a step before debugging, with problem matchers. Ending the task cancels its run;
// reloading the window does not.
import { CustomExecution, EventEmitter, Task, TaskScope, workspace, type Disposable, type Pseudoterminal, type TaskDefinition, type TaskProvider, type WorkspaceFolder } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { Run } from "../protocol";
import { startParams, type Template } from "../runs/start";
import { isFinal } from "../runs/words";
import { Failure } from "../server/failure";
import { OutputTerminal } from "./output";

export const TYPE = "loomd";

interface Definition extends TaskDefinition, Omit<Partial<Template>, "name"> {
  template?: string;
}

/** Between the end of a task's terminal and the cancelling of its run: a window that is being reloaded does not live so long. */
const REGRET_MS = 1_000;

export class Tasks implements TaskProvider, Disposable {
  private readonly regrets = new Set<NodeJS.Timeout>();

  constructor(private readonly app: App) {}

  dispose(): void {
    for (const timer of this.regrets) clearTimeout(timer);
  }

  provideTasks(): Task[] {
    return settings
      .templates()
      .filter(template => template.command !== undefined || template.prompt !== undefined)
      .map(template => this.task({ type: TYPE, template: template.name }, template.name, undefined));
  }

  resolveTask(task: Task): Task {
    const scope = task.scope;
    return this.task(task.definition as Definition, task.name, typeof scope === "object" ? scope : undefined, task);
  }

  private task(definition: Definition, name: string, folder: WorkspaceFolder | undefined, given?: Task): Task {
    const execution = new CustomExecution(async resolved => this.terminal(resolved as Definition, name, folder));
    const task = new Task(given?.definition ?? definition, folder ?? TaskScope.Workspace, name, TYPE, execution, given?.problemMatchers ?? []);
    return task;
  }

  private async terminal(definition: Definition, name: string, folder: WorkspaceFolder | undefined): Promise<Pseudoterminal> {
    const template = definition.template === undefined ? undefined : settings.templates().find(({ name }) => name === definition.template);
    if (definition.template !== undefined && !template) return refusal(`There is no template “${definition.template}” in the setting loomd.templates.`);
    const wanted: Template = { ...template, ...definition, name, provider: definition.provider ?? template?.provider ?? "command" };
    const cwd = (folder ?? workspace.workspaceFolders?.[0])?.uri.fsPath;
    let run: Run;
    try {
      ({ run } = await this.app.server.request("run/start", startParams(wanted, { cwd, title: name, terminal: settings.terminal(), permissions: settings.permissions(), model: settings.model(wanted.provider), once: true })));
    } catch (error) {
      return refusal(Failure.from(error).message);
    }
    this.app.mine.add(run.id);
    this.app.runs.put(run);
    const pty = new OutputTerminal(this.app, run.id, {
      rerun: () => {},
      ended: ({ state, exitCode }) => pty.exit(exitCode ?? (state === "succeeded" ? 0 : 1)),
      closed: () => {
        const known = this.app.runs.get(run.id);
        if (!known || isFinal(known)) return;
        const timer = setTimeout(() => {
          this.regrets.delete(timer);
          void this.app.server.request("run/cancel", { runId: run.id }).catch(() => {});
        }, REGRET_MS);
        this.regrets.add(timer);
      },
    });
    return pty;
  }
}

/** A terminal that says why nothing was started. */
function refusal(message: string): Pseudoterminal {
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
