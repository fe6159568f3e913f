//! The provider's own conversation behind a run, and the ways to take it over.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A provider's session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub provider: String,
    pub id: String,
    /// File in which the provider keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// False from the moment the id is announced until the provider has really kept the session.
    pub resumable: bool,
    /// Ways to go on with it, best first.
    pub takeover: Vec<Takeover>,
}

/// One way to go on with a session in a terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Takeover {
    pub kind: TakeoverKind,
    pub verified: bool,
    /// Why it is unverified or unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// One line for a person.
    pub display: String,
}

/// How a session is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TakeoverKind {
    Live,
    Resume,
    Fork,
    Load,
    ReplayCommand,
}
