// The protocol's types. Generated from docs/protocol.schema.json by `npm run protocol`; do not edit.

/** The version of the protocol that these types describe. */
export const PROTOCOL_VERSION = 1;

/** The methods of the server. */
export interface Methods {
  /** Opens the connection. The server answers no other request before it. A client that does not support the `protocolVersion` of the answer disconnects. Notifications about all runs begin after the answer. */
  "initialize": { params: InitializeParams; result: InitializeResult };
  /** Ends the connection. The server answers once every entry of every finished run is durable. Live runs go on. The client may send only the notification `exit` after it. */
  "shutdown": { params: Empty; result: null };
  /** Starts a program. The server answers once the program has been spawned and its record is durable, and before it sends any notification about the run. A program that cannot be started leaves no run. The client that starts a run is attached to it from the first entry, unless `attach` says otherwise. */
  "run/start": { params: StartParams; result: RunResult };
  /** For an agent: sends a prompt. `queue` gives it a turn of its own, also in a run that is not interactive. `steer` puts it into the running turn, or acts as `queue` if no turn runs or the provider cannot steer. For `command`: writes the text to the stdin of an interactive run as it is, without adding a line feed. */
  "run/send": { params: SendParams; result: SendResult };
  /** Lists the prompts that wait for a turn of an agent, as long as its run is live. `Run.queued` counts them, so a client asks again when that changes. */
  "run/queue": { params: RunIdParams; result: QueueResult };
  /** Takes back a prompt that waits for a turn, and answers with it: to remove it, or to edit it and send it again. A prompt whose turn has begun is an error with the field `promptId`. */
  "run/unqueue": { params: UnqueueParams; result: QueuedPrompt };
  /** Changes the size of a run's terminal; its programs get SIGWINCH. The new size is logged as an entry `size`, unless it is the old one. A run without a terminal answers `unsupported`. */
  "run/setSize": { params: SetSizeParams; result: Empty };
  /** Closes the input of a run. An agent's run ends after its running turn and its queue. For a command, the server closes stdin or, on a terminal, sends the end-of-file character. */
  "run/closeInput": { params: RunIdParams; result: Empty };
  /** Stops an agent's turn and resolves its open permission requests; the session and the queue stay. The server answers when the turn has ended, at once if none runs. For a command, it sends SIGINT to the process group, as Ctrl-C in a terminal does, and answers once the program has ended, or after a second if it goes on. A run that is not interactive then ends as `cancelled`, an agent's run after its queue. */
  "run/interrupt": { params: RunIdParams; result: Empty };
  /** Ends a run. The server sends SIGTERM and, after the grace period, SIGKILL to the whole process tree. It answers when the run is final and no process of its tree is left. It answers for a run that has ended already as well. */
  "run/cancel": { params: CancelParams; result: RunResult };
  /** Answers a permission request of an agent. The first answer counts. `command` makes no permission requests and answers `unsupported`. */
  "run/answer": { params: AnswerParams; result: Empty };
  /** Sets an agent's model or permission mode from its next turn on. `command` has neither and answers `unsupported`. */
  "run/configure": { params: ConfigureParams; result: RunResult };
  /** Returns the command that opens an agent's session in a terminal. `command` has no session and answers `unsupported`. */
  "run/takeover": { params: TakeoverParams; result: TakeoverResult };
  /** Returns one run as it is now. After a final `run/state` both agree. */
  "run/get": { params: RunIdParams; result: RunResult };
  /** Lists the runs of this store, newest first, from every server. A run must match all filters that are given. */
  "run/list": { params: ListParams; result: ListResult };
  /** Changes the title, labels or pin of a run. Members that are absent stay as they are. */
  "run/edit": { params: EditParams; result: RunResult };
  /** Returns a page of the log: forward from `afterSeq`, or backward from `beforeSeq`. */
  "run/read": { params: ReadParams; result: ReadResult };
  /** Returns a page of the items of a run's transcript, as of its newest entry: those after or before an item, or the last ones. */
  "run/items": { params: ItemsParams; result: ItemsResult };
  /** Returns one item with nothing omitted but output. A number that no item has is `invalidParams`. */
  "run/getItem": { params: GetItemParams; result: GetItemResult };
  /** Returns a page of output as text: from a byte onward, or the last lines. */
  "run/text": { params: TextParams; result: TextResult };
  /** Finds lines in the output of one run or of all runs, live ones included. The server answers within a second with the hits that it has; `nextCursor` continues from there. See [Searching](#searching). */
  "run/search": { params: SearchParams; result: SearchResult };
  /** Exports a run to a format that can be read without loomd; a live run as it is now. Without `path` the answer has the content, up to 32 MiB (`limit`). With `path` the server writes a file of any size. A path that cannot be written is `invalidParams` and leaves no file. */
  "run/export": { params: ExportParams; result: ExportResult };
  /** Lists the files that an agent changed, according to its tool calls. */
  "run/changes": { params: RunIdParams; result: ChangesResult };
  /** Follows a run. Every entry after `afterSeq`, stored or live, comes as a notification, without a gap and without a repetition. Attaching again moves the cursor. An `afterSeq` beyond the end of the log is `invalidParams`. With `as: "items"` every item that an entry after `afterSeq` made or changed comes whole as `run/item`, by number, and then everything that changes; session, permission and state entries keep coming. */
  "run/attach": { params: AttachParams; result: RunResult };
  /** Stops following a run. The server answers for a run that this connection does not follow as well. */
  "run/detach": { params: RunIdParams; result: Empty };
  /** Waits until every entry up to `seq` would survive a power cut. */
  "run/sync": { params: SyncParams; result: SyncResult };
  /** Deletes a run and everything that is stored of it. For a run that has not ended, the server answers `runActive`. */
  "run/delete": { params: RunIdParams; result: DeleteResult };
  /** Lists the user's rules. A file that loomd does not understand answers nothing, and is `config` here. */
  "rule/list": { params: Empty; result: RulesResult };
  /** Adds a rule, which holds from the next permission request on, in every run. Links in the part of `path` before its first star, and in `cwd`, are resolved now. A rule that is there already is answered as it is. */
  "rule/add": { params: AddRuleParams; result: RuleResult };
  /** Removes a rule. A `ruleId` that no rule has is `invalidParams`. */
  "rule/remove": { params: RemoveRuleParams; result: Empty };
  /** Lists what this server can run, with the version where the provider reports one. */
  "provider/list": { params: Empty; result: ProvidersResult };
  /** Lists the models and modes that a provider offers, as far as it reports them. The server starts the provider's program for a moment. */
  "provider/options": { params: OptionsParams; result: OptionsResult };
  /** Lists a provider's own sessions, also those made outside of loomd, if the provider can list them. */
  "session/list": { params: SessionsParams; result: SessionsResult };
  /** Returns how much the store holds and how much it saved. */
  "store/stats": { params: Empty; result: StatsResult };
  /** Deletes ended runs by age, number and size. It makes the database file smaller if that is worthwhile and nothing else uses the store. */
  "store/prune": { params: PruneParams; result: PruneResult };
}

