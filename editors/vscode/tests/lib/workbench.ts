// A real VS Code: its server on this machine, its workbench in Chromium. It gets the unpacked .vsix, a folder, settings
// and an environment. It cannot reach other hosts.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Frame, Locator, Page } from "playwright-core";
import type { StartParams } from "../../src/protocol";
import { Connection } from "../../src/server/connection";
import { openBrowser } from "./browser";
import { OPENCODE, program, SCRIPTED, until } from "./environment";

/** Turns off everything that connects to other hosts or opens something by itself. */
const OFFLINE_SETTINGS = {
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
  // The terminal is drawn as DOM elements, so that tests can read it.
  "terminal.integrated.gpuAcceleration": "off",
  "terminal.integrated.profiles.linux": { sh: { path: "/bin/sh" } },
  "update.mode": "none",
  "window.commandCenter": false,
  "workbench.enableExperiments": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
};

export interface WorkbenchOptions {
  /** Takes the paths of extension and tests from the page's address. VS Code shows no notifications in this mode. */
  driver?: boolean;
  settings?: Record<string, unknown>;
  /** Settings in the folder's own .vscode. */
  folderSettings?: Record<string, unknown>;
  /** Keeps Workspace Trust enabled, as it is for users. */
  trust?: boolean;
}

export class Workbench {
  readonly home = mkdtempSync(join(tmpdir(), "loomd-vscode-"));
  readonly folder = join(this.home, "app");
  readonly data = join(this.home, "data");
  private child: ChildProcess | undefined;
  private log = "";
  private readonly browsers: Browser[] = [];
  readonly otherHosts = new Set<string>();
  authority = "";

  /** `prefix` is the folder that tests/setup prints, `extension` the unpacked .vsix. */
  constructor(
    private readonly prefix = process.env["LOOMD_VSCODE"] ?? "",
    readonly extension = process.env["LOOMD_EXTENSION"] ?? "",
  ) {}

  async start({ driver = false, settings = {}, folderSettings: shared, trust = false }: WorkbenchOptions = {}): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    if (shared) {
      mkdirSync(join(this.folder, ".vscode"), { recursive: true });
      writeFileSync(join(this.folder, ".vscode/settings.json"), JSON.stringify(shared));
    }
    writeFileSync(join(this.home, "config.toml"), `[providers.scripted]\nkind = "acp"\ncommand = ["python3", ${JSON.stringify(SCRIPTED)}, "--keep", ${JSON.stringify(join(this.home, "sessions"))}]\n\n[providers.opencode]\nkind = "acp"\ncommand = [${JSON.stringify(OPENCODE)}, "acp"]\n\n[providers.silent]\nkind = "acp"\ncommand = ["sleep", "1000"]\n`);
    for (const place of ["User", "Machine"]) {
      mkdirSync(join(this.home, "server/data", place), { recursive: true });
      writeFileSync(join(this.home, "server/data", place, "settings.json"), JSON.stringify({ ...OFFLINE_SETTINGS, "security.workspace.trust.enabled": trust, "loomd.path": program(), ...settings }));
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
        XDG_CONFIG_HOME: join(this.home, ".config"),
        LOOMD_DATA_DIR: this.data,
        LOOMD_CONFIG: join(this.home, "config.toml"),
        EXTENSIONS_GALLERY: JSON.stringify({ serviceUrl: "http://127.0.0.1:9", itemUrl: "", resourceUrlTemplate: "" }),
      },
    });
    const appendLog = (data: Buffer) => (this.log += data.toString());
    this.child.stdout!.on("data", appendLog);
    this.child.stderr!.on("data", appendLog);
    const port = await until("the VS Code server listens", () => {
      if (this.child!.exitCode !== null) throw new Error(`the VS Code server ended\n${this.log}`);
      return /listening on (\d+)/.exec(this.log)?.[1];
    });
    this.authority = `127.0.0.1:${port}`;
  }

  get address(): string {
    return `http://${this.authority}/?folder=${encodeURIComponent(this.folder)}`;
  }

  logTail(): string {
    return this.log.split("\n").slice(-30).join("\n");
  }

  async context(): Promise<BrowserContext> {
    const { browser, context, otherHosts } = await openBrowser();
    this.browsers.push(browser);
    // All windows record requests to other hosts in one set.
    otherHosts.add = host => (this.otherHosts.add(host), otherHosts);
    return context;
  }

  async window(context?: BrowserContext): Promise<Screen> {
    const page = await (context ?? (await this.context())).newPage();
    await page.goto(this.address);
    const screen = new Screen(page);
    await screen.ready();
    return screen;
  }

  /** Runs the command line on this workbench's data directory and returns its output. */
  loomd(...words: string[]): string {
    return execFileSync(program(), words, { env: { ...process.env, LOOMD_DATA_DIR: this.data, LOOMD_CONFIG: join(this.home, "config.toml") }, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  }

  /** Starts a run as another program on this machine would, and returns its ID. */
  async startElsewhere(params: StartParams): Promise<string> {
    const connection = await Connection.open(
      { program: program(), args: ["--data-dir", this.data, "--config", join(this.home, "config.toml"), "serve", "--stdio"], client: { name: "elsewhere", version: "0" } },
      { notification: () => {}, log: () => {} },
    );
    const { run } = await connection.request("run/start", params);
    await connection.close();
    return run.id;
  }

  /** Process IDs of the servers that windows of this workbench started. */
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
          // The run has ended meanwhile.
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
          // The process has exited meanwhile.
        }
      };
      end("SIGTERM");
      const killTimer = setTimeout(() => end("SIGKILL"), 10_000);
      await gone;
      clearTimeout(killTimer);
    }
    rmSync(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  }
}

