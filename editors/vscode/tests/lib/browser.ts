// A real Chromium that reaches only this machine.
import { execFileSync } from "node:child_process";
import { chromium, type Browser, type BrowserContext } from "playwright-core";
import { WAIT_TIMEOUT_MS } from "./environment";

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
  throw new Error("Chromium not found");
}

export async function openBrowser(): Promise<{ browser: Browser; context: BrowserContext; otherHosts: Set<string> }> {
  const browser = await chromium.launch({
    timeout: WAIT_TIMEOUT_MS,
    executablePath: executable(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"],
  });
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  context.setDefaultTimeout(WAIT_TIMEOUT_MS);
  context.setDefaultNavigationTimeout(WAIT_TIMEOUT_MS);
  const otherHosts = new Set<string>();
  // Webviews have host names of their own, which VS Code's service worker serves; all other hosts are refused.
  await context.route(
    address => address.protocol.startsWith("http") && address.hostname !== "127.0.0.1" && address.hostname !== "localhost",
    route => {
      otherHosts.add(new URL(route.request().url()).host);
      return route.abort();
    },
  );
  return { browser, context, otherHosts };
}
