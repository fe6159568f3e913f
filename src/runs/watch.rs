//! Watches the data directory: live runs of all servers, runs whose supervisor died, edits by other servers.

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::Path,
    time::{Duration, SystemTime},
};

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{
    RunEvent, RunEvents,
    adopt::{self, Liveness},
    edits::{EditReader, PublishedEdit},
    links::Links,
    liveness::Adopter,
    seal,
};
use crate::{
    history::History,
    model::{Failure, RunId, UnixMs},
    process::current_process,
    store::Filter,
};

/// How often the directory is scanned if the system cannot watch it.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How many runs are looked up in the store when the system's reports are incomplete.
const MAX_MISSED_RUNS: usize = 1000;

/// What watching needs.
pub(super) struct DirectoryWatch {
    pub(super) history: History,
    pub(super) links: Links,
    pub(super) adopter: Adopter,
    pub(super) events: RunEvents,
    pub(super) since: UnixMs,
    pub(super) reports_all: bool,
}

impl DirectoryWatch {
    pub(super) fn begin(self) {
        tokio::spawn(async move {
            current_process::seam("watch.begin");
            self.run().await;
        });
    }

    async fn run(self) {
        let runs = self.history.runs.clone();
        let mut edits = EditReader::at_end(&runs);
        let (sender, mut reports) = mpsc::unbounded_channel();
        // The watcher is set up before the first scan, so that no change falls between the two.
        let watcher = watcher(&runs, sender);
        let mut busy = self.scan(true).await;
        let mut modified = modified(&runs);
        loop {
            let mut reported = Reported::default();
            match &watcher {
                Some(_) => {
                    // A run that is being started, or whose starter is just dying, is scanned again, for no event reports a
                    // lock.
                    let timeout = if busy { POLL_INTERVAL } else { Duration::MAX };
                    match tokio::time::timeout(timeout, reports.recv()).await {
                        Ok(Some(first)) => reported = first,
                        Ok(None) => return,
                        Err(_) => {}
                    }
                    while let Ok(next) = reports.try_recv() {
                        reported.ids.extend(next.ids);
                        reported.is_incomplete |= next.is_incomplete;
                    }
                }
                None => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    let now = self::modified(&runs);
                    reported.is_incomplete = now != modified;
                    modified = now;
                }
            }
            busy = self.scan(false).await;
            if self.reports_all {
                self.report_missed_runs(reported).await;
            }
            match edits.read_new() {
                Ok(new) => self.report_edits(new).await,
                Err(error) => tracing::warn!(%error, "cannot read the notifications of other servers"),
            }
        }
    }

    /// Scans every name in `runs/`: links to runs that live, closes those whose supervisor died, removes leftovers. Returns
    /// whether a leftover is left because a process holds it.
    async fn scan(&self, first: bool) -> bool {
        let runs = self.history.runs.clone();
        let known = self.links.table().ids();
        let listing = tokio::task::spawn_blocking(move || list_runs(&runs)).await.unwrap_or_default();
        for id in listing.runs.into_iter().filter(|id| !known.contains(id)) {
            if self.reports_all {
                if self.links.discover(id) && id.created_at() >= self.since {
                    self.report_run(id).await;
                }
            } else if first && matches!(self.adopter.resolve_liveness(id).await, Ok(Liveness::Final)) {
                // Nobody wants to hear of the run, but if no process holds its lock, it must be closed and sealed.
                self.links.seal(id);
            }
        }
        let mut busy = false;
        for (path, id) in listing.leftovers {
            let leftover = path.clone();
            let done = tokio::task::spawn_blocking(move || match id {
                Some(id) => adopt::remove_staging(&path, id),
                None => seal::remove_leftover(&path),
            });
            if let Ok(Err(error)) = done.await {
                tracing::warn!(%error, "cannot remove a leftover file");
            }
            busy |= leftover.exists();
        }
        busy
    }

    /// Reports runs that began, ended and were sealed before a scan could see their directories.
    async fn report_missed_runs(&self, reported: Reported) {
        let mut ids = reported.ids;
        if reported.is_incomplete {
            let (history, since) = (self.history.clone(), self.since);
            let newest = tokio::task::spawn_blocking(move || newest_in_store(&history, since)).await;
            match newest {
                Ok(Ok(newest)) => ids.extend(newest),
                Ok(Err(failure)) => tracing::warn!(%failure, "runs that ended meanwhile are not reported"),
                Err(error) => tracing::warn!(%error, "runs that ended meanwhile are not reported"),
            }
        }
        for id in ids.into_iter().filter(|id| id.created_at() >= self.since) {
            if self.links.misses(id) {
                self.report_run(id).await;
                self.links.ended(id).await;
            }
        }
    }

    /// Reports a run that another server has started or edited.
    async fn report_run(&self, id: RunId) {
        let history = self.history.clone();
        match tokio::task::spawn_blocking(move || history.run(id)).await {
            Ok(Ok(Some(run))) => self.events.send(RunEvent::Changed(Box::new(run))),
            Ok(Err(failure)) => tracing::warn!(run = %id, %failure, "a change of the run is not reported"),
            Ok(Ok(None)) | Err(_) => {}
        }
    }

    async fn report_edits(&self, edits: Vec<PublishedEdit>) {
        for edit in edits {
            match edit {
                PublishedEdit::Edited(id) => self.report_run(id).await,
                PublishedEdit::Deleted(ids) => self.events.send(RunEvent::Deleted(ids)),
            }
        }
    }
}

