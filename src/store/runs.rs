//! Records of runs: putting, editing, finishing, reading, deleting and counting them.

use std::fs;

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::{
    FORMAT_VERSION, Store, TransactionOutcome,
    anchors::Anchors,
    base,
    builds::Builds,
    checkpoints,
    error::{StoreError, StoreErrorKind},
    index,
    tables::{
        DELETED, META, ROWS, RUNS, RowKey, SUM_DEDUPED, SUM_DELETED_BASES, SUM_DELTA, SUM_DELTA_STORED, SUM_ENTRIES, SUM_LOGICAL, SUM_RUNS,
        SUM_STORED, SUM_TEXT_BYTES, SUM_TEXT_STORED, SUM_TEXTS, StoredRun, TOKENS, add, first_seq_of, part_of, row_key,
    },
    text,
};
use crate::model::{Run, RunId};

/// Rows that one transaction of a deletion removes: about 16 MiB, so that no other server waits long.
const ROWS_PER_TRANSACTION: usize = 256;
/// How many rows the removal of one use of a text counts for in [`ROWS_PER_TRANSACTION`].
const ROWS_PER_USE: usize = 4;
/// Records that one transaction of a deletion removes.
const RUNS_PER_TRANSACTION: usize = 100;

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs, finished or not.
    pub runs: u64,
    /// Sealed entries.
    pub entries: u64,
    /// Bytes of these entries as lines.
    pub logical_bytes: u64,
    /// Bytes of all rows, keys included: those of entries, of texts, and of deleted runs that others build on.
    pub stored_bytes: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// Bytes that were not stored again because the store had them: of long texts, and of rows that build on others.
    pub deduped_bytes: u64,
    /// Long texts, each of which is stored once.
    pub texts: u64,
    /// Decoded bytes of the long texts.
    pub text_bytes: u64,
    /// Bytes of the rows of the long texts.
    pub text_stored_bytes: u64,
    /// Raw bytes that are stored as the difference from earlier output.
    pub delta_bytes: u64,
    /// Bytes of the rows that hold such differences.
    pub delta_stored_bytes: u64,
    /// Bytes of the rows of deleted runs that others build on.
    pub kept_bytes: u64,
    pub format_version: u32,
}

impl Store {
    /// Records a run, or its present state; what is sealed stays. `token` is the blake3 of its `clientToken`.
    /// `still_exists` is called inside the transaction: if it returns `false`, nothing is written, for a deleted run
    /// must not come back. A finished record is not changed. Returns whether the record now holds `run`.
    pub fn put_run(&self, run: &Run, token: Option<[u8; 32]>, still_exists: impl FnOnce() -> bool) -> Result<bool, StoreError> {
        self.write(|transaction| put_record(transaction, run, token, still_exists))
    }

    /// Finishes the record of a run that is wholly sealed. Fails if entries are missing. Returns `false` if the run
    /// does not exist. If the run was finished already, by this process or another, nothing changes.
    pub fn finish(&self, run: &Run) -> Result<bool, StoreError> {
        let finished = self.change(|transaction| finish_record(transaction, run))?;
        Ok(finished.unwrap_or(false))
    }

