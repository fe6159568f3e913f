//! Removes runs that have ended: one that a client names, or all that exceed a bound.

use std::{collections::BTreeMap, fs, io, ops::ControlFlow, path::Path, time::Duration};

use super::{adopt, seal};
use crate::{
    claims,
    history::History,
    log::Description,
    model::{Failure, Run, RunId, UnixMs, calls::PruneParams},
    process::lock::Lock,
    store::{Compaction, Filter},
};

/// Runs that are removed at a time to free space, before the store's size is read again.
const MAX_BATCH_RUNS: usize = 100;

/// How often the lock of a run that another server is sealing is tried.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The bounds that runs are pruned by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PruneBounds {
    /// Runs that ended before this time are removed.
    pub(crate) ended_before: Option<UnixMs>,
    /// The largest number of runs that `ended_before` may remove, the oldest first.
    pub(crate) max_by_age: Option<u64>,
    /// Only so many runs are kept, the newest.
    pub(crate) keep_runs: Option<u64>,
    /// The oldest runs are removed until the store takes no more than this.
    pub(crate) max_bytes: Option<u64>,
}

/// The removed runs, and the bytes that they took.
#[derive(Debug, Default)]
pub(crate) struct RemovedRuns {
    pub(crate) runs: Vec<RunId>,
    pub(crate) freed_bytes: u64,
}

/// A run that may be pruned.
struct Candidate {
    ended_at: UnixMs,
    stored_bytes: u64,
}

impl PruneBounds {
    /// The bounds of a request. Ages count from `now`.
    pub(crate) fn of(params: &PruneParams, now: UnixMs) -> Self {
        let ended_before = params.older_than_ms.map(|age| now.saturating_sub(age));
        Self { ended_before, max_by_age: None, keep_runs: params.keep_runs, max_bytes: params.max_bytes }
    }
}

/// Removes the ended runs that exceed the bounds, the oldest first. Pinned and live runs are neither counted nor
/// removed.
pub(crate) fn prune(history: &History, data_dir: &Path, bounds: PruneBounds) -> Result<RemovedRuns, Failure> {
    let mut candidates = candidates(history)?;
    let mut to_remove: Vec<RunId> = Vec::new();
    if let Some(before) = bounds.ended_before {
        let max = bounds.max_by_age.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        to_remove.extend(candidates.iter().filter(|(_, candidate)| candidate.ended_at <= before).map(|(id, _)| *id).take(max));
    }
    candidates.retain(|id, _| to_remove.binary_search(id).is_err());
    if let Some(keep) = bounds.keep_runs {
        let excess = candidates.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        let oldest: Vec<RunId> = candidates.keys().take(excess).copied().collect();
        candidates.retain(|id, _| oldest.binary_search(id).is_err());
        to_remove.extend(oldest);
    }
    let mut removed = remove_runs(history, data_dir, &to_remove, true)?;
    if let Some(max_bytes) = bounds.max_bytes {
        prune_to_size(history, data_dir, candidates, max_bytes, &mut removed)?;
    }
    Ok(removed)
}

fn prune_to_size(
    history: &History,
    data_dir: &Path,
    candidates: BTreeMap<RunId, Candidate>,
    max_bytes: u64,
    removed: &mut RemovedRuns,
) -> Result<(), Failure> {
    let mut oldest = candidates.into_iter().peekable();
    loop {
        let mut excess = history.store.stats()?.stored_bytes.saturating_sub(max_bytes);
        let mut to_remove = Vec::new();
        while excess > 0 && to_remove.len() < MAX_BATCH_RUNS {
            let Some((id, candidate)) = oldest.next() else { break };
            excess = excess.saturating_sub(candidate.stored_bytes);
            to_remove.push(id);
        }
        if to_remove.is_empty() {
            return Ok(());
        }
        let more = remove_runs(history, data_dir, &to_remove, true)?;
        removed.freed_bytes += more.freed_bytes;
        removed.runs.extend(more.runs);
    }
}

/// All runs that have ended and are not pinned. Ids sort by time of creation.
fn candidates(history: &History) -> Result<BTreeMap<RunId, Candidate>, Failure> {
    let mut candidates = BTreeMap::new();
    let mut consider = |run: &Run, stored_bytes| {
        if run.state.is_final() && !run.pinned {
            candidates.insert(run.id, Candidate { ended_at: run.ended_at.unwrap_or(run.created_at), stored_bytes });
        } else {
            candidates.remove(&run.id);
        }
    };
    history.store.list(&Filter::default(), None, |stored| {
        if stored.finished {
            consider(&stored.run, stored.sealed.stored_bytes);
        }
        ControlFlow::Continue(())
    })?;
    // Runs in logs have ended but are not sealed yet, or are live.
    for entry in fs::read_dir(&history.runs).into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A run that is just being removed, or cannot be read, is left alone.
        if let Ok(Some(run)) = history.run(id) {
            consider(&run, 0);
        }
    }
    Ok(candidates)
}

