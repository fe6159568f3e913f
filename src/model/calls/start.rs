//! Params of `run/start`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{entry::Kind, id::RunId, shape::map_or_empty_list};

/// What to run, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartParams {
    /// `command`, `codex`, `claude`, `acp`, or a name from the configuration.
    pub provider: String,
    /// What an agent is asked: text, or ACP content blocks. Passed by stdin or protocol, never through a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// The argv; required for `command` and `acp`, refused for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Appended to the provider's own argv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Absolute; default: the server's own working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the environment; null removes a variable. Values are never stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub env: BTreeMap<String, Option<String>>,
    /// For `command`: written to its stdin, which is then closed unless the run is interactive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Run under a pseudoterminal (for programs that buffer their output in a pipe).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// Go on with a session of an agent; `command` has none and answers `unsupported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Stay open for `run/send` after a turn ends; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
    /// For agents: which model, in the provider's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Default `ask`: wait until somebody can answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionMode>,
    /// Limit on the whole run, awake time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Limit on the time without any output, awake time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// An interactive run that is idle with nobody attached for so long gets `closeInput`; default 30 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_idle_ms: Option<u64>,
    /// What happens when the last attached client goes: the run goes on (`detach`, the default), or is cancelled after 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// `false`, or the kinds that the starter is attached to; default: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<AttachChoice>,
    /// Programs that the final sweep spares, beside the usual build daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
    /// Both streams together, in bytes; a run that writes more is cancelled with error `outputLimit`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For whoever looks for the run later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub labels: BTreeMap<String, String>,
    /// The same token again answers with the run that it already started. A failed start frees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// Text, or ACP content blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of content blocks")]
pub enum Prompt {
    Text(String),
    Blocks(Vec<Map<String, Value>>),
}

/// Which session to go on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase", expecting = "expected {runId} or {sessionId}")]
pub enum Resume {
    Run {
        /// The session of this earlier run.
        run_id: RunId,
    },
    Session {
        /// The provider's own id of a session.
        session_id: String,
    },
}

/// Who decides what an agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PermissionMode {
    /// Nobody in advance: every question waits for an answer.
    Ask,
    /// Edits of files are allowed; the rest is asked.
    AcceptEdits,
    /// Nothing may be changed.
    ReadOnly,
    /// Everything is allowed.
    Bypass,
}

/// What becomes of a run that nobody follows any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnDisconnect {
    /// It runs on.
    Detach,
    /// It is cancelled after 5 s.
    Cancel,
}

/// What the starter is attached to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected false or {kinds}")]
pub enum AttachChoice {
    /// `false`: to nothing. `true` is the default said aloud.
    Whether(bool),
    /// `[]`, as Lua encodes an empty table: everything.
    Empty([(); 0]),
    Kinds {
        /// Chooses among `output` and `update`; the others always come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<Kind>>,
    },
}
