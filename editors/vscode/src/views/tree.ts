// The Runs view: who waits comes first, then what runs, then what just ended, then *Earlier*. Rows are drawn anew one by one.
import { EventEmitter, MarkdownString, ThemeColor, ThemeIcon, TreeItem, TreeItemCollapsibleState, window, type Disposable, type TreeDataProvider, type TreeView } from "vscode";
import { isAgent, type Base } from "../base";
import type { Run } from "../protocol";
import { order, type Ordered } from "../runs/order";
import { subjectOf } from "../runs/rules";
import { ago, commandLine, duration, elapsed, iconOf, isFinal, isWaiting, nameOf, questions, stateWords, waysOf, within, type Requested } from "../runs/words";

export type Node =
  | { is: "problem" }
  | { is: "run"; id: string }
  | { is: "question"; id: string; permissionId: string }
  | { is: "earlier" }
  | { is: "more" };

type Shared = Pick<Base, "server" | "runs">;

export class RunsTree implements TreeDataProvider<Node>, Disposable {
  readonly view: TreeView<Node>;
  private readonly changed = new EventEmitter<Node | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  /** One object for each row, as the tree knows rows by identity. */
  private readonly nodes = new Map<string, Node>();
  private readonly opened = Date.now();
  private shape = "";
  private readonly garbage: Disposable[] = [];

  constructor(private readonly app: Shared) {
    this.view = window.createTreeView("loomd.runs", { treeDataProvider: this, showCollapseAll: false });
    const clock = setInterval(() => this.tick(), 1000);
    this.garbage.push(
      this.view,
      { dispose: () => clearInterval(clock) },
      app.runs.onDidChange(({ runs }) => this.redraw([...runs.keys()])),
      app.server.onDidChange(() => this.redraw([])),
    );
    this.redraw([]);
  }

  dispose(): void {
    for (const thing of this.garbage) thing.dispose();
  }

  ordered(): Ordered {
    return order(this.app.runs.all(), this.opened);
  }

  getChildren(node?: Node): Node[] {
    if (!node) {
      const { waiting, live, ended, earlier } = this.ordered();
      const rows: Node[] = [...waiting, ...live, ...ended].map(run => this.node({ is: "run", id: run.id }));
      if (this.app.server.state.is === "down") rows.unshift(this.node({ is: "problem" }));
      if (earlier.length > 0 || this.app.runs.hasMore) rows.push(this.node({ is: "earlier" }));
      return rows;
    }
    if (node.is === "earlier") {
      const rows: Node[] = this.ordered().earlier.map(run => this.node({ is: "run", id: run.id }));
      if (this.app.runs.hasMore) rows.push(this.node({ is: "more" }));
      return rows;
    }
    const run = node.is === "run" ? this.app.runs.get(node.id) : undefined;
    if (!run) return [];
    return questions(run).map(({ permissionId }) => this.node({ is: "question", id: run.id, permissionId }));
  }

  getParent(node: Node): Node | undefined {
    if (node.is === "question") return this.node({ is: "run", id: node.id });
    if (node.is === "more") return this.node({ is: "earlier" });
    if (node.is === "run" && this.ordered().earlier.some(run => run.id === node.id)) return this.node({ is: "earlier" });
    return undefined;
  }

  getTreeItem(node: Node): TreeItem {
    switch (node.is) {
      case "problem":
        return problemRow(this.app);
      case "run": {
        const run = this.app.runs.get(node.id);
        return run ? runRow(this.app, run) : new TreeItem("");
      }
      case "question": {
        const run = this.app.runs.get(node.id);
        const question = run && questions(run).find(({ permissionId }) => permissionId === node.permissionId);
        return question ? questionRow(run, question) : new TreeItem("");
      }
      case "earlier": {
        const item = new TreeItem("Earlier", TreeItemCollapsibleState.Collapsed);
        item.id = "earlier";
        item.contextValue = "earlier";
        return item;
      }
      case "more": {
        const item = new TreeItem("Show more…");
        item.command = { command: "loomd.showMore", title: "Show More" };
        return item;
      }
    }
  }

  private node(node: Node): Node {
    const key = JSON.stringify(node);
    const known = this.nodes.get(key);
    if (known) return known;
    this.nodes.set(key, node);
    return node;
  }

  private redraw(ids: readonly string[]): void {
    const { waiting, live, ended, earlier } = this.ordered();
    const asked = waiting.map(run => questions(run).map(({ permissionId }) => permissionId));
    const shape = JSON.stringify([this.app.server.state.is === "down", waiting.map(run => run.id), asked, live.map(run => run.id), ended.map(run => run.id), earlier.map(run => run.id), this.app.runs.hasMore]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.changed.fire(undefined);
    } else {
      for (const id of ids) this.changed.fire(this.node({ is: "run", id }));
    }
    const running = live.filter(({ state }) => state !== "idle").length;
    if (waiting.length > 0) this.view.badge = { value: waiting.length, tooltip: `${waiting.length} waiting for you, ${running} running` };
    else if (running > 0) this.view.badge = { value: running, tooltip: `${running} running` };
    else this.view.badge = undefined;
  }

