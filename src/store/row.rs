//! The layout of a row, and finding blocks by what their first row says of them, without decompressing anything.
//!
//! A row is a header of `ROW_HEADER_BYTES`, in a block's first row the [`BlockHead`], in a row that was compressed with
//! a prefix the [`PrefixLocation`], the data, and a CRC-32 of everything before it. `docs/store.md` has the same byte
//! by byte.

use redb::ReadableTable;

use super::{
    error::StoreErrorKind,
    tables::{RowKey, first_seq_of, row_key},
};
use crate::model::{RunId, Stream};

/// Format of the rows that this build writes.
pub(super) const ROW_FORMAT: u8 = 1;
/// Length of what every row begins with: format, codec, flags, part number, raw length.
pub(super) const ROW_HEADER_BYTES: usize = 12;
/// Length of what every row ends with: the CRC-32 of everything before it.
pub(super) const CHECKSUM_BYTES: usize = 4;
/// Longest row. redb adds up to about a hundred bytes of its own before it rounds up to 64 KiB.
pub(super) const MAX_ROW_BYTES: usize = 65_400;
/// Longest raw part of a row, and target of a block: what a reader of one entry has to decode.
pub(super) const MAX_RAW_BYTES: usize = 512 << 10;
/// Longest prefix that is taken from a base.
pub(super) const MAX_PREFIX_BYTES: usize = 256 << 10;
/// Longest raw part of a row that has a prefix: whoever reads an entry decodes about as much of the prefix as well.
pub(super) const MAX_PREFIXED_RAW_BYTES: usize = 192 << 10;

/// Codec of data that is stored as it is.
pub(super) const PLAIN: u8 = 0;
/// Codec of data that is one zstd frame.
pub(super) const ZSTD: u8 = 1;

/// Flag of a row: its zstd frame was made with a prefix, whose [`PrefixLocation`] follows the head.
pub(super) const HAS_PREFIX: u16 = 1;
/// Flag of a block's first row: texts were taken out of the block, and its body ends with the references to them.
pub(super) const HAS_REFERENCES: u16 = 2;

/// What stands before the body of a block, in its first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Raw bytes of stdout before this block.
    pub(crate) stdout_offset: u64,
    /// Raw bytes of stderr before this block.
    pub(crate) stderr_offset: u64,
    /// Raw bytes of stdout in this block.
    pub(crate) stdout_bytes: u64,
    /// Raw bytes of stderr in this block.
    pub(crate) stderr_bytes: u64,
    /// Length of the body.
    pub(crate) body_bytes: u64,
    /// Length of the body's first part, the payloads.
    pub(crate) payload_bytes: u64,
}

impl BlockHead {
    pub(super) const BYTES: usize = 64;

    fn fields(&mut self) -> [&mut u64; 8] {
        let Self { first_seq, last_seq, stdout_offset, stderr_offset, stdout_bytes, stderr_bytes, body_bytes, payload_bytes } = self;
        [first_seq, last_seq, stdout_offset, stderr_offset, stdout_bytes, stderr_bytes, body_bytes, payload_bytes]
    }

    /// Appends the eight fields as little-endian numbers, in their order.
    pub(super) fn write(mut self, out: &mut Vec<u8>) {
        for field in self.fields() {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut head = Self::default();
        for (field, bytes) in head.fields().into_iter().zip(bytes.get(..Self::BYTES)?.chunks_exact(8)) {
            *field = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(head)
    }
}

/// Where the bytes of a prefix are: `length` bytes from `start` on in the bodies of `run`, beginning with the block of
/// entry `first_seq`. `checksum` is the CRC-32 of these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PrefixLocation {
    pub(crate) run: RunId,
    pub(crate) first_seq: u64,
    pub(crate) start: u32,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

impl PrefixLocation {
    pub(super) const BYTES: usize = 36;

    pub(super) fn write(&self, row: &mut Vec<u8>) {
        row.extend_from_slice(self.run.as_bytes());
        row.extend_from_slice(&self.first_seq.to_le_bytes());
        row.extend_from_slice(&self.start.to_le_bytes());
        row.extend_from_slice(&self.length.to_le_bytes());
        row.extend_from_slice(&self.checksum.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            run: RunId::from_bytes(bytes.get(..16)?.try_into().ok()?),
            first_seq: u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?),
            start: number(24)?,
            length: number(28).filter(|length| *length as usize <= MAX_PREFIX_BYTES)?,
            checksum: number(32)?,
        })
    }
}

