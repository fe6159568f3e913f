import { deepStrictEqual, ok, strictEqual } from "node:assert";
import type { ChangedFile } from "../../src/protocol";
import { diffSides } from "../../src/runs/diff-sides";
import { IDLE_SHOWN_MS, MAX_ENDED_SHOWN, groupRuns } from "../../src/runs/groups";
import { MAX_BUFFERED_CHARS, NewlineConverter, OutputBuffer, MAX_CHUNK_CHARS } from "../../src/runs/output-buffer";
import { findFileLocations } from "../../src/runs/file-locations";
import { optionFor, ruleOfSettings, ruleProposals, ruleText } from "../../src/runs/rules";
import { missingEnvironment, rerunParams } from "../../src/runs/rerun";
import { argvOf, startParams } from "../../src/runs/start";
import { actionText, requestTitle, commandLine, formatCount, formatDuration, iconOf, nameOf, formatBytes, plain, shortened, stateLabel } from "../../src/runs/run";
import { makePermissionRequest, makeRun } from "../lib/runs";

describe("groups of runs", () => {
  it("has runs that need input first, then active ones, then recently ended ones, then earlier ones", () => {
    const request = makePermissionRequest({ title: "t" });
    const runs = [
      makeRun("1", "succeeded", { endedAt: 50 }),
      makeRun("2", "running"),
      makeRun("3", "failed", { endedAt: 150 }),
      makeRun("4", "awaitingPermission", { permissions: [{ ...request, at: 20 }] }),
      makeRun("5", "awaitingPermission", { permissions: [{ ...request, at: 10 }] }),
      makeRun("6", "idle"),
    ];
    const { waiting, live, ended, earlier } = groupRuns(runs, 100);
    deepStrictEqual([waiting, live, ended, earlier].map(group => group.map(run => run.id)), [["5", "4"], ["2", "6"], ["3"], ["1"]]);
  });

  it("keeps agents that have been idle for long from the top", () => {
    const since: Record<string, number> = { "1": 0, "2": 10, "3": IDLE_SHOWN_MS };
    const runs = [...["1", "2", "3", "4"].map(id => makeRun(id, "idle")), makeRun("0", "running"), makeRun("5", "idle", { permissions: [makePermissionRequest({})] })];
    const { waiting, live, idle } = groupRuns(runs, 0, run => since[run.id], IDLE_SHOWN_MS + 20);
    deepStrictEqual([waiting, live, idle].map(group => group.map(run => run.id)), [["5"], ["0", "4", "3"], ["2", "1"]]);
  });

  it("shows only the newest ended runs outside of Earlier", () => {
    const runs = Array.from({ length: MAX_ENDED_SHOWN + 3 }, (_, at) => makeRun(`r${at}`, "succeeded", { endedAt: 100 + at }));
    const { ended, earlier } = groupRuns(runs, 0);
    strictEqual(ended.length, MAX_ENDED_SHOWN);
    strictEqual(ended[0]!.id, `r${MAX_ENDED_SHOWN + 2}`);
    strictEqual(earlier.length, 3);
  });
});

describe("texts about runs", () => {
  it("has a label and an icon for every state", () => {
    for (const state of ["starting", "running", "awaitingPermission", "idle", "succeeded", "failed", "cancelled", "timedOut", "lost"] as const) {
      ok(stateLabel(makeRun("1", state)).length > 3);
      ok(iconOf(makeRun("1", state)).icon);
    }
    strictEqual(stateLabel(makeRun("1", "failed", { exitCode: 2 })), "failed (exit code 2)");
    strictEqual(stateLabel(makeRun("1", "failed", { signal: "SIGSEGV" })), "terminated (SIGSEGV)");
    strictEqual(stateLabel(makeRun("1", "cancelled", { takenOverAt: 5 })), "continued in terminal");
  });

  it("names a run as the server does, and shows a shell's command line as its script", () => {
    strictEqual(nameOf(makeRun("1", "running", { title: "Tests", displayTitle: "Tests" })), "Tests");
    strictEqual(commandLine(["/bin/sh", "-c", "make all"]), "make all");
    strictEqual(commandLine(["cargo", "test"]), "cargo test");
  });

  it("formats times, sizes and counts", () => {
    deepStrictEqual([0, 59_999, 184_000, 7_500_000, 180_000_000].map(formatDuration), ["0s", "59s", "3m 4s", "2h 5m", "2d 2h"]);
    deepStrictEqual([12, 1234, 100e6].map(formatBytes), ["12 B", "1.23 kB", "100 MB"]);
    deepStrictEqual([7, 1200, 12_345, 999_999, 1_250_000].map(formatCount), ["7", "1.2k", "12.3k", "1M", "1.25M"]);
  });
});

