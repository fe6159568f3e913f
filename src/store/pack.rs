//! Bodies of blocks into rows and back: how much goes into a row, and whether compressing it is worth the time.
//!
//! redb gives a row the next power of two, so a row stops short of 64 KiB and tries to come near. zstd needs large inputs to
//! be good, so the raw size of a row follows what the last one shrank to. What does not shrink is kept plain, and zstd is
//! not asked again for a while. Where an earlier run of the same command is known, its bytes around the same place go before
//! the row's own as zstd's prefix, as long as that is of use.

use zstd::{
    bulk,
    zstd_safe::{CCtx, CParameter, DCtx, get_error_name},
};

use super::{block_head::BlockHead, spare, trouble::Trouble};
use crate::model::RunId;

/// Longest row. redb adds up to about a hundred bytes of its own before it rounds up to 64 KiB.
pub(super) const ROW_MAX: usize = 65_400;
/// Longest raw part of a row, and aim of a block: what a reader of one entry has to decode.
const RAW_MAX: usize = 512 << 10;
/// The same where the row has a base: whoever reads an entry decodes about as much of the base as well.
const BASED_RAW_MAX: usize = 192 << 10;
/// Aim of a block of what does not shrink: kept plain it costs a reader little, and only the last of its many rows is not full.
const PLAIN_MAX: usize = 1 << 20;
/// Longest prefix that is taken from a base.
pub(super) const BASE_MAX: usize = 256 << 10;
/// Form of the rows that this build writes.
const ROW_FORMAT: u8 = 1;
/// Before every row's data: form, codec, flags, part number, raw length.
const PREFIX_BYTES: usize = 12;
/// Flag of a row: its frame was made with a prefix, and says which behind the head.
const BASED: u16 = 1;
/// Flag of a block's first row: texts were taken out, and the body ends with the references to them.
pub(super) const REFERS: u16 = 2;
/// Names a prefix: run, first entry of a block, start and length in the bodies from there on, CRC-32 of these bytes.
const BASE_BYTES: usize = 36;
/// Behind every row's data: the CRC-32 of everything before it.
const SUFFIX_BYTES: usize = 4;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// zstd's level for what is sealed at leisure,
const THOROUGH: i32 = 3;
/// and for a flood that shrinks badly even so: a third of the time for two thirds of the shrinking.
const QUICK: i32 = -3;
/// A part of the room that is aimed at, so that most guesses fit.
const AIM: f64 = 0.93;
/// Data that shrinks by less than this is kept plain.
const WORTHWHILE: f64 = 0.97;
/// How many parts at most are kept plain before zstd is asked again.
const PATIENCE: u32 = 8;
/// A row that shrinks by this factor with a base is not tried without one.
const BASE_IS_GOOD: f64 = 16.0;
/// A row with a base must be smaller than one without by this factor, and after so many that were not the base is given up.
const BASE_IS_BETTER: f64 = 0.95;
const BASE_PATIENCE: u32 = 2;
/// Of zstd's window, as a power of two: the longest prefix and the longest raw part fit in.
const WINDOW_LOG: u32 = 20;

/// Where the bytes of a prefix stand: `length` bytes from `start` on in the bodies of `run` from the block of entry `first_seq` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BasePlace {
    pub run: RunId,
    pub first_seq: u64,
    pub start: u32,
    pub length: u32,
    pub checksum: u32,
}

/// A prefix and its place.
pub(super) struct Prefix {
    pub place: BasePlace,
    pub bytes: Vec<u8>,
}

/// A row that was made.
pub(super) struct Row<'a> {
    pub part: u32,
    pub bytes: &'a [u8],
    pub raw: usize,
    pub is_based: bool,
}

/// Makes rows of bodies; made anew for each sealing, for its zstd context takes about a megabyte.
pub(super) struct Packer {
    level: i32,
    zstd: Option<bulk::Compressor<'static>>,
    compressed: Vec<u8>,
    row: Vec<u8>,
    /// Raw bytes to one stored byte, lately.
    ratio: f64,
    /// Parts that will be kept plain without asking zstd, and how many it were the last time.
    skip: u32,
    skipped: u32,
    /// Rows that a base did not make smaller.
    base_losses: u32,
    has_base: bool,
}

