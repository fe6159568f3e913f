//! Bodies of blocks into rows: how much goes into a row, and whether compressing it is worth the time.
//!
//! redb rounds a row up to the next power of two, so a row stays under 64 KiB and tries to come near it. zstd
//! compresses large inputs better, so the raw size of a row follows the ratio of the last one. What does not shrink is
//! stored plain, and zstd is not tried again for a while. Where the store is known to hold the same or similar bytes,
//! these are zstd's prefix for the row, as long as that makes rows smaller.

use zstd::{
    bulk,
    zstd_safe::{CCtx, CParameter, get_error_name},
};

use super::{
    error::StoreErrorKind,
    prefix::FoundPrefix,
    row::{
        BlockHead, CHECKSUM_BYTES, HAS_PREFIX, MAX_PREFIXED_RAW_BYTES, MAX_RAW_BYTES, MAX_ROW_BYTES, PLAIN, PrefixLocation, ROW_FORMAT,
        ROW_HEADER_BYTES, ZSTD,
    },
};

/// Target of a block that does not shrink: stored plain it costs a reader little, and only the last of its many rows is
/// not full.
const PLAIN_BLOCK_BYTES: usize = 1 << 20;
/// zstd's level unless a run floods its log.
const DEFAULT_LEVEL: i32 = 3;
/// zstd's level for a flood that shrinks badly anyway: it takes a third of the time for two thirds of the gain.
const FAST_LEVEL: i32 = -3;
/// Raw bytes to one stored byte that are expected of a run of which nothing is known. Build logs reach six or more; a
/// first guess below that costs less than one above it.
const DEFAULT_RATIO: f64 = 5.0;
/// The part of a row's capacity that a guess aims to fill, so that most guesses fit.
const FILL_FRACTION: f64 = 0.93;
/// Data that compression leaves larger than this part of itself is stored plain.
const MAX_COMPRESSED_FRACTION: f64 = 0.97;
/// Data shorter than this says nothing about whether the data that follows will shrink.
const MIN_JUDGED_PART_BYTES: usize = 1 << 10;
/// The most parts in a row that are stored plain before zstd is tried again.
const MAX_SKIPPED_PARTS: u32 = 8;
/// A row that shrinks by this factor with a prefix is not compressed without one for comparison.
const GOOD_PREFIX_RATIO: f64 = 16.0;
/// With a prefix, a row must be smaller than this part of what it is without one.
const MAX_PREFIXED_FRACTION: f64 = 0.95;
/// After this many prefixes in succession that made no row smaller, only those that hold the same bytes are tried.
const MAX_LOSSES: u32 = 2;
/// So many bytes are worth a row of their own, if they are new or the same as stored ones and their neighbors are not.
const MIN_CUT_BYTES: usize = 8 << 10;
/// zstd's window as a power of two: the longest prefix and the longest raw part fit in.
const WINDOW_LOG: u32 = 20;

/// A row, ready to be stored.
pub(super) struct Row<'a> {
    pub(crate) part: u32,
    pub(crate) bytes: &'a [u8],
    pub(crate) raw_bytes: usize,
    /// What the row builds on.
    pub(crate) found: Option<&'a FoundPrefix>,
}

/// Where rows go, and what they may build on.
pub(super) trait RowSink {
    /// The prefix for the bytes of a body from `at` on. `weak`: one that may only be similar will do.
    fn find(&mut self, body: &[u8], at: usize, weak: bool) -> Result<Option<FoundPrefix>, StoreErrorKind>;

    /// Where a row without a prefix that begins at `at` should end at the latest, because the store has what follows.
    fn end_of_new(&self, body: &[u8], at: usize) -> usize;

    fn emit(&mut self, row: Row<'_>) -> Result<(), StoreErrorKind>;
}

/// Makes rows of bodies. A new one is made for each sealing, because its zstd context takes about a megabyte.
pub(super) struct Packer {
    level: i32,
    zstd: Option<bulk::Compressor<'static>>,
    compressed: Vec<u8>,
    row: Vec<u8>,
    /// Raw bytes to one stored byte, lately.
    ratio: f64,
    /// Parts that will be stored plain without trying zstd.
    parts_to_skip: u32,
    /// What `parts_to_skip` was set to the last time; 0 while data shrinks.
    last_skip: u32,
    /// Prefixes in succession that made no row smaller.
    losses: u32,
    has_base: bool,
    /// The last row has a prefix.
    is_building: bool,
}

impl Packer {
    /// `is_flood`: time matters more than size. `ratio`: how the data of this run shrank before. `has_base`: prefixes
    /// will be given.
    pub(super) fn new(is_flood: bool, ratio: Option<f64>, has_base: bool) -> Self {
        let level = if is_flood { FAST_LEVEL } else { DEFAULT_LEVEL };
        let ratio = ratio.unwrap_or(DEFAULT_RATIO);
        Self {
            level,
            zstd: None,
            compressed: Vec::new(),
            row: Vec::new(),
            ratio,
            parts_to_skip: 0,
            last_skip: 0,
            losses: 0,
            has_base,
            is_building: false,
        }
    }

