//! Moves logs into the store: full segments of live runs, and whole logs of runs that have ended.
//!
//! The functions block; the sealing thread of [`super::store_worker`] calls them. It does not matter which server seals
//! a run, or whether two try: the store counts by entry numbers, and a file is removed only after its rows are durable.

use std::{
    collections::BTreeSet,
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
    store::{EndedRun, SealResult},
    transcript::{checkpoints, touched::TouchedFiles},
};

/// Bytes of a segment that are read and sealed at a time.
const SEAL_BLOCK_BYTES: usize = 2 << 20;
/// A log of an ended run that is no longer than this is moved together with others, [`SEAL_BLOCK_BYTES`] of them at a time.
const MAX_SHORT_LOG_BYTES: u64 = 256 << 10;
/// How many runs one transaction moves at most.
const MAX_GROUP_RUNS: usize = 64;

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

/// Seals what can be sealed of these runs. Short ones that have ended go into the store together: one after the other,
/// each would wait for the disk by itself. A run that fails does not concern the others.
pub(crate) fn seal_all(
    history: &History,
    data_dir: &Path,
    keep_transcripts: bool,
    ids: &BTreeSet<RunId>,
) -> Vec<(RunId, Result<SealOutcome, Failure>)> {
    let destination = SealDestination { history, data_dir, keep_transcripts };
    let (mut outcomes, mut group, mut group_bytes) = (Vec::new(), Vec::new(), 0);
    for id in ids {
        let locked = match LockedRun::lock(history, *id) {
            Ok(Ok(locked)) => locked,
            Ok(Err(outcome)) => {
                outcomes.push((*id, Ok(outcome)));
                continue;
            }
            Err(failure) => {
                outcomes.push((*id, Err(failure)));
                continue;
            }
        };
        match locked.short_log() {
            Some(lines) => {
                group_bytes += lines.len();
                group.push((locked, lines));
            }
            None => outcomes.push((*id, destination.seal_by_segment(locked))),
        }
        if group_bytes >= SEAL_BLOCK_BYTES || group.len() >= MAX_GROUP_RUNS {
            destination.seal_group(std::mem::take(&mut group), &mut outcomes);
            group_bytes = 0;
        }
    }
    destination.seal_group(group, &mut outcomes);
    outcomes
}

/// A run that is being sealed. Its lock keeps other servers from doing the same.
struct LockedRun {
    dir: RunDir,
    _lock: Lock,
    run: Run,
    /// The segments to seal.
    segments: Vec<u64>,
}

impl LockedRun {
    /// Locks a run. `Err`: there is nothing to do, and why.
    fn lock(history: &History, id: RunId) -> Result<Result<Self, SealOutcome>, Failure> {
        let dir = history.dir(id);
        let failed = failed(&dir);
        let lock = match Lock::try_take_or_create(&dir.seal()) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(Err(SealOutcome::Busy)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(SealOutcome::Done)),
            Err(error) => return Err(failed(error)),
        };
        current_process::seam("seal.begin");
        let run = match head::snapshot(&dir) {
            Ok(run) => run,
            Err(_) if !dir.path().exists() => return Ok(Err(SealOutcome::Done)),
            Err(error) => return Err(failed(error)),
        };
        let mut segments = dir.segments().map_err(&failed)?;
        if !run.state.is_final() {
            // The newest segment is being written. A head that was too large to be written (one with an open question that
            // holds whole files) still points into an older segment, from which every reader makes its snapshot.
            let needed = head::read(&dir).map_err(&failed)?.map_or(1, |head| head.segment);
            let newest = segments.pop();
            segments.retain(|first| *first < needed && Some(*first) < newest);
            if segments.is_empty() {
                return Ok(Err(SealOutcome::Live));
            }
            // After a power cut, the head must not point into a segment that is removed now.
            data_file::read(&dir.head()).and_then(|head| head.sync_data()).map_err(&failed)?;
        }
        Ok(Ok(Self { dir, _lock: lock, run, segments }))
    }

    /// The whole log, if the run has ended and that is so short that many fit into one transaction. An error is left to
    /// [`SealDestination::seal_by_segment`], which says what is wrong.
    fn short_log(&self) -> Option<Vec<u8>> {
        let is_short = self.run.state.is_final() && checkpoints::files(&self.dir).is_empty();
        let mut lines = Vec::new();
        for first in self.segments.iter().filter(|_| is_short) {
            let file = data_file::read(&self.dir.segment(*first)).ok()?;
            if lines.len() as u64 + file.metadata().ok()?.len() > MAX_SHORT_LOG_BYTES {
                return None;
            }
            let mut position = 0;
            while let read @ 1.. = follow::whole_lines(&file, position, SEAL_BLOCK_BYTES, &mut lines).ok()? {
                position += read as u64;
            }
        }
        is_short.then_some(lines)
    }
}

fn failed(dir: &RunDir) -> impl Fn(io::Error) -> Failure + use<> {
    let path = dir.path().to_owned();
    move |error| Failure::store(&path, format!("cannot move the log in {} into the store: {error}", path.display()))
}

/// Where sealed runs go.
struct SealDestination<'a> {
    history: &'a History,
    data_dir: &'a Path,
    keep_transcripts: bool,
}

