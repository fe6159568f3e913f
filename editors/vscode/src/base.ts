// What stands below every view and command: the server, and what is known of its runs.
import type { ExtensionContext, LogOutputChannel } from "vscode";
import type { ProviderInfo, Run } from "./protocol";
import type { Feeds } from "./runs/feed";
import type { RunStore } from "./runs/store";
import type { Server } from "./server/server";

export interface Base {
  context: ExtensionContext;
  log: LogOutputChannel;
  server: Server;
  runs: RunStore;
  feeds: Feeds;
}

export function providerOf(base: Pick<Base, "server">, id: string): ProviderInfo | undefined {
  return base.server.hello?.providers.find(provider => provider.id === id);
}

/** An agent has a transcript; any other program has output only. */
export function isAgent(base: Pick<Base, "server">, run: Run): boolean {
  const provider = providerOf(base, run.provider);
  return provider ? provider.kind !== "command" : run.params["prompt"] != null;
}
