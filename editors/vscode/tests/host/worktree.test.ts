import { deepStrictEqual, match, ok, strictEqual } from "node:assert";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/main";
import { git } from "../../src/runs/worktrees";
import { cancelAll, closeAll, extension, final, folder, node, until } from "./extension";

const execute = (command: string, ...args: unknown[]) => vscode.commands.executeCommand(`loomd.${command}`, ...args);

describe("a run in a worktree", () => {
  let api: Api;
  before(async () => (api = await extension()));
  afterEach(async () => {
    await closeAll();
    await cancelAll(api);
  });

  it("has its branch in its row, and is merged and discarded by command", async () => {
    const repository = mkdtempSync(join(folder(), "repository-"));
    await git(repository, "init", "--quiet", "--initial-branch", "main");
    for (const [name, value] of [["user.name", "test"], ["user.email", "test@localhost"]] as const) await git(repository, "config", name, value);
    writeFileSync(join(repository, "a.txt"), "one\n");
    await git(repository, "add", "--all");
    await git(repository, "commit", "--quiet", "-m", "first");

    const started = (await execute("start", { name: "In a worktree", provider: "command", command: "echo two > a.txt", cwd: basename(repository), tty: false, worktree: true })) as { id: string };
    const run = await final(api, started.id);
    strictEqual(readFileSync(join(repository, "a.txt"), "utf8"), "one\n");
    const item = api.tree.getTreeItem(node(run.id));
    ok(String(item.description).endsWith(` · ${run.labels["branch"]}`));
    match(item.contextValue!, /\bworktree\b/);
    await execute("mergeWorktree", node(run.id), "sure");
    strictEqual(readFileSync(join(repository, "a.txt"), "utf8"), "two\n");
    strictEqual(await git(repository, "log", "-1", "--format=%s", `${run.labels["branch"]}`), "In a worktree");
    ok(existsSync(run.labels["worktree"]!));
    await execute("discardWorktree", node(run.id), "sure");
    await until("its labels are gone", () => Object.keys(api.runs.get(run.id)!.labels).length === 0);
    ok(!existsSync(run.labels["worktree"]!));
    deepStrictEqual(await git(repository, "branch", "--format=%(refname:short)"), "main");
  });
});