    /// Whether a prefix that may only be similar would be used for the next row.
    fn wants_weak_prefix(&self) -> bool {
        self.losses < MAX_LOSSES && self.parts_to_skip == 0
    }

    /// How long a body should be to fill a row.
    pub(super) fn target_body_bytes(&self) -> usize {
        let capacity = MAX_ROW_BYTES - ROW_HEADER_BYTES - CHECKSUM_BYTES - BlockHead::BYTES;
        if self.last_skip > 0 {
            return PLAIN_BLOCK_BYTES;
        }
        let target = self.target_raw_bytes(capacity);
        let may_build = self.is_building || (self.has_base && self.wants_weak_prefix());
        if may_build { target.min(MAX_PREFIXED_RAW_BYTES) } else { target }
    }

    fn target_raw_bytes(&self, capacity: usize) -> usize {
        ((capacity as f64 * FILL_FRACTION * self.ratio) as usize).clamp(capacity, MAX_RAW_BYTES)
    }

    /// Makes rows of one body, or of a text if there is no head, and gives each to `sink`.
    pub(super) fn pack(
        &mut self,
        head: Option<&BlockHead>,
        flags: u16,
        body: &[u8],
        sink: &mut impl RowSink,
    ) -> Result<(), StoreErrorKind> {
        let mut at = 0;
        for part in 0.. {
            let (head, flags) = if part == 0 { (head, flags) } else { (None, 0) };
            let capacity = MAX_ROW_BYTES - ROW_HEADER_BYTES - CHECKSUM_BYTES - if head.is_some() { BlockHead::BYTES } else { 0 };
            let (packed, found) = self.pack_part(body, at, capacity, sink)?;
            self.is_building = found.is_some();
            let flags = flags | if found.is_some() { HAS_PREFIX } else { 0 };
            self.row.clear();
            self.row.extend_from_slice(&[ROW_FORMAT, packed.codec]);
            self.row.extend_from_slice(&flags.to_le_bytes());
            self.row.extend_from_slice(&u32::to_le_bytes(part));
            self.row.extend_from_slice(&(packed.raw_bytes as u32).to_le_bytes());
            if let Some(head) = head {
                head.write(&mut self.row);
            }
            if let Some(found) = &found {
                found.prefix.location.write(&mut self.row);
            }
            self.row.extend_from_slice(if packed.codec == ZSTD { &self.compressed } else { &body[at..at + packed.raw_bytes] });
            let checksum = crc32fast::hash(&self.row);
            self.row.extend_from_slice(&checksum.to_le_bytes());
            sink.emit(Row { part, bytes: &self.row, raw_bytes: packed.raw_bytes, found: found.as_ref() })?;
            at += packed.raw_bytes;
            if at == body.len() {
                break;
            }
        }
        Ok(())
    }

    /// How much of a body from `at` on goes into a row, and on what the row builds.
    fn pack_part(
        &mut self,
        body: &[u8],
        at: usize,
        capacity: usize,
        sink: &mut impl RowSink,
    ) -> Result<(PackedPart, Option<FoundPrefix>), StoreErrorKind> {
        let mut end = sink.end_of_new(body, at);
        if let Some(found) = sink.find(body, at, self.wants_weak_prefix())? {
            let end_of_prefixed = found.end.min(body.len());
            end = end.min(end_of_prefixed);
            if found.same.0 - at >= MIN_CUT_BYTES {
                // What is new before the same bytes gets rows of its own, so that later rows may build on it.
                end = end.min(found.same.0);
            } else if let Some(packed) =
                self.compress_with_prefix(&body[at..end_of_prefixed], capacity - PrefixLocation::BYTES, &found, at)?
            {
                return Ok((packed, Some(found)));
            }
        }
        Ok((self.compress(&body[at..end], capacity)?, None))
    }

