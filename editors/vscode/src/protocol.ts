// The protocol's types. Made from docs/protocol.schema.json by `npm run protocol`; not for editing.

/** The version of the protocol that these types describe. */
export const PROTOCOL_VERSION = 1;

/** What can be asked of the server. */
export interface Methods {
  /** Opens the conversation; nothing else is answered before it. If the answer names another `protocolVersion` than the client's, the client leaves. Broadcasts about runs begin with the answer. */
  "initialize": { params: InitializeParams; result: InitializeResult };
  /** Ends the conversation. The answer comes when every entry of every finished run is durable; live runs go on. Only the notification `exit` may follow. */
  "shutdown": { params: Empty; result: null };
  /** Starts a program. The answer comes once it has been spawned and its record is durable, and before any notification about the run. A program that cannot be started leaves no run behind. The starter is attached from the first entry, unless `attach` says otherwise. */
  "run/start": { params: StartParams; result: RunResult };
  /** For an agent: a prompt, for a turn of its own (`queue`, also for a run that is not interactive) or into the running turn (`steer`; as `queue` where none runs or the provider cannot). For `command` the text goes to the stdin of an interactive run as it is; nothing is added, no line feed either. */
  "run/send": { params: SendParams; result: Empty };
  /** No more input. An agent's run ends when its turn and its queue have; a command's stdin is closed, or gets the end-of-file character where it is a terminal. */
  "run/closeInput": { params: RunIdParams; result: Empty };
  /** Stops an agent's turn and settles its open questions; session and queue stay. Answered when the turn has ended, at once if none runs. A command's process group gets SIGINT, as from a terminal's Ctrl-C; answered once the program has ended by it, or after a second if it goes on. A run that is not interactive then ends `cancelled`, an agent's after what is still queued. */
  "run/interrupt": { params: RunIdParams; result: Empty };
  /** Ends a run: SIGTERM first, and after the grace SIGKILL for the whole tree of processes. The answer comes when the run is final and nothing of its tree is left. A run that has ended is simply answered. */
  "run/cancel": { params: CancelParams; result: RunResult };
  /** Answers a permission request of an agent. The first answer counts. A `command` never asks: `unsupported`. */
  "run/answer": { params: AnswerParams; result: Empty };
  /** Sets an agent's model or permissions from its next turn on. A `command` has neither: `unsupported`. */
  "run/configure": { params: ConfigureParams; result: RunResult };
  /** Hands over what opens an agent's session in a terminal. A `command` has no session: `unsupported`. */
  "run/takeover": { params: TakeoverParams; result: TakeoverResult };
  /** One run, as it is now. After a final `run/state` the two agree. */
  "run/get": { params: RunIdParams; result: RunResult };
  /** Runs of this store, newest first, whichever server started them. All filters that are given must hold. */
  "run/list": { params: ListParams; result: ListResult };
  /** Changes what people say about a run. Members that are absent stay as they are. */
  "run/edit": { params: EditParams; result: RunResult };
  /** A page of the log: forward from `afterSeq`, or backward from `beforeSeq`. */
  "run/read": { params: ReadParams; result: ReadResult };
  /** A page of output as text: from a byte onward, or the last lines. */
  "run/text": { params: TextParams; result: TextResult };
  /** Finds lines in the output of all runs or of one, live ones too. Answers within a second with what it has; `nextCursor` goes on from there. See [Searching](#searching). */
  "run/search": { params: SearchParams; result: SearchResult };
  /** A run as a file that can be read without loomd, live runs as they are now. Without `path` the content is answered, up to 32 MiB (`limit`); with it, a run of any size is written. What is wrong with the path is `invalidParams` and leaves no file. */
  "run/export": { params: ExportParams; result: ExportResult };
  /** The files that an agent changed, from what it said of its tool calls. */
  "run/changes": { params: RunIdParams; result: ChangesResult };
  /** Follows a run: every entry after `afterSeq`, stored and live, comes as a notification, without a gap and without a repeat. Attaching again moves the cursor. An `afterSeq` beyond the end of the log is `invalidParams`. */
  "run/attach": { params: AttachParams; result: RunResult };
  /** Stops following. A run that this connection does not follow is simply answered. */
  "run/detach": { params: RunIdParams; result: Empty };
  /** Answers once everything up to `seq` would survive a power cut. */
  "run/sync": { params: SyncParams; result: SyncResult };
  /** Removes a run and everything that was kept of it. A run that has not ended answers `runActive`. */
  "run/delete": { params: RunIdParams; result: DeleteResult };
  /** What this server can run, with versions where the provider tells one. */
  "provider/list": { params: Empty; result: ProvidersResult };
  /** The models and modes that a provider offers, as far as it tells. Starts its program for a moment. */
  "provider/options": { params: OptionsParams; result: OptionsResult };
  /** A provider's own sessions, also those made outside of loomd, where it tells of them. */
  "session/list": { params: SessionsParams; result: SessionsResult };
  /** How much the store holds and what it saved. */
  "store/stats": { params: Empty; result: StatsResult };
  /** Removes ended runs by age, number and size, and gives the room back if that is worth it and nobody else is at work. */
  "store/prune": { params: PruneParams; result: PruneResult };
}

