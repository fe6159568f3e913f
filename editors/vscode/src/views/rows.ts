// The rows of the Runs view: what is seen and read out of a run, of its requests, and of the server's problems.
import { MarkdownString, ThemeColor, ThemeIcon, TreeItem, TreeItemCollapsibleState, Uri } from "vscode";
import type { Services } from "../services";
import type { Run } from "../protocol";
import { branchOf } from "../runs/filter";
import { hostOf } from "../server/run-ids";
import { actionText, requestTitle, commandLine, formatAgo, formatDuration, formatElapsed, iconOf, isFinal, isWaiting, nameOf, permissionRequests, stateLabel, shortened, takeoversOf, visible, type PermissionRequest } from "../runs/run";

export const RUN_SCHEME = "loomd-run";

export function problemRow({ server }: Pick<Services, "server">): TreeItem {
  const reason = server.state.kind === "down" ? server.state.failure.message : "";
  const item = new TreeItem("loomd is not running");
  item.id = "problem";
  item.contextValue = "problem";
  item.description = `Click to restart. ${reason}`;
  item.tooltip = reason;
  item.iconPath = new ThemeIcon("error", new ThemeColor("list.errorForeground"));
  item.command = { command: "loomd.restartServer", title: "Restart Server" };
  item.accessibilityInformation = { label: `loomd is not running. ${reason} Press Enter to restart.` };
  return item;
}

/** The row of a host, above its runs. `count`: how many it has. */
export function hostRow({ server, hosts }: Pick<Services, "server" | "hosts">, name: string, count: number): TreeItem {
  const { state, handshake } = hosts.of(name);
  const item = new TreeItem(name, count > 0 ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.None);
  // VS Code remembers by ID whether a row is expanded.
  item.id = `host ${name}${count > 0 ? "" : " empty"}`;
  const there = handshake && visible(handshake.serverInfo.version);
  const reason = state.kind === "down" ? visible(state.failure.message.replace(`${name}: `, "")) : "";
  const isDown = state.kind === "down" || state.kind === "stopped";
  const texts = {
    running: there === server.handshake?.serverInfo.version ? String(count) : `${count} · loomd ${there}`,
    starting: "connecting…",
    down: `${state.kind === "down" && state.retries ? "connection lost, reconnecting" : "not connected"}: ${reason}`,
    stopped: "not connected",
  };
  item.description = texts[state.kind];
  item.tooltip = isDown ? `${name}: ${texts[state.kind]}` : `Runs on ${name}`;
  item.contextValue = isDown ? "host down" : "host";
  item.iconPath = isDown ? new ThemeIcon("vm-outline", new ThemeColor("list.warningForeground")) : new ThemeIcon(state.kind === "starting" ? "loading~spin" : "vm");
  if (isDown && count === 0) item.command = { command: "loomd.connectHost", title: "Connect Again", arguments: [{ kind: "host", name }] };
  item.accessibilityInformation = { label: `Host ${name}, ${texts[state.kind]}${isDown && count === 0 ? ". Press Enter to connect again." : ""}` };
  return item;
}

/** The address by which VS Code marks the row of an unread run. */
export const runUri = (id: string): Uri => Uri.from({ scheme: RUN_SCHEME, path: `/${id}` });

