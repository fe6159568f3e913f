//! Maintenance of the store's file: giving free space back to the system, and what the servers of one store note about
//! retention.

use redb::ReadableTable;

use super::{
    Store, TransactionOutcome,
    create::builder,
    error::{StoreError, StoreErrorKind},
    tables::META,
};
use crate::model::UnixMs;

/// Free bytes in the file below which it is not compacted.
const MIN_FREE_BYTES: u64 = 8 << 20;
/// The file is not compacted either while less than one part in this many of it is free.
const MIN_FREE_DIVISOR: u64 = 4;

/// What [`Store::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compaction {
    /// The file is shorter.
    Done,
    /// Too little of the file is free.
    NotWorthwhile,
    /// Somebody is reading or writing.
    Busy,
}

/// When retention was looked after, and what it deleted by age that day. Each field is stored in `META`, under the name
/// at its position in `RETENTION_NAMES`; a field that was never stored is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetentionMarks {
    /// When retention was looked after last.
    pub(crate) at: UnixMs,
    /// Since when the clock has not jumped.
    pub(crate) steady_since: UnixMs,
    /// The day, counted from 1970, for which `deleted` counts.
    pub(crate) day: u64,
    /// Runs that were deleted by age on that day.
    pub(crate) deleted: u64,
}

const RETENTION_NAMES: [&str; 4] = ["retentionAt", "retentionSteadySince", "retentionDay", "retentionDeleted"];

impl RetentionMarks {
    fn fields(&mut self) -> [&mut u64; 4] {
        let Self { at, steady_since, day, deleted } = self;
        [at, steady_since, day, deleted]
    }
}

impl Store {
    /// Makes the file shorter if that is worthwhile and nobody else is at work.
    ///
    /// redb moves what stands at the end of the file into the gaps before it and cuts the end off. Meanwhile nobody can
    /// read or write, for one to two seconds a gigabyte, so we only do it where much is gained, and not while anybody
    /// is reading.
    pub(crate) fn compact(&self) -> Result<Compaction, StoreError> {
        let stats = self.stats()?;
        let free = stats.file_bytes.saturating_sub(stats.stored_bytes);
        if free < MIN_FREE_BYTES || free < stats.file_bytes / MIN_FREE_DIVISOR {
            return Ok(Compaction::NotWorthwhile);
        }
        // `compact` needs a handle that nobody shares, so we open another one; `self.handles` stay open.
        let attempt = || {
            let mut handle = builder().open(self.path())?;
            let compacted = match handle.compact() {
                Ok(_) => Ok(Compaction::Done),
                Err(redb::CompactionError::TransactionInProgress) => Ok(Compaction::Busy),
                Err(error) => Err(StoreErrorKind::from(redb::Error::from(error))),
            };
            handle.close()?;
            compacted
        };
        attempt().map_err(|error| self.failed(error))
    }

    /// Changes the retention marks. Writes nothing if `change` changes nothing, or if there is no file.
    pub(crate) fn mark_retention(&self, change: impl FnOnce(&mut RetentionMarks)) -> Result<(), StoreError> {
        self.change(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let mut before = RetentionMarks::default();
            for (field, name) in before.fields().into_iter().zip(RETENTION_NAMES) {
                *field = meta.get(name)?.map_or(0, |value| value.value());
            }
            let mut marks = before;
            change(&mut marks);
            if marks == before {
                return Ok(TransactionOutcome::Unchanged(()));
            }
            for (field, name) in marks.fields().into_iter().zip(RETENTION_NAMES) {
                meta.insert(name, *field)?;
            }
            Ok(TransactionOutcome::Commit(()))
        })?;
        Ok(())
    }
}
