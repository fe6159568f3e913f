// What the commands work on: the services and the views. `activate` in main.ts builds the only one.
import type { Services } from "./services";
import type { StartForm } from "./views/form";
import type { Outputs } from "./views/output";
import type { Transcripts } from "./views/transcript";
import type { RunsTree } from "./views/tree";

export interface App extends Services {
  tree: RunsTree;
  outputs: Outputs;
  form: StartForm;
  transcripts: Transcripts;
  /** IDs of the runs that this window started. */
  startedHere: Set<string>;
}
