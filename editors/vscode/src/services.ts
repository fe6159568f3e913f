// What every view and command uses: the server, the run store and the log feeds.
import type { ExtensionContext, LogOutputChannel } from "vscode";
import type { ProviderInfo, Run } from "./protocol";
import type { Feeds } from "./runs/feed";
import type { RunStore } from "./runs/store";
import type { Hosts } from "./server/hosts";
import { hostOf } from "./server/run-ids";
import type { Server } from "./server/server";

export interface Services {
  context: ExtensionContext;
  log: LogOutputChannel;
  /** The server of this computer. It passes requests about runs of a host to that host's server. */
  server: Server;
  hosts: Hosts;
  runs: RunStore;
  feeds: Feeds;
}

/** The server of a host, or of this computer. */
export const serverOf = ({ server, hosts }: Pick<Services, "server" | "hosts">, host: string | undefined): Server => (host === undefined ? server : hosts.of(host));

export function providerOf({ server, hosts }: Pick<Services, "server" | "hosts">, id: string, host?: string): ProviderInfo | undefined {
  return (host === undefined ? server : hosts.get(host))?.handshake?.providers.find(provider => provider.id === id);
}

/** The provider of a run, as its own server has it. */
export const providerOfRun = (services: Pick<Services, "server" | "hosts">, { id, provider }: Pick<Run, "id" | "provider">): ProviderInfo | undefined => providerOf(services, provider, hostOf(id));
