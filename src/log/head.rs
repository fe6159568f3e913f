//! How a run stands, for whoever was not there: the file `head`, and the picture made from it and the log behind it.
//!
//! The supervisor rewrites the file in place, into two slots in turn, so that one of them is always whole and a full
//! disk does not matter. It may be older than the log: [`picture`] moves it on by the entries that follow, so what a
//! reader sees agrees with every entry that was ever shown.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
};

use serde::{Deserialize, Serialize};

use super::{describe::Description, files::RunDir, follow};
use crate::{
    model::{Kind, Run, RunId, Stream, line},
    process::disk,
};

/// Where the second slot begins. The file is sparse, so this costs nothing.
const SLOT: u64 = 1 << 20;
/// Length (4 bytes), CRC-32 (4) and generation (8), little endian, stand before the JSON text.
const PREFIX: usize = 16;
/// Set aside at the beginning of each slot, so that a full disk cannot refuse a rewrite of usual size.
const ALLOCATED: u64 = 16 << 10;

/// The run as of its `lastSeq`, and where the log goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub run: Run,
    /// First entry of the segment in which the next entry stands,
    pub segment: u64,
    /// and at which byte.
    pub position: u64,
}

/// The file, open for writing.
#[derive(Debug)]
pub struct HeadFile {
    file: File,
    generation: u64,
}

impl HeadFile {
    pub fn create(dir: &RunDir) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.head())?;
        disk::allocate(&file, 0, ALLOCATED)?;
        disk::allocate(&file, SLOT, ALLOCATED)?;
        let generation = newest_slot(&file)?.map_or(0, |(generation, _)| generation);
        Ok(Self { file, generation })
    }

    /// Writes the next generation over the older slot. One that does not fit into a slot is left out: readers start
    /// from the older one then.
    pub fn write(&mut self, head: &Head) -> io::Result<()> {
        let generation = self.generation + 1;
        let mut bytes = vec![0; PREFIX];
        serde_json::to_writer(&mut bytes, head)?;
        if bytes.len() as u64 > SLOT {
            return Ok(());
        }
        let length = u32::try_from(bytes.len() - PREFIX).expect("a slot is small");
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[8..16].copy_from_slice(&generation.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&bytes, (generation % 2) * SLOT)?;
        self.generation = generation;
        Ok(())
    }
}

/// The newest whole head of a run; `None` where there is none.
pub fn read(dir: &RunDir) -> io::Result<Option<Head>> {
    let file = match File::open(dir.head()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(newest_slot(&file)?.and_then(|(_, text)| serde_json::from_slice(&text).ok()))
}

fn newest_slot(file: &File) -> io::Result<Option<(u64, Vec<u8>)>> {
    let slots = [slot(file, 0)?, slot(file, SLOT)?];
    Ok(slots.into_iter().flatten().max_by_key(|(generation, _)| *generation))
}

fn slot(file: &File, at: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut prefix = [0; PREFIX];
    if file.read_exact_at(&mut prefix, at).is_err() {
        return Ok(None);
    }
    let length = u32::from_le_bytes(prefix[..4].try_into().expect("four bytes"));
    let checksum = u32::from_le_bytes(prefix[4..8].try_into().expect("four bytes"));
    if length == 0 || u64::from(length) > SLOT {
        return Ok(None);
    }
    let mut bytes = vec![0; 8 + length as usize];
    match file.read_exact_at(&mut bytes, at + 8) {
        Ok(()) if crc32fast::hash(&bytes) == checksum => {
            let generation = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            Ok(Some((generation, bytes.split_off(8))))
        }
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The run as of the newest entry in its log. `NotFound`: the directory is gone.
pub fn picture(dir: &RunDir) -> io::Result<Run> {
    // A segment that the head points into may be sealed and removed meanwhile; then there is a newer head.
    for _ in 0..8 {
        // What was there when we were asked; a program that writes faster than we read is not chased.
        let end = end_of(dir)?;
        let head = match read(dir)? {
            Some(head) => head,
            None => Head { run: Description::read(dir)?.run, segment: 1, position: 0 },
        };
        if let Some(head) = caught_up(dir, head, end)? {
            let mut run = head.run;
            if run.state.is_final()
                && let Ok(described) = Description::read(dir)
            {
                // An edit after the end has no supervisor that would write it into the head.
                (run.title, run.labels, run.pinned) = (described.run.title, described.run.labels, described.run.pinned);
            }
            run.transcript = Some(dir.segment(head.segment).to_string_lossy().into_owned());
            return Ok(run);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("the log in {} does not go on where its head ends", dir.path().display())))
}

/// A place in a log: the first entry of a segment, and a byte in it.
pub type End = (u64, u64);

/// The end of a log that nobody writes.
pub const WHOLE: End = (u64::MAX, u64::MAX);

fn end_of(dir: &RunDir) -> io::Result<End> {
    let Some(newest) = dir.segments()?.pop() else { return Ok(WHOLE) };
    // One that is sealed and removed just now is not the newest any more; then everything there is counts.
    Ok(std::fs::metadata(dir.segment(newest)).map_or(WHOLE, |metadata| (newest, metadata.len())))
}

/// Moves a head on to `end` at least. `None`: a segment that it needs is not there.
pub fn caught_up(dir: &RunDir, mut head: Head, end: End) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let file = match File::open(dir.segment(head.segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // At position 0 the next segment may simply not have been made yet; but then none may be newer.
                let is_tip = head.position == 0 && dir.segments()?.last().is_none_or(|last| *last < head.segment);
                return Ok(is_tip.then_some(head));
            }
            Err(error) => return Err(error),
        };
        loop {
            lines.clear();
            let read = follow::whole_lines(&file, head.position, 1 << 20, &mut lines)?;
            if read == 0 {
                break;
            }
            apply(&mut head.run, &lines)?;
            head.position += read as u64;
            if (head.segment, head.position) >= end {
                return Ok(Some(head));
            }
        }
        let next = head.run.last_seq + 1;
        if next == head.segment || !dir.segment(next).exists() {
            return Ok(Some(head));
        }
        (head.segment, head.position) = (next, 0);
    }
}

/// Applies a block of lines, taking apart of all output only the last of each stream.
fn apply(run: &mut Run, lines: &[u8]) -> io::Result<()> {
    let mut last_output: [Option<&[u8]>; 2] = [None, None];
    for line in line::lines(lines) {
        match line::output(line) {
            Some(output) => {
                run.last_seq = output.seq;
                last_output[usize::from(output.stream == Stream::Stderr)] = Some(line);
            }
            // It may be long, and says nothing about the run's state.
            None if line::head(line).is_some_and(|head| head.kind == Kind::Update) => run.last_seq = follow::seq_of(line)?,
            None => run.apply(&line::parse(line)?),
        }
    }
    let newest = run.last_seq;
    for line in last_output.into_iter().flatten() {
        run.apply(&line::parse(line)?);
    }
    run.last_seq = newest;
    Ok(())
}

/// The run that a directory's name speaks of.
pub fn id_of(name: &str) -> Option<RunId> {
    name.parse().ok()
}
