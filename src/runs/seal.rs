//! Moves logs into the store: full segments of live runs, and whole logs of runs that have ended.
//!
//! The functions block; the sealing thread of [`super::store_worker`] calls them. It does not matter which server seals
//! a run, or whether two try: the store counts by entry numbers, and a file is removed only after its rows are durable.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::edits::{self, PublishedEdit};
use crate::{
    claims,
    history::History,
    log::{Description, RunDir, follow, head},
    model::{Failure, Run, RunId},
    process::{current_process, data_file, disk, lock::Lock},
    store::SealResult,
    transcript::checkpoints,
};

/// Bytes of a segment that are read and sealed at a time.
const SEAL_BLOCK_BYTES: usize = 2 << 20;

/// The outcome of sealing a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealOutcome {
    /// The run is wholly in the store, or was deleted.
    Done,
    /// The run lives; its full segments are in the store.
    Live,
    /// Another server is sealing the run.
    Busy,
}

/// Seals what can be sealed of a run.
pub(crate) fn seal(history: &History, data_dir: &Path, keep_transcripts: bool, id: RunId) -> Result<SealOutcome, Failure> {
    let dir = history.dir(id);
    let failed =
        |error: io::Error| Failure::store(dir.path(), format!("cannot move the log in {} into the store: {error}", dir.path().display()));
    let lock = match Lock::try_take_or_create(&dir.seal()) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(SealOutcome::Busy),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SealOutcome::Done),
        Err(error) => return Err(failed(error)),
    };
    current_process::seam("seal.begin");
    let run = match head::snapshot(&dir) {
        Ok(run) => run,
        Err(_) if !dir.path().exists() => return Ok(SealOutcome::Done),
        Err(error) => return Err(failed(error)),
    };
    let mut segments = dir.segments().map_err(failed)?;
    if !run.state.is_final() {
        // The newest segment is being written. A head that was too large to be written (one with an open question that
        // holds whole files) still points into an older segment, from which every reader makes its snapshot.
        let needed = head::read(&dir).map_err(failed)?.map_or(1, |head| head.segment);
        let newest = segments.pop();
        segments.retain(|first| *first < needed && Some(*first) < newest);
        if segments.is_empty() {
            return Ok(SealOutcome::Live);
        }
        // After a power cut, the head must not point into a segment that is removed now.
        data_file::read(&dir.head()).and_then(|head| head.sync_data()).map_err(failed)?;
    }
    let known = record_run(history, &dir, &run)?;
    for first in segments {
        if known && seal_segment(history, &dir, id, first)? == SealResult::Gone {
            break;
        }
        current_process::seam("seal.committed");
        if !run.state.is_final() {
            fs::remove_file(dir.segment(first)).map_err(failed)?;
        }
    }
    if !run.state.is_final() {
        return Ok(SealOutcome::Live);
    }
    let mut sealed = Run { durable_seq: run.last_seq, transcript: None, ..run };
    let transcript = data_dir.join("transcripts").join(id.to_string());
    if keep_transcripts {
        sealed.transcript = Some(transcript.to_string_lossy().into_owned());
    }
    if known {
        if let Ok(described) = Description::read(&dir) {
            // The run may have been edited while its log was being sealed.
            sealed.take_edits(described.run);
        }
        history.store.finish(&sealed)?;
        checkpoints::move_into_store(history, &dir, id)?;
    }
    current_process::seam("seal.finished");
    let token_hash = token_hash(&dir);
    if keep_transcripts {
        disk::create_private_dir(&data_dir.join("transcripts")).map_err(failed)?;
    }
    let destination = if keep_transcripts { transcript } else { gone_dir(&history.runs, id) };
    if known {
        // Whoever reads the run from the store from now on finds the edit.
        store_late_edit(history, &dir, &mut sealed)?;
    }
    current_process::seam("seal.checked");
    fs::rename(dir.path(), &destination).map_err(failed)?;
    current_process::seam("seal.renamed");
    if known && store_late_edit(history, &RunDir::at(&destination), &mut sealed)? {
        // A server that was told of the edit may have read the run just before.
        edits::publish(&history.runs, &PublishedEdit::Edited(id)).map_err(failed)?;
    }
    if !keep_transcripts {
        remove_gone_dir(&destination).map_err(failed)?;
    }
    if let Some(token_hash) = token_hash {
        // The store knows the token; a claim that stays says the same.
        fs::remove_file(claims::token_path(&history.runs, &token_hash.into())).ok();
    }
    drop(lock);
    Ok(SealOutcome::Done)
}