    /// Changes a run's record (title, labels, pinned). `None` if the run does not exist.
    pub(crate) fn edit(&self, id: RunId, edit: impl FnOnce(&mut Run)) -> Result<Option<Run>, StoreError> {
        let edited = self.change(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let Some(mut record) = StoredRun::load(&runs, id)? else { return Ok(TransactionOutcome::Unchanged(None)) };
            let before = record.clone();
            edit(&mut record.run);
            if record == before {
                return Ok(TransactionOutcome::Unchanged(Some(before.run)));
            }
            index::update(transaction, id, Some(&before), Some(&record))?;
            runs.insert(id.as_bytes(), record.to_bytes().as_slice())?;
            Ok(TransactionOutcome::Commit(Some(record.run)))
        })?;
        Ok(edited.flatten())
    }

    /// Removes runs: first their records and tokens, so that nobody reads half a run, then their uses of texts and
    /// their rows, a bounded number in each transaction. Rows that others build on stay until those are removed. What a
    /// killed deletion left is removed as well. With `spare_pinned`, runs that are pinned by now stay. Returns the runs
    /// that existed and were removed, and the bytes of records, rows and texts that were freed.
    pub(crate) fn delete_all(&self, ids: &[RunId], spare_pinned: bool) -> Result<(Vec<RunId>, u64), StoreError> {
        let (mut gone, mut freed) = (Vec::new(), 0);
        for batch in ids.chunks(RUNS_PER_TRANSACTION) {
            let records = self.change(|transaction| {
                let (mut gone, mut bytes) = (Vec::new(), 0);
                for id in batch {
                    if let Some(record_bytes) = remove_record(transaction, *id, spare_pinned)? {
                        gone.push(*id);
                        bytes += record_bytes;
                    }
                }
                Ok(if gone.is_empty() { TransactionOutcome::Unchanged((gone, bytes)) } else { TransactionOutcome::Commit((gone, bytes)) })
            })?;
            let Some((mut records, bytes)) = records else { break };
            if !records.is_empty() {
                freed += bytes + self.tidy()?;
                gone.append(&mut records);
            }
        }
        Ok((gone, freed))
    }

    /// Removes all that deletions of runs have left. Returns the bytes of rows that were freed.
    pub(crate) fn tidy(&self) -> Result<u64, StoreError> {
        let mut freed = 0;
        while let Some(more) = self.change(remove_some_rows)?.flatten() {
            freed += more;
        }
        Ok(freed)
    }

    pub(crate) fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        Ok(self.read(|transaction| StoredRun::load(&transaction.open_table(RUNS)?, id))?.flatten())
    }

    /// The run that was started with a `clientToken`, by the token's blake3.
    pub(crate) fn token(&self, hash: &[u8; 32]) -> Result<Option<RunId>, StoreError> {
        let run = self.read(|transaction| {
            let tokens = transaction.open_table(TOKENS)?;
            let run = tokens.get(hash)?;
            Ok(run.map(|run| RunId::from_bytes(*run.value())))
        })?;
        Ok(run.flatten())
    }

    /// Ids of the newest runs before `before`, at most `limit`; their records are not looked at.
    pub(crate) fn ids_before(&self, before: Option<RunId>, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let ids = self.read(|transaction| {
            let runs = transaction.open_table(RUNS)?;
            let end = before.map(|id| *id.as_bytes());
            let records = match &end {
                Some(end) => runs.range::<&[u8; 16]>(..end)?,
                None => runs.range::<&[u8; 16]>(..)?,
            };
            let ids = records.rev().take(limit).map(|record| Ok(RunId::from_bytes(*record?.0.value())));
            ids.collect::<Result<Vec<_>, StoreErrorKind>>()
        })?;
        Ok(ids.unwrap_or_default())
    }

    /// What the store holds, from the sums in `META`; all zero without a file.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let stats = self.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let sum = |name| Ok::<_, StoreErrorKind>(meta.get(name)?.map_or(0, |sum| sum.value()));
            Ok(Stats {
                runs: sum(SUM_RUNS)?,
                entries: sum(SUM_ENTRIES)?,
                logical_bytes: sum(SUM_LOGICAL)?,
                stored_bytes: sum(SUM_STORED)? + sum(SUM_TEXT_STORED)? + sum(SUM_DELETED_BASES)?,
                file_bytes: fs::metadata(self.path()).map_or(0, |metadata| metadata.len()),
                deduped_bytes: sum(SUM_DEDUPED)? + sum(SUM_DELTA)?.saturating_sub(sum(SUM_DELTA_STORED)?),
                texts: sum(SUM_TEXTS)?,
                text_bytes: sum(SUM_TEXT_BYTES)?,
                text_stored_bytes: sum(SUM_TEXT_STORED)?,
                delta_bytes: sum(SUM_DELTA)?,
                delta_stored_bytes: sum(SUM_DELTA_STORED)?,
                kept_bytes: sum(SUM_DELETED_BASES)?,
                format_version: 0,
            })
        })?;
        Ok(Stats { format_version: FORMAT_VERSION as u32, ..stats.unwrap_or_default() })
    }
}