impl Packer {
    /// `hurried`: time matters more than room. `ratio`: how data of this kind shrank before. `has_base`: prefixes will be given.
    pub(super) fn new(hurried: bool, ratio: Option<f64>, has_base: bool) -> Self {
        let level = if hurried { QUICK } else { THOROUGH };
        // Build logs shrink to a sixth or less; a first guess below that costs less than one above it.
        let ratio = ratio.unwrap_or(5.0);
        Self { level, zstd: None, compressed: Vec::new(), row: Vec::new(), ratio, skip: 0, skipped: 0, base_losses: 0, has_base }
    }

    /// Whether prefixes are of use.
    pub(super) fn wants_base(&self) -> bool {
        self.has_base && self.base_losses < BASE_PATIENCE && self.skip == 0
    }

    /// How long a body should be to fill a row.
    pub(super) fn body_aim(&self) -> usize {
        let room = ROW_MAX - PREFIX_BYTES - SUFFIX_BYTES - BlockHead::BYTES;
        if self.skipped > 0 {
            return PLAIN_MAX;
        }
        let aim = self.aim(room);
        if self.wants_base() { aim.min(BASED_RAW_MAX) } else { aim }
    }

    fn aim(&self, room: usize) -> usize {
        ((room as f64 * AIM * self.ratio) as usize).clamp(room, RAW_MAX)
    }