/** What the server says unasked. */
export interface Notifications {
  /** The program wrote something. For attached connections. */
  "run/output": OutputEntry;
  /** The provider's session became known, or more of it. For attached connections and all who watch. */
  "run/session": SessionEntry;
  /** What an agent's output means. For attached connections. A `command` has none. */
  "run/update": UpdateEntry;
  /** An agent asks for a decision, or a question was settled. For attached connections and all who watch. */
  "run/permission": PermissionEntry;
  /** The run changed its state. For attached connections and all who watch. A final one is the last entry of the log and comes after the last byte of output. */
  "run/state": StateEntry;
  /** A run is new, was edited, or has trouble with its storage. For all who watch. Not an entry of the log. */
  "run/changed": RunResult;
  /** Runs are gone. For all who watch. Not an entry of the log. */
  "run/deleted": DeletedParams;
}

/** The code of each kind of failure. */
export const FAILURES = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  notInitialized: -32002,
  cancelled: -32800,
  runNotFound: -32001,
  providerNotFound: -32010,
  spawnFailed: -32011,
  runActive: -32012,
  runNotActive: -32012,
  unsupported: -32013,
  store: -32014,
  limit: -32015,
  sessionBusy: -32016,
  permissionNotFound: -32017,
  permissionResolved: -32017,
  config: -32018,
} as const;

/**
 * What the starter is attached to.
 */
export type AttachChoice =
  | boolean
  | []
  | {
      /**
       * Chooses among `output` and `update`; the others always come.
       */
      kinds?: Kind[] | null;
    };
/**
 * What happened to a file.
 */
export type ChangeKind = "add" | "modify" | "delete" | "move";
/**
 * One numbered entry of a run's log. `seq` counts 1, 2, 3 … over all kinds.
 */
export type Entry =
  | (OutputEntry & {
      kind: "output";
    })
  | (SessionEntry & {
      kind: "session";
    })
  | (UpdateEntry & {
      kind: "update";
    })
  | (PermissionEntry & {
      kind: "permission";
    })
  | (StateEntry & {
      kind: "state";
    });
/**
 * What a run is exported as.
 */
export type ExportFormat = "text" | "jsonl" | "markdown" | "html" | "asciicast";
/**
 * `data.kind` of an error answer. Each belongs to one code.
 */
export type FailureKind =
  | "parse"
  | "invalidRequest"
  | "methodNotFound"
  | "invalidParams"
  | "internal"
  | "notInitialized"
  | "cancelled"
  | "runNotFound"
  | "providerNotFound"
  | "spawnFailed"
  | "runActive"
  | "runNotActive"
  | "unsupported"
  | "store"
  | "limit"
  | "sessionBusy"
  | "permissionNotFound"
  | "permissionResolved"
  | "config";
/**
 * The kinds of entries, as `kinds` filters name them.
 */
export type Kind = "output" | "session" | "update" | "permission" | "state";
/**
 * What becomes of a run that nobody follows any more.
 */
export type OnDisconnect = "detach" | "cancel";
/**
 * A provider asks for a decision, or a question was settled.
 */
export type PermissionEntry = PermissionEntry1 & PermissionEntry2;
export type PermissionEntry1 =
  | {
      status: "requested";
      /**
       * An ACP `ToolCallUpdate`, complete.
       */
      toolCall: {
        [k: string]: unknown;
      };
      /**
       * The answers to choose from.
       */
      options: PermissionOption[];
    }
  | {
      status: "resolved";
      /**
       * The option that was chosen.
       */
      optionId?: string | null;
      /**
       * Nobody chose; nothing was allowed.
       */
      cancelled?: boolean | null;
      /**
       * What was said beside the choice.
       */
      message?: string | null;
      /**
       * Who settled it.
       */
      by: ResolvedBy;
    };
/**
 * Who decides what an agent may do.
 */
export type PermissionMode = "ask" | "acceptEdits" | "readOnly" | "bypass";
/**
 * Text, or ACP content blocks.
 */
export type Prompt =
  | string
  | {
      [k: string]: unknown;
    }[];
/**
 * Who settled a question.
 */
export type ResolvedBy = "client" | "policy" | "provider";
/**
 * Which session to go on with.
 */
