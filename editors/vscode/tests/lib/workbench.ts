// A real VS Code: its server on this machine, its workbench in Chromium. What it is given: the unpacked .vsix, a folder, settings, an
// environment. Nothing of it speaks with the outside.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Frame, Locator, Page } from "playwright-core";
import type { StartParams } from "../../src/protocol";
import { Connection } from "../../src/server/connection";
import { openBrowser } from "./browser";
import { OPENCODE, program, SCRIPTED, until } from "./world";

/** Everything that would ask the outside, or put something on the screen that nobody asked for. */
const QUIET = {
  "chat.disableAIFeatures": true,
  "extensions.autoCheckUpdates": false,
  "extensions.autoUpdate": false,
  "extensions.ignoreRecommendations": true,
  "git.enabled": false,
  "json.schemaDownload.enable": false,
  "npm.fetchOnlinePackageInfo": false,
  "security.workspace.trust.enabled": false,
  "telemetry.telemetryLevel": "off",
  "terminal.integrated.defaultProfile.linux": "sh",
  // Drawn as elements, so that it can be read.
  "terminal.integrated.gpuAcceleration": "off",
  "terminal.integrated.profiles.linux": { sh: { path: "/bin/sh" } },
  "update.mode": "none",
  "window.commandCenter": false,
  "workbench.enableExperiments": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
};

export interface Wanted {
  /** The page takes the paths of extension and tests from its address; toasts are held back. */
  driver?: boolean;
  settings?: Record<string, unknown>;
  /** Settings in the folder's own .vscode. */
  shared?: Record<string, unknown>;
  /** Leave trust on, as it is for everybody else. */
  trust?: boolean;
}

export class Workbench {
  readonly home = mkdtempSync(join(tmpdir(), "loomd-vscode-"));
  readonly folder = join(this.home, "app");
  readonly data = join(this.home, "data");
  private child: ChildProcess | undefined;
  private log = "";
  private readonly browsers: Browser[] = [];
  readonly outside = new Set<string>();
  authority = "";

  /** PREFIX of tests/setup, and the unpacked .vsix. */
  constructor(
    private readonly prefix = process.env["LOOMD_VSCODE"] ?? "",
    readonly extension = process.env["LOOMD_EXTENSION"] ?? "",
  ) {}