  /** The elapsed time of what runs, where somebody looks. */
  private tick(): void {
    if (!this.view.visible) return;
    const { waiting, live } = this.ordered();
    for (const run of [...waiting, ...live]) this.changed.fire(this.node({ is: "run", id: run.id }));
  }
}

function problemRow({ server }: Shared): TreeItem {
  const why = server.state.is === "down" ? server.state.failure.message : "";
  const item = new TreeItem("loomd is not running: click to restart");
  item.id = "problem";
  item.contextValue = "problem";
  item.description = why;
  item.tooltip = why;
  item.iconPath = new ThemeIcon("error", new ThemeColor("list.errorForeground"));
  item.command = { command: "loomd.restartServer", title: "Restart Server" };
  item.accessibilityInformation = { label: `loomd is not running. ${why} Press Enter to restart it.` };
  return item;
}

function runRow(app: Shared, run: Run): TreeItem {
  const now = Date.now();
  const asked = questions(run);
  const item = new TreeItem(nameOf(run), asked.length > 0 ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.None);
  const words = stateWords(run);
  const time = isFinal(run) ? `${elapsed(run, now)} · ${ago(run.endedAt ?? run.createdAt, now)}` : elapsed(run, now);
  const queued = run.queued ? ` · ${run.queued} queued` : "";
  // The tree remembers by id whether a row is open; a run that asks again is to be open again.
  item.id = `${run.id}${asked.length > 0 ? `:${asked[0]!.permissionId}` : ""}`;
  item.description = `${words} · ${time}${queued}`;
  const { icon, color } = iconOf(run);
  item.iconPath = new ThemeIcon(icon, color ? new ThemeColor(color) : undefined);
  item.contextValue = flags(app, run).join(" ");
  item.command = { command: "loomd.open", title: "Open", arguments: [{ is: "run", id: run.id }] };
  item.tooltip = tooltip(run, words, now);
  item.accessibilityInformation = { label: `${nameOf(run)}, ${words}, ${time}${queued}` };
  return item;
}

/** What the menus ask for, in the `when` clauses of package.json. */
function flags(app: Shared, run: Run): string[] {
  const result = ["run", isFinal(run) ? "ended" : "live", isAgent(app, run) ? "agent" : "command"];
  if (isWaiting(run)) result.push("waiting");
  if (run.session?.resumable) result.push("resumable");
  if (waysOf(run).length > 0) result.push("takeover");
  if (run.pinned) result.push("pinned");
  return result;
}

function tooltip(run: Run, words: string, now: number): MarkdownString {
  const text = new MarkdownString("", true);
  const line = (name: string, value: string) => text.appendMarkdown(`${name}: `).appendText(value).appendMarkdown("  \n");
  text.appendMarkdown("**").appendText(nameOf(run)).appendMarkdown("**  \n");
  line("State", `${words}, ${elapsed(run, now)}`);
  line("Provider", run.provider);
  line("Folder", run.cwd);
  if (run.command.length > 0) line("Command", commandLine(run.command).slice(0, 500));
  if (run.usage) line("Usage", usageWords(run));
  line("Started", new Date(run.startedAt ?? run.createdAt).toLocaleString());
  if (run.endedAt) line("Took", duration(run.endedAt - (run.startedAt ?? run.createdAt)));
  return text;
}

function usageWords({ usage }: Run): string {
  const words: string[] = [];
  if (usage?.inputTokens != null) words.push(`${usage.inputTokens} tokens in`);
  if (usage?.outputTokens != null) words.push(`${usage.outputTokens} out`);
  if (usage?.costUsd != null) words.push(`$${usage.costUsd.toFixed(2)}`);
  return words.join(", ");
}

function questionRow(run: Run, question: Requested): TreeItem {
  const subject = subjectOf(run, question);
  const what = subject.command ?? subject.title;
  const item = new TreeItem(what.split("\n", 1)[0]!);
  item.id = `${run.id}/${question.permissionId}`;
  const files = subject.paths.map(path => within(path, run.cwd)).join(", ");
  item.description = subject.command === undefined ? files || subject.kind : subject.title === what ? subject.kind : subject.title;
  item.iconPath = new ThemeIcon("question", new ThemeColor("list.warningForeground"));
  item.contextValue = "question";
  item.tooltip = [subject.title, what, ...subject.paths].filter((text, at, all) => all.indexOf(text) === at).join("\n");
  item.command = { command: "loomd.review", title: "Review", arguments: [{ is: "question", id: run.id, permissionId: question.permissionId }] };
  item.accessibilityInformation = { label: `${nameOf(run)} asks: ${subject.kind}, ${what} ${files}. Allow or deny with the actions of this row.` };
  return item;
}
