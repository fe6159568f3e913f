//! Records of runs: told, edited, finished, listed, deleted, counted.

use std::{fs, ops::ControlFlow};

use redb::{ReadableTable, WriteTransaction};

use super::{
    FORMAT_VERSION, Outcome, Store,
    tables::{DELETED, META, ROWS, RUNS, RowKey, SUM_ENTRIES, SUM_LOGICAL, SUM_RUNS, SUM_STORED, StoredRun, TOKENS, add, row_key},
    trouble::Trouble,
};
use crate::model::{Failure, Run, RunId};

/// Rows that one transaction of a deletion removes: about 16 MiB, so that no other server waits long.
const ROWS_PER_TRANSACTION: usize = 256;

/// What the store holds. `finished` runs are among `runs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub runs: u64,
    /// Sealed entries.
    pub entries: u64,
    /// Bytes of these entries as lines.
    pub logical_bytes: u64,
    /// Bytes of the rows that hold them, keys included.
    pub stored_bytes: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// Bytes that were not stored because they were there already.
    pub deduped_bytes: u64,
    pub format_version: u32,
}

impl Store {
    /// Tells the store of a run, or what became of it; what is sealed stays. `token` is the blake3 of its `clientToken`.
    /// `still_there` is asked inside the transaction: where it says no, nothing is written, for a deleted run must not
    /// come back. A finished record is never changed by this. Answers whether the record now says so.
    pub fn put_run(&self, run: &Run, token: Option<[u8; 32]>, still_there: impl FnOnce() -> bool) -> Result<bool, Failure> {
        self.write(|transaction| {
            if !still_there() {
                return Ok(Outcome::Leave(false));
            }
            let mut runs = transaction.open_table(RUNS)?;
            let old = StoredRun::load(&runs, run.id)?;
            if old.as_ref().is_some_and(|old| old.finished) {
                return Ok(Outcome::Leave(false));
            }
            let mut record =
                old.clone().unwrap_or_else(|| StoredRun { run: run.clone(), sealed: Default::default(), finished: false, token: None });
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
        })
    }

    /// Says the last word on a run that is wholly sealed. Fails where entries are missing. Answers `false` when the run is
    /// gone; when it was finished already, by whomever, nothing changes.
    pub fn finish(&self, run: &Run) -> Result<bool, Failure> {
        let finished = self.change(|transaction| {
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
            runs.insert(run.id.as_bytes(), record.to_bytes().as_slice())?;
            Ok(Outcome::Commit(true))
        })?;
        Ok(finished.unwrap_or(false))
    }

    /// Changes a run's record (title, labels, pinned). `None` when the run is not there.
    pub fn edit(&self, id: RunId, edit: impl FnOnce(&mut Run)) -> Result<Option<Run>, Failure> {
        let edited = self.change(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let Some(mut record) = StoredRun::load(&runs, id)? else { return Ok(Outcome::Leave(None)) };
            let before = record.run.clone();
            edit(&mut record.run);
            if record.run == before {
                return Ok(Outcome::Leave(Some(before)));
            }
            runs.insert(id.as_bytes(), record.to_bytes().as_slice())?;
            Ok(Outcome::Commit(Some(record.run)))
        })?;
        Ok(edited.flatten())
    }

    /// Removes a run: first its record and token, so that nobody sees half a run, then its rows, a bounded number in one
    /// transaction. Answers the bytes of rows and record that it took; `None` when the run is not there.
    /// Rows that a killed deletion left are removed as well.
    pub fn delete(&self, id: RunId) -> Result<Option<u64>, Failure> {
        let freed = self.change(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let Some(record) = StoredRun::load(&runs, id)? else { return Ok(Outcome::Leave(None)) };
            let record_bytes = runs.remove(id.as_bytes())?.map_or(0, |record| record.value().len() as u64);
            if let Some(token) = record.token_hash() {
                let mut tokens = transaction.open_table(TOKENS)?;
                let is_ours = tokens.get(&token)?.is_some_and(|owner| owner.value() == id.as_bytes());
                if is_ours {
                    tokens.remove(&token)?;
                }
            }
            let mut meta = transaction.open_table(META)?;
            add(&mut meta, SUM_RUNS, 0, 1)?;
            add(&mut meta, SUM_ENTRIES, 0, record.sealed.seq)?;
            add(&mut meta, SUM_LOGICAL, 0, record.sealed.logical_bytes)?;
            add(&mut meta, SUM_STORED, 0, record.sealed.stored_bytes)?;
            if record.sealed.seq > 0 {
                transaction.open_table(DELETED)?.insert(id.as_bytes(), ())?;
            }
            Ok(Outcome::Commit(Some(record_bytes + record.sealed.stored_bytes)))
        })?;
        let Some(freed) = freed.flatten() else { return Ok(None) };
        self.tidy()?;
        Ok(Some(freed))
    }

    /// Removes rows of deleted runs, as long as there are any.
    pub fn tidy(&self) -> Result<(), Failure> {
        while self.change(remove_some_rows)?.unwrap_or(false) {}
        Ok(())
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

    /// Shows records, the newest run first, until `visit` breaks; those before `before` if it is given.
    pub fn list(&self, before: Option<RunId>, mut visit: impl FnMut(StoredRun) -> ControlFlow<()>) -> Result<(), Failure> {
        self.read(|transaction| {
            let runs = transaction.open_table(RUNS)?;
            let end = before.map(|id| *id.as_bytes());
            let records = match &end {
                Some(end) => runs.range::<&[u8; 16]>(..end)?,
                None => runs.range::<&[u8; 16]>(..)?,
            };
            for record in records.rev() {
                if visit(StoredRun::parse(record?.1.value())?).is_break() {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(())
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
                stored_bytes: sum(SUM_STORED)?,
                file_bytes: fs::metadata(self.path()).map_or(0, |metadata| metadata.len()),
                ..Stats::default()
            })
        })?;
        Ok(Stats { format_version: FORMAT_VERSION as u32, ..stats.unwrap_or_default() })
    }
}

/// Removes rows of one deleted run. Answers whether there may be more to do.
fn remove_some_rows(transaction: &WriteTransaction) -> Result<Outcome<bool>, Trouble> {
    let mut deleted = transaction.open_table(DELETED)?;
    let Some(id) = deleted.first()?.map(|(id, _)| RunId::from_bytes(*id.value())) else { return Ok(Outcome::Leave(false)) };
    let mut rows = transaction.open_table(ROWS)?;
    let range = row_key(id, 0, 0)..=row_key(id, u64::MAX, u32::MAX);
    let keys = rows.range::<&RowKey>(range.start()..=range.end())?.take(ROWS_PER_TRANSACTION);
    let keys: Vec<RowKey> = keys.map(|row| row.map(|(key, _)| *key.value())).collect::<Result<_, _>>()?;
    for key in &keys {
        rows.remove(key)?;
    }
    if keys.len() < ROWS_PER_TRANSACTION {
        deleted.remove(id.as_bytes())?;
    }
    Ok(Outcome::Commit(true))
}
