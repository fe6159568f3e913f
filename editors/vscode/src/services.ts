// What every view and command uses: the server, the run store and the log feeds.
import type { ExtensionContext, LogOutputChannel } from "vscode";
import type { ProviderInfo } from "./protocol";
import type { Feeds } from "./runs/feed";
import type { RunStore } from "./runs/store";
import type { Server } from "./server/server";

export interface Services {
  context: ExtensionContext;
  log: LogOutputChannel;
  server: Server;
  runs: RunStore;
  feeds: Feeds;
}

export function providerOf(base: Pick<Services, "server">, id: string): ProviderInfo | undefined {
  return base.server.handshake?.providers.find(provider => provider.id === id);
}
