import { deepStrictEqual, ok, strictEqual } from "node:assert";
import type { ChangedFile } from "../../src/protocol";
import { sidesOf } from "../../src/runs/changed";
import { KEPT_IN_SIGHT, order } from "../../src/runs/order";
import { KEPT, Newlines, Pace, PORTION } from "../../src/runs/pace";
import { placesIn } from "../../src/runs/places";
import { matches, optionFor, proposals, ruleFor, subjectOf, type Rule } from "../../src/runs/rules";
import { againParams, argvOf, lostEnvironment, startParams } from "../../src/runs/start";
import { commandLine, duration, iconOf, nameOf, sizeOf, stateWords } from "../../src/runs/words";
import { aQuestion, aRun } from "../lib/runs";

describe("the order of runs", () => {
  it("puts who waits first, then what runs, then what ended here, then everything earlier", () => {
    const question = aQuestion({ title: "t" });
    const runs = [
      aRun("1", "succeeded", { endedAt: 50 }),
      aRun("2", "running"),
      aRun("3", "failed", { endedAt: 150 }),
      aRun("4", "awaitingPermission", { permissions: [{ ...question, at: 20 }] }),
      aRun("5", "awaitingPermission", { permissions: [{ ...question, at: 10 }] }),
      aRun("6", "idle"),
    ];
    const { waiting, live, ended, earlier } = order(runs, 100);
    deepStrictEqual([waiting, live, ended, earlier].map(group => group.map(run => run.id)), [["5", "4"], ["6", "2"], ["3"], ["1"]]);
  });

  it("keeps only the newest of what ended in sight", () => {
    const runs = Array.from({ length: KEPT_IN_SIGHT + 3 }, (_, at) => aRun(`r${at}`, "succeeded", { endedAt: 100 + at }));
    const { ended, earlier } = order(runs, 0);
    strictEqual(ended.length, KEPT_IN_SIGHT);
    strictEqual(ended[0]!.id, `r${KEPT_IN_SIGHT + 2}`);
    strictEqual(earlier.length, 3);
  });
});

describe("words about runs", () => {
  it("has words and an icon for every state", () => {
    for (const state of ["starting", "running", "awaitingPermission", "idle", "succeeded", "failed", "cancelled", "timedOut", "lost"] as const) {
      ok(stateWords(aRun("1", state)).length > 3);
      ok(iconOf(aRun("1", state)).icon);
    }
    strictEqual(stateWords(aRun("1", "failed", { exitCode: 2 })), "failed with exit code 2");
    strictEqual(stateWords(aRun("1", "failed", { signal: "SIGSEGV" })), "killed by SIGSEGV");
    strictEqual(stateWords(aRun("1", "cancelled", { takenOverAt: 5 })), "taken over");
  });

  it("names a run by its title, its prompt, its command", () => {
    strictEqual(nameOf(aRun("1", "running", { title: "Tests", params: { prompt: "x" } })), "Tests");
    strictEqual(nameOf(aRun("1", "running", { params: { prompt: [{ type: "text", text: "fix it\nplease" }] } })), "fix it");
    strictEqual(nameOf(aRun("1", "running", { command: ["/bin/sh", "-c", "make all"] })), "make all");
    strictEqual(commandLine(["cargo", "test"]), "cargo test");
  });

  it("says times and sizes briefly", () => {
    deepStrictEqual([0, 59_999, 184_000, 7_500_000, 180_000_000].map(duration), ["0 s", "59 s", "3 min 4 s", "2 h 5 min", "2 d 2 h"]);
    deepStrictEqual([12, 1234, 100e6].map(sizeOf), ["12 B", "1.23 kB", "100 MB"]);
  });
});

