//! Whether runs live: asks their locks, and has those closed that no process holds.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::adopt::{self, Liveness};
use crate::{
    history::{History, HistoryError},
    model::{Failure, Run, RunId, RunState},
    supervisor::control,
};

/// How often a run that another server is adopting is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a request waits for another server that is adopting a run.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many ended runs are remembered: no fewer than a page of `run/list` has.
const MAX_ENDED_RUNS: usize = 512;

/// An ended run whose description is longer than this is read anew each time.
const MAX_ENDED_RUN_BYTES: u64 = 16 << 10;

/// Adopts runs. Clones belong together.
#[derive(Clone)]
pub(crate) struct Adopter {
    history: History,
    ended_runs: Arc<EndedRuns>,
    /// Where the cut ends of damaged logs go.
    aside_dir: PathBuf,
    /// Runs that get another final state than `lost`, because a client asked for it.
    final_states: Arc<Mutex<BTreeMap<RunId, RunState>>>,
}

impl Adopter {
    pub(crate) fn new(history: History, aside_dir: PathBuf) -> Self {
        Self { history, ended_runs: Arc::default(), aside_dir, final_states: Arc::default() }
    }

    /// Sets the state that a run gets if it is adopted.
    pub(crate) fn set_final_state(&self, id: RunId, state: RunState) {
        self.final_states.lock().insert(id, state);
    }

    /// Finds out whether a run lives, and adopts it if no process holds its lock.
    pub(crate) async fn resolve_liveness(&self, id: RunId) -> Result<Liveness, Failure> {
        let (dir, aside_dir) = (self.history.dir(id), self.aside_dir.clone());
        let final_state = self.final_states.lock().get(&id).copied().unwrap_or(RunState::Lost);
        let resolving = tokio::task::spawn_blocking(move || (adopt::resolve_liveness(&dir, &aside_dir, final_state), dir));
        let (liveness, dir) = resolving.await.map_err(|error| Failure::internal(error.to_string()))?;
        liveness.map_err(|error| {
            let message = format!("cannot close the run in {}: {error}; run `loomd doctor` for details", dir.path().display());
            Failure::store(dir.path(), message)
        })
    }

    /// Like [`Self::resolve_liveness`], but waits up to [`ADOPT_TIMEOUT`] for another server that is adopting the run.
    pub(crate) async fn resolve_liveness_waiting(&self, id: RunId) -> Result<Liveness, Failure> {
        let deadline = Instant::now() + ADOPT_TIMEOUT;
        loop {
            let mut liveness = self.resolve_liveness(id).await?;
            // An adopter that has the lock and has not created `adopting` yet looks like a supervisor, but its socket
            // refuses connections.
            let refused = |error: &io::Error| matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            if liveness == Liveness::Alive && control::connect(self.history.dir(id).path()).await.is_err_and(|error| refused(&error)) {
                liveness = Liveness::Busy;
            }
            if liveness != Liveness::Busy || Instant::now() >= deadline {
                return Ok(liveness);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The run as it is now; one whose supervisor is gone is closed first. One that has ended and is not sealed yet is read
    /// once, and not each time that runs are listed. Blocking.
    pub(crate) fn run(&self, id: RunId) -> Result<Option<Run>, HistoryError> {
        // Taken before the run is read: an edit that comes meanwhile has the run read once more.
        let version = FileVersion::of(&self.history.dir(id).description());
        if let Some(run) = self.ended_runs.get(id, version) {
            return Ok(Some(run));
        }
        let run = self.read_run(id)?;
        if let (Some(run), Some(version)) = (&run, version) {
            self.ended_runs.keep(run, version);
        }
        Ok(run)
    }

    fn read_run(&self, id: RunId) -> Result<Option<Run>, HistoryError> {
        let run = self.history.run(id)?;
        if run.as_ref().is_none_or(|run| run.state.is_final()) {
            return Ok(run);
        }
        match adopt::resolve_liveness(&self.history.dir(id), &self.aside_dir, RunState::Lost) {
            Ok(Liveness::Alive) => Ok(run),
            Ok(Liveness::Busy | Liveness::Final | Liveness::Gone) => self.history.run(id),
            Err(error) => {
                // It is shown as it is; a request for it alone tells why.
                tracing::error!(run = %id, %error, "cannot close the run");
                Ok(run)
            }
        }
    }
}

/// What is known of ended runs whose logs still exist. Nothing of such a run changes but its description, which an edit replaces
/// by another file.
#[derive(Default)]
struct EndedRuns(Mutex<BTreeMap<RunId, (FileVersion, Run)>>);

impl EndedRuns {
    /// The run, if its description is of this version still. A run without one is forgotten: its log is gone.
    fn get(&self, id: RunId, version: Option<FileVersion>) -> Option<Run> {
        let mut runs = self.0.lock();
        match runs.get(&id) {
            Some((known, run)) if Some(*known) == version => Some(run.clone()),
            _ => {
                runs.remove(&id);
                None
            }
        }
    }

    /// Remembers a run, if its last entry is written and it is no long one. The oldest make room: the newest are listed first.
    fn keep(&self, run: &Run, version: FileVersion) {
        if run.ended_at.is_some() && version.bytes <= MAX_ENDED_RUN_BYTES {
            let mut runs = self.0.lock();
            runs.insert(run.id, (version, run.clone()));
            if runs.len() > MAX_ENDED_RUNS {
                runs.pop_first();
            }
        }
    }
}

/// Tells a file from one that has replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    changed_at: (i64, i64),
    bytes: u64,
}

impl FileVersion {
    /// The version of a file; `None` if there is none.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self { inode: metadata.ino(), changed_at: (metadata.ctime(), metadata.ctime_nsec()), bytes: metadata.len() })
    }
}
