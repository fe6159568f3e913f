//! The real agents through the real loomd, each in a closed world of its own with a model that says what its prompt names.
//!
//! A test is a scenario for one agent: `claude::hello`. Where an agent could not be installed, its tests say so and are skipped.

#![cfg(target_os = "linux")]

#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other tests use the rest")]
mod harness;

mod agents;
mod scenarios;
mod world;

/// How long anything may take before a test gives up on it. Some agents start slowly, and the more so beside others.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(150);
