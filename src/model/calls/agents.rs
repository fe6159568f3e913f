//! Params and results of the methods that tell of agents: their options, their sessions, what they changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{UnixMs, id::RunId};

/// Whose options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptionsParams {
    /// As `run/start` names it.
    pub provider: String,
    /// Absolute; where a run would work. Default: the server's own working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// What can be chosen, as far as the provider tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OptionsResult {
    /// For `run/start`'s `model`.
    pub models: Vec<Choice>,
    /// The provider's own modes of permission.
    pub modes: Vec<Choice>,
}

/// Something to choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The provider's word for it.
    pub id: String,
    /// What a person reads.
    pub name: String,
}

/// Whose sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsParams {
    /// As `run/start` names it.
    pub provider: String,
    /// Only those of this directory; absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of the provider's own sessions, also those made outside of loomd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionsResult {
    /// In the provider's order, which usually is newest first.
    pub sessions: Vec<ListedSession>,
    /// There is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One session of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    /// The provider's own id, for `run/start`'s `resume`.
    pub id: String,
    /// Where it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was last used, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<UnixMs>,
    /// The newest run here that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
}

/// The files that a run changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangesResult {
    /// In the order in which they were first changed.
    pub files: Vec<ChangedFile>,
    /// False where commands may have written files too, of which the provider said nothing.
    pub complete: bool,
}

/// A file that a run changed, from its first change to its last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedFile {
    /// As the provider named it; usually absolute.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Unified patches, in their order, where the provider told only those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// The text before, as far as the provider told it: the whole file, or the part that was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_text: Option<String>,
    /// The text after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_text: Option<String>,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    Add,
    Modify,
    Delete,
    Move,
}