describe("rules", () => {
  const subject = subjectOf({ provider: "codex", cwd: "/home/me/app" }, aQuestion({ kind: "execute", title: "Run tests", rawInput: { command: ["npm", "test"] } }));
  const edit = subjectOf({ provider: "codex", cwd: "/home/me/app" }, aQuestion({ kind: "edit", title: "Edit", locations: [{ path: "/home/me/app/a.ts" }], content: [{ type: "diff", path: "/home/me/app/b.ts", newText: "" }] }));
  const yes = (rule: Omit<Rule, "answer">, about = subject) => matches({ answer: "allow", ...rule }, about);

  it("reads a question whole: command and all files", () => {
    strictEqual(subject.command, "npm test");
    deepStrictEqual(edit.paths, ["/home/me/app/a.ts", "/home/me/app/b.ts"]);
  });

  it("needs everything that it names to match", () => {
    ok(yes({ command: "npm test" }));
    ok(yes({ command: "npm *", cwd: "/home/me", provider: "codex", kind: "execute" }));
    ok(!yes({ command: "npm test", cwd: "/home/me/ap" }));
    ok(!yes({ command: "npm test", provider: "claude" }));
    ok(!yes({ command: "npm" }));
    ok(!yes({ path: "/home/me/**" }));
  });

  it("says nothing where it names nothing", () => {
    ok(!yes({}));
    ok(!yes({ provider: "codex", cwd: "/home/me/app" }));
    ok(!matches({ command: "npm test" } as Rule, subject));
  });

  it("never lets a star stand for another command", () => {
    for (const trick of ["npm test; rm -rf /", "npm test && evil", "npm $(evil)", "npm `evil`", "npm test > /etc/passwd", "npm test\nevil", "npm test | sh"]) ok(!yes({ command: "npm *" }, { ...subject, command: trick }), trick);
  });

  it("wants every file to match, and no way upward", () => {
    ok(yes({ path: "/home/me/app/**" }, edit));
    ok(yes({ path: "/home/me/app/*" }, edit));
    ok(!yes({ path: "/home/me/app/a.ts" }, edit));
    ok(!yes({ path: "/home/me/*" }, edit));
    ok(!yes({ path: "/home/me/app/**" }, { ...edit, paths: ["/home/me/app/../../etc/passwd"] }));
    ok(!yes({ path: "/home/me/app/**" }, { ...edit, paths: [] }));
  });

  it("proposes rules that match the question they come from", () => {
    for (const about of [subject, edit, subjectOf({ provider: "x", cwd: "/w" }, aQuestion({ title: "Search the web", kind: "fetch" }))]) {
      const offers = proposals(about);
      ok(offers.length > 0);
      for (const { rule } of offers) ok(matches(rule, about), JSON.stringify(rule));
    }
    const starred = subjectOf({ provider: "x", cwd: "/w" }, aQuestion({ kind: "execute", rawInput: { command: "rm *" } }));
    // Taken as it is, its star would allow more than was asked.
    ok(proposals(starred).every(({ rule }) => rule.cwd === "/w"));
  });

  it("takes the first rule that speaks", () => {
    const rules: Rule[] = [{ answer: "deny", command: "npm publish*" }, { answer: "allow", command: "npm *" }];
    strictEqual(ruleFor(rules, subject)?.answer, "allow");
    strictEqual(ruleFor(rules, { ...subject, command: "npm publish" })?.answer, "deny");
  });

  it("answers yes for this once only", () => {
    const question = aQuestion({});
    strictEqual(optionFor(question, "allow")?.optionId, "yes");
    strictEqual(optionFor(question, "deny")?.optionId, "no");
    strictEqual(optionFor({ ...question, options: question.options.filter(({ kind }) => kind === "allow_always") }, "allow"), undefined);
  });
});

describe("the pace of output", () => {
  it("hands out everything in portions while little waits", () => {
    const pace = new Pace();
    const text = "line\n".repeat(100_000);
    pace.push(text);
    let whole = "";
    while (!pace.empty) {
      const portion = pace.take();
      ok(portion.length <= PORTION);
      whole += portion;
    }
    strictEqual(whole, text);
  });

  it("keeps the end of a flood, from the beginning of a line, and says what it left out", () => {
    const pace = new Pace();
    let pushed = 0;
    for (let line = 0; pushed < 20 * KEPT; line++) {
      const text = `${"x".repeat(1000)} ${line}\n`;
      pace.push(text);
      pushed += text.length;
    }
    const first = pace.take();
    ok(/not shown here/.test(first));
    ok(/^x{1000} \d+\n/.test(first.slice(first.indexOf("\x1b[0m\r\n", 10) + 6)), "a whole line comes next");
    let rest = first.length;
    while (!pace.empty) rest += pace.take().length;
    ok(rest <= KEPT + 200, `${rest}`);
  });

  it("never cuts a character in two", () => {
    const pace = new Pace();
    pace.push("😀".repeat(KEPT));
    while (!pace.empty) ok(pace.take().isWellFormed());
  });

  it("gives a terminal CR LF, also where the two come apart", () => {
    const newlines = new Newlines();
    strictEqual(["a\nb\r", "\nc\r\n", "\nd"].map(text => newlines.convert(text)).join(""), "a\r\nb\r\nc\r\n\r\nd");
  });
});

