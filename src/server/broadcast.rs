//! Notifies a client about runs that it is not attached to.
//!
//! These notifications are rare and wait in the control lane, which never waits for a client. So that a client which
//! has stopped reading does not make the server grow, beyond a bound only the run's id is remembered; when the client
//! reads again it gets one `run/changed` with the run as it is then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use tokio::sync::mpsc::UnboundedReceiver;

use super::follower::Followers;
use crate::{
    history::History,
    model::{Kind, Run, RunId, line},
    rpc::Outgoing,
    runs::RunEvent,
    supervisor::now,
};

/// Bytes of broadcasts that may wait for a client.
const MAX_BACKLOG_BYTES: usize = 4 << 20;

/// Messages that are held back while a token is being claimed, or while a run is being started.
const MAX_HELD_MESSAGES: usize = 1000;
/// A run that is younger than this may be the one that a token means.
const NEW_RUN_MS: u64 = 30_000;

/// How many runs are remembered of which the client was notified; older ones send nothing more.
const MAX_REMEMBERED_RUNS: usize = 10_000;

/// The broadcasting side of a server. Clones belong together.
#[derive(Clone)]
pub(crate) struct Broadcast(Arc<BroadcastState>);

struct BroadcastState {
    out: Outgoing,
    watch: bool,
    history: History,
    followers: Arc<Followers>,
    /// Of each run, the number of the newest rare entry that this client was notified about.
    newest_seen: Mutex<BTreeMap<RunId, u64>>,
    started_here: Mutex<BTreeSet<RunId>>,
    /// Runs that this connection attached to and has not left, including those that have ended.
    attached: Mutex<BTreeSet<RunId>>,
    missed: Mutex<BTreeSet<RunId>>,
    /// Runs whose `run/start` has not been answered, so that the client must not be notified about them yet, and the
    /// entries that it gets afterwards.
    staging: Mutex<BTreeMap<RunId, Vec<Box<RawValue>>>>,
    held: Arc<Mutex<HeldNotifications>>,
}

/// The messages that wait while it is not known whose run a token means.
#[derive(Default)]
struct HeldNotifications {
    holders: usize,
    messages: Vec<(RunId, Vec<u8>)>,
}

/// While a gate exists, the client gets no notifications about new runs.
pub(crate) struct NotificationGate {
    held: Arc<Mutex<HeldNotifications>>,
    out: Outgoing,
}

impl Drop for NotificationGate {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        held.holders -= 1;
        if held.holders == 0 {
            held.messages.drain(..).for_each(|(_, message)| self.out.control(message));
        }
    }
}

impl Broadcast {
    pub(crate) fn new(out: Outgoing, watch: bool, history: History, followers: Arc<Followers>) -> Self {
        Self(Arc::new(BroadcastState {
            out,
            watch,
            history,
            followers,
            newest_seen: Mutex::default(),
            started_here: Mutex::default(),
            attached: Mutex::default(),
            missed: Mutex::default(),
            staging: Mutex::default(),
            held: Arc::default(),
        }))
    }

