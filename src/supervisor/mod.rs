//! Supervises one run: its program, its pipes, its log, its end.
//!
//! `loomd supervise` is one process per run, detached from every other. It is the only writer of the run's log and the
//! parent of the run's process tree, and it holds the lock that proves that the run lives. It knows neither store nor
//! clients; servers connect to its socket and leave again. One thread does everything but syncing, so nothing here
//! needs a lock.

mod agent;
mod agent_actions;
mod commands;
pub(crate) mod control;
mod end;
mod input;
pub(crate) mod launch;
mod notifier;
mod phase;
mod pump;
mod run;
mod startup;
mod stop;
mod terminal;
mod timers;
mod watchdog;

use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::{
    model::{Entry, RunId, RunState, SizeEntry, StateEntry, TerminalSize, UnixMs, UpdateEntry},
    process::{current_process, detach},
};

/// The entry point of `loomd supervise`. The exit code matters to no one: the process is detached.
pub(crate) fn main() -> ExitCode {
    // Frees the code pages that the loader touched. Each later step of the start does the same, for each maps code that
    // no following one needs.
    current_process::release_code_pages();
    current_process::set_private_umask();
    current_process::keep_memory_private();
    if std::env::args_os().nth(2).is_some_and(|word| word == notifier::NOTIFIER_WORD) {
        return notifier::main();
    }
    let is_ready = std::env::args_os().nth(2).is_some_and(|word| word == detach::READY_WORD);
    let inherited = match detach::inherited_fds(!is_ready) {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("loomd: {error}");
            return ExitCode::from(2);
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() else { return ExitCode::FAILURE };
    current_process::release_code_pages();
    let local = tokio::task::LocalSet::new();
    match local.block_on(&runtime, startup::supervise(inherited)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A state entry that holds nothing but the state.
pub(crate) fn state_entry(run_id: RunId, seq: u64, state: RunState) -> StateEntry {
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

pub(crate) fn size_entry(run_id: RunId, seq: u64, size: TerminalSize) -> Entry {
    Entry::Size(SizeEntry { run_id, seq, at: now(), size })
}

pub(crate) fn update_entry(run_id: RunId, seq: u64, update: Map<String, Value>) -> Entry {
    Entry::Update(UpdateEntry { run_id, seq, at: now(), update })
}

/// The wall clock, in Unix milliseconds.
pub(crate) fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
