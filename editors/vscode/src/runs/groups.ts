// Groups runs for the list: runs that need input first, then active ones, then those that ended since activation, then
// agents that have been idle for long, then all earlier ones.
import type { Run } from "../protocol";
import { isFinal, isWaiting } from "./run";

export interface RunGroups {
  waiting: Run[];
  /** Active runs, also agents that became idle a short time ago. */
  live: Run[];
  /** Runs that ended since this window opened. They stay visible. */
  ended: Run[];
  /** Agents that have been idle for long, those that became so last first. */
  idle: Run[];
  earlier: Run[];
}

/** An agent that has been idle for this long is listed under *Idle*. */
export const IDLE_SHOWN_MS = 15 * 60_000;

/** How many ended runs are listed outside of *Earlier*. */
export const MAX_ENDED_SHOWN = 5;

/** `idleSince` returns when a run became idle. */
export function groupRuns(runs: Iterable<Run>, since: number, idleSince: (run: Run) => number | undefined = () => undefined, now = Date.now()): RunGroups {
  const result: RunGroups = { waiting: [], live: [], ended: [], idle: [], earlier: [] };
  for (const run of runs) {
    if (isWaiting(run)) result.waiting.push(run);
    else if (run.state === "idle" && now - (idleSince(run) ?? now) >= IDLE_SHOWN_MS) result.idle.push(run);
    else if (!isFinal(run)) result.live.push(run);
    else if ((run.endedAt ?? 0) >= since) result.ended.push(run);
    else result.earlier.push(run);
  }
  // Run IDs are UUIDs of version 7, so they sort by time of creation.
  const byNewest = (a: Run, b: Run) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
  // The run that has waited longest comes first.
  result.waiting.sort((a, b) => waitingSince(a) - waitingSince(b) || byNewest(b, a));
  result.live.sort((a, b) => Number(a.state === "idle") - Number(b.state === "idle") || byNewest(a, b));
  result.idle.sort((a, b) => (idleSince(b) ?? 0) - (idleSince(a) ?? 0) || byNewest(a, b));
  result.ended.sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0) || byNewest(a, b));
  result.earlier.push(...result.ended.splice(MAX_ENDED_SHOWN));
  result.earlier.sort(byNewest);
  return result;
}

function waitingSince(run: Run): number {
  return run.permissions?.[0]?.at ?? run.createdAt;
}
