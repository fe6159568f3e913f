//! Whether runs live: asks their locks, and has those closed that no process holds.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
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

/// Adopts runs. Clones belong together.
#[derive(Clone)]
pub(crate) struct Adopter {
    history: History,
    /// Where the cut ends of damaged logs go.
    aside_dir: PathBuf,
    /// Runs that get another final state than `lost`, because a client asked for it.
    final_states: Arc<Mutex<BTreeMap<RunId, RunState>>>,
}

impl Adopter {
    pub(crate) fn new(history: History, aside_dir: PathBuf) -> Self {
        Self { history, aside_dir, final_states: Arc::default() }
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

    /// The run as it is now; one whose supervisor is gone is closed first. Blocking.
    pub(crate) fn run(&self, id: RunId) -> Result<Option<Run>, HistoryError> {
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
