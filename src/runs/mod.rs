//! The runs of a data directory, without any client: they are started, adopted, sealed, pruned and watched here, and their
//! supervisors are spoken to.
//!
//! Whoever serves a client holds [`RunsHandle`] and hears [`RunEvent`]s. Nothing here knows who that is.

mod adopt;
mod commands;
mod edits;
mod links;
mod liveness;
mod prune;
mod ready_supervisor;
mod retention;
mod seal;
mod start;
mod store_worker;
mod supervisor_link;
mod token;
mod watch;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, mpsc as std_mpsc},
};

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use self::{
    edits::PublishedEdit, liveness::Adopter, ready_supervisor::ReadySlot, store_worker::StoreWorker, supervisor_link::AttachedClient,
};
pub(crate) use self::{
    links::Links,
    prune::{PruneBounds, PrunedRuns},
    supervisor_link::{Growth, PendingReply},
    token::{ClaimedToken, TokenClaim},
};
use crate::{
    config::Config,
    history::History,
    model::{Failure, Run, RunId, UnixMs, control::LaunchSpec},
    process::detach,
};

/// What happens to the runs of a data directory.
#[derive(Debug)]
pub(crate) enum RunEvent {
    /// A session, permission or state entry. The same entry may come again.
    Entry {
        id: RunId,
        seq: u64,
        entry: Box<RawValue>,
    },
    /// A run is new, edited, or has a storage error.
    Changed(Box<Run>),
    Deleted(Vec<RunId>),
}

/// The way up: where events are sent.
#[derive(Clone, Debug)]
pub(crate) struct RunEvents(mpsc::UnboundedSender<RunEvent>);

impl RunEvents {
    fn send(&self, event: RunEvent) {
        // Without a receiver there is no client, and then no event matters.
        self.0.send(event).ok();
    }
}

/// Reads runs that are not sealed yet: live ones, and those that have just ended.
pub(crate) struct Unsealed {
    adopter: Adopter,
    links: Arc<links::LinkTable>,
    history: History,
}

impl Unsealed {
    /// The newest `max` that match, from before `before`. A run whose supervisor is gone is closed first. No more runs are read than
    /// it takes to find these, and those that are known to have ended not at all if only live ones are wanted. Blocking.
    pub(crate) fn newest(
        &self,
        before: Option<RunId>,
        max: usize,
        live_only: bool,
        matches: impl Fn(&Run) -> bool,
    ) -> Result<BTreeMap<RunId, Run>, Failure> {
        let mut ids = self.history.runs_in_logs()?;
        ids.retain(|id| before.is_none_or(|before| *id < before) && !(live_only && self.links.has_ended(*id)));
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut found = BTreeMap::new();
        for id in ids {
            if found.len() >= max {
                break;
            }
            // The run may be sealed or deleted meanwhile; then the store knows. One that cannot be read is shown as such.
            let run = self.adopter.run(id).or_else(|error| match self.history.dir(id).is_there() {
                true => Ok(Some(self.history.unreadable_run(id, &error))),
                false => Err(error),
            });
            if let Some(run) = run?.filter(&matches) {
                found.insert(id, run);
            }
        }
        Ok(found)
    }
}

/// The handle of the runs of one data directory.
pub(crate) struct RunsHandle {
    pub(crate) history: History,
    data_dir: PathBuf,
    pub(crate) links: Links,
    adopter: Adopter,
    store_worker: StoreWorker,
    events: RunEvents,
    ready: Arc<ReadySlot>,
}

impl RunsHandle {
    /// Starts the threads that use the store. The directories exist. Returns also the events.
    pub(crate) fn open(data_dir: PathBuf, history: History, config: &Config) -> (Self, mpsc::UnboundedReceiver<RunEvent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let events = RunEvents(sender);
        let adopter = Adopter::new(history.clone(), data_dir.join("aside"));
        let (seals, to_seal) = std_mpsc::channel();
        let links = Links::new(history.clone(), adopter.clone(), events.clone(), seals);
        let ready = Arc::new(ReadySlot::new(config.supervisor.scope));
        let store_worker = StoreWorker::start(&history, &data_dir, config, links.table(), to_seal);
        (Self { history, data_dir, links, adopter, store_worker, events, ready }, receiver)
    }

