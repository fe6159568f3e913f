---@meta
-- The words of the loomd protocol, version 1.
-- Written by scripts/types.lua from docs/protocol.schema.json: change the schema and run the script again.

---An answer to a permission request; either `optionId` or `cancelled`.
---@class loomd.AnswerParams
---@field cancelled? boolean `true`: refuse to choose.
---@field message? string What the agent is told beside the choice.
---@field optionId? string The option that was chosen.
---@field permissionId string Which question.
---@field runId loomd.RunId Which run.

---What the starter is attached to.
---@alias loomd.AttachChoice boolean|any[]|{ kinds?: loomd.Kind[] }

---What to follow.
---@class loomd.AttachParams
---@field afterSeq? integer Everything after this entry comes as notifications; default 0.
---@field kinds? loomd.Kind[] Chooses among `output` and `update`; the others always come.
---@field runId loomd.RunId Which run.

---Which run to end.
---@class loomd.CancelParams
---@field graceMs? integer How long the program may take to end by itself, in milliseconds; default 2000. A shorter grace later wins.
---@field runId loomd.RunId Which run.

---Params of `$/cancelRequest`.
---@class loomd.CancelRequestParams
---@field id integer|string Id of the request: a number or a string.

---What happened to a file.
---@alias loomd.ChangeKind "add"|"modify"|"delete"|"move"

---A file that a run changed, from its first change to its last.
---@class loomd.ChangedFile
---@field kind loomd.ChangeKind What happened to it.
---@field newText? string The text after.
---@field oldText? string The text before, as far as the provider told it: the whole file, or the part that was replaced.
---@field patch? string Unified patches, in their order, where the provider told only those.
---@field path string As the provider named it; usually absolute.

---The files that a run changed.
---@class loomd.ChangesResult
---@field complete boolean False where commands may have written files too, of which the provider said nothing.
---@field files loomd.ChangedFile[] In the order in which they were first changed.

---Something to choose.
---@class loomd.Choice
---@field id string The provider's word for it.
---@field name string What a person reads.

---What a client wants and can do.
---@class loomd.ClientCapabilities
---@field output? loomd.OutputCapabilities How output is to be delivered.
---@field permissions? boolean A person who can answer is there. Changes no delivery.
---@field watch? boolean Hear of all runs; false: only of own and attached ones.

---Who the client is.
---@class loomd.ClientInfo
---@field name string Name of the client.
---@field version? string Its version.

---What to set.
---@class loomd.ConfigureParams
---@field model? string The new model.
---@field permissions? loomd.PermissionMode Who decides from now on.
---@field runId loomd.RunId Which run.

---What a deletion brought.
---@class loomd.DeleteResult
---@field freedBytes integer Bytes that the run took, in files and rows.

---Params of `run/deleted`.
---@class loomd.DeletedParams
---@field runIds loomd.RunId[] The runs that are gone.

---What to change about a run.
---@class loomd.EditParams
---@field labels? table<string, string> Replaces all labels.
---@field pinned? boolean A pinned run is never pruned.
---@field runId loomd.RunId Which run.
---@field title? string The new title.

---No params, or none that matter.
---@alias loomd.Empty table<string, any>

---One numbered entry of a run's log. `seq` counts 1, 2, 3 … over all kinds.
---@alias loomd.Entry loomd.OutputEntry|loomd.SessionEntry|loomd.UpdateEntry|loomd.PermissionEntry|loomd.StateEntry

---A `data` object of an error answer.
---@class loomd.ErrorData
---@field kind loomd.FailureKind Which failure it is.

---What a run is exported as.
---@alias loomd.ExportFormat "text"|"jsonl"|"markdown"|"html"|"asciicast"

---What to make of a run, and where.
---@class loomd.ExportParams
---@field format loomd.ExportFormat As what.
---@field path? string Absolute: a file, written whole or not at all. One that is there is replaced and its mode kept; a new one is its owner's alone.
---@field runId loomd.RunId Which run.

---`path` where one was given, else `content`.
---@class loomd.ExportResult
---@field content? string As UTF-8; U+FFFD where the program wrote something else (`text` alone).
---@field path? string The file that was written, and is durable.

