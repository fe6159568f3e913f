// One server process and the JSON-RPC connection to it. `Server` in server.ts decides whether to start another process.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { createMessageConnection, ErrorCodes, ResponseError, StreamMessageReader, StreamMessageWriter, type CancellationToken, type MessageConnection } from "vscode-jsonrpc/node";
import { PROTOCOL_VERSION, type InitializeResult, type Notifications } from "../protocol";
import { Failure } from "./failure";
import { LineReader, LineWriter } from "./lines";
import { NOTIFICATION_METHODS, OUTPUT_BATCHING } from "./protocol-client";
import type { ServerMethods } from "./optional";

/** How to start the server, and the client info that we send it. */
export interface Launch {
  program: string;
  args: string[];
  cwd?: string | undefined;
  /** The host on which the server runs; `undefined`: this computer. */
  host?: string;
  client: { name: string; version: string };
}

/** Receives the server's notifications and its log lines. */
export interface Listener {
  notification<N extends keyof Notifications>(name: N, params: Notifications[N]): void;
  log(line: string): void;
}

/**
 * We kill a server that has not exited this long after `exit`. Runs are not affected: each has a supervisor process of
 * its own.
 */
const EXIT_TIMEOUT_MS = 2_000;

/** How long ssh and the server of a host may take until `initialize` is answered. */
export const CONNECT_TIMEOUT_MS = 30_000;

/** A process that ssh left behind may hold the pipes, so they are read no longer than this after the end of ssh. */
const DRAIN_MS = 500;

/** Whether the error is one of the pipe to the server, not an error response. */
function isTransport(error: unknown): boolean {
  return !(error instanceof ResponseError) || error.code === ErrorCodes.MessageWriteError || error.code === ErrorCodes.PendingResponseRejected;
}

export class Connection {
  /** Settles when the process has exited, with the predicate of a sentence: "exited with code 7". */
  readonly ended: Promise<string>;
  handshake!: InitializeResult;
  private readonly rpc: MessageConnection;
  private readonly pending = new Set<(failure: Failure) => void>();
  private endReason: string | undefined;
  /** Why we ended the connection to a host. */
  private problem: string | undefined;
  private lastLogLine = "";

  private constructor(
    private readonly child: ChildProcessWithoutNullStreams,
    private readonly launch: Launch,
    listener: Listener,
  ) {
    const { host, program } = launch;
    this.rpc =
      host === undefined
        ? createMessageConnection(new StreamMessageReader(child.stdout), new StreamMessageWriter(child.stdin))
        : createMessageConnection(new LineReader(child.stdout, reason => this.abort(`it ${reason}`)), new LineWriter(child.stdin));
    for (const name of NOTIFICATION_METHODS) this.rpc.onNotification(name, params => listener.notification(name, params as never));
    this.rpc.onError(([error]) => listener.log(`Error on the connection to the server: ${error.message}`));
    // Writing to a server that has exited fails. `ended` reports the exit; the stream's own error adds nothing.
    child.stdin.on("error", () => {});
    createInterface({ input: child.stderr }).on("line", line => {
      if (line.trim() !== "") this.lastLogLine = line.trim();
      listener.log(line);
    });
    this.ended = new Promise(resolve => {
      const end = (reason: string) => {
        if (this.endReason !== undefined) return;
        this.endReason = reason;
        // vscode-jsonrpc leaves pending requests unsettled when the other side exits.
        for (const fail of [...this.pending]) fail(new Failure("gone", host === undefined ? `The loomd server ${reason} before it responded.` : this.sentence(reason)));
        this.rpc.dispose();
        resolve(reason);
      };
      child.once("error", error => end(`could not be started (${program}: ${error.message})`));
      child.once("exit", (code, signal) => {
        const how = signal ? `was terminated by ${signal}` : `exited with code ${code}`;
        if (host === undefined) return end(how);
        // What ssh wrote last says best why it ended.
        const endHost = () => end(this.problem ?? (this.lastLogLine || `ssh ${how}`));
        child.once("close", endHost);
        setTimeout(endHost, DRAIN_MS);
      });
    });
    this.rpc.listen();
  }

