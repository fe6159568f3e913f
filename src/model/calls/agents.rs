//! Params and results of `provider/options`, `session/list` and `run/changes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{UnixMs, state::RunId};

/// Which provider's options to list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OptionsParams {
    /// The provider, as `run/start` names it.
    pub(crate) provider: String,
    /// The directory in which a run would work; absolute. Default: the server's own working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
}

/// The options of a provider, as far as it reports them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OptionsResult {
    /// The models, for `model` of `run/start`.
    pub(crate) models: Vec<Choice>,
    /// The provider's own permission modes.
    pub(crate) modes: Vec<Choice>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Choice {
    /// The provider's id of the option.
    pub(crate) id: String,
    /// A name for people.
    pub(crate) name: String,
}

/// Which provider's sessions to list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionsParams {
    /// The provider, as `run/start` names it.
    pub(crate) provider: String,
    /// Lists only sessions of this directory; absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// The `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A page of the provider's own sessions, also those made outside of loomd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SessionsResult {
    /// In the provider's order, which usually is newest first.
    pub(crate) sessions: Vec<ListedSession>,
    /// `cursor` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// One session of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    /// The provider's own id, for `resume` of `run/start`.
    pub id: String,
    /// The directory in which it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was last used, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<UnixMs>,
    /// The newest run in this store that has the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
}

/// The files that a run changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangesResult {
    /// The files in the order of their first change.
    pub(crate) files: Vec<ChangedFile>,
    /// False if commands may have changed files that the provider does not report.
    pub(crate) complete: bool,
}

/// A file that a run changed: all its changes together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangedFile {
    /// The path as the provider names it; usually absolute.
    pub(crate) path: String,
    /// What happened to it.
    pub(crate) kind: ChangeKind,
    /// Unified patches in their order, if the provider reports only patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<String>,
    /// The text before, if the provider reports it: the whole file, or the part that was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old_text: Option<String>,
    /// The text after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new_text: Option<String>,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ChangeKind {
    Add,
    Modify,
    Delete,
    Move,
}
