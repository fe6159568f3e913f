//! Where a run is on its way to the end, and why.

use std::time::Duration;

use tokio::time::Instant;

use super::stop::Sweep;
use crate::model::{RunId, RunState, StateEntry, UnixMs, entry::LeftProcess};

/// How often a full disk is tried again.
pub const STORAGE_RETRY: Duration = Duration::from_secs(1);

/// Where the run is on its way to the end.
#[derive(Debug)]
pub enum Phase {
    Running,
    /// The program was asked to end.
    Stopping {
        kill_at: Instant,
    },
    /// The program has ended; its pipes are read to their end.
    Draining {
        until: Instant,
        kill_at: Option<Instant>,
    },
    /// What is left of the tree is being ended.
    Sweeping(Sweep),
    Over(Vec<LeftProcess>),
}

/// Why a run is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Cancelled,
    TimedOut(String),
    OutputLimit(u64),
}

/// A state entry with nothing but the state.
pub fn state_entry(run_id: RunId, seq: u64, state: RunState) -> StateEntry {
    let at = now();
    StateEntry {
        run_id,
        seq,
        at,
        state,
        turn: None,
        stop_reason: None,
        exit_code: None,
        signal: None,
        error: None,
        usage: None,
        left: Vec::new(),
    }
}

/// The wall clock, in Unix milliseconds.
pub fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
