//! One stream of a run, put together from its entries and searched line by line.
//!
//! Memory is bounded by a window. If a line is longer than the window, or if that much of the other stream comes before
//! its end, we search what there is of the line so far and keep a little of its end for what follows.

use std::collections::VecDeque;

use super::{
    cursor::{Position, StreamStart},
    matcher::{LineStart, Matcher},
    pattern::Pattern,
};
use crate::model::{RunId, Stream, calls::SearchHit};

/// Longest line of a hit, in bytes.
const MAX_HIT_LINE_BYTES: usize = 4 << 10;
/// How much of a shortened line may precede the match, in bytes, unless what follows the match is shorter than the
/// rest.
const MAX_BYTES_BEFORE_MATCH: usize = 1 << 10;

/// How much of a line is in memory at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowBounds {
    /// A line that is longer than this is searched in pieces.
    pub(crate) window: usize,
    /// So many bytes at the end of a piece are searched again as the beginning of the next one.
    pub(crate) overlap: usize,
}

impl WindowBounds {
    pub(crate) const DEFAULT: Self = Self { window: 4 << 20, overlap: 64 << 10 };
}

/// What [`StreamBuffer::search`] needs besides the buffer.
pub(crate) struct ScanContext<'a> {
    pub(crate) run: RunId,
    pub(crate) pattern: &'a Pattern,
    pub(crate) matcher: &'a mut Matcher,
    pub(crate) bounds: WindowBounds,
    /// Hits before this position have been reported.
    pub(crate) from: Position,
    /// No more hits than this are needed.
    pub(crate) limit: usize,
    pub(crate) hits: &'a mut Vec<LocatedHit>,
}

/// A hit and its position.
pub(crate) struct LocatedHit {
    pub(crate) position: Position,
    pub(crate) hit: SearchHit,
    /// Its line has no other hit.
    pub(crate) is_only: bool,
}

/// The part of a stream that is not searched yet.
#[derive(Debug)]
pub(crate) struct StreamBuffer {
    stream: Stream,
    begin: LineStart,
    /// Where `text` begins in the stream.
    offset: u64,
    text: Vec<u8>,
    /// How many bytes of `text` are known to have no line feed.
    feedless: usize,
    /// Of each entry in `text`: where it begins in the stream, its number, and how many bytes of output had been read
    /// before it.
    entries: VecDeque<(u64, u64, u64)>,
}

impl StreamBuffer {
    pub(crate) fn new(stream: Stream, start: StreamStart) -> Self {
        Self { stream, begin: start.begin, offset: start.offset, text: Vec::new(), feedless: 0, entries: VecDeque::new() }
    }

    pub(crate) fn start(&self) -> StreamStart {
        StreamStart { begin: self.begin, offset: self.offset }
    }

    /// The entry in which `text` begins; `None` if it is empty.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        if self.text.is_empty() { None } else { self.entries.front().map(|(_, seq, _)| *seq) }
    }

    /// The position of the first byte that is not searched yet.
    pub(crate) fn pending(&self) -> Option<Position> {
        let context = usize::from(self.begin == LineStart::Within);
        if self.text.len() <= context {
            return None;
        }
        let offset = self.offset + context as u64;
        Some(Position { seq: self.seq_of(offset), offset })
    }

    /// Appends the output of an entry. `read`: how many bytes of output had been read before it.
    pub(crate) fn push(&mut self, seq: u64, offset: u64, raw: &[u8], read: u64) {
        let end = self.offset + self.text.len() as u64;
        // A search that goes on at a cursor reads entries again of which a part is searched.
        let known = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(new) = raw.get(known..).filter(|new| !new.is_empty()) else { return };
        if self.text.is_empty() {
            self.entries.clear();
        }
        if offset > end && self.text.is_empty() {
            self.offset = offset;
        }
        if self.begin == LineStart::AlreadyReported {
            let Some(feed) = memchr::memchr(b'\n', new) else {
                self.offset += new.len() as u64;
                return;
            };
            self.offset += feed as u64 + 1;
            self.begin = LineStart::Line;
            self.entries.push_back((self.offset, seq, read));
            self.text.extend_from_slice(&new[feed + 1..]);
            return;
        }
        self.entries.push_back((offset.max(end), seq, read));
        self.text.extend_from_slice(new);
    }

    /// Searches the whole lines in the buffer, and the last one if it must not wait for its end. `read`: how many bytes
    /// of output have been read by now. `ended`: no output follows, so the last line is whole even without a line feed.
    pub(crate) fn search(&mut self, scan: &mut ScanContext<'_>, read: u64, ended: bool) {
        let feed = memchr::memrchr(b'\n', &self.text[self.feedless..]).map(|feed| self.feedless + feed + 1);
        self.feedless = self.text.len();
        if let Some(whole) = feed {
            self.search_prefix(scan, whole, None);
        }
        let bounds = scan.bounds;
        let context = usize::from(self.begin == LineStart::Within);
        if self.text.len() <= context || self.begin == LineStart::AlreadyReported {
            return;
        }
        let length = self.text.len();
        // How much of the other stream was read since the entry in which this line begins.
        let between = self.entries.front().map_or(0, |(begin, _, before)| {
            let own = self.offset + length as u64 - begin;
            read.saturating_sub(before + own)
        });
        let is_apart = between > bounds.window as u64;
        if ended {
            self.search_prefix(scan, length, None);
        } else if length > bounds.window {
            self.search_prefix(scan, length, Some(length - bounds.overlap));
        } else if is_apart {
            self.search_prefix(scan, length, Some(length));
        }
    }

    /// Searches the first `end` bytes and removes them, or those before `cut`.
    fn search_prefix(&mut self, scan: &mut ScanContext<'_>, end: usize, cut: Option<usize>) {
        let Self { stream, offset, text, entries, .. } = self;
        let (from, run_id, hits) = (scan.from, scan.run, &mut *scan.hits);
        let (begin, until) = scan.matcher.find_matches(scan.pattern, &text[..end], self.begin, cut, scan.limit, |matched| {
            let offset = *offset + matched.at as u64;
            let position = Position { seq: seq_at(entries, offset), offset };
            let counts = position >= from;
            if counts {
                let line = displayed_line(matched.line, matched.start);
                let hit = SearchHit { run_id, seq: position.seq, stream: *stream, offset, line };
                hits.push(LocatedHit { position, hit, is_only: matched.is_only });
            }
            counts
        });
        // One byte of what was searched stays, because a pattern may depend on the byte before a match.
        let keep = usize::from(begin == LineStart::Within);
        let gone = if begin == LineStart::AlreadyReported { self.text.len() } else { until - keep.min(until) };
        self.text.drain(..gone);
        self.text.shrink_to(2 << 20);
        (self.begin, self.offset, self.feedless) = (begin, self.offset + gone as u64, self.text.len());
        while self.entries.get(1).is_some_and(|(next, _, _)| *next <= self.offset) {
            self.entries.pop_front();
        }
    }

    fn seq_of(&self, offset: u64) -> u64 {
        seq_at(&self.entries, offset)
    }
}

