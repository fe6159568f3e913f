// The filter of the list of runs, and its groups by folder or by day.
import type { Run, RunState } from "../protocol";
import { hostOf } from "../server/run-ids";
import { isFinal, isWaiting, nameOf } from "./run";

export interface RunFilter {
  /** Words that all have to be in the name, prompt, command, folder, host, agent or branch, in any order and case. */
  text: string;
  states: StateFilter[];
  providers: string[];
  folders: string[];
}

export type StateFilter = "waiting" | "active" | "idle" | "succeeded" | "failed" | "canceled";

export const STATE_FILTERS: Readonly<Record<StateFilter, string>> = { waiting: "Needs input", active: "Running", idle: "Idle", succeeded: "Succeeded", failed: "Failed", canceled: "Canceled" };

export const NO_FILTER: RunFilter = { text: "", states: [], providers: [], folders: [] };

export const isFiltering = ({ text, states, providers, folders }: RunFilter): boolean => text.trim() !== "" || states.length + providers.length + folders.length > 0;

const OF_FINAL: Readonly<Partial<Record<RunState, StateFilter>>> = { succeeded: "succeeded", cancelled: "canceled" };

export function stateFilterOf(run: Run): StateFilter {
  if (isWaiting(run)) return "waiting";
  if (!isFinal(run)) return run.state === "idle" ? "idle" : "active";
  return OF_FINAL[run.state] ?? "failed";
}

const searchText = (run: Run): string => [nameOf(run), hostOf(run.id) ?? "", run.cwd, run.provider, branchOf(run) ?? "", typeof run.params["prompt"] === "string" ? run.params["prompt"] : "", run.command.join(" ")].join("\n").toLowerCase();

/** A filter without any of its parts lets all runs through; several values of one part are alternatives. */
export function matches(run: Run, { text, states, providers, folders }: RunFilter): boolean {
  const one = <T>(values: readonly T[], value: T) => values.length === 0 || values.includes(value);
  if (!one(states, stateFilterOf(run)) || !one(providers, run.provider) || !one(folders, run.cwd)) return false;
  const words = text.toLowerCase().split(/\s+/).filter(word => word !== "");
  if (words.length === 0) return true;
  const searched = searchText(run);
  return words.every(word => searched.includes(word));
}

/** The filter in a few words, for the line above the list. */
export function filterText({ text, states, providers, folders }: RunFilter): string {
  return [text.trim() === "" ? "" : `"${text.trim()}"`, states.map(state => STATE_FILTERS[state]).join(" or "), providers.join(" or "), folders.map(folderName).join(" or ")].filter(part => part !== "").join(", ");
}

/** The git branch that a run works on in a worktree of its own. */
export const branchOf = ({ labels }: Run): string | undefined => labels["branch"];

export const folderName = (path: string): string => path.split(/[/\\]/).findLast(part => part !== "") ?? path;

export type Grouping = "state" | "folder" | "day";

export interface RunGroup {
  key: string;
  label: string;
  runs: Run[];
}

/** Groups runs by folder or day; the group with the newest run comes first, and in a group the newest run. */
export function groupBy(grouping: "folder" | "day", runs: Iterable<Run>, now = Date.now()): RunGroup[] {
  const groups = new Map<string, RunGroup>();
  // Run IDs are UUIDs of version 7, so they sort by time of creation.
  for (const run of [...runs].sort((a, b) => (a.id < b.id ? 1 : -1))) {
    const key = grouping === "folder" ? run.cwd : dayOf(run.createdAt);
    const group = groups.get(key) ?? { key, label: grouping === "folder" ? folderName(key) : dayLabel(key, now), runs: [] };
    groups.set(key, group);
    group.runs.push(run);
  }
  return [...groups.values()];
}

/** The local day of a time, as `2026-01-31`. */
function dayOf(at: number): string {
  const date = new Date(at);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(part => String(part).padStart(2, "0")).join("-");
}

function dayLabel(day: string, now: number): string {
  if (day === dayOf(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return day === dayOf(yesterday.getTime()) ? "Yesterday" : day;
}
