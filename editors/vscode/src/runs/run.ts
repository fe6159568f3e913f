// What follows from a run's record: its state, name, label, icon and color. Every state has a label, so that nothing
// depends on color alone.
import type { PermissionEntry, Run, RunState, Takeover } from "../protocol";
import { hostOf } from "../server/run-ids";

export type PermissionRequest = Extract<PermissionEntry, { status: "requested" }>;

const FINAL_STATES: readonly RunState[] = ["succeeded", "failed", "cancelled", "timedOut", "lost"];

export const isFinal = (run: Pick<Run, "state">): boolean => FINAL_STATES.includes(run.state);

/** The pending permission requests, oldest first. */
export function permissionRequests(run: Run): PermissionRequest[] {
  if (isFinal(run)) return [];
  return (run.permissions ?? []).filter((entry): entry is PermissionRequest => entry.status === "requested");
}

export const isWaiting = (run: Run): boolean => run.state === "awaitingPermission" || permissionRequests(run).length > 0;

/** The ways to continue the run in a terminal. One without a command cannot be executed, so it is left out. */
export const takeoversOf = (run: Run): Takeover[] => (run.session?.takeover ?? []).filter(way => way.command?.length);

export const nameOf = (run: Run): string => run.displayTitle ?? run.id;

/** "HOST · " before what is said of a run in a list; empty for a run of this computer. */
export function placeOf({ id }: Pick<Run, "id">): string {
  const host = hostOf(id);
  return host === undefined ? "" : `${host} · `;
}

/** The name of a run where nothing else says on which computer it is. */
export function titleOf(run: Run): string {
  const host = hostOf(run.id);
  return host === undefined ? nameOf(run) : `${host}: ${nameOf(run)}`;
}

/** The command line for display: of `sh -c SCRIPT` only the script. */
export function commandLine(command: readonly string[]): string {
  if (command.length === 3 && /(^|[/\\])(ba|z|da|k)?sh$/.test(command[0]!) && command[1] === "-c") return command[2]!;
  return command.join(" ");
}

export function promptText(prompt: unknown): string {
  if (typeof prompt === "string") return prompt;
  if (!Array.isArray(prompt)) return "";
  return prompt
    .map(block => (block as { text?: unknown }).text)
    .filter(text => typeof text === "string")
    .join("\n");
}

function firstLine(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}

/** What a tool of a kind does, for titles, lists and notifications. The request itself shows all of what is asked. */
const ACTIONS: Readonly<Record<string, string>> = {
  read: "read files",
  edit: "edit files",
  delete: "delete files",
  move: "move files",
  execute: "run a command",
  fetch: "access the network",
};

/** "run a command", "edit files" or "use a tool". */
export const actionText = (toolKind: unknown): string => ACTIONS[String(toolKind)] ?? "use a tool";

/** The first line of the request's title. */
export function requestTitle({ toolCall: { title } }: Pick<PermissionRequest, "toolCall">): string {
  return (typeof title === "string" ? title.trim().split("\n", 1)[0] : "") || "a tool";
}

/** A longer name would hide the state beside it, in a picker and in a view of its usual width. */
const MAX_NAME_CHARS = { picker: 48, view: 26 };

/** The text as it fits into a list, beside a state. */
export function shortened(text: string, list: keyof typeof MAX_NAME_CHARS = "picker"): string {
  const chars = [...text];
  return chars.length > MAX_NAME_CHARS[list] ? `${chars.slice(0, MAX_NAME_CHARS[list] - 1).join("").trimEnd()}…` : text;
}

/** The text with a mark for each control and invisible character but line feeds. */
export const visible = (text: string): string => text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "�");

/** The text without what VS Code reads as a link or an icon in messages and lists. */
export const plain = (text: string): string => visible(text).replace(/\]\(/g, "] (").replace(/\$\(/g, "$ (");

/** The state in a word or two, with the reason of a failure. */
export function stateLabel(run: Run): string {
  switch (run.state) {
    case "starting":
      return "starting";
    case "running":
      return isWaiting(run) ? "needs input" : "running";
    case "awaitingPermission":
      return "needs input";
    case "idle":
      return "idle";
    case "succeeded":
      return "succeeded";
    case "failed":
      // The server's message for an exit code only repeats the code.
      if (run.exitCode && (!run.error || run.error.message.endsWith(`code ${run.exitCode}`))) return `failed (exit code ${run.exitCode})`;
      if (run.error) return `failed: ${firstLine(run.error.message)}`;
      return run.signal ? `terminated (${run.signal})` : "failed";
    case "cancelled":
      return run.takenOverAt ? "continued in terminal" : "canceled";
    case "timedOut":
      return "timed out";
    case "lost":
      return "lost";
    default:
      return run.state satisfies never;
  }
}

/** Codicon and theme color of a state. */
export function iconOf(run: Run): { icon: string; color?: string } {
  if (isWaiting(run)) return { icon: "bell-dot", color: "list.warningForeground" };
  switch (run.state) {
    case "starting":
    case "running":
      return { icon: "loading~spin" };
    case "idle":
      return { icon: "comment" };
    case "succeeded":
      return { icon: "pass", color: "testing.iconPassed" };
    case "failed":
    case "lost":
      return { icon: "error", color: "list.errorForeground" };
    case "timedOut":
      return { icon: "watch", color: "list.errorForeground" };
    default:
      return { icon: "circle-slash" };
  }
}

/** `12s`, `3m 4s`, `2h 5m`, `3d 2h`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  if (days > 0) return `${days}d ${hours % 24}h`;
  if (hours > 0) return `${hours}h ${minutes % 60}m`;
  if (minutes > 0) return `${minutes}m ${seconds % 60}s`;
  return `${seconds}s`;
}

/** How long the run took, or has been running. */
export function formatElapsed(run: Run, now: number): string {
  return formatDuration((run.endedAt ?? now) - (run.startedAt ?? run.createdAt));
}

/** `5m ago`; under a minute, `just now`. */
export function formatAgo(at: number, now: number): string {
  const seconds = Math.floor((now - at) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h ago`;
  return `${Math.floor(seconds / 86_400)}d ago`;
}

/** `678`, `12.3k`, `1.2M`. */
export function formatCount(count: number): string {
  if (count < 1000) return String(count);
  return count < 999_500 ? `${Number((count / 1e3).toPrecision(3))}k` : `${Number((count / 1e6).toPrecision(3))}M`;
}

/** `12 B`, `1.23 kB`, `100 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_500) return `${(bytes / 1e3).toPrecision(3)} kB`;
  if (bytes < 999_500_000) return `${(bytes / 1e6).toPrecision(3)} MB`;
  return `${(bytes / 1e9).toPrecision(3)} GB`;
}

/** "1 needs input", "2 need input". */
export function needInputText(count: number): string {
  return count === 1 ? "1 needs input" : `${count} need input`;
}

export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The path relative to the folder if it is inside of it, else the path itself. */
export function relativeTo(path: string, folder: string): string {
  return folder !== "" && (path.startsWith(`${folder}/`) || path.startsWith(`${folder}\\`)) ? path.slice(folder.length + 1) : path;
}
