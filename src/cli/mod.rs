//! Commands for people. Each is a client of the protocol, through `rpc`, and never opens the store.
//!
//! `doctor` also looks at files, because it must work when no server starts, and changes none. `rules import` reads a file that no
//! server understands.

mod agent;
pub(crate) mod answer;
pub(crate) mod attach;
pub(crate) mod cancel;
pub(crate) mod changes;
pub(crate) mod configure;
pub(crate) mod doctor;
pub(crate) mod export;
mod format;
pub(crate) mod generate;
mod input;
pub(crate) mod list;
mod live;
pub(crate) mod logs;
mod notification_printer;
mod options;
mod outcome;
mod output;
pub(crate) mod providers;
pub(crate) mod render;
pub(crate) mod retention;
pub(crate) mod rules;
pub(crate) mod run;
mod screen;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod sessions;
mod tail;
pub(crate) mod takeover;

use std::{future::Future, io, process::ExitCode};

use crate::{
    model::{Failure, FailureKind},
    rules::RulesError,
};

/// Exit code for an invalid command line, configuration or store.
pub(crate) const EXIT_USAGE: u8 = 2;

/// Exit code if the program of `loomd run` cannot be started, as env(1) and timeout(1) have it.
const EXIT_CANNOT_START: u8 = 127;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum EarlyExit {
    Failure(Failure),
    /// Nobody reads our output any more, which is not an error.
    Closed,
}

impl From<Failure> for EarlyExit {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<RulesError> for EarlyExit {
    fn from(error: RulesError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<io::Error> for EarlyExit {
    fn from(error: io::Error) -> Self {
        Self::write_failed(&error)
    }
}

impl EarlyExit {
    /// Our output could not be written.
    fn write_failed(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failure(Failure::internal(format!("cannot write output: {error}"))),
        }
    }
}

/// Runs a command and turns its result into an exit code. A failure is printed on stderr.
pub(crate) fn run_to_exit_code(command: impl Future<Output = Result<u8, EarlyExit>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            render::print_failure(&Failure::internal(format!("cannot start the async runtime: {error}")));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(command);
    // Threads that still wait for a terminal or a server must not delay our end.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(EarlyExit::Closed) => ExitCode::SUCCESS,
        Err(EarlyExit::Failure(failure)) => {
            render::print_failure(&failure);
            ExitCode::from(exit_code_of(failure.kind))
        }
    }
}

fn exit_code_of(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Config | FailureKind::Store => EXIT_USAGE,
        FailureKind::SpawnFailed => EXIT_CANNOT_START,
        _ => 1,
    }
}
