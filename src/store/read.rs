//! Reading sealed entries, by number and by position in the output.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use parking_lot::Mutex;
use redb::ReadTransaction;

use super::{
    Block, PartCache, Store,
    error::{StoreError, StoreErrorKind},
    prefix,
    row::{BlockHead, head_at, head_at_offset, missing},
    tables::{ROWS, RUNS, StoredRun, TEXTS, row_key},
    text,
    unpack::Unpacker,
};
use crate::model::{RunId, Stream};

/// Blocks without output that are skipped in one transaction.
const MAX_SKIPPED_BLOCKS: usize = 256;

/// Bytes of blocks that are kept. A longer block is decoded for each page.
const MAX_RECENT_BYTES: usize = 2 << 20;

/// The blocks that were decoded last for pages, the one that was used last at the end. A page ends where it is full, seldom where
/// a block does, and the next one begins in the same block.
#[derive(Default)]
pub(super) struct RecentBlocks(Mutex<VecDeque<Arc<Block>>>);

impl RecentBlocks {
    /// The block with this head. The caller has read the head just now, so that a deleted run is not found here.
    pub(super) fn find(&self, id: RunId, head: &BlockHead) -> Option<Arc<Block>> {
        let mut blocks = self.0.lock();
        let at = blocks.iter().position(|block| block.is_of(id, head))?;
        let block = blocks.remove(at)?;
        blocks.push_back(Arc::clone(&block));
        Some(block)
    }

    /// Keeps a block in place of those that were used longest ago.
    pub(super) fn keep(&self, block: &Arc<Block>) {
        if block.body_bytes() > MAX_RECENT_BYTES {
            return;
        }
        let mut blocks = self.0.lock();
        blocks.push_back(Arc::clone(block));
        let mut bytes: usize = blocks.iter().map(|block| block.body_bytes()).sum();
        while bytes > MAX_RECENT_BYTES {
            bytes -= blocks.pop_front().map_or(bytes, |block| block.body_bytes());
        }
    }
}

impl Store {
    /// The block that holds entry `seq`; `None` if the store does not have the entry. A block with a huge entry holds
    /// only that one.
    pub(crate) fn block_at(&self, id: RunId, seq: u64) -> Result<Option<Block>, StoreError> {
        let block = self.read(|transaction| {
            let head = head_at(&transaction.open_table(ROWS)?, id, seq)?;
            self.block_of(transaction, id, head.filter(|head| seq >= head.first_seq && seq <= head.last_seq), &mut PartCache::default())
        })?;
        Ok(block.flatten())
    }

    /// [`Self::block_at`] for a caller that may need a part of the block only, and the rest soon.
    pub(crate) fn page_block_at(&self, id: RunId, seq: u64) -> Result<Option<Arc<Block>>, StoreError> {
        let block = self.read(|transaction| {
            let head = head_at(&transaction.open_table(ROWS)?, id, seq)?;
            self.recent_block_of(transaction, id, head.filter(|head| seq >= head.first_seq && seq <= head.last_seq))
        })?;
        Ok(block.flatten())
    }

    /// The next block after entry `seq` that holds output, and its last entry. Blocks without output are skipped
    /// without decompressing them; after `MAX_SKIPPED_BLOCKS` of them the result is the last entry that was skipped,
    /// and no block. `None` beyond what is sealed. A caller that reads on, in this run or a similar one, passes the
    /// same `bodies` again.
    pub(crate) fn output_after(&self, id: RunId, seq: u64, bodies: &mut PartCache) -> Result<Option<(u64, Option<Block>)>, StoreError> {
        let found = self.read(|transaction| {
            let rows = transaction.open_table(ROWS)?;
            let mut skipped_to = seq;
            for _ in 0..MAX_SKIPPED_BLOCKS {
                let Some(head) = head_at(&rows, id, skipped_to + 1)?.filter(|head| skipped_to < head.last_seq) else {
                    return Ok((skipped_to > seq).then_some((skipped_to, None)));
                };
                skipped_to = head.last_seq;
                if head.stdout_bytes + head.stderr_bytes > 0 {
                    return Ok(self.block_of(transaction, id, Some(head), bodies)?.map(|block| (skipped_to, Some(block))));
                }
            }
            Ok(Some((skipped_to, None)))
        })?;
        Ok(found.flatten())
    }

    /// The block that holds byte `offset` of a stream, or of both counted together in order of arrival. `None` beyond
    /// what is sealed. Only this block is decompressed.
    pub(crate) fn block_at_offset(&self, id: RunId, stream: Option<Stream>, offset: u64) -> Result<Option<Arc<Block>>, StoreError> {
        let block = self.read(|transaction| {
            let Some(record) = StoredRun::load(&transaction.open_table(RUNS)?, id)? else { return Ok(None) };
            let head = head_at_offset(&transaction.open_table(ROWS)?, id, record.sealed.seq, stream, offset)?;
            self.recent_block_of(transaction, id, head)
        })?;
        Ok(block.flatten())
    }

    fn block_of(
        &self,
        transaction: &ReadTransaction,
        id: RunId,
        head: Option<BlockHead>,
        bodies: &mut PartCache,
    ) -> Result<Option<Block>, StoreErrorKind> {
        let Some(head) = head else { return Ok(None) };
        self.decoded_blocks.fetch_add(1, Ordering::Relaxed);
        match whole_block(transaction, id, &head, bodies) {
            // The run is being deleted: what its rows build on may be removed before they are.
            Err(StoreErrorKind::Damaged(_)) if StoredRun::load(&transaction.open_table(RUNS)?, id)?.is_none() => Ok(None),
            block => block.map(Some),
        }
    }

    /// [`Self::block_of`] that decodes a block once for several pages.
    fn recent_block_of(
        &self,
        transaction: &ReadTransaction,
        id: RunId,
        head: Option<BlockHead>,
    ) -> Result<Option<Arc<Block>>, StoreErrorKind> {
        let Some(head) = head else { return Ok(None) };
        if let Some(block) = self.recent.find(id, &head) {
            return Ok(Some(block));
        }
        let block = self.block_of(transaction, id, Some(head), &mut PartCache::default())?.map(Arc::new);
        block.iter().for_each(|block| self.recent.keep(block));
        Ok(block)
    }
}

fn whole_block(transaction: &ReadTransaction, id: RunId, head: &BlockHead, bodies: &mut PartCache) -> Result<Block, StoreErrorKind> {
    let rows = transaction.open_table(ROWS)?;
    let mut unpacker = Unpacker::new(head)?;
    for part in 0.. {
        let row = rows.get(&row_key(id, head.first_seq, part))?.ok_or_else(|| missing(id, head.first_seq))?;
        unpacker.push(part, row.value(), |location| prefix::read(&rows, location, bodies))?;
        if unpacker.is_whole() {
            break;
        }
    }
    if !unpacker.has_references() {
        return Block::new(id, head, unpacker.into_body());
    }
    let texts = transaction.open_table(TEXTS)?;
    Block::with_texts(id, head, &unpacker.into_body(), |reference| text::read(&texts, &reference.hash, reference.length))
}
