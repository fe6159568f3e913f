//! The conversation itself: how it opens, what servers tell of themselves, how requests fail and are given up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{failure::FailureKind, provider::ProviderInfo, shape::open_object};

/// No params, or none that matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// A result with nothing in it: `null`.
pub type Null = ();

/// How a client introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    /// The version that the client speaks.
    pub protocol_version: i64,
    /// Who speaks; for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_info: Option<ClientInfo>,
    /// The server exits when this process ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<u32>,
    /// What the client wants and can do.
    #[serde(default)]
    pub capabilities: ClientCapabilities,
}

/// Who the client is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientInfo {
    /// Name of the client.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a client wants and can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientCapabilities {
    /// A person who can answer is there. Changes no delivery.
    pub permissions: bool,
    /// Hear of all runs; false: only of own and attached ones.
    pub watch: bool,
    /// How output is to be delivered.
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

/// How the server introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    /// The version that the server speaks, the newest one it knows.
    pub protocol_version: u32,
    /// Who answers.
    pub server_info: ServerInfo,
    /// Where the store is.
    pub store_path: String,
    /// What a look at PATH tells; `provider/list` knows the versions too.
    pub providers: Vec<ProviderInfo>,
    /// What this server can do.
    pub capabilities: ServerCapabilities,
}

/// Who the server is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerInfo {
    /// `loomd`.
    pub name: String,
    /// Its version.
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

/// The providers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProvidersResult {
    /// All that are known, also those that cannot be started.
    pub providers: Vec<ProviderInfo>,
}

/// What the store holds. Live runs count with their files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsResult {
    /// Runs, live ones too.
    pub runs: u64,
    /// Runs that have not ended.
    pub live_runs: u64,
    /// Entries of all logs.
    pub entries: u64,
    /// Bytes of the entries as JSON lines.
    pub logical_bytes: u64,
    /// Bytes of the rows and log files that hold them.
    pub stored_bytes: u64,
    /// Size of the database file. What deletions leave free in it is used again first.
    pub file_bytes: u64,
    /// Bytes of long texts (a tool's result, a file) that were not stored because the same text was there already: all uses but one.
    pub deduped_bytes: u64,
    /// Long texts that are kept once,
    pub texts: u64,
    /// their bytes,
    pub text_bytes: u64,
    /// and those of the rows that hold them.
    pub text_stored_bytes: u64,
    /// Bytes that are kept as what differs from an earlier run of the same command,
    pub delta_bytes: u64,
    /// and those of the rows that hold them.
    pub delta_stored_bytes: u64,
    /// Bytes of rows of deleted runs that stay because other runs build on them.
    pub kept_bytes: u64,
    /// What this server removes by itself, as configured.
    #[serde(default)]
    pub retention: Retention,
    /// Version of the store's format.
    pub format_version: u32,
}

/// Which ended runs to remove: those that any of the bounds is against, the oldest first. Pinned and live runs are neither
/// counted nor touched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneParams {
    /// Those that ended longer ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_ms: Option<u64>,
    /// All but so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_runs: Option<u64>,
    /// As many as it takes until the rows of all runs take no more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// What pruning came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneResult {
    /// Runs that were removed.
    pub deleted_runs: u64,
    /// Bytes that they took, in files and rows. What other runs build on stays until those go.
    pub freed_bytes: u64,
    /// Size of the database file now.
    pub file_bytes: u64,
    /// The file was made shorter.
    pub compacted: bool,
    /// Why it was not, where there is much room in it that new runs will use first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is removed without being asked for. 0 is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// Runs that ended so many days ago; at most a tenth of all runs a day.
    pub max_age_days: u64,
    /// The oldest runs, until rows take no more than this.
    pub max_bytes: u64,
    /// The oldest runs, until there are no more than this.
    pub max_runs: u64,
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
    /// Which failure it is.
    pub kind: FailureKind,
    /// What more is known, by kind.
    #[serde(flatten)]
    #[schemars(schema_with = "open_object")]
    pub more: Map<String, Value>,
}

impl Default for Retention {
    /// Generous: a quarter of a year, 5 GiB.
    fn default() -> Self {
        Self { max_age_days: 90, max_bytes: 5 << 30, max_runs: 0 }
    }
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
