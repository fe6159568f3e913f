// The settings, read where they are used. What decides about programs and permissions is read from the user's settings alone.
import { ConfigurationTarget, workspace, type ConfigurationScope } from "vscode";
import type { PermissionMode } from "./protocol";
import type { Rule } from "./runs/rules";
import type { Template } from "./runs/start";

export type Notify = "all" | "waiting" | "off";

const section = (scope?: ConfigurationScope) => workspace.getConfiguration("loomd", scope);

export const settings = {
  path: () => section().get<string>("path", "").trim(),
  notify: () => section().get<Notify>("notify", "all"),
  permissions: () => section().get<PermissionMode>("permissions", "ask"),
  model: (provider: string) => {
    const model: unknown = section().get<Record<string, unknown>>("models", {})[provider];
    return typeof model === "string" && model.trim() !== "" ? model.trim() : undefined;
  },
  terminal: () => section().get<boolean>("terminal", true),
  rules: () => list<Rule>(section().get("rules")),

  templates(): Template[] {
    const read = section().inspect<Template[]>("templates");
    const own = list<Template>(read?.globalValue);
    // A repository may say what can be run, not what may be done unasked.
    const shared = [...list<Template>(read?.workspaceValue), ...list<Template>(read?.workspaceFolderValue)].map(({ permissions: _, ...rest }) => ({ ...rest, fromWorkspace: true }));
    return [...own, ...shared].filter(template => typeof template?.name === "string" && typeof template.provider === "string");
  },

  async addRule(rule: Rule): Promise<void> {
    await section().update("rules", [...settings.rules(), rule], ConfigurationTarget.Global);
  },
};

function list<T>(value: unknown): T[] {
  return Array.isArray(value) ? (value as T[]) : [];
}
