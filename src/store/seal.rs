//! Sealing: moving lines of a log into rows, in one durable transaction.

use std::collections::BTreeSet;

use redb::WriteTransaction;

use super::{
    Store, TransactionOutcome,
    base::{self, Base},
    block::BlockBuilder,
    block_rows::{BlockRows, RunTable},
    error::{StoreError, StoreErrorKind},
    index,
    pack::Packer,
    runs,
    tables::{META, RUNS, SUM_DELTA, SUM_DELTA_STORED, SUM_ENTRIES, SUM_LOGICAL, SUM_STORED, SealedPart, StoredRun, add},
    text::Texts,
};
use crate::model::{Run, RunId, line};

/// The result of sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealResult {
    /// Entries 1 to this one are in the store and on disk, by this call or an earlier one.
    UpTo(u64),
    /// The store has no record of the run: it was deleted, or never recorded. Nothing was written.
    Gone,
}

/// A run that has ended, as it is moved into the store whole.
#[derive(Debug)]
pub(crate) struct EndedRun {
    /// The run in its final state.
    pub(crate) run: Run,
    /// blake3 of its `clientToken`.
    pub(crate) token: Option<[u8; 32]>,
    /// Its log, as far as that is not sealed yet.
    pub(crate) lines: Vec<u8>,
    /// The files that these lines name.
    pub(crate) files: BTreeSet<String>,
}

/// Bytes of lines above which a run that shrinks badly is a flood, and is sealed with zstd's fast level.
const MIN_FLOOD_BYTES: u64 = 32 << 20;
/// How long a block may get so that it does not end within a long text.
const MAX_UNCUT_BLOCK_BYTES: usize = 1 << 20;
/// A run that shrinks by this factor is repetitive, and then the default level is as quick as any.
const WELL_COMPRESSED_RATIO: u64 = 8;

impl Store {
    /// Moves whole canonical lines of a run's log into rows. Entries that the store has are skipped, so several
    /// processes may seal the same lines. An entry that does not follow the last one is an error, and then nothing is
    /// written. When this returns, the entries up to the one in the result survive a power cut, and their log file may
    /// be removed.
    pub fn seal(&self, id: RunId, lines: &[u8]) -> Result<SealResult, StoreError> {
        self.seal_naming(id, lines, &BTreeSet::new())
    }

    /// [`Store::seal`] of lines that name these files, by which the run is found once it is finished.
    pub(crate) fn seal_naming(&self, id: RunId, lines: &[u8], files: &BTreeSet<String>) -> Result<SealResult, StoreError> {
        let sealed = self.change(|transaction| seal_lines(transaction, id, lines, files))?;
        Ok(sealed.unwrap_or(SealResult::Gone))
    }

    /// Records, seals and finishes runs in one durable transaction, for a commit costs about as much for a hundred short runs as
    /// for one: all of them, or none if there is an error. `still_exists` is asked as for
    /// [`Store::put_run`]. Returns for each run whether its record holds it now.
    pub(crate) fn put_ended(&self, ended: &[EndedRun], still_exists: impl Fn(RunId) -> bool) -> Result<Vec<bool>, StoreError> {
        self.write(|transaction| {
            let (mut is_changed, mut known) = (false, Vec::new());
            for EndedRun { run, token, lines, files } in ended {
                let is_known = runs::put_record(transaction, run, *token, || still_exists(run.id))?.note(&mut is_changed);
                if is_known {
                    seal_lines(transaction, run.id, lines, files)?.note(&mut is_changed);
                    runs::finish_record(transaction, run)?.note(&mut is_changed);
                }
                known.push(is_known);
            }
            Ok(if is_changed { TransactionOutcome::Commit(known) } else { TransactionOutcome::Unchanged(known) })
        })
    }

    /// [`Store::put_run`] for many runs.
    pub(crate) fn put_runs(&self, records: &[(Run, Option<[u8; 32]>)], still_exists: impl Fn(RunId) -> bool) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut is_changed = false;
            for (run, token) in records {
                runs::put_record(transaction, run, *token, || still_exists(run.id))?.note(&mut is_changed);
            }
            Ok(if is_changed { TransactionOutcome::Commit(()) } else { TransactionOutcome::Unchanged(()) })
        })
    }
}

