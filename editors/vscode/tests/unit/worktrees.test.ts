import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { git, Worktrees } from "../../src/runs/worktrees";
import type { StartParams } from "../../src/protocol";
import { makeRun } from "../lib/runs";

describe("worktrees of runs", () => {
  let root: string, repository: string, worktrees: Worktrees;
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "loomd-worktree-"));
    repository = join(root, "app");
    mkdirSync(join(repository, "sub"), { recursive: true });
    writeFileSync(join(repository, "sub/notes.txt"), "one\n");
    await git(repository, "init", "--quiet", "--initial-branch", "main");
    for (const [name, value] of [["user.name", "test"], ["user.email", "test@localhost"]] as const) await git(repository, "config", name, value);
    await git(repository, "add", "--all");
    await git(repository, "commit", "--quiet", "-m", "first");
    const records = new Map<string, unknown>();
    worktrees = new Worktrees(join(root, "worktrees"), { get: <T>(key: string, otherwise: T) => (records.get(key) as T) ?? otherwise, update: async (key, value) => void records.set(key, value) });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const params = (more: Partial<StartParams> = {}): StartParams => ({ provider: "command", command: ["true"], cwd: join(repository, "sub"), ...more });
  const add = () => worktrees.add(params({ prompt: "Fix the parser; now!", labels: { mine: "kept" } }), new Date(2026, 0, 2, 3, 4, 5));

  it("are made from what is checked out, with the folder of the run, and named in its labels", async () => {
    writeFileSync(join(repository, "sub/notes.txt"), "not committed\n");
    const { worktree, params: inside } = await add();
    strictEqual(worktree.branch, "loomd/fix-the-parser-now-0102-030405");
    deepStrictEqual(inside.labels, { mine: "kept", branch: worktree.branch, worktree: worktree.folder });
    strictEqual(inside.cwd, join(root, "worktrees/app/fix-the-parser-now-0102-030405/sub"));
    strictEqual(readFileSync(join(inside.cwd!, "notes.txt"), "utf8"), "one\n");
    deepStrictEqual(worktrees.of(makeRun("1", "running", { labels: inside.labels! })), worktree);
  });

  it("are known only if they were made here, whatever the labels of a run are", () => {
    strictEqual(worktrees.of(makeRun("1", "succeeded", { labels: { worktree: repository, branch: "main", repository } })), undefined);
  });

  it("are in use while a run works in them, also a resumed one", async () => {
    const { worktree } = await add();
    const labels = { worktree: worktree.folder };
    const of = (state: "running" | "idle" | "succeeded", mayBeIdle: boolean) => Worktrees.userOf(worktree, [makeRun("1", state, { labels }), makeRun("2", "running")], mayBeIdle)?.id;
    deepStrictEqual([of("running", true), of("idle", true), of("idle", false), of("succeeded", false)], ["1", undefined, "1", undefined]);
  });

  it("are merged with what was not committed, and stay until they are removed", async () => {
    const { worktree, params: inside } = await add();
    writeFileSync(join(inside.cwd!, "new.txt"), "new\n");
    writeFileSync(join(inside.cwd!, "notes.txt"), "two\n");
    deepStrictEqual(await worktrees.state(worktree), { commits: 0, changes: 2, target: "main" });
    await worktrees.merge(worktree, 2, "what it did");
    strictEqual(readFileSync(join(repository, "sub/notes.txt"), "utf8"), "two\n");
    strictEqual(await git(worktree.folder, "log", "-1", "--format=%s"), "what it did");
    deepStrictEqual(await worktrees.state(worktree), { commits: 0, changes: 0, target: "main" });
    await worktrees.remove(worktree);
    ok(!existsSync(worktree.folder));
    strictEqual(await git(repository, "branch", "--format=%(refname:short)"), "main");
    strictEqual(worktrees.of(makeRun("1", "succeeded", { labels: inside.labels! })), undefined);
  });

  it("whose merge has conflicts leave everything as it was", async () => {
    const { worktree, params: inside } = await add();
    writeFileSync(join(inside.cwd!, "notes.txt"), "theirs\n");
    writeFileSync(join(repository, "sub/notes.txt"), "mine\n");
    await git(repository, "commit", "--quiet", "-am", "mine");
    const before = await git(repository, "rev-parse", "HEAD");
    await rejects(worktrees.merge(worktree, 1, "theirs"), /^Error: Not merged, and everything is as before: git merge: .*CONFLICT/s);
    deepStrictEqual([await git(repository, "rev-parse", "HEAD"), await git(repository, "status", "--porcelain")], [before, ""]);
    strictEqual((await worktrees.state(worktree)).commits, 1);
  });

  it("go again if the run cannot be started, and none is made outside of a repository", async () => {
    await rejects(worktrees.start(params(), () => Promise.reject(new Error("no such program"))), /no such program/);
    deepStrictEqual([await git(repository, "branch", "--format=%(refname:short)"), (await git(repository, "worktree", "list")).split("\n").length], ["main", 1]);
    await rejects(worktrees.add(params({ cwd: root })), /git rev-parse: .*not a git repository/);
  });

  it("take words of git's options as names", async () => {
    const { worktree } = await worktrees.add(params({ prompt: "--force; rm -rf $HOME" }));
    ok(/^loomd\/force-rm-rf-home-\d{4}-\d{6}$/.test(worktree.branch));
  });
});
