// From what a person chose to the params of `run/start`, and from a run to the params of the same run again.
import { isAbsolute, join } from "node:path";
import type { PermissionMode, Run, StartParams } from "../protocol";

/** What *Start Run…* offers: params of `run/start` with a name. What is missing is asked for. */
export interface Template extends Pick<StartParams, "provider" | "prompt" | "cwd" | "env" | "model" | "interactive" | "tty" | "permissions" | "timeoutMs"> {
  name: string;
  /** A line for the shell, or the words of a command. */
  command?: string | string[];
  /** Written into the workspace's settings. */
  fromWorkspace?: boolean;
}

export interface Surroundings {
  /** The folder that relative ones are relative to. */
  cwd: string | undefined;
  title?: string;
  /** Commands get a terminal. */
  terminal: boolean;
  permissions: PermissionMode;
  /** Which model, where the template does not say. */
  model?: string | undefined;
  /** End after the first turn; an agent that is talked with stays. */
  once?: boolean;
}

/** A line is for the shell; a list is an argv. */
export function argvOf(command: string | readonly string[], windows = process.platform === "win32"): string[] {
  if (typeof command !== "string") return [...command];
  return windows ? ["cmd.exe", "/d", "/s", "/c", command] : ["/bin/sh", "-c", command];
}

export function startParams(template: Template, around: Surroundings): StartParams {
  const cwd = template.cwd == null ? around.cwd : isAbsolute(template.cwd) ? template.cwd : around.cwd === undefined ? undefined : join(around.cwd, template.cwd);
  const asked = template.prompt != null;
  const params: StartParams = {
    provider: template.provider,
    // What is not looked at is not sent: the views attach when they open.
    attach: false,
    onDisconnect: "detach",
    ...(cwd === undefined ? {} : { cwd }),
    ...(template.env == null ? {} : { env: template.env }),
    ...(template.command === undefined ? {} : { command: argvOf(template.command) }),
    ...(template.timeoutMs == null ? {} : { timeoutMs: template.timeoutMs }),
    ...(around.title ? { title: around.title } : {}),
  };
  if (asked) {
    params.prompt = template.prompt ?? "";
    params.permissions = template.permissions ?? around.permissions;
    const model = template.model ?? around.model;
    if (model != null) params.model = model;
    params.interactive = template.interactive ?? !around.once;
  } else {
    params.tty = template.tty ?? around.terminal;
    if (template.interactive != null) params.interactive = template.interactive;
  }
  return params;
}

/** Params that a kept run was started with and that may be used again; the values of `env` are not kept. */
const AGAIN = ["provider", "prompt", "command", "args", "cwd", "stdin", "tty", "interactive", "model", "permissions", "timeoutMs", "idleTimeoutMs", "keepIdleMs", "keep", "maxOutputBytes", "title", "labels"] as const;

export function againParams(run: Run): StartParams {
  const kept = Object.fromEntries(AGAIN.filter(name => run.params[name] != null).map(name => [name, run.params[name]]));
  return { ...kept, provider: run.provider, ...(run.title ? { title: run.title } : {}), attach: false, onDisconnect: "detach" };
}

/** Names of variables that the run had and that its repetition will not have. */
export function lostEnvironment(run: Run): string[] {
  const names = run.params["envNames"];
  return Array.isArray(names) ? names.filter(name => typeof name === "string") : [];
}