    /// Notifies the client of what happens to runs, in order.
    pub(crate) async fn handle_events(self, mut events: UnboundedReceiver<RunEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                // A client that follows the run gets the entry from the log.
                RunEvent::Entry { id, .. } if self.0.followers.is_attached(id) => {}
                RunEvent::Entry { id, seq, entry } => {
                    if self.first_seen(id, seq) {
                        self.notify_entry(id, &entry);
                    }
                }
                RunEvent::Changed(run) => self.notify_changed(&run),
                RunEvent::Deleted(ids) => self.notify_deleted(&ids),
            }
        }
    }

    /// Notes that the client is notified about a rare entry, by a follower or by itself. False if it was already.
    pub(crate) fn first_seen(&self, id: RunId, seq: u64) -> bool {
        let mut newest_seen = self.0.newest_seen.lock();
        let newest = newest_seen.entry(id).or_default();
        let first_seen = seq > *newest;
        *newest = seq.max(*newest);
        if newest_seen.len() > MAX_REMEMBERED_RUNS {
            newest_seen.pop_first();
        }
        first_seen
    }

    /// Stages the notifications about a run that this connection is about to start.
    pub(crate) fn expect_start(&self, id: RunId) {
        self.0.started_here.lock().insert(id);
        self.0.staging.lock().insert(id, Vec::new());
    }

    /// Drops what was staged: the start failed, or the client follows the run and gets every entry from its follower.
    pub(crate) fn discard_staged(&self, id: RunId) {
        self.0.staging.lock().remove(&id);
    }

    /// Sends what was staged. The answer that makes the run known has been sent, to a client that does not follow it.
    pub(crate) fn send_staged(&self, id: RunId) {
        // The lock is held, so that an entry that comes just now is sent after these.
        let mut staging = self.0.staging.lock();
        let waiting = staging.remove(&id).unwrap_or_default();
        for entry in &waiting {
            if self.has_capacity(id) {
                let kind = line::head(entry.get().as_bytes()).map_or(Kind::State, |head| head.kind);
                self.send_or_hold(Some(id), kind.method(), entry);
            }
        }
        drop(staging);
    }

    /// Notes that this connection attaches to a run, of which the client has the entries up to `after`.
    pub(crate) fn attach(&self, id: RunId, after: u64) {
        self.0.attached.lock().insert(id);
        self.first_seen(id, after);
    }

    /// Notes that this connection leaves a run.
    pub(crate) fn detach(&self, id: RunId) {
        self.0.attached.lock().remove(&id);
    }

    /// Whether this connection attached to a run and has not left it.
    pub(crate) fn is_attached(&self, id: RunId) -> bool {
        self.0.attached.lock().contains(&id)
    }

    /// Holds back notifications about new runs, for one of them may be the answer to a request that is under way.
    pub(crate) fn hold(&self) -> NotificationGate {
        self.0.held.lock().holders += 1;
        NotificationGate { held: Arc::clone(&self.0.held), out: self.0.out.clone() }
    }

    /// Drops the held messages about a run that turned out to be the answer: its follower sends every entry.
    pub(crate) fn forget_held(&self, id: RunId) {
        self.0.held.lock().messages.retain(|(held, _)| *held != id);
    }

    /// Whether the client is notified about a run that it is not attached to.
    pub(crate) fn notifies_about(&self, id: RunId) -> bool {
        let is_staged = self.0.staging.lock().contains_key(&id);
        let is_started_here = || self.0.started_here.lock().contains(&id);
        !is_staged && (self.0.watch || is_started_here() || self.is_attached(id))
    }

    /// Notifies about a rare entry of a run that the client is not attached to.
    pub(crate) fn notify_entry(&self, id: RunId, entry: &RawValue) {
        if let Some(waiting) = self.0.staging.lock().get_mut(&id) {
            if waiting.len() < MAX_HELD_MESSAGES {
                waiting.push(entry.to_owned());
            }
            return;
        }
        if !self.notifies_about(id) || !self.has_capacity(id) {
            return;
        }
        let kind = line::head(entry.get().as_bytes()).map_or(Kind::State, |head| head.kind);
        self.send_or_hold(Some(id), kind.method(), entry);
    }

    /// Notifies about a new run, an edited one, or one with a storage error.
    pub(crate) fn notify_changed(&self, run: &Run) {
        if self.notifies_about(run.id) && self.has_capacity(run.id) {
            self.send_or_hold(Some(run.id), "run/changed", &json!({ "run": run }));
        }
    }

    /// Notifies about runs that were deleted.
    pub(crate) fn notify_deleted(&self, ids: &[RunId]) {
        if self.0.watch || ids.iter().any(|id| self.notifies_about(*id)) {
            self.send_or_hold(None, "run/deleted", &json!({ "runIds": ids }));
        }
    }

    fn send_or_hold(&self, run_id: Option<RunId>, method: &str, params: &(impl Serialize + ?Sized)) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string().into_bytes();
        let mut held = self.0.held.lock();
        match run_id.filter(|id| held.holders > 0 && held.messages.len() < MAX_HELD_MESSAGES && is_new(*id)) {
            Some(id) => held.messages.push((id, message)),
            None => self.0.out.control(message),
        }
    }

    /// Whether the client's backlog has capacity for a notification. If not, the client gets `run/changed` once it
    /// reads again.
    fn has_capacity(&self, id: RunId) -> bool {
        if self.0.out.control_backlog() < MAX_BACKLOG_BYTES {
            return true;
        }
        let mut missed = self.0.missed.lock();
        if missed.is_empty() {
            tokio::spawn(catch_up(self.clone()));
        }
        missed.insert(id);
        false
    }
}

fn is_new(id: RunId) -> bool {
    id.created_at() + NEW_RUN_MS > now()
}

/// Waits until the client reads again, and notifies it about every run whose notifications it has missed.
async fn catch_up(broadcast: Broadcast) {
    broadcast.0.out.control_below(MAX_BACKLOG_BYTES / 2).await;
    let missed = std::mem::take(&mut *broadcast.0.missed.lock());
    for id in missed {
        let history = broadcast.0.history.clone();
        if let Ok(Ok(Some(run))) = tokio::task::spawn_blocking(move || history.run(id)).await {
            broadcast.notify_changed(&run);
        }
    }
}
