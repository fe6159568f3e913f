// Drives `loomd acp` with the client of the protocol's own SDK. Every message passes the schema of the SDK. LOOMD_BIN names the program.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Readable, Writable } from "node:stream";
import assert from "node:assert/strict";
import * as acp from "@agentclientprotocol/sdk";

const program = process.env.LOOMD_BIN;
const scripted = fileURLToPath(new URL("../agents/scripted.py", import.meta.url));
const home = mkdtempSync(join(tmpdir(), "loomd-acp-"));
const agent = ["python3", scripted, "--keep", `${home}/sessions`];
const environment = { PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: `${home}/config` };

function start() {
  const child = spawn(program, ["--data-dir", `${home}/data`, "acp", "--", ...agent], { env: environment, stdio: ["pipe", "pipe", "inherit"] });
  return { child, stream: acp.ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout)) };
}

function editor(seen, option) {
  return acp.client({ name: "sdk" })
    .onNotification(acp.methods.client.session.update, ({ params }) => { seen.push(params.update); })
    .onRequest(acp.methods.client.session.requestPermission, () => ({ outcome: { outcome: "selected", optionId: option } }));
}

const text = (seen, kind) => seen.filter((update) => update.sessionUpdate === kind).map((update) => update.content.text ?? "").join("");
const prompt = (ctx, sessionId, words) => ctx.request(acp.methods.agent.session.prompt, { sessionId, prompt: [{ type: "text", text: words }] });

const initialize = { protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {}, clientInfo: { name: "sdk", version: "1" } };
let sessionId;
const first = start();
const seen = [];
await editor(seen, "yes").connectWith(first.stream, async (ctx) => {
  const info = await ctx.request(acp.methods.agent.initialize, initialize);
  assert.equal(info.agentCapabilities.loadSession, true);
  ({ sessionId } = await ctx.request(acp.methods.agent.session.new, { cwd: home, mcpServers: [] }));
  assert.equal((await prompt(ctx, sessionId, "say one two\nask execute")).stopReason, "end_turn");
  assert.equal(text(seen, "agent_message_chunk"), "one twochosen: yes");
  const waiting = prompt(ctx, sessionId, "say begun\nwait");
  while (!text(seen, "agent_message_chunk").endsWith("begun")) await new Promise(setImmediate);
  await ctx.notify(acp.methods.agent.session.cancel, { sessionId });
  assert.equal((await waiting).stopReason, "cancelled");
  await assert.rejects(prompt(ctx, sessionId, "fail Authentication required"), (error) => error.code === -32000);
});
first.child.kill("SIGKILL");
const second = start();
const loaded = [];
await editor(loaded, "no").connectWith(second.stream, async (ctx) => {
  await ctx.request(acp.methods.agent.initialize, initialize);
  await ctx.request(acp.methods.agent.session.load, { sessionId, cwd: home, mcpServers: [] });
  assert.equal(text(loaded, "agent_message_chunk"), "one twochosen: yesbegun");
  const { sessions } = await ctx.request(acp.methods.agent.session.list, {});
  assert.deepEqual(sessions.map((session) => session.sessionId), [sessionId]);
  assert.equal((await prompt(ctx, sessionId, "ask execute")).stopReason, "end_turn");
  assert.ok(text(loaded, "agent_message_chunk").endsWith("chosen: no"));
  await ctx.request(acp.methods.agent.session.delete, { sessionId });
});
second.child.stdin.end();
await new Promise((resolve) => second.child.once("exit", resolve));
rmSync(home, { recursive: true, force: true });