export type Resume =
  | {
      /**
       * The session of this earlier run.
       */
      runId: RunId;
    }
  | {
      /**
       * The provider's own id of a session.
       */
      sessionId: string;
    };
/**
 * Identifier of a run: a UUID version 7 (RFC 9562), so that ids sort by time of creation.
 */
export type RunId = string;
/**
 * Where a run stands. The last five are final.
 */
export type RunState =
  "starting" | "running" | "awaitingPermission" | "idle" | "succeeded" | "failed" | "cancelled" | "timedOut" | "lost";
/**
 * When a prompt is taken.
 */
export type SendMode = "queue" | "steer";
/**
 * One of the program's two output streams. Under a pseudoterminal everything is `stdout`.
 */
export type Stream = "stdout" | "stderr";
/**
 * How a session is gone on with.
 */
export type TakeoverKind = "live" | "resume" | "fork" | "load" | "replayCommand";

/**
 * An answer to a permission request; either `optionId` or `cancelled`.
 */
export interface AnswerParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Which question.
   */
  permissionId: string;
  /**
   * The option that was chosen.
   */
  optionId?: string | null;
  /**
   * `true`: refuse to choose.
   */
  cancelled?: boolean | null;
  /**
   * What the agent is told beside the choice.
   */
  message?: string | null;
}
/**
 * What to follow.
 */
export interface AttachParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Everything after this entry comes as notifications; default 0.
   */
  afterSeq?: number | null;
  /**
   * Chooses among `output` and `update`; the others always come.
   */
  kinds?: Kind[] | null;
}
/**
 * Which run to end.
 */
export interface CancelParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * How long the program may take to end by itself, in milliseconds; default 2000. A shorter grace later wins.
   */
  graceMs?: number | null;
}
/**
 * Params of `$/cancelRequest`.
 */
export interface CancelRequestParams {
  /**
   * Id of the request: a number or a string.
   */
  id: number | string;
}
/**
 * A file that a run changed, from its first change to its last.
 */
export interface ChangedFile {
  /**
   * As the provider named it; usually absolute.
   */
  path: string;
  /**
   * What happened to it.
   */
  kind: ChangeKind;
  /**
   * Unified patches, in their order, where the provider told only those.
   */
  patch?: string | null;
  /**
   * The text before, as far as the provider told it: the whole file, or the part that was replaced.
   */
  oldText?: string | null;
  /**
   * The text after.
   */
  newText?: string | null;
}
/**
 * The files that a run changed.
 */
export interface ChangesResult {
  /**
   * In the order in which they were first changed.
   */
  files: ChangedFile[];
  /**
   * False where commands may have written files too, of which the provider said nothing.
   */
  complete: boolean;
}
/**
 * Something to choose.
 */
export interface Choice {
  /**
   * The provider's word for it.
   */
  id: string;
  /**
   * What a person reads.
   */
  name: string;
}
/**
 * What a client wants and can do.
 */
export interface ClientCapabilities {
  /**
   * A person who can answer is there. Changes no delivery.
   */
  permissions?: boolean;
  /**
   * Hear of all runs; false: only of own and attached ones.
   */
  watch?: boolean;
  /**
   * How output is to be delivered.
   */
  output?: OutputCapabilities;
}
/**
 * Who the client is.
 */
export interface ClientInfo {
  /**
   * Name of the client.
   */
  name: string;
  /**
   * Its version.
   */
  version?: string | null;
}
/**
 * What to set.
 */
export interface ConfigureParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * The new model.
   */
  model?: string | null;
  /**
   * Who decides from now on.
   */
  permissions?: PermissionMode | null;
}
/**
 * What a deletion brought.
 */
export interface DeleteResult {
  /**
   * Bytes that the run took, in files and rows.
   */
  freedBytes: number;
}
/**
 * Params of `run/deleted`.
 */
export interface DeletedParams {
  /**
   * The runs that are gone.
   */
  runIds: RunId[];
}
/**
 * What to change about a run.
 */
export interface EditParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * The new title.
   */
  title?: string | null;
  /**
   * Replaces all labels.
   */
  labels?: {
    [k: string]: string;
  } | null;
  /**
   * A pinned run is never pruned.
   */
  pinned?: boolean | null;
}
/**
 * No params, or none that matter.
 */
export interface Empty {}
/**
 * A `data` object of an error answer.
 */
export interface ErrorData {
  /**
   * Which failure it is.
   */
  kind: FailureKind;
  [k: string]: unknown;
}
/**
 * What to make of a run, and where.
 */
export interface ExportParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * As what.
   */
  format: ExportFormat;
  /**
   * Absolute: a file, written whole or not at all. One that is there is replaced and its mode kept; a new one is its owner's alone.
   */
  path?: string | null;
}
/**
 * `path` where one was given, else `content`.
 */
