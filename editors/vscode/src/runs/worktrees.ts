// Runs in a git worktree of their own, on a branch of their own. The branch is merged, or removed with its worktree, only by
// a command and after a question that says what it does.
//
// The labels of the run name both, for the lists. A run can be started with any labels, also by an agent, so git only works
// with what was recorded here.
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Run, StartParams } from "../protocol";
import { Failure } from "../server/failure";
import { hostOf } from "../server/run-ids";
import { commandLine, isFinal, promptText } from "./run";

export interface Worktree {
  branch: string;
  folder: string;
  /** The folder from which it was made. */
  repository: string;
}

export interface WorktreeState {
  /** Commits that what is checked out in the repository does not have. */
  commits: number;
  /** Files that are not committed. */
  changes: number;
  /** What is checked out in the repository. */
  target: string;
}

/** Where records are kept: VS Code's state of the extension, over all workspaces. */
interface Records {
  get<T>(key: string, otherwise: T): T;
  update(key: string, value: unknown): PromiseLike<void>;
}

const RECORDS_KEY = "loomd.worktrees";
/** What all branches are below. */
const BRANCHES = "loomd";
const MAX_NAME_CHARS = 30;
const MAX_OUTPUT_BYTES = 64 << 20;

/** Runs git, without a shell, and returns its output without the last line end. */
export function git(folder: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: "0", GIT_EDITOR: "true" };
    execFile("git", ["-c", "core.fsmonitor=false", "-C", folder, ...args], { env, maxBuffer: MAX_OUTPUT_BYTES }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout.replace(/\n$/, ""));
      reject(new Failure("internal", `git ${args[0]}: ${stderr.trim() || stdout.trim() || error.message}`));
    });
  });
}

export class Worktrees {
  /** `folder`: where worktrees are made. */
  constructor(
    private readonly folder: string,
    private readonly records: Records,
  ) {}

  /**
   * Makes a worktree of the repository that the run's folder is in, on a new branch from what is checked out there.
   * Returns the params of the run that works in it.
   */
  async add(params: StartParams, now = new Date()): Promise<{ worktree: Worktree; params: StartParams }> {
    if (params.cwd == null) throw new Failure("internal", "A worktree needs a folder. Open one first.");
    const repository = await git(params.cwd, "rev-parse", "--show-toplevel");
    const [prefix, head] = [await git(params.cwd, "rev-parse", "--show-prefix"), await git(params.cwd, "rev-parse", "HEAD")];
    const name = nameOfRun(params, now);
    const worktree: Worktree = { branch: `${BRANCHES}/${name}`, folder: join(this.folder, basename(repository), name), repository };
    await mkdir(dirname(worktree.folder), { recursive: true, mode: 0o700 });
    await git(repository, "worktree", "add", "-b", worktree.branch, worktree.folder, head);
    await this.record(worktree.folder, worktree);
    const labels = { ...params.labels, branch: worktree.branch, worktree: worktree.folder };
    return { worktree, params: { ...params, cwd: join(worktree.folder, prefix.replace(/\/$/, "")), labels } };
  }

  /** Starts a run in a new worktree. One whose run cannot be started goes again: nobody has worked in it. */
  async start<T>(params: StartParams, start: (params: StartParams) => Promise<T>): Promise<T> {
    const made = await this.add(params);
    let started: T | undefined;
    try {
      return (started = await start(made.params));
    } finally {
      if (started === undefined) await this.remove(made.worktree);
    }
  }

  /** The worktree of a run, if it was made here. */
  of({ id, labels }: Run): Worktree | undefined {
    return labels["worktree"] === undefined || hostOf(id) !== undefined ? undefined : this.all()[labels["worktree"]];
  }

  /** An active run that works in the worktree: a resumed one works in that of the first. */
  static userOf({ folder }: Worktree, runs: Iterable<Run>, mayBeIdle: boolean): Run | undefined {
    return [...runs].find(run => run.labels["worktree"] === folder && !isFinal(run) && !(mayBeIdle && run.state === "idle"));
  }

  async state({ folder, repository, branch }: Worktree): Promise<WorktreeState> {
    const status = await git(folder, "status", "--porcelain");
    const commits = Number(await git(repository, "rev-list", "--count", `HEAD..${branch}`));
    return { commits, changes: status === "" ? 0 : status.split("\n").length, target: await git(repository, "rev-parse", "--abbrev-ref", "HEAD") };
  }

  /** Commits what is not committed, with this message, and merges the branch. A merge that stops at conflicts is taken back. */
  async merge({ folder, repository, branch }: Worktree, changes: number, message: string): Promise<void> {
    if (await git(repository, "rev-parse", "--quiet", "--verify", "MERGE_HEAD").then(() => true, () => false)) throw new Failure("internal", `Not merged: another merge is not finished in ${repository}.`);
    if (changes > 0) {
      await git(folder, "add", "--all");
      await git(folder, "commit", "--quiet", "-m", message);
    }
    try {
      await git(repository, "merge", "--no-ff", "--no-edit", branch);
    } catch (error) {
      // One that did not begin has nothing to take back.
      const isBack = await git(repository, "merge", "--abort").then(() => true, () => false);
      throw new Failure("internal", `Not merged${isBack ? ", and everything is as before" : ""}: ${Failure.from(error).message}`);
    }
  }

  /** Removes the worktree with its branch, whatever is in it. */
  async remove({ folder, repository, branch }: Worktree): Promise<void> {
    await git(repository, "worktree", "remove", "--force", folder);
    await git(repository, "branch", "-D", branch);
    await this.record(folder, undefined);
  }

  private all(): Record<string, Worktree> {
    return this.records.get<Record<string, Worktree>>(RECORDS_KEY, {});
  }

  private async record(folder: string, worktree: Worktree | undefined): Promise<void> {
    const { [folder]: _, ...others } = this.all();
    await this.records.update(RECORDS_KEY, worktree ? { ...others, [folder]: worktree } : others);
  }
}

/** A name for branch and folder, from what the run does and the time. */
function nameOfRun({ prompt, title, command }: StartParams, now: Date): string {
  const text = promptText(prompt) || title || commandLine(command ?? []);
  const slug = text.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, MAX_NAME_CHARS).replace(/^-+|-+$/g, "");
  const two = (part: number) => String(part).padStart(2, "0");
  return `${slug || "run"}-${two(now.getMonth() + 1)}${two(now.getDate())}-${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("")}`;
}