/// The entry that holds byte `offset` of the stream.
fn seq_at(entries: &VecDeque<(u64, u64, u64)>, offset: u64) -> u64 {
    let after = entries.partition_point(|(begin, _, _)| *begin <= offset);
    entries.get(after.saturating_sub(1)).map_or(0, |(_, seq, _)| *seq)
}

/// A line as a hit has it: only the part between the carriage returns around the match, shortened around the match, as
/// UTF-8.
fn displayed_line(line: &[u8], start: usize) -> String {
    let start = start.min(line.len());
    let line_begin = memchr::memrchr(b'\r', &line[..start]).map_or(0, |at| at + 1);
    let line_end = memchr::memchr(b'\r', &line[start..]).map_or(line.len(), |at| start + at);
    let before = &line[line_begin..start];
    let after = &line[start..line_end];
    // We cut the bytes before and after the match to more than is needed, and cut again when their length as UTF-8 is
    // known.
    let before = &before[before.len() - before.len().min(MAX_HIT_LINE_BYTES)..];
    let before = String::from_utf8_lossy(&before[before.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count()..]);
    let after = String::from_utf8_lossy(&after[..after.len().min(MAX_HIT_LINE_BYTES + 4)]);
    if before.len() + after.len() <= MAX_HIT_LINE_BYTES && line_begin + before.len() <= start {
        return format!("{before}{after}");
    }
    let before_len = before.len().min(MAX_BYTES_BEFORE_MATCH.max(MAX_HIT_LINE_BYTES.saturating_sub(after.len())));
    let before_begin = before.ceil_char_boundary(before.len() - before_len);
    let after_end = after.floor_char_boundary(after.len().min(MAX_HIT_LINE_BYTES - (before.len() - before_begin)));
    format!("{}{}", &before[before_begin..], &after[..after_end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shortened_around_its_match() {
        assert_eq!(displayed_line(b"short line", 3), "short line");
        assert_eq!(displayed_line(b"10%\r20% x\r30%\r", 6), "20% x");
        assert_eq!(displayed_line(b"\xff\xfe x", 3), "\u{fffd}\u{fffd} x");
        let long = "é".repeat(10_000);
        for start in [0, 2, 1000, 10_000, 19_990, 20_000] {
            let line = displayed_line(long.as_bytes(), start);
            assert!(
                line.len() <= MAX_HIT_LINE_BYTES && line.len() > MAX_HIT_LINE_BYTES - 8 && line.chars().all(|c| c == 'é'),
                "{start}: {}",
                line.len()
            );
        }
        let line = displayed_line(format!("{}needle{}", "a".repeat(9000), "b".repeat(9000)).as_bytes(), 9000);
        assert!(line.contains("needle") && line.len() == MAX_HIT_LINE_BYTES);
        assert!(displayed_line(&[0xff; 9000], 4000).len() <= MAX_HIT_LINE_BYTES);
    }
}
