//! Checkpoints: what a fold needs to go on, kept each few megabytes of a log, so that its end can be shown without
//! folding all of it.
//!
//! Whoever folds a run writes them: while the run has a directory, as files in it, then into the store. They can always
//! be made again, so one that is damaged, or that another version of the fold made, is passed over.

use std::{fs, io::Write, path::PathBuf};

use super::{Fold, LogSource};
use crate::{
    history::History,
    log::RunDir,
    model::{Failure, Run, RunId, item::FOLD_VERSION},
    process::data_file,
};

/// Bytes of lines from one checkpoint to the next.
const CHECKPOINT_INTERVAL_BYTES: usize = 4 << 20;
/// A larger checkpoint is not kept.
const MAX_CHECKPOINT_BYTES: usize = 4 << 20;
/// What waits to be written into the store at most.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// A checkpoint takes little beside the text in it, which zstd's fastest level shrinks well.
const LEVEL: i32 = 1;
/// Version of the fold (4 bytes), items so far (8), length of the fold (4); all little endian.
const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;
/// A file of a checkpoint is shorter than what it was compressed from, but for its header.
const MAX_FILE_BYTES: u64 = MAX_CHECKPOINT_BYTES as u64 + (64 << 10);

/// A checkpoint as it is kept.
struct FoldCheckpoint {
    seq: u64,
    bytes: Vec<u8>,
}

impl FoldCheckpoint {
    /// `None` if it would be too large.
    fn of(fold: &Fold) -> Option<Self> {
        let raw = fold.checkpoint();
        if raw.len() > MAX_CHECKPOINT_BYTES {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&FOLD_VERSION.to_le_bytes());
        bytes.extend_from_slice(&fold.total().to_le_bytes());
        bytes.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&zstd::bulk::compress(&raw, LEVEL).ok()?);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Some(Self { seq: fold.seq(), bytes })
    }

    /// How many items there are; `None` if the checkpoint is damaged, or of another version of the fold.
    fn total(&self) -> Option<u64> {
        let (bytes, checksum) = self.bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        let is_whole = bytes.len() >= HEADER_BYTES && crc32fast::hash(bytes) == u32::from_le_bytes(*checksum);
        let version = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        let total = u64::from_le_bytes(bytes.get(4..12)?.try_into().ok()?);
        (is_whole && version == FOLD_VERSION).then_some(total)
    }

    fn restore(&self) -> Option<Fold> {
        let length = u32::from_le_bytes(self.bytes.get(12..HEADER_BYTES)?.try_into().ok()?) as usize;
        if length > MAX_CHECKPOINT_BYTES {
            return None;
        }
        let raw = zstd::bulk::decompress(self.bytes.get(HEADER_BYTES..self.bytes.len() - CHECKSUM_BYTES)?, length).ok()?;
        Fold::restore(&raw).filter(|fold| fold.seq() == self.seq)
    }

    /// The newest one at or before an entry.
    fn newest(history: &History, id: RunId, seq: u64) -> Result<Option<Self>, Failure> {
        let dir = history.dir(id);
        let in_dir = files(&dir).into_iter().rev().find(|(file, _)| *file <= seq);
        if let Some((seq, path)) = in_dir
            && let Ok(bytes) = data_file::read_bounded(&path, MAX_FILE_BYTES)
        {
            return Ok(Some(Self { seq, bytes }));
        }
        Ok(history.store.checkpoint_before(id, seq)?.map(|(seq, bytes)| Self { seq, bytes }))
    }
}

/// The checkpoint files in a run's directory, by the entries that they are as of.
pub(crate) fn files(dir: &RunDir) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(dir.path()).into_iter().flatten().flatten();
    let mut files: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((RunDir::checkpoint_seq(&entry.file_name())?, entry.path()))).collect();
    files.sort_unstable();
    files
}

/// Writes checkpoints while a run is folded.
#[derive(Debug)]
pub(crate) struct CheckpointWriter {
    id: RunId,
    /// There is a checkpoint as of this entry, and there are none after it.
    newest: u64,
    bytes_since: usize,
    /// What goes into the store.
    waiting: Vec<(u64, Vec<u8>)>,
}

