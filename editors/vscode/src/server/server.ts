// The server as the rest of the extension sees it: stopped, starting, running or down. Restarts it after a crash.
import { Emitter, type CancellationToken, type Event } from "vscode-jsonrpc/node";
import type { InitializeResult, Notifications } from "../protocol";
import { Connection, type Listener, type Launch } from "./connection";
import { Failure } from "./failure";
import type { ServerMethods } from "./optional";
import { RestartPolicy, type Restarts } from "./restarts";
import { hostOfRequest, localized, qualified } from "./run-ids";

export type State =
  | { kind: "stopped"; reason: string }
  | { kind: "starting" }
  | { kind: "running"; connection: Connection }
  /** `retries`: it is started again by itself. */
  | { kind: "down"; failure: Failure; retries?: boolean };

/** A notification of the server: its name and its params. */
export type ServerNotification = { [N in keyof Notifications]: { name: N; params: Notifications[N] } }[keyof Notifications];

/** A connection to a server as the run store and the feeds see it, whatever carries it. */
export interface ServerLink extends Pick<Server, "request" | "onNotification" | "handshake"> {
  readonly onDidChange: Event<{ kind: State["kind"] }>;
  readonly state: { kind: State["kind"] };
}

export class Server {
  private current: State = { kind: "stopped", reason: "The loomd server has not been started." };
  private readonly changed = new Emitter<State>();
  private readonly notified = new Emitter<ServerNotification>();
  /** Every start and stop increments it. A start that finds it changed was overtaken and gives up. */
  private generation = 0;

  readonly onDidChange: Event<State> = this.changed.event;
  readonly onNotification: Event<ServerNotification> = this.notified.event;

  constructor(
    private readonly launch: () => Promise<Launch>,
    private readonly log: (line: string) => void,
    private readonly restarts: Restarts = new RestartPolicy(),
    /** The host that it serves, whose name its run IDs have; `undefined`: this computer. */
    private readonly host?: string,
  ) {}

  /** The server of another host, for requests about its runs. */
  route: ((host: string) => Server) | undefined;

  get state(): State {
    return this.current;
  }

  get handshake(): InitializeResult | undefined {
    return this.current.kind === "running" ? this.current.connection.handshake : undefined;
  }

  can(method: string): boolean {
    return this.current.kind === "running" && this.current.connection.can(method);
  }

  /** Starts the server unless it is starting or running. `state` has the result. */
  async start(): Promise<void> {
    if (this.current.kind === "starting" || this.current.kind === "running") return;
    this.restarts.reset();
    await this.connect();
  }

  async stop(reason = "The loomd server was stopped."): Promise<void> {
    const previous = this.current;
    this.generation++;
    this.setState({ kind: "stopped", reason });
    if (previous.kind === "running") await previous.connection.close();
  }

  async restart(): Promise<void> {
    await this.stop("The loomd server is restarting.");
    await this.start();
  }

  /** Sends a request. Waits for a server that is starting. */
  async request<M extends keyof ServerMethods>(method: M, params: ServerMethods[M]["params"], token?: CancellationToken): Promise<ServerMethods[M]["result"]> {
    const host = hostOfRequest(params);
    if (host !== undefined && host !== this.host && this.route) return this.route(host).request(method, params, token);
    const connection = await this.ready();
    if (this.host === undefined) return connection.request(method, params, token);
    try {
      return qualified(this.host, await connection.request(method, localized(params), token));
    } catch (error) {
      const { kind, message, data } = Failure.from(error);
      throw new Failure(kind, message, qualified(this.host, data));
    }
  }

  /** The connection, once the server runs. Rejects immediately if the server is stopped or down. */
  ready(): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const settle = (state: State): boolean => {
        if (state.kind === "running") resolve(state.connection);
        else if (state.kind === "stopped") reject(new Failure("stopped", state.reason));
        else if (state.kind === "down") reject(state.failure);
        return state.kind !== "starting";
      };
      if (settle(this.current)) return;
      const listening = this.changed.event(state => {
        if (settle(state)) listening.dispose();
      });
    });
  }

  private async connect(): Promise<void> {
    const generation = ++this.generation;
    this.setState({ kind: "starting" });
    const listener: Listener = {
      notification: (name, params) => this.notified.fire({ name, params: this.host === undefined ? params : qualified(this.host, params) } as ServerNotification),
      log: this.log,
    };
    let connection: Connection;
    try {
      connection = await Connection.open(await this.launch(), listener);
    } catch (error) {
      if (generation !== this.generation) return;
      const failure = Failure.from(error);
      this.log(failure.message);
      // A server that exited during its start may succeed next time. One that is missing, misconfigured or incompatible
      // will not.
      if (failure.kind === "gone") return this.handleExit(failure.message, undefined);
      return this.setState({ kind: "down", failure });
    }
    if (generation !== this.generation) return connection.close();
    const connectedAt = Date.now();
    void connection.ended.then(how => {
      if (generation === this.generation) return this.handleExit(connection.sentence(how), Date.now() - connectedAt);
    });
    this.log(`Connected to loomd ${connection.handshake.serverInfo.version}, store ${connection.handshake.storePath}`);
    this.setState({ kind: "running", connection });
  }

  private async handleExit(reason: string, stoodMs: number | undefined): Promise<void> {
    this.log(reason);
    const pauseMs = this.restarts.pause(stoodMs);
    if (pauseMs === 0) return this.connect();
    const retries = pauseMs !== undefined;
    const { generation } = this;
    if (retries) setTimeout(() => generation === this.generation && void this.connect(), pauseMs).unref();
    this.setState({ kind: "down", failure: new Failure("gone", `${reason}${retries ? "" : this.restarts.givenUp}`), retries });
  }

  private setState(state: State): void {
    this.current = state;
    this.changed.fire(state);
  }
}
