#!/usr/bin/env node
// A server for what the real one cannot be made to do. Its first argument says how it behaves:
//   version     speaks version 99
//   config      answers `initialize` with an error about its configuration
//   crash       ends as soon as it has answered `initialize`
//   early       ends without having answered anything
//   mute        answers `initialize` and nothing else
//   deaf        answers `initialize`, and closes its ears before
//   optional    knows one run, and the methods that a server need not have: run/search, in two pages, and run/export
import { closeSync, writeFileSync } from "node:fs";

const how = process.argv[2];
let input = Buffer.alloc(0);

function say(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  process.stdout.write(`Content-Length: ${body.length}\r\n\r\n`);
  process.stdout.write(body);
}

const RUN = { id: "01900000-0000-7000-8000-000000000001", provider: "command", labels: {}, pinned: false, params: {}, command: ["make"], cwd: "/", state: "succeeded", createdAt: 1, startedAt: 1, endedAt: 2, lastSeq: 9, durableSeq: 9, bytes: { stdout: 30, stderr: 0 }, title: "Built" };
const TEXT = "one\n\x1b[31mtwo\x1b[0m needle ä\nthree needle\n";

/** What the method `optional` answers; nothing else is asked of it. */
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

function hear({ id, method, params }) {
  if (method === "exit") process.exit(0);
  if (how === "early") process.exit(7);
  if (method === "shutdown") return say({ id, result: null });
  if (how === "optional" && method !== "initialize") return id === undefined ? undefined : say({ id, result: answer(method, params) });
  if (method !== "initialize") return;
  if (how === "deaf") {
    process.stdin.destroy();
    closeSync(0);
    setInterval(() => {}, 1000);
  }
  if (how === "config") return say({ id, error: { code: -32018, message: "config.toml, line 3: unknown key `colour`.", data: { kind: "config", path: "config.toml", line: 3 } } });
  const methods = ["initialize", "run/list", "run/get", ...(how === "optional" ? ["run/text", "run/search", "run/export"] : [])];
  const capabilities = { methods, maxFrameBytes: 1 << 26, output: {} };
  say({ id, result: { protocolVersion: how === "version" ? 99 : 1, serverInfo: { name: "loomd", version: "9.9.9" }, storePath: "/nowhere", providers: [], capabilities } });
  if (how === "crash") setImmediate(() => process.exit(3));
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
    hear(JSON.parse(body.toString()));
  }
});
process.stdin.on("end", () => process.exit(0));
