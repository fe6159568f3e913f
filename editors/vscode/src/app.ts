// What the commands work on: the services and the views. `activate` in main.ts builds the only one.
import type { Worktrees } from "./runs/worktrees";
import type { Services } from "./services";
import type { StartForm } from "./views/form";
import type { Outputs } from "./views/output";
import type { Transcripts } from "./views/transcript";
import type { RunsTree } from "./views/tree";
import type { Unread } from "./views/unread";

export interface App extends Services {
  tree: RunsTree;
  outputs: Outputs;
  form: StartForm;
  transcripts: Transcripts;
  unread: Unread;
  worktrees: Worktrees;
  /** IDs of the runs that this window started. */
  startedHere: Set<string>;
}