  async start({ driver = false, settings = {}, shared, trust = false }: Wanted = {}): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    if (shared) {
      mkdirSync(join(this.folder, ".vscode"), { recursive: true });
      writeFileSync(join(this.folder, ".vscode/settings.json"), JSON.stringify(shared));
    }
    writeFileSync(join(this.home, "config.toml"), `[providers.scripted]\nkind = "acp"\ncommand = ["python3", ${JSON.stringify(SCRIPTED)}, "--keep", ${JSON.stringify(join(this.home, "sessions"))}]\n\n[providers.opencode]\nkind = "acp"\ncommand = [${JSON.stringify(OPENCODE)}, "acp"]\n`);
    for (const place of ["User", "Machine"]) {
      mkdirSync(join(this.home, "server/data", place), { recursive: true });
      writeFileSync(join(this.home, "server/data", place, "settings.json"), JSON.stringify({ ...QUIET, "security.workspace.trust.enabled": trust, "loomd.path": program(), ...settings }));
    }
    const extensions = join(this.home, "extensions");
    mkdirSync(extensions);
    if (!driver) cpSync(this.extension, join(extensions, "loomd.loomd-0.1.0"), { recursive: true });
    const node = join(this.prefix, "node/node_modules", readdirSync(join(this.prefix, "node/node_modules")).find(name => name.startsWith("node-linux-"))!, "bin/node");
    const main = join(this.prefix, "server/node_modules/code-server/lib/vscode/out/server-main.js");
    const flags = ["--host", "127.0.0.1", "--port", "0", "--without-connection-token", "--accept-server-license-terms", "--telemetry-level", "off", "--reconnection-grace-time", "1"];
    if (!trust) flags.push("--disable-workspace-trust");
    if (driver) flags.push("--enable-smoke-test-driver");
    this.child = spawn(node, [main, ...flags, "--server-data-dir", join(this.home, "server"), "--extensions-dir", extensions], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        HOME: this.home,
        LOOMD_DATA_DIR: this.data,
        LOOMD_CONFIG: join(this.home, "config.toml"),
        EXTENSIONS_GALLERY: JSON.stringify({ serviceUrl: "http://127.0.0.1:9", itemUrl: "", resourceUrlTemplate: "" }),
      },
    });
    const hear = (data: Buffer) => (this.log += data.toString());
    this.child.stdout!.on("data", hear);
    this.child.stderr!.on("data", hear);
    const port = await until("the VS Code server listens", () => {
      if (this.child!.exitCode !== null) throw new Error(`the VS Code server ended\n${this.log}`);
      return /listening on (\d+)/.exec(this.log)?.[1];
    });
    this.authority = `127.0.0.1:${port}`;
  }

  get address(): string {
    return `http://${this.authority}/?folder=${encodeURIComponent(this.folder)}`;
  }

  said(): string {
    return this.log.split("\n").slice(-30).join("\n");
  }

  async context(): Promise<BrowserContext> {
    const { browser, context, outside } = await openBrowser();
    this.browsers.push(browser);
    // The same set, so that what any window asks for is seen.
    outside.add = host => (this.outside.add(host), outside);
    return context;
  }

  async window(context?: BrowserContext): Promise<Screen> {
    const page = await (context ?? (await this.context())).newPage();
    await page.goto(this.address);
    const screen = new Screen(page);
    await screen.ready();
    return screen;
  }

  /** What the command line says of the runs here. */
  loomd(...words: string[]): string {
    return execFileSync(program(), words, { env: { ...process.env, LOOMD_DATA_DIR: this.data, LOOMD_CONFIG: join(this.home, "config.toml") }, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  }

  /** Starts a run as another program on this machine would; its id. */
  async elsewhere(params: StartParams): Promise<string> {
    const connection = await Connection.open(
      { program: program(), args: ["--data-dir", this.data, "--config", join(this.home, "config.toml"), "serve", "--stdio"], client: { name: "elsewhere", version: "0" } },
      { notification: () => {}, log: () => {} },
    );
    const { run } = await connection.request("run/start", params);
    await connection.close();
    return run.id;
  }

  /** Process ids of the servers that speak with editors here. */
  servers(): number[] {
    return readdirSync("/proc")
      .filter(name => /^\d+$/.test(name))
      .map(Number)
      .filter(pid => {
        try {
          if (readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[1] !== "serve") return false;
          return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`LOOMD_DATA_DIR=${this.data}`);
        } catch {
          return false;
        }
      });
  }

  async close(): Promise<void> {
    for (const browser of this.browsers) await browser.close().catch(() => {});
    if (existsSync(this.data)) {
      // No run of a test outlives it.
      const live = this.loomd("list", "--all", "--state", "live", "--json").split("\n").filter(line => line !== "").map(line => (JSON.parse(line) as { id: string }).id);
      for (const run of live) {
        try {
          this.loomd("cancel", run);
        } catch {
          // It has ended meanwhile.
        }
      }
    }
    const { child } = this;
    if (child?.pid && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise(resolve => child.once("exit", resolve));
      const end = (signal: NodeJS.Signals) => {
        try {
          process.kill(-child.pid!, signal);
        } catch {
          // It has ended by itself.
        }
      };
      end("SIGTERM");
      const patience = setTimeout(() => end("SIGKILL"), 10_000);
      await gone;
      clearTimeout(patience);
    }
    rmSync(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  }
}

/** One window. */
export class Screen {
  constructor(readonly page: Page) {}

  async ready(): Promise<void> {
    await this.page.locator(".monaco-workbench .part.statusbar").waitFor();
    await this.status.waitFor();
  }

  get status(): Locator {
    return this.page.locator('.statusbar-item[id="loomd.loomd.loomd.status"], .statusbar-item[id$="loomd.status"]').first();
  }

  /** A row of the tree, by its words. */
  row(text: string | RegExp): Locator {
    return this.page.locator(".pane-body .monaco-list-row", { hasText: text }).first();
  }

  toast(text: string | RegExp): Locator {
    return this.page.locator(".notifications-toasts .notification-list-item", { hasText: text }).first();
  }

  get box(): Locator {
    return this.page.locator(".quick-input-widget input.input").first();
  }

  pick(text: string | RegExp): Locator {
    return this.page.locator(".quick-input-widget .monaco-list-row", { hasText: text }).first();
  }

  /** By the palette. Webviews and terminals hold on to keys, and the list fills late: so it is tried again. */
  async command(title: string): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await this.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur?.());
        await this.page.locator(".part.titlebar, .part.statusbar").first().click({ position: { x: 300, y: 8 }, timeout: 2000 }).catch(() => {});
        await this.page.keyboard.press("F1");
        await this.box.waitFor({ timeout: 10_000 });
        await this.box.fill(`>${title}`);
        const row = this.pick(title);
        await row.waitFor({ timeout: 15_000 });
        await row.click();
        return;
      } catch (error) {
        if (tries === 8) throw error;
        await this.page.keyboard.press("Escape");
      }
    }
  }

  /** Start Run…, all by keyboard once the palette is open. */
  async start(kind: string, words: string): Promise<void> {
    await this.command("loomd: Start Run…");
    await this.pick(kind).click();
    const input = this.page.locator(".quick-input-widget input.input").first();
    await input.waitFor();
    await until("it asks for the words", async () => (await this.page.locator(".quick-input-widget").innerText()).includes("Enter"));
    await input.fill(words);
    await input.press("Enter");
  }

  /** By a click on the status item, wherever one is. */
  async openRuns(): Promise<void> {
    await this.status.click();
    await this.page.locator('[id="workbench.view.extension.loomd"] .pane-body').first().waitFor();
  }

  /** From the menu of a row. A menu that has only just opened takes no click, so it is clicked until it has gone. */
  async menu(row: Locator, title: string): Promise<void> {
    await row.click({ button: "right" });
    const action = this.page.locator(".monaco-menu .action-label", { hasText: title }).first();
    await action.waitFor();
    await until("the menu has taken the click", async () => {
      await action.click({ timeout: 1000 }).catch(() => {});
      return !(await action.isVisible());
    });
  }

  /** What the browser has kept of this window for the next one: the editor in front. VS Code writes it every few seconds, when nothing else is to be done. */
  async keptInFront(): Promise<string> {
    return this.page.evaluate(async () => {
      const done = <T>(request: IDBRequest<T>) => new Promise<T>((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
      const front = (node: unknown): string => {
        const { type, data } = node as { type: string; data: unknown };
        if (type === "branch") return (data as unknown[]).map(front).join("\n");
        const { editors, mru } = data as { editors: { value: string }[]; mru: number[] };
        return editors[mru[0] ?? 0]?.value ?? "";
      };
      let found = "";
      for (const { name } of await indexedDB.databases()) {
        if (!name?.startsWith("vscode-web-state-db-")) continue;
        const database = await done(indexedDB.open(name));
        try {
          const text = await done<unknown>(database.transaction("ItemTable").objectStore("ItemTable").get("memento/workbench.parts.editor"));
          const root = typeof text === "string" ? (JSON.parse(text) as { "editorpart.state"?: { serializedGrid?: { root?: unknown } } })["editorpart.state"]?.serializedGrid?.root : undefined;
          if (root) found += front(root);
        } finally {
          database.close();
        }
      }
      return found;
    });
  }

  /** The page of the transcript that is in front. */
  async transcript(name?: string): Promise<Frame> {
    return until("the transcript is there", async () => {
      for (const frame of this.page.frames()) {
        try {
          const found = await frame.evaluate(() => document.querySelector(".top .name")?.textContent ?? "");
          if (found !== "" && (name === undefined || found.includes(name))) return frame;
        } catch {
          // A frame that is just going away.
        }
      }
      return undefined;
    });
  }

  /** What the terminals on the screen show. */
  async terminal(): Promise<string> {
    return (await this.page.locator(".terminal-wrapper .xterm-rows").allInnerTexts()).join("\n").replaceAll("\u00a0", " ");
  }
}
