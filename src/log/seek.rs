//! Finds other places in a run's log than its beginning: backward from an entry, and by byte of output.

use std::{fs::File, io};

use super::{
    RunDir,
    follow::{self, seq_of},
    index,
};
use crate::{
    model::{RunBytes, Stream, line},
    process::{data_file, descriptor},
};

/// Moves backward over the segments, beginning before entry `before`.
#[derive(Debug)]
pub(crate) struct BackwardCursor {
    dir: RunDir,
    file: File,
    segment: u64,
    /// The end of what has not been read in this segment.
    position: u64,
}

/// What [`BackwardCursor::read`] yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackwardRead {
    Lines,
    /// The first entry of the run has been read already.
    Start,
    /// The entries before this number have been moved into the store.
    Sealed {
        before: u64,
    },
}

impl BackwardCursor {
    /// Opens the log before entry `before`. `None`: the entry before it is in no segment file.
    pub(crate) fn open(dir: &RunDir, before: u64) -> io::Result<Option<Self>> {
        let segments = match dir.segments() {
            Ok(segments) => segments,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(segment) = segments.into_iter().rev().find(|first| *first < before) else { return Ok(None) };
        let file = match data_file::read(&dir.segment(segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut position = 0;
        let mut block = Vec::new();
        'blocks: loop {
            block.clear();
            if follow::whole_lines(&file, position, follow::READ_BLOCK_BYTES, &mut block)? == 0 {
                break;
            }
            for line in line::lines(&block) {
                if seq_of(line)? >= before {
                    break 'blocks;
                }
                position += line.len() as u64 + 1;
            }
        }
        Ok(Some(Self { dir: dir.clone(), file, segment, position }))
    }

    /// Replaces `out` by the whole lines that end at this cursor, ascending: about `max` bytes, but at least one line.
    pub(crate) fn read(&mut self, max: usize, out: &mut Vec<u8>) -> io::Result<BackwardRead> {
        while self.position == 0 {
            if self.segment == 1 {
                return Ok(BackwardRead::Start);
            }
            match Self::open(&self.dir, self.segment)? {
                Some(previous) => *self = previous,
                None => return Ok(BackwardRead::Sealed { before: self.segment }),
            }
        }
        let mut want = max as u64;
        loop {
            let start = self.position.saturating_sub(want);
            out.clear();
            read_exactly(&self.file, start, (self.position - start) as usize, out)?;
            // Unless the block begins the file, its first line may be cut; that line is read with the next block.
            let first = if start == 0 { Some(0) } else { memchr::memchr(b'\n', out).map(|at| at + 1) };
            match first.filter(|first| *first < out.len()) {
                Some(first) => {
                    out.drain(..first);
                    self.position = start + first as u64;
                    return Ok(BackwardRead::Lines);
                }
                None => want *= 2,
            }
        }
    }
}

fn read_exactly(file: &File, position: u64, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
    out.reserve(length);
    while out.len() < length {
        let at = position + out.len() as u64;
        if descriptor::append_from(file, at, out)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    out.truncate(length);
    Ok(())
}

/// The entry after which a reader must begin, so that its first output holds byte `offset` of a stream, or of both
/// counted together. `None`: the byte is in no segment file; it is in the store, or nowhere.
pub(crate) fn entry_before_byte(dir: &RunDir, stream: Option<Stream>, offset: u64) -> io::Result<Option<u64>> {
    let records = index::read(dir)?;
    let byte_count = |bytes: RunBytes| match stream {
        Some(Stream::Stdout) => bytes.stdout,
        Some(Stream::Stderr) => bytes.stderr,
        None => bytes.total(),
    };
    let segments = match dir.segments() {
        Ok(segments) => segments,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut known = segments.iter().rev().filter_map(|first| records.iter().find(|record| record.first_seq == *first));
    let Some(record) = known.find(|record| byte_count(record.bytes_before) <= offset) else { return Ok(None) };
    let file = match data_file::read(&dir.segment(record.first_seq)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut after = record.first_seq - 1;
    let mut at = record.bytes_before;
    let mut position = 0;
    let mut block = Vec::new();
    loop {
        block.clear();
        let read = follow::whole_lines(&file, position, follow::READ_BLOCK_BYTES, &mut block)?;
        if read == 0 {
            return Ok(Some(after));
        }
        position += read as u64;
        for line in line::lines(&block) {
            let Some(output) = line::output(line) else { continue };
            if byte_count(at) > offset {
                return Ok(Some(after));
            }
            if stream.is_none_or(|stream| stream == output.stream) {
                after = output.seq - 1;
            }
            match output.stream {
                Stream::Stdout => at.stdout = output.offset + output.raw_len(),
                Stream::Stderr => at.stderr = output.offset + output.raw_len(),
            }
            if byte_count(at) > offset && stream.is_none_or(|stream| stream == output.stream) {
                return Ok(Some(after));
            }
        }
    }
}

/// Bytes of both streams up to and including entry `after`. `None`: the entry that follows is in no segment file.
pub(crate) fn bytes_before(dir: &RunDir, after: u64) -> io::Result<Option<RunBytes>> {
    let segments = match dir.segments() {
        Ok(segments) => segments,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(segment) = segments.into_iter().rev().find(|first| *first <= after + 1) else { return Ok(None) };
    let Some(record) = index::read(dir)?.into_iter().find(|record| record.first_seq == segment) else { return Ok(None) };
    let file = match data_file::read(&dir.segment(segment)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut bytes, mut position, mut block) = (record.bytes_before, 0, Vec::new());
    loop {
        block.clear();
        let read = follow::whole_lines(&file, position, follow::READ_BLOCK_BYTES, &mut block)?;
        if read == 0 {
            return Ok(Some(bytes));
        }
        position += read as u64;
        for line in line::lines(&block) {
            if seq_of(line)? > after {
                return Ok(Some(bytes));
            }
            if let Some(output) = line::output(line) {
                match output.stream {
                    Stream::Stdout => bytes.stdout = output.offset + output.raw_len(),
                    Stream::Stderr => bytes.stderr = output.offset + output.raw_len(),
                }
            }
        }
    }
}
