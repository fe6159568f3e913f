//! What the providers' programs say and want to hear: a request becomes an argv, lines become updates, words become lines.
//!
//! No IO here: no process, no clock, no file. [`TABLE`] is the list of all kinds; docs/providers.md shows how one is added.

pub mod acp;
pub mod adapter;
pub mod claude;
pub mod codex;
pub mod conversation;
#[cfg(test)]
mod conversation_tests;
pub mod effect;
pub mod fault;
pub mod kind;
pub mod out;
pub mod plain;
pub mod policy;
mod readable;
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
pub use kind::{Inquiry, Launch, Preset, Provider, Question, Reply, SessionFiles, Stdin};
pub use task::{Plain, Task};

/// The example of docs/providers.md is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/providers.md")]
struct Documented;

/// All kinds of agents.
pub const TABLE: &[&dyn Provider] = &[&codex::Codex, &claude::Claude, &acp::Acp, &plain::PlainCli];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static dyn Provider> {
    TABLE.iter().find(|provider| provider.kind() == name).copied()
}

/// Providers that are there without a configuration, beside the kinds themselves.
pub const PRESETS: &[Preset] = acp::PRESETS;

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// Whether the configuration of a plain command-line tool makes sense; if not, what to do, after "provider NAME".
pub fn check_plain(plain: &Plain) -> Result<(), String> {
    plain::check_words(plain)
}
