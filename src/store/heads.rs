//! Heads of blocks, by number and by position in the output, without decompressing anything.

use redb::ReadableTable;

use super::{
    block_head::BlockHead,
    pack::head_of,
    tables::{RowKey, first_seq_of, row_key},
    trouble::Trouble,
};
use crate::model::{RunId, Stream};

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

/// Rows that ought to be there.
pub(super) fn missing(id: RunId, seq: u64) -> Trouble {
    Trouble::damaged(format!("rows of run {id} at entry {seq} are missing"))
}
