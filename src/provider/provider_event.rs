//! What an adapter reports to the conversation.

use serde_json::{Map, Value};

use super::action::{Action, TurnEnd};
use crate::model::{PermissionOption, RunError};

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
