// The servers of other computers: `ssh -T -- NAME loomd`, by the user's own ssh. Each has its own state, so none waits
// for another. A connection that breaks is made again after pauses that grow.
import { Emitter, type Event } from "vscode-jsonrpc/node";
import { bareId, hostOf } from "./run-ids";
import { Failure } from "./failure";
import { Reconnects } from "./restarts";
import { Server, type ServerNotification } from "./server";

/** Such a name is no option of ssh, and no text that a shell reads. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,254}$/;

/** The names that are hosts, each once, and a sentence about each that is none. */
export function readHosts(setting: readonly unknown[]): { names: string[]; problems: string[] } {
  const isName = (value: unknown): value is string => typeof value === "string" && NAME.test(value);
  const problems = setting.filter(value => !isName(value)).map(value => `loomd.hosts: ${JSON.stringify(value)} is not a host's name: a letter or digit first, then letters, digits and . _ - @. The rest goes into ~/.ssh/config.`);
  return { names: [...new Set(setting.filter(isName))], problems };
}

/** The arguments that run loomd on a host in a terminal. */
export const terminalCommand = (runId: string, command: string, ...options: string[]): string[] => ["ssh", "-t", "--", hostOf(runId)!, "loomd", command, bareId(runId), ...options];

export class Hosts {
  private servers = new Map<string, Server>();
  private readonly changed = new Emitter<string>();
  private readonly notified = new Emitter<ServerNotification>();
  private isStarted = false;

  /** Fires with the name of a host whose server has another state, or that was added or removed. */
  readonly onDidChange: Event<string> = this.changed.event;
  readonly onNotification: Event<ServerNotification> = this.notified.event;

  constructor(
    local: Server,
    private readonly client: { name: string; version: string },
    private readonly log: (line: string) => void,
    private readonly restarts: () => Reconnects = () => new Reconnects(),
  ) {
    local.route = name => this.of(name);
  }

  /** In the user's order. */
  get names(): string[] {
    return [...this.servers.keys()];
  }

  get(name: string): Server | undefined {
    return this.servers.get(name);
  }

  /** The server of a host. Throws if it is not among the hosts. */
  of(name: string): Server {
    const server = this.servers.get(name);
    if (!server) throw new Failure("stopped", `${name} is not in the setting loomd.hosts.`);
    return server;
  }

  /** Takes the names that are set now: connects to new ones, and disconnects from those that are gone. */
  set(names: readonly string[]): void {
    const old = this.servers;
    this.servers = new Map(names.map(name => [name, old.get(name) ?? this.create(name)]));
    for (const [name, server] of old) {
      if (!this.servers.has(name)) void server.stop(`${name} is not in the setting loomd.hosts.`).finally(() => this.changed.fire(name));
    }
    for (const name of names) if (!old.has(name)) this.changed.fire(name);
    if (this.isStarted) this.start();
  }

  start(): void {
    this.isStarted = true;
    for (const server of this.servers.values()) if (server.state.kind === "stopped") void server.start();
  }

  async stop(): Promise<void> {
    this.isStarted = false;
    await Promise.all([...this.servers.values()].map(server => server.stop("The connection was closed.")));
  }

  private create(name: string): Server {
    const launch = { program: "ssh", args: ["-T", "--", name, "loomd"], client: this.client, host: name };
    const server = new Server(async () => launch, line => this.log(line.startsWith(`${name}: `) ? line : `${name}: ${line}`), this.restarts(), name);
    server.onDidChange(() => this.changed.fire(name));
    server.onNotification(notification => this.notified.fire(notification));
    return server;
  }
}