export interface ExportResult {
  /**
   * The file that was written, and is durable.
   */
  path?: string | null;
  /**
   * As UTF-8; U+FFFD where the program wrote something else (`text` alone).
   */
  content?: string | null;
}
/**
 * How a client introduces itself.
 */
export interface InitializeParams {
  /**
   * The version that the client speaks.
   */
  protocolVersion: number;
  /**
   * Who speaks; for logs.
   */
  clientInfo?: ClientInfo | null;
  /**
   * The server exits when this process ends.
   */
  processId?: number | null;
  /**
   * What the client wants and can do.
   */
  capabilities?: ClientCapabilities;
}
/**
 * How the server introduces itself.
 */
export interface InitializeResult {
  /**
   * The version that the server speaks, the newest one it knows.
   */
  protocolVersion: number;
  /**
   * Who answers.
   */
  serverInfo: ServerInfo;
  /**
   * Where the store is.
   */
  storePath: string;
  /**
   * What a look at PATH tells; `provider/list` knows the versions too.
   */
  providers: ProviderInfo[];
  /**
   * What this server can do.
   */
  capabilities: ServerCapabilities;
}
/**
 * A process that outlived its run.
 */
export interface LeftProcess {
  /**
   * Its process id.
   */
  pid: number;
  /**
   * Its command line, words joined by spaces, shortened to 200 bytes.
   */
  command: string;
}
/**
 * Which runs to list.
 */
export interface ListParams {
  /**
   * Only runs in one of these states.
   */
  states?: RunState[] | null;
  /**
   * Only runs of this provider.
   */
  provider?: string | null;
  /**
   * Only runs in this directory, by its name; `.`, doubled slashes and a slash at its end do not count.
   */
  cwd?: string | null;
  /**
   * Only runs of this provider session.
   */
  sessionId?: string | null;
  /**
   * All of these labels must be there, with these values.
   */
  label?: {
    [k: string]: string;
  };
  /**
   * Default 50; more than 500 counts as 500.
   */
  limit?: number | null;
  /**
   * `nextCursor` of the page before.
   */
  cursor?: string | null;
}
/**
 * A page of runs.
 */
export interface ListResult {
  /**
   * Newest first.
   */
  runs: Run[];
  /**
   * For the next page; absent on the last one.
   */
  nextCursor?: string | null;
}
/**
 * One session of a provider.
 */
export interface ListedSession {
  /**
   * The provider's own id, for `run/start`'s `resume`.
   */
  id: string;
  /**
   * Where it works.
   */
  cwd?: string | null;
  /**
   * A line for people.
   */
  title?: string | null;
  /**
   * When it was last used, Unix milliseconds.
   */
  updatedAt?: number | null;
  /**
   * The newest run here that had it.
   */
  runId?: RunId | null;
}
/**
 * Whose options.
 */
export interface OptionsParams {
  /**
   * As `run/start` names it.
   */
  provider: string;
  /**
   * Absolute; where a run would work. Default: the server's own working directory.
   */
  cwd?: string | null;
}
/**
 * What can be chosen, as far as the provider tells.
 */
export interface OptionsResult {
  /**
   * For `run/start`'s `model`.
   */
  models?: Choice[];
  /**
   * The provider's own modes of permission.
   */
  modes?: Choice[];
}
/**
 * How output is to be delivered.
 */
export interface OutputCapabilities {
  /**
   * Hold output back until so many milliseconds are over or `maxChunkBytes` wait.
   */
  minIntervalMs?: number;
  /**
   * Most raw bytes of output in one notification; 4 at least, so that every character fits.
   */
  maxChunkBytes?: number;
}
/**
 * What the program wrote, byte for byte.
 */
export interface OutputEntry {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the entry; of the last one, where several were merged for a slow client.
   */
  seq: number;
  /**
   * Number of the first entry merged into this notification; absent in the log itself.
   */
  firstSeq?: number | null;
  /**
   * When the bytes were read, Unix milliseconds.
   */
  at: number;
  /**
   * Which of the two streams.
   */
  stream: Stream;
  /**
   * Position of the first byte within its own stream, counted in the program's raw bytes.
   */
  offset: number;
  /**
   * The bytes as UTF-8. U+FFFD stands where the program wrote something else, and then `data` is there.
   */
  text: string;
  /**
   * The exact bytes in base64 (RFC 4648, padded), only where they are not UTF-8.
   */
  data?: string | null;
}
export interface PermissionEntry2 {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the entry.
   */
  seq: number;
  /**
   * When, Unix milliseconds.
   */
  at: number;
  /**
   * Unique in the run.
   */
  permissionId: string;
}
/**
 * One answer that a permission request offers (ACP `PermissionOption`).
 */
