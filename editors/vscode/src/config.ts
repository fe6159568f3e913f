// The settings, read each time they are used. Settings about programs and permissions have machine scope, so a
// workspace cannot set them.
import { ConfigurationTarget, workspace, type ConfigurationScope } from "vscode";
import type { PermissionMode } from "./protocol";
import type { Grouping } from "./runs/filter";
import type { SettingsRule } from "./runs/rules";
import type { Template } from "./runs/start";

export type Notify = "all" | "waiting" | "off";

const section = (scope?: ConfigurationScope) => workspace.getConfiguration("loomd", scope);

export const settings = {
  path: () => section().get<string>("path", "").trim(),
  /** Only the user's own: whoever writes a workspace's settings must not choose what this computer connects to. */
  hosts: () => arrayOf<unknown>(section().inspect("hosts")?.globalValue),
  notify: () => section().get<Notify>("notify", "all"),
  permissions: () => section().get<PermissionMode>("permissions", "ask"),
  model: (provider: string) => {
    const model: unknown = section().get<Record<string, unknown>>("models", {})[provider];
    return typeof model === "string" && model.trim() !== "" ? model.trim() : undefined;
  },
  groupBy: () => section().get<Grouping>("groupBy", "state"),
  terminal: () => section().get<boolean>("terminal", true),
  /** Rules that only earlier versions applied. */
  rules: () => arrayOf<SettingsRule>(section().inspect("rules")?.globalValue),

  templates(): Template[] {
    const inspected = section().inspect<Template[]>("templates");
    const own = arrayOf<Template>(inspected?.globalValue);
    // A repository may offer things to run. It may not grant permissions, so `permissions` is dropped here.
    const shared = [...arrayOf<Template>(inspected?.workspaceValue), ...arrayOf<Template>(inspected?.workspaceFolderValue)].map(({ permissions: _, ...rest }) => ({ ...rest, fromWorkspace: true }));
    return [...own, ...shared].filter(template => typeof template?.name === "string" && typeof template.provider === "string");
  },

  async setRules(rules: readonly SettingsRule[]): Promise<void> {
    await section().update("rules", rules.length > 0 ? rules : undefined, ConfigurationTarget.Global);
  },
};

function arrayOf<T>(value: unknown): T[] {
  return Array.isArray(value) ? (value as T[]) : [];
}
