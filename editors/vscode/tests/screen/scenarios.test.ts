import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext } from "playwright-core";
import { faults } from "../lib/axe";
import { Screen, Workbench } from "../lib/workbench";
import { alive, until } from "../lib/world";

/** Where pictures go. */
const PICTURES = join(process.cwd(), "tests/out/pictures");
/** Those that the README and the walkthrough show. */
const SHOWN = ["output", "question", "transcript", "changes"];

const TEMPLATES = [
  { name: "Mend the parser", provider: "opencode", prompt: "The test “reads nothing” fails. Mend the parser." },
  { name: "Ask", provider: "scripted", prompt: "say before\nask execute\nsay after" },
  { name: "Long build", provider: "command", command: "i=0; while :; do i=$((i+1)); printf '\\033[32mok\\033[0m step %s\\n' $i; sleep 0.2; done" },
  { name: "Flood", provider: "command", command: "yes 'a line of some forty characters, again.' | head -c 100000000; echo; echo the very end; sleep 1000", tty: false },
];

describe("on the screen", () => {
  const workbench = new Workbench();
  let context: BrowserContext;
  let screen: Screen;

  before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    await workbench.start({ settings: { "loomd.templates": TEMPLATES } });
    context = await workbench.context();
    screen = await workbench.window(context);
  });
  after(async () => {
    await workbench.close();
    deepStrictEqual([...workbench.outside].filter(host => !host.endsWith("vscode-cdn.net")), [], "something asked the outside");
  });
  afterEach(async function () {
    if (this.currentTest?.state !== "failed") return;
    await screen.page.screenshot({ path: join(PICTURES, `failed-${this.currentTest.title.replace(/\W+/g, "-").slice(0, 60)}.png`) }).catch(() => {});
    // What one leaves behind is no trouble of the next.
    for (const { id } of live()) workbench.loomd("cancel", id);
    await screen.page.close();
    screen = await workbench.window(context);
    await screen.openRuns();
  });

  const picture = async (name: string) => {
    await screen.page.screenshot({ path: join(PICTURES, `${name}.png`) });
    const shown = process.env["LOOMD_PICTURES"];
    if (shown && SHOWN.includes(name)) copyFileSync(join(PICTURES, `${name}.png`), join(shown, `${name}.png`));
  };
  const template = async (name: string, on = screen) => {
    await on.command("loomd: Start Run…");
    await on.pick(name).click();
  };
  const hidePanel = async () => {
    if (await screen.page.locator(".part.panel").isVisible()) await screen.command("View: Hide Panel");
  };
  const live = () => workbench.loomd("list", "--all", "--state", "live", "--json").split("\n").filter(line => line !== "").map(line => JSON.parse(line) as { id: string; title?: string; state: string; pid?: number });
  /** The agent of the pictures, its first turn done: the one that is alive, else another. */
  const mended = async () => {
    if (!live().some(({ title }) => title === "Mend the parser")) {
      await template("Mend the parser");
      await (await screen.transcript("Mend the parser")).getByRole("button", { name: "Allow once" }).click();
    }
    const row = screen.row("Mend the parser");
    await row.getByText(/ready for more/).waitFor();
    // Whatever else is opening at this moment: until it is in front.
    const front = screen.page.locator(".tab.active", { hasText: /^\s*Mend the parser/ });
    await until("its transcript is in front", async () => {
      await row.click();
      return front.waitFor({ timeout: 3000 }).then(() => true, () => false);
    });
    return row;
  };
  const cancelAll = async () => {
    for (const { id } of live()) workbench.loomd("cancel", id);
    await until("nothing is alive", () => live().length === 0);
    await screen.command("View: Close All Editors");
  };

  it("nothing is opened by itself, and the view says what to do", async () => {
    strictEqual(await screen.page.locator(".part.editor .tab").count(), 0);
    strictEqual(await screen.page.locator(".part.panel.visible, .part.panel:not([style*='display: none']) .terminal-wrapper").count(), 0);
    await screen.openRuns();
    await screen.page.getByText("Nothing has been run yet").waitFor();
    await picture("welcome");
  });

  it("a run is started, its row and its output are live, and a click cancels it", async () => {
    await template("Long build");
    const row = screen.row("Long build");
    await row.getByText(/running · \d+ s/).waitFor();
    await screen.status.getByText("1 running").waitFor();
    const steps = async () => [...(await screen.terminal()).matchAll(/ok step (\d+)/g)].map(([, step]) => Number(step));
    const first = await until("its output is there", async () => (await steps())[0]);
    await until("its output moves", async () => (await steps()).at(-1)! > first + 3);
    const time = await row.innerText();
    await until("its time moves", async () => (await row.innerText()) !== time);
    match((await row.getAttribute("aria-label")) ?? "", /Long build, running/);
    await screen.page.locator(".activitybar .badge-content", { hasText: "1" }).first().waitFor();
    await picture("output");
    await row.hover();
    await row.locator('.action-label[aria-label^="Cancel Run"]').click();
    await row.getByText(/cancelled/).waitFor();
  });

  it("what is started once is proposed again, and Ctrl-C in its output cancels it", async () => {
    await screen.start("Command…", "echo ready; sleep 1000");
    const row = screen.row("echo ready; sleep 1000");
    await row.getByText(/running/).waitFor();
    await until("its output is there", async () => (await screen.terminal()).includes("ready\n"));
    await screen.page.locator(".terminal-wrapper.active .xterm-helper-textarea").focus();
    await screen.page.keyboard.press("Control+c");
    await row.getByText(/cancelled/).waitFor();
    await screen.command("loomd: Start Run…");
    await screen.pick("Command…").click();
    await until("the last words are proposed", async () => (await screen.box.inputValue()) === "echo ready; sleep 1000");
    await screen.page.keyboard.press("Escape");
  });

  it("a question is answered by a click in its row", async () => {
    await template("Ask");
    const row = screen.row("touch it");
    await row.waitFor();
    await screen.status.getByText("1 waiting").waitFor();
    await screen.row("Ask").getByText(/waiting for you/).waitFor();
    await row.hover();
    await row.locator('.action-label[aria-label^="Allow"]').click();
    await screen.row("Ask").getByText(/ready for more/).waitFor();
    await cancelAll();
  });

  it("a question is answered by keyboard alone", async () => {
    await template("Ask");
    await screen.row("touch it").waitFor();
    await screen.command("loomd: Review Next Approval");
    await screen.pick("Allow").waitFor();
    await screen.page.keyboard.press("Escape");
    await screen.row("touch it").waitFor();
    await screen.command("loomd: Review Next Approval");
    await screen.pick("Reject").waitFor();
    await screen.page.keyboard.type("Reject");
    await screen.page.keyboard.press("Enter");
    await screen.row("touch it").waitFor({ state: "detached" });
    const frame = await screen.transcript("Ask");
    await frame.getByText("Denied: Reject").waitFor();
    await cancelAll();
  });

  it("a question is told of while the list is hidden, and the toast answers it", async () => {
    await screen.command("Explorer: Focus on Folders View");
    const id = await workbench.elsewhere({ provider: "scripted", prompt: "ask execute", cwd: workbench.folder, title: "From afar" });
    const toast = screen.toast(/From afar asks \(execute\): touch it/);
    await toast.waitFor();
    // Whoever waves it away has not answered.
    const waved = await workbench.elsewhere({ provider: "scripted", prompt: "ask execute", cwd: workbench.folder, title: "Waved away" });
    const second = screen.toast(/Waved away asks/);
    await second.hover();
    await second.locator(".codicon-notifications-clear").click();
    await second.waitFor({ state: "detached" });
    strictEqual(live().find(run => run.id === waved)?.state, "awaitingPermission");
    workbench.loomd("cancel", waved);
    await toast.locator(".monaco-button", { hasText: "Allow" }).click();
    await until("it has ended", () => !live().some(run => run.id === id));
    // And of the end, too.
    await screen.toast("From afar: succeeded").waitFor();
    await screen.command("Notifications: Clear All Notifications");
    await screen.openRuns();
    await screen.row("From afar").getByText(/succeeded/).waitFor();
  });

  it("a transcript streams, asks in place, shows its differences, and takes a follow-up", async () => {
    await screen.openRuns();
    await hidePanel();
    const beside = await workbench.elsewhere({ provider: "command", command: ["sleep", "1000"], cwd: workbench.folder, title: "cargo test --workspace" });
    await screen.row("cargo test --workspace").getByText(/running/).waitFor();
    await template("Mend the parser");
    const frame = await screen.transcript("Mend the parser");
    const question = frame.getByRole("group", { name: "The agent asks for permission" });
    await question.waitFor();
    await frame.locator(".diff-line.added", { hasText: "text.length === 0" }).waitFor();
    await picture("question");
    await question.getByRole("button", { name: "Allow once" }).click();
    await frame.locator(".fg-ansi-green", { hasText: "3 passing" }).waitFor();
    await frame.locator(".turn-end", { hasText: "Turn done" }).waitFor();
    await screen.row("Mend the parser").getByText(/ready for more/).waitFor();
    await frame.locator(".usage", { hasText: "4210 tokens in" }).waitFor();
    await picture("transcript");
    workbench.loomd("cancel", beside);
    const box = frame.getByLabel("Follow-up to the agent");
    await box.fill("Thank you");
    await box.press("Enter");
    await frame.locator(".markdown", { hasText: "You said: Thank you" }).waitFor();
    await until("the words are gone from the box", async () => (await box.inputValue()) === "");
  });

  it("its changes open in the editor's diff of many files", async () => {
    await mended();
    await screen.command("loomd: Show Changes");
    await screen.page.locator(".multiDiffEntry, .monaco-component.multiDiffEditor").first().waitFor();
    await screen.page.getByText("parser.js").first().waitFor();
    await screen.page.locator(".view-line", { hasText: "text.length === 0" }).first().waitFor();
    await picture("changes");
  });

  it("reloading the window leaves runs running, and shows them again, transcript and all", async () => {
    await mended();
    const before = live();
    strictEqual(before.length, 1);
    const [server] = workbench.servers();
    await until("the browser has kept what is open", async () => (await screen.keptInFront()).includes("loomd.transcript"));
    await screen.page.reload();
    await screen.ready();
    const frame = await screen.transcript("Mend the parser");
    await frame.locator(".turn-end", { hasText: "Turn done" }).first().waitFor();
    deepStrictEqual(live().map(({ id, state }) => [id, state]), before.map(({ id, state }) => [id, state]));
    await until("the old server is gone", () => !alive(server!));
    await screen.openRuns();
    await screen.row("Mend the parser").getByText(/ready for more/).waitFor();
  });

  it("a session is taken over in a terminal", async () => {
    await screen.menu(await mended(), "Take Over in Terminal");
    await screen.pick("Open the same session").click();
    await until("the agent's own program runs", async () => (await screen.terminal()).includes("session ses-0001 is open"));
    await screen.row("Mend the parser").getByText(/taken over/).waitFor();
    await picture("takeover");
    await screen.command("Terminal: Kill All Terminals").catch(() => {});
  });

  it("a session that was made elsewhere goes on here, with another model", async () => {
    await screen.command("loomd: Resume Run…");
    await screen.pick("A talk from the terminal").click();
    await until("it asks for the words", async () => (await screen.box.getAttribute("placeholder")) !== "Go on with which session?");
    await screen.box.fill("Where were we?");
    await screen.page.keyboard.press("Enter");
    const frame = await screen.transcript("Where were we?");
    await frame.locator(".markdown", { hasText: "You said: Where were we?" }).waitFor();
    await frame.getByRole("button", { name: "Change model or permissions" }).click();
    await screen.pick("Large and slow").click();
    const box = frame.getByLabel("Follow-up to the agent");
    await box.fill("And now?");
    await box.press("Enter");
    await frame.locator(".markdown", { hasText: "You said: And now? (to the large model)" }).waitFor();
    await cancelAll();
  });

  it("what ended long ago stands folded under Earlier, and opens by keyboard", async () => {
    for (let count = 0; count < 6; count++) await workbench.elsewhere({ provider: "command", command: ["true"], cwd: workbench.folder });
    const earlier = screen.row("Earlier");
    await earlier.waitFor();
    strictEqual(await earlier.getAttribute("aria-expanded"), "false");
    await earlier.click();
    await until("it is open", async () => (await earlier.getAttribute("aria-expanded")) === "true");
    await screen.page.keyboard.press("ArrowDown");
    await screen.page.keyboard.press("Enter");
    await until("its run is shown", async () => (await screen.page.locator(".part.editor .tab").count()) > 0 || (await screen.page.locator(".part.panel").isVisible()));
    await picture("earlier");
    await earlier.click();
    await cancelAll();
  });

  it("the walkthrough has three steps, with pictures", async () => {
    await screen.command("Welcome: Open Walkthrough...");
    await screen.pick("Runs that outlive the window").click();
    await screen.page.locator(".getting-started-step").nth(2).waitFor();
    strictEqual(await screen.page.locator(".getting-started-step").count(), 3);
    const shown = screen.page.locator(".getting-started-media img");
    await until("its picture is there", () => shown.evaluate(image => (image as HTMLImageElement).naturalWidth > 0));
    await picture("walkthrough");
    await cancelAll();
  });

  it("two windows show the same runs", async () => {
    const other = await workbench.window(context);
    await other.openRuns();
    await template("Long build");
    await other.row("Long build").getByText(/running/).waitFor();
    await other.row("Long build").hover();
    await other.row("Long build").locator('.action-label[aria-label^="Cancel Run"]').click();
    await screen.row("Long build").getByText(/cancelled/).waitFor();
    await other.page.close();
  });

  it("a server that is killed comes back by itself; too often, and a row offers to restart it", async () => {
    await template("Long build");
    await screen.row("Long build").getByText(/running/).waitFor();
    for (let count = 0; count < 5; count++) {
      const [pid] = await until("a server is there", () => workbench.servers().length > 0 && workbench.servers());
      process.kill(pid!, "SIGKILL");
      await until("it is gone", () => !alive(pid!));
    }
    const problem = screen.row("loomd is not running");
    await problem.waitFor();
    await screen.row("Long build").waitFor();
    strictEqual(live().length, 1, "the run has ended with the server");
    await picture("server-down");
    await problem.click();
    await problem.waitFor({ state: "detached" });
    await screen.row("Long build").getByText(/running/).waitFor();
    await cancelAll();
  });

  it("a flood of 100 MB leaves the workbench responsive", async () => {
    await template("Flood");
    // While it comes, the palette opens and another run starts and is cancelled.
    await template("Long build");
    const row = screen.row("Long build");
    await row.getByText(/running/).waitFor();
    await row.hover();
    await row.locator('.action-label[aria-label^="Cancel Run"]').click();
    await row.getByText(/cancelled/).waitFor();
    await screen.row("Flood").click();
    await until("its end is shown", async () => (await screen.terminal()).includes("the very end"), 300_000);
    await cancelAll();
  });

  it("all of it can be read in dark, light and high-contrast themes", async () => {
    await template("Mend the parser");
    let frame = await screen.transcript("Mend the parser");
    await frame.getByRole("group", { name: "The agent asks for permission" }).waitFor();
    for (const [theme, kind] of [["Dark Modern", "vscode-dark"], ["Light Modern", "vscode-light"], ["Dark High Contrast", "vscode-high-contrast"], ["Light High Contrast", "vscode-high-contrast-light"]] as const) {
      await screen.command("Preferences: Color Theme");
      await screen.box.fill(theme);
      await screen.pick(theme).click();
      frame = await screen.transcript("Mend the parser");
      await frame.locator(`body.${kind}`).waitFor();
      deepStrictEqual(await faults(frame), [], theme);
      await picture(kind);
    }
    await screen.row("Mend the parser").getByText("waiting for you").waitFor();
    await cancelAll();
  });

  it("closing the window ends its server, and not its runs", async () => {
    await template("Long build");
    await screen.row("Long build").getByText(/running/).waitFor();
    const [server] = workbench.servers();
    await screen.page.close();
    await until("the server is gone", () => !alive(server!));
    const [run] = live();
    ok(run?.pid && alive(run.pid), "the run has ended");
    screen = await workbench.window(context);
    await screen.openRuns();
    await screen.row("Long build").getByText(/running/).waitFor();
    await cancelAll();
  });
});

