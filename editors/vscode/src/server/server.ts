// The server as the rest of the extension sees it: there, coming, or down with a reason. Starts it again when it ends by itself.
import { Emitter, type CancellationToken, type Event } from "vscode-jsonrpc/node";
import type { InitializeResult, Notifications } from "../protocol";
import { Connection, type Ear, type Launch } from "./connection";
import { Failure } from "./failure";
import type { Asked } from "./optional";
import { Restarts } from "./restarts";

export type State =
  | { is: "stopped"; why: string }
  | { is: "starting" }
  | { is: "running"; connection: Connection }
  | { is: "down"; failure: Failure };

/** A notification of the server, name and params together. */
export type Heard = { [N in keyof Notifications]: { name: N; params: Notifications[N] } }[keyof Notifications];

export class Server {
  private current: State = { is: "stopped", why: "The loomd server has not been started." };
  private readonly changed = new Emitter<State>();
  private readonly heard = new Emitter<Heard>();
  /** Raised by whoever starts or stops; a start that finds it changed was overtaken. */
  private generation = 0;

  readonly onDidChange: Event<State> = this.changed.event;
  readonly onNotification: Event<Heard> = this.heard.event;

  constructor(
    private readonly launch: () => Promise<Launch>,
    private readonly log: (line: string) => void,
    private readonly restarts = new Restarts(),
  ) {}

  get state(): State {
    return this.current;
  }

  get hello(): InitializeResult | undefined {
    return this.current.is === "running" ? this.current.connection.hello : undefined;
  }

  can(method: string): boolean {
    return this.current.is === "running" && this.current.connection.can(method);
  }

  /** Starts the server if it is not there; what comes of it is told by `state`. */
  async start(): Promise<void> {
    if (this.current.is === "starting" || this.current.is === "running") return;
    this.restarts.forget();
    await this.begin();
  }

  async stop(why = "The loomd server was stopped."): Promise<void> {
    const last = this.current;
    this.generation++;
    this.become({ is: "stopped", why });
    if (last.is === "running") await last.connection.close();
  }

  async restart(): Promise<void> {
    await this.stop("The loomd server is being restarted.");
    await this.start();
  }

  /** Asks the server; one that is just starting is waited for. */
  async request<M extends keyof Asked>(method: M, params: Asked[M]["params"], token?: CancellationToken): Promise<Asked[M]["result"]> {
    return (await this.ready()).request(method, params, token);
  }

  /** The connection, as soon as it stands. Fails at once where nobody is about to make one. */
  ready(): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const settle = (state: State): boolean => {
        if (state.is === "running") resolve(state.connection);
        else if (state.is === "stopped") reject(new Failure("stopped", state.why));
        else if (state.is === "down") reject(state.failure);
        return state.is !== "starting";
      };
      if (settle(this.current)) return;
      const listening = this.changed.event(state => {
        if (settle(state)) listening.dispose();
      });
    });
  }

  private async begin(): Promise<void> {
    const generation = ++this.generation;
    this.become({ is: "starting" });
    const ear: Ear = { notification: (name, params) => this.heard.fire({ name, params } as Heard), log: this.log };
    let connection: Connection;
    try {
      connection = await Connection.open(await this.launch(), ear);
    } catch (error) {
      if (generation !== this.generation) return;
      const failure = Failure.from(error);
      this.log(failure.message);
      // A server that ended during its start may do better next time; one that is missing, misconfigured or too old will not.
      if (failure.kind === "gone") return this.ended(failure.message);
      return this.become({ is: "down", failure });
    }
    if (generation !== this.generation) return connection.close();
    void connection.ended.then(how => {
      if (generation === this.generation) return this.ended(`The loomd server ${how}.`);
    });
    this.log(`connected to loomd ${connection.hello.serverInfo.version}, store ${connection.hello.storePath}`);
    this.become({ is: "running", connection });
  }

  private async ended(how: string): Promise<void> {
    this.log(how);
    if (this.restarts.allow()) return this.begin();
    this.become({ is: "down", failure: new Failure("gone", `${how} It has been restarted too often; runs go on without it.`) });
  }

  private become(state: State): void {
    this.current = state;
    this.changed.fire(state);
  }
}
