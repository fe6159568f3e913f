import { deepStrictEqual, strictEqual } from "node:assert";
import type { Server } from "node:http";
import type { Browser, BrowserContext, Page } from "playwright-core";
import type { FormChoices, FromForm } from "../../src/transcript/form";
import { accessibilityViolations } from "../lib/axe";
import { openBrowser } from "../lib/browser";
import { serve } from "./harness";

const CHOICES: FormChoices = {
  providers: [{ id: "command", title: "Command", isAgent: false, model: "" }, { id: "claude", title: "Claude", isAgent: true, model: "opus" }],
  folders: [{ name: "app", path: "/home/me/app" }],
  templates: [{ name: "Try it", provider: "claude", text: "Make it faster", worktree: true }],
  permissionModes: [["ask", "Ask before every action"], ["readOnly", "Read-only"]],
  history: [],
  initial: { provider: "claude", text: "", model: "", permissions: "ask", cwd: "/home/me/app", template: "", worktree: false, context: [] },
};

describe("the form's page", () => {
  let browser: Browser, context: BrowserContext, server: Server, address: string, page: Page;
  before(async () => {
    ({ browser, context } = await openBrowser());
    ({ server, address } = await serve());
  });
  after(async () => {
    await browser.close();
    server.close();
  });
  beforeEach(async () => {
    page = await context.newPage();
    await page.goto(`${address}form`);
    await posted("ready");
    await page.evaluate(choices => window.postMessage({ kind: "choices", choices }, "*"), CHOICES);
    await page.getByLabel("Run with").waitFor();
  });
  afterEach(() => page.close());

  const posted = async <K extends FromForm["kind"]>(kind: K) => {
    const handle = await page.waitForFunction(kind => (window as unknown as { posted: FromForm[] }).posted.find(message => message.kind === kind), kind);
    return (await handle.jsonValue()) as Extract<FromForm, { kind: K }>;
  };
  const worktree = () => page.getByLabel("Run in a new git worktree, on a branch of its own");

  it("starts a run in a worktree only where that is asked for", async () => {
    await page.getByLabel("Task").fill("Fix it");
    strictEqual(await worktree().isChecked(), false);
    await worktree().check();
    await page.getByRole("button", { name: "Start" }).click();
    const { input } = await posted("start");
    deepStrictEqual([input.provider, input.text, input.worktree, input.cwd], ["claude", "Fix it", true, "/home/me/app"]);
    deepStrictEqual(await accessibilityViolations(page), []);
  });

  it("takes a worktree from a template, and an image for an agent", async () => {
    await page.getByLabel("Template").selectOption("Try it");
    strictEqual(await worktree().isChecked(), true);
    await page.getByLabel("Task").evaluate(box => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(3)], "shot.png", { type: "image/png" }));
      box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    });
    await page.getByRole("button", { name: "shot.png", exact: true }).waitFor();
    await page.getByRole("button", { name: "Start" }).click();
    const { input } = await posted("start");
    deepStrictEqual([input.worktree, input.context.map(({ block }) => block["type"])], [true, ["image"]]);
  });
});
