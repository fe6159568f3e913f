//! What clients are told about providers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program that loomd knows how to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInfo {
    /// What `run/start` takes as `provider`.
    pub id: String,
    /// A name for people.
    pub title: String,
    /// `command`, `codex`, `claude` or `acp`.
    pub kind: String,
    /// It could be started now.
    pub available: bool,
    /// What the program says of itself; `provider/list` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The executable that would be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What to install or set, when `available` is false; one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it can do.
    pub capabilities: ProviderCapabilities,
}

/// What a provider can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderCapabilities {
    /// A session can be gone on with in a new run.
    pub resume: bool,
    /// `run/send` is understood.
    pub send: bool,
    /// `run/send` with `mode: "steer"` reaches a running turn.
    pub steer: bool,
    /// A running turn can be stopped without ending the run.
    pub interrupt: bool,
    /// It asks before it acts.
    pub permissions: bool,
    /// Its output is also told as `run/update`.
    pub updates: bool,
}
