//! Reading sealed entries back, by number and by position in the output.

use redb::ReadTransaction;

use super::{
    Block, Store, base,
    block_head::BlockHead,
    heads::{block_head_at_offset, head_at, missing},
    pack::Unpacker,
    tables::{ROWS, RUNS, StoredRun, TEXTS, row_key},
    text,
    trouble::Trouble,
};
use crate::model::{Failure, RunId, Stream};

impl Store {
    /// The block that holds entry `seq`; `None` where the store does not have it. A block with a huge entry holds only that.
    pub fn lines_at(&self, id: RunId, seq: u64) -> Result<Option<Block>, Failure> {
        let block = self.read(|transaction| {
            let head = head_at(&transaction.open_table(ROWS)?, id, seq)?;
            block_of(transaction, id, head.filter(|head| seq >= head.first_seq && seq <= head.last_seq))
        })?;
        Ok(block.flatten())
    }

    /// The block that holds byte `offset` of a stream, or of both counted together in order of arrival. `None` beyond what
    /// is sealed. Looks at heads of blocks only until it has found the one.
    pub fn block_at_offset(&self, id: RunId, stream: Option<Stream>, offset: u64) -> Result<Option<Block>, Failure> {
        let block = self.read(|transaction| {
            let Some(record) = StoredRun::load(&transaction.open_table(RUNS)?, id)? else { return Ok(None) };
            let head = block_head_at_offset(&transaction.open_table(ROWS)?, id, record.sealed.seq, stream, offset)?;
            block_of(transaction, id, head)
        })?;
        Ok(block.flatten())
    }
}

fn block_of(transaction: &ReadTransaction, id: RunId, head: Option<BlockHead>) -> Result<Option<Block>, Trouble> {
    let Some(head) = head else { return Ok(None) };
    match whole_block(transaction, id, &head) {
        // Somebody deletes the run: what its rows build on may go before they do.
        Err(Trouble::Damaged(_)) if StoredRun::load(&transaction.open_table(RUNS)?, id)?.is_none() => Ok(None),
        block => block.map(Some),
    }
}

fn whole_block(transaction: &ReadTransaction, id: RunId, head: &BlockHead) -> Result<Block, Trouble> {
    let rows = transaction.open_table(ROWS)?;
    let mut unpacker = Unpacker::new(head)?;
    for part in 0.. {
        let row = rows.get(&row_key(id, head.first_seq, part))?.ok_or_else(|| missing(id, head.first_seq))?;
        unpacker.push(part, row.value(), |place| base::read(&rows, place))?;
        if unpacker.is_whole() {
            break;
        }
    }
    if !unpacker.refers() {
        return Block::new(id, head, unpacker.into_body());
    }
    let texts = transaction.open_table(TEXTS)?;
    Block::with_texts(id, head, &unpacker.into_body(), |reference| text::read(&texts, &reference.hash, reference.length))
}