describe("texts that agents choose", () => {
  it("run no commands and show no icons where VS Code reads markup", () => {
    const LINK = /\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)/;
    for (const trick of ["[OK](command:workbench.action.quit)", "a [b](https://example.com) c", "$(check) Allowed", "[[x](command:y)](file:///z)"]) {
      const text = plain(trick);
      ok(!LINK.test(text) && !text.includes("$("), text);
    }
    strictEqual(plain("a\u202eb\u200b\u001b[2J\nc"), "a�b��[2J\nc");
    strictEqual(plain("Fix [the] parser (again)"), "Fix [the] parser (again)");
  });

  it("are one line in a list, which leaves room for the state", () => {
    strictEqual(requestTitle(makePermissionRequest({ title: " rm -r build\nand more" })), "rm -r build");
    strictEqual(requestTitle(makePermissionRequest({})), "a tool");
    deepStrictEqual(["execute", "edit", "odd", undefined].map(actionText), ["run a command", "edit files", "use a tool", "use a tool"]);
    ok(shortened("x".repeat(500)).length < 50);
    strictEqual(shortened("short"), "short");
    ok(shortened("x".repeat(40), "view").length < 28);
    ok(shortened("😀".repeat(40), "view").isWellFormed());
  });
});

describe("permission rules", () => {
  const run = { provider: "codex", cwd: "/home/me/app" };
  const proposals = (toolCall: Record<string, unknown>) => ruleProposals(run, makePermissionRequest(toolCall));

  it("are proposed for exactly what is asked", () => {
    const allow = { decision: "allow", provider: "codex", toolKind: "execute" } as const;
    deepStrictEqual(proposals({ kind: "execute", rawInput: { command: "npm test" } }), [{ ...allow, command: "npm test", cwd: run.cwd }, { ...allow, command: "npm test" }]);
    deepStrictEqual(proposals({ kind: "execute", rawInput: { command: ["npm", "test"] } })[0], { ...allow, command: ["npm", "test"], cwd: run.cwd });
    const edit = { ...allow, toolKind: "edit" };
    deepStrictEqual(proposals({ kind: "edit", locations: [{ path: "/home/me/app/a" }], content: [{ type: "diff", path: "/home/me/app/a" }] }), [{ ...edit, path: "/home/me/app/a", cwd: run.cwd }, { ...edit, path: "/home/me/app/**", cwd: run.cwd }]);
  });

  it("are not proposed where they would allow more, or name nothing", () => {
    for (const toolCall of [{ rawInput: { command: "rm *" } }, { rawInput: { command: ["rm", "*"] } }, { rawInput: { command: {} } }, { rawInput: { command: [] } }, { title: "Search the web" }, { locations: [{ path: "relative" }] }, { locations: [{ path: "/a*" }] }]) deepStrictEqual(proposals(toolCall), [], JSON.stringify(toolCall));
    const outside = proposals({ kind: "edit", locations: [{ path: "/home/me/app/../.bashrc" }, { path: "/home/me/app/b" }] });
    deepStrictEqual(outside, []);
  });

  it("are told with all that they name", () => {
    strictEqual(ruleText({ decision: "deny", provider: "codex", toolKind: "execute", command: ["rm", "-r", "a b", "it's"], path: "/a", cwd: "/w" }), "Always deny codex to run a command: exactly “rm -r 'a b' 'it'\\''s'”: file /a, in runs in /w and below");
    strictEqual(ruleText({ decision: "allow", command: "ls" }), "Always allow any agent to use any tool: exactly “ls”, in runs in any folder");
    strictEqual(ruleText({ decision: "allow", toolKind: "weather", command: "npm *" }), "Always allow any agent to use tools of kind weather: like “npm *”, in runs in any folder");
    strictEqual(ruleText({ decision: "allow", provider: "claude", toolKind: "edit", path: "/w/**", cwd: "/w" }), "Always allow claude to edit files: all files in /w, in runs in /w and below");
  });

  it("of the settings are taken over only where they allow no more than before", () => {
    deepStrictEqual(ruleOfSettings({ answer: "deny", provider: "x", kind: "edit", command: "c", path: "/p", cwd: "/w" }), { decision: "deny", provider: "x", toolKind: "edit", command: "c", path: "/p", cwd: "/w" });
    for (const rule of [{ answer: "yes", command: "c" }, { answer: "allow", title: "t", command: "c" }, { answer: "allow", kind: "edit" }]) strictEqual(typeof ruleOfSettings(rule), "string", JSON.stringify(rule));
  });

  it("never answer with an option that allows more than this request", () => {
    const request = makePermissionRequest({});
    strictEqual(optionFor(request, "allow")?.optionId, "yes");
    strictEqual(optionFor(request, "deny")?.optionId, "no");
    strictEqual(optionFor({ options: request.options.filter(({ kind }) => kind === "allow_always") }, "allow"), undefined);
  });
});