  /**
   * Starts the program and sends `initialize`. Throws a `Failure` of kind `missing`, `version` or `gone`, or of the
   * server's own kind (`config`, `store`).
   */
  static async open(launch: Launch, listener: Listener): Promise<Connection> {
    // Without a terminal of its own, ssh would ask for a password wherever the editor was started.
    const detached = launch.host !== undefined && process.platform !== "win32";
    const child = spawn(launch.program, launch.args, { cwd: launch.cwd, stdio: "pipe", detached });
    const connection = new Connection(child, launch, listener);
    const timer = launch.host === undefined ? undefined : setTimeout(() => connection.abort(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`), CONNECT_TIMEOUT_MS);
    try {
      connection.handshake = await connection.request("initialize", {
        protocolVersion: PROTOCOL_VERSION,
        clientInfo: launch.client,
        // A server elsewhere cannot see this process; it ends with its stdin.
        processId: launch.host === undefined ? process.pid : null,
        capabilities: { permissions: true, watch: true, output: OUTPUT_BATCHING },
      });
    } catch (error) {
      await connection.close();
      if (child.pid === undefined) throw new Failure("missing", `Could not start ${launch.host === undefined ? "loomd" : "ssh"}: ${launch.program} does not exist or is not executable.`);
      throw error;
    } finally {
      clearTimeout(timer);
    }
    const serverVersion = connection.handshake.protocolVersion;
    if (serverVersion !== PROTOCOL_VERSION) {
      await connection.close();
      const { version } = connection.handshake.serverInfo;
      const outdated = serverVersion < PROTOCOL_VERSION ? "loomd" : "this extension";
      throw new Failure("version", `loomd ${version} is not compatible with this extension (protocol ${serverVersion}, expected ${PROTOCOL_VERSION}). Update ${outdated}.`);
    }
    // Nothing waits for this notification; if it cannot be written, the next request fails.
    connection.rpc.sendNotification("initialized", {}).catch(() => {});
    return connection;
  }

  /** Why the connection ended, as a sentence. */
  sentence(reason: string): string {
    return this.launch.host === undefined ? `The loomd server ${reason}.` : `${this.launch.host}: ${reason}`;
  }

  private abort(problem: string): void {
    this.problem ??= problem;
    this.child.kill("SIGKILL");
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Whether this server has the method; a server older than the extension may not. */
  can(method: string): boolean {
    return this.handshake.capabilities.methods.includes(method);
  }

  async request<M extends keyof ServerMethods>(method: M, params: ServerMethods[M]["params"], token?: CancellationToken): Promise<ServerMethods[M]["result"]> {
    if (this.endReason !== undefined) throw new Failure("gone", this.sentence(this.endReason));
    return new Promise((resolve, reject) => {
      this.pending.add(reject);
      const response = token ? this.rpc.sendRequest(method, params, token) : this.rpc.sendRequest(method, params);
      response.then(
        result => {
          this.pending.delete(reject);
          resolve(result as ServerMethods[M]["result"]);
        },
        error => {
          if (this.endReason === undefined && isTransport(error)) {
            // The server does not read anymore, so we kill it. Its exit rejects all pending requests, this one too.
            this.child.kill("SIGKILL");
            return;
          }
          this.pending.delete(reject);
          reject(Failure.from(error));
        },
      );
    });
  }

  /** Sends `shutdown` and `exit`, and waits until the process has exited. */
  async close(): Promise<void> {
    if (this.launch.host !== undefined) {
      // A host that does not answer holds up nothing. Its server ends with its stdin.
      if (this.endReason === undefined) this.child.kill("SIGKILL");
      await this.ended;
      return;
    }
    const killTimer = setTimeout(() => this.child.kill("SIGKILL"), EXIT_TIMEOUT_MS);
    try {
      if (this.endReason === undefined) {
        await Promise.race([this.rpc.sendRequest("shutdown", {}), this.ended]).catch(() => {});
        if (this.endReason === undefined) await this.rpc.sendNotification("exit").catch(() => {});
        this.child.stdin.end();
      }
      await this.ended;
    } finally {
      clearTimeout(killTimer);
    }
  }
}
