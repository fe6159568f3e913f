// The Runs view: runs that need input, then active ones, then recently ended ones, then *Idle* and *Earlier*. A changed
// run redraws only its row.
import { EventEmitter, MarkdownString, ThemeColor, ThemeIcon, TreeItem, TreeItemCollapsibleState, window, type Disposable, type TreeDataProvider, type TreeView } from "vscode";
import type { Services } from "../services";
import type { Run } from "../protocol";
import { groupRuns, type RunGroups } from "../runs/groups";
import { actionText, requestTitle, commandLine, formatAgo, formatDuration, formatElapsed, iconOf, isFinal, isWaiting, nameOf, needInputText, permissionRequests, stateLabel, shortened, takeoversOf, type PermissionRequest } from "../runs/run";

export type RunsNode =
  | { kind: "problem" }
  | { kind: "run"; id: string }
  | { kind: "permission"; id: string; permissionId: string }
  | { kind: "idle" }
  | { kind: "earlier" }
  | { kind: "more" };

type TreeServices = Pick<Services, "server" | "runs">;

export class RunsTree implements TreeDataProvider<RunsNode>, Disposable {
  readonly view: TreeView<RunsNode>;
  private readonly changed = new EventEmitter<RunsNode | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  /** One object for each row, because VS Code identifies rows by object identity. */
  private readonly nodes = new Map<string, RunsNode>();
  private readonly activatedAt = Date.now();
  private structure = "";
  private readonly disposables: Disposable[] = [];

