//! The types of the protocol: runs, log entries, sessions, failures, params and results; and those of the control
//! protocol between servers and supervisors.
//!
//! Nothing here does IO, reads a clock or knows a process. `loomd schema` generates the JSON Schema and the protocol
//! reference from these types, so authors of clients read their doc comments.

pub(crate) mod agent;
pub mod calls;
pub(crate) mod config_option;
pub(crate) mod control;
pub(crate) mod entry;
pub(crate) mod failure;
pub(crate) mod item;
pub mod line;
pub(crate) mod methods;
pub(crate) mod provider;
pub mod reference;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod state;
pub mod task;

pub use entry::{Entry, Kind, OutputEntry, PermissionEntry, PermissionOption, SessionEntry, SizeEntry, StateEntry, Stream, UpdateEntry};
pub use failure::{Failure, FailureKind};
pub use methods::METHODS;
pub use provider::{ProviderCapabilities, ProviderInfo, Session, Takeover, TakeoverKind};
pub use run::Run;
pub use state::{RunBytes, RunError, RunId, RunState, TerminalSize, Usage};
pub use task::{Plain, Task};

/// The version of the protocol that this build supports.
pub(crate) const PROTOCOL_VERSION: u32 = 1;

/// Integer Unix milliseconds, UTC.
pub(crate) type UnixMs = u64;
