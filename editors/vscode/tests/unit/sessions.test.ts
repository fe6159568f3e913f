import { deepStrictEqual } from "node:assert";
import { CancellationTokenSource } from "vscode-jsonrpc/node";
import type { ProviderInfo, SessionsResult } from "../../src/protocol";
import { listSessions } from "../../src/runs/sessions";
import { Failure } from "../../src/server/failure";

const agent = (id: string, more: object = {}) => ({ id, title: id, kind: "acp", available: true, capabilities: { resume: true }, ...more }) as unknown as ProviderInfo;

/** A server whose agents answer when the test says so. */
function fakeServer() {
  const answers = new Map<string, { resolve(result: SessionsResult): void; reject(error: unknown): void }>();
  const request = (_: string, { provider }: { provider: string }) => new Promise((resolve, reject) => answers.set(provider, { resolve, reject }));
  return { server: { request } as never, answers };
}

describe("sessions of agents", () => {
  it("come as each agent answers, though another one never does, and failures are reported", async () => {
    const { server, answers } = fakeServer();
    const seen: unknown[] = [];
    const source = new CancellationTokenSource();
    const providers = [agent("silent"), agent("quick"), agent("broken"), agent("missing", { available: false }), agent("cannot", { capabilities: { resume: false } })];
    void listSessions(server, providers, "/work", source.token, ({ id }, answer) => seen.push([id, answer instanceof Failure ? answer.message : answer.map(session => session.id)]));
    deepStrictEqual([...answers.keys()], ["silent", "quick", "broken"]);
    answers.get("quick")!.resolve({ sessions: [{ id: "one" }] as never });
    answers.get("broken")!.reject(new Failure("internal", "it fell over"));
    await new Promise(setImmediate);
    deepStrictEqual(seen, [["quick", ["one"]], ["broken", "it fell over"]]);
  });

  it("come no more after the list was closed", async () => {
    const { server, answers } = fakeServer();
    const seen: string[] = [];
    const source = new CancellationTokenSource();
    const all = listSessions(server, [agent("late")], undefined, source.token, ({ id }) => seen.push(id));
    source.cancel();
    answers.get("late")!.resolve({ sessions: [] });
    await all;
    deepStrictEqual(seen, []);
  });
});