/// What the system has reported of `runs/`.
#[derive(Default)]
struct Reported {
    /// Runs whose directories appeared or went.
    ids: BTreeSet<RunId>,
    /// There may have been others.
    is_incomplete: bool,
}

/// Has the system report new names in `runs/` and appended edits. Linux allows 128 such watchers for each user.
fn watcher(runs: &Path, sender: mpsc::UnboundedSender<Reported>) -> Option<notify::RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if !event.kind.is_access() {
            let ids = event.paths.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect();
            // The receiver is dropped with the task, and then no report matters.
            sender.send(Reported { ids, is_incomplete: event.need_rescan() }).ok();
        }
    });
    let watched = watcher.and_then(|mut watcher| watcher.watch(runs, RecursiveMode::NonRecursive).map(|()| watcher));
    watched.inspect_err(|error| tracing::info!(%error, "polling the runs every half second")).ok()
}

/// When a name in `runs/` was last added or removed.
fn modified(runs: &Path) -> Option<SystemTime> {
    fs::metadata(runs).and_then(|metadata| metadata.modified()).ok()
}

/// The newest runs in the store that were created at `since` or later.
fn newest_in_store(history: &History, since: UnixMs) -> Result<Vec<RunId>, Failure> {
    let mut newest = Vec::new();
    history.store.list(&Filter::default(), None, |stored| {
        newest.push(stored.run.id);
        let is_last = stored.run.id.created_at() < since || newest.len() >= MAX_MISSED_RUNS;
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(newest)
}

/// What the directory `runs/` holds.
#[derive(Default)]
struct RunsListing {
    runs: Vec<RunId>,
    /// Directories that are not runs, with the id if a run was being started there.
    leftovers: Vec<(std::path::PathBuf, Option<RunId>)>,
}

fn list_runs(runs: &Path) -> RunsListing {
    let mut list_runs = RunsListing::default();
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Ok(id) = name.parse() {
            list_runs.runs.push(id);
        } else if let Some(id) = name.strip_prefix(".new-").and_then(|id| id.parse().ok()) {
            list_runs.leftovers.push((entry.path(), Some(id)));
        } else if name.starts_with(".gone-") {
            list_runs.leftovers.push((entry.path(), None));
        }
    }
    list_runs
}
