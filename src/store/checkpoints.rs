//! Checkpoints of transcripts. The store does not know what is in them; they are removed with their run.

use redb::{ReadableTable, TableError, WriteTransaction};

use super::{
    Store, TransactionOutcome,
    error::{StoreError, StoreErrorKind},
    tables::{BlockKey, CHECKPOINTS, RUNS, block_key},
};
use crate::model::RunId;

impl Store {
    /// The newest checkpoint of a run at or before entry `seq`, and the entry that it is as of.
    pub(crate) fn checkpoint_before(&self, id: RunId, seq: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let found = self.read(|transaction| {
            let checkpoints = match transaction.open_table(CHECKPOINTS) {
                // The file has an older format.
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                opened => opened?,
            };
            let (first, last) = (block_key(id, 0), block_key(id, seq));
            let newest = checkpoints.range::<&BlockKey>(&first..=&last)?.next_back().transpose()?;
            Ok(newest.map(|(key, bytes)| {
                let seq = u64::from_be_bytes(key.value()[16..].try_into().expect("eight bytes"));
                (seq, bytes.value().to_vec())
            }))
        })?;
        Ok(found.flatten())
    }

    /// Keeps checkpoints of a run, by the entries that they are as of. Does nothing if the run is not there.
    pub(crate) fn put_checkpoints(&self, id: RunId, checkpoints: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
        self.change(|transaction| {
            if transaction.open_table(RUNS)?.get(id.as_bytes())?.is_none() {
                return Ok(TransactionOutcome::Unchanged(()));
            }
            let mut table = transaction.open_table(CHECKPOINTS)?;
            for (seq, bytes) in checkpoints {
                table.insert(&block_key(id, *seq), bytes.as_slice())?;
            }
            Ok(TransactionOutcome::Commit(()))
        })?;
        Ok(())
    }
}

/// Removes the checkpoints of a deleted run, at most `limit`. Returns how many were removed.
pub(super) fn remove(transaction: &WriteTransaction, id: RunId, limit: usize) -> Result<usize, StoreErrorKind> {
    let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
    let (first, last) = (block_key(id, 0), block_key(id, u64::MAX));
    let keys = checkpoints.range::<&BlockKey>(&first..=&last)?.take(limit);
    let keys: Vec<BlockKey> = keys.map(|entry| entry.map(|(key, _)| *key.value())).collect::<Result<_, _>>()?;
    for key in &keys {
        checkpoints.remove(key)?;
    }
    Ok(keys.len())
}
