//! The two threads that talk to the store: one commits what is told, one seals. Nobody's request waits for them, but
//! those that change or delete what is in the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{
        Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Server, adopt, adopt::Settled, retention, seal, seal::Outcome};
use crate::{
    config::Config,
    history::History,
    model::{Failure, RunId, RunState, calls::Retention},
    process::own,
    supervisor::control,
};

/// How often live runs are looked at for full segments, and unfinished work is tried again.
const ROUND: Duration = Duration::from_millis(500);

/// When a server looks after retention first, and how often then. Whichever server comes first does it for all.
const FIRST_RETENTION: Duration = Duration::from_secs(60);
const RETENTION_ROUND: Duration = Duration::from_secs(600);

/// How often something is looked at that another server is busy with.
const LOOK: Duration = Duration::from_millis(20);

/// How long a request waits for another server that is adopting a run.
const PATIENCE: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&History) + Send>;

/// The near end of both threads.
pub struct Keeper {
    commits: Sender<Job>,
    seals: Sender<RunId>,
    history: History,
    data_dir: PathBuf,
    server: Weak<Server>,
}

impl Keeper {
    pub fn start(history: History, data_dir: PathBuf, config: &Config, server: Weak<Server>) -> Self {
        let (commits, jobs) = channel::<Job>();
        let (seals, runs) = channel();
        let committer = history.clone();
        spawn("commit", move || jobs.into_iter().for_each(|job| job(&committer)));
        let sealer = Sealer {
            history: history.clone(),
            data_dir: data_dir.clone(),
            keep_transcripts: config.keep_transcripts,
            retention: config.retention,
            retention_at: Instant::now() + FIRST_RETENTION,
            server: server.clone(),
            waiting: BTreeMap::new(),
        };
        spawn("seal", move || sealer.run(&runs));
        Self { commits, seals, history, data_dir, server }
    }

    /// Tells the store of a run, soon.
    pub fn tell(&self, id: RunId) {
        // A run whose directory is gone is sealed or deleted; the sealer tells what this does not.
        self.commit_soon(move |history| {
            let dir = history.dir(id);
            if let Ok(run) = crate::log::head::picture(&dir)
                && let Err(failure) = seal::tell(history, &dir, &run)
            {
                tracing::warn!(run = %id, %failure, "the store was not told of the run; it will be when the run is sealed");
            }
        });
    }

    /// Runs something on the commit thread and waits for it.
    pub async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, done) = oneshot::channel();
        self.commit_soon(move |history| drop(sender.send(work(history))));
        done.await.map_err(|_| Failure::internal("the commit thread has ended"))?
    }

    /// Asks for a run to be sealed.
    pub fn seal(&self, id: RunId) {
        // If the thread has ended, so has the process, all but.
        let _ = self.seals.send(id);
    }

    /// Finds out whether a run lives; adopts it if nobody holds it.
    pub async fn settle(&self, id: RunId) -> Result<Settled, Failure> {
        let (dir, aside, verdict) = (self.history.dir(id), self.data_dir.join("aside"), self.verdict(id));
        let settled = tokio::task::spawn_blocking(move || (adopt::settle(&dir, &aside, verdict), dir));
        let (settled, dir) = settled.await.map_err(|error| Failure::internal(error.to_string()))?;
        settled.map_err(|error| {
            let message = format!("the run in {} cannot be closed: {error}; `loomd doctor` says more", dir.path().display());
            Failure::store(dir.path(), message)
        })
    }

    /// The state that a run gets if it is adopted.
    fn verdict(&self, id: RunId) -> RunState {
        let server = self.server.upgrade();
        let asked = server.and_then(|server| server.verdicts.lock().expect("nobody panics while holding this").get(&id).copied());
        asked.unwrap_or(RunState::Lost)
    }

    /// Like [`Self::settle`], waiting a while for another server that is adopting the run.
    pub async fn settled(&self, id: RunId) -> Result<Settled, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut settled = self.settle(id).await?;
            // Between taking the lock and saying so, an adopter looks like a supervisor, but nobody listens.
            let refused = |error: &io::Error| matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            if settled == Settled::Alive && control::connect(self.history.dir(id).path()).await.is_err_and(|error| refused(&error)) {
                settled = Settled::Busy;
            }
            if settled != Settled::Busy || Instant::now() >= deadline {
                return Ok(settled);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Closes whatever nobody holds.
    pub async fn settle_all(&self, ids: Vec<RunId>) -> Result<(), Failure> {
        let (history, aside) = (self.history.clone(), self.data_dir.join("aside"));
        let settled = tokio::task::spawn_blocking(move || {
            for id in ids {
                let dir = history.dir(id);
                // One that cannot be closed is shown as it is; asking for it alone tells why.
                if let Err(error) = adopt::settle(&dir, &aside, RunState::Lost) {
                    tracing::error!(run = %id, %error, "the run cannot be closed");
                }
            }
        });
        settled.await.map_err(|error| Failure::internal(error.to_string()))
    }

    /// Removes what killed deletions have left in the store.
    pub fn tidy(&self) {
        self.commit_soon(|history| {
            if let Err(failure) = history.store.tidy() {
                tracing::warn!(%failure, "leftovers of deletions stay for now");
            }
        });
    }

    fn commit_soon(&self, job: impl FnOnce(&History) + Send + 'static) {
        let _ = self.commits.send(Box::new(job));
    }
}

struct Sealer {
    history: History,
    data_dir: PathBuf,
    keep_transcripts: bool,
    retention: Retention,
    /// When retention is looked after next.
    retention_at: Instant,
    server: Weak<Server>,
    /// What is to be tried again, and when.
    waiting: BTreeMap<RunId, Instant>,
}

impl Sealer {
    fn run(mut self, runs: &Receiver<RunId>) {
        own::yield_to_everybody();
        let mut round_at = Instant::now() + ROUND;
        loop {
            match runs.recv_timeout(round_at.saturating_duration_since(Instant::now())) {
                Ok(id) => self.seal(id),
                Err(RecvTimeoutError::Timeout) => {
                    round_at = Instant::now() + ROUND;
                    self.round();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn round(&mut self) {
        let now = Instant::now();
        let mut due: BTreeSet<RunId> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        // The upgrade must not be held: the last one to drop the server would be this thread.
        let live = self.server.upgrade().map(|server| server.links.ids()).unwrap_or_default();
        due.extend(live.into_iter().filter(|id| self.history.dir(*id).segments().is_ok_and(|segments| segments.len() > 1)));
        due.into_iter().for_each(|id| self.seal(id));
        if now >= self.retention_at {
            self.retention_at = now + RETENTION_ROUND;
            retention::keep(&self.history, &self.data_dir, &self.retention);
        }
    }

    fn seal(&mut self, id: RunId) {
        match seal::seal(&self.history, &self.data_dir, self.keep_transcripts, id) {
            Ok(Outcome::Done | Outcome::Live) => drop(self.waiting.remove(&id)),
            Ok(Outcome::Busy) => drop(self.waiting.insert(id, Instant::now() + ROUND)),
            Err(failure) => {
                tracing::warn!(run = %id, %failure, "will be sealed later");
                self.waiting.insert(id, Instant::now() + 2 * ROUND);
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a server may start two threads");
}
