import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Locator } from "playwright-core";
import { accessibilityViolations } from "../lib/axe";
import { Screen, Workbench } from "../lib/workbench";
import { alive, until } from "../lib/environment";

/** All screenshots go here. */
const PICTURES = join(process.cwd(), "tests/out/pictures");
/** The pictures that the README and the walkthrough show. */
const README_PICTURES = ["output", "permission", "transcript", "changes", "review"];

const TEMPLATES = [
  { name: "Fix the parser", provider: "opencode", prompt: "The test \"reads nothing\" fails. Fix the parser." },
  { name: "Create a file", provider: "scripted", prompt: "say before\nask execute\nsay after" },
  { name: "Long build", provider: "command", command: "i=0; while :; do i=$((i+1)); printf '\\033[32mok\\033[0m step %s\\n' $i; sleep 0.2; done" },
  { name: "Flood", provider: "command", command: "yes 'a line of some forty characters, again.' | head -c 100000000; echo; echo the very end; sleep 1000", tty: false },
];

/** Rules as earlier versions kept them. */
const OLD_RULES = [{ answer: "allow", command: "make test" }, { answer: "deny", kind: "delete" }];

describe("on the screen", () => {
  const workbench = new Workbench();
  let context: BrowserContext;
  let screen: Screen;

  before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    await workbench.start({ settings: { "loomd.templates": TEMPLATES, "loomd.rules": OLD_RULES } });
    context = await workbench.context();
    screen = await workbench.window(context);
  });
  after(async () => {
    await workbench.close();
    deepStrictEqual([...workbench.otherHosts].filter(host => !host.endsWith("vscode-cdn.net")), [], "something connected to other hosts");
  });
  afterEach(async function () {
    // A try that failed and is tried again has no state.
    const test = this.currentTest;
    if (!test || test.state === "passed" || test.isPending()) return;
    await screen.page.screenshot({ path: join(PICTURES, `failed-${test.title.replace(/\W+/g, "-").slice(0, 60)}.png`) }).catch(() => {});
    // A failed test must not affect the next one: its runs are ended and its window is replaced.
    for (const { id } of live()) workbench.loomd("cancel", id);
    await screen.page.close();
    screen = await workbench.window(context);
    await screen.openRuns();
  });

  const picture = async (name: string) => {
    await screen.page.screenshot({ path: join(PICTURES, `${name}.png`) });
    const readmeFolder = process.env["LOOMD_PICTURES"];
    if (readmeFolder && README_PICTURES.includes(name)) copyFileSync(join(PICTURES, `${name}.png`), join(readmeFolder, `${name}.png`));
  };
  const template = async (name: string, on = screen) => {
    await on.command("loomd: Run Template…");
    await on.pick(name).click();
  };
  const hidePanel = async () => {
    if (await screen.page.locator(".part.panel").isVisible()) await screen.command("View: Hide Panel");
  };
  const live = () => workbench.loomd("list", "--all", "--state", "live", "--json").split("\n").filter(line => line !== "").map(line => JSON.parse(line) as { id: string; title?: string; state: string; pid?: number });
  /**
   * The row of the active agent of the pictures, its first turn finished and its transcript open. Starts one if there
   * is none.
   */
  const openParserRun = async () => {
    if (!live().some(({ title }) => title === "Fix the parser")) {
      await template("Fix the parser");
      await (await screen.transcript("Fix the parser")).getByRole("button", { name: "Allow once" }).click();
    }
    const row = screen.row("Fix the parser");
    await row.getByText(/idle/).waitFor();
    // Another editor may be opening at this moment, so we click until the transcript is in front.
    const front = screen.page.locator(".tab.active", { hasText: /^\s*Fix the parser/ });
    await until("its transcript is in front", async () => {
      await row.click();
      return front.waitFor({ timeout: 3000 }).then(() => true, () => false);
    });
    return row;
  };
  const cancelAll = async () => {
    for (const { id } of live()) workbench.loomd("cancel", id);
    await until("no run is active", () => live().length === 0);
    await screen.command("View: Close All Editors");
  };

  it("nothing opens by itself, and the view offers to start a run", async () => {
    strictEqual(await screen.page.locator(".part.editor .tab").count(), 0);
    strictEqual(await screen.page.locator(".part.panel.visible, .part.panel:not([style*='display: none']) .terminal-wrapper").count(), 0);
    await screen.openRuns();
    await screen.page.getByText("No runs yet.").waitFor();
    await picture("welcome");
  });

  it("a run is started, its row and its output are live, and a click ends it", async () => {
    await template("Long build");
    const row = screen.row("Long build");
    await row.getByText(/running · \d+s/).waitFor();
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
    await row.locator('.action-label[aria-label^="End Run"]').click();
    await row.getByText(/canceled/).waitFor();
  });

  it("a command is entered in a form of several lines, which has it again, and Ctrl-C in the output ends its run", async () => {
    let form = await screen.form();
    await form.getByLabel("Run with").selectOption({ label: "Command" });
    await form.waitForFunction(() => document.hasFocus());
    await form.getByLabel("Task").focus();
    await screen.page.keyboard.type("echo ready; sleep 1000");
    await screen.page.keyboard.press("Enter");
    const row = screen.row("echo ready; sleep 1000");
    await row.getByText(/running/).waitFor();
    await until("its output is there", async () => (await screen.terminal()).includes("ready\n"));
    await screen.page.locator(".terminal-wrapper.active .xterm-helper-textarea").focus();
    await screen.page.keyboard.press("Control+c");
    await row.getByText(/canceled/).waitFor();
    form = await screen.form();
    const task = form.getByLabel("Task");
    await task.press("ArrowUp");
    strictEqual(await task.inputValue(), "echo ready; sleep 1000");
    // An agent with its model and permission mode, and a prompt of two lines.
    await form.getByLabel("Run with").selectOption({ label: "opencode" });
    await form.locator('datalist option[value="large"]').waitFor({ state: "attached" });
    await form.getByLabel("Model").fill("large");
    await form.getByLabel("Permission mode").selectOption({ label: "Accept edits" });
    await task.fill("One line");
    await task.press("Shift+Enter");
    await screen.page.keyboard.type("and another");
    deepStrictEqual(await accessibilityViolations(form), []);
    await picture("form");
    await task.press("Enter");
    const frame = await screen.transcript("One line");
    await frame.locator(".markdown", { hasText: "(to the large model)" }).waitFor();
    strictEqual(await frame.locator(".user-text").innerText(), "One line\nand another");
    await cancelAll();
  });

  it("a click on a permission request's row opens it, and it is allowed there", async () => {
    await template("Create a file");
    const row = screen.row("touch it");
    await row.waitFor();
    await screen.status.getByText("1 needs input").waitFor();
    await screen.row("Create a file").getByText(/needs input/).waitFor();
    await screen.command("View: Close All Editors");
    await row.click();
    const frame = await screen.transcript("Create a file");
    await frame.getByRole("group", { name: "Permission request" }).waitFor();
    strictEqual(live().find(({ title }) => title === "Create a file")?.state, "awaitingPermission");
    await frame.getByRole("button", { name: "Allow", exact: true }).click();
    await screen.row("Create a file").getByText(/idle/).waitFor();
    await cancelAll();
  });

  it("a permission request is answered by keyboard alone", async () => {
    await template("Create a file");
    await screen.row("touch it").waitFor();
    await screen.command("View: Close All Editors");
    await screen.command("loomd: Review Next Permission Request");
    const frame = await screen.transcript("Create a file");
    await frame.waitForFunction(() => document.hasFocus() && document.activeElement?.matches("article.permission"));
    await frame.locator('.button[aria-disabled="false"]').first().waitFor();
    await screen.page.keyboard.press("d");
    await frame.getByText("Denied", { exact: true }).waitFor();
    await screen.row("touch it").waitFor({ state: "detached" });
    await cancelAll();
  });

  it("a permission request is notified while the view is hidden, and the notification opens it", async () => {
    await screen.command("Explorer: Focus on Folders View");
    const id = await workbench.startElsewhere({ provider: "scripted", prompt: "ask execute", cwd: workbench.folder, title: "Format the code" });
    const notification = screen.notification(/Format the code wants to run a command: touch it/);
    await notification.waitFor();
    // A dismissed notification answers nothing.
    const dismissed = await workbench.startElsewhere({ provider: "scripted", prompt: "ask execute", cwd: workbench.folder, title: "Update the changelog" });
    const second = screen.notification(/Update the changelog wants to run/);
    await second.hover();
    await second.locator(".codicon-notifications-clear").click();
    await second.waitFor({ state: "detached" });
    strictEqual(live().find(run => run.id === dismissed)?.state, "awaitingPermission");
    workbench.loomd("cancel", dismissed);
    await notification.locator(".monaco-button", { hasText: "Review" }).click();
    const frame = await screen.transcript("Format the code");
    await frame.getByRole("button", { name: "Allow", exact: true }).waitFor();
    strictEqual(live().find(run => run.id === id)?.state, "awaitingPermission");
    // The end of the run is notified, too, but not to a reader of its transcript.
    await screen.command("View: Close All Editors");
    workbench.loomd("answer", id, "allow");
    await until("it has ended", () => !live().some(run => run.id === id));
    await screen.notification("Format the code: succeeded").waitFor();
    await screen.command("Notifications: Clear All Notifications");
    await screen.openRuns();
    await screen.row("Format the code").getByText(/succeeded/).waitFor();
  });

  it("rules are added from a request, taken over from the settings one by one, listed and removed", async () => {
    const dialog = (text: string) => screen.page.locator(".monaco-dialog-box", { hasText: text });
    const choose = (text: string, button: string) => dialog(text).locator(".dialog-buttons .monaco-button", { hasText: button }).click();
    await screen.openRuns();
    await template("Create a file");
    const frame = await screen.transcript("Create a file");
    await frame.getByRole("button", { name: "Always allow in loomd…" }).click();
    await screen.pick(/^Always allow scripted to run a command: exactly “touch it”, in runs in \//).click();
    await screen.row("Create a file").getByText(/idle/).waitFor();
    await screen.command("loomd: Take Over Rules from Settings…");
    await dialog("Rule 1 of 2").getByText("Always allow any agent to use any tool: exactly “make test”, in runs in any folder").waitFor();
    await choose("Rule 1 of 2", "Add");
    await choose("Rule 2 of 2", "Skip");
    await screen.command("loomd: Permission Rules…");
    await screen.pick("Take Over 1 from Settings…").waitFor();
    await screen.pick("exactly “make test”").waitFor();
    await screen.pick("exactly “touch it”").click();
    await dialog("Remove this permission rule?").getByText("exactly “touch it”").waitFor();
    await choose("Remove this permission rule?", "Remove");
    await screen.command("loomd: Permission Rules…");
    await screen.pick("exactly “make test”").waitFor();
    strictEqual(await screen.pick("exactly “touch it”").count(), 0);
    await screen.page.keyboard.press("Escape");
    await cancelAll();
  });

  it("a long transcript opens at its end, and loads the rest as the reader goes up", async () => {
    await screen.openRuns();
    const prompt = Array.from({ length: 350 }, (_, at) => `tool read ${at + 1}\nsay ${at + 1}`).join("\n");
    await workbench.startElsewhere({ provider: "scripted", prompt, cwd: workbench.folder, title: "Read it all" });
    await screen.row("Read it all").getByText(/succeeded/).waitFor();
    await screen.row("Read it all").click();
    const frame = await screen.transcript("Read it all");
    await frame.locator(".turn-end", { hasText: "Completed" }).waitFor();
    const last = Number(await frame.locator("article").last().getAttribute("data-item"));
    ok(last > 700, `${last} items`);
    await frame.locator("article").last().focus();
    await until("the first item is there", async () => {
      await screen.page.keyboard.press("Home");
      return (await frame.locator("article").first().getAttribute("data-item")) === "1";
    });
    await frame.locator('article[data-item="1"]').getByText("tool read 1").waitFor();
    await screen.command("Notifications: Clear All Notifications");
    await cancelAll();
  });

  it("a transcript streams, shows permission requests and diffs, and takes a follow-up", async () => {
    await screen.openRuns();
    await hidePanel();
    const beside = await workbench.startElsewhere({ provider: "command", command: ["sleep", "1000"], cwd: workbench.folder, title: "cargo test --workspace" });
    await screen.row("cargo test --workspace").getByText(/running/).waitFor();
    await template("Fix the parser");
    const frame = await screen.transcript("Fix the parser");
    const request = frame.getByRole("group", { name: "Permission request" });
    await request.waitFor();
    await frame.locator(".shown-line.added", { hasText: "text.length === 0" }).waitFor();
    await request.locator('.button[aria-disabled="false"]').first().waitFor();
    await picture("permission");
    await request.getByRole("button", { name: "Allow once" }).click();
    await frame.locator(".fg-ansi-green", { hasText: "3 passing" }).waitFor();
    await frame.locator(".turn-end", { hasText: "Finished" }).waitFor();
    await screen.row("Fix the parser").getByText(/idle/).waitFor();
    await frame.locator(".usage", { hasText: "4.21k in" }).waitFor();
    // What works comes before what is idle.
    await until("the rows are in order", async () => /cargo test/.test((await screen.page.locator(".pane-body .monaco-list-row").allInnerTexts())[0] ?? ""));
    await picture("transcript");
    workbench.loomd("cancel", beside);
    const box = frame.getByLabel("Message", { exact: true });
    await box.fill("Thank you");
    await box.press("Enter");
    await frame.locator(".markdown", { hasText: "Echo: Thank you" }).waitFor();
    await until("the message box is empty", async () => (await box.inputValue()) === "");
  });

  it("a long title hides no state, in the view and in pickers", async () => {
    const title = "Rewrite the parser so that it reads nothing, one word and many words, and says what is wrong with the rest";
    await workbench.startElsewhere({ provider: "opencode", prompt: "hello", interactive: true, cwd: workbench.folder, title });
    const row = screen.row("Rewrite the parser");
    await row.getByText(/idle for/).waitFor();
    /** Whether the word is inside of every box around it. */
    const isWhole = (within: Locator, word: string) => within.evaluate((box, word) => {
      const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const at = node.textContent!.indexOf(word);
        if (at < 0) continue;
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        const { left, right } = range.getBoundingClientRect();
        for (let around = node.parentElement; around && around !== box.parentElement; around = around.parentElement) {
          const outer = around.getBoundingClientRect();
          if (getComputedStyle(around).overflow !== "visible" && (left < outer.left - 1 || right > outer.right + 1)) return false;
        }
        return true;
      }
      return false;
    }, word);
    ok(await isWhole(row, "idle"), "the view hides the state");
    await screen.command("View: Close All Editors");
    await screen.command("loomd: Open Transcript");
    await screen.pick("Rewrite the parser").waitFor();
    ok(await isWhole(screen.pick("Rewrite the parser"), "idle"), "the picker hides the state");
    await picture("long-title");
    await screen.page.keyboard.press("Escape");
    await cancelAll();
  });

  it("a selection goes to an agent, is seen before it is sent, and files are completed", async () => {
    writeFileSync(join(workbench.folder, "greeting.txt"), "hello\nworld\n");
    await workbench.startElsewhere({ provider: "opencode", prompt: "hello", interactive: true, cwd: workbench.folder, title: "Takes context" });
    await screen.row("Takes context").getByText(/idle for/).waitFor();
    await screen.command("View: Close All Editors");
    await screen.command("Go to File...");
    await screen.input.fill("greeting.txt");
    await screen.pick("greeting.txt").click();
    await screen.page.locator(".view-line", { hasText: "world" }).click();
    await screen.page.keyboard.press("Control+a");
    await screen.command("loomd: Send Selection to Run…");
    await screen.pick("Takes context").click();
    const frame = await screen.transcript("Takes context");
    await frame.getByRole("button", { name: "greeting.txt:1-2", exact: true }).click();
    await frame.locator(".attachment-preview", { hasText: "world" }).waitFor();
    const box = frame.getByLabel("Message", { exact: true });
    await box.pressSequentially("Read this, and @greet");
    await frame.getByRole("option", { name: "greeting.txt" }).waitFor();
    await picture("context");
    await box.press("Enter");
    await frame.getByRole("button", { name: "greeting.txt", exact: true }).waitFor();
    await box.press("Enter");
    await frame.locator(".markdown", { hasText: "Echo: Read this, and @greeting.txt" }).waitFor();
    await frame.locator("article.message .file-link", { hasText: "greeting.txt" }).first().waitFor();
    await cancelAll();
  });

  it("its changes open in the multi-file diff", async () => {
    await openParserRun();
    await screen.command("loomd: Show Changes");
    await screen.page.locator(".multiDiffEntry, .monaco-component.multiDiffEditor").first().waitFor();
    await screen.page.getByText("parser.js").first().waitFor();
    await screen.page.locator(".view-line", { hasText: "text.length === 0" }).first().waitFor();
    await picture("changes");
  });

  it("changes are reviewed in their files, undone, and followed to their step", async () => {
    await openParserRun();
    await screen.command("loomd: Review Changes…");
    const lens = (title: string) => screen.page.locator(".codelens-decoration a", { hasText: title }).first();
    await lens("Change 1 of 1").waitFor();
    await screen.page.locator(".view-line", { hasText: "text.length === 0" }).first().waitFor();
    await picture("review");
    await lens("Show Step").click();
    const frame = await screen.transcript("Fix the parser");
    await until("the step has the focus", () => frame.evaluate(() => document.activeElement?.matches("article.tool") === true && document.activeElement.textContent.includes("Edit parser.js")));
    await screen.page.locator(".tab", { hasText: "parser.js" }).click();
    await lens("Undo").click();
    await until("the old text is on disk", () => !readFileSync(join(workbench.folder, "parser.js"), "utf8").includes("text.length === 0"));
    await lens("Undo").waitFor({ state: "detached" });
    await screen.command("View: Close All Editors");
  });

  it("the list is filtered while words are typed, and rows name their agent", async () => {
    await openParserRun();
    await workbench.startElsewhere({ provider: "command", command: ["true"], cwd: workbench.folder, title: "Something else" });
    await screen.row("Something else").waitFor();
    await screen.row("Fix the parser").getByText(/idle .* · opencode/).waitFor();
    await screen.command("loomd: Filter Runs…");
    await until("the filter is there", async () => (await screen.input.getAttribute("placeholder"))?.startsWith("Type words"));
    await screen.input.fill("parser");
    await screen.row("Something else").waitFor({ state: "hidden" });
    await screen.page.getByText(/"parser": \d+ runs?/).waitFor();
    await screen.page.keyboard.press("Enter");
    await picture("filter");
    await screen.command("loomd: Clear Filter");
    const other = screen.row("Something else");
    await other.waitFor();
    // It ended while nobody looked, until it is opened.
    const dots = () => other.evaluate(row => [...row.querySelectorAll("*")].filter(each => getComputedStyle(each, "::after").content.includes("●")).length);
    match((await other.getAttribute("aria-label")) ?? "", /unread/);
    await until("it has a dot", async () => (await dots()) > 0);
    await other.click();
    await until("the dot is gone", async () => (await dots()) === 0 && !/unread/.test((await other.getAttribute("aria-label")) ?? ""));
    await hidePanel();
  });

  it("an agent is asked, and asked again, in the palette alone", async () => {
    const ask = async (row: string | RegExp, prompt: string) => {
      await screen.command("loomd: Ask Agent…");
      await screen.pick(row).click();
      await until("it asks for the prompt", async () => (await screen.input.getAttribute("placeholder")) !== "Select an agent to ask");
      await screen.input.fill(prompt);
      await screen.page.keyboard.press("Enter");
    };
    await cancelAll();
    await ask(/^opencode/, "What is new?");
    const frame = await screen.transcript("What is new?");
    await frame.locator(".markdown", { hasText: "Echo: What is new?" }).waitFor();
    await screen.row("What is new?").getByText(/idle/).waitFor();
    await ask("What is new?", "And what is old?");
    await frame.locator(".markdown", { hasText: "Echo: And what is old?" }).waitFor();
    await cancelAll();
  });

  it("runs keep going while the window reloads, and are shown again with their transcripts", async () => {
    await openParserRun();
    const before = live();
    strictEqual(before.length, 1);
    const [server] = workbench.servers();
    await until("the open editor is stored", async () => (await screen.storedActiveEditor()).includes("loomd.transcript"));
    await screen.page.reload();
    await screen.ready();
    const frame = await screen.transcript("Fix the parser");
    await frame.locator(".turn-end", { hasText: "Finished" }).first().waitFor();
    deepStrictEqual(live().map(({ id, state }) => [id, state]), before.map(({ id, state }) => [id, state]));
    await until("the old server has exited", () => !alive(server!));
    await screen.openRuns();
    await screen.row("Fix the parser").getByText(/idle/).waitFor();
  });

  it("a session is continued in a terminal", async () => {
    await screen.menu(await openParserRun(), "Continue in Terminal");
    await screen.pick("Resume the session").click();
    await until("the agent's own program runs", async () => (await screen.terminal()).includes("session ses-0001 is open"));
    await screen.row("Fix the parser").getByText(/continued in terminal/).waitFor();
    await picture("takeover");
    await screen.command("Terminal: Kill All Terminals").catch(() => {});
  });

  it("a session that was started outside loomd is resumed, with another model", async () => {
    await screen.command("loomd: Resume Session…");
    const row = screen.pick("Session from the terminal");
    await until("the list is there", async () => (await screen.input.getAttribute("placeholder")) === "Select a session to resume");
    // Runs come first, and only rows in sight are in the page.
    await screen.input.fill("from the terminal");
    await row.waitFor();
    // The agent `silent` never answers, which holds up nothing, and the list stays while the focus moves.
    await screen.page.locator(".quick-input-widget .monaco-progress-container.active").waitFor({ timeout: 1000 });
    await screen.page.locator(".part.statusbar").click({ position: { x: 300, y: 8 } });
    await screen.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    await row.click();
    await until("it asks for the prompt", async () => (await screen.input.getAttribute("placeholder")) !== "Select a session to resume");
    await screen.input.fill("Where were we?");
    await screen.page.keyboard.press("Enter");
    const frame = await screen.transcript("Where were we?");
    await frame.locator(".markdown", { hasText: "Echo: Where were we?" }).waitFor();
    await frame.getByRole("button", { name: "Change Model or Permission Mode" }).click();
    await screen.pick("Large and slow").click();
    const box = frame.getByLabel("Message", { exact: true });
    await box.fill("And now?");
    await box.press("Enter");
    await frame.locator(".markdown", { hasText: "Echo: And now? (to the large model)" }).waitFor();
    await cancelAll();
  });

  it("older runs are collapsed under Earlier, and open by keyboard", async () => {
    for (let count = 0; count < 6; count++) await workbench.startElsewhere({ provider: "command", command: ["true"], cwd: workbench.folder });
    const earlier = screen.row("Earlier");
    await earlier.waitFor();
    strictEqual(await earlier.getAttribute("aria-expanded"), "false");
    await earlier.click();
    // VS Code marks the row as expanded before the extension has provided its children.
    await screen.page.locator('.pane-body .monaco-list-row[aria-level="2"]').first().waitFor();
    strictEqual(await earlier.getAttribute("aria-expanded"), "true");
    await screen.page.keyboard.press("ArrowDown");
    await screen.page.keyboard.press("Enter");
    await until("its run is shown", async () => (await screen.page.locator(".part.editor .tab").count()) > 0 || (await screen.page.locator(".part.panel").isVisible()));
    await picture("earlier");
    await earlier.click();
    await cancelAll();
  });

  it("the walkthrough has three steps, with pictures", async () => {
    await screen.command("Welcome: Open Walkthrough...");
    await screen.pick("Get started with loomd").click();
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
    await other.row("Long build").locator('.action-label[aria-label^="End Run"]').click();
    await screen.row("Long build").getByText(/canceled/).waitFor();
    await other.page.close();
  });

  it("a server that crashes is restarted; after too many crashes a row offers to restart it", async () => {
    await template("Long build");
    await screen.row("Long build").getByText(/running/).waitFor();
    for (let count = 0; count < 5; count++) {
      const [pid] = await until("a server is there", () => workbench.servers().length > 0 && workbench.servers());
      process.kill(pid!, "SIGKILL");
      await until("it has exited", () => !alive(pid!));
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
    // While the output arrives, the palette opens and another run starts and is ended.
    await template("Long build");
    const row = screen.row("Long build");
    await row.getByText(/running/).waitFor();
    await row.hover();
    await row.locator('.action-label[aria-label^="End Run"]').click();
    await row.getByText(/canceled/).waitFor();
    await screen.row("Flood").click();
    await until("its end is shown", async () => (await screen.terminal()).includes("the very end"), 300_000);
    await cancelAll();
  });

  it("the transcript has no accessibility violations in dark, light and high-contrast themes", async () => {
    await template("Fix the parser");
    let frame = await screen.transcript("Fix the parser");
    await frame.getByRole("group", { name: "Permission request" }).waitFor();
    for (const [theme, kind] of [["Dark Modern", "vscode-dark"], ["Light Modern", "vscode-light"], ["Dark High Contrast", "vscode-high-contrast"], ["Light High Contrast", "vscode-high-contrast-light"]] as const) {
      await screen.command("Preferences: Color Theme");
      await screen.input.fill(theme);
      await screen.pick(theme).click();
      frame = await screen.transcript("Fix the parser");
      await frame.locator(`body.${kind}`).waitFor();
      deepStrictEqual(await accessibilityViolations(frame), [], theme);
      await picture(kind);
    }
    await screen.row("Fix the parser").getByText("needs input").waitFor();
    await cancelAll();
  });

  it("closing the window ends its server, but not its runs", async () => {
    await template("Long build");
    await screen.row("Long build").getByText(/running/).waitFor();
    const [server] = workbench.servers();
    await screen.page.close();
    await until("the server has exited", () => !alive(server!));
    const [run] = live();
    ok(run?.pid && alive(run.pid), "the run has ended");
    screen = await workbench.window(context);
    await screen.openRuns();
    await screen.row("Long build").getByText(/running/).waitFor();
    await cancelAll();
  });
});

