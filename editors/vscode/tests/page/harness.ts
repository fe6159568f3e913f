// The transcript page in a browser without VS Code: the same bundle, the same content security policy, and a fake
// extension.
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import type { Item, ItemParams, Run } from "../../src/protocol";
import type { Header, ToExtension, ToPage } from "../../src/transcript/messages";
import { makeRun } from "../lib/runs";

const DIST = join(process.cwd(), "dist");
const TYPES: Record<string, string> = { css: "text/css", js: "text/javascript", ttf: "font/ttf" };
const POLICY = "default-src 'none'; script-src 'nonce-n'; style-src 'self'; font-src 'self'; img-src data:; form-action 'none'; base-uri 'none'";

/** The colors of a dark theme, as VS Code provides them. */
const THEME: Record<string, string> = {
  "font-family": "DejaVu Sans, sans-serif", "font-size": "13px", foreground: "#cccccc", descriptionForeground: "#9d9d9d", "editor-background": "#1f1f1f", "editor-foreground": "#cccccc",
  "editor-font-family": "DejaVu Sans Mono, monospace", "editor-font-size": "12px", focusBorder: "#0078d4", "panel-border": "#2b2b2b", "textLink-foreground": "#4daafc", "icon-foreground": "#cccccc",
  "button-foreground": "#ffffff", "button-background": "#0078d4", "button-hoverBackground": "#026ec1", "button-secondaryForeground": "#cccccc", "button-secondaryBackground": "#313131",
  "button-secondaryHoverBackground": "#3c3c3c", "input-background": "#313131", "input-foreground": "#cccccc", "input-border": "#3c3c3c", "input-placeholderForeground": "#989898", "dropdown-background": "#313131",
  "dropdown-foreground": "#cccccc", "editorWidget-background": "#202020", "editorWidget-foreground": "#cccccc", "editorWidget-border": "#313131", "list-warningForeground": "#cca700", errorForeground: "#f85149",
  "textCodeBlock-background": "#2b2b2b", "textPreformat-background": "#3c3c3c", "textPreformat-foreground": "#d0d0d0", "textBlockQuote-background": "#2b2b2b", "textBlockQuote-border": "#616161", "testing-iconPassed": "#73c991",
  "diffEditor-insertedLineBackground": "#23863633", "diffEditor-removedLineBackground": "#da363333", "editorLineNumber-foreground": "#8b949e", "toolbar-hoverBackground": "#5a5d5e50",
  "editor-findMatchBackground": "#9e6a03", "editor-findMatchHighlightBackground": "#ea5c0055", "terminal-ansiRed": "#f14c4c", "terminal-ansiGreen": "#23d18b", "widget-shadow": "#0000005c",
};

