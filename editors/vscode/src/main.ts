// Activates and deactivates the extension: creates its services and views, and registers its commands.
import { join } from "node:path";
import { commands, languages, tasks as taskRegistry, window, workspace, type Diagnostic, type ExtensionContext, type Uri } from "vscode";
import type { App } from "./app";
import { deny, review } from "./commands/answer";
import { askAgent } from "./commands/ask";
import { cancel, copyId, endIdle, interrupt, openOutput, openRun, openTranscript, pin, deleteRun, rename, reportErrors, saveOutput } from "./commands/control";
import { reviewChanges, showStep, undoTurn } from "./commands/changes";
import { configure, type Configuration } from "./commands/configure";
import { fixThis, FixProvider, sendSelection } from "./commands/context";
import { exportRun } from "./commands/export";
import { filterRuns, groupBy, setFilter } from "./commands/filter";
import { deleteRuns, endRuns, exportRuns, runsOf } from "./commands/several";
import { always, manageRules, takeOverRules } from "./commands/rules";
import { search } from "./commands/search";
import { about, connectHost, reportIssue, restartServer, stopServer } from "./commands/server";
import { queuedMessages, type QueuedAction } from "./commands/queued";
import { resume, resumeRun } from "./commands/resume";
import { rerun, start, startTemplate } from "./commands/start";
import { takeOver } from "./commands/takeover";
import { discardWorktree, mergeWorktree } from "./commands/worktree";
import { pickRun } from "./commands/pick";
import { settings } from "./config";
import type { Prompt, RuleTerms, Takeover } from "./protocol";
import { Feeds } from "./runs/feed";
import { NO_FILTER, stateFilterOf, type RunFilter } from "./runs/filter";
import type { Template } from "./runs/start";
import { RunStore } from "./runs/store";
import { Worktrees } from "./runs/worktrees";
import { Hosts, readHosts } from "./server/hosts";
import { locate } from "./server/locate";
import { Server } from "./server/server";
import { Changes, CHANGE_SCHEME } from "./views/changes";
import { Excerpts, OUTPUT_SCHEME } from "./views/excerpts";
import { StartForm } from "./views/form";
import { FileLinkProvider } from "./views/links";
import { showWarning } from "./views/messages";
import { Notifier } from "./views/notify";
import { Outputs } from "./views/output";
import { Review, type ChangeTarget } from "./views/review";
import { StatusItem } from "./views/status";
import { Tasks, TASK_TYPE } from "./views/tasks";
import { Transcripts } from "./views/transcript";
import { RunsTree, type RunsNode } from "./views/tree";
import { Unread } from "./views/unread";

/** What `activate` returns to other extensions and to our tests. */
export interface Api extends App {
  status: StatusItem;
  notifier: Notifier;
  reviews: Review;
  tasks: Tasks;
}

/** Whether it is the list of selected rows that a menu of the tree passes. */
const isSelection = (value: unknown): value is RunsNode[] => Array.isArray(value) && value.every(row => (row as { kind?: unknown } | undefined)?.kind !== undefined);

/** A button in an editor's title passes the editor's file instead of a change. */
const ofChange = (value: ChangeTarget | undefined): ChangeTarget | undefined => (typeof value?.key === "string" ? value : undefined);

let activeServer: Server | undefined;
let activeHosts: Hosts | undefined;