---`data.kind` of an error answer. Each belongs to one code.
---@alias loomd.FailureKind "parse"|"invalidRequest"|"methodNotFound"|"invalidParams"|"internal"|"notInitialized"|"cancelled"|"runNotFound"|"providerNotFound"|"spawnFailed"|"runActive"|"runNotActive"|"unsupported"|"store"|"limit"|"sessionBusy"|"permissionNotFound"|"permissionResolved"|"config"

---How a client introduces itself.
---@class loomd.InitializeParams
---@field capabilities? loomd.ClientCapabilities What the client wants and can do.
---@field clientInfo? loomd.ClientInfo Who speaks; for logs.
---@field processId? integer The server exits when this process ends.
---@field protocolVersion integer The version that the client speaks.

---How the server introduces itself.
---@class loomd.InitializeResult
---@field capabilities loomd.ServerCapabilities What this server can do.
---@field protocolVersion integer The version that the server speaks, the newest one it knows.
---@field providers loomd.ProviderInfo[] What a look at PATH tells; `provider/list` knows the versions too.
---@field serverInfo loomd.ServerInfo Who answers.
---@field storePath string Where the store is.

---The kinds of entries, as `kinds` filters name them.
---@alias loomd.Kind "output"|"session"|"update"|"permission"|"state"

---A process that outlived its run.
---@class loomd.LeftProcess
---@field command string Its command line, words joined by spaces, shortened to 200 bytes.
---@field pid integer Its process id.

---Which runs to list.
---@class loomd.ListParams
---@field cursor? string `nextCursor` of the page before.
---@field cwd? string Only runs in this directory, by its name; `.`, doubled slashes and a slash at its end do not count.
---@field label? table<string, string> All of these labels must be there, with these values.
---@field limit? integer Default 50; more than 500 counts as 500.
---@field provider? string Only runs of this provider.
---@field sessionId? string Only runs of this provider session.
---@field states? loomd.RunState[] Only runs in one of these states.

---A page of runs.
---@class loomd.ListResult
---@field nextCursor? string For the next page; absent on the last one.
---@field runs loomd.Run[] Newest first.

---One session of a provider.
---@class loomd.ListedSession
---@field cwd? string Where it works.
---@field id string The provider's own id, for `run/start`'s `resume`.
---@field runId? loomd.RunId The newest run here that had it.
---@field title? string A line for people.
---@field updatedAt? integer When it was last used, Unix milliseconds.

---What becomes of a run that nobody follows any more.
---@alias loomd.OnDisconnect "detach"|"cancel"

---Whose options.
---@class loomd.OptionsParams
---@field cwd? string Absolute; where a run would work. Default: the server's own working directory.
---@field provider string As `run/start` names it.

---What can be chosen, as far as the provider tells.
---@class loomd.OptionsResult
---@field models? loomd.Choice[] For `run/start`'s `model`.
---@field modes? loomd.Choice[] The provider's own modes of permission.

---How output is to be delivered.
---@class loomd.OutputCapabilities
---@field maxChunkBytes? integer Most raw bytes of output in one notification; 4 at least, so that every character fits.
---@field minIntervalMs? integer Hold output back until so many milliseconds are over or `maxChunkBytes` wait.

---What the program wrote, byte for byte.
---@class loomd.OutputEntry
---@field at integer When the bytes were read, Unix milliseconds.
---@field data? string The exact bytes in base64 (RFC 4648, padded), only where they are not UTF-8.
---@field firstSeq? integer Number of the first entry merged into this notification; absent in the log itself.
---@field offset integer Position of the first byte within its own stream, counted in the program's raw bytes.
---@field runId loomd.RunId Which run.
---@field seq integer Number of the entry; of the last one, where several were merged for a slow client.
---@field stream loomd.Stream Which of the two streams.
---@field text string The bytes as UTF-8. U+FFFD stands where the program wrote something else, and then `data` is there.
---@field kind? "output"|"session"|"update"|"permission"|"state" Which kind of entry it is.