/// [`Store::seal`] in its transaction.
pub(super) fn seal_lines(
    transaction: &WriteTransaction,
    id: RunId,
    lines: &[u8],
    files: &BTreeSet<String>,
) -> Result<TransactionOutcome<SealResult>, StoreErrorKind> {
    let mut runs = transaction.open_table(RUNS)?;
    let Some(mut record) = StoredRun::load(&runs, id)? else { return Ok(TransactionOutcome::Unchanged(SealResult::Gone)) };
    let before = record.sealed;
    if before.seq == 0 && !lines.is_empty() {
        record.base = base::choose(transaction, &runs, &record.run)?;
    }
    let base = match record.base {
        Some(base) => StoredRun::load(&runs, base)?.map(|base| Base::new(&base)),
        None => None,
    };
    Sealing::begin(transaction, &runs, &record, base)?.seal(transaction, &mut record, lines)?;
    let after = record.sealed;
    if after == before {
        return Ok(TransactionOutcome::Unchanged(SealResult::UpTo(before.seq)));
    }
    runs.insert(id.as_bytes(), record.to_bytes().as_slice())?;
    index::note_files(transaction, id, files)?;
    let mut meta = transaction.open_table(META)?;
    add(&mut meta, SUM_ENTRIES, after.seq, before.seq)?;
    add(&mut meta, SUM_LOGICAL, after.logical_bytes, before.logical_bytes)?;
    add(&mut meta, SUM_STORED, after.stored_bytes, before.stored_bytes)?;
    add(&mut meta, SUM_DELTA, after.delta_bytes, before.delta_bytes)?;
    add(&mut meta, SUM_DELTA_STORED, after.delta_stored_bytes, before.delta_stored_bytes)?;
    Ok(TransactionOutcome::Commit(SealResult::UpTo(after.seq)))
}

/// One call of [`Store::seal`]: makes blocks of lines, takes long texts out of them, and makes rows of the blocks.
struct Sealing<'t> {
    texts: Texts<'t>,
    packer: Packer,
    rows: BlockRows<'t>,
}

impl<'t> Sealing<'t> {
    fn begin(
        transaction: &'t WriteTransaction,
        runs: &'t RunTable<'t>,
        record: &StoredRun,
        base: Option<Base>,
    ) -> Result<Self, StoreErrorKind> {
        let sealed = &record.sealed;
        Ok(Self {
            texts: Texts::open(transaction, record.run.id)?,
            packer: Packer::new(is_flood(sealed), compression_ratio(sealed), base.is_some()),
            rows: BlockRows::open(transaction, runs, record, base)?,
        })
    }

    fn seal(mut self, transaction: &WriteTransaction, record: &mut StoredRun, lines: &[u8]) -> Result<(), StoreErrorKind> {
        let id = record.run.id;
        let sealed = &mut record.sealed;
        let mut builder = BlockBuilder::new(id, sealed.seq, [sealed.stdout, sealed.stderr]);
        let mut rest = lines;
        while !rest.is_empty() {
            let not_an_entry = || StoreErrorKind::NotAnEntry { run: id, sealed: builder.last_seq() };
            let end = memchr::memchr(b'\n', rest).ok_or_else(not_an_entry)?;
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let found = seq_of_line(line).ok_or_else(not_an_entry)?;
            if found <= builder.last_seq() {
                continue;
            }
            if found != builder.last_seq() + 1 {
                return Err(StoreErrorKind::Gap { run: id, sealed: builder.last_seq(), found });
            }
            // A line is longer than what is stored of it, so a large entry begins a block of its own instead of ending
            // one of small entries.
            let length = builder.body_bytes() + line.len();
            let is_full = length > self.packer.target_body_bytes() && (length > MAX_UNCUT_BLOCK_BYTES || !builder.ends_in_a_long_line());
            if is_full && !builder.is_empty() {
                self.flush(&mut builder)?;
            }
            builder.push(line)?;
            sealed.logical_bytes += end as u64 + 1;
        }
        if !builder.is_empty() {
            self.flush(&mut builder)?;
        }
        sealed.seq = builder.last_seq();
        [sealed.stdout, sealed.stderr] = builder.ends();
        sealed.stored_bytes = self.rows.stored.bytes;
        sealed.delta_bytes = self.rows.stored.delta_bytes;
        sealed.delta_stored_bytes = self.rows.stored.delta_stored_bytes;
        self.texts.finish(transaction)
    }

    /// Makes rows of the block that `builder` has built.
    fn flush(&mut self, builder: &mut BlockBuilder) -> Result<(), StoreErrorKind> {
        let Self { texts, packer, rows } = self;
        builder.finish(
            |text| texts.keep(text),
            |head, flags, body| {
                rows.begin(head, body)?;
                packer.pack(Some(head), flags, body, rows)?;
                rows.end()
            },
        )
    }
}

/// Whether a run has written so much, and shrinks so little, that the default level would take more processor time than
/// the run itself did.
fn is_flood(sealed: &SealedPart) -> bool {
    sealed.logical_bytes > MIN_FLOOD_BYTES && sealed.logical_bytes < sealed.stored_bytes * WELL_COMPRESSED_RATIO
}

/// How well the run has shrunk so far, as a guess for its next rows. `None` at its beginning.
fn compression_ratio(sealed: &SealedPart) -> Option<f64> {
    (sealed.stored_bytes > 0).then(|| sealed.logical_bytes as f64 / sealed.stored_bytes as f64)
}

/// Number of an entry, even if the line is not canonical.
fn seq_of_line(line: &[u8]) -> Option<u64> {
    line::head(line).map(|head| head.seq).or_else(|| line::parse(line).ok().map(|entry| entry.seq()))
}
