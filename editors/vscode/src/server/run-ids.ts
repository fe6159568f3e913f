// IDs of runs on hosts. Everywhere in the extension the run ID of the host NAME is `NAME/ID`, so that no two runs have
// the same one; only its own server knows it as ID.
import type { Run } from "../protocol";

/** The host of a run; `undefined` for a run of this computer. */
export const hostOf = (runId: string): string | undefined => (runId.includes("/") ? runId.slice(0, runId.lastIndexOf("/")) : undefined);

/** The ID that the server of the run knows. */
export const bareId = (runId: string): string => runId.slice(runId.lastIndexOf("/") + 1);

interface Params {
  runId?: unknown;
  resume?: { runId?: unknown } | null;
}

/** The host that a request is about, by the run that it names. */
export function hostOfRequest(params: object): string | undefined {
  const { runId, resume } = params as Params;
  const id = runId ?? resume?.runId;
  return typeof id === "string" ? hostOf(id) : undefined;
}

/** The params as the server of the run knows them. */
export function localized<P extends object>(params: P): P {
  const { runId, resume } = params as Params;
  if (hostOfRequest(params) === undefined) return params;
  return { ...params, ...(typeof runId === "string" ? { runId: bareId(runId) } : {}), ...(typeof resume?.runId === "string" ? { resume: { runId: bareId(resume.runId) } } : {}) };
}

/** A result, or the params of a notification, with the host in all of its run IDs. */
export function qualified<T>(host: string, message: T): T {
  if (typeof message !== "object" || message === null) return message;
  const id = (value: string) => `${host}/${value}`;
  const named = <E extends object>(entry: E): E => {
    const { runId } = entry as Params;
    return typeof runId === "string" ? { ...entry, runId: id(runId) } : entry;
  };
  const whole = (run: Run): Run => {
    const { resume } = run.params as Params;
    return {
      ...run,
      id: id(run.id),
      ...(run.parentRunId == null ? {} : { parentRunId: id(run.parentRunId) }),
      ...(run.enclosingRunIds == null ? {} : { enclosingRunIds: run.enclosingRunIds.map(id) }),
      ...(run.permissions == null ? {} : { permissions: run.permissions.map(named) }),
      ...(resume ? { params: { ...run.params, resume: named(resume) } } : {}),
    };
  };
  const { run, runs, runIds, ...rest } = named(message) as T & { run?: Run; runs?: Run[]; runIds?: string[] };
  const lists = Object.entries(rest).map(([name, value]) => [name, Array.isArray(value) && ["hits", "sessions", "entries"].includes(name) ? (value as object[]).map(named) : value]);
  return { ...Object.fromEntries(lists), ...(run ? { run: whole(run) } : {}), ...(runs ? { runs: runs.map(whole) } : {}), ...(runIds ? { runIds: runIds.map(id) } : {}) } as T;
}

/** Why files of a run are not opened or changed here; `undefined`: they are on this computer. */
export function elsewhere({ id }: Pick<Run, "id">): string | undefined {
  const host = hostOf(id);
  return host === undefined ? undefined : `The files of this run are on ${host}.`;
}
