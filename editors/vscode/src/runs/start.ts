// Builds the params of `run/start`: from a template, or from a previous run that is run again.
import { isAbsolute, join } from "node:path";
import type { PermissionMode, Prompt, Run, StartParams } from "../protocol";
import { Failure } from "../server/failure";

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

/** Throws if a prompt for a host has links to files: it would read its own files of those names, or none. */
export function refuseLinks(host: string | undefined, prompt: Prompt): void {
  if (host === undefined || typeof prompt === "string") return;
  const link = prompt.find(({ type }) => type === "resource_link");
  if (link) throw new Failure("unsupported", `${String(link["name"] ?? "A file")} is on this computer, and ${host} can't read it. Select its text and use Send Selection to Run… instead.`);
}

/** Stored params that are used to run a run again. The store keeps names of `env` variables, not their values. */
const RERUN_PARAMS = ["provider", "prompt", "command", "args", "cwd", "stdin", "tty", "interactive", "model", "permissions", "timeoutMs", "idleTimeoutMs", "keepIdleMs", "keep", "maxOutputBytes", "title", "labels"] as const;

export function rerunParams(run: Run): StartParams {
  const kept = Object.fromEntries(RERUN_PARAMS.filter(name => run.params[name] != null).map(name => [name, run.params[name]]));
  return { ...kept, provider: run.provider, ...(run.title ? { title: run.title } : {}), attach: false, onDisconnect: "detach" };
}

/** Names of variables that the run had and that a new run of it will not have. */
export function missingEnvironment(run: Run): string[] {
  const names = run.params["envNames"];
  return Array.isArray(names) ? names.filter(name => typeof name === "string") : [];
}
