// The real `loomd web` in a data directory of its own, and windows of a browser on it.
import { spawn, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { BrowserContext, Page } from "playwright-core";
import type { Run, StartParams } from "../../src/protocol";
import type { Server } from "../../src/server/server";
import { program, TestEnvironment, until } from "../lib/environment";

export class Web {
  readonly environment = new TestEnvironment();
  /** Errors of all windows: of scripts, and of what the policy forbids. */
  readonly errors: string[] = [];
  server!: Server;
  address = "";
  private process: ChildProcess | undefined;

  static async start(...options: string[]): Promise<Web> {
    const web = new Web();
    web.server = (await web.environment.open()).server;
    await web.launch(...options);
    return web;
  }

  /** Starts `loomd web`, after an earlier one has ended. */
  async launch(...options: string[]): Promise<void> {
    const { folder, data } = this.environment;
    const child = (this.process = spawn(program(), ["--data-dir", data, "--config", join(folder, "config.toml"), "web", ...options], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] }));
    this.address = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout! }).once("line", resolve);
      child.once("exit", code => reject(new Error(`loomd web exited with ${code}`)));
    });
  }

  get port(): string {
    return new URL(this.address).port;
  }

  /** Ends `loomd web` and waits for its end. */
  async stop(): Promise<void> {
    const { process: child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise(resolve => child.once("exit", resolve));
    child.kill("SIGINT");
    await ended;
  }

  /** The process ids of the servers of its pages. */
  servers(): number[] {
    const parentOf = (pid: string) => {
      try {
        return Number(readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")[1]);
      } catch {
        return 0;
      }
    };
    return readdirSync("/proc").filter(name => /^\d+$/.test(name) && parentOf(name) === this.process?.pid).map(Number);
  }

  /** A window with the printed address, or a path of it. */
  async open(context: BrowserContext, path = "/"): Promise<Page> {
    const page = await context.newPage();
    page.on("console", message => message.type() === "error" && !/WebSocket connection|ERR_CONNECTION/.test(message.text()) && this.errors.push(message.text()));
    page.setDefaultTimeout(20_000);
    page.on("pageerror", error => this.errors.push(String(error)));
    await page.goto(this.address.replace("/#", `${path}#`));
    await page.waitForFunction(() => document.querySelector<HTMLElement>(".link-bar")?.hidden === true);
    return page;
  }

  async run(params: StartParams): Promise<Run> {
    return (await this.server.request("run/start", { attach: false, ...params })).run;
  }

  agent(prompt: string, more: Partial<StartParams> = {}): Promise<Run> {
    return this.run({ provider: "scripted", prompt, interactive: true, ...more });
  }

  async get(run: Run): Promise<Run> {
    return (await this.server.request("run/get", { runId: run.id })).run;
  }

  untilState(run: Run, state: Run["state"]): Promise<Run> {
    return until(`the run is ${state}`, async () => {
      const now = await this.get(run);
      return now.state === state && now;
    });
  }

  async close(): Promise<void> {
    await this.stop();
    await this.environment.close();
  }
}