/** The notifications of the server. */
export interface Notifications {
  /** The program wrote output. Goes to attached connections. */
  "run/output": OutputEntry;
  /** The provider's session became known, or more of it did. Goes to attached connections and to all that watch. */
  "run/session": SessionEntry;
  /** An agent's output, interpreted, or a notice of loomd's own. Goes to attached connections. `command` has notices only. */
  "run/update": UpdateEntry;
  /** An item of the transcript is new, changed or grew. Goes to connections that are attached to items. */
  "run/item": ItemParams;
  /** An agent made a permission request, or one was resolved. Goes to attached connections and to all that watch. */
  "run/permission": PermissionEntry;
  /** The run changed its state. Goes to attached connections and to all that watch. A final state is the last entry of the log and comes after the last byte of output. */
  "run/state": StateEntry;
  /** The run's terminal has this size: at its start, and after each change. Goes with `run/output` to attached connections, never to those that only watch. */
  "run/size": SizeEntry;
  /** A run is new, was edited, or has a problem with its storage. Goes to all that watch. It is not an entry of the log. */
  "run/changed": RunResult;
  /** Runs were deleted. Goes to all that watch. It is not an entry of the log. */
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
  forbidden: -32019,
} as const;

/**
 * Which entries the client that starts a run receives.
 */
export type AttachChoice =
  | boolean
  | []
  | {
      /**
       * Selects among `output`, with which `size` comes, and `update`. The other kinds always come.
       */
      kinds?: Kind[] | null;
      /**
       * Whether entries or items come, as in `run/attach`. Default: entries.
       */
      as?: AttachForm | null;
    };
/**
 * In which form a client follows a run.
 */
export type AttachForm = "entries" | "items";
/**
 * What happened to a file.
 */
export type ChangeKind = "add" | "modify" | "delete" | "move";
/**
 * The command of a rule. A command line is compared as it is, an argv word by word.
 */
export type CommandPattern = string | string[];
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
    })
  | (SizeEntry & {
      kind: "size";
    });
/**
 * The format of an export.
 */
export type ExportFormat = "text" | "jsonl" | "markdown" | "html" | "asciicast";
/**
 * `data.kind` of an error answer. Each kind has one code.
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
  | "config"
  | "forbidden";
/**
 * One item of a run's transcript.
 */
export type Item = Item1 & Item2;
export type Item1 =
  | (MessageItem & {
      kind: "message";
    })
  | (MessageItem & {
      kind: "thought";
    })
  | (ToolItem & {
      kind: "tool";
    })
  | (PlanItem & {
      kind: "plan";
    })
  | (PermissionItem & {
      kind: "permission";
    })
  | (NoticeItem & {
      kind: "notice";
    })
  | (TurnItem & {
      kind: "turn";
    })
  | (CommandItem & {
      kind: "command";
    })
  | (OtherItem & {
      kind: "other";
    });
/**
 * What is appended to an item.
 */
export type ItemAppend =
  | {
      /**
       * What is appended to its `text`.
       */
      text: string;
    }
  | {
      /**
       * How its `output` grows.
       */
      output: OutputAppend;
    }
  | {
      /**
       * How its `stderr` grows.
       */
      stderr: OutputAppend;
    };
/**
 * Params of `run/item`: an item that is new or changed, whole, or what is appended to one.
 */
export type ItemParams = ItemParams1 & ItemParams2;
export type ItemParams1 =
  | {
      /**
       * The item as it is from now on.
       */
      item: Item;
    }
  | {
      /**
       * Number of the item.
       */
      item: number;
      /**
       * What is appended.
       */
      append: ItemAppend;
    };
/**
 * The kinds of entries, as in `kinds`.
 */
export type Kind = "output" | "session" | "update" | "permission" | "state" | "size";
/**
 * An MCP server, as the Agent Client Protocol describes it.
 */
export type McpServer =
  | {
      /**
       * How it is spoken to.
       */
      type: McpTransport;
      /**
       * What the agent calls it.
       */
      name: string;
      /**
       * Where it is.
       */
      url: string;
      /**
       * HTTP headers of each request.
       */
      headers?: McpValue[];
    }
  | {
      /**
       * What the agent calls it.
       */
      name: string;
      /**
       * The program, which the agent starts.
       */
      command: string;
      /**
       * Its arguments.
       */
      args?: string[];
      /**
       * Variables that are added to its environment.
       */
      env?: McpValue[];
    };
/**
 * How an MCP server is reached that is no program of this machine.
 */
export type McpTransport = "http" | "sse";
/**
 * Whose text a message is.
 */
export type MessageRole = "user" | "agent";
/**
 * How much a notice matters.
 */
export type NoticeSeverity = "info" | "warning" | "error";
/**
 * What happens to a run that no client follows any more.
 */
export type OnDisconnect = "detach" | "cancel";
/**
 * What an option is set to.
 */
export type OptionValue = boolean | string;
/**
 * A permission request of a provider, or its resolution.
 */
