//! Sealing: lines of a log become rows, in one durable transaction.

use redb::{Table, WriteTransaction};

use super::{
    Outcome, Store,
    base::{self, Base},
    block::Gatherer,
    pack::Packer,
    tables::{
        META, ROWS, RUNS, RowKey, SUM_DELTA, SUM_DELTA_STORED, SUM_ENTRIES, SUM_LOGICAL, SUM_STORED, SealedPart, StoredRun, add, row_key,
    },
    text::Texts,
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
/// How long a block may get so that it does not end in the midst of a long text.
const UNCUT: usize = 1 << 20;
/// Text that shrinks by this factor is repetitive, and then a thorough level is as quick as any.
const SHRINKS_WELL: u64 = 8;

impl Store {
    /// Moves whole canonical lines of a run's log into rows. Entries that the store has are skipped, so it does not
    /// matter who else seals the same; an entry that does not follow is an error, and then nothing is written.
    /// When it answers, what it names would survive a power cut, and the log file may go.
    pub fn seal(&self, id: RunId, lines: &[u8]) -> Result<Sealed, Failure> {
        let sealed = self.change(|transaction| seal_lines(transaction, id, lines))?;
        Ok(sealed.unwrap_or(Sealed::Gone))
    }
}

/// [`Store::seal`] in its transaction.
pub(super) fn seal_lines(transaction: &WriteTransaction, id: RunId, lines: &[u8]) -> Result<Outcome<Sealed>, Trouble> {
    let mut runs = transaction.open_table(RUNS)?;
    let Some(mut record) = StoredRun::load(&runs, id)? else { return Ok(Outcome::Leave(Sealed::Gone)) };
    let before = record.sealed;
    if before.seq == 0 && !lines.is_empty() {
        record.base = base::choose(transaction, &runs, &record.run)?;
    }
    let base = match record.base {
        Some(base) => StoredRun::load(&runs, base)?.map(|base| Base::new(&base)),
        None => None,
    };
    Sealing::begin(transaction, &record, base)?.seal(transaction, &mut record, lines)?;
    let after = record.sealed;
    if after == before {
        return Ok(Outcome::Leave(Sealed::UpTo(before.seq)));
    }
    runs.insert(id.as_bytes(), record.to_bytes().as_slice())?;
    let mut meta = transaction.open_table(META)?;
    add(&mut meta, SUM_ENTRIES, after.seq, before.seq)?;
    add(&mut meta, SUM_LOGICAL, after.logical_bytes, before.logical_bytes)?;
    add(&mut meta, SUM_STORED, after.stored_bytes, before.stored_bytes)?;
    add(&mut meta, SUM_DELTA, after.delta_bytes, before.delta_bytes)?;
    add(&mut meta, SUM_DELTA_STORED, after.delta_stored_bytes, before.delta_stored_bytes)?;
    Ok(Outcome::Commit(Sealed::UpTo(after.seq)))
}

/// One sealing: lines into blocks, long texts out of them, blocks into rows.
struct Sealing<'t> {
    rows: Table<'t, &'static RowKey, &'static [u8]>,
    texts: Texts<'t>,
    packer: Packer,
    base: Option<Base>,
}

impl<'t> Sealing<'t> {
    fn begin(transaction: &'t WriteTransaction, record: &StoredRun, base: Option<Base>) -> Result<Self, Trouble> {
        let sealed = &record.sealed;
        Ok(Self {
            rows: transaction.open_table(ROWS)?,
            texts: Texts::open(transaction, record.run.id)?,
            packer: Packer::new(is_a_flood(sealed), shrinking(sealed), base.is_some()),
            base,
        })
    }

    fn seal(mut self, transaction: &WriteTransaction, record: &mut StoredRun, lines: &[u8]) -> Result<(), Trouble> {
        let id = record.run.id;
        let sealed = &mut record.sealed;
        let mut gatherer = Gatherer::new(id, sealed.seq, [sealed.stdout, sealed.stderr]);
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
            let length = gatherer.body_bytes() + line.len();
            let is_full = length > self.packer.body_aim() && (length > UNCUT || !gatherer.ends_in_a_long_line());
            if is_full && !gatherer.is_empty() {
                self.flush(&mut gatherer, id, sealed)?;
            }
            gatherer.push(line)?;
            sealed.logical_bytes += end as u64 + 1;
        }
        if !gatherer.is_empty() {
            self.flush(&mut gatherer, id, sealed)?;
        }
        sealed.seq = gatherer.last_seq();
        [sealed.stdout, sealed.stderr] = gatherer.ends();
        self.texts.finish(transaction)
    }

    /// Makes rows of what was gathered.
    fn flush(&mut self, gatherer: &mut Gatherer, id: RunId, sealed: &mut SealedPart) -> Result<(), Trouble> {
        let Self { rows, texts, packer, base } = self;
        gatherer.finish(
            |text| texts.keep(text),
            |head, flags, body| {
                let prefix = match base {
                    Some(base) if packer.wants_base() => base.prefix(&*rows, head.stdout_offset + head.stderr_offset, body.len())?,
                    _ => None,
                };
                packer.pack(Some(head), flags, body, prefix.as_ref(), |row| {
                    let key = row_key(id, head.first_seq, row.part);
                    let stored = (key.len() + row.bytes.len()) as u64;
                    sealed.stored_bytes += stored;
                    if row.is_based {
                        sealed.delta_bytes += row.raw as u64;
                        sealed.delta_stored_bytes += stored;
                    }
                    rows.insert(&key, row.bytes)?;
                    Ok(())
                })
            },
        )
    }
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
