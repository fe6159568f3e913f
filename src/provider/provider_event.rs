//! What an adapter reports to the conversation, and what a conversation has the supervisor do and log.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{PermissionOption, RunError, RunState, Session, Usage, agent::AgentOffer, entry::PermissionStatus};

/// An event that an adapter reports through [`EventSink`](super::event_sink::EventSink).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ProviderEvent {
    /// Something that the supervisor is to do, such as writing to the program's stdin or logging an update.
    Do(Action),
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

/// What the supervisor is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Log(EntryBody),
    Write(Vec<u8>),
    CloseStdin,
    /// A turn starts: commands that are started from now on belong to it.
    TurnStarted,
    TurnEnded,
    /// Ends the commands that were started since the turn started.
    EndCommands,
    /// What the agent offers.
    Offer(Box<AgentOffer>),
    /// This many prompts are queued.
    QueueLength(u64),
    SetTimer {
        after: Duration,
        token: u32,
    },
    /// Sets a timer that waits longer than `limit` while the program is at work.
    SetStartDeadline {
        limit: Duration,
        token: u32,
    },
    /// Nothing more will be written to the program; it is expected to end soon.
    Finish,
}

/// An entry of the log without its number and time.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryBody {
    Session(Session),
    Update(Map<String, Value>),
    Permission { permission_id: String, status: PermissionStatus },
    State { state: RunState, turn: Option<u64>, end: Option<TurnEnd> },
}

/// How the run ended, as far as its provider is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct FinalState {
    pub(crate) state: RunState,
    pub(crate) stop_reason: String,
    pub(crate) error: Option<RunError>,
    /// The turn that ends with the run, unless its end was logged before. `usage` is what it used.
    pub(crate) turn: Option<u64>,
    pub(crate) usage: Option<Usage>,
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

impl TurnEnd {
    pub fn new(stop_reason: &str) -> Self {
        Self { stop_reason: stop_reason.to_owned(), error: None, usage: None }
    }

    pub(crate) fn failed(error: RunError) -> Self {
        Self { stop_reason: "error".to_owned(), error: Some(error), usage: None }
    }
}
