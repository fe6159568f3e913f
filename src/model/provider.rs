//! Providers and their sessions, as clients receive them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program that loomd knows how to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInfo {
    /// The name that `run/start` takes as `provider`.
    pub(crate) id: String,
    /// A name for people.
    pub(crate) title: String,
    /// `command`, `codex`, `claude` or `acp`.
    pub(crate) kind: String,
    /// Whether it could be started now.
    pub(crate) available: bool,
    /// The version that the program reports. Only `provider/list` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The executable that a run would start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<String>,
    /// If `available` is false: one sentence that says what to install or set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What it can do.
    pub(crate) capabilities: ProviderCapabilities,
}

/// What a provider can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderCapabilities {
    /// A new run can continue a session.
    pub resume: bool,
    /// `run/send` works.
    pub send: bool,
    /// `run/send` with `mode: "steer"` reaches a running turn.
    pub steer: bool,
    /// `run/interrupt` stops a running turn without ending the run.
    pub interrupt: bool,
    /// It makes permission requests.
    pub permissions: bool,
    /// Its output also comes as `run/update`.
    pub updates: bool,
    /// A run can be given MCP servers.
    #[serde(default)]
    pub mcp_servers: bool,
}

/// A provider's session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Whose session it is.
    pub(crate) provider: String,
    /// The provider's own id.
    pub(crate) id: String,
    /// The file in which the provider stores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// False until the provider has stored the session, which is some time after its id is known.
    pub(crate) resumable: bool,
    /// Ways to continue it, best first.
    pub(crate) takeover: Vec<Takeover>,
}

/// One way to continue a session in a terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Takeover {
    /// How the session is continued.
    pub(crate) kind: TakeoverKind,
    /// Whether this way was tested with this version of the provider.
    pub(crate) verified: bool,
    /// Why it is unverified or unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The argv to execute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Vec<String>>,
    /// Where to execute it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// Variables to add to the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<BTreeMap<String, String>>,
    /// One line for people.
    pub(crate) display: String,
}

/// How a session is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TakeoverKind {
    /// Joins the running process.
    Live,
    /// Opens the same session.
    Resume,
    /// Opens a copy of the session.
    Fork,
    /// Loads the session over the Agent Client Protocol.
    Load,
    /// Starts the same command again.
    ReplayCommand,
}