/// A fold that begins at the newest checkpoint at or before entry `last` for which `may_begin` holds. It is asked with
/// the items of the checkpoint, and with a number that the run has in items at least.
pub(crate) fn begin(
    history: &History,
    run: &Run,
    last: u64,
    may_begin: impl Fn(u64, u64) -> bool,
) -> Result<(Fold, CheckpointWriter), Failure> {
    let writer = |newest| CheckpointWriter { id: run.id, newest, bytes_since: 0, waiting: Vec::new() };
    let (mut before, mut newest) = (run.last_seq, None);
    let mut least_total = 0;
    while let Some(checkpoint) = FoldCheckpoint::newest(history, run.id, before)? {
        if let Some(total) = checkpoint.total() {
            least_total = least_total.max(total);
            newest = newest.or(Some(checkpoint.seq));
            if checkpoint.seq <= last
                && may_begin(total, least_total)
                && let Some(fold) = checkpoint.restore()
            {
                return Ok((fold, writer(newest.unwrap_or(0))));
            }
        }
        let Some(earlier) = checkpoint.seq.checked_sub(1) else { break };
        before = earlier;
    }
    Ok((Fold::new(LogSource::of(run)), writer(newest.unwrap_or(0))))
}

impl CheckpointWriter {
    /// Takes note that a line of so many bytes was folded.
    pub(crate) fn folded(&mut self, history: &History, fold: &Fold, line_bytes: usize) {
        self.bytes_since += line_bytes;
        if self.bytes_since < CHECKPOINT_INTERVAL_BYTES {
            return;
        }
        self.bytes_since = 0;
        if fold.seq() <= self.newest {
            return;
        }
        self.newest = fold.seq();
        let Some(checkpoint) = FoldCheckpoint::of(fold) else { return };
        let dir = history.dir(self.id);
        if dir.path().exists() && write_file(&dir, &checkpoint).is_ok() {
            return;
        }
        self.waiting.push((checkpoint.seq, checkpoint.bytes));
        if self.waiting.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > MAX_WAITING_BYTES {
            self.finish(history);
        }
    }

    /// Writes what waits. Nobody needs a checkpoint, so an error is only logged.
    pub(crate) fn finish(&mut self, history: &History) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        if let Err(failure) = history.store.put_checkpoints(self.id, &waiting) {
            tracing::warn!(run = %self.id, %failure, "checkpoints of the transcript are not kept");
        }
    }
}

/// Writes a file under another name first: a reader finds whole files only, unless the power fails.
fn write_file(dir: &RunDir, checkpoint: &FoldCheckpoint) -> std::io::Result<()> {
    let (path, staging) = (dir.checkpoint(checkpoint.seq), dir.path().join(format!(".checkpoint-{}", RunId::new())));
    data_file::replace(&staging)?.write_all(&checkpoint.bytes)?;
    fs::rename(staging, path)
}

