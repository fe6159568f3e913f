//! The harness of the tests: a data directory for each test, servers on it, and a log that refuses gaps and repeats.

mod acp_peer;
mod gate;
mod home;
mod items;
mod log;
mod processes;
mod server;
mod setup;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use acp_peer::{AcpPeer, held, read};
pub(crate) use gate::Gate;
pub(crate) use home::Home;
pub(crate) use items::Items;
pub(crate) use log::{Log, raw_bytes};
pub(crate) use processes::{Process, descendants, interrupt, kill, quit, resume, stop};
pub(crate) use server::{Failure, Server, id, outcome};
pub(crate) use setup::{Setup, isolated};
pub(crate) use wire::Framing;

/// How long a test waits for anything before it fails. No test depends on something taking longer than this.
pub(crate) const WAIT_TIMEOUT: Duration = crate::TEST_TIMEOUT;

/// Waits until a condition returns a value, and returns that.
pub(crate) fn until<T>(description: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WAIT_TIMEOUT;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "gave up waiting: {description}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A shell script as a command.
pub(crate) fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}
