//! One stream of a run, put together from its entries and cut into lines.
//!
//! Memory is bounded: of a line that goes on for longer than the window, or for longer than it in the log because the other stream
//! comes between, what there is so far is searched, and a little of its end is kept for what follows.

use std::collections::VecDeque;

use super::{
    look::{Begin, Looker},
    pattern::Pattern,
    place::{Bounds, Found, Key, Start},
};
use crate::model::{RunId, Stream, calls::SearchHit};

/// Most bytes of a hit's line.
const LINE_MAX: usize = 4 << 10;
/// How much of them may stand before the match.
const BEFORE_MAX: usize = 1 << 10;

/// What of a stream is not searched yet, and where it stands.
#[derive(Debug)]
pub struct Strand {
    stream: Stream,
    begin: Begin,
    /// Where `text` begins in the stream.
    offset: u64,
    text: Vec<u8>,
    /// So much of `text` has no line feed.
    seen: usize,
    /// Of each entry in `text`: where it begins in the stream, its number, and how much of the log had been read before.
    places: VecDeque<(u64, u64, u64)>,
}

impl Strand {
    pub fn new(stream: Stream, start: Start) -> Self {
        Self { stream, begin: start.begin, offset: start.offset, text: Vec::new(), seen: 0, places: VecDeque::new() }
    }

    pub fn start(&self) -> Start {
        Start { begin: self.begin, offset: self.offset }
    }

    /// Entry in which what is held begins; `None` where nothing is.
    pub fn first_seq(&self) -> Option<u64> {
        if self.text.is_empty() { None } else { self.places.front().map(|(_, seq, _)| *seq) }
    }

    /// The first byte of what is not searched yet.
    pub fn pending(&self) -> Option<Key> {
        let context = usize::from(self.begin == Begin::Within);
        if self.text.len() <= context {
            return None;
        }
        let offset = self.offset + context as u64;
        Some(Key { seq: self.seq_of(offset), offset })
    }

    /// Takes what an entry holds. `read`: how much of the log came before.
    pub fn push(&mut self, seq: u64, offset: u64, raw: &[u8], read: u64) {
        let end = self.offset + self.text.len() as u64;
        // A search that goes on meets again what it had done.
        let known = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(new) = raw.get(known..).filter(|new| !new.is_empty()) else { return };
        if self.text.is_empty() {
            self.places.clear();
        }
        if offset > end && self.text.is_empty() {
            self.offset = offset;
        }
        if self.begin == Begin::Told {
            let Some(feed) = memchr::memchr(b'\n', new) else {
                self.offset += new.len() as u64;
                return;
            };
            self.offset += feed as u64 + 1;
            self.begin = Begin::Line;
            self.places.push_back((self.offset, seq, read));
            self.text.extend_from_slice(&new[feed + 1..]);
            return;
        }
        self.places.push_back((offset.max(end), seq, read));
        self.text.extend_from_slice(new);
    }

    /// Searches what has been put together; `read`: so much of the log was read by now. `ended`: nothing follows, and a line without an
    /// end is one.
    pub fn search(&mut self, work: &mut Work<'_>, read: u64, ended: bool) {
        let feed = memchr::memrchr(b'\n', &self.text[self.seen..]).map(|feed| self.seen + feed + 1);
        self.seen = self.text.len();
        if let Some(whole) = feed {
            self.look(work, whole, None);
        }
        let bounds = work.bounds;
        let context = usize::from(self.begin == Begin::Within);
        if self.text.len() <= context || self.begin == Begin::Told {
            return;
        }
        let length = self.text.len();
        // So much of the other stream came since the entry in which this begins.
        let between = self.places.front().map_or(0, |(begin, _, before)| {
            let own = self.offset + length as u64 - begin;
            read.saturating_sub(before + own)
        });
        let is_apart = between > bounds.window as u64;
        if ended {
            self.look(work, length, None);
        } else if length > bounds.window {
            self.look(work, length, Some(length - bounds.overlap));
        } else if is_apart {
            self.look(work, length, Some(length));
        }
    }

