//! The links to supervisors: one for each live run that is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::net::UnixStream;

use super::{
    RunEvent, RunEvents,
    liveness::Adopter,
    start::StarterConnection,
    supervisor_link::{AttachedClient, Link, LinkTask},
};
use crate::{
    history::History,
    log::follow,
    model::{Entry, Failure, Run, RunId, control::Command, entry::PermissionStatus, line},
};

/// How long `shutdown` waits for one supervisor, so that a supervisor that is stopped does not hold it up.
const SYNC_TIMEOUT: Duration = Duration::from_secs(2);

/// How many runs are remembered as ended; older ones send nothing more.
const MAX_REMEMBERED_RUNS: usize = 10_000;

/// Bytes at the end of a run's log in which its final entries are looked for.
const FINAL_ENTRIES_BYTES: usize = 16 << 10;

/// All links, by run. Clones belong together.
#[derive(Clone)]
pub(crate) struct Links {
    history: History,
    adopter: Adopter,
    events: RunEvents,
    /// Where runs go whose link has ended.
    seals: Sender<RunId>,
    table: Arc<LinkTable>,
}

/// Which runs have links, and which need none any more.
#[derive(Default)]
pub(crate) struct LinkTable {
    open: Mutex<BTreeMap<RunId, Link>>,
    /// Runs whose link has ended and whose log still exists.
    ended_runs: Mutex<BTreeSet<RunId>>,
    /// Runs that are being started here: the connection that starts one becomes its link.
    starting: Mutex<BTreeSet<RunId>>,
}

impl LinkTable {
    pub(crate) fn ids(&self) -> BTreeSet<RunId> {
        self.open.lock().keys().copied().collect()
    }

    pub(super) fn has_ended(&self, id: RunId) -> bool {
        self.ended_runs.lock().contains(&id)
    }
}

impl Links {
    pub(super) fn new(history: History, adopter: Adopter, events: RunEvents, seals: Sender<RunId>) -> Self {
        Self { history, adopter, events, seals, table: Arc::default() }
    }

    pub(super) fn table(&self) -> Arc<LinkTable> {
        Arc::clone(&self.table)
    }

    /// Notes that a run is being started. [`Self::begin`] or [`Self::start_failed`] follows.
    pub(super) fn expect(&self, id: RunId) {
        self.table.starting.lock().insert(id);
    }

    pub(super) fn start_failed(&self, id: RunId) {
        self.table.starting.lock().remove(&id);
    }

    /// Begins a link over the connection that the supervisor was started with.
    pub(super) fn begin(&self, id: RunId, connection: StarterConnection, client: AttachedClient) {
        let StarterConnection { stream, version } = connection;
        let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
        let stream =
            stream.inspect_err(|error| tracing::error!(%error, run = %id, "lost the connection to the new supervisor; connecting again"));
        let mut open = self.table.open.lock();
        open.insert(id, self.spawn(id, stream.ok(), version, None, client));
        self.table.starting.lock().remove(&id);
    }

    /// The link to a run that may live; `None` for a run that has ended or does not exist.
    pub(crate) fn find(&self, id: RunId) -> Option<Link> {
        self.find_or_begin(id).map(|(link, _)| link)
    }

    /// Begins a link to a run of another server that may live, unless there is one. Returns whether it did.
    pub(super) fn discover(&self, id: RunId) -> bool {
        let is_ours = self.table.starting.lock().contains(&id);
        !is_ours && self.find_or_begin(id).is_some_and(|(_, is_new)| is_new)
    }

    fn find_or_begin(&self, id: RunId) -> Option<(Link, bool)> {
        let mut open = self.table.open.lock();
        if let Some(link) = open.get(&id) {
            return Some((link.clone(), false));
        }
        let has_ended = self.table.ended_runs.lock().contains(&id);
        if has_ended || !self.history.dir(id).path().exists() {
            return None;
        }
        let known = self.history.run(id).ok().flatten();
        let link = self.spawn(id, None, 0, known, AttachedClient::default());
        open.insert(id, link.clone());
        Some((link, true))
    }

    /// Spawns the task of a link. `version` is the supervisor's, 0 as long as that is not known. `known` is a run of another server as it was before; there is an event if it has changed by the time
    /// at which the link is connected.
    fn spawn(&self, id: RunId, stream: Option<UnixStream>, version: u64, known: Option<Run>, client: AttachedClient) -> Link {
        let (link, task) = LinkTask::new(self.history.dir(id), self.adopter.clone(), self.events.clone(), id, known, client);
        task.note_version(version);
        let links = self.clone();
        tokio::spawn(async move {
            task.run(stream).await;
            links.ended(id).await;
        });
        link
    }

    /// Whether a run has ended and its log is gone, without there ever having been a link to it.
    pub(super) fn misses(&self, id: RunId) -> bool {
        let is_known = self.table.open.lock().contains_key(&id) || self.table.ended_runs.lock().contains(&id);
        !is_known && !self.history.dir(id).path().exists()
    }

    /// Handles the end of a link: its run is final, adopted or gone. The final entries may have come by no link, so
    /// they are read from the log.
    pub(super) async fn ended(&self, id: RunId) {
        {
            let mut ended_runs = self.table.ended_runs.lock();
            ended_runs.insert(id);
            if ended_runs.len() > MAX_REMEMBERED_RUNS {
                ended_runs.pop_first();
            }
        }
        self.table.open.lock().remove(&id);
        let (history, adopter) = (self.history.clone(), self.adopter.clone());
        let last = tokio::task::spawn_blocking(move || final_entries(&history, &adopter, id)).await;
        for entry in last.into_iter().flatten().flatten() {
            let seq = follow::seq_of(entry.get().as_bytes()).unwrap_or(0);
            self.events.send(RunEvent::Entry { id, seq, entry });
        }
        self.seal(id);
    }

    /// Has the sealing thread seal a run.
    pub(super) fn seal(&self, id: RunId) {
        // If the sealing thread has ended, another server seals the run.
        self.seals.send(id).ok();
    }

    /// Has every live run that this server knows sync its log.
    pub(crate) async fn sync_all(&self) {
        let links: Vec<Link> = self.table.open.lock().values().cloned().collect();
        let synced = links.iter().map(|link| tokio::time::timeout(SYNC_TIMEOUT, link.push(Command::Sync { seq: None })));
        join_all(synced).await;
    }
}

/// The final entry of a run, if it has one, preceded by the resolved permissions right before it: an adopter that
/// closed the run has notified no client about them.
fn final_entries(history: &History, adopter: &Adopter, id: RunId) -> Result<Vec<Box<RawValue>>, Failure> {
    let Some(run) = adopter.run(id)?.filter(|run| run.state.is_final()) else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    crate::history::BackwardReader::new(id, run.last_seq + 1).read(history, FINAL_ENTRIES_BYTES, &mut lines)?;
    let mut entries = Vec::new();
    for line in line::lines(&lines).collect::<Vec<_>>().into_iter().rev() {
        let is_final_entry = match line::parse(line) {
            Ok(Entry::State(state)) => entries.is_empty() && state.state.is_final(),
            Ok(Entry::Permission(answer)) => !entries.is_empty() && matches!(answer.status, PermissionStatus::Resolved { .. }),
            _ => false,
        };
        let entry = std::str::from_utf8(line).ok().filter(|_| is_final_entry);
        let Some(entry) = entry.and_then(|entry| RawValue::from_string(entry.to_owned()).ok()) else { break };
        entries.push(entry);
    }
    entries.reverse();
    Ok(entries)
}
