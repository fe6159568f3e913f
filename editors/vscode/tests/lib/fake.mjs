#!/usr/bin/env node
// A fake server for behavior that the real one does not show. Its first argument is the mode:
//   version     has protocol version 99
//   config      answers `initialize` with an error about its configuration
//   crash       exits as soon as it has answered `initialize`
//   early       exits without having answered anything
//   silent      answers `initialize` and nothing else
//   closed      closes its stdin, then answers `initialize`
//   optional    has one run and the optional methods: run/search, in two pages, and run/export
import { closeSync, writeFileSync } from "node:fs";

const mode = process.argv[2];
let input = Buffer.alloc(0);

function send(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  process.stdout.write(`Content-Length: ${body.length}\r\n\r\n`);
  process.stdout.write(body);
}

const RUN = { id: "01900000-0000-7000-8000-000000000001", provider: "command", labels: {}, pinned: false, params: {}, command: ["make"], cwd: "/", state: "succeeded", createdAt: 1, startedAt: 1, endedAt: 2, lastSeq: 9, durableSeq: 9, bytes: { stdout: 30, stderr: 0 }, title: "Built", displayTitle: "Built", hasTranscript: false };
const TEXT = "one\n\x1b[31mtwo\x1b[0m needle ä\nthree needle\n";

/** The results in the mode `optional`. */
function answer(method, params) {
  const hit = nth => ({ runId: RUN.id, seq: nth, stream: "stdout", offset: Buffer.from(TEXT.split("needle", nth).join("needle")).length, line: TEXT.split("\n")[nth] });
  switch (method) {
    case "run/list":
      return { runs: [RUN] };
    case "run/get":
      return { run: RUN };
    case "run/search":
      if (!"needle".startsWith(params.query)) return { hits: [] };
      return params.cursor ? { hits: [hit(2)] } : { hits: [hit(1)], nextCursor: "more" };
    case "run/text": {
      const whole = Buffer.from(TEXT);
      return { text: whole.subarray(params.offset).toString(), offset: params.offset, nextOffset: whole.length, totalBytes: whole.length };
    }
    case "run/export":
      writeFileSync(params.path, `${params.format} of ${params.runId}`);
      return { path: params.path };
  }
}

function handle({ id, method, params }) {
  if (method === "exit") process.exit(0);
  if (mode === "early") process.exit(7);
  if (method === "shutdown") return send({ id, result: null });
  if (mode === "optional" && method !== "initialize") return id === undefined ? undefined : send({ id, result: answer(method, params) });
  if (method !== "initialize") return;
  if (mode === "closed") {
    process.stdin.destroy();
    closeSync(0);
    setInterval(() => {}, 1000);
  }
  if (mode === "config") return send({ id, error: { code: -32018, message: "config.toml, line 3: unknown key `colour`.", data: { kind: "config", path: "config.toml", line: 3 } } });
  const methods = ["initialize", "run/list", "run/get", ...(mode === "optional" ? ["run/text", "run/search", "run/export"] : [])];
  const capabilities = { methods, maxFrameBytes: 1 << 26, output: {} };
  send({ id, result: { protocolVersion: mode === "version" ? 99 : 1, serverInfo: { name: "loomd", version: "9.9.9" }, storePath: "/nowhere", providers: [], capabilities } });
  if (mode === "crash") setImmediate(() => process.exit(3));
}

process.stdin.on("data", data => {
  input = Buffer.concat([input, data]);
  for (;;) {
    const end = input.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/content-length: *(\d+)/i.exec(input.subarray(0, end).toString())[1]);
    if (input.length < end + 4 + length) return;
    const body = input.subarray(end + 4, end + 4 + length);
    input = input.subarray(end + 4 + length);
    handle(JSON.parse(body.toString()));
  }
});
process.stdin.on("end", () => process.exit(0));
