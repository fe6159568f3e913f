//! The store: finished and sealed parts of runs, in one redb file that several servers share.
//!
//! Only this module uses redb. Every function blocks (on the disk, and on the write lock that all servers share), so it
//! is called from threads that may block. `docs/store.md` describes the file byte by byte. The store never reads the
//! logs: whoever seals brings the lines, and removes the log file once `seal` has returned.

mod anchors;
mod base;
mod block;
mod block_rows;
mod builds;
mod checkpoints;
mod create;
mod error;
mod extract;
mod handles;
mod index;
mod maintenance;
mod pack;
mod prefix;
mod read;
mod row;
mod runs;
mod seal;
mod tables;
mod text;
mod unpack;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{Durability, ReadTransaction, WriteTransaction};

pub(crate) use self::{
    block::{Block, BlockEntry},
    error::StoreError,
    index::Filter,
    maintenance::{Compaction, RetentionMarks},
    prefix::PartCache,
    seal::{EndedRun, SealResult},
};
use self::{error::StoreErrorKind, handles::Handles, read::RecentBlocks};

/// Name of the store's file in the data directory.
pub(crate) const FILE_NAME: &str = "loomd.redb";

/// Version of the store's format that this build writes; it reads this one and no newer one.
pub(crate) const FORMAT_VERSION: u64 = 5;

/// The store of one data directory. Cloning is cheap; all clones share one pair of handles.
#[derive(Clone)]
pub struct Store {
    handles: Arc<Handles>,
    /// Durable commits of this process.
    commits: Arc<AtomicU64>,
    recent: Arc<RecentBlocks>,
    /// Blocks that this process has decoded.
    decoded_blocks: Arc<AtomicU64>,
}

/// How a write transaction ends, and what it returns.
enum TransactionOutcome<T> {
    /// What it changed is made durable.
    Commit(T),
    /// It changed nothing and is aborted.
    Unchanged(T),
}

impl<T> TransactionOutcome<T> {
    /// What one of several steps returned. Notes whether it changed anything.
    fn note(self, is_changed: &mut bool) -> T {
        match self {
            Self::Commit(value) => {
                *is_changed = true;
                value
            }
            Self::Unchanged(value) => value,
        }
    }
}

impl Store {
    /// The store in `data_dir`. Does not touch the disk: the first call opens the file, the first write creates it.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            handles: Arc::new(Handles::new(data_dir.into().join(FILE_NAME))),
            commits: Arc::default(),
            recent: Arc::default(),
            decoded_blocks: Arc::default(),
        }
    }

    /// Path of the store's file, whether it is there or not.
    pub fn path(&self) -> &Path {
        self.handles.path()
    }

    /// Fails if the store cannot be used. A missing file is fine; one that a killed writer left behind is repaired.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.handles.check().map_err(|error| error.at(self.path()))
    }

    /// Runs `work` in a read transaction that begins now. `None` when there is no file.
    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, StoreErrorKind>) -> Result<Option<T>, StoreError> {
        let attempt = || {
            let Some(handle) = self.handles.for_reading()? else { return Ok(None) };
            work(&handle.begin_read()?).map(Some)
        };
        handles::catch_panics(attempt).map_err(|error| self.failed(error))
    }

    /// Runs `work` in a write transaction, after waiting for the write lock. Creates the file if there is none.
    fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<TransactionOutcome<T>, StoreErrorKind>) -> Result<T, StoreError> {
        let attempt = || {
            self.handles.make_file()?;
            let handle = self.handles.for_writing()?.ok_or_else(StoreErrorKind::vanished)?;
            transact(&handle, &self.commits, work)
        };
        handles::catch_panics(attempt).map_err(|error| self.failed(error))
    }

    /// As [`Self::write`], but returns `None` when there is no file.
    fn change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<TransactionOutcome<T>, StoreErrorKind>,
    ) -> Result<Option<T>, StoreError> {
        let attempt = || {
            let Some(handle) = self.handles.for_writing()? else { return Ok(None) };
            transact(&handle, &self.commits, work).map(Some)
        };
        handles::catch_panics(attempt).map_err(|error| self.failed(error))
    }

    /// Makes a [`StoreError`] of an error. redb refuses all work on a handle after one failed read or write of the file,
    /// so the handles are closed, and the next call opens the file anew.
    fn failed(&self, error: StoreErrorKind) -> StoreError {
        if error.spoils_handles() {
            self.handles.close();
        }
        error.at(self.path())
    }
}

fn transact<T>(
    handle: &redb::Database,
    commits: &AtomicU64,
    work: impl FnOnce(&WriteTransaction) -> Result<TransactionOutcome<T>, StoreErrorKind>,
) -> Result<T, StoreErrorKind> {
    let mut transaction = handle.begin_write()?;
    transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
    transaction.set_quick_repair(true);
    create::upgrade(&transaction)?;
    match work(&transaction)? {
        TransactionOutcome::Commit(value) => {
            transaction.commit()?;
            commits.fetch_add(1, Ordering::Relaxed);
            Ok(value)
        }
        TransactionOutcome::Unchanged(value) => {
            transaction.abort()?;
            Ok(value)
        }
    }
}

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod sharing_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::run as test_run;
