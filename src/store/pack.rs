//! Bodies of blocks into rows and back: how much goes into a row, and whether compressing it is worth the time.
//!
//! redb gives a row the next power of two, so a row stops short of 64 KiB and tries to come near. zstd needs large inputs to
//! be good, so the raw size of a row follows what the last one shrank to. What does not shrink is kept plain, and zstd is
//! not asked again for a while.

use zstd::bulk;

use super::{block::BlockHead, trouble::Trouble};

/// Longest row. redb adds up to about a hundred bytes of its own before it rounds up to 64 KiB.
pub(super) const ROW_MAX: usize = 65_400;
/// Longest raw part of a row, and aim of a block: what a reader of one entry has to decode.
const RAW_MAX: usize = 512 << 10;
/// Form of the rows that this build writes.
const ROW_FORMAT: u8 = 1;
/// Before every row's data: form, codec, flags (none yet), part number, raw length.
const PREFIX_BYTES: usize = 12;
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
}

impl Packer {
    /// `hurried`: time matters more than room. `ratio`: how data of this kind shrank before.
    pub(super) fn new(hurried: bool, ratio: Option<f64>) -> Self {
        let level = if hurried { QUICK } else { THOROUGH };
        // Build logs shrink to a sixth or less; a first guess below that costs less than one above it.
        Self { level, zstd: None, compressed: Vec::new(), row: Vec::new(), ratio: ratio.unwrap_or(5.0), skip: 0, skipped: 0 }
    }

    /// How long a body should be to fill a row.
    pub(super) fn body_aim(&self) -> usize {
        self.aim(ROW_MAX - PREFIX_BYTES - SUFFIX_BYTES - BlockHead::BYTES)
    }

    fn aim(&self, room: usize) -> usize {
        ((room as f64 * AIM * self.ratio) as usize).clamp(room, RAW_MAX)
    }

    /// Makes rows of one body and hands over each with its part number.
    pub(super) fn pack(
        &mut self,
        head: &BlockHead,
        body: &[u8],
        mut take: impl FnMut(u32, &[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut rest = body;
        for part in 0.. {
            let head = (part == 0).then_some(head);
            let room = ROW_MAX - PREFIX_BYTES - SUFFIX_BYTES - if part == 0 { BlockHead::BYTES } else { 0 };
            let (raw, codec) = self.compress(rest, room)?;
            self.row.clear();
            self.row.extend_from_slice(&[ROW_FORMAT, codec, 0, 0]);
            self.row.extend_from_slice(&u32::to_le_bytes(part));
            self.row.extend_from_slice(&(raw as u32).to_le_bytes());
            if let Some(head) = head {
                head.write(&mut self.row);
            }
            self.row.extend_from_slice(if codec == ZSTD { &self.compressed } else { &rest[..raw] });
            let checksum = crc32fast::hash(&self.row);
            self.row.extend_from_slice(&checksum.to_le_bytes());
            take(part, &self.row)?;
            rest = &rest[raw..];
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// How much of `rest` fits into `room`, and in which codec; compressed data is then in `self.compressed`.
    fn compress(&mut self, rest: &[u8], room: usize) -> Result<(usize, u8), Trouble> {
        let plain = rest.len().min(room);
        if self.skip > 0 {
            self.skip -= 1;
            return Ok((plain, PLAIN));
        }
        let aim = self.aim(room);
        // A crumb left over would cost a row of its own.
        let mut raw = if rest.len() as f64 * AIM <= aim as f64 { rest.len().min(RAW_MAX) } else { aim };
        loop {
            let shrunk = self.zstd(&rest[..raw])?;
            let ratio = raw as f64 / shrunk.max(1) as f64;
            self.ratio = if ratio < self.ratio { ratio } else { (self.ratio + ratio) / 2.0 };
            if shrunk as f64 > raw as f64 * WORTHWHILE {
                if raw >= 1 << 10 {
                    self.skipped = (self.skipped * 2).clamp(1, PATIENCE);
                    self.skip = self.skipped;
                }
                return Ok((plain, PLAIN));
            }
            self.skipped = 0;
            if shrunk <= room {
                return Ok((raw, ZSTD));
            }
            raw = (raw as f64 * room as f64 / shrunk as f64 * AIM) as usize;
        }
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
}

/// The head of a block, from its first row.
pub(super) fn head_of(row: &[u8]) -> Result<BlockHead, Trouble> {
    let (_, _, rest) = prefix_of(row, 0)?;
    BlockHead::read(rest).ok_or_else(|| Trouble::damaged("a row is too short for its head"))
}

/// Puts a block's body together again, row by row.
pub(super) struct Unpacker {
    zstd: bulk::Decompressor<'static>,
    body: Vec<u8>,
    body_bytes: u64,
}

impl Unpacker {
    pub(super) fn new(head: &BlockHead) -> Result<Self, Trouble> {
        let zstd = bulk::Decompressor::new().map_err(|error| Trouble::Io("decompress", error))?;
        Ok(Self { zstd, body: Vec::with_capacity((head.body_bytes as usize).min(RAW_MAX)), body_bytes: head.body_bytes })
    }

    /// Takes the row of the next part.
    pub(super) fn push(&mut self, part: u32, row: &[u8]) -> Result<(), Trouble> {
        let (row, checksum) = row.split_last_chunk::<SUFFIX_BYTES>().ok_or_else(|| Trouble::damaged("a row is too short"))?;
        if crc32fast::hash(row) != u32::from_le_bytes(*checksum) {
            return Err(Trouble::damaged("a row is not what was written"));
        }
        let (codec, raw, rest) = prefix_of(row, part)?;
        let data = if part == 0 { rest.get(BlockHead::BYTES..).unwrap_or_default() } else { rest };
        match codec {
            PLAIN if data.len() == raw => self.body.extend_from_slice(data),
            ZSTD if raw <= RAW_MAX => {
                let before = self.body.len();
                self.body.resize(before + raw, 0);
                match self.zstd.decompress_to_buffer(data, &mut self.body[before..]) {
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

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// Codec, raw length and what follows.
fn prefix_of(row: &[u8], part: u32) -> Result<(u8, usize, &[u8]), Trouble> {
    let (prefix, rest) = row.split_at_checked(PREFIX_BYTES).ok_or_else(|| Trouble::damaged("a row is too short"))?;
    let word = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes"));
    if prefix[0] != ROW_FORMAT || prefix[2..4] != [0, 0] {
        return Err(Trouble::NewerRow);
    }
    if word(4) != part {
        return Err(Trouble::damaged("a row stands in the place of another"));
    }
    Ok((prefix[1], word(8) as usize, rest))
}