/// A row's header, read; `rest` is what follows it, without the checksum if the caller has taken that off.
pub(super) struct RowHeader<'a> {
    pub(crate) codec: u8,
    pub(crate) flags: u16,
    pub(crate) raw_bytes: usize,
    pub(crate) rest: &'a [u8],
}

impl<'a> RowHeader<'a> {
    /// Reads the header of a row that must be part `part`.
    pub(super) fn read(row: &'a [u8], part: u32) -> Result<Self, StoreErrorKind> {
        let (header, rest) = row.split_at_checked(ROW_HEADER_BYTES).ok_or_else(|| StoreErrorKind::damaged("a row is too short"))?;
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let flags = u16::from_le_bytes([header[2], header[3]]);
        if header[0] != ROW_FORMAT || flags & !(HAS_PREFIX | HAS_REFERENCES) != 0 {
            return Err(StoreErrorKind::NewerRow);
        }
        if number(4) != part {
            return Err(StoreErrorKind::damaged("a row is stored under the key of another row"));
        }
        Ok(Self { codec: header[1], flags, raw_bytes: number(8) as usize, rest })
    }
}

/// The head of a block, from its first row.
fn head_of(row: &[u8]) -> Result<BlockHead, StoreErrorKind> {
    BlockHead::read(RowHeader::read(row, 0)?.rest).ok_or_else(|| StoreErrorKind::damaged("a row is too short for its head"))
}

/// The head of the last block that begins at or before entry `seq`.
pub(super) fn head_at(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    id: RunId,
    seq: u64,
) -> Result<Option<BlockHead>, StoreErrorKind> {
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
        return Err(StoreErrorKind::damaged("a row is stored under the key of another row"));
    }
    Ok(Some(head))
}

/// The head of the block that holds byte `offset` of a stream, or of both counted together, among the blocks up to
/// entry `last_seq`.
pub(super) fn head_at_offset(
    rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
    id: RunId,
    last_seq: u64,
    stream: Option<Stream>,
    offset: u64,
) -> Result<Option<BlockHead>, StoreErrorKind> {
    // We look for the last block that begins at or before the offset. A block without a byte of the stream begins where
    // the next one does, so the last of several that begin at the same offset is the one with the byte.
    let mut candidate = None;
    let (mut low, mut high) = (1, last_seq);
    while low <= high {
        let Some(head) = head_at(rows, id, low + (high - low) / 2)? else { break };
        if begin_and_end(&head, stream).0 <= offset {
            low = head.last_seq + 1;
            candidate = Some(head);
        } else {
            high = head.first_seq - 1;
        }
    }
    Ok(candidate.filter(|head| offset < begin_and_end(head, stream).1))
}

fn begin_and_end(head: &BlockHead, stream: Option<Stream>) -> (u64, u64) {
    let (begin, bytes) = match stream {
        Some(Stream::Stdout) => (head.stdout_offset, head.stdout_bytes),
        Some(Stream::Stderr) => (head.stderr_offset, head.stderr_bytes),
        None => (head.stdout_offset + head.stderr_offset, head.stdout_bytes + head.stderr_bytes),
    };
    (begin, begin + bytes)
}

/// The error for rows that other rows or the run's record say must be there.
pub(super) fn missing(id: RunId, seq: u64) -> StoreErrorKind {
    StoreErrorKind::damaged(format!("rows of run {id} at entry {seq} are missing"))
}

/// Appends a number in LEB128: seven bits a byte, the lowest first, the top bit set on all bytes but the last.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number in LEB128 off the front of `bytes`; `None` if it is cut or longer than ten bytes.
pub(super) fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = &bytes[..];
            assert_eq!((read_number(&mut rest), rest.len()), (Some(number), 0));
        }
        assert_eq!(read_number(&mut &[0x80, 0x80][..]), None);
    }
}
