//! Moving logs into the store: full segments of live runs, and everything of runs that have ended.
//!
//! Blocking; the keeper's sealing thread calls it. It does not matter which server seals, or whether two try: the store
//! goes by entry numbers, and a file is removed only after its rows are durable.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    history::History,
    log::{Description, RunDir, follow, head},
    model::{Failure, Run, RunId},
    process::{disk, lock::Lock, own},
    store::Sealed,
};

/// How much of a segment is read and sealed at a time.
const BLOCK: usize = 2 << 20;

/// What became of sealing a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is wholly in the store, or was deleted.
    Done,
    /// It lives; its full segments are in the store.
    Live,
    /// Somebody else is sealing it.
    Busy,
}

/// Seals what can be sealed of a run.
pub fn seal(history: &History, data_dir: &Path, keep_transcripts: bool, id: RunId) -> Result<Outcome, Failure> {
    let dir = history.dir(id);
    let failed = |error: io::Error| {
        Failure::store(dir.path(), format!("the log in {} cannot be moved into the store: {error}", dir.path().display()))
    };
    let lock = match Lock::try_take_or_create(&dir.seal()) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(Outcome::Busy),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Done),
        Err(error) => return Err(failed(error)),
    };
    own::seam("seal.begin");
    let run = match head::picture(&dir) {
        Ok(run) => run,
        Err(_) if !dir.path().exists() => return Ok(Outcome::Done),
        Err(error) => return Err(failed(error)),
    };
    let mut segments = dir.segments().map_err(failed)?;
    if !run.state.is_final() {
        // The newest segment is being written; and a head that was too large to be written (an open question with whole files
        // in it) still points into an older one, from which every reader makes its picture.
        let needed = head::read(&dir).map_err(failed)?.map_or(1, |head| head.segment);
        let newest = segments.pop();
        segments.retain(|first| *first < needed && Some(*first) < newest);
        if segments.is_empty() {
            return Ok(Outcome::Live);
        }
        // The head must not point, after a power cut, into what is about to go.
        File::open(dir.head()).and_then(|head| head.sync_data()).map_err(failed)?;
    }
    let known = tell(history, &dir, &run)?;
    for first in segments {
        if known && seal_segment(history, &dir, id, first)? == Sealed::Gone {
            break;
        }
        own::seam("seal.committed");
        if !run.state.is_final() {
            fs::remove_file(dir.segment(first)).map_err(failed)?;
        }
    }
    if !run.state.is_final() {
        return Ok(Outcome::Live);
    }
    let mut sealed = Run { durable_seq: run.last_seq, transcript: None, ..run };
    let transcript = data_dir.join("transcripts").join(id.to_string());
    if keep_transcripts {
        sealed.transcript = Some(transcript.to_string_lossy().into_owned());
    }
    if known {
        if let Ok(described) = Description::read(&dir) {
            // It may have been edited while its log was being sealed.
            (sealed.title, sealed.labels, sealed.pinned) = (described.run.title, described.run.labels, described.run.pinned);
        }
        history.store.finish(&sealed)?;
    }
    own::seam("seal.finished");
    let token = token(&dir);
    if keep_transcripts {
        disk::create_private_dir(&data_dir.join("transcripts")).map_err(failed)?;
    }
    let aside = if keep_transcripts { transcript } else { gone(&history.runs, id) };
    fs::rename(dir.path(), &aside).map_err(failed)?;
    if known {
        keep_late_edit(history, &RunDir::at(&aside), &sealed)?;
    }
    if !keep_transcripts {
        remove_gone(&aside).map_err(failed)?;
    }
    if let Some(token) = token {
        let _ = fs::remove_file(super::claims::path(data_dir, &token));
    }
    drop(lock);
    Ok(Outcome::Done)
}

/// Tells the store of a run that is in a log. False if it was deleted meanwhile.
pub fn tell(history: &History, dir: &RunDir, run: &Run) -> Result<bool, Failure> {
    // Open questions may hold whole files, and who asks for a live run is answered from its log.
    let told = Run { permissions: Vec::new(), ..run.clone() };
    history.store.put_run(&told, token(dir), || dir.path().exists())
}

/// An edit that was written beside the log after the store had been told of the run for the last time. Now that the directory is
/// elsewhere, no other can be; what was edited in the store meanwhile is newer.
fn keep_late_edit(history: &History, aside: &RunDir, sealed: &Run) -> Result<(), Failure> {
    let Ok(Description { run: late, .. }) = Description::read(aside) else { return Ok(()) };
    if (&late.title, &late.labels, late.pinned) == (&sealed.title, &sealed.labels, sealed.pinned) {
        return Ok(());
    }
    let edited = history.store.edit(late.id, |run| {
        if (&run.title, &run.labels, run.pinned) == (&sealed.title, &sealed.labels, sealed.pinned) {
            (run.title, run.labels, run.pinned) = (late.title, late.labels, late.pinned);
        }
    });
    edited.map(drop)
}

/// Takes a run's directory away at once, then removes it.
pub fn remove(runs: &Path, dir: &RunDir, id: RunId) -> io::Result<()> {
    let gone = gone(runs, id);
    fs::rename(dir.path(), &gone)?;
    remove_gone(&gone)
}

/// Where a directory is that is being removed.
fn gone(runs: &Path, id: RunId) -> PathBuf {
    runs.join(format!(".gone-{id}"))
}

/// Removes a directory that whoever took it away has left. Does nothing while somebody is at it.
pub fn remove_left(path: &Path) -> io::Result<()> {
    match Lock::try_take(&RunDir::at(path).seal()) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => remove_gone(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove_gone(path),
        Err(error) => Err(error),
    }
}

/// Removes a directory that nobody uses any more; several may be at it.
pub fn remove_gone(gone: &Path) -> io::Result<()> {
    loop {
        match fs::remove_dir_all(gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && gone.exists() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
}

fn token(dir: &RunDir) -> Option<[u8; 32]> {
    let token = Description::read(dir).ok()?.token?;
    Some(*blake3::Hash::from_hex(token).ok()?.as_bytes())
}

fn seal_segment(history: &History, dir: &RunDir, id: RunId, first: u64) -> Result<Sealed, Failure> {
    let failed = |error: io::Error| Failure::store(dir.path(), format!("the log in {} cannot be read: {error}", dir.path().display()));
    let file = File::open(dir.segment(first)).map_err(failed)?;
    let mut sealed = Sealed::UpTo(first - 1);
    let mut position = 0;
    let mut block = Vec::new();
    loop {
        block.clear();
        let read = follow::whole_lines(&file, position, BLOCK, &mut block).map_err(failed)?;
        if read == 0 {
            return Ok(sealed);
        }
        position += read as u64;
        sealed = history.store.seal(id, &block)?;
        if sealed == Sealed::Gone {
            return Ok(sealed);
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
