// The Runs view: runs that need input, then active ones, then recently ended ones, then *Idle* and *Earlier*; or groups by
// folder or day. The runs of each host are a group below. A changed run redraws only its row.
import { EventEmitter, TreeItem, TreeItemCollapsibleState, window, workspace, type Disposable, type TreeDataProvider, type TreeView } from "vscode";
import type { Services } from "../services";
import { settings } from "../config";
import type { Run } from "../protocol";
import { filterText, groupBy, isFiltering, matches, NO_FILTER, type Grouping, type RunFilter, type RunGroup } from "../runs/filter";
import { groupRuns, type RunGroups } from "../runs/groups";
import { needInputText, permissionRequests } from "../runs/run";
import { hostOf } from "../server/run-ids";
import { hostRow, permissionRow, problemRow, runRow } from "./rows";

export type RunsNode =
  | { kind: "problem" }
  | { kind: "run"; id: string }
  | { kind: "permission"; id: string; permissionId: string }
  | { kind: "idle" }
  | { kind: "earlier" }
  | { kind: "group"; key: string }
  | { kind: "host"; name: string }
  | { kind: "more" };

type TreeServices = Pick<Services, "server" | "hosts" | "runs">;

/** While a filter is set, this many runs are read, so that it also finds earlier ones. */
const MAX_FILTERED_RUNS = 2_000;

export class RunsTree implements TreeDataProvider<RunsNode>, Disposable {
  readonly view: TreeView<RunsNode>;
  private readonly changed = new EventEmitter<RunsNode | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  /** One object for each row, because VS Code identifies rows by object identity. */
  private readonly nodes = new Map<string, RunsNode>();
  private readonly activatedAt = Date.now();
  private structure = "";
  private current: RunFilter = NO_FILTER;
  private readonly disposables: Disposable[] = [];