export function activate(context: ExtensionContext): Api {
  const { version } = context.extension.packageJSON as { version: string };
  const log = window.createOutputChannel("loomd", { log: true });
  const launch = async () => {
    const located = await locate({ setting: settings.path(), extension: context.extensionPath, path: process.env["PATH"] ?? "" });
    log.info(`Starting ${located.program} (from ${located.from})`);
    return { program: located.program, args: ["serve", "--stdio"], client: { name: "vscode", version } };
  };
  const server = (activeServer = new Server(launch, line => log.info(line)));
  const hosts = (activeHosts = new Hosts(server, { name: "vscode", version }, line => log.info(line)));
  const runs = new RunStore(server, hosts);
  const feeds = new Feeds(server, hosts);
  const services = { context, log, server, hosts, runs, feeds };
  const tree = new RunsTree(services, id => unread.has(id));
  const outputs = new Outputs(services);
  const transcripts = new Transcripts(services);
  const unread: Unread = new Unread(services, id => window.state.focused && (transcripts.isVisible(id) || outputs.isActive(id)), ids => tree.redraw(ids));
  const worktrees = new Worktrees(join(context.globalStorageUri.fsPath, "worktrees"), context.globalState);
  const app: App = { ...services, tree, outputs, transcripts, unread, worktrees, form: new StartForm(services), startedHere: new Set() };
  transcripts.onShown = id => unread.mark(id, false);
  outputs.rerun = run => void reportErrors(app, rerun(app, { kind: "run", id: run.id }));

  const status = new StatusItem(app);
  const notifier = new Notifier(app);
  const changes = new Changes(app, transcripts.diffs);
  const reviews = new Review(app, changes);
  const excerpts = new Excerpts(app);
  const tasks = new Tasks(app);
  context.subscriptions.push(
    log,
    tree,
    transcripts,
    status,
    notifier,
    unread,
    reviews,
    tasks,
    workspace.registerTextDocumentContentProvider(CHANGE_SCHEME, changes),
    workspace.registerTextDocumentContentProvider(OUTPUT_SCHEME, excerpts),
    taskRegistry.registerTaskProvider(TASK_TYPE, tasks),
    languages.registerCodeActionsProvider({ scheme: "file" }, new FixProvider(), { providedCodeActionKinds: FixProvider.kinds }),
    window.registerTerminalLinkProvider(new FileLinkProvider(terminal => outputs.runOf(terminal))),
    commands.registerCommand("loomd.showLog", () => log.show()),
  );

  // A menu of the tree passes the list of selected rows as second argument, which we drop. Our own second arguments
  // come from key bindings and other extensions.
  const command = (name: string, run: (...args: never[]) => Promise<unknown>) =>
    context.subscriptions.push(commands.registerCommand(`loomd.${name}`, (...args: never[]) => reportErrors(app, run(...args.slice(0, isSelection(args[1]) ? 1 : 2)))));
  command("start", (template?: Template | string) => start(app, template));
  command("ask", (requested?: { provider?: string; prompt?: string }) => askAgent(app, requested));
  command("startTemplate", () => startTemplate(app));
  command("sendSelection", () => sendSelection(app));
  command("fixThis", (uri?: Uri, diagnostics?: Diagnostic[]) => fixThis(app, uri, diagnostics));
  command("open", (node?: RunsNode) => openRun(app, node));
  command("openOutput", (node?: RunsNode) => openOutput(app, node));
  command("openTranscript", (node?: RunsNode) => openTranscript(app, node));
  command("deny", (node?: RunsNode) => deny(app, node));
  command("review", (node?: RunsNode) => review(app, node));
  command("always", (node?: RunsNode, rule?: RuleTerms) => always(app, node, rule));
  command("rules", () => manageRules(app));
  command("takeOverRules", () => takeOverRules(app));
  // A menu of the tree passes the selected rows, if there are several.
  const several = (name: string, one: (node?: RunsNode, argument?: never) => Promise<unknown>, many: (nodes: RunsNode[]) => Promise<unknown>) =>
    context.subscriptions.push(commands.registerCommand(`loomd.${name}`, (node?: RunsNode, second?: unknown) => reportErrors(app, isSelection(second) && second.length > 1 ? many(second) : one(node, isSelection(second) ? undefined : (second as never)))));
  several("cancel", node => cancel(app, node), nodes => endRuns(app, nodes));
  command("endIdle", (_?: RunsNode, confirmation?: "sure") => endIdle(app, confirmation));
  command("interrupt", (node?: RunsNode) => interrupt(app, node));
  command("queued", (node?: RunsNode, requested?: QueuedAction) => queuedMessages(app, node, requested));
  command("rerun", (node?: RunsNode) => rerun(app, node));
  command("rename", (node?: RunsNode, title?: string) => rename(app, node, title));
  command("pin", (node?: RunsNode) => pin(app, true, node));
  command("unpin", (node?: RunsNode) => pin(app, false, node));
  several("delete", (node, confirmation?: "sure") => deleteRun(app, node, confirmation), nodes => deleteRuns(app, nodes));
  command("copyId", (node?: RunsNode) => copyId(app, node));
  command("saveOutput", (node?: RunsNode, target?: never) => saveOutput(app, node, target));
  several("export", (node, requested?: never) => exportRun(app, node, requested), nodes => exportRuns(app, nodes));
  const marks = (unreadNow: boolean) => async (nodes: (RunsNode | undefined)[]) => {
    for (const { id } of runsOf(app, nodes.filter(node => node !== undefined))) unread.mark(id, unreadNow);
  };
  several("markRead", node => marks(false)([node]), marks(false));
  several("markUnread", node => marks(true)([node]), marks(true));
  command("markAllRead", async () => unread.markAllRead());
  command("filter", (requested?: Partial<RunFilter>) => filterRuns(app, requested));
  command("clearFilter", () => setFilter(app, NO_FILTER));
  for (const grouping of ["state", "folder", "day"] as const) command(`groupBy.${grouping}`, () => groupBy(grouping));
  command("search", (query?: string) => search(app, excerpts, typeof query === "string" ? query : undefined));
  command("configure", (node?: RunsNode, configuration?: Configuration) => configure(app, node, configuration));
  command("resume", (node?: RunsNode) => resume(app, node));
  command("continue", (node: RunsNode, followUp?: Prompt) => resumeRun(app, node, followUp));
  command("takeover", (node?: RunsNode, requested?: Takeover["kind"]) => takeOver(app, node, requested));
  command("changes", async (node?: RunsNode) => {
    const run = await pickRun(app, node, "Select a run to show its changes");
    if (run) await changes.show(run);
  });
  command("reviewChanges", (node?: RunsNode) => reviewChanges(app, reviews, node));
  command("endReview", async () => reviews.end());
  command("nextChange", (target?: ChangeTarget) => reviews.go(1, ofChange(target)));
  command("previousChange", () => reviews.go(-1));
  command("keepChange", (target?: ChangeTarget) => reviews.keep(ofChange(target), "change"));
  command("undoChange", (target?: ChangeTarget) => reviews.undo(ofChange(target), "change"));
  command("keepFile", () => reviews.keep(undefined, "file"));
  command("undoFile", () => reviews.undo(undefined, "file"));
  command("showStep", (target?: ChangeTarget) => showStep(app, reviews, ofChange(target)));
  command("undoTurn", (node?: RunsNode, requested?: { turn?: number; confirmation?: "sure" }) => undoTurn(app, node, requested));
  command("mergeWorktree", (node?: RunsNode, confirmation?: "sure") => mergeWorktree(app, node, confirmation));
  command("discardWorktree", (node?: RunsNode, confirmation?: "sure") => discardWorktree(app, node, confirmation));
  command("find", async () => transcripts.find());
  command("showMore", () => runs.loadMore());
  command("connectHost", (node?: RunsNode) => connectHost(app, node));
  command("restartServer", () => restartServer(app));
  command("stopServer", () => stopServer(app));
  command("about", () => about(app));
  command("reportIssue", () => reportIssue(app));

  context.subscriptions.push(
    // The context keys that `when` clauses in package.json use.
    server.onDidChange(state => {
      const context = { server: state.kind, canSearch: server.can("run/search"), canExport: server.can("run/export") };
      for (const [name, value] of Object.entries(context)) void commands.executeCommand("setContext", `loomd.${name}`, value);
    }),
    runs.onDidChange(() => {
      const states = [...runs.all()].map(stateFilterOf);
      const context = { waiting: states.includes("waiting"), running: states.includes("active"), idle: states.includes("idle") };
      for (const [name, value] of Object.entries(context)) void commands.executeCommand("setContext", `loomd.${name}`, value);
    }),
    workspace.onDidChangeConfiguration(event => {
      if (event.affectsConfiguration("loomd.path") && workspace.isTrusted) void server.restart();
      if (event.affectsConfiguration("loomd.hosts")) readHostSetting();
    }),
    workspace.onDidGrantWorkspaceTrust(() => {
      void server.start();
      hosts.start();
    }),
  );

  const readHostSetting = () => {
    const { names, problems } = readHosts(settings.hosts());
    hosts.set(names);
    void commands.executeCommand("setContext", "loomd.hosts", names.length > 0);
    for (const problem of problems) void showWarning(problem);
  };
  readHostSetting();
  // In Restricted Mode no server is started.
  if (workspace.isTrusted) {
    void server.start();
    hosts.start();
  } else {
    void server.stop("loomd is disabled in Restricted Mode.");
  }
  return { ...app, status, notifier, reviews, tasks };
}

export async function deactivate(): Promise<void> {
  await Promise.all([activeServer?.stop("The window is closing."), activeHosts?.stop()]);
}
