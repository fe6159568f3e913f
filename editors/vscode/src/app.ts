// What the views and commands share. It is put together in main.ts and nowhere else.
import type { ExtensionContext, LogOutputChannel } from "vscode";
import type { ProviderInfo, Run } from "./protocol";
import type { Feeds } from "./runs/feed";
import type { RunStore } from "./runs/store";
import type { Server } from "./server/server";
import type { Outputs } from "./views/output";
import type { Transcripts } from "./views/transcript";
import type { RunsTree } from "./views/tree";

export interface App {
  context: ExtensionContext;
  log: LogOutputChannel;
  server: Server;
  runs: RunStore;
  feeds: Feeds;
  tree: RunsTree;
  outputs: Outputs;
  transcripts: Transcripts;
  /** Ids of the runs that this window started. */
  mine: Set<string>;
}

export function providerOf(app: Pick<App, "server">, id: string): ProviderInfo | undefined {
  return app.server.hello?.providers.find(provider => provider.id === id);
}

/** An agent has a transcript; any other program has output only. */
export function isAgent(app: Pick<App, "server">, run: Run): boolean {
  const provider = providerOf(app, run.provider);
  return provider ? provider.kind !== "command" : run.params["prompt"] != null;
}
