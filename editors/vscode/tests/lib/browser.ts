// A real Chromium, with no way to anywhere but this machine.
import { execFileSync } from "node:child_process";
import { chromium, type Browser, type BrowserContext } from "playwright-core";
import { PATIENCE_MS } from "./world";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

function executable(): string {
  if (process.env["CHROMIUM"]) return process.env["CHROMIUM"];
  for (const name of NAMES) {
    try {
      return execFileSync("/bin/sh", ["-c", `command -v ${name}`]).toString().trim();
    } catch {
      continue;
    }
  }
  throw new Error("there is no Chromium");
}

export async function openBrowser(): Promise<{ browser: Browser; context: BrowserContext; outside: Set<string> }> {
  const browser = await chromium.launch({
    timeout: PATIENCE_MS,
    executablePath: executable(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"],
  });
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  context.setDefaultTimeout(PATIENCE_MS);
  context.setDefaultNavigationTimeout(PATIENCE_MS);
  const outside = new Set<string>();
  // Pages in a webview have names of their own; VS Code's service worker answers for them.
  await context.route(
    address => address.protocol.startsWith("http") && address.hostname !== "127.0.0.1" && address.hostname !== "localhost",
    route => {
      outside.add(new URL(route.request().url()).host);
      return route.abort();
    },
  );
  return { browser, context, outside };
}