  /** `isUnread`: whether a run has news that nobody has seen. */
  constructor(
    private readonly services: TreeServices,
    private readonly isUnread: (id: string) => boolean,
  ) {
    this.view = window.createTreeView("loomd.runs", { treeDataProvider: this, showCollapseAll: false, canSelectMany: true });
    const clock = setInterval(() => this.redrawActive(), 1000);
    this.disposables.push(
      this.view,
      { dispose: () => clearInterval(clock) },
      services.runs.onDidChange(({ runs }) => this.redraw([...runs.keys()])),
      services.server.onDidChange(() => this.redraw([])),
      services.hosts.onDidChange(() => this.redraw([])),
      workspace.onDidChangeConfiguration(event => event.affectsConfiguration("loomd.groupBy") && this.redraw([])),
    );
    this.redraw([]);
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  /** All runs, whatever the filter. */
  groups(): RunGroups {
    return groupRuns(this.services.runs.all(), this.activatedAt, run => this.services.runs.idleSince(run));
  }

  get filter(): RunFilter {
    return this.current;
  }

  /** Shows only runs that match. Reads earlier runs, so that they are found as well. */
  async setFilter(filter: RunFilter): Promise<void> {
    this.current = filter;
    this.redraw([]);
    const { runs } = this.services;
    while (this.current === filter && isFiltering(filter) && runs.hasMore && [...runs.all()].length < MAX_FILTERED_RUNS) await runs.loadMore();
  }

  /** The runs of a host, or of this computer, that the list shows, in its groups. */
  private shown(host?: string): RunGroups {
    return groupRuns([...this.services.runs.all()].filter(run => hostOf(run.id) === host && matches(run, this.current)), this.activatedAt, run => this.services.runs.idleSince(run));
  }

  private ofHost(name: string): Run[] {
    const { waiting, live, ended, idle, earlier } = this.shown(name);
    return [...waiting, ...live, ...idle, ...ended, ...earlier];
  }

  /** The hosts that are shown: with a filter, those that have what it finds, and those that cannot say. */
  private shownHosts(): string[] {
    const { hosts } = this.services;
    return hosts.names.filter(name => !isFiltering(this.current) || hosts.get(name)?.state.kind !== "running" || this.ofHost(name).length > 0);
  }

  private get grouping(): Grouping {
    return settings.groupBy();
  }

  /** The groups by folder or day. Runs that need input are above them. */
  private grouped({ live, ended, idle, earlier }: RunGroups): RunGroup[] {
    const { grouping } = this;
    return grouping === "state" ? [] : groupBy(grouping, [...live, ...ended, ...idle, ...earlier]);
  }

  getChildren(node?: RunsNode): RunsNode[] {
    const row = ({ id }: { id: string }) => this.node({ kind: "run", id });
    const more = this.services.runs.hasMore ? [this.node({ kind: "more" })] : [];
    if (!node) {
      const shown = this.shown();
      const rows: RunsNode[] = shown.waiting.map(row);
      if (this.services.server.state.kind === "down") rows.unshift(this.node({ kind: "problem" }));
      const hosts = this.shownHosts().map(name => this.node({ kind: "host", name }));
      if (this.grouping !== "state") return [...rows, ...this.grouped(shown).map(({ key }) => this.node({ kind: "group", key })), ...hosts, ...more];
      rows.push(...[...shown.live, ...shown.ended].map(row));
      if (shown.idle.length > 0) rows.push(this.node({ kind: "idle" }));
      if (shown.earlier.length > 0 || (this.services.runs.hasMore && !isFiltering(this.current))) rows.push(this.node({ kind: "earlier" }));
      return [...rows, ...hosts];
    }
    if (node.kind === "idle") return this.shown().idle.map(row);
    if (node.kind === "earlier") return [...this.shown().earlier.map(row), ...more];
    if (node.kind === "host") return this.ofHost(node.name).map(row);
    if (node.kind === "group") return (this.grouped(this.shown()).find(({ key }) => key === node.key)?.runs ?? []).map(row);
    const run = node.kind === "run" ? this.services.runs.get(node.id) : undefined;
    if (!run) return [];
    return permissionRequests(run).map(({ permissionId }) => this.node({ kind: "permission", id: run.id, permissionId }));
  }

  getParent(node: RunsNode): RunsNode | undefined {
    if (node.kind === "permission") return this.node({ kind: "run", id: node.id });
    if (node.kind === "more") return this.grouping === "state" ? this.node({ kind: "earlier" }) : undefined;
    if (node.kind !== "run") return undefined;
    const host = hostOf(node.id);
    if (host !== undefined) return this.node({ kind: "host", name: host });
    const [shown, has] = [this.shown(), ({ id }: { id: string }) => id === node.id];
    const group = this.grouped(shown).find(({ runs }) => runs.some(has));
    if (this.grouping !== "state") return group && this.node({ kind: "group", key: group.key });
    return shown.idle.some(has) ? this.node({ kind: "idle" }) : shown.earlier.some(has) ? this.node({ kind: "earlier" }) : undefined;
  }

  getTreeItem(node: RunsNode): TreeItem {
    switch (node.kind) {
      case "problem":
        return problemRow(this.services);
      case "run": {
        const run = this.services.runs.get(node.id);
        return run ? runRow(run, { idleSince: this.services.runs.idleSince(run), unread: this.isUnread(run.id) }) : new TreeItem("");
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
        item.description = String(this.shown().idle.length);
        item.tooltip = "Agents that have finished responding and wait for a message.";
        return item;
      }
      case "earlier": {
        // What a filter finds is seen. VS Code remembers by ID whether a row is expanded.
        const filtering = isFiltering(this.current);
        const item = new TreeItem("Earlier", filtering ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.Collapsed);
        item.id = filtering ? "earlier-found" : "earlier";
        item.contextValue = "earlier";
        return item;
      }
      case "group": {
        const group = this.grouped(this.shown()).find(({ key }) => key === node.key);
        const item = new TreeItem(group?.label ?? node.key, TreeItemCollapsibleState.Expanded);
        item.id = `group ${node.key}`;
        item.contextValue = "group";
        item.description = String(group?.runs.length ?? 0);
        item.tooltip = node.key;
        return item;
      }
      case "host":
        return this.services.hosts.get(node.name) ? hostRow(this.services, node.name, this.ofHost(node.name).length) : new TreeItem(node.name);
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

  redraw(ids: readonly string[]): void {
    const { waiting, live } = this.groups();
    const shown = this.shown();
    const requestIds = shown.waiting.map(run => permissionRequests(run).map(({ permissionId }) => permissionId));
    const of = (runs: readonly { id: string }[]) => runs.map(({ id }) => id);
    const groups = this.grouped(shown).map(({ key, runs }) => [key, of(runs)]);
    const hosts = this.shownHosts().map(name => {
      const { state, handshake } = this.services.hosts.of(name);
      const requests = this.ofHost(name).map(run => [run.id, permissionRequests(run).map(({ permissionId }) => permissionId)]);
      return [name, state.kind, state.kind === "down" && [state.failure.message, state.retries], handshake?.serverInfo.version, requests];
    });
    const structure = JSON.stringify([this.services.server.state.kind === "down", of(shown.waiting), requestIds, of(shown.live), of(shown.idle), of(shown.ended), of(shown.earlier), this.services.runs.hasMore, groups, hosts, isFiltering(this.current)]);
    if (structure !== this.structure) {
      this.structure = structure;
      this.changed.fire(undefined);
    } else {
      for (const id of ids) this.changed.fire(this.node({ kind: "run", id }));
    }
    const found = [...Object.values(shown), ...this.shownHosts().map(name => this.ofHost(name))].reduce((sum, runs: readonly unknown[]) => sum + runs.length, 0);
    this.view.message = isFiltering(this.current) ? `${filterText(this.current)}: ${found === 1 ? "1 run" : `${found} runs`}` : "";
    const running = live.filter(({ state }) => state !== "idle").length;
    if (waiting.length > 0) this.view.badge = { value: waiting.length, tooltip: `${needInputText(waiting.length)}, ${running} running` };
    else if (running > 0) this.view.badge = { value: running, tooltip: `${running} running` };
    else this.view.badge = undefined;
  }

  /** Redraws the elapsed time of active runs while the view is visible. */
  private redrawActive(): void {
    if (!this.view.visible) return;
    const active = [undefined, ...this.services.hosts.names].flatMap(host => {
      const { waiting, live } = this.shown(host);
      return [...waiting, ...live];
    });
    this.redraw(active.map(({ id }) => id));
  }
}