export interface PermissionOption {
  /**
   * What `run/answer` names.
   */
  optionId: string;
  /**
   * What a person reads.
   */
  name: string;
  /**
   * `allow_once`, `allow_always`, `reject_once` or `reject_always`.
   */
  kind: string;
}
/**
 * What a provider can do.
 */
export interface ProviderCapabilities {
  /**
   * A session can be gone on with in a new run.
   */
  resume: boolean;
  /**
   * `run/send` is understood.
   */
  send: boolean;
  /**
   * `run/send` with `mode: "steer"` reaches a running turn.
   */
  steer: boolean;
  /**
   * A running turn can be stopped without ending the run.
   */
  interrupt: boolean;
  /**
   * It asks before it acts.
   */
  permissions: boolean;
  /**
   * Its output is also told as `run/update`.
   */
  updates: boolean;
}
/**
 * A program that loomd knows how to run.
 */
export interface ProviderInfo {
  /**
   * What `run/start` takes as `provider`.
   */
  id: string;
  /**
   * A name for people.
   */
  title: string;
  /**
   * `command`, `codex`, `claude` or `acp`.
   */
  kind: string;
  /**
   * It could be started now.
   */
  available: boolean;
  /**
   * What the program says of itself; `provider/list` only.
   */
  version?: string | null;
  /**
   * The executable that would be started.
   */
  program?: string | null;
  /**
   * What to install or set, when `available` is false; one sentence.
   */
  reason?: string | null;
  /**
   * What it can do.
   */
  capabilities: ProviderCapabilities;
}
/**
 * The providers.
 */
export interface ProvidersResult {
  /**
   * All that are known, also those that cannot be started.
   */
  providers: ProviderInfo[];
}
/**
 * Which ended runs to remove: those that any of the bounds is against, the oldest first. Pinned and live runs are neither
 * counted nor touched.
 */
export interface PruneParams {
  /**
   * Those that ended longer ago.
   */
  olderThanMs?: number | null;
  /**
   * All but so many.
   */
  keepRuns?: number | null;
  /**
   * As many as it takes until the rows of all runs take no more than this.
   */
  maxBytes?: number | null;
}
/**
 * What pruning came to.
 */
export interface PruneResult {
  /**
   * Runs that were removed.
   */
  deletedRuns: number;
  /**
   * Bytes that they took, in files and rows. What other runs build on stays until those go.
   */
  freedBytes: number;
  /**
   * Size of the database file now.
   */
  fileBytes: number;
  /**
   * The file was made shorter.
   */
  compacted: boolean;
  /**
   * Why it was not, where there is much room in it that new runs will use first.
   */
  reason?: string | null;
}
/**
 * Which entries to read.
 */
export interface ReadParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Read forward, from the entry after this one; default 0.
   */
  afterSeq?: number | null;
  /**
   * Read the last entries before this one instead.
   */
  beforeSeq?: number | null;
  /**
   * Default 1 MiB; more than 8 MiB counts as 8. At least one entry comes where there is one.
   */
  maxBytes?: number | null;
  /**
   * Only entries of these kinds; default: all.
   */
  kinds?: Kind[] | null;
}
/**
 * Entries, ascending. Forward: `nextAfterSeq` and `atEnd`. Backward: `prevBeforeSeq` and `atStart`.
 */
export interface ReadResult {
  /**
   * The page.
   */
  entries: Entry[];
  /**
   * `afterSeq` of the next page.
   */
  nextAfterSeq?: number | null;
  /**
   * Nothing comes after this page, for now.
   */
  atEnd?: boolean | null;
  /**
   * `beforeSeq` of the page before.
   */
  prevBeforeSeq?: number | null;
  /**
   * The page begins with the first entry.
   */
  atStart?: boolean | null;
}
/**
 * What is removed without being asked for. 0 is no bound.
 */
export interface Retention {
  /**
   * Runs that ended so many days ago; at most a tenth of all runs a day.
   */
  maxAgeDays?: number;
  /**
   * The oldest runs, until rows take no more than this.
   */
  maxBytes?: number;
  /**
   * The oldest runs, until there are no more than this.
   */
  maxRuns?: number;
}
/**
 * A run: its description, and its state as of the entry `lastSeq`.
 */
