//! Follows a run's log: a cursor that moves forward over the segments of a live or an ended run.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use super::RunDir;
use crate::{
    model::line,
    process::{data_file, descriptor},
};

/// Bytes of a log that are read at a time to find a place in it.
pub(crate) const READ_BLOCK_BYTES: usize = 1 << 20;
/// Bytes of a log that are read at a time to count output.
const COUNT_BLOCK_BYTES: usize = 64 << 10;
/// No line of a log is longer: a client's frame and an agent's line are shorter, also as JSON.
pub(super) const MAX_LINE_BYTES: usize = 256 << 20;

/// A segment that is at least as long as this gets no more entries, except the last ones of a run (`Reserve`). Only such
/// a one is followed by another that the same process writes: who is woken for each append looks for none before.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;

/// A reader's position in a log: after entry `seq`.
#[derive(Debug)]
pub(crate) struct LogCursor {
    dir: RunDir,
    file: File,
    segment: u64,
    position: u64,
    seq: u64,
    is_woken: bool,
}

/// What [`LogCursor::read`] yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowRead {
    /// Lines were read. `at_end`: they reach the end of what was there.
    Lines { at_end: bool },
    /// The log has no more entries yet.
    Tip,
    /// The entries that follow have been moved into the store.
    Sealed,
}

