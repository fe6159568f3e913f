//! What is to happen because of what an adapter understood.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{PermissionOption, RunError, Usage};

/// Something that is to happen because of what an adapter understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Bytes for the program's stdin.
    Write(Vec<u8>),
    CloseStdin,
    /// An entry of the log: an ACP `SessionUpdate`.
    Update(Map<String, Value>),
    Session(SessionNews),
    /// Prompts can be taken from now on.
    Ready,
    /// The oldest prompt that was given and not taken yet has been taken by the provider.
    Took,
    /// A prompt that was given and not taken yet will not be taken; it waits for a turn of its own. By its place among those, oldest first.
    GaveBack(usize),
    /// The provider began a turn that nobody asked for (a prompt that came too late for the turn before).
    TurnBegan,
    TurnEnded(TurnEnd),
    Ask(Question),
    /// The provider no longer waits for an answer to its question of this name.
    Withdraw(String),
    Wake {
        after: Duration,
        token: u32,
    },
    /// What was started since the turn began still runs and is to be ended; the provider itself forgot it.
    EndCommands,
    /// The run cannot go on.
    Fatal(RunError),
}

/// What became known of the provider's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionNews {
    pub id: String,
    /// The provider's file, if it says so.
    pub path: Option<String>,
    /// The provider has really kept it.
    pub resumable: bool,
}

/// How a turn ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnEnd {
    /// An ACP `StopReason`, or `error`.
    pub stop_reason: String,
    pub error: Option<RunError>,
    /// What this turn alone used.
    pub usage: Option<Usage>,
}

/// A decision that the provider needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The adapter's own name of it, unique among open ones.
    pub id: String,
    /// An ACP `ToolCallUpdate` with at least `toolCallId`; what is known of the tool call already is added.
    pub tool_call: Map<String, Value>,
    pub options: Vec<PermissionOption>,
}

impl TurnEnd {
    pub fn new(stop_reason: &str) -> Self {
        Self { stop_reason: stop_reason.to_owned(), error: None, usage: None }
    }

    pub fn failed(error: RunError) -> Self {
        Self { stop_reason: "error".to_owned(), error: Some(error), usage: None }
    }
}