describe("in a workspace that is not trusted", () => {
  const workbench = new Workbench();
  after(() => workbench.close());

  it("nothing is started, and a repository's settings have no say", async () => {
    const trap = join(workbench.home, "trapped");
    mkdirSync(workbench.folder, { recursive: true });
    writeFileSync(join(workbench.folder, "loomd"), `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 });
    await workbench.start({ trust: true, settings: { "security.workspace.trust.startupPrompt": "never" }, shared: { "loomd.path": join(workbench.folder, "loomd"), "loomd.rules": [{ answer: "allow", kind: "execute" }], "loomd.permissions": "bypass" } });
    const screen = await workbench.window();
    await screen.openRuns();
    await screen.page.getByText("loomd is not started in a workspace that is not trusted").waitFor();
    deepStrictEqual(workbench.servers(), []);
    await screen.page.screenshot({ path: join(PICTURES, "untrusted.png") });
    await screen.command("Workspaces: Manage Workspace Trust");
    await screen.page.locator(".workspace-trust-editor .monaco-button, .workspace-trust-buttons-row .monaco-button", { hasText: "Trust" }).first().click();
    // Trusted now: the server starts, and it is the user's own, not the one that the repository named.
    await until("the server runs", () => workbench.servers().length === 1);
    await screen.status.getByText("loomd").waitFor();
    ok(!existsSync(trap));
  });
});
