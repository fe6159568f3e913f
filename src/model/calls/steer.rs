//! Params and results of the methods that act on a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::start::{PermissionMode, Prompt};
use crate::model::{
    id::RunId,
    session::{Takeover, TakeoverKind},
};

/// Which run to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelParams {
    /// Which run.
    pub run_id: RunId,
    /// How long the program may take to end by itself, in milliseconds; default 2000. A shorter grace later wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// What to hand to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendParams {
    /// Which run.
    pub run_id: RunId,
    /// For `command`: written to its stdin as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// For agents: the follow-up prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// Default `queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SendMode>,
}

/// When a prompt is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SendMode {
    /// The next turn.
    Queue,
    /// Into the running turn.
    Steer,
}

/// An answer to a permission request; either `optionId` or `cancelled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerParams {
    /// Which run.
    pub run_id: RunId,
    /// Which question.
    pub permission_id: String,
    /// The option that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// `true`: refuse to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    /// What the agent is told beside the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What to set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigureParams {
    /// Which run.
    pub run_id: RunId,
    /// The new model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who decides from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionMode>,
}

/// How to take over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakeoverParams {
    /// Which run.
    pub run_id: RunId,
    /// Default: the best one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TakeoverKind>,
    /// End the headless process first; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<bool>,
}

/// How to go on with the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TakeoverResult {
    /// The way that was chosen.
    pub takeover: Takeover,
}
