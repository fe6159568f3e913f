//! The state of a run for readers that did not follow it: the file `head`, and a snapshot made from it and the log
//! behind it.
//!
//! The supervisor rewrites the file in place, alternating between two slots, so that one of them is always whole and a
//! full disk does not matter. The head may be older than the log: [`snapshot`] moves it on by the entries that follow,
//! so that what a reader sees agrees with every entry that was ever shown.

use std::{fs::File, io, os::unix::fs::FileExt};

use serde::{Deserialize, Serialize};

use super::{Description, RunDir, follow};
use crate::{
    model::{Kind, Run, Stream, agent::OFFER_UPDATES, line},
    process::{data_file, disk},
};

/// Offset of the second slot. The file is sparse, so the gap costs nothing.
const SLOT_BYTES: u64 = 1 << 20;
/// Length (4 bytes), CRC-32 (4) and generation (8) in little endian precede the JSON text of a slot.
const PREFIX_BYTES: usize = 16;
/// Allocated at the beginning of each slot, so that a full disk cannot refuse a rewrite of usual size.
const SLOT_ALLOCATION_BYTES: u64 = 16 << 10;

/// How many times [`snapshot`] begins again because a segment that it needs has been sealed meanwhile.
const MAX_SNAPSHOT_ATTEMPTS: u32 = 8;

/// The run as of its `lastSeq`, and where its log continues.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Head {
    pub(crate) run: Run,
    /// First entry of the segment that the next entry belongs to.
    pub(crate) segment: u64,
    /// Byte of that segment at which the next entry begins.
    pub(crate) position: u64,
}

/// A [`Head`] to be written.
#[derive(Serialize)]
struct HeadRef<'a> {
    run: &'a Run,
    segment: u64,
    position: u64,
}

/// The file `head`, open for writing.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    generation: u64,
}

impl HeadFile {
    pub(crate) fn create(dir: &RunDir) -> io::Result<Self> {
        let file = data_file::write_or_create(&dir.head())?;
        disk::allocate(&file, 0, SLOT_ALLOCATION_BYTES)?;
        disk::allocate(&file, SLOT_BYTES, SLOT_ALLOCATION_BYTES)?;
        let generation = newest_slot(&file)?.map_or(0, |(generation, _)| generation);
        Ok(Self { file, generation })
    }

    /// Writes the next generation over the older slot, without the params, which never change: they stand in `run.json`. A head that
    /// does not fit into a slot is not written; readers start from the older one then.
    pub(crate) fn write(&mut self, run: &mut Run, segment: u64, position: u64) -> io::Result<()> {
        let generation = self.generation + 1;
        let mut bytes = vec![0; PREFIX_BYTES];
        let params = std::mem::take(&mut run.params);
        let written = serde_json::to_writer(&mut bytes, &HeadRef { run, segment, position });
        run.params = params;
        written?;
        if bytes.len() as u64 > SLOT_BYTES {
            tracing::error!(run = %run.id, bytes = bytes.len(), "the run's head does not fit; readers start from an older one");
            return Ok(());
        }
        let length = u32::try_from(bytes.len() - PREFIX_BYTES).expect("a slot is small");
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[8..16].copy_from_slice(&generation.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&bytes, (generation % 2) * SLOT_BYTES)?;
        self.generation = generation;
        Ok(())
    }
}

