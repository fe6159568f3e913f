//! Translates between loomd and the programs of the providers: a task becomes an argv, a line that a program writes
//! becomes updates, and a prompt or an answer becomes a line for its stdin.
//!
//! This module does no IO: it starts no process, reads no clock and opens no file. [`KINDS`] lists all kinds of
//! providers; docs/providers.md shows how one is added.

pub(crate) mod acp;
pub(crate) mod claude;
pub(crate) mod codex;
pub(crate) mod conversation;
pub(crate) mod error_kind;
pub mod event_sink;
mod ids;
mod json_lines;
pub(crate) mod kind;
mod model_options;
pub(crate) mod plain;
pub mod provider_event;
mod reconcile;
mod tools;

pub use conversation::Conversation;
pub(crate) use conversation::{PermissionRules, RuleAnswer};
pub use kind::{Adapter, Answer, Exit, Launch, Preset, Probe, ProbeQuery, Provider, Reply, SessionFiles, StdinUse};
pub use provider_event::{Action, EntryBody, FinalState, TurnEnd};

/// Compiles and runs the example of docs/providers.md as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/providers.md")]
struct ProvidersDocExample;

/// All kinds of providers.
pub(crate) const KINDS: &[&dyn Provider] = &[&codex::Codex, &claude::Claude, &acp::Acp, &plain::PlainCli];

/// The kind with this name.
pub(crate) fn kind(name: &str) -> Option<&'static dyn Provider> {
    KINDS.iter().find(|provider| provider.kind() == name).copied()
}

/// The providers that exist without a configuration, in addition to the kinds themselves.
pub(crate) const PRESETS: &[Preset] = acp::PRESETS;

/// The preset with this name.
pub(crate) fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// Checks the configuration of a plain command-line tool. The error says what to change and continues a message that
/// begins with "provider NAME".
pub(crate) fn check_plain(plain: &crate::model::Plain) -> Result<(), String> {
    plain::check_settings(plain)
}

#[cfg(test)]
pub(crate) mod tests;