    /// Makes rows of one body, or of a text where there is no head, and hands over each. A prefix is used for the first row.
    pub(super) fn pack(
        &mut self,
        head: Option<&BlockHead>,
        flags: u16,
        body: &[u8],
        base: Option<&Prefix>,
        mut take: impl FnMut(Row<'_>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut rest = body;
        for part in 0.. {
            let (head, flags, base) = if part == 0 { (head, flags, base) } else { (None, 0, None) };
            let room = ROW_MAX - PREFIX_BYTES - SUFFIX_BYTES - if head.is_some() { BlockHead::BYTES } else { 0 };
            let made = self.compress(rest, room, base)?;
            let base = base.filter(|_| made.is_based);
            let flags = flags | if base.is_some() { BASED } else { 0 };
            self.row.clear();
            self.row.extend_from_slice(&[ROW_FORMAT, made.codec]);
            self.row.extend_from_slice(&flags.to_le_bytes());
            self.row.extend_from_slice(&u32::to_le_bytes(part));
            self.row.extend_from_slice(&(made.raw as u32).to_le_bytes());
            if let Some(head) = head {
                head.write(&mut self.row);
            }
            if let Some(Prefix { place, .. }) = base {
                place.write(&mut self.row);
            }
            self.row.extend_from_slice(if made.codec == ZSTD { &self.compressed } else { &rest[..made.raw] });
            let checksum = crc32fast::hash(&self.row);
            self.row.extend_from_slice(&checksum.to_le_bytes());
            take(Row { part, bytes: &self.row, raw: made.raw, is_based: made.is_based })?;
            rest = &rest[made.raw..];
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// How much of `rest` fits into `room`, and in which codec; compressed data is then in `self.compressed`.
    fn compress(&mut self, rest: &[u8], room: usize, base: Option<&Prefix>) -> Result<Made, Trouble> {
        let plain = Made { raw: rest.len().min(room), codec: PLAIN, is_based: false };
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(plain);
        }
        if let Some(base) = base.filter(|_| self.wants_base())
            && let Some(made) = self.compress_with(rest, room - BASE_BYTES, base)?
        {
            return Ok(made);
        }
        let aim = self.aim(room);
        // A crumb left over would cost a row of its own.
        let mut raw = if rest.len() as f64 * AIM <= aim as f64 { rest.len().min(RAW_MAX) } else { aim };
        loop {
            let shrunk = self.zstd(&rest[..raw])?;
            self.note_ratio(raw, shrunk);
            if shrunk as f64 > raw as f64 * WORTHWHILE {
                if raw >= 1 << 10 {
                    self.skipped = (self.skipped * 2).clamp(1, PATIENCE);
                    self.skip = self.skipped;
                }
                return Ok(plain);
            }
            self.skipped = 0;
            if shrunk <= room {
                return Ok(Made { raw, codec: ZSTD, is_based: false });
            }
            raw = (raw as f64 * room as f64 / shrunk as f64 * AIM) as usize;
        }
    }

    /// The same with a prefix; `None` where it is of no use.
    fn compress_with(&mut self, rest: &[u8], room: usize, base: &Prefix) -> Result<Option<Made>, Trouble> {
        let raw = rest.len().min(BASED_RAW_MAX);
        let shrunk = self.zstd_with(&rest[..raw], &base.bytes)?;
        if shrunk > room {
            self.base_losses += 1;
            return Ok(None);
        }
        if shrunk as f64 * BASE_IS_GOOD > raw as f64 {
            let with_base = std::mem::take(&mut self.compressed);
            let without = self.zstd(&rest[..raw])?;
            if (shrunk + BASE_BYTES) as f64 > without as f64 * BASE_IS_BETTER {
                self.base_losses += 1;
                return Ok(None);
            }
            self.compressed = with_base;
        }
        self.base_losses = 0;
        self.skipped = 0;
        self.note_ratio(raw, shrunk);
        Ok(Some(Made { raw, codec: ZSTD, is_based: true }))
    }

    fn note_ratio(&mut self, raw: usize, shrunk: usize) {
        let ratio = raw as f64 / shrunk.max(1) as f64;
        self.ratio = if ratio < self.ratio { ratio } else { (self.ratio + ratio) / 2.0 };
    }

    fn zstd(&mut self, raw: &[u8]) -> Result<usize, Trouble> {
        let failed = |error| Trouble::Io("compress", error);
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(bulk::Compressor::new(self.level).map_err(failed)?),
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        zstd.compress_to_buffer(raw, &mut self.compressed).map_err(failed)
    }

    fn zstd_with(&mut self, raw: &[u8], prefix: &[u8]) -> Result<usize, Trouble> {
        let failed = |code| Trouble::Io("compress", std::io::Error::other(get_error_name(code)));
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let mut zstd = CCtx::try_create().ok_or_else(|| Trouble::Io("compress", std::io::ErrorKind::OutOfMemory.into()))?;
        zstd.set_parameter(CParameter::CompressionLevel(self.level)).map_err(failed)?;
        zstd.set_parameter(CParameter::WindowLog(WINDOW_LOG)).map_err(failed)?;
        zstd.ref_prefix(prefix).map_err(failed)?;
        zstd.compress2(&mut self.compressed, raw).map_err(failed)
    }
}

/// What became of the beginning of a body.
struct Made {
    raw: usize,
    codec: u8,
    is_based: bool,
}

impl BasePlace {
    fn write(&self, row: &mut Vec<u8>) {
        row.extend_from_slice(self.run.as_bytes());
        row.extend_from_slice(&self.first_seq.to_le_bytes());
        row.extend_from_slice(&self.start.to_le_bytes());
        row.extend_from_slice(&self.length.to_le_bytes());
        row.extend_from_slice(&self.checksum.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            run: RunId::from_bytes(bytes.get(..16)?.try_into().ok()?),
            first_seq: u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?),
            start: word(24)?,
            length: word(28).filter(|length| *length as usize <= BASE_MAX)?,
            checksum: word(32)?,
        })
    }
}

/// The head of a block, from its first row.
pub(super) fn head_of(row: &[u8]) -> Result<BlockHead, Trouble> {
    BlockHead::read(prefix_of(row, 0)?.rest).ok_or_else(|| Trouble::damaged("a row is too short for its head"))
}

/// Puts a body together again, row by row.
pub(super) struct Unpacker {
    zstd: bulk::Decompressor<'static>,
    body: Vec<u8>,
    body_bytes: u64,
    has_head: bool,
    refers: bool,
}

