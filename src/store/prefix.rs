//! Prefixes: stored bytes that zstd has as its prefix when it compresses a row, so that only what differs takes space.
//!
//! A prefix is taken from rows that have none themselves, so one row needs a few other rows and no more. It is found by
//! anchors, and otherwise in the base of the run.

use redb::ReadableTable;

use super::{
    anchors::Hit,
    error::StoreErrorKind,
    row::{HAS_PREFIX, MAX_PREFIX_BYTES, PrefixLocation, RowHeader},
    tables::{RowKey, first_seq_of, part_of, row_key},
    unpack::Unpacker,
};
use crate::model::RunId;

/// Bytes of parts that a [`PartCache`] holds.
const MAX_CACHED_BYTES: usize = 2 << 20;
/// A prefix begins so much before the bytes that are expected to be the same.
const SLACK_BYTES: usize = 16 << 10;

/// Bytes that a row may build on.
pub(super) struct Prefix {
    pub(crate) location: PrefixLocation,
    pub(crate) bytes: Vec<u8>,
    /// First entries of the blocks that they are from.
    pub(crate) blocks: Vec<u64>,
}

/// A prefix for what follows a position of a body.
pub(super) struct FoundPrefix {
    pub(crate) prefix: Prefix,
    /// A long range of the body that is in the prefix byte for byte; empty, at the beginning, if none is known.
    pub(crate) same: (usize, usize),
    /// Where bytes begin for which another prefix is better; may be past the end of the body.
    pub(crate) end: usize,
}

/// How long a prefix for so many bytes should be. A longer one takes longer to read.
fn prefix_bytes(raw_bytes: usize) -> usize {
    (raw_bytes + raw_bytes / 4 + 2 * SLACK_BYTES).min(MAX_PREFIX_BYTES)
}

/// The prefix that an anchor of a body leads to, for the bytes from `at` on, `raw_bytes` of them.
pub(super) fn at_anchor(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    parts: &mut PartCache,
    hit: Hit,
    body: &[u8],
    (at, raw_bytes): (usize, usize),
    stays: impl FnMut(u64) -> Result<bool, StoreErrorKind>,
) -> Result<Option<FoundPrefix>, StoreErrorKind> {
    let before = hit.at - at + SLACK_BYTES;
    let Some((prefix, in_prefix)) = around(rows, parts, (hit.run, hit.first_seq, hit.end), before, prefix_bytes(raw_bytes), stays)? else {
        return Ok(None);
    };
    let back = body[at..hit.at].iter().rev().zip(prefix.bytes[..in_prefix].iter().rev()).take_while(|(a, b)| a == b).count();
    let ahead = equal_bytes(&body[hit.at..], &prefix.bytes[in_prefix..]);
    Ok(Some(FoundPrefix { prefix, same: (hit.at - back, hit.at + ahead), end: usize::MAX }))
}

/// How many bytes two slices begin with alike.
fn equal_bytes(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 1 << 10;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP)).take_while(|(a, b)| a == b).count();
    let equal = steps * STEP;
    equal + a[equal..].iter().zip(&b[equal..]).take_while(|(a, b)| a == b).count()
}

/// The prefix around a position in a base.
pub(super) fn in_base(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    parts: &mut PartCache,
    (base, first_seq, position): (RunId, u64, usize),
    at: usize,
    raw_bytes: usize,
) -> Result<Option<FoundPrefix>, StoreErrorKind> {
    let length = MAX_PREFIX_BYTES;
    let before = (length - raw_bytes.min(length)) / 2;
    let found = around(rows, parts, (base, first_seq, position), before, length, |_| Ok(true))?;
    Ok(found.map(|(prefix, _)| FoundPrefix { prefix, same: (at, at), end: usize::MAX }))
}

