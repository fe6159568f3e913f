// JSON-RPC as one message a line: what a host prints before its server starts is told from messages line by line.
import type { Readable, Writable } from "node:stream";
import { AbstractMessageReader, AbstractMessageWriter, type DataCallback, type Disposable, type Message } from "vscode-jsonrpc/node";

/** More than this before the first message is not a greeting. */
export const MAX_GREETING_BYTES = 65_536;
/** The longest line, as the server bounds its own frames. */
const MAX_LINE_BYTES = 67_108_864;

/** How a message of the server begins, also behind text without a line feed. */
const FIRST_MESSAGE = '{"jsonrpc"';

export class LineReader extends AbstractMessageReader {
  private parts: Buffer[] = [];
  private partBytes = 0;
  /** What was passed over, until there was a message. */
  private greetingBytes: number | undefined = 0;
  private failed = false;

  /** `onUnreadable` gets the predicate of a sentence about the other side, once. */
  constructor(
    private readonly input: Readable,
    private readonly onUnreadable: (reason: string) => void,
  ) {
    super();
  }

  listen(callback: DataCallback): Disposable {
    const read = (data: Buffer) => this.read(data, callback);
    this.input.on("data", read);
    this.input.once("close", () => this.fireClose());
    return { dispose: () => void this.input.off("data", read) };
  }

  private read(data: Buffer, callback: DataCallback): void {
    for (let from = 0; from < data.length && !this.failed; ) {
      const end = data.indexOf(0x0a, from);
      const part = data.subarray(from, end < 0 ? data.length : end);
      this.parts.push(part);
      this.partBytes += part.length;
      if (this.partBytes > MAX_LINE_BYTES) return this.fail("wrote a line that is too long");
      if (this.greetingBytes !== undefined && this.greetingBytes + this.partBytes > MAX_GREETING_BYTES && !Buffer.concat(this.parts).includes(FIRST_MESSAGE)) return this.fail("wrote too much that is no answer of loomd");
      if (end < 0) return;
      const line = Buffer.concat(this.parts).toString("utf8");
      [this.parts, this.partBytes, from] = [[], 0, end + 1];
      this.take(line, callback);
    }
  }

  private take(line: string, callback: DataCallback): void {
    const message = messageOf(this.greetingBytes === undefined ? line : line.slice(Math.max(0, line.indexOf(FIRST_MESSAGE))));
    if (message) {
      this.greetingBytes = undefined;
      callback(message);
    } else if (this.greetingBytes === undefined) {
      this.fail("wrote something that is no message");
    } else {
      this.greetingBytes += Buffer.byteLength(line);
    }
  }

  private fail(reason: string): void {
    this.failed = true;
    this.onUnreadable(reason);
  }
}

function messageOf(line: string): Message | undefined {
  try {
    const value = JSON.parse(line) as Message | null;
    return value?.jsonrpc === "2.0" ? value : undefined;
  } catch {
    return undefined;
  }
}

export class LineWriter extends AbstractMessageWriter {
  constructor(private readonly output: Writable) {
    super();
  }

  write(message: Message): Promise<void> {
    return new Promise((resolve, reject) => this.output.write(`${JSON.stringify(message)}\n`, error => (error ? reject(error) : resolve())));
  }

  end(): void {}
}
