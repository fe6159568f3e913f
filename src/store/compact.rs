//! Giving the room of what was deleted back to the system.
//!
//! redb moves what stands at the end of the file into the gaps before it and cuts the end off. Meanwhile nobody can read or
//! write, for one to two seconds a gigabyte, so it is only done where much is gained, and not while anybody is reading.

use super::{Store, create::builder, trouble::Trouble};
use crate::model::Failure;

/// What is free in the file must be as much as this, and this share of it.
const WORTHWHILE: u64 = 8 << 20;
const SHARE: u64 = 4;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// The file is shorter.
    Done,
    /// There is little to gain.
    NotWorthwhile,
    /// Somebody is reading or writing.
    Busy,
}

impl Store {
    /// Makes the file shorter if that is worth it and nobody else is at work.
    pub fn compact(&self) -> Result<Compaction, Failure> {
        let stats = self.stats()?;
        let free = stats.file_bytes.saturating_sub(stats.stored_bytes);
        if free < WORTHWHILE || free < stats.file_bytes / SHARE {
            return Ok(Compaction::NotWorthwhile);
        }
        // Opened once more, for it has to be ours alone; the other handles go on.
        let attempt = || {
            let mut handle = builder().open(self.path())?;
            let compacted = match handle.compact() {
                Ok(_) => Ok(Compaction::Done),
                Err(redb::CompactionError::TransactionInProgress) => Ok(Compaction::Busy),
                Err(error) => Err(Trouble::from(redb::Error::from(error))),
            };
            handle.close()?;
            compacted
        };
        attempt().map_err(|trouble| self.failed(trouble))
    }
}