  constructor(private readonly services: TreeServices) {
    this.view = window.createTreeView("loomd.runs", { treeDataProvider: this, showCollapseAll: false });
    const clock = setInterval(() => this.redrawActive(), 1000);
    this.disposables.push(
      this.view,
      { dispose: () => clearInterval(clock) },
      services.runs.onDidChange(({ runs }) => this.redraw([...runs.keys()])),
      services.server.onDidChange(() => this.redraw([])),
    );
    this.redraw([]);
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  groups(): RunGroups {
    return groupRuns(this.services.runs.all(), this.activatedAt, run => this.services.runs.idleSince(run));
  }

  getChildren(node?: RunsNode): RunsNode[] {
    if (!node) {
      const { waiting, live, ended, idle, earlier } = this.groups();
      const rows: RunsNode[] = [...waiting, ...live, ...ended].map(run => this.node({ kind: "run", id: run.id }));
      if (this.services.server.state.kind === "down") rows.unshift(this.node({ kind: "problem" }));
      if (idle.length > 0) rows.push(this.node({ kind: "idle" }));
      if (earlier.length > 0 || this.services.runs.hasMore) rows.push(this.node({ kind: "earlier" }));
      return rows;
    }
    if (node.kind === "idle") return this.groups().idle.map(run => this.node({ kind: "run", id: run.id }));
    if (node.kind === "earlier") {
      const rows: RunsNode[] = this.groups().earlier.map(run => this.node({ kind: "run", id: run.id }));
      if (this.services.runs.hasMore) rows.push(this.node({ kind: "more" }));
      return rows;
    }
    const run = node.kind === "run" ? this.services.runs.get(node.id) : undefined;
    if (!run) return [];
    return permissionRequests(run).map(({ permissionId }) => this.node({ kind: "permission", id: run.id, permissionId }));
  }

  getParent(node: RunsNode): RunsNode | undefined {
    if (node.kind === "permission") return this.node({ kind: "run", id: node.id });
    if (node.kind === "more") return this.node({ kind: "earlier" });
    if (node.kind === "run" && this.groups().idle.some(run => run.id === node.id)) return this.node({ kind: "idle" });
    if (node.kind === "run" && this.groups().earlier.some(run => run.id === node.id)) return this.node({ kind: "earlier" });
    return undefined;
  }

  getTreeItem(node: RunsNode): TreeItem {
    switch (node.kind) {
      case "problem":
        return problemRow(this.services);
      case "run": {
        const run = this.services.runs.get(node.id);
        return run ? runRow(run, this.services.runs.idleSince(run)) : new TreeItem("");
      }
      case "permission": {
        const run = this.services.runs.get(node.id);
        const request = run && permissionRequests(run).find(({ permissionId }) => permissionId === node.permissionId);
        return request ? permissionRow(run, request) : new TreeItem("");
      }
      case "idle": {
        const item = new TreeItem("Idle", TreeItemCollapsibleState.Collapsed);
        item.id = "idle";
        item.contextValue = "idle";
        item.description = String(this.groups().idle.length);
        item.tooltip = "Agents that have finished responding and wait for a message.";
        return item;
      }
      case "earlier": {
        const item = new TreeItem("Earlier", TreeItemCollapsibleState.Collapsed);
        item.id = "earlier";
        item.contextValue = "earlier";
        return item;
      }
      case "more": {
        const item = new TreeItem("Load More…");
        item.command = { command: "loomd.showMore", title: "Load More" };
        return item;
      }
    }
  }

  private node(node: RunsNode): RunsNode {
    const key = JSON.stringify(node);
    const known = this.nodes.get(key);
    if (known) return known;
    this.nodes.set(key, node);
    return node;
  }

  private redraw(ids: readonly string[]): void {
    const { waiting, live, ended, idle, earlier } = this.groups();
    const requestIds = waiting.map(run => permissionRequests(run).map(({ permissionId }) => permissionId));
    const structure = JSON.stringify([this.services.server.state.kind === "down", waiting.map(run => run.id), requestIds, live.map(run => run.id), idle.map(run => run.id), ended.map(run => run.id), earlier.map(run => run.id), this.services.runs.hasMore]);
    if (structure !== this.structure) {
      this.structure = structure;
      this.changed.fire(undefined);
    } else {
      for (const id of ids) this.changed.fire(this.node({ kind: "run", id }));
    }
    const running = live.filter(({ state }) => state !== "idle").length;
    if (waiting.length > 0) this.view.badge = { value: waiting.length, tooltip: `${needInputText(waiting.length)}, ${running} running` };
    else if (running > 0) this.view.badge = { value: running, tooltip: `${running} running` };
    else this.view.badge = undefined;
  }

  /** Redraws the elapsed time of active runs while the view is visible. */
  private redrawActive(): void {
    if (!this.view.visible) return;
    const { waiting, live } = this.groups();
    this.redraw([...waiting, ...live].map(({ id }) => id));
  }
}

function problemRow({ server }: TreeServices): TreeItem {
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

/** `idleSince`: when it became idle. */
function runRow(run: Run, idleSince: number | undefined): TreeItem {
  const now = Date.now();
  const requests = permissionRequests(run);
  const item = new TreeItem(shortened(nameOf(run), "view"), requests.length > 0 ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.None);
  const label = stateLabel(run);
  const time = idleSince !== undefined ? `for ${formatDuration(now - idleSince)}` : isFinal(run) ? `${formatElapsed(run, now)} · ${formatAgo(run.endedAt ?? run.createdAt, now)}` : formatElapsed(run, now);
  const queued = run.queued ? ` · ${run.queued} queued` : "";
  // VS Code remembers by ID whether a row is expanded. A new ID for a new request expands the row again.
  item.id = `${run.id}${requests.length > 0 ? `:${requests[0]!.permissionId}` : ""}`;
  item.description = idleSince !== undefined ? `${label} ${time}${queued}` : `${label} · ${time}${queued}`;
  const { icon, color } = iconOf(run);
  item.iconPath = new ThemeIcon(icon, color ? new ThemeColor(color) : undefined);
  item.contextValue = contextFlags(run).join(" ");
  item.command = { command: "loomd.open", title: "Open", arguments: [{ kind: "run", id: run.id }] };
  item.tooltip = tooltip(run, label, now);
  item.accessibilityInformation = { label: `${nameOf(run)}, ${label}, ${time}${queued}` };
  return item;
}

/** Flags for `viewItem` in the `when` clauses of package.json. */
function contextFlags(run: Run): string[] {
  const result = ["run", isFinal(run) ? "ended" : "live", run.hasTranscript ? "agent" : "command"];
  if (isWaiting(run)) result.push("waiting");
  if (run.session?.resumable) result.push("resumable");
  if (takeoversOf(run).length > 0) result.push("takeover");
  if (run.pinned) result.push("pinned");
  return result;
}

function tooltip(run: Run, label: string, now: number): MarkdownString {
  const text = new MarkdownString("", true);
  const line = (name: string, value: string) => text.appendMarkdown(`${name}: `).appendText(value).appendMarkdown("  \n");
  text.appendMarkdown("**").appendText(nameOf(run)).appendMarkdown("**  \n");
  line("State", `${label}${run.state === "lost" ? " (the process disappeared)" : ""}`);
  line("Provider", run.provider);
  line("Working directory", run.cwd);
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
function permissionRow(run: Run, request: PermissionRequest): TreeItem {
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
