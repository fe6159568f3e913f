//! The rows of the blocks of one run, and what they build on.

use redb::{Table, WriteTransaction};

use super::{
    anchors::{self, Anchors, Hit, Sample},
    base::Base,
    builds::Builds,
    error::StoreErrorKind,
    pack::{Row, RowSink},
    prefix::{self, FoundPrefix, PartCache},
    row::{BlockHead, MAX_PREFIXED_RAW_BYTES},
    tables::{ROWS, RowKey, RunKey, StoredRun, row_key},
};
use crate::model::RunId;

pub(super) type RunTable<'t> = Table<'t, RunKey, &'static [u8]>;

/// Bodies shorter than this are not worth a search.
const MIN_SEARCHED_BYTES: usize = 2 << 10;
/// Hits to one run that make it likely that the bytes around them are similar.
const MIN_HITS: usize = 2;

/// So many bytes that are the same are worth a prefix, whatever follows.
const MIN_SAME_BYTES: usize = 16 << 10;
/// Hits that are tried for one row.
const MAX_TRIED_HITS: usize = 4;

/// What the rows of a run take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StoredBytes {
    pub(crate) bytes: u64,
    pub(crate) delta_bytes: u64,
    pub(crate) delta_stored_bytes: u64,
}

/// Takes rows of the block that was begun last, and finds what they may build on.
pub(super) struct BlockRows<'t> {
    run: RunId,
    runs: &'t RunTable<'t>,
    rows: Table<'t, &'static RowKey, &'static [u8]>,
    anchors: Anchors<'t>,
    builds: Builds<'t>,
    base: Option<Base>,
    parts: PartCache,
    pub(crate) stored: StoredBytes,
    head: BlockHead,
    samples: Vec<Sample>,
    hits: Vec<Hit>,
    /// Ranges of the body whose rows build on nothing.
    new: Vec<(usize, usize)>,
    /// Where the next row begins in the body.
    at: usize,
}

impl<'t> BlockRows<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        runs: &'t RunTable<'t>,
        record: &StoredRun,
        base: Option<Base>,
    ) -> Result<Self, StoreErrorKind> {
        let sealed = &record.sealed;
        Ok(Self {
            run: record.run.id,
            runs,
            rows: transaction.open_table(ROWS)?,
            anchors: Anchors::open(transaction)?,
            builds: Builds::open(transaction)?,
            base,
            parts: PartCache::default(),
            stored: StoredBytes {
                bytes: sealed.stored_bytes,
                delta_bytes: sealed.delta_bytes,
                delta_stored_bytes: sealed.delta_stored_bytes,
            },
            head: BlockHead::default(),
            samples: Vec::new(),
            hits: Vec::new(),
            new: Vec::new(),
            at: 0,
        })
    }

    /// Begins a block.
    pub(super) fn begin(&mut self, head: &BlockHead, body: &[u8]) -> Result<(), StoreErrorKind> {
        (self.head, self.at) = (*head, 0);
        self.new.clear();
        self.samples = if body.len() < MIN_SEARCHED_BYTES { Vec::new() } else { anchors::samples(&body[..head.payload_bytes as usize]) };
        self.hits = self.anchors.hits(&self.samples, self.runs, &self.builds)?;
        Ok(())
    }

    /// Ends the block whose rows were taken.
    pub(super) fn end(&mut self) -> Result<(), StoreErrorKind> {
        self.anchors.store(self.run, self.head.first_seq, &self.samples, &self.new)
    }

    /// Hits in what a row that begins at `at` may hold.
    fn hits_at(&self, at: usize) -> &[Hit] {
        let first = self.hits.partition_point(|hit| hit.at <= at);
        let end = self.hits.partition_point(|hit| hit.at <= at + MAX_PREFIXED_RAW_BYTES);
        &self.hits[first..end]
    }

    /// The first of these hits that is to the run with the most of them, and how many these are.
    fn best(hits: &[Hit]) -> Option<(Hit, usize)> {
        let count = |run: RunId| hits.iter().filter(|hit| hit.run == run).count();
        let mut best: Option<(Hit, usize)> = None;
        for hit in hits {
            if best.is_none_or(|(first, _)| first.run != hit.run) {
                let count = count(hit.run);
                if best.is_none_or(|(_, most)| count > most) {
                    best = Some((*hit, count));
                }
            }
        }
        best
    }
}

impl RowSink for BlockRows<'_> {
    fn find(&mut self, body: &[u8], at: usize, weak: bool) -> Result<Option<FoundPrefix>, StoreErrorKind> {
        let raw_bytes = (body.len() - at).min(MAX_PREFIXED_RAW_BYTES);
        let mut hits = self.hits_at(at).to_vec();
        // What is worth a prefix for the bytes up to the next long range only, or if there is none and it is similar.
        let (mut near, mut is_similar): (Option<FoundPrefix>, bool) = (None, false);
        for _ in 0..MAX_TRIED_HITS {
            let Some((hit, count)) = Self::best(&hits) else { break };
            let Self { rows, parts, anchors, builds, runs, .. } = self;
            let stays = |first_seq| anchors.stays(hit.run, first_seq, *runs, builds);
            let Some(mut found) = prefix::at_anchor(rows, parts, hit, body, (at, raw_bytes), stays)? else { break };
            let same = found.same;
            if same.1 - same.0 >= MIN_SAME_BYTES.min(raw_bytes / 2) {
                return Ok(Some(match near {
                    Some(near) if same.0 > at => FoundPrefix { end: same.0, ..near },
                    _ => found,
                }));
            }
            if near.is_none() && (same.0 == at || (weak && count >= MIN_HITS)) {
                is_similar = weak && count >= MIN_HITS;
                found.same = (at, at);
                near = Some(found);
            }
            hits.retain(|hit| hit.at > same.1);
        }
        if is_similar {
            return Ok(near);
        }
        let Some(base) = self.base.as_ref().filter(|_| weak && at == 0) else { return Ok(None) };
        let Some((first_seq, position)) = base.position(&self.rows, self.head.stdout_offset + self.head.stderr_offset)? else {
            return Ok(None);
        };
        prefix::in_base(&self.rows, &mut self.parts, (base.id, first_seq, position), at, raw_bytes)
    }

    fn end_of_new(&self, body: &[u8], at: usize) -> usize {
        // Only hits that follow each other, in one run, are worth ending a row for.
        let later = &self.hits[self.hits.partition_point(|hit| hit.at <= at + MAX_PREFIXED_RAW_BYTES)..];
        let follows = |pair: &&[Hit]| pair[0].run == pair[1].run && pair[1].at - pair[0].at < MAX_PREFIXED_RAW_BYTES;
        later.windows(2).find(follows).map_or(body.len(), |pair| pair[0].at)
    }

    fn emit(&mut self, row: Row<'_>) -> Result<(), StoreErrorKind> {
        let key = row_key(self.run, self.head.first_seq, row.part);
        let stored = (key.len() + row.bytes.len()) as u64;
        self.stored.bytes += stored;
        let end = self.at + row.raw_bytes;
        match row.found {
            Some(found) => {
                self.stored.delta_bytes += row.raw_bytes as u64;
                self.stored.delta_stored_bytes += stored;
                let run = found.prefix.location.run;
                for first_seq in &found.prefix.blocks {
                    self.builds.add(&self.rows, self.run, run, *first_seq)?;
                }
            }
            None => self.new.push((self.at, end)),
        }
        self.rows.insert(&key, row.bytes)?;
        self.at = end;
        Ok(())
    }
}