/** `idleSince`: when it became idle. */
export function runRow(run: Run, { idleSince, unread }: { idleSince: number | undefined; unread: boolean }): TreeItem {
  const now = Date.now();
  const requests = permissionRequests(run);
  const item = new TreeItem(shortened(nameOf(run), "view"), requests.length > 0 ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.None);
  const label = stateLabel(run);
  const time = idleSince !== undefined ? `for ${formatDuration(now - idleSince)}` : isFinal(run) ? `${formatElapsed(run, now)} · ${formatAgo(run.endedAt ?? run.createdAt, now)}` : formatElapsed(run, now);
  const branch = branchOf(run);
  // The state comes first, so that no narrow view hides it.
  const facts = [run.queued ? ` · ${run.queued} queued` : "", run.provider === "command" ? "" : ` · ${run.provider}`, branch === undefined ? "" : ` · ${branch}`].join("");
  // VS Code remembers by ID whether a row is expanded. A new ID for a new request expands the row again.
  item.id = `${run.id}${requests.length > 0 ? `:${requests[0]!.permissionId}` : ""}`;
  item.description = idleSince !== undefined ? `${label} ${time}${facts}` : `${label} · ${time}${facts}`;
  const { icon, color } = iconOf(run);
  item.iconPath = new ThemeIcon(icon, color ? new ThemeColor(color) : undefined);
  item.resourceUri = runUri(run.id);
  item.contextValue = [...contextFlags(run), ...(unread ? ["unread"] : [])].join(" ");
  item.command = { command: "loomd.open", title: "Open", arguments: [{ kind: "run", id: run.id }] };
  item.tooltip = tooltip(run, label, now);
  item.accessibilityInformation = { label: `${nameOf(run)}${unread ? ", unread" : ""}, ${label}, ${time}${facts}` };
  return item;
}

/** Flags for `viewItem` in the `when` clauses of package.json. */
function contextFlags(run: Run): string[] {
  const result = ["run", isFinal(run) ? "ended" : "live", run.hasTranscript ? "agent" : "command"];
  if (isWaiting(run)) result.push("waiting");
  if (run.session?.resumable) result.push("resumable");
  if (takeoversOf(run).length > 0) result.push("takeover");
  if (run.pinned) result.push("pinned");
  if (run.queued && !isFinal(run)) result.push("queued");
  if (run.labels["worktree"] !== undefined && hostOf(run.id) === undefined) result.push("worktree");
  return result;
}

function tooltip(run: Run, label: string, now: number): MarkdownString {
  const text = new MarkdownString("", true);
  const line = (name: string, value: string) => text.appendMarkdown(`${name}: `).appendText(value).appendMarkdown("  \n");
  text.appendMarkdown("**").appendText(nameOf(run)).appendMarkdown("**  \n");
  line("State", `${label}${run.state === "lost" ? " (the process disappeared)" : ""}`);
  line("Provider", run.provider);
  const host = hostOf(run.id);
  if (host !== undefined) line("Host", host);
  line("Working directory", run.cwd);
  const branch = branchOf(run);
  if (branch !== undefined) line("Branch", branch);
  if (run.command.length > 0) line("Command", commandLine(run.command).slice(0, 500));
  const tokens = tokensText(run);
  if (tokens !== "") line("Tokens", tokens);
  if (run.usage?.costUsd != null) line("Cost", `$${run.usage.costUsd.toFixed(2)}`);
  line("Started", new Date(run.startedAt ?? run.createdAt).toLocaleString());
  line("Duration", formatElapsed(run, now));
  return text;
}

function tokensText({ usage }: Run): string {
  const parts: string[] = [];
  if (usage?.inputTokens != null) parts.push(`${usage.inputTokens} in`);
  if (usage?.outputTokens != null) parts.push(`${usage.outputTokens} out`);
  return parts.join(", ");
}

/** A click opens the request, which shows all of what is asked and can be answered. */
export function permissionRow(run: Run, request: PermissionRequest): TreeItem {
  const [title, action] = [requestTitle(request), actionText(request.toolCall["kind"])];
  const item = new TreeItem(shortened(title));
  item.id = `${run.id}/${request.permissionId}`;
  item.description = action;
  item.iconPath = new ThemeIcon("question", new ThemeColor("list.warningForeground"));
  item.contextValue = "permission";
  item.tooltip = title;
  item.command = { command: "loomd.review", title: "Review", arguments: [{ kind: "permission", id: run.id, permissionId: request.permissionId }] };
  item.accessibilityInformation = { label: `${nameOf(run)} requests permission to ${action}: ${title}. Press Enter to review.` };
  return item;
}
