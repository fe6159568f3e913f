// Runs and entries for tests, with what a test names and no more.
import type { Entry, PermissionEntry, Run, RunState } from "../../src/protocol";
import type { Requested } from "../../src/runs/words";

export function aRun(id: string, state: RunState, more: Partial<Run> = {}): Run {
  return { id, provider: "command", labels: {}, pinned: false, params: {}, command: ["true"], cwd: "/home/me", state, createdAt: 1000, lastSeq: 1, durableSeq: 1, bytes: { stdout: 0, stderr: 0 }, ...more };
}

export function aQuestion(toolCall: Record<string, unknown>, more: Partial<PermissionEntry> = {}): Requested {
  const options = [
    { optionId: "yes", name: "Allow", kind: "allow_once" },
    { optionId: "always", name: "Always allow", kind: "allow_always" },
    { optionId: "no", name: "Reject", kind: "reject_once" },
  ];
  return { runId: "1", seq: 1, at: 1, permissionId: "p1", status: "requested", toolCall, options, ...more } as Requested;
}

let seq = 0;
export const update = (fields: Record<string, unknown>, at = 1000): Entry => ({ kind: "update", runId: "1", seq: ++seq, at, update: fields });
export const chunk = (sessionUpdate: string, messageId: string | null, text: string, meta?: Record<string, unknown>): Entry => update({ sessionUpdate, messageId, content: { type: "text", text }, ...(meta ? { _meta: meta } : {}) });
export const state = (fields: Record<string, unknown>, at = 2000): Entry => ({ kind: "state", runId: "1", seq: ++seq, at, ...fields }) as Entry;