impl Unpacker {
    /// For the body of a block,
    pub(super) fn new(head: &BlockHead) -> Result<Self, Trouble> {
        Self::with(head.body_bytes, true)
    }

    /// and for a text that is kept apart.
    pub(super) fn of_text(length: u64) -> Result<Self, Trouble> {
        Self::with(length, false)
    }

    fn with(body_bytes: u64, has_head: bool) -> Result<Self, Trouble> {
        let zstd = bulk::Decompressor::new().map_err(|error| Trouble::Io("decompress", error))?;
        Ok(Self { zstd, body: spare::take((body_bytes as usize).min(RAW_MAX)), body_bytes, has_head, refers: false })
    }

    /// Takes the row of the next part. `prefix` is asked for the bytes that the row builds on, if it does.
    pub(super) fn push(
        &mut self,
        part: u32,
        row: &[u8],
        prefix: impl FnOnce(&BasePlace) -> Result<Vec<u8>, Trouble>,
    ) -> Result<(), Trouble> {
        let (row, checksum) = row.split_last_chunk::<SUFFIX_BYTES>().ok_or_else(|| Trouble::damaged("a row is too short"))?;
        if crc32fast::hash(row) != u32::from_le_bytes(*checksum) {
            return Err(Trouble::damaged("a row is not what was written"));
        }
        let RowPrefix { codec, flags, raw, rest } = prefix_of(row, part)?;
        let data = if part == 0 && self.has_head { rest.get(BlockHead::BYTES..).unwrap_or_default() } else { rest };
        self.refers |= flags & REFERS != 0;
        let before = self.body.len();
        let is_based = flags & BASED != 0;
        match codec {
            PLAIN if data.len() == raw && !is_based => self.body.extend_from_slice(data),
            ZSTD if raw <= RAW_MAX => {
                self.body.resize(before + raw, 0);
                let bytes = if is_based {
                    let place = BasePlace::read(data).ok_or_else(|| Trouble::damaged("a row does not say what it builds on"))?;
                    decompress_with(&data[BASE_BYTES..], &mut self.body[before..], &prefix(&place)?)
                } else {
                    self.zstd.decompress_to_buffer(data, &mut self.body[before..]).map_err(|error| error.to_string())
                };
                match bytes {
                    Ok(bytes) if bytes == raw => {}
                    Ok(_) => return Err(Trouble::damaged("a row is shorter than it says")),
                    Err(error) => return Err(Trouble::damaged(format!("a row does not decompress: {error}"))),
                }
            }
            _ => return Err(Trouble::damaged("a row does not say how it is kept")),
        }
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.body.len() as u64 >= self.body_bytes
    }

    /// Whether texts were taken out of it.
    pub(super) fn refers(&self) -> bool {
        self.refers
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

fn decompress_with(data: &[u8], out: &mut [u8], prefix: &[u8]) -> Result<usize, String> {
    let failed = |code| get_error_name(code).to_owned();
    let mut zstd = DCtx::try_create().ok_or("no memory")?;
    zstd.ref_prefix(prefix).map_err(failed)?;
    zstd.decompress(out, data).map_err(failed)
}

/// What every row begins with.
struct RowPrefix<'a> {
    codec: u8,
    flags: u16,
    raw: usize,
    rest: &'a [u8],
}

fn prefix_of(row: &[u8], part: u32) -> Result<RowPrefix<'_>, Trouble> {
    let (prefix, rest) = row.split_at_checked(PREFIX_BYTES).ok_or_else(|| Trouble::damaged("a row is too short"))?;
    let word = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes"));
    let flags = u16::from_le_bytes([prefix[2], prefix[3]]);
    if prefix[0] != ROW_FORMAT || flags & !(BASED | REFERS) != 0 {
        return Err(Trouble::NewerRow);
    }
    if word(4) != part {
        return Err(Trouble::damaged("a row stands in the place of another"));
    }
    Ok(RowPrefix { codec: prefix[1], flags, raw: word(8) as usize, rest })
}