export type PermissionEntry = PermissionEntry1 & PermissionEntry2;
export type PermissionEntry1 =
  | {
      status: "requested";
      /**
       * The whole tool call, as an ACP `ToolCallUpdate`.
       */
      toolCall: {
        [k: string]: unknown;
      };
      /**
       * The options to choose from.
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
       * True if nobody chose an option. Nothing was allowed then.
       */
      cancelled?: boolean | null;
      /**
       * The message that came with the choice.
       */
      message?: string | null;
      /**
       * Who resolved it.
       */
      by: ResolvedBy;
      /**
       * The rule that resolved it, by its id.
       */
      rule?: string | null;
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
 * Who resolved a permission request.
 */
export type ResolvedBy = "client" | "policy" | "provider";
/**
 * Which session to continue.
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
 * The answer of a rule.
 */
export type RuleDecision = "allow" | "deny";
/**
 * Identifier of a run: a UUID version 7 (RFC 9562), so that ids sort by time of creation.
 */
export type RunId = string;
/**
 * The state of a run. The last five are final.
 */
export type RunState =
  "starting" | "running" | "awaitingPermission" | "idle" | "succeeded" | "failed" | "cancelled" | "timedOut" | "lost";
/**
 * When an agent takes a prompt.
 */
export type SendMode = "queue" | "steer";
/**
 * One of the program's two output streams. Under a pseudoterminal everything is `stdout`.
 */
export type Stream = "stdout" | "stderr";
/**
 * How a session is continued.
 */
export type TakeoverKind = "live" | "resume" | "fork" | "load" | "replayCommand";
/**
 * Whether there is a terminal, or its size.
 */
export type TtyChoice =
  | boolean
  | {
      /**
       * How many rows.
       */
      rows: number;
      /**
       * How many columns.
       */
      cols: number;
    };

/**
 * A rule to add.
 */
export interface AddRuleParams {
  /**
   * The rule without an `id`.
   */
  rule: RuleTerms;
}
/**
 * A command of an agent.
 */
export interface AgentCommand {
  /**
   * Its name, without a slash.
   */
  name: string;
  /**
   * What it does, for people.
   */
  description: string;
  /**
   * What is written behind its name.
   */
  hint?: string | null;
}
/**
 * A mode of an agent's session.
 */
export interface AgentMode {
  /**
   * The agent's id of it.
   */
  id: string;
  /**
   * Its name, for people.
   */
  name: string;
}
/**
 * What an agent offers to whoever writes its prompts. It is known while the run lives; afterwards only `context` and
 * `promptCapabilities` are.
 */
export interface AgentOffer {
  /**
   * The commands that a prompt may begin with, as `/name`.
   */
  commands?: AgentCommand[];
  /**
   * The modes of the session.
   */
  modes?: AgentMode[];
  /**
   * The mode that the session is in.
   */
  modeId?: string | null;
  /**
   * The agent's own options, as ACP's `SessionConfigOption`.
   */
  configOptions?: {
    [k: string]: unknown;
  }[];
  /**
   * How full the context of its model is.
   */
  context?: ContextUse | null;
  /**
   * What a prompt may have beside text and links. Absent until the agent has told it.
   */
  promptCapabilities?: PromptCapabilities | null;
}
/**
 * An answer to a permission request; either `optionId` or `cancelled`.
 */
export interface AnswerParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Which permission request.
   */
  permissionId: string;
  /**
   * The option that was chosen.
   */
  optionId?: string | null;
  /**
   * `true`: the client refuses to choose.
   */
  cancelled?: boolean | null;
  /**
   * A message to the agent, sent with the choice.
   */
  message?: string | null;
}
/**
 * Which run to follow, and which entries.
 */
export interface AttachParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * All entries after this one come as notifications. Default 0.
   */
  afterSeq?: number | null;
  /**
   * Selects among `output`, with which `size` comes, and `update`. The other kinds always come.
   */
  kinds?: Kind[] | null;
  /**
   * Whether entries or items come. With items, `kinds` is `invalidParams`. Default: entries.
   */
  as?: AttachForm | null;
}
/**
 * Which run to cancel.
 */
export interface CancelParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * How long the program may take to end by itself. Default 2000. A later request can shorten it.
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
 * A file that a run changed: all its changes together.
 */
export interface ChangedFile {
  /**
   * The path as the provider names it; usually absolute.
   */
  path: string;
  /**
   * What happened to it.
   */
  kind: ChangeKind;
  /**
   * Unified patches in their order, if the provider reports only patches.
   */
  patch?: string | null;
  /**
   * The text before, if the provider reports it: the whole file, or the part that was replaced.
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
   * The files in the order of their first change.
   */
  files: ChangedFile[];
  /**
   * False if commands may have changed files that the provider does not report.
   */
  complete: boolean;
}
/**
 * One option.
 */
export interface Choice {
  /**
   * The provider's id of the option.
   */
  id: string;
  /**
   * A name for people.
   */
  name: string;
}
/**
 * What a client supports and which notifications it wants.
 */
export interface ClientCapabilities {
  /**
   * A person can answer permission requests. This changes no delivery; while such a client is attached to a run, no notifier
   * is started for it.
   */
  permissions?: boolean;
  /**
   * True: notifications about all runs. False: only about runs that the client started or is attached to.
   */
  watch?: boolean;
  /**
   * The client shows the terminals of runs in an emulator, which answers what programs ask of a terminal. Without
   * such a client attached, loomd answers device attributes, device status and the cursor's position.
   */
  terminal?: boolean;
  /**
   * How to deliver output.
   */
  output?: OutputCapabilities;
}
/**
 * A client's name and version.
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
 * The output of a run whose provider has no updates.
 */
export interface CommandItem {
  /**
   * What it wrote to stdout; under a terminal everything.
   */
  output: Output;
  /**
   * What it wrote to stderr.
   */
  stderr?: Output | null;
}
/**
 * Which settings of a run to change.
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
   * The new permission mode.
   */
  permissions?: PermissionMode | null;
  /**
   * The agent's own options to set, by their ids in `Run.agent.configOptions`. `mode` sets one of `Run.agent.modes` where no
   * option has that id.
   */
  options?: {
    [k: string]: OptionValue;
  };
}
/**
 * Tokens in the context of an agent's model.
 */
export interface ContextUse {
  /**
   * How many there are.
   */
  used: number;
  /**
   * How many there can be.
   */
  size: number;
}
/**
 * What was deleted.
 */
export interface DeleteResult {
  /**
   * Bytes that the run took in files and rows.
   */
  freedBytes: number;
}
/**
 * Params of `run/deleted`.
 */
export interface DeletedParams {
  /**
   * The runs that were deleted.
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
 * No members.
 */
export interface Empty {}
/**
 * `data` of an error answer.
 */
export interface ErrorData {
  /**
   * The kind of the failure.
   */
  kind: FailureKind;
  [k: string]: unknown;
}
/**
 * To which format and file to export a run.
 */
export interface ExportParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * The format.
   */
  format: ExportFormat;
  /**
   * The file to write; absolute. It is written whole or not at all. An existing file is replaced and keeps its mode;
   * only the owner can read a new one.
   */
  path?: string | null;
}
/**
 * The file or the content of an export: `path` if the request named one, else `content`.
 */
export interface ExportResult {
  /**
   * The file that was written. It is durable.
   */
  path?: string | null;
  /**
   * The content as UTF-8. In the format `text`, U+FFFD replaces what is not UTF-8.
   */
  content?: string | null;
}
/**
 * What a tool call changes in one file: a patch, or the texts before and after.
 */
export interface FileDiff {
  /**
   * The file, as the provider names it; the new name of one that is moved.
   */
  path: string;
  /**
   * What becomes of the file.
   */
  kind: ChangeKind;
  /**
   * A unified patch, where the provider gives one.
   */
  patch?: string | null;
  /**
   * The text before, of the whole file or of the part that is replaced.
   */
  oldText?: string | null;
  /**
   * The text after.
   */
  newText?: string | null;
  /**
   * A patch over 256 KiB or a text over 64 KiB is missing here, or the call changes more than 1 MiB in all; `run/getItem` has it.
   */
  omitted?: boolean;
}
/**
 * Which item to read.
 */
