//! Rows back into the body of a block or into a text.
//!
//! One buffer for decoded bodies is used again and again: fresh memory for each block would cost more than decoding it
//! does.

use parking_lot::Mutex;
use zstd::{
    bulk,
    zstd_safe::{DCtx, get_error_name},
};

use super::{
    error::StoreErrorKind,
    row::{BlockHead, CHECKSUM_BYTES, HAS_PREFIX, HAS_REFERENCES, MAX_RAW_BYTES, PLAIN, PrefixLocation, RowHeader, ZSTD},
};

/// Capacity up to which a buffer is kept for the next block. A buffer that one huge entry has grown is given back to
/// the system.
const MAX_SPARE_BYTES: usize = 1 << 20;

static SPARE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Puts a body together again, row by row.
pub(super) struct Unpacker {
    zstd: bulk::Decompressor<'static>,
    body: Vec<u8>,
    body_bytes: u64,
    has_head: bool,
    has_references: bool,
}

impl Unpacker {
    /// An unpacker for the body of a block.
    pub(super) fn new(head: &BlockHead) -> Result<Self, StoreErrorKind> {
        Self::with_length(head.body_bytes, true)
    }

    /// An unpacker for a text, which has no head.
    pub(super) fn of_text(length: u64) -> Result<Self, StoreErrorKind> {
        Self::with_length(length, false)
    }

    /// An unpacker for one part of a block's body.
    pub(super) fn of_part(raw_bytes: u64) -> Result<Self, StoreErrorKind> {
        Self::with_length(raw_bytes, true)
    }

    fn with_length(body_bytes: u64, has_head: bool) -> Result<Self, StoreErrorKind> {
        let zstd = bulk::Decompressor::new().map_err(|error| StoreErrorKind::Io("decompress", error))?;
        Ok(Self { zstd, body: take_spare((body_bytes as usize).min(MAX_RAW_BYTES)), body_bytes, has_head, has_references: false })
    }

    /// Takes the row of the next part. `prefix` is called for the bytes that the row builds on, if it builds on any.
    pub(super) fn push(
        &mut self,
        part: u32,
        row: &[u8],
        prefix: impl FnOnce(&PrefixLocation) -> Result<Vec<u8>, StoreErrorKind>,
    ) -> Result<(), StoreErrorKind> {
        let (row, checksum) = row.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| StoreErrorKind::damaged("a row is too short"))?;
        if crc32fast::hash(row) != u32::from_le_bytes(*checksum) {
            return Err(StoreErrorKind::damaged("the checksum of a row is wrong"));
        }
        let RowHeader { codec, flags, raw_bytes, rest } = RowHeader::read(row, part)?;
        let data = if part == 0 && self.has_head { rest.get(BlockHead::BYTES..).unwrap_or_default() } else { rest };
        self.has_references |= flags & HAS_REFERENCES != 0;
        let before = self.body.len();
        let has_prefix = flags & HAS_PREFIX != 0;
        match codec {
            PLAIN if data.len() == raw_bytes && !has_prefix => self.body.extend_from_slice(data),
            ZSTD if raw_bytes <= MAX_RAW_BYTES => {
                self.body.resize(before + raw_bytes, 0);
                let bytes = if has_prefix {
                    let location = PrefixLocation::read(data).ok_or_else(|| StoreErrorKind::damaged("a row does not name its base"))?;
                    decompress_with_prefix(&data[PrefixLocation::BYTES..], &mut self.body[before..], &prefix(&location)?)
                } else {
                    self.zstd.decompress_to_buffer(data, &mut self.body[before..]).map_err(|error| error.to_string())
                };
                match bytes {
                    Ok(bytes) if bytes == raw_bytes => {}
                    Ok(_) => return Err(StoreErrorKind::damaged("a row is shorter than it says")),
                    Err(error) => return Err(StoreErrorKind::damaged(format!("a row does not decompress: {error}"))),
                }
            }
            _ => return Err(StoreErrorKind::damaged("a row has an unknown encoding")),
        }
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.body.len() as u64 >= self.body_bytes
    }

    /// Whether texts were taken out of the block.
    pub(super) fn has_references(&self) -> bool {
        self.has_references
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

fn decompress_with_prefix(data: &[u8], out: &mut [u8], prefix: &[u8]) -> Result<usize, String> {
    let failed = |code| get_error_name(code).to_owned();
    let mut zstd = DCtx::try_create().ok_or("no memory")?;
    zstd.ref_prefix(prefix).map_err(failed)?;
    zstd.decompress(out, data).map_err(failed)
}

/// An empty buffer with this capacity at least; the spare one, if it may have grown so large.
fn take_spare(capacity: usize) -> Vec<u8> {
    let mut buffer = if capacity <= MAX_SPARE_BYTES { std::mem::take(&mut *SPARE.lock()) } else { Vec::new() };
    buffer.clear();
    buffer.reserve(capacity);
    buffer
}

/// Takes a buffer that is not needed any more, to be the spare one if it is larger than that and not too large.
pub(super) fn return_spare(buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_SPARE_BYTES {
        let mut spare = SPARE.lock();
        if spare.capacity() < buffer.capacity() {
            *spare = buffer;
        }
    }
}