    /// Begins to watch the data directory. Of the runs of other servers there are events only if `reports_all`, of a new one if it
    /// was created at `since` or later.
    pub(crate) fn watch(&self, since: UnixMs, reports_all: bool) {
        self.store_worker.tidy();
        let watch = watch::DirectoryWatch {
            history: self.history.clone(),
            links: self.links.clone(),
            adopter: self.adopter.clone(),
            events: self.events.clone(),
            since,
            reports_all,
        };
        watch.begin();
    }

    /// Starts a run, and keeps the token for it. There may be events of it before this returns.
    pub(crate) async fn start(&self, spec: LaunchSpec, token: Option<ClaimedToken>) -> Result<Run, Failure> {
        let (id, runs) = (spec.run.id, self.history.runs.clone());
        let client = AttachedClient {
            attached: spec.attached,
            shows_terminal: spec.shows_terminal,
            can_answer: spec.can_answer.filter(|_| spec.notifier.is_some()),
        };
        self.links.expect(id);
        let ready = Arc::clone(&self.ready);
        let starting = tokio::task::spawn_blocking(move || {
            if let Some(token) = &token {
                token.name_run(id).map_err(|error| Failure::store(&runs, format!("cannot claim the token: {error}")))?;
            }
            let started = start::start(&runs, &spec, &ready)?;
            token.into_iter().for_each(ClaimedToken::keep);
            Ok(started)
        });
        let started = starting.await.unwrap_or_else(|error| Err(Failure::internal(format!("the start failed: {error}"))));
        let started = started.inspect_err(|_| self.links.start_failed(id))?;
        self.links.begin(id, started.connection, client);
        self.store_worker.record_run(id);
        if detach::CAN_WAIT_READY {
            let ready = Arc::clone(&self.ready);
            tokio::task::spawn_blocking(move || ready.fill());
        }
        Ok(started.run)
    }

    /// Claims a client's token; waits while another server is starting a run with it.
    pub(crate) async fn claim_token(&self, token: &str) -> Result<TokenClaim, Failure> {
        token::take(&self.history, token).await
    }

    /// Makes sure that a run which is not final has a process: one whose supervisor is gone is closed. Waits a moment for another
    /// server that is closing it.
    pub(crate) async fn ensure_liveness(&self, id: RunId) -> Result<(), Failure> {
        match self.history.dir(id).path().exists() {
            true => self.adopter.resolve_liveness_waiting(id).await.map(drop),
            false => Ok(()),
        }
    }

    /// What reads runs that are not sealed yet.
    pub(crate) fn unsealed(&self) -> Unsealed {
        Unsealed { adopter: self.adopter.clone(), links: self.links.table(), history: self.history.clone() }
    }

    /// Runs `work` on the thread that commits to the store, and waits for its result.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.store_worker.commit(work).await
    }

    /// Removes the log and the rows of a run that has ended. Returns how many bytes they took.
    pub(crate) async fn delete(&self, id: RunId) -> Result<u64, Failure> {
        let data_dir = self.data_dir.clone();
        let freed = self.commit(move |history| prune::remove(history, &data_dir, &[id])).await?.freed_bytes;
        self.publish(&PublishedEdit::Deleted(vec![id]));
        Ok(freed)
    }

    /// Removes the ended runs that exceed the bounds, and gives their space back to the system where that is possible.
    pub(crate) async fn prune(&self, bounds: PruneBounds) -> Result<PrunedRuns, Failure> {
        let data_dir = self.data_dir.clone();
        let pruned = self.commit(move |history| prune::prune_and_compact(history, &data_dir, bounds)).await?;
        if !pruned.runs.is_empty() {
            self.publish(&PublishedEdit::Deleted(pruned.runs.clone()));
        }
        Ok(pruned)
    }
}

#[cfg(test)]
mod tests;