export interface GetItemParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the item.
   */
  item: number;
}
/**
 * One item.
 */
export interface GetItemResult {
  /**
   * The item, with nothing omitted but output, which `run/text` and `run/read` have.
   */
  item: Item;
}
/**
 * Who the client is and what it supports.
 */
export interface InitializeParams {
  /**
   * The version of the protocol that the client supports.
   */
  protocolVersion: number;
  /**
   * The client, for logs.
   */
  clientInfo?: ClientInfo | null;
  /**
   * Id of a process. The server exits when it ends.
   */
  processId?: number | null;
  /**
   * What the client supports and which notifications it wants.
   */
  capabilities?: ClientCapabilities;
}
/**
 * Who the server is and what it supports.
 */
export interface InitializeResult {
  /**
   * The newest version of the protocol that the server supports.
   */
  protocolVersion: number;
  /**
   * The server.
   */
  serverInfo: ServerInfo;
  /**
   * Version of the fold of entries into items. The numbers of items are stable within one version.
   */
  foldVersion: number;
  /**
   * Path of the store.
   */
  storePath: string;
  /**
   * The providers, by a search in PATH. `provider/list` has their versions too.
   */
  providers: ProviderInfo[];
  /**
   * What this server supports.
   */
  capabilities: ServerCapabilities;
}
export interface Item2 {
  /**
   * Number of the item: 1, 2, … in the order of `seq`; within one entry a tool call comes before its permission, and the end of a turn last.
   */
  item: number;
  /**
   * Number of the first entry that made it.
   */
  seq: number;
  /**
   * Number of the newest entry that made or changed it.
   */
  lastSeq: number;
  /**
   * When it began, Unix milliseconds.
   */
  at: number;
  /**
   * When it ended, Unix milliseconds: a tool call by its status, a permission when it was resolved; a message, a thought and a plan
   * with their turn; whatever is open when the run ends, then. What comes later still changes the item.
   */
  endAt?: number | null;
  /**
   * The turn in which it began, or which it ends; 0 before the first, absent from the end of a run that was between turns.
   */
  turn?: number | null;
  /**
   * The tool call whose sub-agent it belongs to, by its item number.
   */
  parent?: number | null;
  /**
   * The item from which this text or tool call goes on.
   */
  continues?: number | null;
}
export interface ItemParams2 {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Going on after the entry before this one misses nothing. Of an append it is the item's new `lastSeq`.
   */
  seq: number;
}
/**
 * Which items to read.
 */
export interface ItemsParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Reads the items that follow this one. Default: the last items.
   */
  after?: number | null;
  /**
   * Reads the items before this one instead.
   */
  before?: number | null;
  /**
   * Most items of the page. Default 200; more than 1000 counts as 1000.
   */
  limit?: number | null;
  /**
   * Most bytes of the page. Default 1 MiB; more than 8 MiB counts as 8. A page has at least one item if there is one.
   */
  maxBytes?: number | null;
}
/**
 * A page of items.
 */
export interface ItemsResult {
  /**
   * The page, ascending by number.
   */
  items: Item[];
  /**
   * How many items the run has.
   */
  total: number;
  /**
   * The items are as of this entry; `afterSeq` of an attach that goes on from here.
   */
  seq: number;
  /**
   * `after` of the next page; absent on the last one.
   */
  next?: number | null;
  /**
   * `before` of the page before; absent on the first one.
   */
  prev?: number | null;
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
   * Its command line, joined by spaces and shortened to 200 bytes.
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
   * Only runs in the directory with this path. `.`, double slashes and a slash at the end make no difference.
   */
  cwd?: string | null;
  /**
   * Only runs of this provider session.
   */
  sessionId?: string | null;
  /**
   * Only runs that have all these labels with these values.
   */
  label?: {
    [k: string]: string;
  };
  /**
   * Only runs whose tool calls name this file: one that they read, change, delete or move. An absolute path, or one
   * relative to the run's directory. Of a run, the first 2,000 files count.
   */
  touched?: string | null;
  /**
   * Most runs of the page. Default 50; more than 500 counts as 500.
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
   * `cursor` of the next page; absent on the last one.
   */
  nextCursor?: string | null;
}
/**
 * One session of a provider.
 */
export interface ListedSession {
  /**
   * The provider's own id, for `resume` of `run/start`.
   */
  id: string;
  /**
   * The directory in which it works.
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
   * The newest run in this store that has the session.
   */
  runId?: RunId | null;
}
/**
 * A variable, or a header.
 */
export interface McpValue {
  /**
   * Its name.
   */
  name: string;
  /**
   * Its value.
   */
  value: string;
}
/**
 * What the user or the agent says. A text over 256 KiB goes on in an item that `continues` this one.
 */
export interface MessageItem {
  /**
   * Whose text it is.
   */
  role: MessageRole;
  /**
   * The text so far, corrections included.
   */
  text: string;
  /**
   * ACP content blocks that are no text. One whose JSON is over 64 KiB is `{type, omitted: true}`.
   */
  blocks?: {
    [k: string]: unknown;
  }[];
  /**
   * The agent gave this message up and says it anew. Of a message in several items the last one tells it.
   */
  abandoned?: boolean;
}
/**
 * A warning, a retry, something for people that the agent did not say.
 */
export interface NoticeItem {
  /**
   * How much it matters.
   */
  severity: NoticeSeverity;
  /**
   * One line.
   */
  title: string;
  /**
   * What there is to say beside it, shortened to 64 KiB.
   */
  description?: string | null;
}
/**
 * Which provider's options to list.
 */
export interface OptionsParams {
  /**
   * The provider, as `run/start` names it.
   */
  provider: string;
  /**
   * The directory in which a run would work; absolute. Default: the server's own working directory.
   */
  cwd?: string | null;
}
/**
 * The options of a provider, as far as it reports them.
 */
export interface OptionsResult {
  /**
   * The models, for `model` of `run/start`.
   */
  models?: Choice[];
  /**
   * The provider's own permission modes.
   */
  modes?: Choice[];
}
/**
 * An update that has no kind of its own yet.
 */
export interface OtherItem {
  /**
   * What a client draws.
   */
  title: string;
  /**
   * The update; absent where its JSON is over 64 KiB.
   */
  data?: {
    [k: string]: unknown;
  };
}
/**
 * A text of which the middle may be missing: of a long one the first 48 KiB and the last 80 are kept.
 */