/// Moves the checkpoints in a run's directory into the store, when the run is wholly in it.
pub(crate) fn move_into_store(history: &History, dir: &RunDir, id: RunId) -> Result<(), Failure> {
    let files = files(dir);
    let checkpoints: Vec<(u64, Vec<u8>)> =
        files.iter().filter_map(|(seq, path)| Some((*seq, data_file::read_bounded(path, MAX_FILE_BYTES).ok()?))).collect();
    if !checkpoints.is_empty() {
        history.store.put_checkpoints(id, &checkpoints)?;
    }
    // The directory may be kept as a transcript.
    files.iter().for_each(|(_, path)| drop(fs::remove_file(path)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::{Entry, line},
        store::{SealResult, Store, test_run},
        transcript::read::{PageReader, PageStart, page, whole_item},
    };

    const MESSAGES: u64 = 1500;

    /// A history with the log of an agent that says much, and the run.
    fn history(directory: &std::path::Path) -> (History, Run, Vec<u8>) {
        let history = History { runs: directory.join("runs"), store: Store::at(directory) };
        let (id, mut lines) = (RunId::new(), Vec::new());
        let mut run = test_run(id);
        run.provider = "acp".to_owned();
        for seq in 1..=2 * MESSAGES {
            let said = json!({ "type": "text", "text": format!("{seq} {}", "word ".repeat(1200)) });
            let update = match seq % 2 {
                0 => json!({ "sessionUpdate": "agent_message_chunk", "content": said }),
                _ => json!({
                    "sessionUpdate": "tool_call", "toolCallId": format!("c{seq}"), "status": "completed", "title": "reads",
                    "kind": "read", "rawInput": { "at": 0.1 + 1.0 / seq as f64 }
                }),
            };
            let entry = json!({ "runId": id, "seq": seq, "at": seq, "kind": "update", "update": update });
            line::write(&mut lines, &serde_json::from_value::<Entry>(entry).expect("an entry"));
        }
        run.last_seq = 2 * MESSAGES;
        (history, run, lines)
    }

    fn from_checkpoint(history: &History, run: &Run, last: u64) -> u64 {
        begin(history, run, last, |_, _| true).expect("readable").0.seq()
    }

    #[test]
    fn pages_are_the_same_with_checkpoints_and_read_only_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let (history, run, lines) = history(directory.path());
        assert!(history.store.put_run(&run, None, || true).expect("stored"));
        assert_eq!(history.store.seal(run.id, &lines).expect("sealed"), SealResult::UpTo(run.last_seq));
        assert_eq!(from_checkpoint(&history, &run, run.last_seq), 0);
        let pages = || {
            let starts = [
                PageStart::End,
                PageStart::After(7),
                PageStart::After(MESSAGES),
                PageStart::Before(2 * MESSAGES - 100),
                PageStart::Before(3),
            ];
            starts.map(|start| page(&history, &run, PageReader::new(start, 200, 8 << 20), &|| false).expect("a page"))
        };
        // The first page folds everything, and leaves checkpoints.
        let first = pages();
        assert_eq!(first[0].items.len(), 200);
        let checkpoint = from_checkpoint(&history, &run, run.last_seq);
        assert!(lines.len() * (run.last_seq - checkpoint) as usize / run.last_seq as usize <= CHECKPOINT_INTERVAL_BYTES + (1 << 20));
        assert!(first == pages(), "the same from checkpoints");
        let (fold, _) = begin(&history, &run, run.last_seq, |total, least| total + 200 <= least).expect("readable");
        assert!((1..=checkpoint).contains(&fold.seq()), "the last 200 items begin at {} of {checkpoint}", fold.seq());
        for number in [1, MESSAGES, 2 * MESSAGES] {
            let item = whole_item(&history, &run, number, &|| false).expect("readable").expect("there");
            assert_eq!(item.item, number);
        }
        assert!(from_checkpoint(&history, &run, checkpoint - 1) < checkpoint);

        // They go with the run.
        assert!(history.store.delete(run.id).expect("deleted").is_some());
        assert_eq!(from_checkpoint(&history, &run, run.last_seq), 0);
    }

    #[test]
    fn checkpoints_of_a_live_run_are_files_and_move_into_the_store() {
        let directory = tempfile::tempdir().expect("a directory");
        let (history, run, lines) = history(directory.path());
        let dir = history.dir(run.id);
        fs::create_dir_all(dir.path()).expect("made");
        fs::write(dir.segment(1), &lines).expect("written");
        let last = || page(&history, &run, PageReader::new(PageStart::End, 200, 8 << 20), &|| false).expect("a page");
        let first = last();
        let made = files(&dir);
        assert_eq!(made.len(), lines.len() / CHECKPOINT_INTERVAL_BYTES);
        assert!(first == last());

        // A damaged one, and one of another version of the fold, are passed over.
        let newest = &made.last().expect("one").1;
        let bytes = fs::read(newest).expect("readable");
        for at in [0, HEADER_BYTES + 5] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            fs::write(newest, other).expect("written");
            assert!(from_checkpoint(&history, &run, run.last_seq) < made.last().expect("one").0);
            assert!(first == last());
        }
        fs::write(newest, bytes).expect("written");

        assert!(history.store.put_run(&run, None, || true).expect("stored"));
        history.store.seal(run.id, &lines).expect("sealed");
        move_into_store(&history, &dir, run.id).expect("moved");
        assert_eq!(files(&dir), []);
        fs::remove_dir_all(dir.path()).expect("removed");
        assert_eq!(from_checkpoint(&history, &run, run.last_seq), made.last().expect("one").0);
        assert!(first == last());
    }
}
