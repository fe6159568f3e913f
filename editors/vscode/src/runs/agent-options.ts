// The options that an agent itself offers, its modes among them: what each can be set to, and what is current.
import type { Run } from "../protocol";

export interface AgentOption {
  id: string;
  name: string;
  isModel: boolean;
  values: { id: string; name: string }[];
  current?: string;
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

export function agentOptions({ agent }: Pick<Run, "agent">): AgentOption[] {
  const options = (agent?.configOptions ?? []).flatMap(option => {
    const id = textOf(option["id"]);
    if (id === undefined) return [];
    const current = option["currentValue"];
    const values = option["type"] === "boolean" ? [{ id: "true", name: "On" }, { id: "false", name: "Off" }] : valuesOf(option["options"]);
    return [{ id, name: textOf(option["name"]) ?? id, isModel: option["category"] === "model" || id === "model", isMode: option["category"] === "mode" || id === "mode", values, ...(current == null ? {} : { current: String(current) }) }];
  });
  const { modes = [], modeId } = agent ?? {};
  const hasModes = modes.length > 0 && !options.some(({ isMode }) => isMode);
  return [...(hasModes ? [{ id: "mode", name: "Mode", isModel: false, values: modes.map(({ id, name }) => ({ id, name })), ...(modeId == null ? {} : { current: modeId }) }] : []), ...options.map(({ isMode: _, ...option }) => option)];
}

/** The values, which may stand in groups. */
function valuesOf(options: unknown): { id: string; name: string }[] {
  if (!Array.isArray(options)) return [];
  return options.flatMap((entry: Record<string, unknown>) => {
    if (Array.isArray(entry?.["options"])) return valuesOf(entry["options"]);
    const id = textOf(entry?.["value"]);
    return id === undefined ? [] : [{ id, name: textOf(entry["name"]) ?? id }];
  });
}

/** The current values in a few words: "Plan · High". A switch is named where it is on. */
export function currentOptions(run: Pick<Run, "agent">): string {
  const current = agentOptions(run).map(({ name, values, current }) => (current === "false" ? undefined : current === "true" ? name : values.find(({ id }) => id === current)?.name));
  return current.filter(name => name !== undefined).join(" · ");
}
