//! Bases: a base is an earlier run of the same command in the same directory. Around the same byte of the output it is
//! the prefix for a later run's rows, where no anchor says better where to look.

use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    error::StoreErrorKind,
    row::{head_at, head_at_offset},
    tables::{BASES, RowKey, RunKey, SealedPart, StoredRun},
};
use crate::model::{Run, RunId};

/// A run with fewer bytes of lines does not become a base.
const MIN_BASE_BYTES: u64 = 16 << 10;
/// A run with fewer bytes of lines says nothing about whether its base is still a good one.
const MIN_JUDGED_BYTES: u64 = 64 << 10;
/// How much better than the base itself a run must shrink, or the base is not used for the next runs.
const MIN_SHRINK_GAIN: f64 = 1.5;

/// The key in `BASES` of the runs that may share a base with this one.
fn key_of(run: &Run) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in [&run.provider, &run.cwd].into_iter().chain(&run.command) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Chooses a base for a run of which nothing is sealed.
pub(super) fn choose(
    transaction: &WriteTransaction,
    runs: &impl ReadableTable<RunKey, &'static [u8]>,
    run: &Run,
) -> Result<Option<RunId>, StoreErrorKind> {
    let Some(base) = transaction.open_table(BASES)?.get(&key_of(run))?.map(|id| RunId::from_bytes(*id.value())) else { return Ok(None) };
    let is_whole = base != run.id && StoredRun::load(runs, base)?.is_some_and(|base| base.finished);
    Ok(is_whole.then_some(base))
}

/// Takes note of a run that is wholly sealed. It becomes the base for the next runs if they have none, and its own base
/// is given up if the run shrank too little with it.
pub(super) fn update_finished(
    transaction: &WriteTransaction,
    runs: &impl ReadableTable<RunKey, &'static [u8]>,
    record: &mut StoredRun,
) -> Result<(), StoreErrorKind> {
    let mut bases = transaction.open_table(BASES)?;
    let key = key_of(&record.run);
    let (sealed, followed) = (record.sealed, record.base);
    if sealed.delta_bytes == 0 {
        // The run builds on nothing after all, so it may become a base.
        record.base = None;
    }
    let shrinks = |sealed: &SealedPart| sealed.logical_bytes as f64 / sealed.stored_bytes.max(1) as f64;
    if let Some(base) = followed
        && sealed.logical_bytes >= MIN_JUDGED_BYTES
        && let Some(base) = StoredRun::load(runs, base)?
        && shrinks(&sealed) < shrinks(&base.sealed) * MIN_SHRINK_GAIN
    {
        remove(&mut bases, &key, base.run.id)?;
    }
    if record.base.is_none() && sealed.logical_bytes >= MIN_BASE_BYTES {
        let current = bases.get(&key)?.map(|id| RunId::from_bytes(*id.value()));
        if current.map(|id| StoredRun::load(runs, id)).transpose()?.flatten().is_none() {
            bases.insert(&key, record.run.id.as_bytes())?;
        }
    }
    Ok(())
}

/// Takes note that a run's record is removed: no later run builds on it as its base.
pub(super) fn update_deleted(transaction: &WriteTransaction, record: &StoredRun) -> Result<(), StoreErrorKind> {
    remove(&mut transaction.open_table(BASES)?, &key_of(&record.run), record.run.id)
}

fn remove(bases: &mut Table<'_, &'static [u8; 32], RunKey>, key: &[u8; 32], id: RunId) -> Result<(), StoreErrorKind> {
    let is_current = bases.get(key)?.is_some_and(|base| base.value() == id.as_bytes());
    if is_current {
        bases.remove(key)?;
    }
    Ok(())
}

/// Finds the position in a base that corresponds to one in a run that is being sealed.
pub(super) struct Base {
    pub(crate) id: RunId,
    last_seq: u64,
    bytes: u64,
}

impl Base {
    pub(super) fn new(record: &StoredRun) -> Self {
        let sealed = &record.sealed;
        Self { id: record.run.id, last_seq: sealed.seq, bytes: sealed.stdout + sealed.stderr }
    }

    /// The block with byte `at` of the output, or the last one, and where in its body that byte is, roughly.
    pub(super) fn position(
        &self,
        rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
        at: u64,
    ) -> Result<Option<(u64, usize)>, StoreErrorKind> {
        let head = match at < self.bytes {
            true => head_at_offset(rows, self.id, self.last_seq, None, at)?,
            false => head_at(rows, self.id, self.last_seq)?,
        };
        Ok(head.map(|head| {
            let output = (head.stdout_bytes + head.stderr_bytes).max(1);
            let fraction = at.saturating_sub(head.stdout_offset + head.stderr_offset) as f64 / output as f64;
            (head.first_seq, ((head.body_bytes as f64 * fraction) as usize).min((head.body_bytes as usize).saturating_sub(1)))
        }))
    }
}
