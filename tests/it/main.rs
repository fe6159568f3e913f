//! The real binary, driven over stdio as an editor drives it. The tests hold what the protocol promises, not how it is done.
//!
//! One crate, so that it links once. Tests marked as ignored are slow; `tests/run` runs them too.

#![cfg(target_os = "linux")]

mod harness;

/// How long anything may take before a test gives up on it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

mod agents;
mod alive;
mod exact;
mod exports;
mod faults;
mod lifecycle;
mod many;
mod params;
mod people;
mod private;
mod reading;
mod running;
mod seams;
mod searching;
mod slow;
mod spawning;
mod steering;
mod swept;
mod transport;
