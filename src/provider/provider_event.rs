//! What an adapter reports to the conversation.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{PermissionOption, RunError, Usage, agent::AgentOffer};

/// An event that an adapter reports through [`EventSink`](super::event_sink::EventSink).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ProviderEvent {
    /// Bytes for the program's stdin.
    Write(Vec<u8>),
    CloseStdin,
    /// An ACP `SessionUpdate`, which becomes an entry of the log.
    Update(Map<String, Value>),
    Session(SessionInfo),
    /// Prompts can be sent from now on.
    Ready,
    /// The provider accepted the oldest prompt that was sent and not yet accepted.
    PromptAccepted,
    /// The provider will not accept a prompt that was sent; the prompt gets a turn of its own. The number is its
    /// position among the prompts that were sent and not accepted, oldest first.
    PromptReturned(usize),
    /// The provider started a turn by itself, for example for a prompt that came too late for the turn before.
    TurnStarted,
    TurnEnded(TurnEnd),
    PermissionRequested(PermissionRequest),
    /// The provider no longer waits for an answer to the request with this id.
    PermissionWithdrawn(String),
    /// What the agent offers before it has sent an update about it.
    Offer(Box<AgentOffer>),
    SetTimer {
        after: Duration,
        token: u32,
    },
    /// The program has a time limit for its next step on the way to its first prompt.
    SetStartDeadline {
        limit: Duration,
        token: u32,
    },
    /// Commands that were started in this turn still run, and the provider has forgotten them: they are to be ended.
    EndCommands,
    /// The run cannot go on.
    Fatal(RunError),
}

/// What is known of the provider's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    pub(crate) id: String,
    /// The provider's file, if the provider names it.
    pub(crate) path: Option<String>,
    /// The provider has saved the session, so that it can be resumed.
    pub(crate) resumable: bool,
}

/// How a turn ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnEnd {
    /// An ACP `StopReason`, or `error`.
    pub(crate) stop_reason: String,
    pub(crate) error: Option<RunError>,
    /// What this turn alone used.
    pub(crate) usage: Option<Usage>,
}

/// A decision that the provider asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PermissionRequest {
    /// The adapter's own id of the request, unique among the open ones.
    pub(crate) id: String,
    /// An ACP `ToolCallUpdate` with at least `toolCallId`. `EventSink::request_permission` adds what is known of the
    /// tool call.
    pub(crate) tool_call: Map<String, Value>,
    pub(crate) options: Vec<PermissionOption>,
}

impl TurnEnd {
    pub fn new(stop_reason: &str) -> Self {
        Self { stop_reason: stop_reason.to_owned(), error: None, usage: None }
    }

    pub(crate) fn failed(error: RunError) -> Self {
        Self { stop_reason: "error".to_owned(), error: Some(error), usage: None }
    }
}
