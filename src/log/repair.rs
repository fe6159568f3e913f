//! What is left of a log after its writer was killed or the power failed: cut at the first entry that is not whole.
//!
//! What comes after the cut is kept aside and named, never deleted.

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
    process::disk,
};

/// A log that is whole again.
#[derive(Debug)]
pub struct Repaired {
    /// The run as of its last whole entry.
    pub run: Run,
    /// Where what was cut off is kept.
    pub aside: Vec<PathBuf>,
}

/// Repairs the log in `dir` and makes it durable; the caller holds its lock. What is cut off goes to the directory `aside`.
pub fn repair(dir: &RunDir, aside: &Path) -> io::Result<Repaired> {
    let records = index::read(dir)?;
    let segments = dir.segments()?;
    let mut kept = Vec::new();
    let mut next_seq = segments.first().copied().unwrap_or(1);
    for (place, first) in segments.iter().copied().enumerate() {
        let path = dir.segment(first);
        let record = records.iter().find(|record| record.first_seq == first);
        let whole = if first == next_seq { whole_part(&path, first, record)? } else { Whole { length: 0, next_seq } };
        next_seq = whole.next_seq;
        if whole.length < fs::metadata(&path)?.len() {
            kept.push(cut(dir, &path, whole.length, aside)?);
            // Whatever stands in later segments does not follow any more.
            for later in &segments[place + 1..] {
                kept.push(cut(dir, &dir.segment(*later), 0, aside)?);
            }
            break;
        }
    }
    for first in dir.segments()? {
        File::open(dir.segment(first))?.sync_all()?;
    }
    disk::sync_dir(dir.path())?;
    let mut run = picture(dir, next_seq - 1)?;
    run.durable_seq = run.last_seq;
    Ok(Repaired { run, aside: kept })
}

struct Whole {
    length: u64,
    next_seq: u64,
}

/// How much of a segment is whole: what its checksum proves, and behind that every line that parses and follows.
fn whole_part(path: &Path, first: u64, record: Option<&SegmentRecord>) -> io::Result<Whole> {
    let mut file = File::open(path)?;
    let mut whole = Whole { length: 0, next_seq: first };
    if let Some(record) = record
        && prefix_checksum(&mut file, record.synced)? == Some(record.checksum)
    {
        whole = Whole { length: record.synced, next_seq: record.last_seq.max(first - 1) + 1 };
    }
    let mut block = Vec::new();
    loop {
        block.clear();
        if follow::whole_lines(&file, whole.length, 1 << 20, &mut block)? == 0 {
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

fn prefix_checksum(file: &mut File, length: u64) -> io::Result<Option<u32>> {
    let mut hasher = crc32fast::Hasher::new();
    let mut prefix = file.take(length);
    let mut block = vec![0; 256 << 10];
    let mut left = length;
    while left > 0 {
        let read = prefix.read(&mut block)?;
        if read == 0 {
            return Ok(None);
        }
        hasher.update(&block[..read]);
        left -= read as u64;
    }
    Ok(Some(hasher.finalize()))
}

/// Moves what stands in a segment from `length` on to a file of its own.
fn cut(dir: &RunDir, segment: &Path, length: u64, aside: &Path) -> io::Result<PathBuf> {
    disk::create_private_dir(aside)?;
    let run = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = aside.join(format!("{run}.{name}.{length}"));
    if length == 0 {
        fs::rename(segment, &kept)?;
        disk::sync_dir(dir.path())?;
    } else {
        let mut from = File::open(segment)?;
        io::Seek::seek(&mut from, io::SeekFrom::Start(length))?;
        let mut to = File::create(&kept)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        let file = File::options().write(true).open(segment)?;
        file.set_len(length)?;
        file.sync_all()?;
    }
    disk::sync_dir(aside)?;
    Ok(kept)
}

/// The run as of entry `last`, which is the last that is left. A head that speaks of entries which are no longer there is not
/// believed: it may have reached the disk before they did.
fn picture(dir: &RunDir, last: u64) -> io::Result<Run> {
    let head = head::read(dir)?;
    if let Some(head) = &head
        && head.run.last_seq <= last
        && points_into_the_log(dir, head)?
        && let Some(head) = head::caught_up(dir, head.clone(), head::WHOLE)?
    {
        return Ok(head.run);
    }
    let first = dir.segments()?.first().copied().unwrap_or(last + 1);
    let start = match head {
        // What was before is in the store; of the run's numbers there, the index and the entries themselves tell.
        Some(head) if first > 1 => {
            let record = index::read(dir)?.into_iter().find(|record| record.first_seq == first);
            let bytes = record.map_or(head.run.bytes, |record| record.before);
            Head { run: Run { last_seq: first - 1, bytes, permissions: Vec::new(), ..head.run }, segment: first, position: 0 }
        }
        _ => Head { run: Description::read(dir)?.run, segment: 1, position: 0 },
    };
    let caught_up = head::caught_up(dir, start, head::WHOLE)?;
    let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("the beginning of the log in {} is missing", dir.path().display()));
    Ok(caught_up.ok_or_else(missing)?.run)
}

fn points_into_the_log(dir: &RunDir, head: &Head) -> io::Result<bool> {
    let length = match fs::metadata(dir.segment(head.segment)) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(head.position <= length)
}
