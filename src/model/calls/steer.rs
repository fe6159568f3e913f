//! Params and results of the methods that act on a run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    map_or_empty_list,
    start::{PermissionMode, Prompt},
};
use crate::model::{
    config_option::OptionValue,
    provider::{Takeover, TakeoverKind},
    state::RunId,
};

/// Which run to cancel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CancelParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// How long the program may take to end by itself. Default 2000. A later request can shorten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grace_ms: Option<u64>,
}

/// What to send to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// For `command`: text that is written to its stdin as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// For agents: the follow-up prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<Prompt>,
    /// When an agent takes the prompt. Default `queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<SendMode>,
    /// A second `run/send` to the run with the same token sends nothing and answers as the first one did, so that it may be sent
    /// again after a connection that broke. The run remembers the last 64 tokens. A failed send frees its token. If the
    /// run's supervisor is of an older version, the answer is `unsupported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_token: Option<String>,
}

/// When an agent takes a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SendMode {
    /// In a turn of its own.
    Queue,
    /// In the running turn.
    Steer,
}

impl SendParams {
    pub(crate) fn prompt(run_id: RunId, prompt: &str) -> Self {
        Self { prompt: Some(Prompt::Text(prompt.to_owned())), ..Self::new(run_id) }
    }

    /// Text for the stdin of a command.
    pub(crate) fn text(run_id: RunId, text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::new(run_id) }
    }

    fn new(run_id: RunId) -> Self {
        Self { run_id, text: None, prompt: None, mode: None, client_token: None }
    }
}

/// What became of a prompt or text that was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SendResult {
    /// The number of a prompt in the run's queue, where it waits or waited for its turn. Absent for text, for a prompt that went
    /// into the running turn, and from a supervisor of an older version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_id: Option<u64>,
}

/// A prompt that waits for a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueuedPrompt {
    /// Its number; no other prompt of the run has it.
    pub(crate) prompt_id: u64,
    /// ACP content blocks.
    pub(crate) prompt: Vec<Map<String, Value>>,
}

/// The prompts of a run that wait for a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueResult {
    /// In the order of their turns.
    pub(crate) prompts: Vec<QueuedPrompt>,
}

/// Which prompt to take back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnqueueParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// The number of the prompt, from `run/send` or `run/queue`.
    pub(crate) prompt_id: u64,
}

/// The new size of a run's terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetSizeParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// How many rows.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) rows: i64,
    /// How many columns.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) cols: i64,
}

/// An answer to a permission request; either `optionId` or `cancelled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnswerParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Which permission request.
    pub(crate) permission_id: String,
    /// The option that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) option_id: Option<String>,
    /// `true`: the client refuses to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<bool>,
    /// A message to the agent, sent with the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

impl AnswerParams {
    /// Chooses an option, without a message.
    pub(crate) fn option(run_id: RunId, permission_id: &str, option_id: &str) -> Self {
        let (permission_id, option_id) = (permission_id.to_owned(), Some(option_id.to_owned()));
        Self { run_id, permission_id, option_id, cancelled: None, message: None }
    }
}

/// Which settings of a run to change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigureParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// The new model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// The new permission mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<PermissionMode>,
    /// The agent's own options to set, by their ids in `Run.agent.configOptions`. `mode` sets one of `Run.agent.modes` where no
    /// option has that id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub(crate) options: BTreeMap<String, OptionValue>,
}

/// What `run/configure` changes; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    pub(crate) model: Option<String>,
    pub(crate) permissions: Option<PermissionMode>,
    pub(crate) options: BTreeMap<String, OptionValue>,
}

impl RunSettings {
    /// Adds later settings, which take precedence.
    pub(crate) fn extend(&mut self, later: Self) {
        if later.model.is_some() {
            self.options.remove("model");
            self.model = later.model;
        }
        if later.options.contains_key("model") {
            self.model = None;
        }
        self.permissions = later.permissions.or(self.permissions);
        self.options.extend(later.options);
    }
}

/// How to take a session over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TakeoverParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Which way to choose. Default: the best one that is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<TakeoverKind>,
    /// Whether to end the headless process first. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<bool>,
}

/// How to continue the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TakeoverResult {
    /// The way that was chosen.
    pub(crate) takeover: Takeover,
}