impl LogCursor {
    /// Opens the log after entry `after`. `None`: the next entry is in no segment file; it is in the store, or nowhere.
    pub(crate) fn open(dir: &RunDir, after: u64) -> io::Result<Option<Self>> {
        // A segment may be sealed between the listing and the opening; a new listing does not have it.
        loop {
            let segments = match dir.segments() {
                Ok(segments) => segments,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some(segment) = segments.into_iter().rev().find(|first| *first <= after + 1) else { return Ok(None) };
            match data_file::read(&dir.segment(segment)) {
                Ok(file) => {
                    let mut cursor = Self { dir: dir.clone(), file, segment, position: 0, seq: segment - 1, is_woken: false };
                    cursor.skip_to(after)?;
                    return Ok((cursor.seq == after).then_some(cursor));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Number of the last entry that was read.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Says that the caller hears of each append and that the log's writer begins a new segment only behind a full one: then
    /// a read need not look for more than it found.
    pub(crate) fn set_woken(&mut self, is_woken: bool) {
        self.is_woken = is_woken;
    }

    /// Appends whole lines to `out`: about `max` bytes at most, but at least one line if there is one.
    pub(crate) fn read(&mut self, max: usize, out: &mut Vec<u8>) -> io::Result<FollowRead> {
        let start = out.len();
        loop {
            let (read, is_all) = lines_at(&self.file, self.position, max, out)?;
            if read > 0 {
                self.position += read as u64;
                self.seq = last_seq(&out[start..])?;
                // The read reaches the end only if it reached the end of this file and no newer segment exists.
                let at_end = match self.is_woken {
                    true => is_all && self.position < SEGMENT_BYTES,
                    false => self.unread_bytes() == 0 && !self.dir.segment(self.seq + 1).exists(),
                };
                return Ok(FollowRead::Lines { at_end });
            }
            // A segment is named by its first entry, so the one that continues here has the next entry's number.
            match data_file::read(&self.dir.segment(self.seq + 1)) {
                Ok(next) if self.segment != self.seq + 1 => (self.file, self.segment, self.position) = (next, self.seq + 1, 0),
                Ok(_) => return Ok(FollowRead::Tip),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) if self.is_current() => return Ok(FollowRead::Tip),
                Err(_) => return Ok(FollowRead::Sealed),
            }
        }
    }

    /// How many bytes of the open segment have not been read.
    pub(crate) fn unread_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len().saturating_sub(self.position))
    }

    /// How many raw bytes of output have not been read. Counting stops once there are `enough`.
    pub(crate) fn unread_output(&self, enough: u64) -> u64 {
        let (mut output_bytes, mut position, mut block) = (0, self.position, Vec::new());
        while output_bytes < enough {
            block.clear();
            match whole_lines(&self.file, position, COUNT_BLOCK_BYTES, &mut block) {
                Ok(read) if read > 0 => position += read as u64,
                _ => break,
            }
            output_bytes += line::lines(&block).filter_map(line::output).map(|output| output.raw_len()).sum::<u64>();
        }
        output_bytes
    }

    /// Whether the open file still has its name in the directory, so that more may be written to it.
    fn is_current(&self) -> bool {
        let (Ok(open), Ok(named)) = (self.file.metadata(), std::fs::metadata(self.dir.segment(self.segment))) else { return false };
        open.ino() == named.ino()
    }

    fn skip_to(&mut self, after: u64) -> io::Result<()> {
        let mut block = Vec::new();
        while self.seq < after {
            block.clear();
            let read = whole_lines(&self.file, self.position, READ_BLOCK_BYTES, &mut block)?;
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

/// Appends to `out` the whole lines that stand at `position`: about `max` bytes, but at least one line if there is one.
/// Returns how many bytes that is.
pub fn whole_lines(file: &File, position: u64, max: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    lines_at(file, position, max, out).map(|(read, _)| read)
}

/// [`whole_lines`], and whether the file ended behind what was read.
fn lines_at(file: &File, position: u64, max: usize, out: &mut Vec<u8>) -> io::Result<(usize, bool)> {
    let start = out.len();
    let mut want = max;
    loop {
        out.reserve(want.saturating_sub(out.len() - start));
        let mut ended = false;
        while out.len() - start < want && !ended {
            let free_bytes = out.capacity() - out.len();
            let at = position + (out.len() - start) as u64;
            let read = descriptor::append_from(file, at, out)?;
            ended = read < free_bytes;
        }
        if let Some(end) = memchr::memrchr(b'\n', &out[start..]) {
            let is_all = ended && start + end + 1 == out.len();
            out.truncate(start + end + 1);
            return Ok((end + 1, is_all));
        }
        if ended {
            out.truncate(start);
            return Ok((0, true));
        }
        if out.len() - start >= MAX_LINE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {MAX_LINE_BYTES} bytes")));
        }
        want *= 2;
    }
}

/// The number of the last entry in a block of whole lines.
pub(crate) fn last_seq(lines: &[u8]) -> io::Result<u64> {
    let body = lines.strip_suffix(b"\n").unwrap_or(lines);
    let start = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
    seq_of(&body[start..])
}

/// The number of the entry in a line.
pub(crate) fn seq_of(line: &[u8]) -> io::Result<u64> {
    match line::head(line) {
        Some(head) => Ok(head.seq),
        None => Ok(line::parse(line)?.seq()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{Appender, append::Reserve},
        model::{RunId, Stream},
        process::disk,
    };

    /// One wake-up may stand for many appends, and a new segment may have begun in between.
    #[test]
    fn who_hears_of_each_append_misses_no_segment() {
        let data = tempfile::tempdir().expect("a directory");
        let run = crate::store::test_run(RunId::new());
        let dir = RunDir::of(data.path(), run.id);
        disk::create_private_dir(dir.path()).expect("made");
        let mut log = Appender::open(dir.clone(), run).expect("opened");
        let mut cursor = LogCursor::open(&dir, 0).expect("readable").expect("a log");
        cursor.set_woken(true);
        let (mut lines, mut appended) = (Vec::new(), 0);
        for round in 0..100 {
            for length in 0..=round % 3 {
                let piece = vec![b'x'; 80 << 10 << length];
                log.output(1, Stream::Stdout, &[&piece], Reserve::Untouched).expect("appended");
                appended += 1;
            }
            loop {
                lines.clear();
                match cursor.read(1 << 20, &mut lines).expect("readable") {
                    FollowRead::Lines { at_end: false } => {}
                    FollowRead::Lines { at_end: true } | FollowRead::Tip => break,
                    FollowRead::Sealed => panic!("nobody seals"),
                }
            }
            assert_eq!(cursor.seq(), appended, "round {round}");
        }
        let segments = dir.segments().expect("listed");
        assert!(segments.len() > 2, "{segments:?}");
        for full in &segments[..segments.len() - 1] {
            assert!(dir.segment(*full).metadata().expect("a file").len() >= SEGMENT_BYTES);
        }
    }
}
