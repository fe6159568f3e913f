//! What the reference says that stands in no type: transport, the log, failures, guarantees.

pub const HEAD: &str = r#"# The loomd protocol

This page is made from the types in `src/model` by `loomd schema --markdown`; the same as JSON Schema is
[protocol.schema.json](protocol.schema.json), made by `loomd schema`. Names are camelCase. Members that end in `At`, and `at`, are
integer Unix milliseconds; members that end in `Ms` are integer milliseconds; sizes are bytes.

The provider `command` is any program; the others are agents, with turns, updates, questions and sessions ([providers.md](providers.md) tells what each of
them does). A `command` has none of these and answers the requests that are about them with `unsupported`.

"#;

pub const TRANSPORT: &str = r#"## Transport

A client starts `loomd` and speaks JSON-RPC 2.0 over its stdin and stdout. Nothing else ever goes to stdout.

There are two framings, and the first byte that the client sends tells which one it speaks. `{` or `[` begins newline-delimited JSON: one
message on each line. Anything else begins a header block as in the Language Server Protocol: `Content-Length: N`, an empty line (both
with CR LF), then N bytes; other headers are ignored. The server answers in the same framing. `--framing lsp` and `--framing ndjson` force
one of them.

```sh
(
  echo '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}'
  echo '{"jsonrpc":"2.0","id":2,"method":"run/start","params":{"provider":"command","command":["echo","hello"]}}'
  sleep 1
) | loomd
```

- A frame whose JSON is broken answers `parse` with `id: null`, and the conversation goes on.
- After a broken header block (`parse`) or a frame over the limit of 64 MiB (`limit`) the next frame cannot be found: the error is sent with
  `id: null`, and the server exits with 1.
- Batches are answered with one array, in the manner of JSON-RPC 2.0.
- Requests are worked on at the same time; a slow one holds up no other. But what one client sends to one run with `run/send`,
  `run/closeInput`, `run/interrupt` and `run/cancel` takes effect in the order in which it was sent.
- Absent params, `null`, `{}` and `[]` mean the same; so do `{}` and `[]` for `env`, `labels` and `label`. Members that are not known are ignored.
- Params are looked at first; only then whether the run or the provider exists.

When stdin ends, or the process that `initialize` named as `processId` does, the server exits. Its runs go on, except those that were started with
`onDisconnect: "cancel"`: they are cancelled when the last client that follows them has been gone for 5 s.

"#;

pub const LOG: &str = r#"## The log of a run

Each run has one log that only grows. Its entries are numbered 1, 2, 3 … over all kinds, and an entry is at the same time the params of the
notification that pushes it. So a client that knows the last `seq` it saw can go on from there after anything: `run/attach` with
`afterSeq` brings exactly what is missing.

- `offset` counts the bytes that the program wrote to that stream, before any decoding.
- `text` is always valid UTF-8. A character that arrives in two pieces is held until it is whole. Where the program wrote bytes that are not UTF-8,
  `text` has U+FFFD in their place and `data` holds the exact bytes.
- To a client that is slow, or that asked for it with `minIntervalMs`, neighbouring chunks of one stream may come as one notification; `firstSeq` then
  names the first entry in it and `seq` the last. None carries more than `maxChunkBytes` of output;
  an entry that is longer comes in pieces, which share its `seq` and follow one another by `offset`. A client whose connection broke attaches after the entry before its
  last one, and drops what it has by `offset`: so nothing is missing, also where it had only some of the pieces.
- The final `run/state` is the last entry. After the program has ended, its output is read to the end; where another process still holds the
  pipe, for 2 s at most.