---A provider asks for a decision, or a question was settled.
---@class loomd.PermissionEntry
---@field at integer When, Unix milliseconds.
---@field permissionId string Unique in the run.
---@field runId loomd.RunId Which run.
---@field seq integer Number of the entry.
---@field by? loomd.ResolvedBy Who settled it.
---@field cancelled? boolean Nobody chose; nothing was allowed.
---@field message? string What was said beside the choice.
---@field optionId? string The option that was chosen.
---@field options? loomd.PermissionOption[] The answers to choose from.
---@field status "requested"|"resolved"
---@field toolCall? table<string, any> An ACP `ToolCallUpdate`, complete.
---@field kind? "output"|"session"|"update"|"permission"|"state" Which kind of entry it is.

---Who decides what an agent may do.
---@alias loomd.PermissionMode "ask"|"acceptEdits"|"readOnly"|"bypass"

---One answer that a permission request offers (ACP `PermissionOption`).
---@class loomd.PermissionOption
---@field kind string `allow_once`, `allow_always`, `reject_once` or `reject_always`.
---@field name string What a person reads.
---@field optionId string What `run/answer` names.

---Text, or ACP content blocks.
---@alias loomd.Prompt string|table<string, any>[]

---What a provider can do.
---@class loomd.ProviderCapabilities
---@field interrupt boolean A running turn can be stopped without ending the run.
---@field permissions boolean It asks before it acts.
---@field resume boolean A session can be gone on with in a new run.
---@field send boolean `run/send` is understood.
---@field steer boolean `run/send` with `mode: "steer"` reaches a running turn.
---@field updates boolean Its output is also told as `run/update`.

---A program that loomd knows how to run.
---@class loomd.ProviderInfo
---@field available boolean It could be started now.
---@field capabilities loomd.ProviderCapabilities What it can do.
---@field id string What `run/start` takes as `provider`.
---@field kind string `command`, `codex`, `claude` or `acp`.
---@field program? string The executable that would be started.
---@field reason? string What to install or set, when `available` is false; one sentence.
---@field title string A name for people.
---@field version? string What the program says of itself; `provider/list` only.

---The providers.
---@class loomd.ProvidersResult
---@field providers loomd.ProviderInfo[] All that are known, also those that cannot be started.

---Which ended runs to remove: those that any of the bounds is against, the oldest first. Pinned and live runs are neither counted nor touched.
---@class loomd.PruneParams
---@field keepRuns? integer All but so many.
---@field maxBytes? integer As many as it takes until the rows of all runs take no more than this.
---@field olderThanMs? integer Those that ended longer ago.

---What pruning came to.
---@class loomd.PruneResult
---@field compacted boolean The file was made shorter.
---@field deletedRuns integer Runs that were removed.
---@field fileBytes integer Size of the database file now.
---@field freedBytes integer Bytes that they took, in files and rows. What other runs build on stays until those go.
---@field reason? string Why it was not, where there is much room in it that new runs will use first.

---Which entries to read.
---@class loomd.ReadParams
---@field afterSeq? integer Read forward, from the entry after this one; default 0.
---@field beforeSeq? integer Read the last entries before this one instead.
---@field kinds? loomd.Kind[] Only entries of these kinds; default: all.
---@field maxBytes? integer Default 1 MiB; more than 8 MiB counts as 8. At least one entry comes where there is one.
---@field runId loomd.RunId Which run.

---Entries, ascending. Forward: `nextAfterSeq` and `atEnd`. Backward: `prevBeforeSeq` and `atStart`.
---@class loomd.ReadResult
---@field atEnd? boolean Nothing comes after this page, for now.
---@field atStart? boolean The page begins with the first entry.
---@field entries loomd.Entry[] The page.
---@field nextAfterSeq? integer `afterSeq` of the next page.
---@field prevBeforeSeq? integer `beforeSeq` of the page before.

---Who settled a question.
---@alias loomd.ResolvedBy "client"|"policy"|"provider"

---Which session to go on with.
---@alias loomd.Resume { runId: loomd.RunId }|{ sessionId: string }

---What is removed without being asked for. 0 is no bound.
---@class loomd.Retention
---@field maxAgeDays? integer Runs that ended so many days ago; at most a tenth of all runs a day.
---@field maxBytes? integer The oldest runs, until rows take no more than this.
---@field maxRuns? integer The oldest runs, until there are no more than this.

