// The reference `node`: what one would write first for an editor extension. A chunk that arrives is stored as a row and
// then sent to the client; nothing is batched or throttled, and the database is in WAL mode.
"use strict";

const { spawn } = require("node:child_process");
const { mkdirSync } = require("node:fs");
const { join } = require("node:path");
const { randomUUID } = require("node:crypto");
const Database = require("better-sqlite3");
const rpc = require("vscode-jsonrpc/node");

const dataDir = process.env.LOOMD_DATA_DIR;
mkdirSync(dataDir, { recursive: true, mode: 0o700 });
const database = new Database(join(dataDir, "runs.sqlite"));
database.pragma("journal_mode = WAL");
database.pragma("synchronous = NORMAL");
database.exec(`
  CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, stream TEXT, offset INTEGER, text TEXT, state TEXT
  );
  CREATE INDEX IF NOT EXISTS entries_by_run ON entries (run, seq)`);
const insert = database.prepare(
  "INSERT INTO entries (run, seq, at, stream, offset, text, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
);

const connection = rpc.createMessageConnection(
  new rpc.StreamMessageReader(process.stdin),
  new rpc.StreamMessageWriter(process.stdout),
);

connection.onRequest("initialize", () => ({
  protocolVersion: 1,
  serverInfo: { name: "node", version: process.version },
  storePath: database.name,
  providers: [],
  capabilities: {},
}));
connection.onNotification("initialized", () => {});

connection.onRequest("run/start", ({ command }) => {
  const runId = randomUUID();
  const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const offsets = { stdout: 0, stderr: 0 };
  let seq = 0;

  const state = (name, more) => {
    seq += 1;
    const at = Date.now();
    insert.run(runId, seq, at, null, null, null, name);
    connection.sendNotification("run/state", { runId, seq, at, state: name, ...more });
  };

  for (const stream of ["stdout", "stderr"]) {
    child[stream].setEncoding("utf8");
    child[stream].on("data", (text) => {
      seq += 1;
      const at = Date.now();
      const offset = offsets[stream];
      offsets[stream] += Buffer.byteLength(text);
      insert.run(runId, seq, at, stream, offset, text, null);
      connection.sendNotification("run/output", { runId, seq, at, stream, offset, text });
    });
  }

  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("spawn", () => {
      resolve({ run: { id: runId, state: "running", pid: child.pid } });
      // The response must be sent before the first notification about the run.
      setImmediate(() => state("running"));
    });
    child.once("close", (exitCode) => state(exitCode === 0 ? "succeeded" : "failed", { exitCode }));
  });
});

connection.onRequest("shutdown", () => {
  database.close();
  return null;
});
connection.onNotification("exit", () => process.exit(0));
connection.listen();
