//! Reading sealed entries back, by number and by position in the output.

use redb::ReadTransaction;

use super::{
    Block, Bodies, Store, base,
    block_head::BlockHead,
    heads::{block_head_at_offset, head_at, missing},
    pack::Unpacker,
    tables::{ROWS, RUNS, StoredRun, TEXTS, row_key},
    text,
    trouble::Trouble,
};
use crate::model::{Failure, RunId, Stream};

/// Blocks without output that are passed over in one transaction.
const PASSED_MAX: usize = 256;

impl Store {
    /// The block that holds entry `seq`; `None` where the store does not have it. A block with a huge entry holds only that.
    pub fn lines_at(&self, id: RunId, seq: u64) -> Result<Option<Block>, Failure> {
        let block = self.read(|transaction| {
            let head = head_at(&transaction.open_table(ROWS)?, id, seq)?;
            block_of(transaction, id, head.filter(|head| seq >= head.first_seq && seq <= head.last_seq), &mut Bodies::default())
        })?;
        Ok(block.flatten())
    }

    /// The next block after entry `seq` that holds output, and its last entry. Blocks without any are passed over, without
    /// decompressing them; where it was so many that a transaction should end, the answer is the entry up to which they go.
    /// `None` beyond what is sealed. `bodies` is for whoever reads on, in this run or one like it.
    pub fn output_after(&self, id: RunId, seq: u64, bodies: &mut Bodies) -> Result<Option<(u64, Option<Block>)>, Failure> {
        let found = self.read(|transaction| {
            let rows = transaction.open_table(ROWS)?;
            let mut passed = seq;
            for _ in 0..PASSED_MAX {
                let Some(head) = head_at(&rows, id, passed + 1)?.filter(|head| passed < head.last_seq) else {
                    return Ok((passed > seq).then_some((passed, None)));
                };
                passed = head.last_seq;
                if head.stdout_bytes + head.stderr_bytes > 0 {
                    return Ok(block_of(transaction, id, Some(head), bodies)?.map(|block| (passed, Some(block))));
                }
            }
            Ok(Some((passed, None)))
        })?;
        Ok(found.flatten())
    }

    /// The block that holds byte `offset` of a stream, or of both counted together in order of arrival. `None` beyond what
    /// is sealed. Looks at heads of blocks only until it has found the one.
    pub fn block_at_offset(&self, id: RunId, stream: Option<Stream>, offset: u64) -> Result<Option<Block>, Failure> {
        let block = self.read(|transaction| {
            let Some(record) = StoredRun::load(&transaction.open_table(RUNS)?, id)? else { return Ok(None) };
            let head = block_head_at_offset(&transaction.open_table(ROWS)?, id, record.sealed.seq, stream, offset)?;
            block_of(transaction, id, head, &mut Bodies::default())
        })?;
        Ok(block.flatten())
    }
}

fn block_of(transaction: &ReadTransaction, id: RunId, head: Option<BlockHead>, bodies: &mut Bodies) -> Result<Option<Block>, Trouble> {
    let Some(head) = head else { return Ok(None) };
    match whole_block(transaction, id, &head, bodies) {
        // Somebody deletes the run: what its rows build on may go before they do.
        Err(Trouble::Damaged(_)) if StoredRun::load(&transaction.open_table(RUNS)?, id)?.is_none() => Ok(None),
        block => block.map(Some),
    }
}

fn whole_block(transaction: &ReadTransaction, id: RunId, head: &BlockHead, bodies: &mut Bodies) -> Result<Block, Trouble> {
    let rows = transaction.open_table(ROWS)?;
    let mut unpacker = Unpacker::new(head)?;
    for part in 0.. {
        let row = rows.get(&row_key(id, head.first_seq, part))?.ok_or_else(|| missing(id, head.first_seq))?;
        unpacker.push(part, row.value(), |place| base::read(&rows, place, bodies))?;
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