impl SealDestination<'_> {
    /// Moves short logs of ended runs into the store in one transaction. If that fails, each is tried by itself.
    fn seal_group(&self, group: Vec<(LockedRun, Vec<u8>)>, outcomes: &mut Vec<(RunId, Result<SealOutcome, Failure>)>) {
        if group.is_empty() {
            return;
        }
        let (locked, ended): (Vec<LockedRun>, Vec<EndedRun>) = group
            .into_iter()
            .map(|(locked, lines)| {
                let files = TouchedFiles::of_lines(&locked.run.cwd, &lines);
                let ended = EndedRun { run: self.sealed_run(&locked), token: token_hash(&locked.dir), lines, files };
                (locked, ended)
            })
            .unzip();
        match self.history.store.put_ended(&ended, |id| self.history.dir(id).path().exists()) {
            Ok(known) => {
                for ((locked, ended), is_known) in locked.into_iter().zip(ended).zip(known) {
                    current_process::seam("seal.committed");
                    outcomes.push((ended.run.id, self.leave_log(locked, ended.run, is_known)));
                }
            }
            Err(failure) => {
                tracing::debug!(%failure, "runs are sealed one by one");
                outcomes.extend(locked.into_iter().map(|locked| (locked.run.id, self.seal_by_segment(locked))));
            }
        }
    }

    /// Moves the segments of a run into the store, each block in a transaction of its own.
    fn seal_by_segment(&self, locked: LockedRun) -> Result<SealOutcome, Failure> {
        let LockedRun { dir, run, segments, .. } = &locked;
        let is_known = record_run(self.history, dir, run)?;
        for first in segments {
            if is_known && seal_segment(self.history, dir, run, *first)? == SealResult::Gone {
                break;
            }
            current_process::seam("seal.committed");
            if !run.state.is_final() {
                fs::remove_file(dir.segment(*first)).map_err(failed(dir))?;
            }
        }
        if !run.state.is_final() {
            return Ok(SealOutcome::Live);
        }
        let sealed = self.sealed_run(&locked);
        if is_known {
            self.history.store.finish(&sealed)?;
            checkpoints::move_into_store(self.history, dir, run.id)?;
        }
        self.leave_log(locked, sealed, is_known)
    }

    /// The run as the store keeps it once its log is sealed. It may have been edited while it was being sealed.
    fn sealed_run(&self, locked: &LockedRun) -> Run {
        let transcript = self.keep_transcripts.then(|| self.transcript(locked.run.id).to_string_lossy().into_owned());
        let mut sealed = Run { durable_seq: locked.run.last_seq, transcript, ..locked.run.clone() };
        if let Ok(described) = Description::read(&locked.dir) {
            sealed.take_edits(described.run);
        }
        sealed
    }

    fn transcript(&self, id: RunId) -> PathBuf {
        self.data_dir.join("transcripts").join(id.to_string())
    }

    /// Removes the log of a run that is wholly in the store, or was deleted (`!is_known`).
    fn leave_log(&self, locked: LockedRun, mut sealed: Run, is_known: bool) -> Result<SealOutcome, Failure> {
        let (history, dir, id) = (self.history, &locked.dir, sealed.id);
        let failed = failed(dir);
        current_process::seam("seal.finished");
        let token_hash = token_hash(dir);
        if self.keep_transcripts {
            disk::create_private_dir(&self.data_dir.join("transcripts")).map_err(&failed)?;
        }
        let destination = if self.keep_transcripts { self.transcript(id) } else { gone_dir(&history.runs, id) };
        if is_known {
            // Whoever reads the run from the store from now on finds the edit.
            store_late_edit(history, dir, &mut sealed)?;
        }
        current_process::seam("seal.checked");
        fs::rename(dir.path(), &destination).map_err(&failed)?;
        current_process::seam("seal.renamed");
        if is_known && store_late_edit(history, &RunDir::at(&destination), &mut sealed)? {
            // A server that was told of the edit may have read the run just before.
            edits::publish(&history.runs, &PublishedEdit::Edited(id)).map_err(&failed)?;
        }
        if !self.keep_transcripts {
            remove_gone_dir(&destination).map_err(&failed)?;
        }
        if let Some(token_hash) = token_hash {
            // The store knows the token; a claim that stays says the same.
            fs::remove_file(claims::token_path(&history.runs, &token_hash.into())).ok();
        }
        Ok(SealOutcome::Done)
    }
}

/// Records a run that is in a log in the store. False if the run was deleted meanwhile.
fn record_run(history: &History, dir: &RunDir, run: &Run) -> Result<bool, Failure> {
    Ok(history.store.put_run(&record_of(run), token_hash(dir), || dir.path().exists())?)
}

/// Records runs that are in logs in the store, those that have not ended: sealing records the others.
pub(super) fn record_runs(history: &History, ids: &BTreeSet<RunId>) -> Result<(), Failure> {
    // A run whose directory is gone has been sealed or deleted.
    let live = ids.iter().map(|id| history.dir(*id)).filter_map(|dir| {
        let run = head::snapshot(&dir).ok().filter(|run| !run.state.is_final())?;
        Some((record_of(&run), token_hash(&dir)))
    });
    let live: Vec<_> = live.collect();
    if !live.is_empty() {
        history.store.put_runs(&live, |id| history.dir(id).path().exists())?;
    }
    Ok(())
}

/// A live run as the store records it. Open permissions may hold whole files, and requests about a live run are answered
/// from its log.
fn record_of(run: &Run) -> Run {
    Run { permissions: Vec::new(), ..run.clone() }
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

fn seal_segment(history: &History, dir: &RunDir, run: &Run, first: u64) -> Result<SealResult, Failure> {
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
        sealed = history.store.seal_naming(run.id, &block, &TouchedFiles::of_lines(&run.cwd, &block))?;
        if sealed == SealResult::Gone {
            return Ok(sealed);
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
pub(crate) mod tests;
