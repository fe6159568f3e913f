// The messages between the extension and the page of the form *New Run…*, and what the user enters in it.
import type { PermissionMode } from "../protocol";
import type { Attachment } from "./context";

/** What a run is started with. */
export interface FormInput {
  provider: string;
  /** The prompt, or the command line. */
  text: string;
  /** Empty: the agent's default. */
  model: string;
  permissions: PermissionMode;
  /** A workspace folder. */
  cwd: string;
  /** The name of the template that it began with. */
  template: string;
  /** Whether it runs in a new git worktree. */
  worktree: boolean;
  /** What goes with the prompt. */
  context: Attachment[];
}

export interface FormProvider {
  id: string;
  title: string;
  isAgent: boolean;
  model: string;
}

export interface FormChoices {
  providers: FormProvider[];
  folders: { name: string; path: string }[];
  templates: (Partial<FormInput> & { name: string })[];
  permissionModes: [PermissionMode, string][];
  /** What was entered before, the last one at the end. */
  history: string[];
  initial: FormInput;
}

export type ToForm =
  | { kind: "choices"; choices: FormChoices }
  | { kind: "models"; provider: string; models: { id: string; name: string }[] }
  | { kind: "found"; query: string; found: Attachment[] }
  | { kind: "failed"; message: string };

export type FromForm = { kind: "ready" } | { kind: "models"; provider: string; cwd: string } | { kind: "find"; query: string } | { kind: "start"; input: FormInput };