export async function serve(): Promise<{ server: Server; address: string }> {
  const variables = Object.entries(THEME).map(([name, value]) => `--vscode-${name}: ${value};`).join(" ");
  const stub = "window.posted = []; window.acquireVsCodeApi = () => ({ postMessage: message => window.posted.push(message), getState: () => window.savedState, setState: state => { window.savedState = state; sessionStorage.setItem('state', JSON.stringify(state)); } }); window.savedState = JSON.parse(sessionStorage.getItem('state') ?? '{}');";
  const page = (script: string) => `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Transcript</title><meta http-equiv="Content-Security-Policy" content="${POLICY}"><link rel="stylesheet" href="/theme.css"><link rel="stylesheet" href="/codicon.css"><link rel="stylesheet" href="/transcript.css"></head><body><script nonce="n">${stub}</script><script nonce="n" src="/${script}"></script></body></html>`;
  const server = createServer((request, response) => {
    const name = new URL(request.url ?? "/", "http://x").pathname.slice(1);
    try {
      const body = name === "" ? page("transcript.js") : name === "form" ? page("form.js") : name === "theme.css" ? `:root { ${variables} }` : readFileSync(join(DIST, name));
      response.writeHead(200, { "content-type": TYPES[name.split(".").at(-1) ?? ""] ?? "text/html" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** The page, and the extension's side of its messages. */
export class TranscriptPage {
  readonly errors: string[] = [];

  private constructor(readonly page: Page) {}

  static async open(context: BrowserContext, address: string): Promise<TranscriptPage> {
    const page = await context.newPage();
    // Nothing here starts an editor.
    page.setDefaultTimeout(30_000);
    const transcript = new TranscriptPage(page);
    page.on("console", message => message.type() === "error" && transcript.errors.push(message.text()));
    page.on("pageerror", error => transcript.errors.push(String(error)));
    await page.goto(address);
    await transcript.posted("ready");
    return transcript;
  }

  send(message: ToPage): Promise<void> {
    return this.page.evaluate(message => window.postMessage(message, "*"), message);
  }

  async header(more: Partial<Run> = {}, can: Partial<Header["can"]> = {}): Promise<void> {
    const run = makeRun("0190-run", "running", { provider: "codex", startedAt: Date.now() - 5000, ...more });
    const final = !["starting", "running", "awaitingPermission", "idle"].includes(run.state);
    await this.send({ kind: "header", header: { run, name: "Fix the parser", stateLabel: run.state, provider: "Codex", final, can: { send: !final, steer: true, interrupt: true, configure: !final, resume: final, takeover: true, answer: true, ...can } } });
  }

  /** The last items of the run. */
  async items(...items: Item[]): Promise<void> {
    await this.sendPage(items);
  }

  async itemsAfter(prev: number, ...items: Item[]): Promise<void> {
    await this.sendPage(items, prev);
  }

  private async sendPage(items: Item[], prev?: number): Promise<void> {
    await this.send({ kind: "items", items, total: items.at(-1)?.item ?? 0, ...(prev === undefined ? {} : { prev }) });
    await this.drawn();
  }

  /** Items that are new or changed. */
  async changes(...items: Item[]): Promise<void> {
    await this.send({ kind: "changes", changes: items.map(item => ({ runId: "1", seq: item.lastSeq, item })) });
    await this.drawn();
  }

  async append(item: number, seq: number, append: Extract<ItemParams, { append: unknown }>["append"]): Promise<void> {
    await this.send({ kind: "changes", changes: [{ runId: "1", seq, item, append }] });
    await this.drawn();
  }

  /**
   * Waits until the last message is drawn: items are drawn one frame after they came, and measured in the next.
   */
  drawn(): Promise<void> {
    return this.page.evaluate(async () => {
      // Messages arrive in order.
      await new Promise<void>(resolve => {
        window.addEventListener("message", function listener({ data }) {
          if (data.kind === "marker") window.removeEventListener("message", listener), resolve();
        });
        window.postMessage({ kind: "marker" }, "*");
      });
      for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    });
  }

  /** Waits until the list draws no more: what follows has to cause its own drawing. */
  atRest(): Promise<void> {
    return this.page.evaluate(async () => {
      let still = 0;
      const observer = new MutationObserver(() => (still = 0));
      observer.observe(document.querySelector(".sizer")!, { attributes: true, childList: true, subtree: true });
      while (still++ < 30) await new Promise(requestAnimationFrame);
      observer.disconnect();
    });
  }

  /** Stops or resumes the page's clock, so that nothing depends on how fast a test is. */
  stopClock(stopped: boolean): Promise<void> {
    return this.page.evaluate(stopped => {
      const now = performance.now();
      if (stopped) performance.now = () => now;
      else delete (performance as Partial<Performance>).now;
    }, stopped);
  }

  /** How many messages of a kind were posted. */
  postedCount(kind: ToExtension["kind"]): Promise<number> {
    return this.page.evaluate(kind => (window as unknown as { posted: ToExtension[] }).posted.filter(message => message.kind === kind).length, kind);
  }

  async posted<S extends ToExtension["kind"]>(kind: S): Promise<Extract<ToExtension, { kind: S }>> {
    const handle = await this.page.waitForFunction(kind => (window as unknown as { posted: ToExtension[] }).posted.find(message => message.kind === kind), kind);
    return (await handle.jsonValue()) as Extract<ToExtension, { kind: S }>;
  }
}