export interface Run {
  /**
   * Its identifier; ids sort by time of creation.
   */
  id: RunId;
  /**
   * As `run/start` named it.
   */
  provider: string;
  /**
   * A line for people.
   */
  title?: string | null;
  /**
   * For whoever looks for the run.
   */
  labels: {
    [k: string]: string;
  };
  /**
   * A pinned run is never pruned.
   */
  pinned: boolean;
  /**
   * The params of the `run/start` that made it, for a rerun; `envNames` stands for `env`, whose values are never stored.
   */
  params: {
    [k: string]: unknown;
  };
  /**
   * The argv that was executed.
   */
  command: string[];
  /**
   * Where it was executed; as it was asked for, but without `.`, doubled slashes and a slash at its end.
   */
  cwd: string;
  /**
   * Where it stands.
   */
  state: RunState;
  /**
   * The newest turn: 1, 2, …
   */
  turn?: number | null;
  /**
   * Prompts that wait for their turn.
   */
  queued?: number | null;
  /**
   * Process id of the program, while it lives.
   */
  pid?: number | null;
  /**
   * The open questions: `requested` entries that nobody has answered.
   */
  permissions?: PermissionEntry[];
  /**
   * The program's exit code, if it exited.
   */
  exitCode?: number | null;
  /**
   * The signal that ended the program, by name (`SIGKILL`).
   */
  signal?: string | null;
  /**
   * What went wrong; of a live run, what holds it up.
   */
  error?: RunError | null;
  /**
   * The provider's conversation behind the run.
   */
  session?: Session | null;
  /**
   * The run that this one resumed.
   */
  parentRunId?: RunId | null;
  /**
   * When it was asked for, Unix milliseconds.
   */
  createdAt: number;
  /**
   * When the program was spawned.
   */
  startedAt?: number | null;
  /**
   * When it became final.
   */
  endedAt?: number | null;
  /**
   * The newest entry that this picture includes.
   */
  lastSeq: number;
  /**
   * Everything up to this entry would survive a power cut.
   */
  durableSeq: number;
  /**
   * What the program wrote so far.
   */
  bytes: RunBytes;
  /**
   * The newest file of the log, while the log is a file.
   */
  transcript?: string | null;
  /**
   * What all its turns used.
   */
  usage?: Usage | null;
  /**
   * When somebody took its session over.
   */
  takenOverAt?: number | null;
}
/**
 * Bytes that the program wrote, by stream.
 */
export interface RunBytes {
  /**
   * On stdout; with a terminal, everything.
   */
  stdout: number;
  /**
   * On stderr.
   */
  stderr: number;
}
/**
 * Why a run or a turn failed.
 */
export interface RunError {
  /**
   * `auth`, `rateLimit`, `provider`, `protocol`, `spawn`, `sessionNotFound`, `outputLimit`, `storage`, `supervisor` or `timeout`; more may come.
   */
  kind: string;
  /**
   * One sentence for a person.
   */
  message: string;
}
/**
 * Names one run.
 */
export interface RunIdParams {
  /**
   * Which run.
   */
  runId: RunId;
}
/**
 * One run.
 */
export interface RunResult {
  /**
   * The run as it is now.
   */
  run: Run;
}
/**
 * A line with a match.
 */
export interface SearchHit {
  /**
   * In which run.
   */
  runId: RunId;
  /**
   * The entry that holds the first byte of the match.
   */
  seq: number;
  /**
   * In which stream.
   */
  stream: Stream;
  /**
   * First byte of the match, counted in the raw bytes of its stream.
   */
  offset: number;
  /**
   * The line as people see it, without its line break; past 4 KiB only what stands around the match.
   */
  line: string;
}
/**
 * What to look for, and where.
 */
export interface SearchParams {
  /**
   * A text, or a regular expression; of one line.
   */
  query: string;
  /**
   * `query` is a regular expression, in the syntax of Rust's `regex` crate; default false.
   */
  regex?: boolean | null;
  /**
   * Upper and lower case are the same; default false.
   */
  ignoreCase?: boolean | null;
  /**
   * Only this run; default: all, the newest first.
   */
  runId?: RunId | null;
  /**
   * Most hits of a page, 1 to 1000; default 50.
   */
  limit?: number | null;
  /**
   * `nextCursor` of the page before.
   */
  cursor?: string | null;
}
/**
 * A page of hits.
 */
export interface SearchResult {
  /**
   * The newest run first, and within a run in the order of its log. May be empty though there is a `nextCursor`.
   */
  hits: SearchHit[];
  /**
   * Where the next page goes on; absent when everything has been searched.
   */
  nextCursor?: string | null;
}
/**
 * What to hand to a run.
 */
export interface SendParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * For `command`: written to its stdin as it is.
   */
  text?: string | null;
  /**
   * For agents: the follow-up prompt.
   */
  prompt?: Prompt | null;
  /**
   * Default `queue`.
   */
  mode?: SendMode | null;
}
/**
 * What this server can do.
 */
export interface ServerCapabilities {
  /**
   * The methods that it answers.
   */
  methods: string[];
  /**
   * Longest frame that it takes, in bytes.
   */
  maxFrameBytes: number;
  /**
   * How output will be delivered to this client.
   */
  output: OutputCapabilities;
}
/**
 * Who the server is.
 */
