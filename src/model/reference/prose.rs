//! The sections of the protocol reference that belong to no type: transport, the log, searching, agents, guarantees.

pub(crate) const INTRODUCTION: &str = r#"# The loomd protocol

`loomd schema --markdown` generates this page from the types in `src/model`. `loomd schema` generates the same contract
as JSON Schema, in [protocol.schema.json](protocol.schema.json). Names are camelCase. Members whose names end in `At`,
and `at` itself, are integer Unix milliseconds. Members whose names end in `Ms` are integer milliseconds. Sizes are in
bytes.

The provider `command` runs any program. All other providers run agents, which have turns, updates, permission requests
and sessions; [providers.md](providers.md) describes each of them. `command` has none of these, so it answers requests
about them with `unsupported`.

"#;

pub(crate) const TRANSPORT: &str = r#"## Transport

A client starts `loomd` and sends JSON-RPC 2.0 over its stdin and stdout. `loomd` writes nothing else to stdout.

There are two framings. The first byte that the client sends selects one: `{` or `[` selects newline-delimited JSON,
with one message on each line. Any other byte selects the framing of the Language Server Protocol: the header
`Content-Length: N` and an empty line, both ending in CR LF, then N bytes. Other headers are ignored. The server answers
in the same framing. `--framing lsp` and `--framing ndjson` select a framing without looking at the first byte.

```sh
(
  echo '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}'
  echo '{"jsonrpc":"2.0","id":2,"method":"run/start","params":{"provider":"command","command":["echo","hello"]}}'
  sleep 1
) | loomd
```

- The server answers a frame that is not valid JSON with `parse` and `id: null`. The connection goes on.
- The server answers a broken header block with `parse` and a frame over the limit of 64 MiB with `limit`, both with
  `id: null`. It then exits with 1, because it cannot find the next frame.
- The server answers a batch with one array, as JSON-RPC 2.0 prescribes. A batch has at most 1,000 members.
- The server handles requests concurrently, so a slow request delays no other. `run/send`, `run/closeInput`,
  `run/interrupt` and `run/cancel` from one client for one run take effect in the order in which the client sent them.
- Absent params, `null`, `{}` and `[]` mean the same. For `env`, `labels` and `label`, `{}` and `[]` mean the same. The
  server ignores members that it does not know.
- The server checks the params first, and only then whether the run or the provider exists.

The server exits when its stdin ends, or when the process ends that `initialize` named as `processId`. Its runs go on,
except those started with `onDisconnect: "cancel"`: they are canceled 5 s after the last client that followed them has
gone.

"#;

pub(crate) const LOG: &str = r#"## The log of a run

Each run has one log, which only grows. The entries are numbered 1, 2, 3 … over all kinds. An entry is also the params
of the notification that delivers it. So a client that knows the last `seq` it received can resume after any
interruption: `run/attach` with `afterSeq` delivers exactly the entries that are missing.

- `offset` counts the bytes that the program wrote to that stream, before any decoding.
- `text` is always valid UTF-8. A character that arrives in two parts is held back until it is complete. Where the
  program wrote bytes that are not UTF-8, `text` has U+FFFD in their place and `data` has the exact bytes.
- The server may merge adjacent chunks of one stream into one notification, for a slow client or one that set
  `minIntervalMs`. `firstSeq` is then the number of the first entry in it and `seq` that of the last.
- No notification has more than `maxChunkBytes` of output. A longer entry comes in several notifications with the same
  `seq`, which continue one another by `offset`. After its connection broke, a client attaches after the entry before
  its last one and drops the bytes that it has by `offset`. So nothing is missing, even if it had received only part of
  an entry.
- The final `run/state` is the last entry. After the program has ended, its output is read to the end. If another
  process still has the pipe open, reading stops after 2 s.

