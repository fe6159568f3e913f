//! The provider's own conversation behind a run, and the ways to take it over.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A provider's session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Whose session it is.
    pub provider: String,
    /// The provider's own id.
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
    /// How.
    pub kind: TakeoverKind,
    /// It was seen to work with this version of the provider.
    pub verified: bool,
    /// Why it is unverified or unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The argv to execute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Where to execute it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What to add to the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// One line for a person.
    pub display: String,
}

/// How a session is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TakeoverKind {
    /// Join the running process.
    Live,
    /// Open the same session.
    Resume,
    /// Open a copy of the session.
    Fork,
    /// Load the session over the Agent Client Protocol.
    Load,
    /// Start the same command again.
    ReplayCommand,
}