    /// How much of `rest` fits into `capacity`, and in which codec. Leaves compressed data in `self.compressed`.
    fn compress(&mut self, rest: &[u8], capacity: usize) -> Result<PackedPart, StoreErrorKind> {
        let plain = PackedPart { raw_bytes: rest.len().min(capacity), codec: PLAIN };
        if self.parts_to_skip > 0 {
            self.parts_to_skip -= 1;
            return Ok(plain);
        }
        let target = self.target_raw_bytes(capacity);
        // If only a little would be left over, we try to take all of it: the remainder would cost a row of its own.
        let mut raw_bytes = if rest.len() as f64 * FILL_FRACTION <= target as f64 { rest.len().min(MAX_RAW_BYTES) } else { target };
        loop {
            let compressed_bytes = self.zstd(&rest[..raw_bytes])?;
            self.update_ratio(raw_bytes, compressed_bytes);
            if compressed_bytes as f64 > raw_bytes as f64 * MAX_COMPRESSED_FRACTION {
                if raw_bytes >= MIN_JUDGED_PART_BYTES {
                    self.last_skip = (self.last_skip * 2).clamp(1, MAX_SKIPPED_PARTS);
                    self.parts_to_skip = self.last_skip;
                }
                return Ok(plain);
            }
            self.last_skip = 0;
            if compressed_bytes <= capacity {
                return Ok(PackedPart { raw_bytes, codec: ZSTD });
            }
            raw_bytes = (raw_bytes as f64 * capacity as f64 / compressed_bytes as f64 * FILL_FRACTION) as usize;
        }
    }

    /// [`Self::compress`] with the prefix that was found for `rest`, which begins at `at` in its body; `None` if the
    /// prefix is of no use.
    fn compress_with_prefix(
        &mut self,
        rest: &[u8],
        capacity: usize,
        found: &FoundPrefix,
        at: usize,
    ) -> Result<Option<PackedPart>, StoreErrorKind> {
        let mut raw_bytes = rest.len().min(MAX_PREFIXED_RAW_BYTES);
        let same_to = found.same.1 - at;
        let mut compressed_bytes = self.zstd_with_prefix(&rest[..raw_bytes], &found.prefix.bytes)?;
        let is_good = |compressed_bytes: usize, raw_bytes: usize| compressed_bytes as f64 * GOOD_PREFIX_RATIO <= raw_bytes as f64;
        if !is_good(compressed_bytes, raw_bytes) && same_to > 0 && same_to + MIN_CUT_BYTES <= raw_bytes {
            // What is new behind the same bytes gets rows of its own as well.
            raw_bytes = same_to;
            compressed_bytes = self.zstd_with_prefix(&rest[..raw_bytes], &found.prefix.bytes)?;
        }
        if compressed_bytes > capacity {
            self.losses += 1;
            return Ok(None);
        }
        if !is_good(compressed_bytes, raw_bytes) {
            let with_prefix = std::mem::take(&mut self.compressed);
            let bytes_without = self.zstd(&rest[..raw_bytes])?;
            if (compressed_bytes + PrefixLocation::BYTES) as f64 > bytes_without as f64 * MAX_PREFIXED_FRACTION {
                self.losses += 1;
                return Ok(None);
            }
            self.compressed = with_prefix;
        }
        self.losses = 0;
        (self.last_skip, self.parts_to_skip) = (0, 0);
        self.update_ratio(raw_bytes, compressed_bytes);
        Ok(Some(PackedPart { raw_bytes, codec: ZSTD }))
    }

    fn update_ratio(&mut self, raw_bytes: usize, compressed_bytes: usize) {
        let ratio = raw_bytes as f64 / compressed_bytes.max(1) as f64;
        self.ratio = if ratio < self.ratio { ratio } else { (self.ratio + ratio) / 2.0 };
    }

    fn zstd(&mut self, raw: &[u8]) -> Result<usize, StoreErrorKind> {
        let failed = |error| StoreErrorKind::Io("compress", error);
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(bulk::Compressor::new(self.level).map_err(failed)?),
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        zstd.compress_to_buffer(raw, &mut self.compressed).map_err(failed)
    }

    /// Always at the default level: the fast one finds few matches in a prefix.
    fn zstd_with_prefix(&mut self, raw: &[u8], prefix: &[u8]) -> Result<usize, StoreErrorKind> {
        let failed = |code| StoreErrorKind::Io("compress", std::io::Error::other(get_error_name(code)));
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let mut zstd = CCtx::try_create().ok_or_else(|| StoreErrorKind::Io("compress", std::io::ErrorKind::OutOfMemory.into()))?;
        zstd.set_parameter(CParameter::CompressionLevel(DEFAULT_LEVEL)).map_err(failed)?;
        zstd.set_parameter(CParameter::WindowLog(WINDOW_LOG)).map_err(failed)?;
        zstd.ref_prefix(prefix).map_err(failed)?;
        zstd.compress2(&mut self.compressed, raw).map_err(failed)
    }
}

/// How the beginning of a body was packed.
struct PackedPart {
    raw_bytes: usize,
    codec: u8,
}
