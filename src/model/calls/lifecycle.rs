//! Params and results of the methods about the connection, the server and its store, and the data of failures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{entry::open_object, failure::FailureKind, provider::ProviderInfo};

/// No members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Empty {}

/// The result `null`.
pub(crate) type Null = ();

/// Who the client is and what it supports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitializeParams {
    /// The version of the protocol that the client supports.
    pub(crate) protocol_version: i64,
    /// The client, for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_info: Option<ClientInfo>,
    /// Id of a process. The server exits when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process_id: Option<u32>,
    /// What the client supports and which notifications it wants.
    #[serde(default)]
    pub(crate) capabilities: ClientCapabilities,
}

/// A client's name and version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientInfo {
    /// Name of the client.
    pub(crate) name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// What a client supports and which notifications it wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClientCapabilities {
    /// A person can answer permission requests. This changes no delivery; while such a client is attached to a run, no notifier
    /// is started for it.
    pub(crate) permissions: bool,
    /// True: notifications about all runs. False: only about runs that the client started or is attached to.
    pub(crate) watch: bool,
    /// The client shows the terminals of runs in an emulator, which answers what programs ask of a terminal. Without
    /// such a client attached, loomd answers device attributes, device status and the cursor's position.
    pub(crate) terminal: bool,
    /// How to deliver output.
    pub(crate) output: OutputCapabilities,
}

/// How to deliver output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OutputCapabilities {
    /// The server delays output until this time is over or `maxChunkBytes` of it wait.
    pub(crate) min_interval_ms: u64,
    /// Most raw bytes of output in one notification; at least 4, so that every character fits.
    pub(crate) max_chunk_bytes: u64,
}

/// Who the server is and what it supports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitializeResult {
    /// The newest version of the protocol that the server supports.
    pub(crate) protocol_version: u32,
    /// The server.
    pub(crate) server_info: ServerInfo,
    /// Version of the fold of entries into items. The numbers of items are stable within one version.
    pub(crate) fold_version: u32,
    /// Path of the store.
    pub(crate) store_path: String,
    /// The providers, by a search in PATH. `provider/list` has their versions too.
    pub(crate) providers: Vec<ProviderInfo>,
    /// What this server supports.
    pub(crate) capabilities: ServerCapabilities,
}

/// The server's name and version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServerInfo {
    /// `loomd`.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
}

/// What this server supports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerCapabilities {
    /// The methods that the server answers.
    pub(crate) methods: Vec<String>,
    /// Longest frame that the server accepts, in bytes.
    pub(crate) max_frame_bytes: u64,
    /// How the server delivers output to this client.
    pub(crate) output: OutputCapabilities,
    /// The server knows the `clientToken` of `run/send`. Absent: its version is an older one, which ignores it.
    #[serde(default)]
    pub(crate) send_token: bool,
}

/// The providers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProvidersResult {
    /// All known providers, also those that cannot be started.
    pub(crate) providers: Vec<ProviderInfo>,
}

/// Statistics of the store. Live runs count with their files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatsResult {
    /// Runs, live ones too.
    pub(crate) runs: u64,
    /// Runs that have not ended.
    pub(crate) live_runs: u64,
    /// Entries of all logs.
    pub(crate) entries: u64,
    /// Bytes of all entries as JSON lines.
    pub(crate) logical_bytes: u64,
    /// Bytes of the rows and log files that hold them.
    pub(crate) stored_bytes: u64,
    /// Size of the database file. Space that deletions freed in it is reused first.
    pub(crate) file_bytes: u64,
    /// Bytes that were not stored again because the store had them: those of long texts (a tool's result, a file) after
    /// their first use, and what `deltaBytes` is more than `deltaStoredBytes`.
    pub(crate) deduped_bytes: u64,
    /// Number of long texts that are stored once.
    pub(crate) texts: u64,
    /// Bytes of these long texts.
    pub(crate) text_bytes: u64,
    /// Bytes of the rows that hold these long texts.
    pub(crate) text_stored_bytes: u64,
    /// Bytes that are stored as the difference to equal or similar output, of the same run or of an earlier one.
    pub(crate) delta_bytes: u64,
    /// Bytes of the rows that hold these differences.
    pub(crate) delta_stored_bytes: u64,
    /// Bytes of rows of deleted runs that stay because rows of other runs build on them.
    pub(crate) kept_bytes: u64,
    /// What this server deletes on its own, as configured.
    #[serde(default)]
    pub(crate) retention: Retention,
    /// Version of the store's format.
    pub(crate) format_version: u32,
}

/// Which ended runs to delete: those that exceed any of these limits, the oldest first. Pinned and live runs are
/// neither counted nor deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PruneParams {
    /// Deletes runs that ended longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) older_than_ms: Option<u64>,
    /// Keeps only this many runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_runs: Option<u64>,
    /// Deletes runs until the rows of all runs take no more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PruneResult {
    /// Number of runs that were deleted.
    pub(crate) deleted_runs: u64,
    /// Bytes that they took, in files and rows. Rows on which other runs depend stay until those are deleted.
    pub(crate) freed_bytes: u64,
    /// Size of the database file now.
    pub(crate) file_bytes: u64,
    /// Whether the file was compacted.
    pub(crate) compacted: bool,
    /// Why it was not compacted, if much of it is free. New runs use the free space first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What the server deletes without a request. 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// Deletes runs that ended this many days ago, at most a tenth of all runs a day.
    pub(crate) max_age_days: u64,
    /// Deletes the oldest runs until the rows take no more than this.
    pub(crate) max_bytes: u64,
    /// Deletes the oldest runs until there are no more than this.
    pub(crate) max_runs: u64,
}

/// Params of `$/cancelRequest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CancelRequestParams {
    /// Id of the request: a number or a string.
    #[schemars(schema_with = "request_id")]
    pub(crate) id: Value,
}

fn request_id(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["integer", "string"] })
}

/// `data` of an error answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ErrorData {
    /// The kind of the failure.
    pub(crate) kind: FailureKind,
    /// Details, by kind.
    #[serde(flatten)]
    #[schemars(schema_with = "open_object")]
    pub(crate) more: Map<String, Value>,
}

impl Default for Retention {
    /// Generous limits: a quarter of a year and 5 GiB.
    fn default() -> Self {
        Self { max_age_days: 90, max_bytes: 5 << 30, max_runs: 0 }
    }
}

impl Default for ClientCapabilities {
    fn default() -> Self {
        Self { permissions: false, watch: true, terminal: false, output: OutputCapabilities::default() }
    }
}

impl Default for OutputCapabilities {
    fn default() -> Self {
        Self { min_interval_ms: 0, max_chunk_bytes: 65_536 }
    }
}