export interface Output {
  /**
   * What is kept.
   */
  text: string;
  /**
   * The byte of `text`, as UTF-8, behind which something is missing.
   */
  omittedAt?: number | null;
  /**
   * How many bytes of UTF-8 are missing there.
   */
  omittedBytes?: number | null;
}
/**
 * How an output grows.
 */
export interface OutputAppend {
  /**
   * What is appended.
   */
  text: string;
  /**
   * Before that, so many bytes behind `omittedAt` are dropped and count as omitted.
   */
  dropBytes?: number;
}
/**
 * How to deliver output.
 */
export interface OutputCapabilities {
  /**
   * The server delays output until this time is over or `maxChunkBytes` of it wait.
   */
  minIntervalMs?: number;
  /**
   * Most raw bytes of output in one notification; at least 4, so that every character fits.
   */
  maxChunkBytes?: number;
}
/**
 * Output of the program, byte for byte.
 */
export interface OutputEntry {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Number of the entry. If several entries were merged for a slow client, number of the last one.
   */
  seq: number;
  /**
   * Number of the first entry that was merged into this notification. Absent in the log.
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
   * Position of the first byte in its stream, counted in the raw bytes of the program.
   */
  offset: number;
  /**
   * The bytes as UTF-8. U+FFFD replaces what is not UTF-8; `data` is present then.
   */
  text: string;
  /**
   * The exact bytes in base64 (RFC 4648, padded). Present only if they are not UTF-8.
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
 * A permission that was asked for.
 */
export interface PermissionItem {
  /**
   * Unique in the run; what `run/answer` names.
   */
  permissionId: string;
  /**
   * The tool call that it is about.
   */
  toolCallId: string;
  /**
   * An ACP `ToolCallUpdate`, complete, as it was asked; what becomes of the tool call later does not change it.
   */
  toolCall: {
    [k: string]: unknown;
  };
  /**
   * The whole of what is asked, for people to read; control characters and invisible ones are visible marks.
   */
  shown: ShownPart[];
  /**
   * The answers to choose from.
   */
  options: PermissionOption[];
  /**
   * What was answered; absent while the question is open.
   */
  resolved?: PermissionResolution | null;
}
/**
 * One option of a permission request (ACP `PermissionOption`).
 */
export interface PermissionOption {
  /**
   * The id that `run/answer` takes.
   */
  optionId: string;
  /**
   * A name for people.
   */
  name: string;
  /**
   * `allow_once`, `allow_always`, `reject_once` or `reject_always`.
   */
  kind: string;
}
/**
 * How a permission was resolved.
 */
export interface PermissionResolution {
  /**
   * The option that was chosen.
   */
  optionId?: string | null;
  /**
   * Nobody chose; nothing was allowed.
   */
  cancelled?: boolean | null;
  /**
   * The text that came with the choice.
   */
  message?: string | null;
  /**
   * Who resolved it.
   */
  by: ResolvedBy;
  /**
   * The rule that resolved it, by its id.
   */
  rule?: string | null;
}
/**
 * One step of a plan (ACP `PlanEntry`).
 */
export interface PlanEntry {
  /**
   * What is to be done, shortened to 4 KiB.
   */
  content: string;
  /**
   * `high`, `medium` or `low`.
   */
  priority?: string | null;
  /**
   * `pending`, `in_progress` or `completed`.
   */
  status: string;
}
/**
 * An agent's plan; one for each turn, and for each sub-agent in it.
 */
export interface PlanItem {
  /**
   * Its steps; at most 500.
   */
  entries: PlanEntry[];
}
/**
 * What an agent takes in a prompt beside text and links, as in ACP.
 */
export interface PromptCapabilities {
  /**
   * Whether it takes images. Where it does not, a prompt with one is refused.
   */
  image?: boolean;
  /**
   * Whether it takes audio. Where it does not, a prompt with some is refused.
   */
  audio?: boolean;
  /**
   * Whether it takes embedded resources. Where it does not, it gets their text.
   */
  embeddedContext?: boolean;
}
/**
 * What a provider can do.
 */
export interface ProviderCapabilities {
  /**
   * A new run can continue a session.
   */
  resume: boolean;
  /**
   * `run/send` works.
   */
  send: boolean;
  /**
   * `run/send` with `mode: "steer"` reaches a running turn.
   */
  steer: boolean;
  /**
   * `run/interrupt` stops a running turn without ending the run.
   */
  interrupt: boolean;
  /**
   * It makes permission requests.
   */
  permissions: boolean;
  /**
   * Its output also comes as `run/update`.
   */
  updates: boolean;
  /**
   * A run can be given MCP servers.
   */
  mcpServers?: boolean;
}
/**
 * A program that loomd knows how to run.
 */
export interface ProviderInfo {
  /**
   * The name that `run/start` takes as `provider`.
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
   * Whether it could be started now.
   */
  available: boolean;
  /**
   * The version that the program reports. Only `provider/list` has it.
   */
  version?: string | null;
  /**
   * The executable that a run would start.
   */
  program?: string | null;
  /**
   * If `available` is false: one sentence that says what to install or set.
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
   * All known providers, also those that cannot be started.
   */
  providers: ProviderInfo[];
}
/**
 * Which ended runs to delete: those that exceed any of these limits, the oldest first. Pinned and live runs are
 * neither counted nor deleted.
 */
export interface PruneParams {
  /**
   * Deletes runs that ended longer ago than this.
   */
  olderThanMs?: number | null;
  /**
   * Keeps only this many runs.
   */
  keepRuns?: number | null;
  /**
   * Deletes runs until the rows of all runs take no more than this.
   */
  maxBytes?: number | null;
}
/**
 * What was deleted.
 */
export interface PruneResult {
  /**
   * Number of runs that were deleted.
   */
  deletedRuns: number;
  /**
   * Bytes that they took, in files and rows. Rows on which other runs depend stay until those are deleted.
   */
  freedBytes: number;
  /**
   * Size of the database file now.
   */
  fileBytes: number;
  /**
   * Whether the file was compacted.
   */
  compacted: boolean;
  /**
   * Why it was not compacted, if much of it is free. New runs use the free space first.
   */
  reason?: string | null;
}
/**
 * The prompts of a run that wait for a turn.
 */
export interface QueueResult {
  /**
   * In the order of their turns.
   */
  prompts: QueuedPrompt[];
}
/**
 * A prompt that waits for a turn.
 */
export interface QueuedPrompt {
  /**
   * Its number; no other prompt of the run has it.
   */
  promptId: number;
  /**
   * ACP content blocks.
   */
  prompt: {
    [k: string]: unknown;
  }[];
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
   * Reads forward from the entry after this one. Default 0.
   */
  afterSeq?: number | null;
  /**
   * Reads the last entries before this one instead.
   */
  beforeSeq?: number | null;
  /**
   * Most bytes of the page. Default 1 MiB; more than 8 MiB counts as 8. A page has at least one entry if there is
   * one.
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
 * Which rule to remove.
 */
export interface RemoveRuleParams {
  /**
   * The rule's `id`.
   */
  ruleId: string;
}
/**
 * What the server deletes without a request. 0 means no limit.
 */
export interface Retention {
  /**
   * Deletes runs that ended this many days ago, at most a tenth of all runs a day.
   */
  maxAgeDays?: number;
  /**
   * Deletes the oldest runs until the rows take no more than this.
   */
  maxBytes?: number;
  /**
   * Deletes the oldest runs until there are no more than this.
   */
  maxRuns?: number;
}
/**
 * A remembered answer, as `rules.json` has it.
 */
export interface Rule {
  /**
   * Names the rule in `rule/remove`, and in the `rule` of the permissions that it resolved.
   */
  id: string;
  /**
   * What is answered.
   */
  decision: RuleDecision;
  /**
   * The run's provider, by its name.
   */
  provider?: string | null;
  /**
   * The `kind` of the tool call: `execute`, `edit`, `read`, …
   */
  toolKind?: string | null;
  /**
   * The command. In an allow `*` stands for letters, digits, blanks and `_./=:,@%+-`; in a deny for anything, and a deny also
   * finds a command that stands behind or inside of another.
   */
  command?: CommandPattern | null;
  /**
   * The files: an absolute path, or one that begins with `** /`. `*` stands for anything within one folder, `**` for any
   * number of folders. An allow matches if all files match, and its stars stand for no settings of git, editors, shells,
   * agents and CI; a deny matches if one file does.
   */
  path?: string | null;
  /**
   * The run works in this directory, or below it; absolute.
   */
  cwd?: string | null;
}
/**
 * The rule that was added, or that was there already.
 */
export interface RuleResult {
  /**
   * The rule.
   */
  rule: Rule;
}
/**
 * What a rule answers, and to which requests: all members that are given must match. An allow needs `command` or `path`.
 */
export interface RuleTerms {
  /**
   * What is answered.
   */
  decision: RuleDecision;
  /**
   * The run's provider, by its name.
   */
  provider?: string | null;
  /**
   * The `kind` of the tool call: `execute`, `edit`, `read`, …
   */
  toolKind?: string | null;
  /**
   * The command. In an allow `*` stands for letters, digits, blanks and `_./=:,@%+-`; in a deny for anything, and a deny also
   * finds a command that stands behind or inside of another.
   */
  command?: CommandPattern | null;
  /**
   * The files: an absolute path, or one that begins with `** /`. `*` stands for anything within one folder, `**` for any
   * number of folders. An allow matches if all files match, and its stars stand for no settings of git, editors, shells,
   * agents and CI; a deny matches if one file does.
   */
  path?: string | null;
  /**
   * The run works in this directory, or below it; absolute.
   */
  cwd?: string | null;
}
/**
 * The user's rules, in the order of their file.
 */
export interface RulesResult {
  /**
   * All of them.
   */
  rules: Rule[];
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
   * The provider, as `run/start` named it.
   */
  provider: string;
  /**
   * What the agent offers, as far as it has said so. Changes of it come as `run/changed`.
   */
  agent?: AgentOffer | null;
  /**
   * A line for people.
   */
  title?: string | null;
  /**
   * The title, else what a person would call the run: the first line of its prompt, else its command line.
   */
  displayTitle?: string;
  /**
   * Whether its provider tells what its output means. The transcript of any other run is its output. Known from the start on.
   */
  hasTranscript?: boolean;
  /**
   * Labels by which clients find the run.
   */
  labels: {
    [k: string]: string;
  };
  /**
   * A pinned run is never pruned.
   */
  pinned: boolean;
  /**
   * The params of the `run/start` that started it, for a rerun. `envNames` replaces `env`, whose values are never
   * stored. `stdinBytes` replaces a `stdin` of more than 1 MiB.
   */
  params: {
    [k: string]: unknown;
  };
  /**
   * The size of its terminal, if it runs in one.
   */
  tty?: TerminalSize | null;
  /**
   * Whether a notifier is started when it waits for an answer or ends and nobody who can answer is attached.
   */
  notify?: boolean;
  /**
   * The argv that was executed.
   */
  command: string[];
  /**
   * Where it was executed, as `run/start` named it, but without `.`, double slashes and a slash at the end.
   */
  cwd: string;
  /**
   * The state of the run.
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
   * Process id of the program, while it runs.
   */
  pid?: number | null;
  /**
   * The open permission requests: the `requested` entries that nobody has answered.
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
   * Why the run failed; of a live run, what delays it.
   */
  error?: RunError | null;
  /**
   * The session of the provider.
   */
  session?: Session | null;
  /**
   * The run that this one resumed.
   */
  parentRunId?: RunId | null;
  /**
   * The runs in whose process trees it was started, the innermost first. It ends with them.
   */
  enclosingRunIds?: RunId[];
  /**
   * When `run/start` came, Unix milliseconds.
   */
  createdAt: number;
  /**
   * When the program was spawned.
   */
  startedAt?: number | null;
  /**
   * When the run became final.
   */
  endedAt?: number | null;
  /**
   * The newest entry that is included here.
   */
  lastSeq: number;
  /**
   * Everything up to this entry would survive a power cut.
   */
  durableSeq: number;
  /**
   * How much the program has written.
   */
  bytes: RunBytes;
  /**
   * The newest file of the log, while the log is in files.
   */
  transcript?: string | null;
  /**
   * Usage of all its turns.
   */
  usage?: Usage | null;
  /**
   * When a client took its session over.
   */
  takenOverAt?: number | null;
}
/**
 * Bytes that the program wrote, by stream.
 */
export interface RunBytes {
  /**
   * Bytes on stdout; with a terminal, all bytes.
   */
  stdout: number;
  /**
   * Bytes on stderr.
   */
  stderr: number;
}
/**
 * Why a run or a turn failed.
 */
export interface RunError {
  /**
   * `auth`, `rateLimit`, `provider`, `protocol`, `spawn`, `sessionNotFound`, `outputLimit`, `storage`, `supervisor`
   * or `timeout`. Later versions may add others.
   */
  kind: string;
  /**
   * One sentence for people.
   */
  message: string;
}
/**
 * Which run the request is about.
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
   * The run.
   */
  runId: RunId;
  /**
   * The entry with the first byte of the match.
   */
  seq: number;
  /**
   * The stream.
   */
  stream: Stream;
  /**
   * Position of the match's first byte, counted in the raw bytes of the stream.
   */
  offset: number;
  /**
   * The line as people see it, without its line break; at most 4 KiB around the match.
   */
  line: string;
}
/**
 * What to search for, and where.
 */
export interface SearchParams {
  /**
   * A text or a regular expression, without a line break.
   */
  query: string;
  /**
   * Whether `query` is a regular expression, in the syntax of Rust's `regex` crate. Default false.
   */
  regex?: boolean | null;
  /**
   * Whether upper and lower case match each other. Default false.
   */
  ignoreCase?: boolean | null;
  /**
   * Searches only this run. Default: all runs, the newest first.
   */
  runId?: RunId | null;
  /**
   * Most hits of the page, 1 to 1000. Default 50.
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
   * Hits of the newest run first, within a run in the order of its log. The list may be empty though there is a
   * `nextCursor`.
   */
  hits: SearchHit[];
  /**
   * `cursor` of the next page; absent when everything has been searched.
   */
  nextCursor?: string | null;
}
/**
 * What to send to a run.
 */
export interface SendParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * For `command`: text that is written to its stdin as it is.
   */
  text?: string | null;
  /**
   * For agents: the follow-up prompt.
   */
  prompt?: Prompt | null;
  /**
   * When an agent takes the prompt. Default `queue`.
   */
  mode?: SendMode | null;
  /**
   * A second `run/send` to the run with the same token sends nothing and answers as the first one did, so that it may be sent
   * again after a connection that broke. The run remembers the last 64 tokens. A failed send frees its token. If the
   * run's supervisor is of an older version, the answer is `unsupported`.
   */
  clientToken?: string | null;
}
/**
 * What became of a prompt or text that was sent.
 */
