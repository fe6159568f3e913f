//! Repairs a log whose writer was killed or whose machine lost power: cuts it at the first entry that is not whole.
//!
//! What comes after the cut is moved to files of its own and named, never deleted.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Description, RunDir, follow,
    head::{self, Head},
    index::{self, SegmentRecord},
};
use crate::{
    model::{Run, line},
    process::{data_file, disk},
};

/// Bytes that are read at a time to check a checksum.
const CHECKSUM_BLOCK_BYTES: usize = 256 << 10;

/// A log that holds whole entries only.
#[derive(Debug)]
pub(crate) struct RepairedLog {
    /// The run as of its last whole entry.
    pub(crate) run: Run,
    /// The files that hold what was cut off.
    pub(crate) cut_files: Vec<PathBuf>,
}

/// Repairs the log in `dir` and makes it durable; the caller holds the directory's lock. What is cut off goes to the
/// directory `aside_dir`.
pub(crate) fn repair(dir: &RunDir, aside_dir: &Path) -> io::Result<RepairedLog> {
    let records = index::read(dir)?;
    let segments = dir.segments()?;
    let mut cut_files = Vec::new();
    let mut next_seq = segments.first().copied().unwrap_or(1);
    for (position, first) in segments.iter().copied().enumerate() {
        let path = dir.segment(first);
        let record = records.iter().find(|record| record.first_seq == first);
        let whole = if first == next_seq { whole_part(&path, first, record)? } else { WholePart { length: 0, next_seq } };
        next_seq = whole.next_seq;
        if whole.length < fs::metadata(&path)?.len() {
            cut_files.push(move_tail_aside(dir, &path, whole.length, aside_dir)?);
            // Entries in later segments do not follow any more.
            for later in &segments[position + 1..] {
                cut_files.push(move_tail_aside(dir, &dir.segment(*later), 0, aside_dir)?);
            }
            break;
        }
    }
    for first in dir.segments()? {
        data_file::read(&dir.segment(first))?.sync_all()?;
    }
    disk::sync_dir(dir.path())?;
    let mut run = snapshot(dir, next_seq - 1)?;
    run.durable_seq = run.last_seq;
    Ok(RepairedLog { run, cut_files })
}

/// The part of a segment that is whole: its length, and the number of the entry that would follow.
struct WholePart {
    length: u64,
    next_seq: u64,
}

/// How much of a segment is whole: what its checksum proves, and after that every line that parses and has the next
/// number.
fn whole_part(path: &Path, first: u64, record: Option<&SegmentRecord>) -> io::Result<WholePart> {
    let mut file = data_file::read(path)?;
    let mut whole = WholePart { length: 0, next_seq: first };
    if let Some(record) = record
        && prefix_checksum(&mut file, record.synced_bytes)? == Some(record.checksum)
    {
        whole = WholePart { length: record.synced_bytes, next_seq: record.last_seq.max(first - 1) + 1 };
    }
    let mut block = Vec::new();
    loop {
        block.clear();
        if follow::whole_lines(&file, whole.length, follow::READ_BLOCK_BYTES, &mut block)? == 0 {
            return Ok(whole);
        }
        for line in line::lines(&block) {
            if !line::parse(line).is_ok_and(|entry| entry.seq() == whole.next_seq) {
                return Ok(whole);
            }
            whole.length += line.len() as u64 + 1;
            whole.next_seq += 1;
        }
    }
}

/// CRC-32 of the first `length` bytes; `None` if the file is shorter.
fn prefix_checksum(file: &mut File, length: u64) -> io::Result<Option<u32>> {
    let mut hasher = crc32fast::Hasher::new();
    let mut prefix = file.take(length);
    let mut block = vec![0; CHECKSUM_BLOCK_BYTES];
    let mut rest = length;
    while rest > 0 {
        let read = prefix.read(&mut block)?;
        if read == 0 {
            return Ok(None);
        }
        hasher.update(&block[..read]);
        rest -= read as u64;
    }
    Ok(Some(hasher.finalize()))
}

/// Moves the bytes of a segment from `length` on to a file in `aside_dir`.
fn move_tail_aside(dir: &RunDir, segment: &Path, length: u64, aside_dir: &Path) -> io::Result<PathBuf> {
    disk::create_private_dir(aside_dir)?;
    let run = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = aside_dir.join(format!("{run}.{name}.{length}"));
    if length == 0 {
        fs::rename(segment, &target)?;
        disk::sync_dir(dir.path())?;
    } else {
        let mut from = data_file::write(segment)?;
        io::Seek::seek(&mut from, io::SeekFrom::Start(length))?;
        let mut to = data_file::replace(&target)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        from.set_len(length)?;
        from.sync_all()?;
    }
    disk::sync_dir(aside_dir)?;
    Ok(target)
}

/// The run as of entry `last`, which is the last one that is left. A head that counts entries which are no longer there
/// is ignored: it may have reached the disk before they did.
fn snapshot(dir: &RunDir, last: u64) -> io::Result<Run> {
    let head = head::read(dir)?;
    if let Some(head) = &head
        && head.run.last_seq <= last
        && points_into_log(dir, head)?
        && let Some(head) = head::catch_up(dir, head.clone(), head::LOG_END)?
    {
        return Ok(head.run);
    }
    let first = dir.segments()?.first().copied().unwrap_or(last + 1);
    let start = match head {
        // Earlier entries are in the store. The byte counts there follow from the index, everything else from the
        // entries themselves.
        Some(head) if first > 1 => {
            let record = index::read(dir)?.into_iter().find(|record| record.first_seq == first);
            let bytes = record.map_or(head.run.bytes, |record| record.bytes_before);
            Head { run: Run { last_seq: first - 1, bytes, permissions: Vec::new(), ..head.run }, segment: first, position: 0 }
        }
        _ => Head { run: Description::read(dir)?.run, segment: 1, position: 0 },
    };
    let head = head::catch_up(dir, start, head::LOG_END)?;
    let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("the beginning of the log in {} is missing", dir.path().display()));
    Ok(head.ok_or_else(missing)?.run)
}

fn points_into_log(dir: &RunDir, head: &Head) -> io::Result<bool> {
    let length = match fs::metadata(dir.segment(head.segment)) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(head.position <= length)
}
