// Commands about permission requests. Allowing is done where all of what is asked is shown: in the transcript.
import type { App } from "../app";
import type { AnswerParams, Run } from "../protocol";
import { optionFor } from "../runs/rules";
import { permissionRequests, type PermissionRequest } from "../runs/run";
import { Failure } from "../server/failure";
import { showError, showInformation } from "../views/messages";
import type { RunsNode } from "../views/tree";

export interface PendingRequest {
  run: Run;
  request: PermissionRequest;
}

/** The request of a permission row; for a run's row, its oldest; without a row, the one that has waited longest. */
export function findRequest(app: App, node: RunsNode | undefined): PendingRequest | undefined {
  const run = node && "id" in node ? app.runs.get(node.id) : app.tree.groups().waiting.find(waiting => permissionRequests(waiting).length > 0);
  const pending = run ? permissionRequests(run) : [];
  const request = node?.kind === "permission" ? pending.find(({ permissionId }) => permissionId === node.permissionId) : pending[0];
  if (!run || !request) void showInformation("No pending permission requests.");
  return run && request && { run, request };
}

export async function sendAnswer(app: App, { run, request }: PendingRequest, outcome: Pick<AnswerParams, "optionId" | "cancelled">): Promise<void> {
  try {
    await app.server.request("run/answer", { runId: run.id, permissionId: request.permissionId, ...outcome });
  } catch (error) {
    const failure = Failure.from(error);
    // Another client answered first. The row disappears, so no message is needed.
    if (failure.kind !== "permissionResolved") void showError(failure.message);
  }
}

/** `Deny`: nothing is allowed by it, so it needs no look at the request. */
export async function deny(app: App, node: RunsNode | undefined): Promise<void> {
  const pending = findRequest(app, node);
  if (!pending) return;
  const option = optionFor(pending.request, "deny");
  await sendAnswer(app, pending, option ? { optionId: option.optionId } : { cancelled: true });
}

/** `Review Next Permission Request`: shows all of a request, where it can be answered. */
export async function review(app: App, node?: RunsNode): Promise<void> {
  const pending = findRequest(app, node);
  if (pending) app.transcripts.show(pending.run, { question: pending.request.permissionId });
}