---A run: its description, and its state as of the entry `lastSeq`.
---@class loomd.Run
---@field bytes loomd.RunBytes What the program wrote so far.
---@field command string[] The argv that was executed.
---@field createdAt integer When it was asked for, Unix milliseconds.
---@field cwd string Where it was executed; as it was asked for, but without `.`, doubled slashes and a slash at its end.
---@field durableSeq integer Everything up to this entry would survive a power cut.
---@field endedAt? integer When it became final.
---@field error? loomd.RunError What went wrong; of a live run, what holds it up.
---@field exitCode? integer The program's exit code, if it exited.
---@field id loomd.RunId Its identifier; ids sort by time of creation.
---@field labels table<string, string> For whoever looks for the run.
---@field lastSeq integer The newest entry that this picture includes.
---@field params table<string, any> The params of the `run/start` that made it, for a rerun; `envNames` stands for `env`, whose values are never stored.
---@field parentRunId? loomd.RunId The run that this one resumed.
---@field permissions? loomd.PermissionEntry[] The open questions: `requested` entries that nobody has answered.
---@field pid? integer Process id of the program, while it lives.
---@field pinned boolean A pinned run is never pruned.
---@field provider string As `run/start` named it.
---@field queued? integer Prompts that wait for their turn.
---@field session? loomd.Session The provider's conversation behind the run.
---@field signal? string The signal that ended the program, by name (`SIGKILL`).
---@field startedAt? integer When the program was spawned.
---@field state loomd.RunState Where it stands.
---@field takenOverAt? integer When somebody took its session over.
---@field title? string A line for people.
---@field transcript? string The newest file of the log, while the log is a file.
---@field turn? integer The newest turn: 1, 2, …
---@field usage? loomd.Usage What all its turns used.

---Bytes that the program wrote, by stream.
---@class loomd.RunBytes
---@field stderr integer On stderr.
---@field stdout integer On stdout; with a terminal, everything.

---Why a run or a turn failed.
---@class loomd.RunError
---@field kind string `auth`, `rateLimit`, `provider`, `protocol`, `spawn`, `sessionNotFound`, `outputLimit`, `storage`, `supervisor` or `timeout`; more may come.
---@field message string One sentence for a person.

---Identifier of a run: a UUID version 7 (RFC 9562), so that ids sort by time of creation.
---@alias loomd.RunId string

---Names one run.
---@class loomd.RunIdParams
---@field runId loomd.RunId Which run.

---One run.
---@class loomd.RunResult
---@field run loomd.Run The run as it is now.

---Where a run stands. The last five are final.
---@alias loomd.RunState "starting"|"running"|"awaitingPermission"|"idle"|"succeeded"|"failed"|"cancelled"|"timedOut"|"lost"

---A line with a match.
---@class loomd.SearchHit
---@field line string The line as people see it, without its line break; past 4 KiB only what stands around the match.
---@field offset integer First byte of the match, counted in the raw bytes of its stream.
---@field runId loomd.RunId In which run.
---@field seq integer The entry that holds the first byte of the match.
---@field stream loomd.Stream In which stream.

---What to look for, and where.
---@class loomd.SearchParams
---@field cursor? string `nextCursor` of the page before.
---@field ignoreCase? boolean Upper and lower case are the same; default false.
---@field limit? integer Most hits of a page, 1 to 1000; default 50.
---@field query string A text, or a regular expression; of one line.
---@field regex? boolean `query` is a regular expression, in the syntax of Rust's `regex` crate; default false.
---@field runId? loomd.RunId Only this run; default: all, the newest first.

---A page of hits.
---@class loomd.SearchResult
---@field hits loomd.SearchHit[] The newest run first, and within a run in the order of its log. May be empty though there is a `nextCursor`.
---@field nextCursor? string Where the next page goes on; absent when everything has been searched.

---When a prompt is taken.
---@alias loomd.SendMode "queue"|"steer"

---What to hand to a run.
---@class loomd.SendParams
---@field mode? loomd.SendMode Default `queue`.
---@field prompt? loomd.Prompt For agents: the follow-up prompt.
---@field runId loomd.RunId Which run.
---@field text? string For `command`: written to its stdin as it is.

---What this server can do.
---@class loomd.ServerCapabilities
---@field maxFrameBytes integer Longest frame that it takes, in bytes.
---@field methods string[] The methods that it answers.
---@field output loomd.OutputCapabilities How output will be delivered to this client.

