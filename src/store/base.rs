//! Bases: an earlier run of the same command in the same directory, whose bytes are the prefix for a later run's rows.
//!
//! A star, never a chain: a base builds on nothing, so one row needs a few rows of one other run and no more. A base that is
//! deleted keeps its rows until the last run that builds on them is gone.

use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    heads::head_at,
    pack::{BASE_MAX, BasePlace, Prefix, Unpacker},
    tables::{BASES, DELETED, FOLLOWERS, KEPT, META, RowKey, RunKey, SUM_KEPT, SealedPart, StoredRun, add, row_key},
    trouble::Trouble,
};
use crate::model::{Run, RunId};

/// A run with less in it is not worth to be a base.
const BASE_MIN: u64 = 16 << 10;
/// A run with less in it says nothing about whether its base is still a good one.
const JUDGE_MIN: u64 = 64 << 10;
/// How much better than the base itself a run must shrink, or the base is not used for the next.
const STILL_GOOD: f64 = 1.5;
/// A block that is longer is one huge entry, and no prefix.
const BODY_MAX: u64 = 1 << 20;
/// Bodies that are kept decoded.
const CACHED: usize = 3;

/// What runs have in common that may share a base.
fn key_of(run: &Run) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for word in [&run.provider, &run.cwd].into_iter().chain(&run.command) {
        hasher.update(&(word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Chooses a base for a run of which nothing is sealed, and counts the run among its followers.
pub(super) fn choose(
    transaction: &WriteTransaction,
    runs: &impl ReadableTable<RunKey, &'static [u8]>,
    run: &Run,
) -> Result<Option<RunId>, Trouble> {
    let Some(id) = transaction.open_table(BASES)?.get(&key_of(run))?.map(|id| *id.value()) else { return Ok(None) };
    let base = RunId::from_bytes(id);
    if base == run.id || !StoredRun::load(runs, base)?.is_some_and(|base| base.finished && base.base.is_none()) {
        return Ok(None);
    }
    let mut followers = transaction.open_table(FOLLOWERS)?;
    let count = followers.get(&id)?.map_or(0, |count| count.value());
    followers.insert(&id, count + 1)?;
    Ok(Some(base))
}

/// A run is wholly sealed: it may become the base for the next ones, or show that its own base has grown old.
pub(super) fn note_finished(
    transaction: &WriteTransaction,
    runs: &impl ReadableTable<RunKey, &'static [u8]>,
    record: &mut StoredRun,
) -> Result<(), Trouble> {
    let mut bases = transaction.open_table(BASES)?;
    let key = key_of(&record.run);
    let (sealed, followed) = (record.sealed, record.base);
    if let Some(base) = followed
        && sealed.delta_bytes == 0
    {
        // It builds on nothing after all, so it need not hold the base, and may be one.
        release(transaction, base)?;
        record.base = None;
    }
    let shrinks = |sealed: &SealedPart| sealed.logical_bytes as f64 / sealed.stored_bytes.max(1) as f64;
    if let Some(base) = followed
        && sealed.logical_bytes >= JUDGE_MIN
        && let Some(base) = StoredRun::load(runs, base)?
        && shrinks(&sealed) < shrinks(&base.sealed) * STILL_GOOD
    {
        remove(&mut bases, &key, base.run.id)?;
    }
    if record.base.is_none() && sealed.logical_bytes >= BASE_MIN {
        let taken = bases.get(&key)?.map(|id| RunId::from_bytes(*id.value()));
        if taken.map(|id| StoredRun::load(runs, id)).transpose()?.flatten().is_none() {
            bases.insert(&key, record.run.id.as_bytes())?;
        }
    }
    Ok(())
}

/// A run's record goes; where others build on its rows, these stay.
pub(super) fn note_deleted(transaction: &WriteTransaction, record: &StoredRun) -> Result<(), Trouble> {
    let id = record.run.id;
    remove(&mut transaction.open_table(BASES)?, &key_of(&record.run), id)?;
    let has_followers = transaction.open_table(FOLLOWERS)?.get(id.as_bytes())?.is_some();
    if has_followers {
        transaction.open_table(KEPT)?.insert(id.as_bytes(), record.sealed.stored_bytes)?;
        add(&mut transaction.open_table(META)?, SUM_KEPT, record.sealed.stored_bytes, 0)?;
    }
    match record.base {
        Some(base) => release(transaction, base),
        None => Ok(()),
    }
}

/// One run less builds on a base. The rows of a deleted one that nobody needs any more are noted for removal.
fn release(transaction: &WriteTransaction, base: RunId) -> Result<(), Trouble> {
    let mut followers = transaction.open_table(FOLLOWERS)?;
    let count = followers.get(base.as_bytes())?.map_or(0, |count| count.value());
    if count > 1 {
        followers.insert(base.as_bytes(), count - 1)?;
        return Ok(());
    }
    followers.remove(base.as_bytes())?;
    let kept = transaction.open_table(KEPT)?.remove(base.as_bytes())?.map(|stored| stored.value());
    if let Some(stored) = kept {
        add(&mut transaction.open_table(META)?, SUM_KEPT, 0, stored)?;
        transaction.open_table(DELETED)?.insert(base.as_bytes(), ())?;
    }
    Ok(())
}

/// Whether the rows of a deleted run stay.
pub(super) fn is_kept(transaction: &WriteTransaction, id: RunId) -> Result<bool, Trouble> {
    Ok(transaction.open_table(KEPT)?.get(id.as_bytes())?.is_some())
}

fn remove(bases: &mut Table<'_, &'static [u8; 32], RunKey>, key: &[u8; 32], id: RunId) -> Result<(), Trouble> {
    let is_it = bases.get(key)?.is_some_and(|base| base.value() == id.as_bytes());
    if is_it {
        bases.remove(key)?;
    }
    Ok(())
}

/// Bodies of bases, decoded, the last one that was asked for first: rows that follow one another build on the same.
#[derive(Debug, Default)]
pub struct Bodies(Vec<(RunId, u64, Vec<u8>)>);

/// Finds prefixes in a base, for blocks of a run that come in order.
pub(super) struct Base {
    id: RunId,
    last_seq: u64,
    bytes: u64,
    bodies: Bodies,
}

impl Base {
    pub(super) fn new(record: &StoredRun) -> Self {
        let sealed = &record.sealed;
        Self { id: record.run.id, last_seq: sealed.seq, bytes: sealed.stdout + sealed.stderr, bodies: Bodies::default() }
    }

    /// The bytes of the base around byte `at` of the output, for a body of `length` bytes that begins there.
    pub(super) fn prefix(
        &mut self,
        rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
        at: u64,
        length: usize,
    ) -> Result<Option<Prefix>, Trouble> {
        let Some(head) = self.block_at(rows, at)? else { return Ok(None) };
        let Some(body) = self.body(rows, head.first_seq)? else { return Ok(None) };
        let begin = head.stdout_offset + head.stderr_offset;
        let output = head.stdout_bytes + head.stderr_bytes;
        let share = if output == 0 { 0.0 } else { (at.saturating_sub(begin)) as f64 / output as f64 };
        let position = (body.len() as f64 * share.min(1.0)) as usize;
        let before = (BASE_MAX - length.min(BASE_MAX)) / 2;
        let mut bytes = body.clone();
        let (mut first, mut last, mut position) = (head.first_seq, head.last_seq, position);
        while position < before && first > 1 {
            let Some(previous) = head_at(rows, self.id, first - 1)? else { break };
            let Some(body) = self.body(rows, previous.first_seq)? else { break };
            position += body.len();
            bytes.splice(..0, body.iter().copied());
            first = previous.first_seq;
        }
        let mut start = position.saturating_sub(before);
        while bytes.len() - start < BASE_MAX && last < self.last_seq {
            let Some(next) = head_at(rows, self.id, last + 1)? else { break };
            let Some(body) = self.body(rows, next.first_seq)? else { break };
            bytes.extend_from_slice(body);
            last = next.last_seq;
        }
        let end = bytes.len().min(start + BASE_MAX);
        // Near the end there is less behind it, and more before it is taken.
        start = start.min(end.saturating_sub(BASE_MAX));
        let bytes = bytes[start..end].to_vec();
        let (Ok(start), length) = (u32::try_from(start), bytes.len() as u32) else { return Ok(None) };
        let place = BasePlace { run: self.id, first_seq: first, start, length, checksum: crc32fast::hash(&bytes) };
        Ok((length > 0).then_some(Prefix { place, bytes }))
    }

    /// The block with a byte of output, or the last one.
    fn block_at(
        &self,
        rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
        at: u64,
    ) -> Result<Option<super::block_head::BlockHead>, Trouble> {
        if at >= self.bytes {
            return head_at(rows, self.id, self.last_seq);
        }
        super::heads::block_head_at_offset(rows, self.id, self.last_seq, None, at)
    }

    fn body(&mut self, rows: &impl ReadableTable<&'static RowKey, &'static [u8]>, first_seq: u64) -> Result<Option<&Vec<u8>>, Trouble> {
        self.bodies.get(rows, self.id, first_seq)
    }
}

impl Bodies {
    fn get(
        &mut self,
        rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
        id: RunId,
        first_seq: u64,
    ) -> Result<Option<&Vec<u8>>, Trouble> {
        let kept = match self.0.iter().position(|(run, first, _)| (*run, *first) == (id, first_seq)) {
            Some(at) => self.0.remove(at),
            None => {
                let Some(body) = stored_body(rows, id, first_seq)? else { return Ok(None) };
                self.0.truncate(CACHED - 1);
                (id, first_seq, body)
            }
        };
        self.0.insert(0, kept);
        Ok(self.0.first().map(|(_, _, body)| body))
    }
}

/// The bytes that a row names as its prefix.
pub(super) fn read(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    place: &BasePlace,
    bodies: &mut Bodies,
) -> Result<Vec<u8>, Trouble> {
    let missing = || Trouble::damaged(format!("what rows build on, of run {}, is missing", place.run));
    let (start, end) = (place.start as usize, place.start as usize + place.length as usize);
    let (mut bytes, mut first_seq, mut passed) = (Vec::with_capacity(place.length as usize), place.first_seq, 0);
    while passed < end {
        let head = head_at(rows, place.run, first_seq)?.filter(|head| head.first_seq == first_seq).ok_or_else(missing)?;
        let length = head.body_bytes as usize;
        if passed + length > start {
            let body = bodies.get(rows, place.run, first_seq)?.ok_or_else(missing)?;
            let part = body.get(start.saturating_sub(passed)..(end - passed).min(length)).ok_or_else(missing)?;
            bytes.extend_from_slice(part);
        }
        passed += length;
        first_seq = head.last_seq + 1;
    }
    if crc32fast::hash(&bytes) != place.checksum {
        return Err(Trouble::damaged(format!("what rows build on, of run {}, is not what it was", place.run)));
    }
    Ok(bytes)
}

/// The body of a base's block as it is stored: texts that were taken out are not put back. `None` for one that is too long.
fn stored_body(rows: &impl ReadableTable<&'static RowKey, &'static [u8]>, id: RunId, first_seq: u64) -> Result<Option<Vec<u8>>, Trouble> {
    let missing = || Trouble::damaged(format!("rows of run {id} at entry {first_seq} are missing"));
    let head = head_at(rows, id, first_seq)?.filter(|head| head.first_seq == first_seq).ok_or_else(missing)?;
    if head.body_bytes > BODY_MAX {
        return Ok(None);
    }
    let mut unpacker = Unpacker::new(&head)?;
    for part in 0.. {
        let row = rows.get(&row_key(id, first_seq, part))?.ok_or_else(missing)?;
        unpacker.push(part, row.value(), |_| Err(Trouble::damaged("a base builds on another run")))?;
        if unpacker.is_whole() {
            break;
        }
    }
    Ok(Some(unpacker.into_body()))
}
