// The page of `loomd web` in a real browser, on the real server, with agents that do what their prompts say.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { accessibilityViolations } from "../lib/axe";
import { openBrowser } from "../lib/browser";
import { OPENCODE, shell, until } from "../lib/environment";
import { Web } from "./harness";

const REPOSITORY = resolve(process.env["LOOMD_REPOSITORY"] ?? join(process.cwd(), "../.."));

/** Pictures are written here, to be looked at. */
const PICTURES = process.env["LOOMD_PICTURES"];

const open = (page: Page, run: { id: string }) => page.click(`[data-run="${run.id}"]`);
const question = (page: Page) => page.waitForSelector(".question .buttons:not([hidden])");

/** Presses a button of a permission request once it counts. */
async function answer(page: Page, label: string): Promise<void> {
  await question(page);
  await page.waitForSelector(".question .button:not([aria-disabled='true'])");
  await page.click(`.question .button:has-text("${label}")`);
}

/** Text of the transcript that is drawn. */
const text = (page: Page) => page.innerText("#transcript main");

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}.png`) });
}

/** A script that prints numbered lines, and goes on only as fast as a file grows. */
const slowLines = (count: number) => shell(`i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo "line $i"; sleep 0.004; done`, { title: "Lines" });

/** The whole output that the page holds of a command. */
async function wholeOutput(page: Page): Promise<string[]> {
  const more = page.locator(".item.command .button:has-text('earlier lines')");
  if (await more.count()) await more.first().click();
  return (await page.innerText(".item.command pre")).trimEnd().split("\n");
}

describe("loomd web", () => {
  let browser: Browser, context: BrowserContext, web: Web;

  beforeEach(async () => {
    ({ browser, context } = await openBrowser());
    web = await Web.start();
  });

  afterEach(async function () {
    await web.close();
    await browser.close();
    if (this.currentTest?.state === "passed") assert.deepEqual(web.errors, []);
  });

  it("takes the token out of the address, and keeps it for this window", async () => {
    const page = await web.open(context);
    assert.equal(page.url(), `http://127.0.0.1:${web.port}/`);
    await page.reload();
    await page.waitForSelector(".link-bar", { state: "hidden" });
    const other = await context.newPage();
    await other.goto(`http://127.0.0.1:${web.port}/`);
    await other.waitForSelector(".link-bar:has-text('no longer valid')");
    assert.equal(web.servers().length, 1);
  });

  it("lists who waits first, and what other clients start", async () => {
    const page = await web.open(context);
    await web.run(shell("true", { title: "First" }));
    await page.waitForSelector(".run-row.succeeded:has-text('First')");
    const live = await web.run(shell("sleep 1000", { title: "Live" }));
    await page.waitForSelector(".run-row.running:has-text('Live')");
    await web.agent("ask edit", { title: "Waits" });
    await page.waitForSelector(".run-row.awaitingPermission");
    await until("the one that waits is the first", async () => (await page.innerText(".run-row >> nth=0")).startsWith("Waits"));
    assert.match(await page.innerText(".run-groups section >> nth=0"), /^Waiting for you/);
    // By the keyboard alone.
    await page.focus(".run-row >> nth=0");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/run/${live.id}`);
  });

  it("shows all of what is asked, and answers in place", async () => {
    const run = await web.agent('request {"kind":"execute","title":"cargo test","rawInput":{"command":"cargo test --workspace","timeout":5}}\nsay done', { title: "Run the tests" });
    await web.untilState(run, "awaitingPermission");
    const page = await web.open(context, `/run/${run.id}`);
    await question(page);
    const shown = await page.innerText(".question .shown");
    for (const part of ["cargo test", "cargo test --workspace", "timeout", "5"]) assert.ok(shown.includes(part), `${part} in ${shown}`);
    assert.deepEqual(await accessibilityViolations(page), []);
    await page.emulateMedia({ colorScheme: "dark" });
    assert.deepEqual(await accessibilityViolations(page), []);
    await answer(page, "Allow");
    await web.untilState(run, "idle");
    await page.waitForSelector("#transcript :text('done')");
  });

  it("shows in one window what is answered in the other", async () => {
    const run = await web.agent("ask execute\nsay went on", { title: "Two windows" });
    await web.untilState(run, "awaitingPermission");
    const [one, other] = [await web.open(context, `/run/${run.id}`), await web.open(context, `/run/${run.id}`)];
    await Promise.all([question(one), question(other)]);
    await one.bringToFront();
    await answer(one, "Allow");
    for (const page of [one, other]) {
      await page.bringToFront();
      await page.waitForSelector("#transcript :text('went on')");
      await page.waitForSelector(".question .buttons", { state: "detached" });
    }
  });

  it("shows a conversation as it goes on", async () => {
    writeFileSync(join(web.environment.folder, "parser.js"), "");
    await web.run(shell("true", { title: "cargo test --workspace" }));
    await web.run(shell("sleep 1000", { title: "npm run watch" }));
    const run = await web.run({ provider: "acp", command: [OPENCODE, "acp"], prompt: "Make the parser accept empty input", interactive: true, cwd: web.environment.folder });
    await web.untilState(run, "awaitingPermission");
    const page = await web.open(context, `/run/${run.id}`);
    await page.setViewportSize({ width: 1180, height: 760 });
    await question(page);
    await page.waitForSelector(".question .button:not([aria-disabled='true'])");
    await page.waitForSelector(".plan-bar:not([hidden])");
    await picture(page, "web-question");
    await answer(page, "Allow");
    await web.untilState(run, "idle");
    await page.waitForSelector("#transcript .item.tool .diff-line.added");
    await page.emulateMedia({ colorScheme: "dark" });
    assert.deepEqual(await accessibilityViolations(page), []);
  });

  it("starts agents and commands", async () => {
    const page = await web.open(context);
    await page.click("text=New Run");
    assert.deepEqual(await accessibilityViolations(page), []);
    await page.selectOption("dialog select >> nth=0", "scripted");
    await page.fill("dialog textarea", "say hello from the browser");
    await page.fill("dialog input >> nth=0", web.environment.folder);
    await page.click("dialog .button:has-text('Start')");
    await page.waitForSelector("#transcript .markdown:has-text('hello from the browser')");
    await page.click("text=New Run");
    await page.selectOption("dialog select >> nth=0", "command");
    await page.fill("dialog input >> nth=0", "/nowhere");
    await page.fill("dialog textarea", "printf '\\033[31mred\\033[0m\\n'");
    await page.click("dialog .button:has-text('Start')");
    await page.waitForSelector("dialog .error-bar:has-text('/nowhere')");
    await page.fill("dialog input >> nth=0", web.environment.folder);
    await page.click("dialog .button:has-text('Start')");
    assert.equal((await (await page.waitForSelector("#transcript pre .fg-ansi-red")).innerText()).trim(), "red");
  });

  it("sends follow-ups, stops and ends", async () => {
    const run = await web.agent("say one", { title: "Conversation" });
    await web.untilState(run, "idle");
    const page = await web.open(context, `/run/${run.id}`);
    await page.fill(".composer textarea", "say two words");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#transcript .markdown:has-text('two words')");
    await page.fill(".composer textarea", "wait");
    await page.keyboard.press("Enter");
    await web.untilState(run, "running");
    // Queued, looked at and taken back.
    await page.fill(".composer textarea", "say queued");
    await page.keyboard.press("Enter");
    await page.click(".usage .button:has-text('1 message queued')");
    await page.click("dialog .button:has-text('Take back')");
    await until("it is in the message box again", async () => (await page.inputValue(".composer textarea")) === "say queued");
    await page.click(".composer .button:has-text('Stop')");
    await web.untilState(run, "idle");
    await page.click("button[aria-label='End Run']");
    await page.click("dialog .button:has-text('End Run')");
    await web.untilState(run, "cancelled");
    await page.waitForSelector("button[aria-label='Run Again']");
  });

  it("finds runs by name and by output, shows changes, and downloads", async () => {
    await web.run(shell("echo needle in the hay", { title: "Alpha" }));
    const run = await web.agent("edit notes.txt fresh", { title: "Beta", permissions: "acceptEdits", cwd: web.environment.folder });
    await web.untilState(run, "idle");
    const page = await web.open(context, `/run/${run.id}`);
    await page.click("button[aria-label='Show Changes']");
    await page.waitForSelector("dialog .change:has-text('notes.txt') .diff-line.added:has-text('fresh')");
    assert.deepEqual(await accessibilityViolations(page), []);
    await page.keyboard.press("Escape");
    await page.fill(".run-tools input", "needle");
    await page.waitForSelector(".run-hits .run-row:has-text('needle in the hay')");
    assert.equal(await page.locator(".run-groups .run-row").count(), 0);
    await page.click(".run-hits .run-row");
    await page.waitForSelector("#transcript pre:has-text('needle in the hay')");
    await page.waitForSelector(".find input");
    await page.keyboard.press("Escape");
    await page.click("button[aria-label='Export']");
    await page.selectOption("dialog select", "text");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("dialog .button:has-text('Download')")]);
    assert.match(download.suggestedFilename(), /^loomd-[0-9a-f]{8}\.txt$/);
    assert.equal(readFileSync(await download.path(), "utf8"), "needle in the hay\n");
  });

  it("goes on after reloads and dead servers with no gap and no repeat", async () => {
    const run = await web.run(slowLines(1500));
    const page = await web.open(context, `/run/${run.id}`);
    await page.waitForSelector("#transcript pre:has-text('line 5')");
    await page.reload();
    await page.waitForSelector("#transcript pre:has-text('line')");
    for (let round = 0; round < 3; round++) {
      const [server] = await until("a server of the page", () => web.servers().length > 0 && web.servers());
      process.kill(server!, "SIGKILL");
      await until("another server", () => web.servers().some(pid => pid !== server));
      await page.waitForSelector(".link-bar", { state: "hidden" });
    }
    await web.untilState(run, "succeeded");
    await page.waitForSelector("#transcript .turn-end");
    assert.deepEqual(await wholeOutput(page), Array.from({ length: 1500 }, (_, index) => `line ${index + 1}`));
  });

  it("says when loomd web was started again, and goes on under the new address", async () => {
    const run = await web.run(shell("echo before; sleep 1000", { title: "Lives on" }));
    const page = await web.open(context, `/run/${run.id}`);
    const { port } = web;
    await web.stop();
    await page.waitForSelector(".link-bar:has-text('Connecting again')");
    await web.launch("--port", port);
    await page.waitForSelector(".link-bar:has-text('started again')");
    await page.goto(web.address);
    await page.waitForSelector(".run-row.running:has-text('Lives on')");
  });

  it("only shows under --read-only", async () => {
    const run = await web.agent("ask edit", { title: "Waits" });
    await web.untilState(run, "awaitingPermission");
    await web.stop();
    await web.launch("--read-only");
    const page = await web.open(context, `/run/${run.id}`);
    await page.waitForSelector(".question .shown");
    await page.waitForSelector(".run-row[aria-current]");
    for (const hidden of [".question .buttons", ".question .reason", ".composer", ".run-tools .button", "button[aria-label='End Run']"]) assert.equal(await page.locator(hidden).filter({ visible: true }).count(), 0, hidden);
    await page.focus("article:has(.question)");
    await page.keyboard.press("a");
    assert.equal((await web.get(run)).state, "awaitingPermission");
    assert.deepEqual(await accessibilityViolations(page), []);
  });

  it("shows hostile texts as texts", async () => {
    const [markdown, terminal] = ["markdown.txt", "terminal.txt"].map(name => readFileSync(join(REPOSITORY, "tests/hostile", name), "utf8"));
    const decoded = terminal!.replace(/\\u\{([0-9a-f]+)\}/g, (_, code: string) => String.fromCodePoint(parseInt(code, 16)));
    const { folder } = web.environment;
    const script = web.environment.writeScript("hostile", `#!/bin/sh\ncat <<'LOOMD_END'\n${markdown}\n${decoded}\nLOOMD_END\n`);
    const printed = await web.run({ provider: "command", command: [script], title: "<img src=x onerror=alert(1)>", cwd: folder });
    const spoken = await web.agent(markdown!.split("\n").filter(line => line !== "").map(line => `say ${line}`).join("\n"), { title: "<script>alert(1)</script>" });
    await web.untilState(spoken, "idle");
    const page = await web.open(context);
    const requested: string[] = [];
    page.on("request", request => requested.push(request.url()));
    page.on("dialog", dialog => web.errors.push(`a dialog: ${dialog.message()}`));
    for (const run of [printed, spoken]) {
      await open(page, run);
      await page.waitForSelector("#transcript article");
      await until("the transcript is drawn", async () => (await text(page)).length > 200);
      assert.equal(await page.locator("#transcript :is(script, iframe, object, embed, form.evil, img:not([src^='data:']))").count(), 0);
      const links = await page.locator("#transcript a[href]").evaluateAll(all => all.map(link => link.getAttribute("href")!));
      assert.deepEqual(links.filter(link => !/^(https?:|mailto:|#)/.test(link)), []);
    }
    assert.ok((await page.innerText(".run-list")).includes("<script>alert(1)</script>"));
    assert.deepEqual(requested.filter(url => !url.startsWith(`http://127.0.0.1:${web.port}/`)), []);
  });

  it("can be used on a small screen, in light and dark", async () => {
    const run = await web.agent('say Some words and `code`.\nrequest {"kind":"execute","title":"a long command","rawInput":{"command":"find / -name a-rather-long-name-of-a-file -exec grep -l something-to-find {} +"}}', { title: "A title that is much longer than a small screen is wide, so that it has to be cut" });
    await web.untilState(run, "awaitingPermission");
    const page = await web.open(context);
    await page.setViewportSize({ width: 390, height: 780 });
    const fits = async () => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 390), "it is wider than the screen");
    await fits();
    await open(page, run);
    await question(page);
    await fits();
    const box = await page.locator(".question .button >> nth=0").boundingBox();
    assert.ok(box && box.x >= 0 && box.x + box.width <= 390 && box.height >= 36);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await accessibilityViolations(page), []);
    }
    await page.click("button[aria-label='Back to Runs']");
    await page.waitForSelector(`.run-row[data-run="${run.id}"]`);
    assert.equal(await page.locator("#transcript").isVisible(), false);
    assert.deepEqual(await accessibilityViolations(page), []);
    await page.goBack();
    await question(page);
  });

  it("is closed to the pages of other sites", async () => {
    const site = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<!DOCTYPE html><title>Another site</title>"));
    await new Promise<void>(resolve => site.listen(0, "127.0.0.1", resolve));
    try {
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
      const outcomes = await page.evaluate(
        async ({ port, token }) => {
          const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`);
          const opened = await new Promise<string>(resolve => {
            socket.onopen = () => (socket.send(token), resolve("opened"));
            socket.onerror = () => resolve("refused");
          });
          const read = await fetch(`http://127.0.0.1:${port}/`).then(() => "read", () => "refused");
          const script = document.createElement("script");
          script.src = `http://127.0.0.1:${port}/page.js`;
          const loaded = await new Promise<string>(resolve => {
            script.onload = () => resolve("loaded");
            script.onerror = () => resolve("refused");
            document.head.append(script);
          });
          return [opened, read, loaded];
        },
        { port: web.port, token: web.address.split("token=")[1]! },
      );
      assert.deepEqual(outcomes, ["refused", "refused", "refused"]);
      const frame = await page.evaluate(async port => {
        const frame = document.createElement("iframe");
        frame.src = `http://127.0.0.1:${port}/`;
        document.body.append(frame);
        await new Promise(resolve => (frame.onload = resolve));
        return frame.contentDocument?.title ?? "of another origin";
      }, web.port);
      assert.equal(frame, "of another origin");
      assert.ok(page.frames().every(each => each === page.mainFrame() || each.url().startsWith("chrome-error://")), page.frames().map(each => each.url()).join());
      assert.equal(web.servers().length, 0);
    } finally {
      site.close();
    }
  });
});
