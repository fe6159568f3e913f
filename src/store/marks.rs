//! What the servers of one store tell each other about retention: when it was looked after, and what went by age that day.

use redb::ReadableTable;

use super::{Outcome, Store, tables::META};
use crate::model::{Failure, UnixMs};

/// Kept in `META`, each under the name that stands in `NAMES`; 0 where nothing was noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionMarks {
    /// When it was looked after last.
    pub at: UnixMs,
    /// Since when the clock has not jumped.
    pub steady_since: UnixMs,
    /// The day, counted from 1970, for which `deleted` counts.
    pub day: u64,
    /// Runs that went by age.
    pub deleted: u64,
}

const NAMES: [&str; 4] = ["retentionAt", "retentionSteadySince", "retentionDay", "retentionDeleted"];

impl RetentionMarks {
    fn words(&mut self) -> [&mut u64; 4] {
        let Self { at, steady_since, day, deleted } = self;
        [at, steady_since, day, deleted]
    }
}

impl Store {
    /// Changes the marks; nothing is written where nothing is changed, and nothing without a file.
    pub fn mark_retention(&self, change: impl FnOnce(&mut RetentionMarks)) -> Result<(), Failure> {
        self.change(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let mut before = RetentionMarks::default();
            for (word, name) in before.words().into_iter().zip(NAMES) {
                *word = meta.get(name)?.map_or(0, |word| word.value());
            }
            let mut marks = before;
            change(&mut marks);
            if marks == before {
                return Ok(Outcome::Leave(()));
            }
            for (word, name) in marks.words().into_iter().zip(NAMES) {
                meta.insert(name, *word)?;
            }
            Ok(Outcome::Commit(()))
        })?;
        Ok(())
    }
}