export interface SendResult {
  /**
   * The number of a prompt in the run's queue, where it waits or waited for its turn. Absent for text, for a prompt that went
   * into the running turn, and from a supervisor of an older version.
   */
  promptId?: number | null;
}
/**
 * What this server supports.
 */
export interface ServerCapabilities {
  /**
   * The methods that the server answers.
   */
  methods: string[];
  /**
   * Longest frame that the server accepts, in bytes.
   */
  maxFrameBytes: number;
  /**
   * How the server delivers output to this client.
   */
  output: OutputCapabilities;
  /**
   * The server knows the `clientToken` of `run/send`. Absent: its version is an older one, which ignores it.
   */
  sendToken?: boolean;
}
/**
 * The server's name and version.
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
   * The file in which the provider stores it.
   */
  path?: string | null;
  /**
   * False until the provider has stored the session, which is some time after its id is known.
   */
  resumable: boolean;
  /**
   * Ways to continue it, best first.
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
   * The session as far as it is known now.
   */
  session: Session;
}
/**
 * Which provider's sessions to list.
 */
export interface SessionsParams {
  /**
   * The provider, as `run/start` names it.
   */
  provider: string;
  /**
   * Lists only sessions of this directory; absolute.
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
   * `cursor` of the next page; absent on the last one.
   */
  nextCursor?: string | null;
}
/**
 * The new size of a run's terminal.
 */
