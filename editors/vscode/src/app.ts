// What the commands work on: the base, and the views above it. It is put together in main.ts and nowhere else.
import type { Base } from "./base";
import type { Outputs } from "./views/output";
import type { Transcripts } from "./views/transcript";
import type { RunsTree } from "./views/tree";

export interface App extends Base {
  tree: RunsTree;
  outputs: Outputs;
  transcripts: Transcripts;
  /** Ids of the runs that this window started. */
  mine: Set<string>;
}
