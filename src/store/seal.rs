//! Sealing: lines of a log become rows, in one durable transaction.

use super::{
    Outcome, Store,
    block::Gatherer,
    pack::Packer,
    tables::{META, ROWS, RUNS, RowKey, SUM_ENTRIES, SUM_LOGICAL, SUM_STORED, SealedPart, StoredRun, add, row_key},
    trouble::Trouble,
};
use crate::model::{Failure, RunId, line};

/// What came of sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// Entries 1 to this one are in the store and on disk, by this call or an earlier one.
    UpTo(u64),
    /// The store does not know the run: it was deleted, or never told. Nothing was written.
    Gone,
}

/// What a run may write, in bytes of its lines, and still be sealed thoroughly whatever it is.
const PLENTY: u64 = 32 << 20;
/// Text that shrinks by this factor is repetitive, and then a thorough level is as quick as any.
const SHRINKS_WELL: u64 = 8;

impl Store {
    /// Moves whole canonical lines of a run's log into rows. Entries that the store has are skipped, so it does not
    /// matter who else seals the same; an entry that does not follow is an error, and then nothing is written.
    /// When it answers, what it names would survive a power cut, and the log file may go.
    pub fn seal(&self, id: RunId, lines: &[u8]) -> Result<Sealed, Failure> {
        let sealed = self.change(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let Some(mut record) = StoredRun::load(&runs, id)? else { return Ok(Outcome::Leave(Sealed::Gone)) };
            let before = record.sealed;
            seal_into(&mut transaction.open_table(ROWS)?, &mut record, lines)?;
            let after = record.sealed;
            if after == before {
                return Ok(Outcome::Leave(Sealed::UpTo(before.seq)));
            }
            runs.insert(id.as_bytes(), record.to_bytes().as_slice())?;
            let mut meta = transaction.open_table(META)?;
            add(&mut meta, SUM_ENTRIES, after.seq, before.seq)?;
            add(&mut meta, SUM_LOGICAL, after.logical_bytes, before.logical_bytes)?;
            add(&mut meta, SUM_STORED, after.stored_bytes, before.stored_bytes)?;
            Ok(Outcome::Commit(Sealed::UpTo(after.seq)))
        })?;
        Ok(sealed.unwrap_or(Sealed::Gone))
    }
}

fn seal_into(rows: &mut redb::Table<'_, &'static RowKey, &'static [u8]>, record: &mut StoredRun, lines: &[u8]) -> Result<(), Trouble> {
    let id = record.run.id;
    let sealed = &mut record.sealed;
    let mut gatherer = Gatherer::new(id, sealed.seq, [sealed.stdout, sealed.stderr]);
    let mut packer = Packer::new(is_a_flood(sealed), shrinking(sealed));
    let mut stored = 0;
    let mut flush = |gatherer: &mut Gatherer, packer: &mut Packer| {
        gatherer.finish(|head, body| {
            packer.pack(head, body, |part, row| {
                let key = row_key(id, head.first_seq, part);
                stored += (key.len() + row.len()) as u64;
                rows.insert(&key, row)?;
                Ok(())
            })
        })
    };

    let mut rest = lines;
    while !rest.is_empty() {
        let not_an_entry = || Trouble::NotAnEntry { run: id, sealed: gatherer.last_seq() };
        let end = memchr::memchr(b'\n', rest).ok_or_else(not_an_entry)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let found = seq_of(line).ok_or_else(not_an_entry)?;
        if found <= gatherer.last_seq() {
            continue;
        }
        if found != gatherer.last_seq() + 1 {
            return Err(Trouble::Gap { run: id, sealed: gatherer.last_seq(), found });
        }
        // A line is longer than what will be kept of it, so this keeps a large entry from spoiling a block of small ones.
        if !gatherer.is_empty() && gatherer.body_bytes() + line.len() > packer.body_aim() {
            flush(&mut gatherer, &mut packer)?;
        }
        gatherer.push(line)?;
        sealed.logical_bytes += end as u64 + 1;
    }
    if !gatherer.is_empty() {
        flush(&mut gatherer, &mut packer)?;
    }
    sealed.seq = gatherer.last_seq();
    [sealed.stdout, sealed.stderr] = gatherer.ends();
    sealed.stored_bytes += stored;
    Ok(())
}

/// Whether a run has written so much, and it shrinks so little, that sealing it thoroughly would cost more processor
/// time than the run itself did.
fn is_a_flood(sealed: &SealedPart) -> bool {
    sealed.logical_bytes > PLENTY && sealed.logical_bytes < sealed.stored_bytes * SHRINKS_WELL
}

/// How well the run has shrunk so far: the next rows will shrink alike. `None` at its beginning.
fn shrinking(sealed: &SealedPart) -> Option<f64> {
    (sealed.stored_bytes > 0).then(|| sealed.logical_bytes as f64 / sealed.stored_bytes as f64)
}

/// Number of an entry, also where the line is not canonical.
fn seq_of(line: &[u8]) -> Option<u64> {
    line::head(line).map(|head| head.seq).or_else(|| line::parse(line).ok().map(|entry| entry.seq()))
}
