//! Which files the tool calls of runs name that are not sealed yet: the index of the store has only finished ones.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{
    history::{ForwardReader, History, ReadOutcome},
    model::{Failure, Run, RunId},
    transcript::touched::TouchedFiles,
};

/// How much of a log is read at a time.
const READ_BLOCK_BYTES: usize = 1 << 20;

/// What was found in each run so far, so that only what a run has said since is read.
#[derive(Debug, Default)]
pub(crate) struct UnsealedFiles(Mutex<BTreeMap<RunId, ReadPart>>);

/// The part of a run that was read.
#[derive(Debug)]
struct ReadPart {
    seq: u64,
    files: TouchedFiles,
}

impl UnsealedFiles {
    /// Whether the run names a file; `path` is a searched path. Blocking.
    pub(crate) fn name(&self, history: &History, run: &Run, path: &str) -> Result<bool, Failure> {
        if !run.has_transcript {
            return Ok(false);
        }
        let mut parts = self.0.lock();
        let part = parts.entry(run.id).or_insert_with(|| ReadPart { seq: 0, files: TouchedFiles::new(&run.cwd) });
        let mut reader = ForwardReader::new(run.id, part.seq);
        let mut lines = Vec::new();
        while part.seq < run.last_seq {
            lines.clear();
            if reader.read(history, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
                break;
            }
            part.files.take_lines(&lines);
            part.seq = reader.seq();
        }
        Ok(part.files.contains(path))
    }

    /// Forgets the runs that are sealed by now, or deleted.
    pub(crate) fn forget_sealed(&self, history: &History) {
        self.0.lock().retain(|id, _| history.dir(*id).is_there());
    }
}
