// One server process and the conversation with it. It never starts a second process; server.ts decides about that.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { createMessageConnection, ErrorCodes, ResponseError, StreamMessageReader, StreamMessageWriter, type CancellationToken, type MessageConnection } from "vscode-jsonrpc/node";
import { PROTOCOL_VERSION, type InitializeResult, type Notifications } from "../protocol";
import { Failure } from "./failure";
import type { Asked } from "./optional";

/** How the server is started, and as whom we introduce ourselves. */
export interface Launch {
  program: string;
  args: string[];
  cwd?: string | undefined;
  client: { name: string; version: string };
}

/** What the process and its notifications are told to. */
export interface Ear {
  notification<N extends keyof Notifications>(name: N, params: Notifications[N]): void;
  log(line: string): void;
}

/** Output is asked for in batches: the screen is not drawn more often. */
const OUTPUT = { minIntervalMs: 40, maxChunkBytes: 65_536 };

/** How long a server may take to end after `exit` before it is killed. Runs do not suffer: they have supervisors of their own. */
const EXIT_MS = 2_000;

const HEARD: readonly (keyof Notifications)[] = ["run/output", "run/session", "run/update", "run/permission", "run/state", "run/changed", "run/deleted"];

/** An error of the pipe between us, not an answer of the server. */
function isTransport(error: unknown): boolean {
  return !(error instanceof ResponseError) || error.code === ErrorCodes.MessageWriteError || error.code === ErrorCodes.PendingResponseRejected;
}

export class Connection {
  /** Settles when the process has ended, with a sentence about how. */
  readonly ended: Promise<string>;
  hello!: InitializeResult;
  private readonly rpc: MessageConnection;
  private readonly pending = new Set<(failure: Failure) => void>();
  private over: string | undefined;

  private constructor(
    private readonly child: ChildProcessWithoutNullStreams,
    program: string,
    ear: Ear,
  ) {
    this.rpc = createMessageConnection(new StreamMessageReader(child.stdout), new StreamMessageWriter(child.stdin));
    for (const name of HEARD) this.rpc.onNotification(name, params => ear.notification(name, params as never));
    this.rpc.onError(([error]) => ear.log(`trouble with the pipe to the server: ${error.message}`));
    // A server that is gone cannot be written to; `ended` says so to everybody, the stream's own error adds nothing.
    child.stdin.on("error", () => {});
    createInterface({ input: child.stderr }).on("line", line => ear.log(line));
    this.ended = new Promise(resolve => {
      const end = (how: string) => {
        if (this.over !== undefined) return;
        this.over = how;
        // vscode-jsonrpc leaves callers waiting when the other side ends.
        for (const fail of [...this.pending]) fail(new Failure("gone", `The loomd server ${how} before it answered.`));
        this.rpc.dispose();
        resolve(how);
      };
      child.once("error", error => end(`could not be started (${program}: ${error.message})`));
      child.once("exit", (code, signal) => end(signal ? `was killed by ${signal}` : `ended with code ${code}`));
    });
    this.rpc.listen();
  }

  /** Starts the program and introduces us. Fails with `missing`, `version`, `gone`, or with what the server answered (`config`, `store`). */
  static async open(launch: Launch, ear: Ear): Promise<Connection> {
    const child = spawn(launch.program, launch.args, { cwd: launch.cwd, stdio: "pipe" });
    const connection = new Connection(child, launch.program, ear);
    try {
      connection.hello = await connection.request("initialize", {
        protocolVersion: PROTOCOL_VERSION,
        clientInfo: launch.client,
        processId: process.pid,
        capabilities: { permissions: true, watch: true, output: OUTPUT },
      });
    } catch (error) {
      await connection.close();
      if (child.pid === undefined) throw new Failure("missing", `loomd cannot be started: ${launch.program} is not there or cannot be executed.`);
      throw error;
    }
    const spoken = connection.hello.protocolVersion;
    if (spoken !== PROTOCOL_VERSION) {
      await connection.close();
      const { version } = connection.hello.serverInfo;
      const older = spoken < PROTOCOL_VERSION ? "loomd" : "the extension";
      throw new Failure("version", `loomd ${version} speaks version ${spoken} of its protocol, this extension version ${PROTOCOL_VERSION}. Update ${older}.`);
    }
    // Nothing waits for it; if it cannot be written, the next request finds out.
    connection.rpc.sendNotification("initialized", {}).catch(() => {});
    return connection;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Whether this server knows a method; servers older than the extension may not. */
  can(method: string): boolean {
    return this.hello.capabilities.methods.includes(method);
  }

  async request<M extends keyof Asked>(method: M, params: Asked[M]["params"], token?: CancellationToken): Promise<Asked[M]["result"]> {
    if (this.over !== undefined) throw new Failure("gone", `The loomd server ${this.over}.`);
    return new Promise((resolve, reject) => {
      this.pending.add(reject);
      const answer = token ? this.rpc.sendRequest(method, params, token) : this.rpc.sendRequest(method, params);
      answer.then(
        result => {
          this.pending.delete(reject);
          resolve(result as Asked[M]["result"]);
        },
        error => {
          if (this.over === undefined && isTransport(error)) {
            // It reads no more, so it is ending or of no use. Its end tells whoever waits, this caller too.
            this.child.kill("SIGKILL");
            return;
          }
          this.pending.delete(reject);
          reject(Failure.from(error));
        },
      );
    });
  }

  /** Says goodbye and waits for the end. */
  async close(): Promise<void> {
    const patience = setTimeout(() => this.child.kill("SIGKILL"), EXIT_MS);
    try {
      if (this.over === undefined) {
        await Promise.race([this.rpc.sendRequest("shutdown", {}), this.ended]).catch(() => {});
        if (this.over === undefined) await this.rpc.sendNotification("exit").catch(() => {});
        this.child.stdin.end();
      }
      await this.ended;
    } finally {
      clearTimeout(patience);
    }
  }
}