/// The newest whole head of a run; `None` if there is none.
pub(crate) fn read(dir: &RunDir) -> io::Result<Option<Head>> {
    let file = match data_file::read(&dir.head()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(mut head) = newest_slot(&file)?.and_then(|(_, text)| serde_json::from_slice::<Head>(&text).ok()) else { return Ok(None) };
    if head.run.params.is_empty() {
        match Description::read(dir) {
            Ok(description) => head.run.params = description.run.params,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(head))
}

fn newest_slot(file: &File) -> io::Result<Option<(u64, Vec<u8>)>> {
    let slots = [slot(file, 0)?, slot(file, SLOT_BYTES)?];
    Ok(slots.into_iter().flatten().max_by_key(|(generation, _)| *generation))
}

fn slot(file: &File, at: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut prefix = [0; PREFIX_BYTES];
    if file.read_exact_at(&mut prefix, at).is_err() {
        return Ok(None);
    }
    let length = u32::from_le_bytes(prefix[..4].try_into().expect("four bytes"));
    let checksum = u32::from_le_bytes(prefix[4..8].try_into().expect("four bytes"));
    if length == 0 || u64::from(length) > SLOT_BYTES {
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
pub fn snapshot(dir: &RunDir) -> io::Result<Run> {
    // A segment that the head points into may be sealed and removed meanwhile; then there is a newer head.
    for _ in 0..MAX_SNAPSHOT_ATTEMPTS {
        // The snapshot ends at what the log held when it was begun, so that a program which writes faster than this
        // reads does not hold it up.
        let end = end_of(dir)?;
        let head = match read(dir)? {
            Some(head) => head,
            None => Head { run: Description::read(dir)?.run, segment: 1, position: 0 },
        };
        if let Some(head) = catch_up(dir, head, end)? {
            let mut run = head.run;
            if run.state.is_final()
                && let Ok(description) = Description::read(dir)
            {
                // An ended run has no supervisor that would write an edit into the head, so the description is newer.
                run.take_edits(description.run);
            }
            run.transcript = Some(dir.segment(head.segment).to_string_lossy().into_owned());
            return Ok(run);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("the log in {} does not continue where its head ends", dir.path().display())))
}

/// A position in a log: the first entry of a segment, and a byte in it.
pub(crate) type LogPosition = (u64, u64);

/// Stands for the end of a log that no process writes: [`catch_up`] reads all of it.
pub(crate) const LOG_END: LogPosition = (u64::MAX, u64::MAX);

fn end_of(dir: &RunDir) -> io::Result<LogPosition> {
    let Some(newest) = dir.segments()?.pop() else { return Ok(LOG_END) };
    // A segment that has been sealed and removed just now is not the newest any more; then everything that is there
    // counts.
    Ok(std::fs::metadata(dir.segment(newest)).map_or(LOG_END, |metadata| (newest, metadata.len())))
}

/// Moves a head on over the log, at least to `end`. `None`: a segment that it needs is not there.
pub(crate) fn catch_up(dir: &RunDir, mut head: Head, end: LogPosition) -> io::Result<Option<Head>> {
    let mut lines = Vec::new();
    loop {
        let file = match data_file::read(&dir.segment(head.segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // At position 0 the next segment may simply not have been created yet; but then none may be newer.
                let is_tip = head.position == 0 && dir.segments()?.last().is_none_or(|last| *last < head.segment);
                return Ok(is_tip.then_some(head));
            }
            Err(error) => return Err(error),
        };
        loop {
            lines.clear();
            let read = follow::whole_lines(&file, head.position, follow::READ_BLOCK_BYTES, &mut lines)?;
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

/// Applies a block of lines to the run. Of all output it parses only the last entry of each stream.
fn apply(run: &mut Run, lines: &[u8]) -> io::Result<()> {
    let mut last_output: [Option<&[u8]>; 2] = [None, None];
    for line in line::lines(lines) {
        match line::output(line) {
            Some(output) => {
                run.last_seq = output.seq;
                last_output[usize::from(output.stream == Stream::Stderr)] = Some(line);
            }
            // An update may be long, and changes nothing but what the agent offers.
            None if line::head(line).is_some_and(|head| head.kind == Kind::Update) && !may_be_offer(line) => {
                run.last_seq = follow::seq_of(line)?;
            }
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

/// Whether an update may be one of those that [`Run::apply`] looks at.
fn may_be_offer(line: &[u8]) -> bool {
    OFFER_UPDATES.iter().any(|kind| memchr::memmem::find(line, kind.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::{
        log::{Appender, append::Reserve},
        model::{Entry, RunId, entry::UpdateEntry},
    };

    /// A prompt may be long, and an agent sends thousands of updates.
    #[test]
    fn updates_do_not_write_the_params_again_and_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let dir = RunDir::of(directory.path(), RunId::new());
        std::fs::create_dir(dir.path()).expect("a new directory");
        let mut run = Run::new(dir.id().expect("named"), "codex", vec!["codex".to_owned()], "/", 1);
        run.params = json!({ "prompt": "p".repeat(300_000) }).as_object().expect("an object").clone();
        run.name();
        Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir).expect("written");
        let began = std::time::Instant::now();
        let mut log = Appender::open(dir.clone(), run.clone()).expect("a log");
        for _ in 0..500 {
            let entry = |seq| Entry::Update(UpdateEntry { run_id: run.id, seq, at: 1, update: Map::new() });
            log.entry(entry, Reserve::Untouched).expect("appended");
        }
        let file = data_file::read(&dir.head()).expect("there");
        let (generation, text) = newest_slot(&file).expect("readable").expect("whole");
        assert!(generation <= 2 + began.elapsed().as_secs(), "{generation} heads for 500 updates");
        assert!(text.len() < 2_000, "a head of {} bytes", text.len());
        let seen = snapshot(&dir).expect("readable");
        assert_eq!((seen.last_seq, &seen.params, &seen.display_title), (500, &run.params, &run.display_title));
    }
}
