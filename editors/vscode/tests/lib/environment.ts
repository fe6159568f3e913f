// A test's environment: a data directory of its own, the real server in it, and `until`, which waits for a condition.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Run, StartParams } from "../../src/protocol";
import { Feeds } from "../../src/runs/feed";
import { RunStore } from "../../src/runs/store";
import { isFinal } from "../../src/runs/run";
import type { Launch } from "../../src/server/connection";
import { Server } from "../../src/server/server";

const root = resolve(process.env["LOOMD_REPOSITORY"] ?? join(process.cwd(), "../.."));

/** The loomd under test: $LOOMD_BIN, else the release build, else the debug build. */
export function program(): string {
  const places = [process.env["LOOMD_BIN"], join(root, "target/release/loomd"), join(root, "target/debug/loomd")];
  const found = places.find(place => place && existsSync(place));
  if (!found) throw new Error("no loomd found: set LOOMD_BIN or run cargo build");
  return found;
}

/** An agent that executes its prompt, line by line. */
export const SCRIPTED = join(root, "tests/agents/scripted.py");
/** An agent that plays one scenario and whose session can be continued in a terminal. */
export const OPENCODE = join(root, "editors/vscode/tests/lib/opencode");
/** A fake server, for behavior that the real one does not show. */
export const FAKE = join(root, "editors/vscode/tests/lib/fake.mjs");

/** Long enough for a busy machine. */
export const WAIT_TIMEOUT_MS = 120_000;

/** Calls `probe` until it returns something truthy, and returns that. Throws after `timeoutMs`. */
export async function until<T>(what: string, probe: () => T | undefined | null | false | Promise<T | undefined | null | false>, timeoutMs = WAIT_TIMEOUT_MS): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

export class TestEnvironment {
  readonly folder = mkdtempSync(join(tmpdir(), "loomd-vscode-"));
  readonly data = join(this.folder, "data");
  readonly lines: string[] = [];
  private readonly servers: Server[] = [];

  constructor() {
    writeFileSync(join(this.folder, "config.toml"), `[providers.scripted]\nkind = "acp"\ncommand = ["python3", ${JSON.stringify(SCRIPTED)}, "--keep", ${JSON.stringify(join(this.folder, "sessions"))}]\n`);
  }

  launch(): Launch {
    return { program: program(), args: ["--data-dir", this.data, "--config", join(this.folder, "config.toml"), "serve", "--stdio"], cwd: this.folder, client: { name: "test", version: "0" } };
  }

  /** Starts a server, with a run store and feeds as the extension has them. */
  async open(launch: () => Promise<Launch> = async () => this.launch()): Promise<{ server: Server; runs: RunStore; feeds: Feeds }> {
    const server = this.keep(new Server(launch, line => this.lines.push(line)));
    const [runs, feeds] = [new RunStore(server), new Feeds(server)];
    await server.start();
    return { server, runs, feeds };
  }

  /** Stops the server at the end of the test. */
  keep(server: Server): Server {
    this.servers.push(server);
    return server;
  }

  /** Writes an executable file into this environment's folder and returns its path. */
  writeScript(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return path;
  }

  async close(): Promise<void> {
    // No run of a test outlives it.
    const server = new Server(async () => this.launch(), () => {});
    if (existsSync(this.data)) {
      await server.start();
      const { runs } = await server.request("run/list", { limit: 500 }).catch(() => ({ runs: [] as Run[] }));
      await Promise.all(runs.filter(run => !isFinal(run)).map(run => server.request("run/cancel", { runId: run.id, graceMs: 0 }).catch(() => {})));
    }
    for (const each of [server, ...this.servers]) await each.stop();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 50 });
  }
}

/** An `ssh` in PATH that runs the command here, with a folder of `folder` as the home of each host. */
export class TestHosts {
  readonly folder: string;
  readonly ssh = join(root, "editors/nvim/tests/hosts/ssh");
  private readonly path = process.env["PATH"];

  constructor(folder: string) {
    this.folder = join(folder, "hosts");
    mkdirSync(this.folder);
    Object.assign(process.env, { PATH: `${dirname(this.ssh)}:${this.path}`, LOOMD_TEST_HOSTS: this.folder, LOOMD_BIN: program() });
  }

  /** `files` make it a host that is gone, hangs or greets; see the script. */
  add(name: string, files: Record<string, string> = {}): void {
    mkdirSync(join(this.folder, name));
    for (const [file, text] of Object.entries(files)) this.write(name, file, text);
  }

  write(name: string, file: string, text: string): void {
    writeFileSync(join(this.folder, name, file), text, { mode: 0o755 });
  }

  /** The arguments of each call of ssh. */
  calls(): string[] {
    const log = join(this.folder, "ssh.log");
    return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
  }

  /** The process of the host's server. */
  pid(name: string): number {
    return Number(readFileSync(join(this.folder, name, "pid"), "utf8"));
  }

  loomd(name: string, ...args: string[]): string {
    return execFileSync(program(), ["--data-dir", join(this.folder, name, "data"), ...args], { encoding: "utf8" });
  }

  /** Ends the runs of all hosts. */
  async close(): Promise<void> {
    process.env["PATH"] = this.path;
    for (const name of readdirSync(this.folder, { withFileTypes: true }).filter(entry => entry.isDirectory()).map(({ name }) => name)) {
      if (!existsSync(join(this.folder, name, "data"))) continue;
      const live = this.loomd(name, "list", "--all", "--state", "live", "--json").split("\n").filter(line => line !== "");
      for (const line of live) this.loomd(name, "cancel", (JSON.parse(line) as { id: string }).id);
    }
  }
}

export const shell = (line: string, more: Partial<StartParams> = {}): StartParams => ({ provider: "command", command: ["/bin/sh", "-c", line], attach: false, ...more });

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie still answers to signals.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
