// Makes runs, permission requests and items for tests: defaults, and the fields that a test names.
import type { Item, PermissionEntry, Run, RunState } from "../../src/protocol";
import type { PermissionRequest } from "../../src/runs/run";
import type { ItemOf } from "../../src/transcript/items";

export function makeRun(id: string, state: RunState, more: Partial<Run> = {}): Run {
  return { id, provider: "command", labels: {}, pinned: false, params: {}, command: ["true"], cwd: "/home/me", state, createdAt: 1000, lastSeq: 1, durableSeq: 1, bytes: { stdout: 0, stderr: 0 }, ...more };
}

const OPTIONS = [
  { optionId: "yes", name: "Allow", kind: "allow_once" },
  { optionId: "always", name: "Always allow", kind: "allow_always" },
  { optionId: "no", name: "Reject", kind: "reject_once" },
];

export function makePermissionRequest(toolCall: Record<string, unknown>, more: Partial<PermissionEntry> = {}): PermissionRequest {
  return { runId: "1", seq: 1, at: 1, permissionId: "p1", status: "requested", toolCall, options: OPTIONS, ...more } as PermissionRequest;
}

/** What all items have. Its `seq` is its number. */
const base = (item: number) => ({ item, seq: item, lastSeq: item, at: 1000 + item, turn: 1 });

export const message = (item: number, text: string, more: Partial<ItemOf<"message">> = {}): Item => ({ ...base(item), kind: "message", role: "agent", text, ...more });
export const thought = (item: number, text: string, more: Partial<ItemOf<"thought">> = {}): Item => ({ ...base(item), kind: "thought", role: "agent", text, ...more });
export const tool = (item: number, more: Partial<ItemOf<"tool">> = {}): Item => ({ ...base(item), kind: "tool", toolCallId: `t${item}`, title: `tool ${item}`, toolKind: "execute", status: "completed", locations: [], diffs: [], permissions: [], ...more });
export const question = (item: number, more: Partial<ItemOf<"permission">> = {}): Item => ({ ...base(item), kind: "permission", permissionId: `p${item}`, toolCallId: "t", toolCall: { kind: "execute" }, shown: [{ label: "title", text: `question ${item}` }], options: OPTIONS, ...more });
export const notice = (item: number, more: Partial<ItemOf<"notice">> = {}): Item => ({ ...base(item), kind: "notice", severity: "info", title: "Note", ...more });
export const turn = (item: number, more: Partial<ItemOf<"turn">> = {}): Item => ({ ...base(item), kind: "turn", state: "idle", ...more });
export const plan = (item: number, ...steps: [content: string, status: string][]): Item => ({ ...base(item), kind: "plan", entries: steps.map(([content, status]) => ({ content, status })) });
export const resolved = (item: number, optionId: string): Item => question(item, { lastSeq: 1000 + item, resolved: { optionId, by: "client" } });
