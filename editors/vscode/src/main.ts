// Puts the extension together, and ends it.
import { commands, tasks as taskRegistry, window, workspace, type ExtensionContext } from "vscode";
import type { App } from "./app";
import { always, answer, byRules, review } from "./commands/answer";
import { cancel, copyId, interrupt, openOutput, openRun, openTranscript, pin, remove, rename, said, saveOutput } from "./commands/control";
import { configure, type Choice } from "./commands/configure";
import { exportRun } from "./commands/export";
import { search } from "./commands/search";
import { about, restartServer, stopServer } from "./commands/server";
import { goOn, rerun, resume, start } from "./commands/start";
import { takeover } from "./commands/takeover";
import { pickRun } from "./commands/pick";
import { settings } from "./config";
import { Feeds } from "./runs/feed";
import type { Rule } from "./runs/rules";
import type { Template } from "./runs/start";
import { RunStore } from "./runs/store";
import { isWaiting } from "./runs/words";
import { locate } from "./server/locate";
import { Server } from "./server/server";
import { Changes, SCHEME } from "./views/changes";
import { Excerpts, EXCERPT } from "./views/excerpts";
import { Links } from "./views/links";
import { Notifier } from "./views/notify";
import { Outputs } from "./views/output";
import { StatusItem } from "./views/status";
import { Tasks, TYPE } from "./views/tasks";
import { Transcripts } from "./views/transcript";
import { RunsTree, type Node } from "./views/tree";

/** What other extensions, and our own tests, get from `activate`. */
export interface Api extends App {
  status: StatusItem;
  notifier: Notifier;
}

let running: Server | undefined;

export function activate(context: ExtensionContext): Api {
  const { version } = context.extension.packageJSON as { version: string };
  const log = window.createOutputChannel("loomd", { log: true });
  const launch = async () => {
    const found = await locate({ setting: settings.path(), extension: context.extensionPath, path: process.env["PATH"] ?? "" });
    log.info(`starting ${found.program} (from the ${found.from})`);
    return { program: found.program, args: ["serve", "--stdio"], client: { name: "vscode", version } };
  };
  const server = (running = new Server(launch, line => log.info(line)));
  const runs = new RunStore(server);
  const feeds = new Feeds(server);
  const shared = { context, log, server, runs, feeds };
  const tree = new RunsTree(shared);
  const outputs = new Outputs(shared);
  const transcripts = new Transcripts(shared);
  const app: App = { ...shared, tree, outputs, transcripts, mine: new Set() };
  outputs.rerun = run => void said(app, rerun(app, { is: "run", id: run.id }));

  const status = new StatusItem(app);
  const notifier = new Notifier(app);
  const changes = new Changes(app, transcripts.diffs);
  const excerpts = new Excerpts(app);
  const tasks = new Tasks(app);
  context.subscriptions.push(
    log,
    tree,
    transcripts,
    status,
    notifier,
    tasks,
    workspace.registerTextDocumentContentProvider(SCHEME, changes),
    workspace.registerTextDocumentContentProvider(EXCERPT, excerpts),
    taskRegistry.registerTaskProvider(TYPE, tasks),
    window.registerTerminalLinkProvider(new Links(terminal => outputs.runOf(terminal))),
    commands.registerCommand("loomd.showLog", () => log.show()),
  );

  // A menu of the tree adds the list of selected rows; our second arguments come from key bindings and other extensions.
  const command = (name: string, run: (...args: never[]) => Promise<unknown>) =>
    context.subscriptions.push(commands.registerCommand(`loomd.${name}`, (...args: never[]) => said(app, run(...args.slice(0, Array.isArray(args[1]) ? 1 : 2)))));
  command("start", (template?: Template | string) => start(app, template));
  command("open", (node?: Node) => openRun(app, node));
  command("openOutput", (node?: Node) => openOutput(app, node));
  command("openTranscript", (node?: Node) => openTranscript(app, node));
  command("allow", (node?: Node) => answer(app, node, "allow"));
  command("deny", (node?: Node) => answer(app, node, "deny"));
  command("review", (node?: Node) => review(app, node));
  command("always", (node?: Node, rule?: Rule) => always(app, node, rule));
  command("cancel", (node?: Node) => cancel(app, node));
  command("interrupt", (node?: Node) => interrupt(app, node));
  command("rerun", (node?: Node) => rerun(app, node));
  command("rename", (node?: Node, title?: string) => rename(app, node, title));
  command("pin", (node?: Node) => pin(app, true, node));
  command("unpin", (node?: Node) => pin(app, false, node));
  command("delete", (node?: Node, sure?: "sure") => remove(app, node, sure));
  command("copyId", (node?: Node) => copyId(app, node));
  command("saveOutput", (node?: Node, target?: never) => saveOutput(app, node, target));
  command("export", (node?: Node, given?: never) => exportRun(app, node, given));
  command("search", (given?: string) => search(app, excerpts, typeof given === "string" ? given : undefined));
  command("configure", (node?: Node, given?: Choice) => configure(app, node, given));
  command("resume", (node?: Node) => resume(app, node));
  command("continue", (node: Node, words?: string) => goOn(app, node, words));
  command("takeover", (node?: Node) => takeover(app, node));
  command("changes", async (node?: Node) => {
    const run = await pickRun(app, node, "Show the changes of which run?");
    if (run) await changes.show(run);
  });
  command("find", async () => transcripts.find());
  command("showMore", () => runs.more());
  command("restartServer", () => restartServer(app));
  command("stopServer", () => stopServer(app));
  command("about", () => about(app));

  const obey = () => {
    for (const run of runs.all()) void byRules(app, run);
  };
  context.subscriptions.push(
    runs.onDidAsk(run => void byRules(app, run)),
    // What the `when` clauses of package.json ask for.
    server.onDidChange(state => {
      const context = { server: state.is, canSearch: server.can("run/search"), canExport: server.can("run/export") };
      for (const [name, value] of Object.entries(context)) void commands.executeCommand("setContext", `loomd.${name}`, value);
    }),
    runs.onDidChange(() => void commands.executeCommand("setContext", "loomd.waiting", [...runs.all()].some(isWaiting))),
    workspace.onDidChangeConfiguration(event => {
      if (event.affectsConfiguration("loomd.rules")) obey();
      if (event.affectsConfiguration("loomd.path") && workspace.isTrusted) void server.restart();
    }),
    workspace.onDidGrantWorkspaceTrust(() => void server.start()),
  );

  // A folder that nobody vouched for starts nothing.
  if (workspace.isTrusted) void server.start();
  else void server.stop("loomd is not started in a workspace that is not trusted.");
  return { ...app, status, notifier };
}

export async function deactivate(): Promise<void> {
  await running?.stop("The window is closing.");
}