/// Records a run that is in a log in the store. False if the run was deleted meanwhile.
pub(crate) fn record_run(history: &History, dir: &RunDir, run: &Run) -> Result<bool, Failure> {
    // Open permissions may hold whole files, and requests about a live run are answered from its log.
    let record = Run { permissions: Vec::new(), ..run.clone() };
    history.store.put_run(&record, token_hash(dir), || dir.path().exists())
}

/// Stores an edit that was written beside the log after the run was recorded for the last time. False if there is none.
/// Once the directory has another name, no further edit can come; what was edited in the store meanwhile is newer.
fn store_late_edit(history: &History, dir: &RunDir, sealed: &mut Run) -> Result<bool, Failure> {
    let Ok(Description { run: late, .. }) = Description::read(dir) else { return Ok(false) };
    let recorded = sealed.clone();
    sealed.take_edits(late.clone());
    if has_same_edits(sealed, &recorded) {
        return Ok(false);
    }
    history.store.edit(late.id, |run| {
        if has_same_edits(run, &recorded) {
            run.take_edits(late);
        }
    })?;
    Ok(true)
}

fn has_same_edits(run: &Run, other: &Run) -> bool {
    (&run.title, &run.labels, run.pinned) == (&other.title, &other.labels, other.pinned)
}

/// Renames a run's directory, which takes it away at once, and then removes it.
pub(crate) fn remove(runs: &Path, dir: &RunDir, id: RunId) -> io::Result<()> {
    let gone_dir = gone_dir(runs, id);
    fs::rename(dir.path(), &gone_dir)?;
    remove_gone_dir(&gone_dir)
}

/// The name of a directory that is being removed.
fn gone_dir(runs: &Path, id: RunId) -> PathBuf {
    runs.join(format!(".gone-{id}"))
}

/// Removes a directory that a killed server left in the middle of its removal. Does nothing while another server is
/// removing it.
pub(crate) fn remove_leftover(path: &Path) -> io::Result<()> {
    match Lock::try_take(&RunDir::at(path).seal()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => remove_gone_dir(path),
        Ok(None) => Ok(()),
        Ok(Some(_)) => remove_gone_dir(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove_gone_dir(path),
        Err(error) => Err(error),
    }
}

/// Removes a directory that no process uses any more; several servers may do so at once.
pub(crate) fn remove_gone_dir(gone_dir: &Path) -> io::Result<()> {
    if gone_dir.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        return fs::remove_file(gone_dir);
    }
    loop {
        match fs::remove_dir_all(gone_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && gone_dir.exists() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
}

fn token_hash(dir: &RunDir) -> Option<[u8; 32]> {
    let token_hash = Description::read(dir).ok()?.token?;
    Some(*blake3::Hash::from_hex(token_hash).ok()?.as_bytes())
}

fn seal_segment(history: &History, dir: &RunDir, id: RunId, first: u64) -> Result<SealResult, Failure> {
    let failed = |error: io::Error| Failure::store(dir.path(), format!("cannot read the log in {}: {error}", dir.path().display()));
    let file = data_file::read(&dir.segment(first)).map_err(failed)?;
    let mut sealed = SealResult::UpTo(first - 1);
    let mut position = 0;
    let mut block = Vec::new();
    loop {
        block.clear();
        let read = follow::whole_lines(&file, position, SEAL_BLOCK_BYTES, &mut block).map_err(failed)?;
        if read == 0 {
            return Ok(sealed);
        }
        position += read as u64;
        sealed = history.store.seal(id, &block)?;
        if sealed == SealResult::Gone {
            return Ok(sealed);
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
