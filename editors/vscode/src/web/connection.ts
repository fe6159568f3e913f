// The connection to `loomd web`: one WebSocket, on which a server of our own answers. When it breaks, it is made anew, with
// growing pauses.
import { AbstractMessageReader, AbstractMessageWriter, createMessageConnection, Emitter, type DataCallback, type Disposable, type Event, type Message, type MessageConnection } from "vscode-jsonrpc/node";
import { PROTOCOL_VERSION, type InitializeResult, type Notifications } from "../protocol";
import { Failure } from "../server/failure";
import type { ServerMethods } from "../server/optional";
import { NOTIFICATION_METHODS, OUTPUT_BATCHING } from "../server/protocol-client";
import type { ServerLink, ServerNotification } from "../server/server";

/** `starting`: it connects, for the first time or again. `down`: it does not try any more. */
export type LinkState = { kind: "starting"; since: number } | { kind: "running" } | { kind: "down"; message: string };

/** The pause before the first attempt, doubled up to the longest. */
const PAUSE_MS = { first: 300, longest: 15_000 };

/** A page that comes into view asks whether the connection still is; without an answer for so long it is made anew. */
const PROBE_TIMEOUT_MS = 5_000;

/** Close codes of `loomd web`. */
const WRONG_TOKEN = 4001;

const TOKEN_IS_WRONG = "This address is no longer valid: loomd web has been started again. Open the address that it printed.";
const NOT_CONNECTED = "Not connected to loomd. Try again when the connection is back.";

/** What `loomd web` sends once it knows the token. */
interface Hello {
  readOnly: boolean;
}

export class WebLink implements ServerLink {
  handshake: InitializeResult | undefined;
  readOnly = false;
  private current: LinkState = { kind: "starting", since: Date.now() };
  private socket: WebSocket | undefined;
  private rpc: MessageConnection | undefined;
  private readonly pending = new Set<(failure: Failure) => void>();
  private pause = PAUSE_MS.first;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly changed = new Emitter<LinkState>();
  private readonly notified = new Emitter<ServerNotification>();

  readonly onDidChange: Event<LinkState> = this.changed.event;
  readonly onNotification: Event<ServerNotification> = this.notified.event;

  constructor(private readonly token: string) {
    window.addEventListener("online", () => this.connectNow());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.probe();
    });
  }

  get state(): LinkState {
    return this.current;
  }

  start(): void {
    if (this.token === "") return this.setState({ kind: "down", message: TOKEN_IS_WRONG });
    this.connect();
  }

  async request<M extends keyof ServerMethods>(method: M, params: ServerMethods[M]["params"]): Promise<ServerMethods[M]["result"]> {
    // The first requests wait for the first connection.
    if (this.handshake === undefined && this.current.kind === "starting") await new Promise<void>(resolve => {
      const listening = this.changed.event(() => (listening.dispose(), resolve()));
    });
    const { rpc } = this;
    if (!rpc || this.current.kind !== "running") throw new Failure("stopped", NOT_CONNECTED);
    return this.send(rpc, method, params);
  }

  private send<M extends keyof ServerMethods>(rpc: MessageConnection, method: M, params: ServerMethods[M]["params"]): Promise<ServerMethods[M]["result"]> {
    return new Promise((resolve, reject) => {
      this.pending.add(reject);
      rpc.sendRequest<ServerMethods[M]["result"]>(method, params).then(resolve, (error: unknown) => reject(Failure.from(error))).finally(() => this.pending.delete(reject));
    });
  }

  private connect(): void {
    clearTimeout(this.timer);
    const socket = (this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`));
    socket.onopen = () => socket.send(this.token);
    // The first message says that the token was right; what follows are messages of the protocol.
    socket.onmessage = ({ data }) => {
      this.readOnly = (JSON.parse(String(data)) as Hello).readOnly;
      void this.open(socket);
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      this.ended();
      if (code === WRONG_TOKEN) return this.setState({ kind: "down", message: TOKEN_IS_WRONG });
      if (this.current.kind !== "starting") this.setState({ kind: "starting", since: Date.now() });
      this.timer = setTimeout(() => this.connect(), this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(this.pause * 2, PAUSE_MS.longest);
    };
  }

  private async open(socket: WebSocket): Promise<void> {
    const rpc = createMessageConnection(new SocketReader(socket), new SocketWriter(socket));
    this.rpc = rpc;
    for (const name of NOTIFICATION_METHODS) rpc.onNotification(name, (params: Notifications[typeof name]) => this.notified.fire({ name, params } as ServerNotification));
    rpc.listen();
    try {
      this.handshake = await this.send(rpc, "initialize", {
        protocolVersion: PROTOCOL_VERSION,
        clientInfo: { name: "loomd web" },
        capabilities: { permissions: !this.readOnly, watch: true, output: OUTPUT_BATCHING },
      });
      void rpc.sendNotification("initialized", {});
      this.pause = PAUSE_MS.first;
      this.setState({ kind: "running" });
    } catch (error) {
      const failure = Failure.from(error);
      // Another attempt would fail the same way, unless the connection broke.
      if (failure.kind !== "gone") this.setState({ kind: "down", message: failure.message });
    }
  }

  private ended(): void {
    this.rpc?.dispose();
    this.rpc = undefined;
    for (const fail of [...this.pending]) fail(new Failure("gone", "The connection to loomd broke before it responded."));
    this.pending.clear();
  }

  private connectNow(): void {
    if (this.current.kind !== "starting" || this.socket?.readyState !== WebSocket.CLOSED) return;
    this.pause = PAUSE_MS.first;
    this.connect();
  }

  /** A connection over a tunnel can be gone without a sign. */
  private async probe(): Promise<void> {
    this.connectNow();
    const { rpc, socket } = this;
    if (!rpc || this.current.kind !== "running") return;
    const timer = setTimeout(() => socket?.close(), PROBE_TIMEOUT_MS);
    await this.send(rpc, "run/list", { limit: 1 }).catch(() => {});
    clearTimeout(timer);
  }

  private setState(state: LinkState): void {
    this.current = state;
    this.changed.fire(state);
  }
}

class SocketReader extends AbstractMessageReader {
  constructor(private readonly socket: WebSocket) {
    super();
  }

  listen(callback: DataCallback): Disposable {
    this.socket.onmessage = ({ data }) => callback(JSON.parse(String(data)) as Message);
    return { dispose: () => (this.socket.onmessage = null) };
  }
}

class SocketWriter extends AbstractMessageWriter {
  constructor(private readonly socket: WebSocket) {
    super();
  }

  async write(message: Message): Promise<void> {
    this.socket.send(JSON.stringify(message));
  }

  end(): void {}
}