export interface SetSizeParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * How many rows.
   */
  rows: number;
  /**
   * How many columns.
   */
  cols: number;
}
/**
 * One part of what a permission is asked for.
 */
export interface ShownPart {
  /**
   * `title`, `command`, `file`, `content`, `diff`, or the name of the tool's own parameter.
   */
  label: string;
  /**
   * Its value, in one or several lines.
   */
  text: string;
}
/**
 * The size of the run's terminal: at its start, and at each change.
 */
export interface SizeEntry {
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
   * How many rows.
   */
  rows: number;
  /**
   * How many columns.
   */
  cols: number;
}
/**
 * What to run and how.
 */
export interface StartParams {
  /**
   * `command`, `codex`, `claude`, `acp`, or a name from the configuration.
   */
  provider: string;
  /**
   * The prompt for an agent: text, or ACP content blocks. loomd passes it over stdin or the agent's protocol, never
   * through a shell.
   */
  prompt?: Prompt | null;
  /**
   * The argv. `command` and `acp` require it; the others refuse it.
   */
  command?: string[] | null;
  /**
   * Arguments that are appended to the provider's own argv.
   */
  args?: string[] | null;
  /**
   * The working directory; absolute. Default: the server's own.
   */
  cwd?: string | null;
  /**
   * Variables that are added to the environment; null removes one. The values are never stored.
   */
  env?: {
    [k: string]: string | null;
  };
  /**
   * For `command`: text that is written to its stdin, which is then closed unless the run is interactive.
   */
  stdin?: string | null;
  /**
   * Runs the program under a pseudoterminal, for programs that buffer their output in a pipe: `true`, or the size of
   * the terminal. Default size: 24 rows, 80 columns.
   */
  tty?: TtyChoice | null;
  /**
   * Continues a session of an agent. `command` has none and answers `unsupported`.
   */
  resume?: Resume | null;
  /**
   * Keeps the run open for `run/send` after a turn. Default false.
   */
  interactive?: boolean | null;
  /**
   * For agents: the model, by the provider's own name.
   */
  model?: string | null;
  /**
   * MCP servers that the agent can use in this run, besides those of its own settings. The values of their variables and headers
   * are never stored; `params.mcpServerNames` of the run names the servers.
   */
  mcpServers?: McpServer[];
  /**
   * The permission mode. Default `ask`: the agent waits until a client answers.
   */
  permissions?: PermissionMode | null;
  /**
   * A run that takes longer than this is ended. Time in which the machine sleeps does not count.
   */
  timeoutMs?: number | null;
  /**
   * A run that writes nothing for this long is ended. Time in which the machine sleeps does not count.
   */
  idleTimeoutMs?: number | null;
  /**
   * The input of an interactive run is closed, as by `run/closeInput`, when the run has been idle with nobody
   * attached for this long. Default: 30 minutes.
   */
  keepIdleMs?: number | null;
  /**
   * What happens when the last attached client disconnects: the run goes on (`detach`, the default), or it is
   * canceled after 5 s.
   */
  onDisconnect?: OnDisconnect | null;
  /**
   * `false`, or the kinds of entries that the client receives. Default: all.
   */
  attach?: AttachChoice | null;
  /**
   * Programs that are not ended with the run, besides the usual build daemons. A notice names a daemon that was ended.
   */
  keep?: string[] | null;
  /**
   * A run that writes more bytes than this to both streams together is canceled with error `outputLimit`. Default:
   * no limit.
   */
  maxOutputBytes?: number | null;
  /**
   * Whether the user's notifier is started when the run waits for an answer or ends and nobody who can answer is attached.
   * `true`: also by the desktop's own notifier, where the configuration has none. Default: if the configuration has one.
   */
  notify?: boolean | null;
  /**
   * A line for people.
   */
  title?: string | null;
  /**
   * Labels by which clients find the run.
   */
  labels?: {
    [k: string]: string;
  };
  /**
   * A second `run/start` with the same token returns the run that the first one started. A failed start frees the
   * token.
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
   * Why the turn ended: an ACP `StopReason` (`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`)
   * or `error`.
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
   * Why the run or the turn failed.
   */
  error?: RunError | null;
  /**
   * Usage of this turn.
   */
  usage?: Usage | null;
  /**
   * Processes of the run's tree that were kept (`keep`) or could not be ended.
   */
  left?: LeftProcess[];
}
/**
 * Statistics of the store. Live runs count with their files.
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
   * Bytes of all entries as JSON lines.
   */
  logicalBytes: number;
  /**
   * Bytes of the rows and log files that hold them.
   */
  storedBytes: number;
  /**
   * Size of the database file. Space that deletions freed in it is reused first.
   */
  fileBytes: number;
  /**
   * Bytes that were not stored again because the store had them: those of long texts (a tool's result, a file) after
   * their first use, and what `deltaBytes` is more than `deltaStoredBytes`.
   */
  dedupedBytes: number;
  /**
   * Number of long texts that are stored once.
   */
  texts: number;
  /**
   * Bytes of these long texts.
   */
  textBytes: number;
  /**
   * Bytes of the rows that hold these long texts.
   */
  textStoredBytes: number;
  /**
   * Bytes that are stored as the difference to equal or similar output, of the same run or of an earlier one.
   */
  deltaBytes: number;
  /**
   * Bytes of the rows that hold these differences.
   */
  deltaStoredBytes: number;
  /**
   * Bytes of rows of deleted runs that stay because rows of other runs build on them.
   */
  keptBytes: number;
  /**
   * What this server deletes on its own, as configured.
   */
  retention?: Retention;
  /**
   * Version of the store's format.
   */
  formatVersion: number;
}
/**
 * Which entries must be durable.
 */