/// [`Store::put_run`] in its transaction.
pub(super) fn put_record(
    transaction: &WriteTransaction,
    run: &Run,
    token: Option<[u8; 32]>,
    still_exists: impl FnOnce() -> bool,
) -> Result<TransactionOutcome<bool>, StoreErrorKind> {
    if !still_exists() {
        return Ok(TransactionOutcome::Unchanged(false));
    }
    let mut runs = transaction.open_table(RUNS)?;
    let old = StoredRun::load(&runs, run.id)?;
    if old.as_ref().is_some_and(|old| old.finished) {
        return Ok(TransactionOutcome::Unchanged(false));
    }
    let mut record =
        old.clone().unwrap_or_else(|| StoredRun { run: run.clone(), sealed: Default::default(), finished: false, base: None, token: None });
    record.run = run.clone();
    if let Some(token) = token {
        record.token = Some(blake3::Hash::from_bytes(token).to_hex().to_string());
        transaction.open_table(TOKENS)?.insert(&token, run.id.as_bytes())?;
    }
    if old.as_ref() == Some(&record) {
        return Ok(TransactionOutcome::Unchanged(true));
    }
    runs.insert(run.id.as_bytes(), record.to_bytes().as_slice())?;
    if old.is_none() {
        add(&mut transaction.open_table(META)?, SUM_RUNS, 1, 0)?;
    }
    Ok(TransactionOutcome::Commit(true))
}

/// [`Store::finish`] in its transaction.
pub(super) fn finish_record(transaction: &WriteTransaction, run: &Run) -> Result<TransactionOutcome<bool>, StoreErrorKind> {
    let mut runs = transaction.open_table(RUNS)?;
    let Some(mut record) = StoredRun::load(&runs, run.id)? else { return Ok(TransactionOutcome::Unchanged(false)) };
    if record.finished {
        return Ok(TransactionOutcome::Unchanged(true));
    }
    if record.sealed.seq != run.last_seq {
        return Err(StoreErrorKind::Unsealed { run: run.id, last: run.last_seq, sealed: record.sealed.seq });
    }
    record.run = run.clone();
    record.finished = true;
    base::update_finished(transaction, &runs, &mut record)?;
    index::update(transaction, run.id, None, Some(&record))?;
    index::add_files(transaction, run.id)?;
    runs.insert(run.id.as_bytes(), record.to_bytes().as_slice())?;
    Ok(TransactionOutcome::Commit(true))
}