/// About `length` bytes of a run's bodies, of which `before` precede a position in the block that begins with an entry,
/// and where that position is in them. `None` if what is there builds on other rows. `stays` tells whether the block
/// that begins with an entry may be used.
fn around(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    parts: &mut PartCache,
    (run, first_seq, position): (RunId, u64, usize),
    before: usize,
    length: usize,
    mut stays: impl FnMut(u64) -> Result<bool, StoreErrorKind>,
) -> Result<Option<(Prefix, usize)>, StoreErrorKind> {
    let (mut part, mut begin) = (0, 0);
    loop {
        let Some(row) = rows.get(&row_key(run, first_seq, part))? else { return Ok(None) };
        let end = begin + RowHeader::read(row.value(), part)?.raw_bytes;
        if position <= end {
            break;
        }
        (part, begin) = (part + 1, end);
    }
    let Some(bytes) = parts.get(rows, run, first_seq, part)? else { return Ok(None) };
    let (mut bytes, mut at) = (bytes.to_vec(), position - begin);
    let (mut first, mut last) = ((first_seq, part), (first_seq, part));
    while at < before {
        let (from, to) = (row_key(run, 0, 0), row_key(run, first.0, first.1));
        let Some(previous) = rows.range::<&RowKey>(&from..&to)?.next_back().transpose()?.map(|(key, _)| position_of(key.value())) else {
            break;
        };
        if previous.0 != first.0 && !stays(previous.0)? {
            break;
        }
        let Some(more) = parts.get(rows, run, previous.0, previous.1)? else { break };
        bytes.splice(..0, more.iter().copied());
        (first, at) = (previous, at + more.len());
    }
    let start = at.saturating_sub(before);
    while bytes.len() - start < length {
        let (from, to) = (row_key(run, last.0, last.1 + 1), row_key(run, u64::MAX, u32::MAX));
        let Some(next) = rows.range::<&RowKey>(&from..=&to)?.next().transpose()?.map(|(key, _)| position_of(key.value())) else { break };
        if next.0 != last.0 && !stays(next.0)? {
            break;
        }
        let Some(more) = parts.get(rows, run, next.0, next.1)? else { break };
        bytes.extend_from_slice(more);
        last = next;
    }
    bytes.truncate(start + length);
    bytes.drain(..start);
    let mut start = start;
    for part in 0..first.1 {
        let row = rows.get(&row_key(run, first.0, part))?.ok_or_else(|| missing(run))?;
        start += RowHeader::read(row.value(), part)?.raw_bytes;
    }
    let mut blocks = Vec::new();
    let (from, to) = (row_key(run, first.0, first.1), row_key(run, last.0, last.1));
    for row in rows.range::<&RowKey>(&from..=&to)? {
        blocks.push(first_seq_of(row?.0.value()));
    }
    blocks.dedup();
    let (Ok(start), length) = (u32::try_from(start), bytes.len() as u32) else { return Ok(None) };
    let location = PrefixLocation { run, first_seq: first.0, start, length, checksum: crc32fast::hash(&bytes) };
    let at = at.min(before);
    Ok((length > 0).then_some((Prefix { location, bytes, blocks }, at)))
}

fn position_of(key: &RowKey) -> (u64, u32) {
    (first_seq_of(key), part_of(key))
}

/// The bytes that a row names as its prefix.
pub(super) fn read(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    location: &PrefixLocation,
    parts: &mut PartCache,
) -> Result<Vec<u8>, StoreErrorKind> {
    let (start, end) = (location.start as usize, location.start as usize + location.length as usize);
    let (mut bytes, mut passed) = (Vec::with_capacity(location.length as usize), 0);
    let (from, to) = (row_key(location.run, location.first_seq, 0), row_key(location.run, u64::MAX, u32::MAX));
    for row in rows.range::<&RowKey>(&from..=&to)? {
        if passed >= end {
            break;
        }
        let (key, row) = row?;
        let (first_seq, part) = position_of(key.value());
        let length = RowHeader::read(row.value(), part)?.raw_bytes;
        if passed + length > start {
            let part = parts.get(rows, location.run, first_seq, part)?.ok_or_else(|| missing(location.run))?;
            bytes.extend_from_slice(part.get(start.saturating_sub(passed)..(end - passed).min(length)).unwrap_or_default());
        }
        passed += length;
    }
    if bytes.len() != location.length as usize {
        return Err(missing(location.run));
    }
    if crc32fast::hash(&bytes) != location.checksum {
        return Err(StoreErrorKind::damaged(format!("rows of run {} that another row builds on have changed", location.run)));
    }
    Ok(bytes)
}

fn missing(run: RunId) -> StoreErrorKind {
    StoreErrorKind::damaged(format!("rows of run {run} that another row builds on are missing"))
}

/// Decoded parts of bodies that rows build on, the most recently used first. Successive rows build on the same parts.
#[derive(Debug, Default)]
pub(crate) struct PartCache(Vec<CachedPart>);

#[derive(Debug)]
struct CachedPart {
    run: RunId,
    first_seq: u64,
    part: u32,
    bytes: Vec<u8>,
}

impl PartCache {
    /// A part of a body as it is stored: texts that were taken out are not put back. `None` if its row has a prefix.
    fn get(
        &mut self,
        rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
        run: RunId,
        first_seq: u64,
        part: u32,
    ) -> Result<Option<&[u8]>, StoreErrorKind> {
        let is_it = |cached: &CachedPart| (cached.run, cached.first_seq, cached.part) == (run, first_seq, part);
        let cached = match self.0.iter().position(is_it) {
            Some(at) => self.0.remove(at),
            None => {
                let row = rows.get(&row_key(run, first_seq, part))?.ok_or_else(|| missing(run))?;
                let RowHeader { flags, raw_bytes, .. } = RowHeader::read(row.value(), part)?;
                if flags & HAS_PREFIX != 0 {
                    return Ok(None);
                }
                let mut held = raw_bytes;
                self.0.retain(|cached| {
                    held += cached.bytes.len();
                    held <= MAX_CACHED_BYTES
                });
                let mut unpacker = Unpacker::of_part(raw_bytes as u64)?;
                unpacker.push(part, row.value(), |_| Err(missing(run)))?;
                CachedPart { run, first_seq, part, bytes: unpacker.into_body() }
            }
        };
        self.0.insert(0, cached);
        Ok(self.0.first().map(|cached| cached.bytes.as_slice()))
    }
}