---Who the server is.
---@class loomd.ServerInfo
---@field name string `loomd`.
---@field version string Its version.

---A provider's session.
---@class loomd.Session
---@field id string The provider's own id.
---@field path? string File in which the provider keeps it.
---@field provider string Whose session it is.
---@field resumable boolean False from the moment the id is announced until the provider has really kept the session.
---@field takeover loomd.Takeover[] Ways to go on with it, best first.

---The provider's session became known, or more of it did.
---@class loomd.SessionEntry
---@field at integer When, Unix milliseconds.
---@field runId loomd.RunId Which run.
---@field seq integer Number of the entry.
---@field session loomd.Session All that is known of it now.
---@field kind? "output"|"session"|"update"|"permission"|"state" Which kind of entry it is.

---Whose sessions.
---@class loomd.SessionsParams
---@field cursor? string The `nextCursor` of the page before.
---@field cwd? string Only those of this directory; absolute.
---@field provider string As `run/start` names it.

---A page of the provider's own sessions, also those made outside of loomd.
---@class loomd.SessionsResult
---@field nextCursor? string There is more.
---@field sessions? loomd.ListedSession[] In the provider's order, which usually is newest first.

---What to run, and how.
---@class loomd.StartParams
---@field args? string[] Appended to the provider's own argv.
---@field attach? loomd.AttachChoice `false`, or the kinds that the starter is attached to; default: everything.
---@field clientToken? string The same token again answers with the run that it already started. A failed start frees it.
---@field command? string[] The argv; required for `command` and `acp`, refused for the others.
---@field cwd? string Absolute; default: the server's own working directory.
---@field env? table<string, string> Added to the environment; null removes a variable. Values are never stored.
---@field idleTimeoutMs? integer Limit on the time without any output, awake time in milliseconds.
---@field interactive? boolean Stay open for `run/send` after a turn ends; default false.
---@field keep? string[] Programs that the final sweep spares, beside the usual build daemons.
---@field keepIdleMs? integer An interactive run that is idle with nobody attached for so long gets `closeInput`; default 30 minutes.
---@field labels? table<string, string> For whoever looks for the run later.
---@field maxOutputBytes? integer Both streams together, in bytes; a run that writes more is cancelled with error `outputLimit`. Default: none.
---@field model? string For agents: which model, in the provider's own words.
---@field onDisconnect? loomd.OnDisconnect What happens when the last attached client goes: the run goes on (`detach`, the default), or is cancelled after 5 s.
---@field permissions? loomd.PermissionMode Default `ask`: wait until somebody can answer.
---@field prompt? loomd.Prompt What an agent is asked: text, or ACP content blocks. Passed by stdin or protocol, never through a shell.
---@field provider string `command`, `codex`, `claude`, `acp`, or a name from the configuration.
---@field resume? loomd.Resume Go on with a session of an agent; `command` has none and answers `unsupported`.
---@field stdin? string For `command`: written to its stdin, which is then closed unless the run is interactive.
---@field timeoutMs? integer Limit on the whole run, awake time in milliseconds.
---@field title? string A line for people.
---@field tty? boolean Run under a pseudoterminal (for programs that buffer their output in a pipe).

---The run changed its state. A final one is the last entry of the log.
---@class loomd.StateEntry
---@field at integer When, Unix milliseconds.
---@field error? loomd.RunError What went wrong.
---@field exitCode? integer The program's exit code, if it exited.
---@field left? loomd.LeftProcess[] Processes of the run's tree that were spared (`keep`) or could not be ended.
---@field runId loomd.RunId Which run.
---@field seq integer Number of the entry.
---@field signal? string The signal that ended the program, by name (`SIGKILL`).
---@field state loomd.RunState The new state.
---@field stopReason? string Why the turn ended: an ACP `StopReason` (`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`) or `error`.
---@field turn? integer The turn that begins or ends here: 1, 2, …
---@field usage? loomd.Usage What this turn used.
---@field kind? "output"|"session"|"update"|"permission"|"state" Which kind of entry it is.

