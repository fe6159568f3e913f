//! What a conversation has the supervisor do, and what it logs.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{RunError, RunState, Session, Usage, agent::AgentOffer, entry::PermissionStatus};

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
