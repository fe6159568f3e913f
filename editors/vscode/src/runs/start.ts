// Builds the params of `run/start`: from a template, or from a previous run that is run again.
import { isAbsolute, join } from "node:path";
import type { PermissionMode, StartParams } from "../protocol";

/** An entry of *New Run…*: named params of `run/start`. The user is asked for a missing prompt or command. */
export interface Template extends Pick<StartParams, "provider" | "prompt" | "cwd" | "env" | "model" | "interactive" | "tty" | "permissions" | "timeoutMs"> {
  name: string;
  /** A shell command line, or an array of arguments. */
  command?: string | string[];
  /** Whether it runs in a new git worktree, on a branch of its own. */
  worktree?: boolean;
  /** Whether it comes from workspace settings. */
  fromWorkspace?: boolean;
}

export interface StartDefaults {
  /** The folder that a relative `cwd` of the template is resolved against. */
  cwd: string | undefined;
  title?: string;
  /** Whether it runs on a host, whose shell is not this computer's. */
  onHost?: boolean;
  /** Whether commands run in a pseudoterminal. */
  terminal: boolean;
  permissions: PermissionMode;
  /** The model, if the template names none. */
  model?: string | undefined;
  /** Whether an agent ends after its first turn, instead of staying open for follow-ups. */
  singleTurn?: boolean;
}

/** A string is a line for the shell; an array is already an argv. */
export function argvOf(command: string | readonly string[], windows = process.platform === "win32"): string[] {
  if (typeof command !== "string") return [...command];
  return windows ? ["cmd.exe", "/d", "/s", "/c", command] : ["/bin/sh", "-c", command];
}

export function startParams(template: Template, defaults: StartDefaults): StartParams {
  const cwd = template.cwd == null ? defaults.cwd : isAbsolute(template.cwd) ? template.cwd : defaults.cwd === undefined ? undefined : join(defaults.cwd, template.cwd);
  const isAgent = template.prompt != null;
  const params: StartParams = {
    provider: template.provider,
    // The server sends no output until a view attaches.
    attach: false,
    onDisconnect: "detach",
    ...(cwd === undefined ? {} : { cwd }),
    ...(template.env == null ? {} : { env: template.env }),
    ...(template.command === undefined ? {} : { command: argvOf(template.command, defaults.onHost ? false : undefined) }),
    ...(template.timeoutMs == null ? {} : { timeoutMs: template.timeoutMs }),
    ...(defaults.title ? { title: defaults.title } : {}),
  };
  if (isAgent) {
    params.prompt = template.prompt ?? "";
    params.permissions = template.permissions ?? defaults.permissions;
    const model = template.model ?? defaults.model;
    if (model != null) params.model = model;
    params.interactive = template.interactive ?? !defaults.singleTurn;
  } else {
    params.tty = template.tty ?? defaults.terminal;
    if (template.interactive != null) params.interactive = template.interactive;
  }
  return params;
}
