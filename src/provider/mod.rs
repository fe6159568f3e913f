//! What the providers' programs say and want to hear: a request becomes an argv, lines become updates, words become lines.
//!
//! No IO here: no process, no clock, no file. [`TABLE`] is the list of all kinds; docs/providers.md shows how one is added.

pub mod acp;
pub mod adapter;
pub mod conversation;
pub mod fault;
pub mod kind;
pub mod out;
pub mod plain;
pub mod policy;
pub mod reconcile;
#[cfg(test)]
pub mod recording;
#[cfg(test)]
pub mod talk;
pub mod task;
pub mod terminal;
mod tools;

pub use adapter::{Adapter, Answer, Exit};
pub use conversation::{Act, Body, Conversation, Verdict};
pub use kind::{Inquiry, Launch, Preset, Provider, Question, Reply, Stdin};
pub use task::{Plain, Task};

/// All kinds of agents.
pub const TABLE: &[&dyn Provider] = &[&acp::Acp, &plain::PlainCli];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static dyn Provider> {
    TABLE.iter().find(|provider| provider.kind() == name).copied()
}