describe("the output buffer", () => {
  it("returns all text in chunks while it is not full", () => {
    const buffer = new OutputBuffer();
    const text = "line\n".repeat(100_000);
    buffer.push(text);
    let whole = "";
    while (!buffer.empty) {
      const chunk = buffer.next();
      ok(chunk.length <= MAX_CHUNK_CHARS);
      whole += chunk;
    }
    strictEqual(whole, text);
  });

  it("keeps the end when it overflows, from the start of a line, and reports what it dropped", () => {
    const buffer = new OutputBuffer();
    let pushed = 0;
    for (let line = 0; pushed < 20 * MAX_BUFFERED_CHARS; line++) {
      const text = `${"x".repeat(1000)} ${line}\n`;
      buffer.push(text);
      pushed += text.length;
    }
    const first = buffer.next();
    ok(/skipped\. Use/.test(first));
    ok(/^x{1000} \d+\n/.test(first.slice(first.indexOf("\x1b[0m\r\n", 10) + 6)), "the next text starts at a line");
    let rest = first.length;
    while (!buffer.empty) rest += buffer.next().length;
    ok(rest <= MAX_BUFFERED_CHARS + 200, `${rest}`);
  });

  it("never splits a character", () => {
    const buffer = new OutputBuffer();
    buffer.push("😀".repeat(MAX_BUFFERED_CHARS));
    while (!buffer.empty) ok(buffer.next().isWellFormed());
  });

  it("converts to CR LF, also across two texts", () => {
    const newlines = new NewlineConverter();
    strictEqual(["a\nb\r", "\nc\r\n", "\nd"].map(text => newlines.convert(text)).join(""), "a\r\nb\r\nc\r\n\r\nd");
  });
});

describe("file locations in output", () => {
  const first = (text: string) => findFileLocations(text).map(({ path, line, column }) => [path, line, column])[0];
  it("are found in the formats of compilers and tests", () => {
    deepStrictEqual(first("  --> src/main.rs:12:5"), ["src/main.rs", 12, 5]);
    deepStrictEqual(first('  File "lib/a.py", line 3, in f'), ["lib/a.py", 3, undefined]);
    deepStrictEqual(first("src/x.ts(4,2): error TS1"), ["src/x.ts", 4, 2]);
    deepStrictEqual(first("at Object.<anonymous> (/w/app.js:10:3)"), ["/w/app.js", 10, 3]);
    deepStrictEqual(first("FAIL ./a-b.test.js"), ["./a-b.test.js", undefined, undefined]);
    deepStrictEqual(first("main.c:7: warning"), ["main.c", 7, undefined]);
  });
  it("have the exact range", () => {
    const text = "see src/main.rs:12:5.";
    const [place] = findFileLocations(text);
    strictEqual(text.slice(place!.start, place!.start + place!.length), "src/main.rs:12:5");
  });
  it("are not found in URLs and long lines", () => {
    deepStrictEqual(findFileLocations("https://example.com/a.html").filter(({ path }) => path.includes("example")), []);
    deepStrictEqual(findFileLocations("x".repeat(5000)), []);
  });
});