---What the store holds. Live runs count with their files.
---@class loomd.StatsResult
---@field dedupedBytes integer Bytes of long texts (a tool's result, a file) that were not stored because the same text was there already: all uses but one.
---@field deltaBytes integer Bytes that are kept as what differs from an earlier run of the same command,
---@field deltaStoredBytes integer and those of the rows that hold them.
---@field entries integer Entries of all logs.
---@field fileBytes integer Size of the database file. What deletions leave free in it is used again first.
---@field formatVersion integer Version of the store's format.
---@field keptBytes integer Bytes of rows of deleted runs that stay because other runs build on them.
---@field liveRuns integer Runs that have not ended.
---@field logicalBytes integer Bytes of the entries as JSON lines.
---@field retention? loomd.Retention What this server removes by itself, as configured.
---@field runs integer Runs, live ones too.
---@field storedBytes integer Bytes of the rows and log files that hold them.
---@field textBytes integer their bytes,
---@field textStoredBytes integer and those of the rows that hold them.
---@field texts integer Long texts that are kept once,

---One of the program's two output streams. Under a pseudoterminal everything is `stdout`.
---@alias loomd.Stream "stdout"|"stderr"

---What is to be durable.
---@class loomd.SyncParams
---@field runId loomd.RunId Which run.
---@field seq? integer Default: the newest entry.

---What is durable.
---@class loomd.SyncResult
---@field durableSeq integer Everything up to this entry would survive a power cut.

---One way to go on with a session in a terminal.
---@class loomd.Takeover
---@field command? string[] The argv to execute.
---@field cwd? string Where to execute it.
---@field display string One line for a person.
---@field env? table<string, string> What to add to the environment.
---@field kind loomd.TakeoverKind How.
---@field reason? string Why it is unverified or unavailable.
---@field verified boolean It was seen to work with this version of the provider.

---How a session is gone on with.
---@alias loomd.TakeoverKind "live"|"resume"|"fork"|"load"|"replayCommand"

---How to take over.
---@class loomd.TakeoverParams
---@field kind? loomd.TakeoverKind Default: the best one there is.
---@field runId loomd.RunId Which run.
---@field stop? boolean End the headless process first; default true.

---How to go on with the session.
---@class loomd.TakeoverResult
---@field takeover loomd.Takeover The way that was chosen.

---Which output to read.
---@class loomd.TextParams
---@field lastLines? integer The last so many lines instead of `offset`; an unfinished last line is a line.
---@field maxBytes? integer Default 1 MiB; more than 8 MiB counts as 8. A page never cuts a character.
---@field offset? integer First byte; default 0. Inside a character, it counts as that character's first byte.
---@field runId loomd.RunId Which run.
---@field stream? loomd.Stream Default: both, in order of arrival and counted together.

---A page of output.
---@class loomd.TextResult
---@field nextOffset integer `offset` of the next page.
---@field offset integer Where `text` begins, in raw bytes.
---@field text string As UTF-8; U+FFFD where the program wrote something else.
---@field totalBytes integer Raw bytes that there are by now.

---What the output means, in the words of the Agent Client Protocol, schema 1.15.
---@class loomd.UpdateEntry
---@field at integer When, Unix milliseconds.
---@field runId loomd.RunId Which run.
---@field seq integer Number of the entry.
---@field update table<string, any> An ACP v1 `SessionUpdate`: an open object with `sessionUpdate: string`. Variants that a client does not know are to be ignored.
---@field kind? "output"|"session"|"update"|"permission"|"state" Which kind of entry it is.

---What a model was paid for.
---@class loomd.Usage
---@field cachedInputTokens? integer Tokens read from the provider's cache.
---@field costUsd? number In US dollars, where the provider says so.
---@field inputTokens? integer Tokens read.
---@field outputTokens? integer Tokens written.

---The methods that the protocol names.
---@alias loomd.Method "initialize"|"provider/list"|"provider/options"|"run/answer"|"run/attach"|"run/cancel"|"run/changes"|"run/closeInput"|"run/configure"|"run/delete"|"run/detach"|"run/edit"|"run/export"|"run/get"|"run/interrupt"|"run/list"|"run/read"|"run/search"|"run/send"|"run/start"|"run/sync"|"run/takeover"|"run/text"|"session/list"|"shutdown"|"store/prune"|"store/stats"
