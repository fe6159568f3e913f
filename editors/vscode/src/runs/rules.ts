// Remembered answers: which questions of agents a person wants answered without being asked. They live in the setting `loomd.rules`, in
// sight and editable; a workspace cannot set them. Nothing but a rule that matches whole is ever taken for a yes.
import { sep } from "node:path";
import type { PermissionOption, Run } from "../protocol";
import type { Requested } from "./words";

export interface Rule {
  answer: "allow" | "deny";
  /** Only this provider. */
  provider?: string;
  /** Only tools of this kind: execute, edit, read, … */
  kind?: string;
  /** The command line; `*` stands for anything that cannot start another command. */
  command?: string;
  /** Every file that is touched; `*` stands for anything within a folder, `**` for anything at all. */
  path?: string;
  /** The tool's title, whole. */
  title?: string;
  /** Only runs in this folder or below it. */
  cwd?: string;
}

/** What a question is about, read from the tool call that it holds. */
export interface Subject {
  provider: string;
  kind: string;
  title: string;
  command?: string;
  paths: string[];
  cwd: string;
}

interface ToolCall {
  title?: unknown;
  kind?: unknown;
  rawInput?: unknown;
  locations?: unknown;
  content?: unknown;
}

export function subjectOf(run: Pick<Run, "provider" | "cwd">, question: Requested): Subject {
  const call = question.toolCall as ToolCall;
  const input = (call.rawInput ?? {}) as { command?: unknown; cmd?: unknown };
  const command = textOf(input.command ?? input.cmd);
  const paths = new Set<string>();
  for (const place of listOf(call.locations)) if (typeof place["path"] === "string") paths.add(place["path"]);
  for (const part of listOf(call.content)) if (part["type"] === "diff" && typeof part["path"] === "string") paths.add(part["path"]);
  return {
    provider: run.provider,
    kind: typeof call.kind === "string" ? call.kind : "other",
    title: typeof call.title === "string" ? call.title : "a tool",
    ...(command === undefined ? {} : { command }),
    paths: [...paths],
    cwd: run.cwd,
  };
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every(word => typeof word === "string")) return value.join(" ");
  return undefined;
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(item => item !== null && typeof item === "object") : [];
}

/** The first rule that speaks of this question. */
export function ruleFor(rules: readonly Rule[], subject: Subject): Rule | undefined {
  return rules.find(rule => matches(rule, subject));
}

export function matches(rule: Rule, subject: Subject): boolean {
  if (rule.answer !== "allow" && rule.answer !== "deny") return false;
  // A rule that names nothing of what is done would answer everything.
  if (rule.command === undefined && rule.path === undefined && rule.title === undefined && rule.kind === undefined) return false;
  if (rule.provider !== undefined && rule.provider !== subject.provider) return false;
  if (rule.kind !== undefined && rule.kind !== subject.kind) return false;
  if (rule.title !== undefined && rule.title !== subject.title) return false;
  if (rule.cwd !== undefined && !within(subject.cwd, rule.cwd)) return false;
  if (rule.command !== undefined && (subject.command === undefined || !commandPattern(rule.command).test(subject.command))) return false;
  if (rule.path !== undefined) {
    const pattern = pathPattern(rule.path);
    if (subject.paths.length === 0 || !subject.paths.every(path => !path.split(/[/\\]/).includes("..") && pattern.test(path))) return false;
  }
  return true;
}

const within = (folder: string, root: string) => folder === root || folder.startsWith(root.endsWith(sep) ? root : root + sep);

const quoted = (text: string) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&");

function commandPattern(pattern: string): RegExp {
  // Nothing that a shell takes for the end of a command, a substitution or a redirection.
  return new RegExp(`^${pattern.split("*").map(quoted).join("[^;&|<>$`()\\n\\r]*")}$`);
}

function pathPattern(pattern: string): RegExp {
  return new RegExp(`^${pattern.split("**").map(part => part.split("*").map(quoted).join("[^/\\\\]*")).join(".*")}$`);
}

/** What a person may want to be remembered about a question, narrowest first. */
export function proposals(subject: Subject): { label: string; rule: Rule }[] {
  const { provider, kind, cwd, command, paths } = subject;
  const result: { label: string; rule: Rule }[] = [];
  const allow = (label: string, rest: Omit<Rule, "answer" | "provider" | "kind">) => result.push({ label, rule: { answer: "allow", provider, kind, ...rest } });
  if (command !== undefined) {
    // A star in the command itself would be read as a pattern.
    if (!command.includes("*")) {
      allow(`“${command}” in this folder`, { command, cwd });
      allow(`“${command}” anywhere`, { command });
    }
    const words = command.split(/\s+/);
    if (words.length > 1 && /^[\w./-]+$/.test(words[0]!)) allow(`commands that begin with “${words[0]}” in this folder`, { command: `${words[0]} *`, cwd });
  } else if (paths.length > 0) {
    if (paths.length === 1 && !paths[0]!.includes("*")) allow(`${kind} ${paths[0]}`, { path: paths[0]! });
    if (paths.every(path => within(path, cwd))) allow(`${kind} any file under ${cwd}`, { path: `${cwd}${sep}**`, cwd });
  } else {
    allow(`“${subject.title}” in this folder`, { title: subject.title, cwd });
  }
  return result;
}

/** The option that says yes, or no, to this one question. `undefined`: there is none. */
export function optionFor(question: Requested, answer: "allow" | "deny"): PermissionOption | undefined {
  const [once, always] = answer === "allow" ? ["allow_once", "allow_always"] : ["reject_once", "reject_always"];
  const find = (kind: string | undefined) => question.options.find(option => option.kind === kind);
  // A yes for this once never grows into a yes for good; a no may.
  return find(once) ?? (answer === "deny" ? find(always) : undefined);
}