Entries carry their `kind`, pushed ones too; see [Entry](#entry).

"#;

pub const SEARCH: &str = r#"## Searching

`run/search` looks at the bytes that programs wrote, as lines, and tells each line that matches once, by its first match.

- A line ends with its line feed, wherever entries, segments or the move into the store cut it; the last one needs no end. The streams are put together
  apart. Within a run, hits come in the order in which the first bytes of their matches stand in the log.
- A carriage return before the line feed belongs to the line's end. Alone, as progress bars use it, it ends no line, but no match goes over it, `^` and `$` match there, and `line` is
  what stood between two of them.
- Colours and other terminal escapes are passed over: `error[E0382]: borrow` is found though colours change in it, and `line` has none. `offset` counts the bytes as they are.
- Of a line that is a JSON object, as agents write them, the strings are searched as they read, decoded, line by line; names of members are left out. A text that is in there twice is told once. `line` is the line of the string, `offset`
  the byte of the JSON at which the match begins. Where no string matches, the line is searched as it was written, and `line` is all of it. A text that an agent sends in pieces, one to a line, is
  found where a piece holds what is looked for, or the whole that most agents send at its end.
- `line` is UTF-8, with U+FFFD where the program wrote something else, and at most 4 KiB around the match.
- A line longer than 4 MiB, or with more than that of the other stream in its midst, is searched in pieces. They overlap by 64 KiB where it is the line that is long.
- An expression is one of Rust's `regex` crate, Unicode, with `^` and `$` for the ends of a line; `\A`, `\z` and `(?-m)` are refused. Neither it nor a text may ask for a line break.
  `query` has at most 4,096 bytes, and an expression that takes more than 2 MiB when it is compiled is refused.

Pages are made one after the other: `nextCursor` stands for a byte of a run, and holds when the run goes on, is sealed or is deleted meanwhile. Nothing is told twice or left out,
but for runs that began after the first page. A search that takes longer than a second answers with what it has, which may be no hits and a `nextCursor`;
so does one that waits for others that are under way.

"#;

pub const AGENTS: &str = r#"## Agents

**Turns.** A prompt begins a turn: `run/state` `running` with `turn`. It ends with `idle`, or with the run's final state, and that entry carries `turn`, `stopReason`, `usage` (what
this turn used; `Run.usage` adds them up), and `error` if it failed. A run that is not interactive ends with its last turn. Prompts that come meanwhile wait (`Run.queued`), or go into the
running turn with `mode: "steer"` where the provider can; a prompt that came too late for its turn gets one of its own. While a question is open the state is `awaitingPermission`;
`running` without `turn` says that the turn goes on. An interactive run without a prompt begins `idle`, with no turn.

**Updates** are ACP `SessionUpdate`s, whatever the provider, with these additions in `_meta` or beside it:

| | |
|---|---|
| `messageId` | on every message chunk; ours where the provider has none |
| `user_message_chunk` | each prompt once, when the provider takes it |
| `loomd/output` `{offset, text}` | output of a running tool, on a `tool_call_update` without `content`: cut what you have at the byte `offset`, append `text`. The closing update repeats the last 64 KiB as `content`. |
| `loomd/contradiction` `{at}` | the provider's last word differs from what it streamed, from this byte on; the update has the whole text |
| `loomd/abandoned` `true` | on an empty chunk: the message was given up by a retry and comes again under another id |
| `loomd/parentToolCallId` | said by the sub-agent of this tool call |
| `loomd/patch` | a unified patch, where the provider tells no texts |
| `notice` | warnings and retries, where they can be told from the agent's own words |

**Questions.** `run/permission` `requested` carries the whole tool call; a `tool_call` of the same id came before it. The first `run/answer` counts, from whichever client of whichever server.
A question that is open when its turn or its run ends is `resolved` with `cancelled: true`; nothing is ever taken for a yes. What is asked under which mode:
[providers.md](providers.md#permissions).

**Sessions.** `run/session` comes once the id is known, with `resumable: false`, and again when the provider has kept it. `resume` goes on with it, by default in the directory where it was
used; a session that a live run holds answers `sessionBusy`. One that the provider does not know makes the run `failed` with `sessionNotFound`, never a new session.

"#;

pub const FAILURES: &str = r#"## Failures

An error answer is `{ code, message, data }`. `message` is a sentence for a person, `data.kind` a word for a program, and `data` holds what more is
known.

"#;

pub const GUARANTEES: &str = r#"## Guarantees

| | |
|---|---|
| order | A client sees the entries of a run by rising `seq`, each once and none left out, whether they are replayed or live. |
| exact | The bytes of a stream, put together from the log, are the bytes that the program wrote. |
| kept | What a client was shown stays, unchanged, even if every process of loomd is killed with SIGKILL at any moment. A power cut may take what lies after `durableSeq`, which is at most 250 ms and one sync of the disk behind. |
| alive | A run outlives the editor and the server that started it, however they ended. |
| bounded | Neither much output nor a client that does not read makes the memory of loomd grow. |
| apart | A client that does not read holds up no program, no other client and no request. |
| swept | When a run has ended, so has every process of its tree, those too that left its group or session. If its supervisor was killed, a live server or the next one to start does this. What had to be left is named in `left`. |
| many | Any number of servers share one data directory; each sees and steers all runs. |
| honest | That a run is alive is proved by a lock that its supervisor holds. No run stays `running` without a process. |
| private | Files, directories and sockets are for their owner alone. Values of `env` are never written to disk, prompts never put on a command line. |
"#;