export interface ServerInfo {
  /**
   * `loomd`.
   */
  name: string;
  /**
   * Its version.
   */
  version: string;
}
/**
 * A provider's session.
 */
export interface Session {
  /**
   * Whose session it is.
   */
  provider: string;
  /**
   * The provider's own id.
   */
  id: string;
  /**
   * File in which the provider keeps it.
   */
  path?: string | null;
  /**
   * False from the moment the id is announced until the provider has really kept the session.
   */
  resumable: boolean;
  /**
   * Ways to go on with it, best first.
   */
  takeover: Takeover[];
}
/**
 * The provider's session became known, or more of it did.
 */
export interface SessionEntry {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the entry.
   */
  seq: number;
  /**
   * When, Unix milliseconds.
   */
  at: number;
  /**
   * All that is known of it now.
   */
  session: Session;
}
/**
 * Whose sessions.
 */
export interface SessionsParams {
  /**
   * As `run/start` names it.
   */
  provider: string;
  /**
   * Only those of this directory; absolute.
   */
  cwd?: string | null;
  /**
   * The `nextCursor` of the page before.
   */
  cursor?: string | null;
}
/**
 * A page of the provider's own sessions, also those made outside of loomd.
 */
export interface SessionsResult {
  /**
   * In the provider's order, which usually is newest first.
   */
  sessions?: ListedSession[];
  /**
   * There is more.
   */
  nextCursor?: string | null;
}
/**
 * What to run, and how.
 */
export interface StartParams {
  /**
   * `command`, `codex`, `claude`, `acp`, or a name from the configuration.
   */
  provider: string;
  /**
   * What an agent is asked: text, or ACP content blocks. Passed by stdin or protocol, never through a shell.
   */
  prompt?: Prompt | null;
  /**
   * The argv; required for `command` and `acp`, refused for the others.
   */
  command?: string[] | null;
  /**
   * Appended to the provider's own argv.
   */
  args?: string[] | null;
  /**
   * Absolute; default: the server's own working directory.
   */
  cwd?: string | null;
  /**
   * Added to the environment; null removes a variable. Values are never stored.
   */
  env?: {
    [k: string]: string | null;
  };
  /**
   * For `command`: written to its stdin, which is then closed unless the run is interactive.
   */
  stdin?: string | null;
  /**
   * Run under a pseudoterminal (for programs that buffer their output in a pipe).
   */
  tty?: boolean | null;
  /**
   * Go on with a session of an agent; `command` has none and answers `unsupported`.
   */
  resume?: Resume | null;
  /**
   * Stay open for `run/send` after a turn ends; default false.
   */
  interactive?: boolean | null;
  /**
   * For agents: which model, in the provider's own words.
   */
  model?: string | null;
  /**
   * Default `ask`: wait until somebody can answer.
   */
  permissions?: PermissionMode | null;
  /**
   * Limit on the whole run, awake time in milliseconds.
   */
  timeoutMs?: number | null;
  /**
   * Limit on the time without any output, awake time in milliseconds.
   */
  idleTimeoutMs?: number | null;
  /**
   * An interactive run that is idle with nobody attached for so long gets `closeInput`; default 30 minutes.
   */
  keepIdleMs?: number | null;
  /**
   * What happens when the last attached client goes: the run goes on (`detach`, the default), or is cancelled after 5 s.
   */
  onDisconnect?: OnDisconnect | null;
  /**
   * `false`, or the kinds that the starter is attached to; default: everything.
   */
  attach?: AttachChoice | null;
  /**
   * Programs that the final sweep spares, beside the usual build daemons.
   */
  keep?: string[] | null;
  /**
   * Both streams together, in bytes; a run that writes more is cancelled with error `outputLimit`. Default: none.
   */
  maxOutputBytes?: number | null;
  /**
   * A line for people.
   */
  title?: string | null;
  /**
   * For whoever looks for the run later.
   */
  labels?: {
    [k: string]: string;
  };
  /**
   * The same token again answers with the run that it already started. A failed start frees it.
   */
  clientToken?: string | null;
}
/**
 * The run changed its state. A final one is the last entry of the log.
 */
export interface StateEntry {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the entry.
   */
  seq: number;
  /**
   * When, Unix milliseconds.
   */
  at: number;
  /**
   * The new state.
   */
  state: RunState;
  /**
   * The turn that begins or ends here: 1, 2, …
   */
  turn?: number | null;
  /**
   * Why the turn ended: an ACP `StopReason` (`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`) or `error`.
   */
  stopReason?: string | null;
  /**
   * The program's exit code, if it exited.
   */
  exitCode?: number | null;
  /**
   * The signal that ended the program, by name (`SIGKILL`).
   */
  signal?: string | null;
  /**
   * What went wrong.
   */
  error?: RunError | null;
  /**
   * What this turn used.
   */
  usage?: Usage | null;
  /**
   * Processes of the run's tree that were spared (`keep`) or could not be ended.
   */
  left?: LeftProcess[];
}
/**
 * What the store holds. Live runs count with their files.
 */
