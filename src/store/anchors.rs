//! Anchors: short windows of stored output, by which equal or similar output is found again, wherever it stands.
//!
//! A rolling hash decides which windows are sampled, so the same bytes give the same samples at any offset, in any run,
//! and however they were cut into entries. A block stores those of its samples that have the smallest keys around; a block that is being
//! sealed looks its own samples up, and what it finds says where an earlier run, or the run itself, has the same bytes.
//! Anchors are hints: what is found is compared or compressed against, and a wrong hint costs nothing but time.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    builds::Builds,
    error::StoreErrorKind,
    row::MAX_PREFIXED_RAW_BYTES,
    tables::{ANCHORS, AnchorValue, BLOCK_ANCHORS, BlockKey, RunKey, block_key},
};
use crate::model::RunId;

/// Length of a window.
const WINDOW_BYTES: usize = 32;
/// One window in so many is sampled: those where these bits of the rolling hash are 0. The high bits depend on all bytes
/// of a window.
const SAMPLE_MASK: u32 = 0x7ff << 21;
/// Only so much of a body is sampled: reading a later byte would pass over too many rows.
const MAX_SAMPLED_BYTES: usize = 4 << 20;
/// Less new output than this in a block is not worth an anchor.
const MIN_ANCHORED_BYTES: usize = 8 << 10;
/// An anchor is the sample with the smallest key this far before and behind it, so there is about one in twice as many
/// bytes. A shorter body has more.
const ANCHOR_RADIUS: usize = 8 << 10;
/// A body has about so many anchors at least.
const MIN_ANCHORS: usize = 8;
/// Samples are looked up that are the smallest in a smaller radius: where a body ends, what would be an anchor in one is
/// none in another.
const LOOKUP_RADIUS_DIVISOR: usize = 2;

/// Random numbers for the rolling hash, one for each byte.
const GEAR: [u32; 256] = {
    let (mut table, mut at, mut state) = ([0; 256], 0, 0x9e37_79b9_7f4a_7c15_u64);
    while at < 256 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        table[at] = (state >> 32) as u32;
        at += 1;
    }
    table
};

/// A window: a hash of it, and where in the body it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sample {
    key: u64,
    end: usize,
}

/// A window of a body that the store has as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// Where the window ends in the body that is being sealed.
    pub(crate) at: usize,
    pub(crate) run: RunId,
    /// The stored block, and where in its body the window ends.
    pub(crate) first_seq: u64,
    pub(crate) end: usize,
}

/// The sampled windows of a payload, in order.
pub(super) fn samples(payload: &[u8]) -> Vec<Sample> {
    let payload = &payload[..payload.len().min(MAX_SAMPLED_BYTES)];
    let (mut samples, mut hash) = (Vec::new(), 0_u32);
    for (at, byte) in payload.iter().enumerate() {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if hash & SAMPLE_MASK == 0 && at >= WINDOW_BYTES {
            let end = at + 1;
            let window = blake3::hash(&payload[end - WINDOW_BYTES..end]);
            let key = u64::from_le_bytes(window.as_bytes()[..8].try_into().expect("eight bytes"));
            samples.push(Sample { key, end });
        }
    }
    // Bytes that repeat give the same window again and again. Within a row zstd finds them itself.
    samples.sort_unstable();
    samples.dedup_by(|later, kept| later.key == kept.key && later.end - kept.end < MAX_PREFIXED_RAW_BYTES);
    samples.sort_unstable_by_key(|sample| sample.end);
    samples
}

fn radius(bytes: usize) -> usize {
    (bytes / MIN_ANCHORS / 2).min(ANCHOR_RADIUS)
}

/// The samples that have the smallest key within `radius` bytes.
fn smallest(samples: &[Sample], radius: usize) -> impl Iterator<Item = Sample> {
    samples.iter().enumerate().filter_map(move |(at, sample)| {
        let is_larger = |other: &&Sample| other.key > sample.key;
        let before = samples[..at].iter().rev().take_while(|other| other.end + radius >= sample.end);
        let behind = samples[at + 1..].iter().take_while(|other| sample.end + radius >= other.end);
        before.chain(behind).all(|other| is_larger(&other)).then_some(*sample)
    })
}

/// The anchors of the store, in one transaction.
pub(super) struct Anchors<'t> {
    anchors: Table<'t, u64, &'static AnchorValue>,
    of_blocks: Table<'t, &'static BlockKey, &'static [u8]>,
    /// Whether the record of a run is there.
    recorded: BTreeMap<RunId, bool>,
}

