//! Records of runs: told, edited, finished, listed, deleted, counted.

use std::fs;

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::{
    FORMAT_VERSION, Outcome, Store, base, index,
    tables::{
        DELETED, META, ROWS, RUNS, RowKey, SUM_DEDUPED, SUM_DELTA, SUM_DELTA_STORED, SUM_ENTRIES, SUM_KEPT, SUM_LOGICAL, SUM_RUNS,
        SUM_STORED, SUM_TEXT_BYTES, SUM_TEXT_STORED, SUM_TEXTS, StoredRun, TOKENS, add, row_key,
    },
    text,
    trouble::Trouble,
};
use crate::model::{Failure, Run, RunId};

/// Rows that one transaction of a deletion removes: about 16 MiB, so that no other server waits long.
const ROWS_PER_TRANSACTION: usize = 256;
/// What a use of a text counts for among them.
const ROWS_PER_USE: usize = 4;
/// Records that one transaction of a deletion removes.
const RUNS_PER_TRANSACTION: usize = 100;

/// What the store holds. `finished` runs are among `runs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub runs: u64,
    /// Sealed entries.
    pub entries: u64,
    /// Bytes of these entries as lines.
    pub logical_bytes: u64,
    /// Bytes of all rows, keys included: those of entries, of texts, and those that are kept of deleted runs.
    pub stored_bytes: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// Decoded bytes of long texts that were not stored because the text was there already.
    pub deduped_bytes: u64,
    /// Long texts that are kept once,
    pub texts: u64,
    /// their bytes, decoded,
    pub text_bytes: u64,
    /// and those of their rows.
    pub text_stored_bytes: u64,
    /// Raw bytes that are kept as what differs from an earlier run,
    pub delta_bytes: u64,
    /// and what that takes.
    pub delta_stored_bytes: u64,
    /// Rows of deleted runs that others build on.
    pub kept_bytes: u64,
    pub format_version: u32,
}

impl Store {
    /// Tells the store of a run, or what became of it; what is sealed stays. `token` is the blake3 of its `clientToken`.
    /// `still_there` is asked inside the transaction: where it says no, nothing is written, for a deleted run must not
    /// come back. A finished record is never changed by this. Answers whether the record now says so.
    pub fn put_run(&self, run: &Run, token: Option<[u8; 32]>, still_there: impl FnOnce() -> bool) -> Result<bool, Failure> {
        self.write(|transaction| put_record(transaction, run, token, still_there))
    }

    /// Says the last word on a run that is wholly sealed. Fails where entries are missing. Answers `false` when the run is
    /// gone; when it was finished already, by whomever, nothing changes.
    pub fn finish(&self, run: &Run) -> Result<bool, Failure> {
        let finished = self.change(|transaction| finish_record(transaction, run))?;
        Ok(finished.unwrap_or(false))
    }

