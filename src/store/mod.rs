//! The store: finished and sealed parts of runs, in one redb file that several servers share.
//!
//! Only this room knows redb. Every function blocks (on the disk, and on the write lock that all servers share), so it is
//! called from threads that may. What the file holds, byte by byte, is written down in `docs/store.md`.
//! The store never looks at the logs: whoever seals brings the lines, and removes the log file once `seal` has answered.

mod base;
mod block;
mod block_head;
mod compact;
mod create;
mod escape;
mod extract;
mod handles;
mod heads;
mod index;
#[cfg(test)]
mod index_tests;
mod marks;
#[cfg(test)]
mod old_tests;
mod pack;
#[cfg(test)]
mod power_tests;
mod read;
mod runs;
mod seal;
#[cfg(test)]
mod sharing_tests;
mod spare;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod trouble;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Durability, ReadTransaction, WriteTransaction};

#[cfg(test)]
pub use self::tests::run as test_run;
pub use self::{
    base::Bodies,
    block::{Block, Piece},
    compact::Compaction,
    index::Filter,
    marks::RetentionMarks,
    runs::Stats,
    seal::Sealed,
    tables::{SealedPart, StoredRun},
};
use self::{handles::Handles, trouble::Trouble};
use crate::model::Failure;

/// Name of the store's file in the data directory.
pub const FILE_NAME: &str = "loomd.redb";

/// Version of the store's format that this build writes; it reads this one and no newer one.
pub const FORMAT_VERSION: u64 = 3;

/// The store of one data directory. Cloning is cheap; all clones share one pair of handles.
#[derive(Clone)]
pub struct Store {
    handles: Arc<Handles>,
}

/// What a write transaction comes to.
enum Outcome<T> {
    /// Make it durable.
    Commit(T),
    /// Nothing was changed.
    Leave(T),
}

impl Store {
    /// The store in `data_dir`. Touches no disk: the file is looked at by the first call and made by the first write.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self { handles: Arc::new(Handles::new(data_dir.into().join(FILE_NAME))) }
    }

    /// Path of the store's file, whether it is there or not.
    pub fn path(&self) -> &Path {
        self.handles.path()
    }

    /// Whether the store can be used. A missing file is fine; one that a killed writer left behind is repaired.
    pub fn check(&self) -> Result<(), Failure> {
        self.handles.check().map_err(|trouble| trouble.at(self.path()))
    }

    /// Runs `work` in a read transaction that begins now. `None` when there is no file.
    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, Trouble>) -> Result<Option<T>, Failure> {
        let attempt = || {
            let Some(handle) = self.handles.for_reading()? else { return Ok(None) };
            work(&handle.begin_read()?).map(Some)
        };
        attempt().map_err(|trouble| self.failed(trouble))
    }

    /// Runs `work` in a write transaction, after waiting for the write lock. Makes the file if there is none.
    fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<Outcome<T>, Trouble>) -> Result<T, Failure> {
        let attempt = || {
            self.handles.make_file()?;
            let handle = self.handles.for_writing()?.ok_or_else(Trouble::vanished)?;
            transact(&handle, work)
        };
        attempt().map_err(|trouble| self.failed(trouble))
    }

    /// As [`Self::write`], but answers `None` when there is no file.
    fn change<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<Outcome<T>, Trouble>) -> Result<Option<T>, Failure> {
        let attempt = || {
            let Some(handle) = self.handles.for_writing()? else { return Ok(None) };
            transact(&handle, work).map(Some)
        };
        attempt().map_err(|trouble| self.failed(trouble))
    }

    /// redb refuses all work after one failed read or write of the file, so the handles go and the next call opens anew.
    fn failed(&self, trouble: Trouble) -> Failure {
        if trouble.spoils_handles() {
            self.handles.forget();
        }
        trouble.at(self.path())
    }
}

fn transact<T>(handle: &redb::Database, work: impl FnOnce(&WriteTransaction) -> Result<Outcome<T>, Trouble>) -> Result<T, Trouble> {
    let mut transaction = handle.begin_write()?;
    transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
    transaction.set_quick_repair(true);
    create::upgrade(&transaction)?;
    match work(&transaction)? {
        Outcome::Commit(value) => {
            transaction.commit()?;
            Ok(value)
        }
        Outcome::Leave(value) => {
            transaction.abort()?;
            Ok(value)
        }
    }
}
