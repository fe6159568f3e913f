import { deepStrictEqual, match } from "node:assert";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Locator } from "playwright-core";
import { Workbench, type Screen } from "../lib/workbench";
import { SCRIPTED, TestHosts, until } from "../lib/environment";
import { Connection } from "../../src/server/connection";

const PICTURES = join(process.cwd(), "tests/out/pictures");

describe("hosts on the screen", () => {
  const workbench = new Workbench();
  let work: string;
  let hosts: TestHosts;
  let screen: Screen;

  before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    work = mkdtempSync(join(tmpdir(), "loomd-hosts-"));
    hosts = new TestHosts(work);
    hosts.add("build", { banner: "Welcome to build. Be kind.\n" });
    hosts.add("ann@far.example.org", { gone: "ssh: connect to host far.example.org port 22: Connection refused\n" });
    hosts.add("asleep", { hang: "" });
    // VS Code takes PATH from a login shell.
    writeFileSync(join(workbench.home, ".profile"), `PATH='${process.env["PATH"]}'\nexport PATH\n`);
    await workbench.start({ settings: { "loomd.hosts": ["build", "ann@far.example.org", "asleep"] } });
    screen = await workbench.window(await workbench.context());
  });
  after(async () => {
    await workbench.close();
    await hosts.close();
    rmSync(work, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  });
  afterEach(async function () {
    if (this.currentTest?.state !== "passed") await screen.page.screenshot({ path: join(PICTURES, "failed-hosts.png") });
  });

  /** Clicks the button of a row, which is there while the pointer is on it. Rows move meanwhile. */
  const press = (row: Locator, title: string) =>
    until("the button has taken the click", async () => {
      await row.hover();
      return row.locator(`.action-label[aria-label^="${title}"]`).click({ timeout: 2000 }).then(() => true, () => false);
    });

  it("a run starts on a host, in a folder of it, and its request names the host", async () => {
    const connection = await Connection.open({ program: "ssh", args: ["-T", "--", "build", "loomd"], host: "build", client: { name: "elsewhere", version: "0" } }, { notification: () => {}, log: () => {} });
    await connection.request("run/start", { provider: "acp", command: ["python3", SCRIPTED, "--keep", join(work, "sessions")], prompt: "say The parser reads its first line now.\nask execute", title: "Fix the parser", interactive: true, attach: false });
    await connection.close();
    await screen.openRuns();
    await screen.row("Fix the parser").getByText(/needs input/).waitFor();
    await screen.row("ann@far.example.org").getByText("not connected: ssh: connect to host far.example.org port 22: Connection refused").waitFor();
    await screen.row("asleep").getByText("connecting…").waitFor();
    await screen.command("loomd: New Run…");
    await screen.pick("This Computer").waitFor();
    await screen.pick("asleep").getByText("not connected").waitFor();
    await screen.pick("build").click();
    await screen.input.fill(join(hosts.folder, "build"));
    await screen.page.keyboard.press("Enter");
    await screen.page.locator(".tab.active", { hasText: "New Run on build" }).waitFor();
    const form = await screen.shownForm();
    await form.getByLabel("Run with").selectOption({ label: "Command" });
    await form.getByLabel("Task").fill("pwd; sleep 1000");
    await form.getByLabel("Task").press("Enter");
    const row = screen.row("pwd; sleep 1000");
    await row.getByText(/running/).waitFor();
    await screen.page.waitForFunction(() => /hosts\/build/.test(document.querySelector(".terminal-wrapper .xterm-rows")?.textContent ?? ""));
    await screen.row("touch it").click();
    const transcript = await screen.transcript("Fix the parser");
    const request = transcript.getByRole("group", { name: "Permission request" });
    await request.waitFor();
    match(await request.innerText(), /on build/);
    await screen.command("View: Hide Panel");
    await screen.page.screenshot({ path: join(PICTURES, "hosts.png") });
    const readme = process.env["LOOMD_PICTURES"];
    if (readme) copyFileSync(join(PICTURES, "hosts.png"), join(readme, "hosts.png"));
    await transcript.getByRole("button", { name: "Allow", exact: true }).click();
    await screen.row("Fix the parser").getByText(/idle/).waitFor();
    await press(row, "End Run");
    await row.getByText(/canceled/).waitFor();
    // What is not there is connected again by its row's button.
    rmSync(join(hosts.folder, "ann@far.example.org/gone"));
    await press(screen.row("ann@far.example.org"), "Connect Again");
    await screen.row("ann@far.example.org").getByText(/^0$/).waitFor();
    deepStrictEqual([...workbench.otherHosts].filter(host => !host.endsWith("vscode-cdn.net")), []);
  });
});
