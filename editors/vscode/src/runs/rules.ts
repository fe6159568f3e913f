// Permission rules are kept and applied by loomd. Here is only which rule fits a request, how a rule is told to a person,
// and what rules of the settings of earlier versions come to.
import { isAbsolute } from "node:path";
import type { PermissionOption, RuleTerms, Run } from "../protocol";
import { actionText, type PermissionRequest } from "./run";

/** Rules that allow exactly what is asked. A star in it would be read as a pattern, and would allow more. */
export function ruleProposals({ provider, cwd }: Pick<Run, "provider" | "cwd">, { toolCall }: Pick<PermissionRequest, "toolCall">): RuleTerms[] {
  const { kind, rawInput, locations, content } = toolCall as Record<string, unknown>;
  const common: RuleTerms = { decision: "allow", provider, ...(typeof kind === "string" ? { toolKind: kind } : {}) };
  const { command } = records([rawInput])[0] ?? {};
  const words = Array.isArray(command) ? command : [command];
  if (words.length > 0 && words.every(word => typeof word === "string" && word !== "" && !word.includes("*"))) {
    return [{ ...common, command: command as string | string[], cwd }, { ...common, command: command as string | string[] }];
  }
  const paths = [...new Set([...records(locations), ...records(content)].map(({ path }) => path).filter(path => typeof path === "string"))];
  const inFolder = (path: string) => path.startsWith(`${cwd}/`);
  if (paths.length === 0 || !paths.every(path => isAbsolute(path) && !path.includes("*") && !path.split("/").includes(".."))) return [];
  return [...(paths.length === 1 ? [{ ...common, path: paths[0]!, cwd }] : []), ...(paths.every(inFolder) && !cwd.includes("*") ? [{ ...common, path: `${cwd}/**`, cwd }] : [])];
}

const records = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(item => item !== null && typeof item === "object" && !Array.isArray(item)) : []);

/** A word of a command line as a shell would need it. */
const quoted = (word: string): string => (/^[\w@%+=:,./*-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A rule in words, all of it: what it allows or denies, to whom, and where. */
export function ruleText({ decision, provider, toolKind, command, path, cwd }: RuleTerms): string {
  const action = toolKind == null ? "use any tool" : actionText(toolKind) === actionText(undefined) ? `use tools of kind ${toolKind}` : actionText(toolKind);
  const what = [action, command != null && `exactly “${typeof command === "string" ? command : command.map(quoted).join(" ")}”`.replace(/^exactly (?=.*\*)/, "like "), path != null && (path.endsWith("/**") ? `all files in ${path.slice(0, -3) || "/"}` : `file ${path}`)];
  const reach = cwd != null ? `in runs in ${cwd} and below` : "in runs in any folder";
  return `${decision === "allow" ? "Always allow" : "Always deny"} ${provider ?? "any agent"} to ${what.filter(part => part !== false).join(": ")}, ${reach}`;
}

/** A rule of the setting `loomd.rules`, which only earlier versions applied. */
export interface SettingsRule {
  answer?: unknown;
  provider?: string;
  kind?: string;
  command?: string;
  path?: string;
  title?: string;
  cwd?: string;
}

/** The rule of loomd for one of the settings, or why there is none. */
export function ruleOfSettings({ answer, provider, kind, command, path, title, cwd }: SettingsRule): RuleTerms | string {
  if (answer !== "allow" && answer !== "deny") return `It has no "answer" of "allow" or "deny".`;
  if (title !== undefined) return "Rules by title are not supported: an agent chooses its titles.";
  if (answer === "allow" && command === undefined && path === undefined) return "A rule that allows needs a command or a path.";
  return { decision: answer, ...(provider === undefined ? {} : { provider }), ...(kind === undefined ? {} : { toolKind: kind }), ...(command === undefined ? {} : { command }), ...(path === undefined ? {} : { path }), ...(cwd === undefined ? {} : { cwd }) };
}

/** The option that allows, or denies, this one request; `undefined` if it has none. */
export function optionFor(request: Pick<PermissionRequest, "options">, decision: "allow" | "deny"): PermissionOption | undefined {
  return request.options.find(({ kind }) => kind === (decision === "allow" ? "allow_once" : "reject_once"));
}
