// Which runs stand where: those that wait for somebody first, then the live ones, then what ended while we watched, then everything earlier.
import type { Run } from "../protocol";
import { isFinal, isWaiting } from "./words";

export interface Ordered {
  waiting: Run[];
  live: Run[];
  /** Ended since this window opened; they stay in sight. */
  ended: Run[];
  earlier: Run[];
}

/** How many runs that ended stay outside of *Earlier*. */
export const KEPT_IN_SIGHT = 5;

export function order(runs: Iterable<Run>, since: number): Ordered {
  const result: Ordered = { waiting: [], live: [], ended: [], earlier: [] };
  for (const run of runs) {
    if (!isFinal(run)) (isWaiting(run) ? result.waiting : result.live).push(run);
    else if ((run.endedAt ?? 0) >= since) result.ended.push(run);
    else result.earlier.push(run);
  }
  // Ids are UUIDs of version 7: they sort by time of creation.
  const newest = (a: Run, b: Run) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
  // Who has waited longest comes first.
  result.waiting.sort((a, b) => waitingSince(a) - waitingSince(b) || newest(b, a));
  result.live.sort(newest);
  result.ended.sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0) || newest(a, b));
  result.earlier.push(...result.ended.splice(KEPT_IN_SIGHT));
  result.earlier.sort(newest);
  return result;
}

function waitingSince(run: Run): number {
  return run.permissions?.[0]?.at ?? run.createdAt;
}
