// The transcript's page in a browser without an editor around it: the same bundle, the same policy, and a stand-in for the extension.
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import type { Entry, Run } from "../../src/protocol";
import type { Head, ToExtension, ToPage } from "../../src/transcript/messages";
import { aRun } from "../lib/runs";

const DIST = join(process.cwd(), "dist");
const TYPES: Record<string, string> = { css: "text/css", js: "text/javascript", ttf: "font/ttf" };
const POLICY = "default-src 'none'; script-src 'nonce-n'; style-src 'self'; font-src 'self'; img-src data:; form-action 'none'; base-uri 'none'";

/** A dark theme's colours, as the editor would give them. */
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
  const stub = "window.told = []; window.acquireVsCodeApi = () => ({ postMessage: message => window.told.push(message), setState: state => (window.kept = state) });";
  const html = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Transcript</title><meta http-equiv="Content-Security-Policy" content="${POLICY}"><link rel="stylesheet" href="/theme.css"><link rel="stylesheet" href="/codicon.css"><link rel="stylesheet" href="/transcript.css"></head><body><script nonce="n">${stub}</script><script nonce="n" src="/transcript.js"></script></body></html>`;
  const server = createServer((request, response) => {
    const name = new URL(request.url ?? "/", "http://x").pathname.slice(1);
    try {
      const body = name === "" ? html : name === "theme.css" ? `:root { ${variables} }` : readFileSync(join(DIST, name));
      response.writeHead(200, { "content-type": TYPES[name.split(".").at(-1) ?? ""] ?? "text/html" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** The page, and the extension's side of the conversation. */
export class Sheet {
  private number = 0;
  readonly complaints: string[] = [];

  private constructor(readonly page: Page) {}

  static async open(context: BrowserContext, address: string): Promise<Sheet> {
    const page = await context.newPage();
    const sheet = new Sheet(page);
    page.on("console", message => message.type() === "error" && sheet.complaints.push(message.text()));
    page.on("pageerror", error => sheet.complaints.push(String(error)));
    await page.goto(address);
    await sheet.told("ready");
    return sheet;
  }

  say(message: ToPage): Promise<void> {
    return this.page.evaluate(message => window.postMessage(message, "*"), message);
  }

  async head(more: Partial<Run> = {}, can: Partial<Head["can"]> = {}): Promise<void> {
    const run = aRun("0190-run", "running", { provider: "codex", startedAt: Date.now() - 5000, ...more });
    const final = !["starting", "running", "awaitingPermission", "idle"].includes(run.state);
    await this.say({ say: "head", head: { run, name: "Mend the parser", words: run.state, provider: "Codex", final, can: { send: !final, steer: true, interrupt: true, configure: !final, resume: final, takeover: true, ...can } } });
  }

  async entries(...entries: Entry[]): Promise<void> {
    const number = ++this.number;
    await this.say({ say: "entries", entries, number });
    await this.page.waitForFunction(number => (window as unknown as { told: ToExtension[] }).told.some(message => message.say === "took" && message.number === number), number);
    await this.drawn();
  }

  /** What was said last is on the screen: what is folded in one frame is drawn in the next, and measured in the one after. */
  drawn(): Promise<void> {
    return this.page.evaluate(async () => {
      for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    });
  }

  async told<S extends ToExtension["say"]>(say: S): Promise<Extract<ToExtension, { say: S }>> {
    const handle = await this.page.waitForFunction(say => (window as unknown as { told: ToExtension[] }).told.find(message => message.say === say), say);
    return (await handle.jsonValue()) as Extract<ToExtension, { say: S }>;
  }
}
