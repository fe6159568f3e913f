//! Reading sealed entries back, by number and by position in the output.

use redb::{ReadTransaction, ReadableTable};

use super::{
    Block, Bodies, Store, base,
    block::BlockHead,
    pack::{Unpacker, head_of},
    tables::{ROWS, RUNS, RowKey, StoredRun, TEXTS, first_seq_of, row_key},
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

/// Head of the block with a byte of output, among the blocks up to entry `last_seq`.
pub(super) fn block_head_at_offset(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    id: RunId,
    last_seq: u64,
    stream: Option<Stream>,
    offset: u64,
) -> Result<Option<BlockHead>, Trouble> {
    // The last block that begins at or before the offset. Blocks without a byte of the stream begin where the next
    // one does, so the last of them is the one with the byte.
    let mut found = None;
    let (mut low, mut high) = (1, last_seq);
    while low <= high {
        let Some(head) = head_at(rows, id, low + (high - low) / 2)? else { break };
        if begin_and_end(&head, stream).0 <= offset {
            low = head.last_seq + 1;
            found = Some(head);
        } else {
            high = head.first_seq - 1;
        }
    }
    Ok(found.filter(|head| offset < begin_and_end(head, stream).1))
}

fn begin_and_end(head: &BlockHead, stream: Option<Stream>) -> (u64, u64) {
    let (begin, bytes) = match stream {
        Some(Stream::Stdout) => (head.stdout_offset, head.stdout_bytes),
        Some(Stream::Stderr) => (head.stderr_offset, head.stderr_bytes),
        None => (head.stdout_offset + head.stderr_offset, head.stdout_bytes + head.stderr_bytes),
    };
    (begin, begin + bytes)
}

/// Head of the last block that begins at or before entry `seq`.
pub(super) fn head_at(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    id: RunId,
    seq: u64,
) -> Result<Option<BlockHead>, Trouble> {
    let range = row_key(id, 0, 0)..=row_key(id, seq, u32::MAX);
    let Some(row) = rows.range::<&RowKey>(range.start()..=range.end())?.next_back() else { return Ok(None) };
    let (key, row) = row?;
    let first_seq = first_seq_of(key.value());
    let head = match key.value()[24..] {
        [0, 0, 0, 0] => head_of(row.value())?,
        _ => {
            let first = rows.get(&row_key(id, first_seq, 0))?.ok_or_else(|| missing(id, first_seq))?;
            head_of(first.value())?
        }
    };
    if head.first_seq != first_seq || head.last_seq < first_seq {
        return Err(Trouble::damaged("a row stands in the place of another"));
    }
    Ok(Some(head))
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

fn missing(id: RunId, seq: u64) -> Trouble {
    Trouble::damaged(format!("rows of run {id} at entry {seq} are missing"))
}
