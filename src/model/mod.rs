//! The protocol's words as types: runs, log entries, sessions, failures, params and results.
//!
//! Nothing here does IO, knows a clock or a process. The JSON Schema and the protocol reference are
//! made from these types (`loomd schema`), so their doc comments are what a client author reads.

pub mod calls;
pub mod directory;
pub mod entry;
pub mod failure;
pub mod id;
pub mod line;
pub mod provider;
pub mod reference;
pub mod run;
pub mod session;
mod shape;
pub mod state;

pub use entry::{Entry, Kind, OutputEntry, PermissionEntry, PermissionOption, SessionEntry, StateEntry, Stream, UpdateEntry};
pub use failure::{Failure, FailureKind};
pub use id::RunId;
pub use provider::{ProviderCapabilities, ProviderInfo};
pub use run::Run;
pub use session::{Session, Takeover, TakeoverKind};
pub use state::{RunBytes, RunError, RunState, Usage};

/// Version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Integer Unix milliseconds, UTC.
pub type UnixMs = u64;