/** One window of the workbench. */
export class Screen {
  constructor(readonly page: Page) {}

  async ready(): Promise<void> {
    await this.page.locator(".monaco-workbench .part.statusbar").waitFor();
    await this.status.waitFor();
  }

  get status(): Locator {
    return this.page.locator('.statusbar-item[id="loomd.loomd.loomd.status"], .statusbar-item[id$="loomd.status"]').first();
  }

  /** A row of the tree, by its text. */
  row(text: string | RegExp): Locator {
    return this.page.locator(".pane-body .monaco-list-row", { hasText: text }).first();
  }

  notification(text: string | RegExp): Locator {
    return this.page.locator(".notifications-toasts .notification-list-item", { hasText: text }).first();
  }

  get input(): Locator {
    return this.page.locator(".quick-input-widget input.input").first();
  }

  pick(text: string | RegExp): Locator {
    return this.page.locator(".quick-input-widget .monaco-list-row", { hasText: text }).first();
  }

  /** Runs a command from the palette. Webviews and terminals keep the focus and the list fills late, so it retries. */
  async command(title: string): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await this.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur?.());
        await this.page.locator(".part.titlebar, .part.statusbar").first().click({ position: { x: 300, y: 8 }, timeout: 2000 }).catch(() => {});
        await this.page.keyboard.press("F1");
        await this.input.waitFor({ timeout: 10_000 });
        await this.input.fill(`>${title}`);
        const row = this.pick(title);
        await row.waitFor({ timeout: 15_000 });
        // A row that moves while the list fills takes no click; the next try is quicker than the default timeout.
        await row.click({ timeout: 10_000 });
        return;
      } catch (error) {
        if (tries === 8) throw error;
        await this.page.keyboard.press("Escape");
      }
    }
  }

  /** Opens the form of New Run…, once it has its choices. */
  async form(): Promise<Frame> {
    await this.command("loomd: New Run…");
    return this.shownForm();
  }

  /** The form of New Run…, once it has its choices. */
  async shownForm(): Promise<Frame> {
    return until("the form is there", async () => {
      for (const frame of this.page.frames()) {
        if (await frame.evaluate(() => (document.querySelector(".start-form select[data-name=provider]")?.childElementCount ?? 0) > 0).catch(() => false)) return frame;
      }
      return undefined;
    });
  }

  /** Shows the Runs view with a click on the status bar item. */
  async openRuns(): Promise<void> {
    await this.status.click();
    await this.page.locator('[id="workbench.view.extension.loomd"] .pane-body').first().waitFor();
  }

  /**
   * Runs a command from a row's context menu. A menu that has just opened ignores clicks, so it clicks until the menu
   * is closed.
   */
  async menu(row: Locator, title: string): Promise<void> {
    await row.click({ button: "right" });
    const action = this.page.locator(".monaco-menu .action-label", { hasText: title }).first();
    await action.waitFor();
    await until("the menu has taken the click", async () => {
      await action.click({ timeout: 1000 }).catch(() => {});
      return !(await action.isVisible());
    });
  }

  /**
   * The active editor that VS Code has stored in the browser to restore it after a reload. It is written every few
   * seconds, when idle.
   */
  async storedActiveEditor(): Promise<string> {
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

  /** The frame of a transcript, by the run's name. */
  async transcript(name?: string): Promise<Frame> {
    return until("the transcript is there", async () => {
      for (const frame of this.page.frames()) {
        try {
          const found = await frame.evaluate(() => document.querySelector(".top .name")?.textContent ?? "");
          if (found !== "" && (name === undefined || found.includes(name))) return frame;
        } catch {
          // The frame was removed meanwhile.
        }
      }
      return undefined;
    });
  }

  /** The text of all visible terminals. */
  async terminal(): Promise<string> {
    return (await this.page.locator(".terminal-wrapper .xterm-rows").allInnerTexts()).join("\n").replaceAll("\u00a0", " ");
  }
}