Every entry has its `kind`, also as a notification; see [Entry](#entry).

"#;

pub(crate) const TERMINALS: &str = r#"## The environment and the terminal of a run

**Environment.** In this order, the later over the earlier: the server's environment, the login shell's, that of the
configured command, the provider's `env`, the run's. The program also finds `LOOMD_RUN_ID`; `PWD`, which is `cwd` as
the client named it, though a link leads there; and `TERM` with `tty`. The values are never stored.

- What describes whoever started loomd, and not the user, is left out of the server's environment, unless
  `[environment] pass` names it: the variables that tie git to a repository (`git rev-parse --local-env-vars`),
  `CLAUDECODE`, `CLAUDE_CODE_ENTRYPOINT`, `CLAUDE_CODE_SSE_PORT`, `ELECTRON_RUN_AS_NODE`, `ELECTRON_NO_ATTACH_CONSOLE`,
  `VSCODE_*` except `VSCODE_GIT_*`, a `NODE_OPTIONS` that loads an editor's debugger, `NVIM`, `NVIM_LISTEN_ADDRESS`,
  `VIM`, `VIMRUNTIME`, `MYVIMRC`.
- A server in a desktop (`DISPLAY`, `WAYLAND_DISPLAY` or `__CFBundleIdentifier`) that no shell started (no `SHLVL`) asks
  the user's login shell once, within 10 s. It takes `PATH` from it, and what is missing.
- The configured command runs in `cwd` before each start, within 10 s. It prints a JSON object of names and values; null
  removes a variable. It cannot set `LOOMD_*`. If it fails, or the login shell does, the run has a `notice` and starts
  without.
- An agent's program is searched in the `PATH` before that command; only where it is missing, in the command's `PATH`.
- Where nobody can type, in every agent's run and in a command's that is not both `tty` and `interactive`, programs must
  not wait for a key: `GIT_EDITOR` and `GIT_SEQUENCE_EDITOR` are `true`, `GIT_TERMINAL_PROMPT` is `0`, and with `tty`
  `PAGER` and `GIT_PAGER` are `cat`, unless the run's or the provider's `env` names them.

**Terminal.** With `tty` the program runs in a terminal of 24 rows and 80 columns, or of the size that `tty` names.
`Run.tty` is its size, `run/setSize` changes it, and `run/size` tells of each change. An asciicast has them too.

Programs ask their terminal and wait for the answer. While no client is attached that receives output and has the
capability `terminal`, loomd answers: device attributes (`CSI c`: a VT220 with colors; `CSI > c`), device status
(`CSI 5 n`), and the position of the cursor (`CSI 6 n`). The position follows what the program printed and moved; it
may be wrong after origin mode, tab stops of the program's own, or left and right margins. An emulator that replays a
log must not send its answers to the questions in it.

"#;

pub(crate) const SEARCH: &str = r#"## Searching

`run/search` searches the bytes that programs wrote, line by line. A line that matches is one hit, at its first match.

- A line ends with its line feed, regardless of how entries, segments or the store divide it. The last line needs no
  line feed. The two streams are searched separately. The hits of a run come in the order in which the first bytes of
  their matches stand in the log.
- A carriage return before the line feed belongs to the end of the line. A lone carriage return, as progress bars write
  it, ends no line. But no match extends over it, `^` and `$` match there, and `line` is the part between two of them.
- Colors and other terminal escapes are skipped: the search finds `error[E0382]: borrow` even if the color changes
  inside. `line` has no escapes. `offset` counts the bytes with the escapes.
- Of a line that is a JSON object, as agents write them, the decoded strings are searched, line by line; names of
  members are not. A text that occurs twice in the object is one hit. `line` is the line of the string, and `offset` the
  byte of the JSON at which the match begins. If no string matches, the line is searched as it was written, and `line`
  is all of it.
- A text that an agent sends in pieces, one on each line, is found if one piece contains the match, or if the agent
  sends the whole text at the end, as most agents do.
- `line` is UTF-8, with U+FFFD where the program wrote something else, and has at most 4 KiB around the match.
- A line is searched in pieces if it is longer than 4 MiB, or if more than 4 MiB of the other stream stand inside it.
  The pieces of a long line overlap by 64 KiB.
- A regular expression has the syntax of Rust's `regex` crate, with Unicode, and `^` and `$` match at the ends of a
  line. `\A`, `\z` and `(?-m)` are refused. Neither an expression nor a text may contain a line break. `query` has at
  most 4,096 bytes. An expression that takes more than 2 MiB when it is compiled is refused.

A client requests one page after the other. `nextCursor` stands for a byte of a run. It stays valid if the run goes on,
is sealed or is deleted. No hit is repeated or left out, except in runs that began after the first page. A search that
takes longer than a second answers with the hits that it has, which may be none, and a `nextCursor`. So does a search
that waits for other searches.

"#;

pub(crate) const AGENTS: &str = r#"## Agents

**Turns.** A prompt begins a turn: `run/state` is `running` with `turn`. The turn ends with `idle` or with the final
state of the run. That entry has `turn`, `stopReason`, `usage` (what this turn used; `Run.usage` is the sum), and
`error` if the turn failed. A run that is not interactive ends with its last turn. A prompt that arrives during a turn
waits (`Run.queued`, `run/queue`) and can be taken back (`run/unqueue`). With `mode: "steer"` it goes into the running
turn where the provider supports that; a prompt that is too late for its turn gets one of its own. While a permission
request is open, the state is `awaitingPermission`; `running` without `turn` means that the turn goes on. An interactive
run without a prompt begins `idle`, without a turn.

**Updates** are ACP `SessionUpdate`s for every provider, with these additions in `_meta` or beside it:

| | |
|---|---|
| `messageId`, `toolCallId` | Every message chunk and every tool call has one that is its own in the run. loomd makes one where the provider has none. |
| `loomd/providerId` | The provider used its id again for another message or tool call, which has got one of its own; this is the provider's. |
| `user_message_chunk` | Each prompt comes once, when the provider takes it. |
| `loomd/output` `{offset, text}` | Output of a running tool, on a `tool_call_update` without `content`. Cut the output that you have at the byte `offset` and append `text`. The last update of the tool call has the last 64 KiB as `content`. |
| `loomd/contradiction` `{at}` | The provider's final text differs from what it streamed, from this byte on. The update has the whole text. |
| `loomd/abandoned` `true` | On an empty chunk: the provider retries, so this message is void. It comes again under another id. |
| `loomd/parentToolCallId` | The sub-agent of this tool call sent the update. |
| `loomd/patch` | A unified patch, where the provider sends no texts. |
| `tool_call_update` at the end of a turn | A tool call that the provider left open is `failed`. What the provider says of it afterwards still counts. |
| `notice` | Warnings and retries, where the provider's output distinguishes them from the agent's own words; and what loomd itself has to tell, of a command's run too. |

**What an agent offers**, its commands, modes and options, what a prompt may have, and how full its context is, stands
in `Run.agent`. Each change comes as `run/changed`. `run/configure` sets the options from the next turn on; one that is
not offered is `invalidParams` and names those that are. A prompt with a block that the agent would not get is
`unsupported`; one that came before the agent had told what it takes fails its turn.

**A notifier** of the user's is started when a run with `notify` begins to wait for an answer or has ended, and no
client with the capability `permissions` is attached: once for each, by the supervisor. `[notify]` in the configuration
names it.

**Permission requests.** `run/permission` `requested` has the whole tool call; a `tool_call` with the same id precedes
it. The first `run/answer` counts, from any client of any server. A sub-agent in the background may ask between turns of
an interactive run, which is then `awaitingPermission` and afterwards `idle`, both without `turn`. A request that is
open when its turn or its run ends is `resolved` with `cancelled: true`; nothing is ever taken for consent.
[providers.md](providers.md#permissions) lists what each mode asks for. At most 64 requests of a run are open. The next
one is answered with its option `reject_once`, else cancelled, and one `notice` at the end of the turn counts them.

**Rules** answer requests before anybody is asked, in every client and with none. They are in `rules.json` in the user's
configuration folder, also with `--config`: `{"version": 2, "rules": [Rule]}`. The supervisor of a run reads the file
when a request comes. Asked in this order: a rule that denies, `readOnly`, a rule that allows, the run's mode. Where a
rule decides, `resolved` has `by: "policy"` and the rule's id.

- All members of a rule that are given must match.
- An allow takes an option of the kind `allow_once` only; where there is none, or more than one, a person is asked. A
  deny takes `reject_once`, else it cancels.
- An allow needs that nothing else is asked for: every other member of `rawInput` is a `description`, a `timeout`, or a
  `cwd` or `workdir` that is the directory of the run or the rule. With `path`, the members that name the files, or that
  stand in the diff, belong to it.
- A deny is tried at each place of a command where another may begin, and for paths as they are named and as they are
  resolved. It rather speaks once too often.
- The file must be a regular file of the user's that nobody else may write. If loomd does not understand all of it, it
  answers nothing, a `notice` in the run says why, and `rule/list` and `rule/add` fail with `config`.

**A run's own processes** may read, start runs, and send to, close, interrupt, resize and cancel runs that were started
in the same tree. For everything else the failure is `forbidden`. A server knows where it stands by its ancestors and by
`LOOMD_RUN_ID`, and a supervisor looks at the process that asks it. This is no boundary against a program that runs as
the user.

**Sessions.** `run/session` comes once the session's id is known, with `resumable: false`, and again when the provider
has stored the session. `resume` continues a session, by default in the directory where it was used. `run/start` answers
`sessionBusy` while a live run has the session. If the provider does not know the session, the run is `failed` with
`sessionNotFound`; loomd never starts a new session instead. If it refuses for another reason, that is the error.

"#;

pub(crate) const ITEMS: &str = r#"## Items

Most clients want neither entries nor deltas but the transcript as it stands. The server folds the entries of a run
into [items](#item): messages, thoughts, tool calls, plans, permissions, notices, the ends of turns, and the output of a
command. The fold depends on the log alone: the same entries make the same items with the same numbers, live, sealed
and after any restart. Numbers are stable within one `foldVersion`; refer to `seq` for anything that must last.

- `run/items` returns pages of items. Without `after` and `before` it returns the last ones.
- `run/attach` with `as: "items"` sends `run/item` in place of `run/output`, `run/update` and `run/size`: every item
  that an entry after `afterSeq` made or changed, whole and by number, and then everything that changes. `run/session`,
  `run/permission` and `run/state` keep coming, after the items that they change.
- After `run/items`, attach with its `seq`. After a break, attach with the `seq` of your last `run/item` minus 1,
  because one entry may change several items. Whole items may come again; an append never comes twice.
- A whole item replaces the one that you have. Of an append, `text` goes to the end of the item's `text`. For `output`
  and `stderr`, first drop `dropBytes` bytes behind `omittedAt`, add them to `omittedBytes`, then append `text`. The
  `seq` of an append is the item's new `lastSeq`.
- Appends wait as `minIntervalMs` and `maxChunkBytes` say. A slow client gets the newest state of each item.
- What comes after the end of an item still changes it, whole. What comes of a tool call that the server no longer has
  in memory makes a new item that `continues` the old one; so does a message whose text is longer than 256 KiB.
- Large values are omitted, as the types below say; `run/getItem` returns them.

A `permission` has the tool call as it was when the agent asked, and `shown`: the whole of what is asked, for people.
It has every parameter of the tool. A parameter is left out only if its value is the title or stands in a diff. Every
path that is not a diff's is named, and control characters and invisible characters are visible marks.

"#;

pub(crate) const FAILURES: &str = r#"## Failures

An error answer is `{ code, message, data }`. `message` is a sentence for people. `data.kind` identifies the failure for
programs. The other members of `data` have the details.

"#;

pub(crate) const GUARANTEES: &str = r#"## Guarantees

| | |
|---|---|
| order | A client receives the entries of a run by rising `seq`, each once and without a gap, whether they are replayed or live. |
| exact | The bytes of a stream, put together from the log, are the bytes that the program wrote. |
| kept | What a client has received stays, unchanged, even if SIGKILL ends every process of loomd at any moment. A power cut may destroy what lies after `durableSeq`, which is at most 250 ms and one sync of the disk behind. |
| alive | A run outlives the editor and the server that started it, however they ended. |
| bounded | Neither much output nor a client that does not read makes the memory of loomd grow. |
| apart | A client that does not read delays no program, no other client and no request. |
| swept | When a run has ended, so has every process of its tree, also one that left its group or session. If its supervisor was killed, a live server or the next one to start ends them. `left` lists the processes that remain. |
| many | Any number of servers share one data directory. Each lists and controls all runs. |
| honest | A lock that its supervisor holds proves that a run is alive. No run stays `running` without a process. |
| private | Only the owner can access files, directories and sockets. Values of `env` are never written to disk, and prompts never appear on a command line. |
"#;
