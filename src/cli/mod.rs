//! Commands for people. Each is a client of the protocol, through `rpc`, and never looks into the store.
//!
//! The one exception is `doctor`, which must work when no server starts: it looks at files, and changes none.

mod agent;
pub mod answer;
pub mod attach;
pub mod cancel;
pub mod changes;
pub mod client;
pub mod completions;
pub mod configure;
pub mod delete;
pub mod doctor;
pub mod export;
mod input;
mod keys;
pub mod list;
mod live;
pub mod logs;
pub mod man;
mod options;
mod outcome;
mod output;
mod phrase;
pub mod providers;
pub mod prune;
mod raw;
pub mod render;
pub mod run;
pub mod schema;
pub mod search;
pub mod send;
pub mod sessions;
pub mod stats;
mod tail;
pub mod takeover;
mod words;

use std::{future::Future, io, process::ExitCode};

use crate::model::{Failure, FailureKind};

/// Exit code for a command line, a configuration or a store that cannot be used.
pub const BAD_COMMAND_LINE: u8 = 2;

/// Exit code when the program of `loomd run` cannot be started, as env(1) and timeout(1) have it.
const CANNOT_START: u8 = 127;

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    Failure(Failure),
    /// Nobody reads our output any more, which is no error.
    Closed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::unwritten(&error)
    }
}

impl Stop {
    /// Our output was not taken.
    fn unwritten(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failure(Failure::internal(format!("the output cannot be written: {error}"))),
        }
    }
}

/// Runs a command to its end and makes its exit code. A failure is told on stderr.
pub fn go(command: impl Future<Output = Result<u8, Stop>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            render::tell_failure(&Failure::internal(format!("the system refuses what a program needs: {error}")));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(command);
    // What still waits for a terminal or a server is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(Stop::Closed) => ExitCode::SUCCESS,
        Err(Stop::Failure(failure)) => {
            render::tell_failure(&failure);
            ExitCode::from(code_of(failure.kind))
        }
    }
}

fn code_of(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Config | FailureKind::Store => BAD_COMMAND_LINE,
        FailureKind::SpawnFailed => CANNOT_START,
        _ => 1,
    }
}
