// How a run is said and drawn: words, icon, colour. Every state has words, so that nothing depends on a colour.
import type { PermissionEntry, Run, RunState, Takeover } from "../protocol";

export type Requested = Extract<PermissionEntry, { status: "requested" }>;

const FINAL: readonly RunState[] = ["succeeded", "failed", "cancelled", "timedOut", "lost"];

export const isFinal = (run: Pick<Run, "state">): boolean => FINAL.includes(run.state);

/** The questions that wait for an answer, oldest first. */
export function questions(run: Run): Requested[] {
  if (isFinal(run)) return [];
  return (run.permissions ?? []).filter((entry): entry is Requested => entry.status === "requested");
}

export const isWaiting = (run: Run): boolean => run.state === "awaitingPermission" || questions(run).length > 0;

/** The ways to take a run over; one without a command is only told of. */
export const waysOf = (run: Run): Takeover[] => (run.session?.takeover ?? []).filter(way => way.command?.length);

/** What a run is called: its title, else what it was asked, else its command. */
export function nameOf(run: Run): string {
  if (run.title) return run.title;
  const prompt = promptText(run.params["prompt"]);
  if (prompt) return firstLine(prompt);
  return firstLine(commandLine(run.command)) || run.provider;
}

/** A shell's `-c` says nothing to a reader; its script does. */
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

/** A word or two for the state, with what explains it. */
export function stateWords(run: Run): string {
  switch (run.state) {
    case "starting":
      return "starting";
    case "running":
      return isWaiting(run) ? "waiting for you" : "running";
    case "awaitingPermission":
      return "waiting for you";
    case "idle":
      return "ready for more";
    case "succeeded":
      return "succeeded";
    case "failed":
      // That a program ended with a code is said best by the code.
      if (run.exitCode && (!run.error || run.error.message.endsWith(`code ${run.exitCode}`))) return `failed with exit code ${run.exitCode}`;
      if (run.error) return `failed: ${firstLine(run.error.message)}`;
      return run.signal ? `killed by ${run.signal}` : "failed";
    case "cancelled":
      return run.takenOverAt ? "taken over" : "cancelled";
    case "timedOut":
      return "timed out";
    case "lost":
      return "lost";
    default:
      return run.state satisfies never;
  }
}

/** Codicon and theme colour of a state. */
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

/** `12 s`, `3 min 4 s`, `2 h 5 min`, `3 d 2 h`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

/** How long it ran, or has been running. */
export function elapsed(run: Run, now: number): string {
  return duration((run.endedAt ?? now) - (run.startedAt ?? run.createdAt));
}

/** `5 min ago`; under a minute, `just now`. */
export function ago(at: number, now: number): string {
  const seconds = Math.floor((now - at) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

export function sizeOf(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_500) return `${(bytes / 1e3).toPrecision(3)} kB`;
  if (bytes < 999_500_000) return `${(bytes / 1e6).toPrecision(3)} MB`;
  return `${(bytes / 1e9).toPrecision(3)} GB`;
}

/** A path as it is said from a folder: without the folder, where it lies in it. */
export function within(path: string, folder: string): string {
  return folder !== "" && (path.startsWith(`${folder}/`) || path.startsWith(`${folder}\\`)) ? path.slice(folder.length + 1) : path;
}
