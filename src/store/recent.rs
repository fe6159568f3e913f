//! The blocks that were decoded last for pages. A page ends where it is full, seldom where a block does, and the next one
//! begins in the same block.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::{Block, row::BlockHead};
use crate::model::RunId;

/// Bytes of blocks that are kept. A longer block is decoded for each page.
const MAX_RECENT_BYTES: usize = 2 << 20;

/// Blocks, the one that was used last at the end.
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
