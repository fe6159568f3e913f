//! The two threads that use the store: one commits, one seals. Only requests that change or delete what is in the store
//! wait for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{links::LinkTable, retention, seal, seal::SealOutcome};
use crate::{
    config::Config,
    history::History,
    model::{Failure, RunId, calls::Retention},
    process::current_process,
};

/// How often the sealing thread looks for full segments of live runs and retries unfinished work.
const SEAL_INTERVAL: Duration = Duration::from_millis(500);

/// How long after its start a server enforces retention for the first time. The first server that comes to it does it
/// for all.
const FIRST_RETENTION_DELAY: Duration = Duration::from_secs(60);
/// How often a server enforces retention after the first time.
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);

/// How long a run that was started waits to be recorded, so that one commit records many. Until then it is in its log.
const RECORD_DELAY: Duration = Duration::from_millis(250);
/// How many runs the sealing thread takes at a time.
const MAX_SEALED_RUNS: usize = 256;

/// What the commit thread does.
enum Job {
    /// Records a run, soon.
    Record(RunId),
    Work(Box<dyn FnOnce(&History) + Send>),
}

/// The handle of the thread that commits.
pub(crate) struct StoreWorker {
    commits: Sender<Job>,
}

impl StoreWorker {
    /// Starts both threads. The sealing thread seals the runs that come through `to_seal`.
    pub(crate) fn start(history: &History, data_dir: &Path, config: &Config, links: Arc<LinkTable>, to_seal: Receiver<RunId>) -> Self {
        let (commits, jobs) = channel::<Job>();
        let committer = history.clone();
        spawn("commit", move || run_jobs(&committer, &jobs));
        let sealer = Sealer {
            history: history.clone(),
            data_dir: data_dir.to_owned(),
            keep_transcripts: config.keep_transcripts,
            retention: config.retention,
            retention_at: Instant::now() + FIRST_RETENTION_DELAY,
            links,
            waiting: BTreeMap::new(),
        };
        spawn("seal", move || sealer.run(&to_seal));
        Self { commits }
    }

    /// Has the commit thread record a run in the store, soon.
    pub(crate) fn record_run(&self, id: RunId) {
        // If the commit thread has ended, the run is recorded when it is sealed.
        self.commits.send(Job::Record(id)).ok();
    }

    /// Runs `work` on the commit thread and waits for its result.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, done) = oneshot::channel();
        self.commit_soon(move |history| drop(sender.send(work(history))));
        done.await.map_err(|_| Failure::internal("the commit thread has ended"))?
    }

    /// Removes what deletions by killed servers have left in the store.
    pub(crate) fn tidy(&self) {
        self.commit_soon(|history| {
            if let Err(failure) = history.store.tidy() {
                tracing::warn!(%failure, "leftover files of deletions stay for now");
            }
        });
    }

    fn commit_soon(&self, job: impl FnOnce(&History) + Send + 'static) {
        // If the commit thread has ended, the job is dropped, and `commit` learns of it by its channel.
        self.commits.send(Job::Work(Box::new(job))).ok();
    }
}

/// The commit thread.
fn run_jobs(history: &History, jobs: &Receiver<Job>) {
    let (mut started, mut record_at) = (BTreeSet::new(), Instant::now());
    loop {
        let job = match started.is_empty() {
            true => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => jobs.recv_timeout(record_at.saturating_duration_since(Instant::now())),
        };
        match job {
            Ok(Job::Work(work)) => work(history),
            Ok(Job::Record(id)) => {
                if started.is_empty() {
                    record_at = Instant::now() + RECORD_DELAY;
                }
                started.insert(id);
            }
            Err(error) => {
                if let Err(failure) = seal::record_runs(history, &started) {
                    tracing::warn!(%failure, "the store has no record of some runs; it is written when they are sealed");
                }
                started.clear();
                if error == RecvTimeoutError::Disconnected {
                    return;
                }
            }
        }
    }
}

struct Sealer {
    history: History,
    data_dir: PathBuf,
    keep_transcripts: bool,
    retention: Retention,
    /// When retention is enforced next.
    retention_at: Instant,
    links: Arc<LinkTable>,
    /// Runs whose sealing is tried again, and when.
    waiting: BTreeMap<RunId, Instant>,
}

impl Sealer {
    fn run(mut self, runs: &Receiver<RunId>) {
        current_process::lower_thread_priority();
        let mut next_round = Instant::now() + SEAL_INTERVAL;
        loop {
            match runs.recv_timeout(next_round.saturating_duration_since(Instant::now())) {
                Ok(id) => {
                    let more = runs.try_iter().take(MAX_SEALED_RUNS - 1);
                    self.seal(&std::iter::once(id).chain(more).collect());
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_round = Instant::now() + SEAL_INTERVAL;
                    self.seal_due_runs();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn seal_due_runs(&mut self) {
        let now = Instant::now();
        let mut due: BTreeSet<RunId> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        let live = self.links.ids();
        due.extend(live.into_iter().filter(|id| self.history.dir(*id).segments().is_ok_and(|segments| segments.len() > 1)));
        self.seal(&due);
        if now >= self.retention_at {
            self.retention_at = now + RETENTION_INTERVAL;
            retention::enforce(&self.history, &self.data_dir, &self.retention);
        }
    }

    fn seal(&mut self, ids: &BTreeSet<RunId>) {
        for (id, outcome) in seal::seal_all(&self.history, &self.data_dir, self.keep_transcripts, ids) {
            match outcome {
                Ok(SealOutcome::Done | SealOutcome::Live) => drop(self.waiting.remove(&id)),
                Ok(SealOutcome::Busy) => drop(self.waiting.insert(id, Instant::now() + SEAL_INTERVAL)),
                Err(failure) => {
                    tracing::warn!(run = %id, %failure, "the run will be sealed later");
                    self.waiting.insert(id, Instant::now() + 2 * SEAL_INTERVAL);
                }
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a server may start two threads");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::seal::tests::ended_runs;

    /// A burst costs far fewer commits than runs: those that queue while one commit waits for the disk share the next.
    #[test]
    fn a_burst_of_ended_runs_costs_few_commits() {
        let (data, history, ids) = ended_runs(100);
        let (seals, to_seal) = channel();
        let (records, jobs) = channel();
        for id in &ids {
            records.send(Job::Record(*id)).expect("somebody listens");
            seals.send(*id).expect("somebody listens");
        }
        // Both end when their queues do.
        drop((records, seals));
        run_jobs(&history, &jobs);
        assert_eq!(history.store.commit_count(), 0, "what has ended is recorded when it is sealed");
        let sealer = Sealer {
            history: history.clone(),
            data_dir: data.path().to_owned(),
            keep_transcripts: false,
            retention: Retention::default(),
            retention_at: Instant::now() + FIRST_RETENTION_DELAY,
            links: Arc::default(),
            waiting: BTreeMap::new(),
        };
        sealer.run(&to_seal);
        assert!(ids.iter().all(|id| !history.dir(*id).path().exists()));
        assert!(history.store.commit_count() <= 2, "{} commits for {} runs", history.store.commit_count(), ids.len());
    }
}
