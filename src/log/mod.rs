//! A run's log on disk: append, sync, follow, repair.
//!
//! A run's directory holds segment files of about 8 MiB, in which each line is one entry ([`crate::model::line`]). One
//! process, the run's supervisor, writes them, and any process reads them. Lines are only ever added, so what a reader
//! has seen stays true; a segment file is removed only after its rows are durable in the store.

pub(crate) mod append;
pub mod follow;
pub mod head;
pub(crate) mod index;
pub(crate) mod repair;
mod run_dir;
pub(crate) mod seek;
mod sync;
pub(crate) mod text;

pub(crate) use append::Appender;
pub(crate) use follow::{FollowRead, LogCursor};
pub(crate) use run_dir::Description;
pub use run_dir::RunDir;
pub(crate) use sync::SyncStatus;

#[cfg(test)]
mod power_tests;