impl<'t> Anchors<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreErrorKind> {
        Ok(Self { anchors: transaction.open_table(ANCHORS)?, of_blocks: transaction.open_table(BLOCK_ANCHORS)?, recorded: BTreeMap::new() })
    }

    /// Where the store has the samples of a body, in the order of the body.
    pub(super) fn hits(
        &mut self,
        samples: &[Sample],
        runs: &impl ReadableTable<RunKey, &'static [u8]>,
        builds: &Builds<'_>,
    ) -> Result<Vec<Hit>, StoreErrorKind> {
        let mut hits = Vec::new();
        for sample in smallest(samples, radius(samples.last().map_or(0, |sample| sample.end)) / LOOKUP_RADIUS_DIVISOR) {
            let Some(value) = self.anchors.get(sample.key)?.map(|value| *value.value()) else { continue };
            let (run, first_seq, end) = parse(&value);
            if self.stays(run, first_seq, runs, builds)? {
                hits.push(Hit { at: sample.end, run, first_seq, end });
            }
        }
        Ok(hits)
    }

    /// Whether a block may be built on: it is not about to be removed.
    pub(super) fn stays(
        &mut self,
        run: RunId,
        first_seq: u64,
        runs: &impl ReadableTable<RunKey, &'static [u8]>,
        builds: &Builds<'_>,
    ) -> Result<bool, StoreErrorKind> {
        let recorded = match self.recorded.get(&run) {
            Some(recorded) => *recorded,
            None => {
                let recorded = runs.get(run.as_bytes())?.is_some();
                self.recorded.insert(run, recorded);
                recorded
            }
        };
        Ok(recorded || builds.is_built_on(run, first_seq)?)
    }

    /// Stores anchors for what of a block is new: `ranges` of its body.
    pub(super) fn store(
        &mut self,
        run: RunId,
        first_seq: u64,
        samples: &[Sample],
        ranges: &[(usize, usize)],
    ) -> Result<(), StoreErrorKind> {
        let bytes: usize = ranges.iter().map(|(begin, end)| end - begin).sum();
        if bytes < MIN_ANCHORED_BYTES {
            return Ok(());
        }
        let is_new = |sample: &&Sample| ranges.iter().any(|(begin, end)| (begin + WINDOW_BYTES..=*end).contains(&sample.end));
        let new: Vec<Sample> = samples.iter().filter(is_new).copied().collect();
        let block = block_key(run, first_seq);
        let mut keys = Vec::new();
        for Sample { key, end } in smallest(&new, radius(bytes)) {
            let mut value = [0; 28];
            value[..24].copy_from_slice(&block);
            value[24..].copy_from_slice(&(end as u32).to_le_bytes());
            self.anchors.insert(key, &value)?;
            keys.extend_from_slice(&key.to_le_bytes());
        }
        if !keys.is_empty() {
            self.of_blocks.insert(&block, keys.as_slice())?;
        }
        Ok(())
    }

    /// Removes the anchors of a block that is removed.
    pub(super) fn remove(&mut self, run: RunId, first_seq: u64) -> Result<(), StoreErrorKind> {
        let block = block_key(run, first_seq);
        let keys = self.of_blocks.remove(&block)?.map(|keys| keys.value().to_vec()).unwrap_or_default();
        for key in keys.chunks_exact(8) {
            let key = u64::from_le_bytes(key.try_into().expect("eight bytes"));
            // A later block with the same window has taken the anchor over.
            let is_ours = self.anchors.get(key)?.is_some_and(|value| value.value()[..24] == block);
            if is_ours {
                self.anchors.remove(key)?;
            }
        }
        Ok(())
    }
}

fn parse(value: &AnchorValue) -> (RunId, u64, usize) {
    let run = RunId::from_bytes(value[..16].try_into().expect("sixteen bytes"));
    let first_seq = u64::from_be_bytes(value[16..24].try_into().expect("eight bytes"));
    let end = u32::from_le_bytes(value[24..].try_into().expect("four bytes"));
    (run, first_seq, end as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::noise;

    #[test]
    fn the_same_bytes_give_the_same_samples_at_any_offset() {
        let bytes = noise(1, 1 << 20);
        let here = samples(&bytes);
        assert!((300..800).contains(&here.len()), "one in 2,048: {}", here.len());
        let shifted = samples(&[&noise(2, 777), bytes.as_slice()].concat());
        let back: Vec<Sample> =
            shifted.iter().filter(|sample| sample.end > 777 + 64).map(|sample| Sample { end: sample.end - 777, ..*sample }).collect();
        assert!(back.iter().all(|sample| here.contains(sample)));
        assert!(back.len() + 2 >= here.len());
    }

    #[test]
    fn bytes_that_repeat_give_few_samples() {
        let rows = (1 << 20) / MAX_PREFIXED_RAW_BYTES + 1;
        assert!(samples(&[0; 1 << 20]).len() <= rows);
        assert!(samples(&b"all work and no play\n".repeat(50_000)).len() <= 21 * rows);
    }
}
