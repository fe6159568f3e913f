//! The real binary, driven over stdio as an editor drives it. The tests check what the protocol promises, not how it is
//! done.
//!
//! They are one crate, so that it links once. Tests marked as ignored are slow; `tests/run` runs them too.

#![cfg(target_os = "linux")]

mod harness;

/// How long a test waits for anything before it fails.
const TEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(90);

mod acp;
mod agents;
mod command_line;
mod control_version;
mod environment;
mod exact_bytes;
mod exports;
mod faults;
mod hostile;
mod hosts;
mod items;
mod kills;
mod lifecycle;
mod mcp;
mod notifying;
mod params;
mod privacy;
mod process_tree;
mod reading;
mod ready_supervisors;
mod running;
mod scopes;
mod seams;
mod searching;
mod several_servers;
mod slow_clients;
mod spawning;
mod steering;
mod system_calls;
mod terminals;
mod touched;
mod transport;
#[cfg(feature = "web")]
mod web;