/// Removes the record of a run and puts the run into [`DELETED`] if it has rows. Returns the record's length.
pub(super) fn remove_record(transaction: &WriteTransaction, id: RunId, spare_pinned: bool) -> Result<Option<u64>, StoreErrorKind> {
    let mut runs = transaction.open_table(RUNS)?;
    let Some(record) = StoredRun::load(&runs, id)?.filter(|record| !(spare_pinned && record.run.pinned)) else { return Ok(None) };
    let record_bytes = runs.remove(id.as_bytes())?.map_or(0, |record| record.value().len() as u64);
    if let Some(token) = record.token_hash() {
        let mut tokens = transaction.open_table(TOKENS)?;
        let is_ours = tokens.get(&token)?.is_some_and(|owner| owner.value() == id.as_bytes());
        if is_ours {
            tokens.remove(&token)?;
        }
    }
    index::update(transaction, id, Some(&record), None)?;
    index::remove_files(transaction, id)?;
    base::update_deleted(transaction, &record)?;
    let kept_bytes = Builds::open(transaction)?.kept_bytes(id)?;
    let mut meta = transaction.open_table(META)?;
    add(&mut meta, SUM_DELETED_BASES, kept_bytes, 0)?;
    let sealed = &record.sealed;
    add(&mut meta, SUM_RUNS, 0, 1)?;
    add(&mut meta, SUM_ENTRIES, 0, sealed.seq)?;
    add(&mut meta, SUM_LOGICAL, 0, sealed.logical_bytes)?;
    add(&mut meta, SUM_STORED, 0, sealed.stored_bytes)?;
    add(&mut meta, SUM_DELTA, 0, sealed.delta_bytes)?;
    add(&mut meta, SUM_DELTA_STORED, 0, sealed.delta_stored_bytes)?;
    if sealed.seq > 0 {
        transaction.open_table(DELETED)?.insert(id.as_bytes(), ())?;
    }
    Ok(Some(record_bytes))
}

/// Removes some of what deletions of runs have left. Returns the bytes that were freed; `None` if nothing is left.
pub(super) fn remove_some_rows(transaction: &WriteTransaction) -> Result<TransactionOutcome<Option<u64>>, StoreErrorKind> {
    let mut deleted = transaction.open_table(DELETED)?;
    if deleted.is_empty()? {
        return Ok(TransactionOutcome::Unchanged(None));
    }
    let mut rows = transaction.open_table(ROWS)?;
    let (mut builds, mut anchors) = (Builds::open(transaction)?, Anchors::open(transaction)?);
    let (mut freed, mut left) = (0, ROWS_PER_TRANSACTION);
    while left > 0 {
        let first = deleted.first()?.map(|(id, _)| RunId::from_bytes(*id.value()));
        let Some(id) = first else { break };
        let texts = text::remove_uses(transaction, id, left)?;
        freed += texts.freed;
        left = left.saturating_sub(texts.uses * ROWS_PER_USE);
        if texts.more {
            continue;
        }
        left = left.saturating_sub(checkpoints::remove(transaction, id, left)?);
        left = left.saturating_sub(builds.release(transaction, &mut deleted, id, left)?);
        // Rows between the blocks that others build on.
        let kept = builds.kept_blocks(id)?;
        let ends = kept.iter().flatten().copied().chain(kept.is_some().then_some(u64::MAX));
        let mut begin = 0;
        for end in ends {
            let range = row_key(id, begin, 0)..row_key(id, end, 0);
            let keys = rows.range::<&RowKey>(&range.start..&range.end)?.take(left);
            let keys: Vec<RowKey> = keys.map(|row| row.map(|(key, _)| *key.value())).collect::<Result<_, _>>()?;
            for key in &keys {
                freed += rows.remove(key)?.map_or(0, |row| (key.len() + row.value().len()) as u64);
                if part_of(key) == 0 {
                    anchors.remove(id, first_seq_of(key))?;
                }
            }
            left -= keys.len();
            begin = end.saturating_add(1);
        }
        if left > 0 {
            deleted.remove(id.as_bytes())?;
        }
    }
    Ok(TransactionOutcome::Commit(Some(freed)))
}

#[cfg(test)]
impl Store {
    /// Durable commits of this process so far.
    pub(crate) fn commit_count(&self) -> u64 {
        self.commits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Blocks that this process has decoded so far.
    pub(crate) fn decoded_block_count(&self) -> u64 {
        self.decoded_blocks.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Removes a run. Returns the bytes of record, rows and texts that were freed; `None` if the run does not exist.
    pub(crate) fn delete(&self, id: RunId) -> Result<Option<u64>, StoreError> {
        let (gone, freed) = self.delete_all(&[id], false)?;
        Ok((!gone.is_empty()).then_some(freed))
    }
}