    /// Searches the first `end` bytes and lets go of them, or of those before the cut.
    fn look(&mut self, work: &mut Work<'_>, end: usize, cut: Option<usize>) {
        let Self { stream, offset, text, places, .. } = self;
        let (from, run_id, hits) = (work.from, work.run, &mut *work.hits);
        let (begin, until) = work.looker.look(work.pattern, &text[..end], self.begin, cut, work.most, |sight| {
            let offset = *offset + sight.at as u64;
            let key = Key { seq: seq_in(places, offset), offset };
            let counts = key >= from;
            if counts {
                let line = shown(sight.line, sight.start);
                let hit = SearchHit { run_id, seq: key.seq, stream: *stream, offset, line };
                hits.push(Found { key, hit, is_only: sight.is_only });
            }
            counts
        });
        // One byte of what was searched stays, so that it can be told what the next stands behind.
        let keep = usize::from(begin == Begin::Within);
        let gone = if begin == Begin::Told { self.text.len() } else { until - keep.min(until) };
        self.text.drain(..gone);
        self.text.shrink_to(2 << 20);
        (self.begin, self.offset, self.seen) = (begin, self.offset + gone as u64, self.text.len());
        while self.places.get(1).is_some_and(|(next, _, _)| *next <= self.offset) {
            self.places.pop_front();
        }
    }

    fn seq_of(&self, offset: u64) -> u64 {
        seq_in(&self.places, offset)
    }
}

/// What a search through a strand needs besides.
pub struct Work<'a> {
    pub run: RunId,
    pub pattern: &'a Pattern,
    pub looker: &'a mut Looker,
    pub bounds: Bounds,
    /// Hits before this have been told.
    pub from: Key,
    /// So many hits are enough.
    pub most: usize,
    pub hits: &'a mut Vec<Found>,
}

/// The entry with a byte of the stream.
fn seq_in(places: &VecDeque<(u64, u64, u64)>, offset: u64) -> u64 {
    let after = places.partition_point(|(begin, _, _)| *begin <= offset);
    places.get(after.saturating_sub(1)).map_or(0, |(_, seq, _)| *seq)
}

/// A line as it is shown: what stood between two carriage returns, shortened around the match, as UTF-8.
fn shown(line: &[u8], start: usize) -> String {
    let start = start.min(line.len());
    let line_begin = memchr::memrchr(b'\r', &line[..start]).map_or(0, |at| at + 1);
    let line_end = memchr::memchr(b'\r', &line[start..]).map_or(line.len(), |at| start + at);
    let before = &line[line_begin..start];
    let after = &line[start..line_end];
    // More than is needed, and cut once more when it is known how long it is as UTF-8.
    let before = &before[before.len() - before.len().min(LINE_MAX)..];
    let before = String::from_utf8_lossy(&before[before.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count()..]);
    let after = String::from_utf8_lossy(&after[..after.len().min(LINE_MAX + 4)]);
    if before.len() + after.len() <= LINE_MAX && line_begin + before.len() <= start {
        return format!("{before}{after}");
    }
    let before_len = before.len().min(BEFORE_MAX.max(LINE_MAX.saturating_sub(after.len())));
    let before_begin = before.ceil_char_boundary(before.len() - before_len);
    let after_end = after.floor_char_boundary(after.len().min(LINE_MAX - (before.len() - before_begin)));
    format!("{}{}", &before[before_begin..], &after[..after_end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shortened_around_its_match() {
        assert_eq!(shown(b"short line", 3), "short line");
        assert_eq!(shown(b"10%\r20% x\r30%\r", 6), "20% x");
        assert_eq!(shown(b"\xff\xfe x", 3), "\u{fffd}\u{fffd} x");
        let long = "é".repeat(10_000);
        for start in [0, 2, 1000, 10_000, 19_990, 20_000] {
            let line = shown(long.as_bytes(), start);
            assert!(line.len() <= LINE_MAX && line.len() > LINE_MAX - 8 && line.chars().all(|c| c == 'é'), "{start}: {}", line.len());
        }
        let line = shown(format!("{}needle{}", "a".repeat(9000), "b".repeat(9000)).as_bytes(), 9000);
        assert!(line.contains("needle") && line.len() == LINE_MAX);
        assert!(shown(&[0xff; 9000], 4000).len() <= LINE_MAX);
    }
}
