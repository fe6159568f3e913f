//! A reader of a run's log: a cursor that moves forward over the segments, live or not.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use rustix::{buffer::spare_capacity, io::pread};

use super::files::RunDir;
use crate::model::line;

/// Where in the log a reader stands: after entry `seq`.
#[derive(Debug)]
pub struct Cursor {
    dir: RunDir,
    file: File,
    segment: u64,
    position: u64,
    seq: u64,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Lines were read. `short`: up to the end of what was there.
    Lines { short: bool },
    /// Nothing more yet.
    Tip,
    /// What follows has been moved into the store.
    Sealed,
}

impl Cursor {
    /// Opens the log after entry `after`. `None`: the next entry is not in a file; it is in the store, or nowhere.
    pub fn open(dir: &RunDir, after: u64) -> io::Result<Option<Self>> {
        // A segment may be sealed between the listing and the opening; then the listing has changed.
        loop {
            let segments = match dir.segments() {
                Ok(segments) => segments,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some(segment) = segments.into_iter().rev().find(|first| *first <= after + 1) else { return Ok(None) };
            match File::open(dir.segment(segment)) {
                Ok(file) => {
                    let mut cursor = Self { dir: dir.clone(), file, segment, position: 0, seq: segment - 1 };
                    cursor.skip_to(after)?;
                    return Ok((cursor.seq == after).then_some(cursor));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Number of the last entry that was read.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends whole lines to `out`: about `max` bytes at most, but one line at least where there is one.
    pub fn read(&mut self, max: usize, out: &mut Vec<u8>) -> io::Result<Place> {
        let start = out.len();
        loop {
            let read = whole_lines(&self.file, self.position, max, out)?;
            if read > 0 {
                self.position += read as u64;
                self.seq = last_seq(&out[start..])?;
                // Not the end of what is there unless it is the end of the file, and of the newest one.
                let short = self.waiting_bytes() == 0 && !self.dir.segment(self.seq + 1).exists();
                return Ok(Place::Lines { short });
            }
            // A segment is named by its first entry, so the one that goes on where we stand has our next number.
            match File::open(self.dir.segment(self.seq + 1)) {
                Ok(next) if self.segment != self.seq + 1 => (self.file, self.segment, self.position) = (next, self.seq + 1, 0),
                Ok(_) => return Ok(Place::Tip),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) if self.is_current() => return Ok(Place::Tip),
                Err(_) => return Ok(Place::Sealed),
            }
        }
    }

    /// How many bytes of the open segment have not been read.
    pub fn waiting_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len().saturating_sub(self.position))
    }

    /// How many raw bytes of output have not been read; no more than tells that it is `enough`.
    pub fn waiting_output(&self, enough: u64) -> u64 {
        let (mut found, mut position, mut block) = (0, self.position, Vec::new());
        while found < enough {
            block.clear();
            match whole_lines(&self.file, position, 64 << 10, &mut block) {
                Ok(read) if read > 0 => position += read as u64,
                _ => break,
            }
            found += line::lines(&block).filter_map(line::output).map(|output| output.raw_len()).sum::<u64>();
        }
        found
    }

    /// Whether the segment that is open still stands in the directory.
    fn is_current(&self) -> bool {
        let (Ok(open), Ok(named)) = (self.file.metadata(), std::fs::metadata(self.dir.segment(self.segment))) else { return false };
        open.ino() == named.ino()
    }

    fn skip_to(&mut self, after: u64) -> io::Result<()> {
        let mut block = Vec::new();
        while self.seq < after {
            block.clear();
            let read = whole_lines(&self.file, self.position, 1 << 20, &mut block)?;
            if read == 0 {
                return Ok(());
            }
            if last_seq(&block)? <= after {
                self.position += read as u64;
                self.seq = last_seq(&block)?;
                continue;
            }
            for line in line::lines(&block) {
                let seq = seq_of(line)?;
                if seq > after {
                    return Ok(());
                }
                self.position += line.len() as u64 + 1;
                self.seq = seq;
            }
        }
        Ok(())
    }
}

/// Appends to `out` the whole lines that stand at `position`: about `max` bytes, but one line at least where there is
/// one. Returns how many bytes that is.
pub fn whole_lines(file: &File, position: u64, max: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let start = out.len();
    let mut want = max;
    loop {
        out.reserve(want.saturating_sub(out.len() - start));
        let mut ended = false;
        while out.len() - start < want && !ended {
            let room = out.capacity() - out.len();
            let at = position + (out.len() - start) as u64;
            let read = pread(file, spare_capacity(out), at)?;
            ended = read < room;
        }
        if let Some(end) = memchr::memrchr(b'\n', &out[start..]) {
            out.truncate(start + end + 1);
            return Ok(end + 1);
        }
        if ended {
            out.truncate(start);
            return Ok(0);
        }
        want *= 2;
    }
}

/// The number of the last entry in a block of whole lines.
pub fn last_seq(lines: &[u8]) -> io::Result<u64> {
    let body = lines.strip_suffix(b"\n").unwrap_or(lines);
    let start = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
    seq_of(&body[start..])
}

/// The number of the entry in a line.
pub fn seq_of(line: &[u8]) -> io::Result<u64> {
    match line::head(line) {
        Some(head) => Ok(head.seq),
        None => Ok(line::parse(line)?.seq()),
    }
}
