//! The real agents with the real loomd, each in a world without network and with a model that answers as the prompt
//! names it.
//!
//! A test is a scenario for one agent: `claude::hello`. If an agent could not be installed, its tests print that and
//! are skipped.

#![cfg(target_os = "linux")]

#[path = "../integration/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other tests use the rest")]
mod harness;

mod agents;
mod scenarios;
mod world;

/// How long a test waits for anything before it fails. Some agents start slowly, especially while others run.
const TEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(150);
