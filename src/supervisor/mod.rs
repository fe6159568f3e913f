//! One run: its program, its pipes, its log, its end.
//!
//! `loomd supervise` is one process per run, detached from everybody. It is the only writer of the run's log and the
//! parent of the run's tree, and holds the lock that proves that the run lives. It knows no store and no client; servers
//! come and go at its socket. One thread does everything but syncing, so nothing here needs a lock.

mod acting;
mod agent;
mod birth;
pub mod claim;
pub mod control;
mod end;
mod input;
mod lines;
mod phase;
mod pump;
mod run;
mod stop;
mod watchdog;
pub mod words;

pub use phase::{now, state_entry};

use std::process::ExitCode;

use crate::process::{detach, own};

/// What `loomd supervise` runs. Never returns anything useful: there is nobody to read it.
pub fn main() -> ExitCode {
    // What the loader touched; again at each step of the start, for each maps code that no later one needs.
    own::release_code();
    own::become_private();
    let inheritance = match detach::inheritance() {
        Ok(inheritance) => inheritance,
        Err(error) => {
            eprintln!("loomd: {error}");
            return ExitCode::from(2);
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() else { return ExitCode::FAILURE };
    own::release_code();
    let local = tokio::task::LocalSet::new();
    match local.block_on(&runtime, birth::supervise(inheritance)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
