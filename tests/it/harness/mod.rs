//! What the tests stand on: a data directory of their own, servers on it, and a log that refuses gaps and repeats.

mod gate;
mod home;
mod log;
mod processes;
mod server;
mod setup;
mod wire;

use std::time::{Duration, Instant};

pub use gate::Gate;
pub use home::Home;
pub use log::{Log, raw_bytes};
pub use processes::{Process, descendants, interrupt, kill, quit, resume, stop};
pub use server::{Failure, Server, id, outcome};
pub use setup::{Setup, isolated};
pub use wire::Framing;

/// How long anything may take before a test gives up on it. No test passes or fails by being faster or slower than this.
pub const DEADLINE: Duration = crate::PATIENCE;

/// Waits until a condition holds, and returns what it found.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A shell script as a command.
pub fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}