    /// Changes a run's record (title, labels, pinned). `None` when the run is not there.
    pub fn edit(&self, id: RunId, edit: impl FnOnce(&mut Run)) -> Result<Option<Run>, Failure> {
        let edited = self.change(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let Some(mut record) = StoredRun::load(&runs, id)? else { return Ok(Outcome::Leave(None)) };
            let before = record.clone();
            edit(&mut record.run);
            if record == before {
                return Ok(Outcome::Leave(Some(before.run)));
            }
            index::note(transaction, id, Some(&before), Some(&record))?;
            runs.insert(id.as_bytes(), record.to_bytes().as_slice())?;
            Ok(Outcome::Commit(Some(record.run)))
        })?;
        Ok(edited.flatten())
    }

    /// Removes a run. Answers the bytes of record, rows and texts that went; `None` when the run is not there.
    pub fn delete(&self, id: RunId) -> Result<Option<u64>, Failure> {
        let (gone, freed) = self.delete_all(&[id], false)?;
        Ok((!gone.is_empty()).then_some(freed))
    }

    /// Removes runs: first their records and tokens, so that nobody sees half a run, then what they used and their rows, a bounded
    /// number in one transaction. Rows that others build on stay until those are gone. Answers which were there, and the bytes of
    /// records, rows and texts that went. What a killed deletion left is removed as well. `spare_pinned` leaves alone what is pinned by now.
    pub fn delete_all(&self, ids: &[RunId], spare_pinned: bool) -> Result<(Vec<RunId>, u64), Failure> {
        let (mut gone, mut freed) = (Vec::new(), 0);
        for some in ids.chunks(RUNS_PER_TRANSACTION) {
            let records = self.change(|transaction| {
                let (mut gone, mut bytes) = (Vec::new(), 0);
                for id in some {
                    if let Some(record_bytes) = remove_record(transaction, *id, spare_pinned)? {
                        gone.push(*id);
                        bytes += record_bytes;
                    }
                }
                Ok(if gone.is_empty() { Outcome::Leave((gone, bytes)) } else { Outcome::Commit((gone, bytes)) })
            })?;
            let Some((mut records, bytes)) = records else { break };
            if !records.is_empty() {
                freed += bytes + self.tidy()?;
                gone.append(&mut records);
            }
        }
        Ok((gone, freed))
    }

    /// Removes what deleted runs have left, as long as there is any. Answers the bytes of rows that went.
    pub fn tidy(&self) -> Result<u64, Failure> {
        let mut freed = 0;
        while let Some(more) = self.change(remove_some_rows)?.flatten() {
            freed += more;
        }
        Ok(freed)
    }

    pub fn run(&self, id: RunId) -> Result<Option<StoredRun>, Failure> {
        Ok(self.read(|transaction| StoredRun::load(&transaction.open_table(RUNS)?, id))?.flatten())
    }

    /// The run that a `clientToken` started, by its blake3.
    pub fn token(&self, hash: &[u8; 32]) -> Result<Option<RunId>, Failure> {
        let run = self.read(|transaction| {
            let tokens = transaction.open_table(TOKENS)?;
            let run = tokens.get(hash)?;
            Ok(run.map(|run| RunId::from_bytes(*run.value())))
        })?;
        Ok(run.flatten())
    }

    /// Ids of the newest runs before `before`, at most `most`; their records are not looked at.
    pub fn ids_before(&self, before: Option<RunId>, most: usize) -> Result<Vec<RunId>, Failure> {
        let ids = self.read(|transaction| {
            let runs = transaction.open_table(RUNS)?;
            let end = before.map(|id| *id.as_bytes());
            let records = match &end {
                Some(end) => runs.range::<&[u8; 16]>(..end)?,
                None => runs.range::<&[u8; 16]>(..)?,
            };
            let ids = records.rev().take(most).map(|record| Ok(RunId::from_bytes(*record?.0.value())));
            ids.collect::<Result<Vec<_>, Trouble>>()
        })?;
        Ok(ids.unwrap_or_default())
    }

    /// What the store holds, from sums that are kept; all zero without a file.
    pub fn stats(&self) -> Result<Stats, Failure> {
        let stats = self.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let sum = |name| Ok::<_, Trouble>(meta.get(name)?.map_or(0, |sum| sum.value()));
            Ok(Stats {
                runs: sum(SUM_RUNS)?,
                entries: sum(SUM_ENTRIES)?,
                logical_bytes: sum(SUM_LOGICAL)?,
                stored_bytes: sum(SUM_STORED)? + sum(SUM_TEXT_STORED)? + sum(SUM_KEPT)?,
                file_bytes: fs::metadata(self.path()).map_or(0, |metadata| metadata.len()),
                deduped_bytes: sum(SUM_DEDUPED)?,
                texts: sum(SUM_TEXTS)?,
                text_bytes: sum(SUM_TEXT_BYTES)?,
                text_stored_bytes: sum(SUM_TEXT_STORED)?,
                delta_bytes: sum(SUM_DELTA)?,
                delta_stored_bytes: sum(SUM_DELTA_STORED)?,
                kept_bytes: sum(SUM_KEPT)?,
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
    still_there: impl FnOnce() -> bool,
) -> Result<Outcome<bool>, Trouble> {
    if !still_there() {
        return Ok(Outcome::Leave(false));
    }
    let mut runs = transaction.open_table(RUNS)?;
    let old = StoredRun::load(&runs, run.id)?;
    if old.as_ref().is_some_and(|old| old.finished) {
        return Ok(Outcome::Leave(false));
    }
    let mut record =
        old.clone().unwrap_or_else(|| StoredRun { run: run.clone(), sealed: Default::default(), finished: false, base: None, token: None });
    record.run = run.clone();
    if let Some(token) = token {
        record.token = Some(blake3::Hash::from_bytes(token).to_hex().to_string());
        transaction.open_table(TOKENS)?.insert(&token, run.id.as_bytes())?;
    }
    if old.as_ref() == Some(&record) {
        return Ok(Outcome::Leave(true));
    }
    runs.insert(run.id.as_bytes(), record.to_bytes().as_slice())?;
    if old.is_none() {
        add(&mut transaction.open_table(META)?, SUM_RUNS, 1, 0)?;
    }
    Ok(Outcome::Commit(true))
}

/// [`Store::finish`] in its transaction.
pub(super) fn finish_record(transaction: &WriteTransaction, run: &Run) -> Result<Outcome<bool>, Trouble> {
    let mut runs = transaction.open_table(RUNS)?;
    let Some(mut record) = StoredRun::load(&runs, run.id)? else { return Ok(Outcome::Leave(false)) };
    if record.finished {
        return Ok(Outcome::Leave(true));
    }
    if record.sealed.seq != run.last_seq {
        return Err(Trouble::Unsealed { run: run.id, last: run.last_seq, sealed: record.sealed.seq });
    }
    record.run = run.clone();
    record.finished = true;
    base::note_finished(transaction, &runs, &mut record)?;
    index::note(transaction, run.id, None, Some(&record))?;
    runs.insert(run.id.as_bytes(), record.to_bytes().as_slice())?;
    Ok(Outcome::Commit(true))
}

/// Removes the record of a run, and notes what is left of it in [`DELETED`]. Answers the record's length.
pub(super) fn remove_record(transaction: &WriteTransaction, id: RunId, spare_pinned: bool) -> Result<Option<u64>, Trouble> {
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
    index::note(transaction, id, Some(&record), None)?;
    base::note_deleted(transaction, &record)?;
    let mut meta = transaction.open_table(META)?;
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

/// Removes some of what deleted runs have left. Answers the bytes that went; `None` when nothing is left of any.
pub(super) fn remove_some_rows(transaction: &WriteTransaction) -> Result<Outcome<Option<u64>>, Trouble> {
    let mut deleted = transaction.open_table(DELETED)?;
    if deleted.is_empty()? {
        return Ok(Outcome::Leave(None));
    }
    let mut rows = transaction.open_table(ROWS)?;
    let (mut freed, mut left) = (0, ROWS_PER_TRANSACTION);
    while left > 0 {
        let first = deleted.first()?.map(|(id, _)| RunId::from_bytes(*id.value()));
        let Some(id) = first else { break };
        let texts = text::forget_some(transaction, id, left)?;
        freed += texts.freed;
        left = left.saturating_sub(texts.uses * ROWS_PER_USE);
        if texts.more {
            continue;
        }
        let mut more = false;
        if !base::is_kept(transaction, id)? {
            let range = row_key(id, 0, 0)..=row_key(id, u64::MAX, u32::MAX);
            let keys = rows.range::<&RowKey>(range.start()..=range.end())?.take(left);
            let keys: Vec<RowKey> = keys.map(|row| row.map(|(key, _)| *key.value())).collect::<Result<_, _>>()?;
            for key in &keys {
                freed += rows.remove(key)?.map_or(0, |row| (key.len() + row.value().len()) as u64);
            }
            more = keys.len() == left;
            left -= keys.len();
        }
        if !more {
            deleted.remove(id.as_bytes())?;
        }
    }
    Ok(Outcome::Commit(Some(freed)))
}