/// Removes logs and rows of runs. The logs are removed first, so that no server seals what is being removed.
pub(crate) fn remove(history: &History, data_dir: &Path, ids: &[RunId]) -> Result<RemovedRuns, Failure> {
    remove_runs(history, data_dir, ids, false)
}

fn remove_runs(history: &History, data_dir: &Path, ids: &[RunId], spare_pinned: bool) -> Result<RemovedRuns, Failure> {
    let mut removed = RemovedRuns::default();
    for id in ids {
        if let Some(freed) = remove_log(history, data_dir, *id, spare_pinned)? {
            removed.runs.push(*id);
            removed.freed_bytes += freed;
        }
    }
    let removed_from_logs = removed.runs.len();
    let (deleted, freed) = history.store.delete_all(ids, spare_pinned)?;
    removed.freed_bytes += freed;
    for id in deleted {
        // The directory exists only with `keepTranscripts`.
        fs::remove_dir_all(data_dir.join("transcripts").join(id.to_string())).ok();
        adopt::remove_cut_files(&data_dir.join("aside"), id);
        if !removed.runs[..removed_from_logs].contains(&id) {
            removed.runs.push(id);
        }
    }
    Ok(removed)
}

/// Removes a run's directory, if there is one. Returns its size.
fn remove_log(history: &History, data_dir: &Path, id: RunId, spare_pinned: bool) -> Result<Option<u64>, Failure> {
    let dir = history.dir(id);
    let failed = |error: io::Error| Failure::store(dir.path(), format!("the run's log cannot be removed: {error}"));
    if !dir.is_there() {
        return Ok(None);
    }
    let description = Description::read(&dir).ok();
    if spare_pinned && description.as_ref().is_none_or(|description| description.run.pinned) {
        return Ok(None);
    }
    // A server that seals the run holds this lock for a moment.
    let _lock = loop {
        match Lock::try_take_or_create(&dir.seal()) {
            Ok(Some(lock)) => break Some(lock),
            Ok(None) => std::thread::sleep(POLL_INTERVAL),
            // What is no run's directory, or has no file for a lock, nobody seals.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => break None,
            Err(error) => return Err(failed(error)),
        }
    };
    let mut freed = None;
    if dir.is_there() {
        freed = Some(dir.size().unwrap_or(0));
        seal::remove(&history.runs, &dir, id).map_err(failed)?;
    }
    let token = description.and_then(|description| description.token);
    if let Some(token) = token.and_then(|token| blake3::Hash::from_hex(token).ok()) {
        // A claim that stays names a run that is gone, and the next server that claims the token replaces it.
        fs::remove_file(claims::token_path(&history.runs, &token)).ok();
    }
    adopt::remove_cut_files(&data_dir.join("aside"), id);
    Ok(freed)
}

/// What pruning by a request did.
#[derive(Debug)]
pub(crate) struct PrunedRuns {
    pub(crate) runs: Vec<RunId>,
    pub(crate) freed_bytes: u64,
    /// Size of the store's file afterwards.
    pub(crate) file_bytes: u64,
    /// Whether the file is shorter and, if it should be and is not, why.
    pub(crate) compacted: bool,
    pub(crate) reason: Option<String>,
}

/// Prunes, and gives the space back to the system.
pub(super) fn prune_and_compact(history: &History, data_dir: &Path, bounds: PruneBounds) -> Result<PrunedRuns, Failure> {
    let RemovedRuns { runs, freed_bytes } = prune(history, data_dir, bounds)?;
    let (compacted, reason) = compact_store(history);
    Ok(PrunedRuns { runs, freed_bytes, file_bytes: history.store.stats()?.file_bytes, compacted, reason })
}

/// Gives the space of deleted runs back to the system. Returns whether the file is shorter and, if it should be and is
/// not, why.
pub(crate) fn compact_store(history: &History) -> (bool, Option<String>) {
    match history.store.compact() {
        Ok(Compaction::Done) => (true, None),
        Ok(Compaction::NotWorthwhile) => (false, None),
        Ok(Compaction::Busy) => (
            false,
            Some(
                "another program uses the store, so its file did not shrink; new runs use the free space, or prune again later".to_owned(),
            ),
        ),
        Err(error) => (false, Some(error.to_string())),
    }
}
