// The params with which a run is run again, or its session resumed, and what may be sent where.
import type { Prompt, Run, StartParams } from "../protocol";
import { Failure } from "../server/failure";

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

/** Throws if a prompt for a host has links to files: it would read its own files of those names, or none. */
export function refuseLinks(host: string | undefined, prompt: Prompt): void {
  if (host === undefined || typeof prompt === "string") return;
  const link = prompt.find(({ type }) => type === "resource_link");
  if (link) throw new Failure("unsupported", `${String(link["name"] ?? "A file")} is on this computer, and ${host} can't read it. Select its text and use Send Selection to Run… instead.`);
}
