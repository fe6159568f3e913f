//! Removing runs that have ended: one that a client names, or all that stand against a bound.

use std::{collections::BTreeMap, fs, io, ops::ControlFlow, path::Path, time::Duration};

use super::{adopt, claims, seal};
use crate::{
    history::History,
    log::Description,
    model::{Failure, Run, RunId, UnixMs, calls::PruneParams},
    process::lock::Lock,
    store::{Compaction, Filter},
};

/// Runs that are removed in one go when room is wanted; then it is looked again how much there is.
const GO: usize = 100;

/// How often a run is looked at that another server is sealing.
const LOOK: Duration = Duration::from_millis(20);

/// Against which bounds runs are pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Those that ended before,
    pub ended_before: Option<UnixMs>,
    /// of these the oldest so many,
    pub most_by_age: Option<u64>,
    /// all but the newest so many,
    pub keep_runs: Option<u64>,
    /// and as many as it takes.
    pub max_bytes: Option<u64>,
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Removed {
    pub runs: Vec<RunId>,
    pub freed_bytes: u64,
}

/// A run that may be pruned.
struct Candidate {
    ended_at: UnixMs,
    stored_bytes: u64,
}

impl Bounds {
    /// What a client asks for. Ages count from `now`.
    pub fn of(params: &PruneParams, now: UnixMs) -> Self {
        let ended_before = params.older_than_ms.map(|age| now.saturating_sub(age));
        Self { ended_before, most_by_age: None, keep_runs: params.keep_runs, max_bytes: params.max_bytes }
    }
}

/// Removes the ended runs that are against the bounds, the oldest first. Pinned and live ones are neither counted nor touched.
pub fn prune(history: &History, data_dir: &Path, bounds: Bounds) -> Result<Removed, Failure> {
    let mut candidates = candidates(history)?;
    let mut doomed: Vec<RunId> = Vec::new();
    if let Some(before) = bounds.ended_before {
        let most = bounds.most_by_age.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        doomed.extend(candidates.iter().filter(|(_, candidate)| candidate.ended_at <= before).map(|(id, _)| *id).take(most));
    }
    candidates.retain(|id, _| doomed.binary_search(id).is_err());
    if let Some(keep) = bounds.keep_runs {
        let excess = candidates.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        let oldest: Vec<RunId> = candidates.keys().take(excess).copied().collect();
        candidates.retain(|id, _| oldest.binary_search(id).is_err());
        doomed.extend(oldest);
    }
    let mut removed = remove_spared(history, data_dir, &doomed, true)?;
    if let Some(most) = bounds.max_bytes {
        prune_to_size(history, data_dir, candidates, most, &mut removed)?;
    }
    Ok(removed)
}

fn prune_to_size(
    history: &History,
    data_dir: &Path,
    candidates: BTreeMap<RunId, Candidate>,
    most: u64,
    removed: &mut Removed,
) -> Result<(), Failure> {
    let mut oldest = candidates.into_iter().peekable();
    loop {
        let mut excess = history.store.stats()?.stored_bytes.saturating_sub(most);
        let mut doomed = Vec::new();
        while excess > 0 && doomed.len() < GO {
            let Some((id, candidate)) = oldest.next() else { break };
            excess = excess.saturating_sub(candidate.stored_bytes);
            doomed.push(id);
        }
        if doomed.is_empty() {
            return Ok(());
        }
        let more = remove_spared(history, data_dir, &doomed, true)?;
        removed.freed_bytes += more.freed_bytes;
        removed.runs.extend(more.runs);
    }
}

/// All runs that have ended and are not pinned. Ids sort by time of creation.
fn candidates(history: &History) -> Result<BTreeMap<RunId, Candidate>, Failure> {
    let mut found = BTreeMap::new();
    let mut note = |run: &Run, stored_bytes| {
        if run.state.is_final() && !run.pinned {
            found.insert(run.id, Candidate { ended_at: run.ended_at.unwrap_or(run.created_at), stored_bytes });
        } else {
            found.remove(&run.id);
        }
    };
    history.store.list(&Filter::default(), None, |stored| {
        if stored.finished {
            note(&stored.run, stored.sealed.stored_bytes);
        }
        ControlFlow::Continue(())
    })?;
    // Ended, and not sealed yet.
    for entry in fs::read_dir(&history.runs).into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that is just being removed, or cannot be read, is left alone.
        if let Ok(Some(run)) = history.run(id) {
            note(&run, 0);
        }
    }
    Ok(found)
}

/// Removes logs and rows of runs. The logs go first, so that nobody seals what is being removed.
pub fn remove(history: &History, data_dir: &Path, ids: &[RunId]) -> Result<Removed, Failure> {
    remove_spared(history, data_dir, ids, false)
}

fn remove_spared(history: &History, data_dir: &Path, ids: &[RunId], spare_pinned: bool) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    for id in ids {
        if let Some(freed) = remove_log(history, data_dir, *id, spare_pinned)? {
            removed.runs.push(*id);
            removed.freed_bytes += freed;
        }
    }
    let in_logs = removed.runs.len();
    let (gone, freed) = history.store.delete_all(ids, spare_pinned)?;
    removed.freed_bytes += freed;
    for id in gone {
        // There only with `keepTranscripts`.
        let _ = fs::remove_dir_all(data_dir.join("transcripts").join(id.to_string()));
        adopt::remove_aside(&data_dir.join("aside"), id);
        if !removed.runs[..in_logs].contains(&id) {
            removed.runs.push(id);
        }
    }
    Ok(removed)
}

/// Removes a run's directory, if there is one. Answers its size.
fn remove_log(history: &History, data_dir: &Path, id: RunId, spare_pinned: bool) -> Result<Option<u64>, Failure> {
    let dir = history.dir(id);
    let failed = |error: io::Error| Failure::store(dir.path(), format!("the run's log cannot be removed: {error}"));
    if !dir.path().exists() {
        return Ok(None);
    }
    let description = Description::read(&dir).ok();
    if spare_pinned && description.as_ref().is_none_or(|description| description.run.pinned) {
        return Ok(None);
    }
    // Whoever seals it holds this for a moment.
    let _lock = loop {
        match Lock::try_take_or_create(&dir.seal()) {
            Ok(Some(lock)) => break Some(lock),
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break None,
            Err(error) => return Err(failed(error)),
        }
    };
    let mut freed = None;
    if dir.path().exists() {
        freed = Some(dir.size().map_err(failed)?);
        seal::remove(&history.runs, &dir, id).map_err(failed)?;
    }
    let token = description.and_then(|description| description.token);
    if let Some(token) = token.and_then(|token| blake3::Hash::from_hex(token).ok()) {
        let _ = fs::remove_file(claims::path(data_dir, token.as_bytes()));
    }
    adopt::remove_aside(&data_dir.join("aside"), id);
    Ok(freed)
}

/// Gives the room of what was deleted back to the system. Answers whether the file is shorter, and if it should be and is
/// not, why.
pub fn give_back(history: &History) -> (bool, Option<String>) {
    match history.store.compact() {
        Ok(Compaction::Done) => (true, None),
        Ok(Compaction::NotWorthwhile) => (false, None),
        Ok(Compaction::Busy) => {
            (false, Some("somebody is reading or writing the store; the room in it is used for new runs, or prune again later".to_owned()))
        }
        Err(failure) => (false, Some(failure.message)),
    }
}