describe("the two sides of a change", () => {
  const file = (more: Partial<ChangedFile>): ChangedFile => ({ path: "/a", kind: "modify", ...more });
  it("shows a whole file against the disk", () => deepStrictEqual(diffSides(file({ oldText: "a", newText: "b" }), "b"), { before: "a", after: "b", current: true }));
  it("puts a replaced part back into the file", () => deepStrictEqual(diffSides(file({ oldText: "two", newText: "TWO" }), "one\nTWO\nthree"), { before: "one\ntwo\nthree", after: "one\nTWO\nthree", current: true }));
  it("shows the reported texts if the file has changed since", () => deepStrictEqual(diffSides(file({ oldText: "a", newText: "b" }), "c"), { before: "a", after: "b", current: false }));
  it("takes patches back", () => {
    const patch = "--- a\n+++ b\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n";
    deepStrictEqual(diffSides(file({ patch }), "one\nTWO\nthree\n"), { before: "one\ntwo\nthree\n", after: "one\nTWO\nthree\n", current: true });
    const stale = diffSides(file({ patch }), "nothing of it");
    ok(!stale.current && stale.before!.includes("two") && stale.after!.includes("TWO"));
  });
  it("knows new and deleted files", () => {
    deepStrictEqual(diffSides(file({ kind: "add", newText: "n" }), undefined), { before: undefined, after: "n", current: false });
    deepStrictEqual(diffSides(file({ kind: "delete", oldText: "o" }), undefined), { before: "o", after: undefined, current: false });
  });
});

describe("params of a start", () => {
  const defaults = { cwd: "/w", terminal: true, permissions: "ask" as const };
  it("converts a shell command line to an argv", () => {
    deepStrictEqual(argvOf("a | b", false), ["/bin/sh", "-c", "a | b"]);
    deepStrictEqual(argvOf(["a", "b c"]), ["a", "b c"]);
  });
  it("run commands in a pseudoterminal and keep agents open for follow-ups", () => {
    deepStrictEqual(startParams({ name: "n", provider: "command", command: ["x"], cwd: "sub" }, defaults), { provider: "command", attach: false, onDisconnect: "detach", cwd: "/w/sub", command: ["x"], tty: true });
    deepStrictEqual(startParams({ name: "n", provider: "codex", prompt: "p" }, defaults), { provider: "codex", attach: false, onDisconnect: "detach", cwd: "/w", prompt: "p", permissions: "ask", interactive: true });
    const chosen = (model?: string) => startParams({ name: "n", provider: "codex", prompt: "p", ...(model ? { model } : {}) }, { ...defaults, model: "usual" }).model;
    deepStrictEqual([chosen(), chosen("own")], ["usual", "own"]);
    strictEqual(startParams({ name: "n", provider: "command", command: ["x"] }, { ...defaults, model: "usual" }).model, undefined);
  });
  it("run a run again with its stored params", () => {
    const run = makeRun("1", "failed", { title: "t", params: { provider: "command", command: ["x"], tty: true, envNames: ["TOKEN"], clientToken: "c", resume: { runId: "0" } } });
    deepStrictEqual(rerunParams(run), { provider: "command", command: ["x"], tty: true, title: "t", attach: false, onDisconnect: "detach" });
    deepStrictEqual(missingEnvironment(run), ["TOKEN"]);
  });
});