describe("in Restricted Mode", () => {
  const workbench = new Workbench();
  after(() => workbench.close());

  it("no server is started, and a repository's settings are ignored", async () => {
    const trap = join(workbench.home, "trapped");
    mkdirSync(workbench.folder, { recursive: true });
    writeFileSync(join(workbench.folder, "loomd"), `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 });
    await workbench.start({ trust: true, settings: { "security.workspace.trust.startupPrompt": "never" }, folderSettings: { "loomd.path": join(workbench.folder, "loomd"), "loomd.rules": [{ answer: "allow", kind: "execute" }], "loomd.permissions": "bypass" } });
    const screen = await workbench.window();
    await screen.openRuns();
    await screen.page.getByText("loomd is disabled in Restricted Mode.").waitFor();
    deepStrictEqual(workbench.servers(), []);
    await screen.page.screenshot({ path: join(PICTURES, "untrusted.png") });
    await screen.command("Workspaces: Manage Workspace Trust");
    await screen.page.locator(".workspace-trust-editor .monaco-button, .workspace-trust-buttons-row .monaco-button", { hasText: "Trust" }).first().click();
    // Once trusted, the server starts. It is the one from the user's settings, not the one that the repository named.
    await until("the server runs", () => workbench.servers().length === 1);
    await screen.status.getByText("loomd").waitFor();
    ok(!existsSync(trap));
  });
});