export interface SyncParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * All entries up to this one. Default: up to the newest entry.
   */
  seq?: number | null;
}
/**
 * Which entries are durable.
 */
export interface SyncResult {
  /**
   * Everything up to this entry would survive a power cut.
   */
  durableSeq: number;
}
/**
 * One way to continue a session in a terminal.
 */
export interface Takeover {
  /**
   * How the session is continued.
   */
  kind: TakeoverKind;
  /**
   * Whether this way was tested with this version of the provider.
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
   * Variables to add to the environment.
   */
  env?: {
    [k: string]: string;
  } | null;
  /**
   * One line for people.
   */
  display: string;
}
/**
 * How to take a session over.
 */
export interface TakeoverParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * Which way to choose. Default: the best one that is available.
   */
  kind?: TakeoverKind | null;
  /**
   * Whether to end the headless process first. Default true.
   */
  stop?: boolean | null;
}
/**
 * How to continue the session.
 */
export interface TakeoverResult {
  /**
   * The way that was chosen.
   */
  takeover: Takeover;
}
/**
 * The size of a terminal, in characters.
 */
export interface TerminalSize {
  /**
   * How many rows.
   */
  rows: number;
  /**
   * How many columns.
   */
  cols: number;
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
   * The stream. Default: both, in order of arrival and counted together.
   */
  stream?: Stream | null;
  /**
   * The first byte. Default 0. An offset inside a character counts as that character's first byte.
   */
  offset?: number | null;
  /**
   * Most bytes of the page. Default 1 MiB; more than 8 MiB counts as 8. A page never ends inside a character.
   */
  maxBytes?: number | null;
  /**
   * Reads this many last lines instead of from `offset`. A last line without its line feed counts.
   */
  lastLines?: number | null;
}
/**
 * A page of output.
 */
export interface TextResult {
  /**
   * The output as UTF-8, with U+FFFD where the program wrote something else.
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
   * Raw bytes that the program has written so far.
   */
  totalBytes: number;
}
/**
 * A tool call.
 */
export interface ToolItem {
  /**
   * Unique in the run; an item that `continues` another has the id of that one.
   */
  toolCallId: string;
  /**
   * What a person reads.
   */
  title: string;
  /**
   * ACP's `ToolKind`: `read`, `edit`, `delete`, `move`, `search`, `execute`, `think`, `fetch`, `switch_mode`, `other`.
   */
  toolKind: string;
  /**
   * ACP's `ToolCallStatus`: `pending`, `in_progress`, `completed` or `failed`.
   */
  status: string;
  /**
   * The files that it works on: ACP's `ToolCallLocation`, `{path, line?}`.
   */
  locations: ToolLocation[];
  /**
   * What the tool was given; `{omitted: true}` where its JSON is over 64 KiB.
   */
  rawInput?: {
    [k: string]: unknown;
  };
  /**
   * What it printed or answered.
   */
  output?: Output | null;
  /**
   * What it changes, or is to change, file by file.
   */
  diffs: FileDiff[];
  /**
   * The permissions that were asked for it.
   */
  permissions: string[];
}
/**
 * A file that a tool call works on.
 */
export interface ToolLocation {
  /**
   * Its path.
   */
  path: string;
  /**
   * The line, counted from 1.
   */
  line?: number | null;
}
/**
 * The end of a turn, or of the run.
 */
export interface TurnItem {
  /**
   * `idle`, or the final state of the run.
   */
  state: RunState;
  /**
   * An ACP `StopReason`, or `error`.
   */
  stopReason?: string | null;
  /**
   * What this turn used.
   */
  usage?: Usage | null;
  /**
   * What went wrong.
   */
  error?: RunError | null;
  /**
   * The program's exit code, if it exited.
   */
  exitCode?: number | null;
  /**
   * The signal that ended the program, by name.
   */
  signal?: string | null;
}
/**
 * Which prompt to take back.
 */
export interface UnqueueParams {
  /**
   * Which run.
   */
  runId: RunId;
  /**
   * The number of the prompt, from `run/send` or `run/queue`.
   */
  promptId: number;
}
/**
 * The meaning of the output, as an update of the Agent Client Protocol (ACP), schema 1.15.
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
   * An ACP v1 `SessionUpdate`: an open object with `sessionUpdate: string`. Clients ignore variants that they do not
   * know.
   */
  update: {
    [k: string]: unknown;
  };
}
/**
 * Tokens and costs.
 */
export interface Usage {
  /**
   * Input tokens.
   */
  inputTokens?: number | null;
  /**
   * Output tokens.
   */
  outputTokens?: number | null;
  /**
   * Input tokens from the provider's cache.
   */
  cachedInputTokens?: number | null;
  /**
   * US dollars, if the provider reports them.
   */
  costUsd?: number | null;
}
