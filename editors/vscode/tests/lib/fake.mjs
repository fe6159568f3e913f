#!/usr/bin/env node
// A server for what the real one cannot be made to do. Its first argument says how it behaves:
//   version     speaks version 99
//   config      answers `initialize` with an error about its configuration
//   crash       ends as soon as it has answered `initialize`
//   early       ends without having answered anything
//   mute        answers `initialize` and nothing else
//   deaf        answers `initialize`, and closes its ears before
import { closeSync } from "node:fs";

const how = process.argv[2];
let input = Buffer.alloc(0);

function say(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  process.stdout.write(`Content-Length: ${body.length}\r\n\r\n`);
  process.stdout.write(body);
}

function hear({ id, method }) {
  if (method === "exit") process.exit(0);
  if (how === "early") process.exit(7);
  if (method === "shutdown") return say({ id, result: null });
  if (method !== "initialize") return;
  if (how === "deaf") {
    process.stdin.destroy();
    closeSync(0);
    setInterval(() => {}, 1000);
  }
  if (how === "config") return say({ id, error: { code: -32018, message: "config.toml, line 3: unknown key `colour`.", data: { kind: "config", path: "config.toml", line: 3 } } });
  const capabilities = { methods: ["initialize", "run/list", "run/get"], maxFrameBytes: 1 << 26, output: {} };
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
