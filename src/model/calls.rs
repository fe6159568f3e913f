//! Params and results of the methods, and the table of them all.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    entry::{Entry, Kind, Stream},
    id::RunId,
    provider::ProviderInfo,
    run::{Run, RunState},
    shape::{map_or_empty_list, open_object},
};

/// No params, or none that matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// A result with nothing in it: `null`.
pub type Null = ();

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    /// The version that the client speaks.
    pub protocol_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_info: Option<ClientInfo>,
    /// The server exits when this process ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<u32>,
    #[serde(default)]
    pub capabilities: ClientCapabilities,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientCapabilities {
    /// A person who can answer is there. Changes no delivery.
    pub permissions: bool,
    /// Hear of all runs; false: only of own and attached ones.
    pub watch: bool,
    pub output: OutputCapabilities,
}

/// How output is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputCapabilities {
    /// Hold output back until so many milliseconds are over or `maxChunkBytes` wait.
    pub min_interval_ms: u64,
    /// Most raw bytes of output in one notification; 4 at least, so that every character fits.
    pub max_chunk_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    pub protocol_version: u32,
    pub server_info: ServerInfo,
    /// Where the store is.
    pub store_path: String,
    /// What a look at PATH tells; `provider/list` knows the versions too.
    pub providers: Vec<ProviderInfo>,
    pub capabilities: ServerCapabilities,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerInfo {
    pub name: String,
    pub version: String,
}

/// What this server can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerCapabilities {
    /// The methods that it answers.
    pub methods: Vec<String>,
    /// Longest frame that it takes, in bytes.
    pub max_frame_bytes: u64,
    /// How output will be delivered to this client.
    pub output: OutputCapabilities,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartParams {
    /// `command`, `codex`, `claude`, `acp`, or a name from the configuration.
    pub provider: String,
    /// What an agent is asked: text, or ACP content blocks. Passed by stdin or protocol, never through a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// The argv; required for `command` and `acp`, refused for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Appended to the provider's own argv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Absolute; default: the server's own working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the environment; null removes a variable. Values are never stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub env: BTreeMap<String, Option<String>>,
    /// For `command`: written to its stdin, which is then closed unless the run is interactive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Run under a pseudoterminal (for programs that buffer their output in a pipe).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Stay open for `run/send` after a turn ends; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Default `ask`: wait until somebody can answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionMode>,
    /// Limit on the whole run, awake time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Limit on the time without any output, awake time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// An interactive run that is idle with nobody attached for so long gets `closeInput`; default 30 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_idle_ms: Option<u64>,
    /// What happens when the last attached client goes: the run goes on (`detach`, the default), or is cancelled after 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// `false`, or the kinds that the starter is attached to; default: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<AttachChoice>,
    /// Programs that the final sweep spares, beside the usual build daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
    /// Both streams together, in bytes; a run that writes more is cancelled with error `outputLimit`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub labels: BTreeMap<String, String>,
    /// The same token again answers with the run that it already started. A failed start frees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// Text, or ACP content blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of content blocks")]
pub enum Prompt {
    Text(String),
    Blocks(Vec<Map<String, Value>>),
}

/// Which session to go on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase", expecting = "expected {runId} or {sessionId}")]
pub enum Resume {
    Run { run_id: RunId },
    Session { session_id: String },
}

/// Who decides what an agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PermissionMode {
    Ask,
    AcceptEdits,
    ReadOnly,
    Bypass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnDisconnect {
    Detach,
    Cancel,
}

/// What the starter is attached to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected false or {kinds}")]
pub enum AttachChoice {
    /// `false`: to nothing. `true` is the default said aloud.
    Whether(bool),
    Kinds {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<Kind>>,
    },
}

/// Names one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunIdParams {
    pub run_id: RunId,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    pub run: Run,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListParams {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<RunState>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// All of these labels must be there, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub label: BTreeMap<String, String>,
    /// Default 50; more than 500 counts as 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListResult {
    /// Newest first.
    pub runs: Vec<Run>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditParams {
    pub run_id: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Replaces all labels.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_map")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
}

fn some_map<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    map_or_empty_list(deserializer).map(Some)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelParams {
    pub run_id: RunId,
    /// How long the program may take to end by itself, in milliseconds; default 2000. A shorter grace later wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendParams {
    pub run_id: RunId,
    /// For `command`: written to its stdin as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// Default `queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SendMode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SendMode {
    Queue,
    Steer,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerParams {
    pub run_id: RunId,
    pub permission_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// `true`: refuse to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigureParams {
    pub run_id: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionMode>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakeoverParams {
    pub run_id: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<super::session::TakeoverKind>,
    /// End the headless process first; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TakeoverResult {
    pub takeover: super::session::Takeover,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncParams {
    pub run_id: RunId,
    /// Default: the newest entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncResult {
    pub durable_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadParams {
    pub run_id: RunId,
    /// Read forward, from the entry after this one; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Read the last entries before this one instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_seq: Option<u64>,
    /// Default 1 MiB; more than 8 MiB counts as 8. At least one entry comes where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Kind>>,
}

/// Entries, ascending. Forward: `nextAfterSeq` and `atEnd`. Backward: `prevBeforeSeq` and `atStart`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadResult {
    pub entries: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_end: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_before_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_start: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextParams {
    pub run_id: RunId,
    /// Default: both, in order of arrival and counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// First byte; default 0. Inside a character, it counts as that character's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Default 1 MiB; more than 8 MiB counts as 8. A page never cuts a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// The last so many lines instead of `offset`; an unfinished last line is a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_lines: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextResult {
    /// As UTF-8; U+FFFD where the program wrote something else.
    pub text: String,
    /// Where `text` begins, in raw bytes.
    pub offset: u64,
    pub next_offset: u64,
    pub total_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachParams {
    pub run_id: RunId,
    /// Everything after this entry comes as notifications; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Chooses among `output` and `update`; the others always come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Kind>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteResult {
    /// Bytes that the run took, in files and rows.
    pub freed_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProvidersResult {
    pub providers: Vec<ProviderInfo>,
}

/// What the store holds. Live runs count with their files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsResult {
    pub runs: u64,
    /// Runs that have not ended.
    pub live_runs: u64,
    pub entries: u64,
    /// Bytes of the entries as JSON lines.
    pub logical_bytes: u64,
    /// Bytes of the rows and log files that hold them.
    pub stored_bytes: u64,
    /// Size of the database file.
    pub file_bytes: u64,
    /// Bytes that were not stored because they were there already.
    pub deduped_bytes: u64,
    /// Version of the store's format.
    pub format_version: u32,
}

/// Params of `run/changed`.
pub type ChangedParams = RunResult;

/// Params of `run/deleted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedParams {
    pub run_ids: Vec<RunId>,
}

/// Params of `$/cancelRequest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequestParams {
    /// Id of the request: a number or a string.
    #[schemars(schema_with = "request_id")]
    pub id: Value,
}

fn request_id(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["integer", "string"] })
}

/// A `data` object of an error answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorData {
    pub kind: super::failure::FailureKind,
    /// What more is known, by kind.
    #[serde(flatten)]
    #[schemars(schema_with = "open_object")]
    pub more: Map<String, Value>,
}

impl Default for ClientCapabilities {
    fn default() -> Self {
        Self { permissions: false, watch: true, output: OutputCapabilities::default() }
    }
}

impl Default for OutputCapabilities {
    fn default() -> Self {
        Self { min_interval_ms: 0, max_chunk_bytes: 65_536 }
    }
}