export interface StatsResult {
  /**
   * Runs, live ones too.
   */
  runs: number;
  /**
   * Runs that have not ended.
   */
  liveRuns: number;
  /**
   * Entries of all logs.
   */
  entries: number;
  /**
   * Bytes of the entries as JSON lines.
   */
  logicalBytes: number;
  /**
   * Bytes of the rows and log files that hold them.
   */
  storedBytes: number;
  /**
   * Size of the database file. What deletions leave free in it is used again first.
   */
  fileBytes: number;
  /**
   * Bytes of long texts (a tool's result, a file) that were not stored because the same text was there already: all uses but one.
   */
  dedupedBytes: number;
  /**
   * Long texts that are kept once,
   */
  texts: number;
  /**
   * their bytes,
   */
  textBytes: number;
  /**
   * and those of the rows that hold them.
   */
  textStoredBytes: number;
  /**
   * Bytes that are kept as what differs from an earlier run of the same command,
   */
  deltaBytes: number;
  /**
   * and those of the rows that hold them.
   */
  deltaStoredBytes: number;
  /**
   * Bytes of rows of deleted runs that stay because other runs build on them.
   */
  keptBytes: number;
  /**
   * What this server removes by itself, as configured.
   */
  retention?: Retention;
  /**
   * Version of the store's format.
   */
  formatVersion: number;
}
/**
 * What is to be durable.
 */
export interface SyncParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Default: the newest entry.
   */
  seq?: number | null;
}
/**
 * What is durable.
 */
export interface SyncResult {
  /**
   * Everything up to this entry would survive a power cut.
   */
  durableSeq: number;
}
/**
 * One way to go on with a session in a terminal.
 */
export interface Takeover {
  /**
   * How.
   */
  kind: TakeoverKind;
  /**
   * It was seen to work with this version of the provider.
   */
  verified: boolean;
  /**
   * Why it is unverified or unavailable.
   */
  reason?: string | null;
  /**
   * The argv to execute.
   */
  command?: string[] | null;
  /**
   * Where to execute it.
   */
  cwd?: string | null;
  /**
   * What to add to the environment.
   */
  env?: {
    [k: string]: string;
  } | null;
  /**
   * One line for a person.
   */
  display: string;
}
/**
 * How to take over.
 */
export interface TakeoverParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Default: the best one there is.
   */
  kind?: TakeoverKind | null;
  /**
   * End the headless process first; default true.
   */
  stop?: boolean | null;
}
/**
 * How to go on with the session.
 */
export interface TakeoverResult {
  /**
   * The way that was chosen.
   */
  takeover: Takeover;
}
/**
 * Which output to read.
 */
export interface TextParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Default: both, in order of arrival and counted together.
   */
  stream?: Stream | null;
  /**
   * First byte; default 0. Inside a character, it counts as that character's first byte.
   */
  offset?: number | null;
  /**
   * Default 1 MiB; more than 8 MiB counts as 8. A page never cuts a character.
   */
  maxBytes?: number | null;
  /**
   * The last so many lines instead of `offset`; an unfinished last line is a line.
   */
  lastLines?: number | null;
}
/**
 * A page of output.
 */
export interface TextResult {
  /**
   * As UTF-8; U+FFFD where the program wrote something else.
   */
  text: string;
  /**
   * Where `text` begins, in raw bytes.
   */
  offset: number;
  /**
   * `offset` of the next page.
   */
  nextOffset: number;
  /**
   * Raw bytes that there are by now.
   */
  totalBytes: number;
}
/**
 * What the output means, in the words of the Agent Client Protocol, schema 1.15.
 */
export interface UpdateEntry {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the entry.
   */
  seq: number;
  /**
   * When, Unix milliseconds.
   */
  at: number;
  /**
   * An ACP v1 `SessionUpdate`: an open object with `sessionUpdate: string`. Variants that a client does not know are to be ignored.
   */
  update: {
    [k: string]: unknown;
  };
}
/**
 * What a model was paid for.
 */
export interface Usage {
  /**
   * Tokens read.
   */
  inputTokens?: number | null;
  /**
   * Tokens written.
   */
  outputTokens?: number | null;
  /**
   * Tokens read from the provider's cache.
   */
  cachedInputTokens?: number | null;
  /**
   * In US dollars, where the provider says so.
   */
  costUsd?: number | null;
}