describe("places in output", () => {
  const first = (text: string) => placesIn(text).map(({ path, line, column }) => [path, line, column])[0];
  it("reads the forms that compilers and tests print", () => {
    deepStrictEqual(first("  --> src/main.rs:12:5"), ["src/main.rs", 12, 5]);
    deepStrictEqual(first('  File "lib/a.py", line 3, in f'), ["lib/a.py", 3, undefined]);
    deepStrictEqual(first("src/x.ts(4,2): error TS1"), ["src/x.ts", 4, 2]);
    deepStrictEqual(first("at Object.<anonymous> (/w/app.js:10:3)"), ["/w/app.js", 10, 3]);
    deepStrictEqual(first("FAIL ./a-b.test.js"), ["./a-b.test.js", undefined, undefined]);
    deepStrictEqual(first("main.c:7: warning"), ["main.c", 7, undefined]);
  });
  it("marks exactly the place", () => {
    const text = "see src/main.rs:12:5.";
    const [place] = placesIn(text);
    strictEqual(text.slice(place!.start, place!.start + place!.length), "src/main.rs:12:5");
  });
  it("leaves addresses and long lines alone", () => {
    deepStrictEqual(placesIn("https://example.com/a.html").filter(({ path }) => path.includes("example")), []);
    deepStrictEqual(placesIn("x".repeat(5000)), []);
  });
});

describe("the two sides of a change", () => {
  const file = (more: Partial<ChangedFile>): ChangedFile => ({ path: "/a", kind: "modify", ...more });
  it("shows a whole file against the disk", () => deepStrictEqual(sidesOf(file({ oldText: "a", newText: "b" }), "b"), { before: "a", after: "b", current: true }));
  it("puts a replaced part back into the file", () => deepStrictEqual(sidesOf(file({ oldText: "two", newText: "TWO" }), "one\nTWO\nthree"), { before: "one\ntwo\nthree", after: "one\nTWO\nthree", current: true }));
  it("shows what was told where the file has moved on", () => deepStrictEqual(sidesOf(file({ oldText: "a", newText: "b" }), "c"), { before: "a", after: "b", current: false }));
  it("takes patches back", () => {
    const patch = "--- a\n+++ b\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n";
    deepStrictEqual(sidesOf(file({ patch }), "one\nTWO\nthree\n"), { before: "one\ntwo\nthree\n", after: "one\nTWO\nthree\n", current: true });
    const stale = sidesOf(file({ patch }), "nothing of it");
    ok(!stale.current && stale.before!.includes("two") && stale.after!.includes("TWO"));
  });
  it("knows new and deleted files", () => {
    deepStrictEqual(sidesOf(file({ kind: "add", newText: "n" }), undefined), { before: undefined, after: "n", current: false });
    deepStrictEqual(sidesOf(file({ kind: "delete", oldText: "o" }), undefined), { before: "o", after: undefined, current: false });
  });
});

describe("params of a start", () => {
  const around = { cwd: "/w", terminal: true, permissions: "ask" as const };
  it("makes a shell's line into an argv", () => {
    deepStrictEqual(argvOf("a | b", false), ["/bin/sh", "-c", "a | b"]);
    deepStrictEqual(argvOf(["a", "b c"]), ["a", "b c"]);
  });
  it("starts commands with a terminal and agents to talk with", () => {
    deepStrictEqual(startParams({ name: "n", provider: "command", command: ["x"], cwd: "sub" }, around), { provider: "command", attach: false, onDisconnect: "detach", cwd: "/w/sub", command: ["x"], tty: true });
    deepStrictEqual(startParams({ name: "n", provider: "codex", prompt: "p" }, around), { provider: "codex", attach: false, onDisconnect: "detach", cwd: "/w", prompt: "p", permissions: "ask", interactive: true });
    const chosen = (model?: string) => startParams({ name: "n", provider: "codex", prompt: "p", ...(model ? { model } : {}) }, { ...around, model: "usual" }).model;
    deepStrictEqual([chosen(), chosen("own")], ["usual", "own"]);
    strictEqual(startParams({ name: "n", provider: "command", command: ["x"] }, { ...around, model: "usual" }).model, undefined);
  });
  it("starts a run again with what was kept", () => {
    const run = aRun("1", "failed", { title: "t", params: { provider: "command", command: ["x"], tty: true, envNames: ["TOKEN"], clientToken: "c", resume: { runId: "0" } } });
    deepStrictEqual(againParams(run), { provider: "command", command: ["x"], tty: true, title: "t", attach: false, onDisconnect: "detach" });
    deepStrictEqual(lostEnvironment(run), ["TOKEN"]);
  });
});
