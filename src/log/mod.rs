//! One run's log on disk: append, sync, follow, repair.
//!
//! A run's directory holds segment files of about 8 MiB, each line one entry ([`crate::model::line`]). One process, the
//! run's supervisor, writes them; anybody reads them. What a reader has seen stays: lines are only ever added, and a
//! segment file goes away only after its rows are durable in the store.

pub mod append;
pub mod describe;
pub mod files;
pub mod follow;
pub mod head;
pub mod index;
#[cfg(test)]
mod power_tests;
pub mod repair;
pub mod seek;
mod sync;
pub mod text;

pub use append::Appender;
pub use describe::Description;
pub use files::RunDir;
pub use follow::{Cursor, Place};
pub use sync::Durable;
