//! What a client hears of runs that it is not attached to.
//!
//! These are rare and wait in the control lane, which never waits for a client. So that a client which has stopped
//! reading does not make us grow, beyond a bound only the run's id is kept; when the client reads again it gets one
//! `run/changed` with the run as it is then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::Server;
use crate::{
    model::{Kind, Run, RunId, line},
    rpc::Outgoing,
    supervisor::now,
};

/// Most bytes of broadcasts that may wait for a client.
const BACKLOG_LIMIT: usize = 4 << 20;

/// Most messages that are held back while a token is being taken.
const HELD_LIMIT: usize = 1000;
/// A run that is younger may be the one that a token means.
const NEW_MS: u64 = 30_000;

/// The broadcasting side of a server.
pub struct Broadcast {
    out: Outgoing,
    watch: bool,
    own: Mutex<BTreeSet<RunId>>,
    /// Runs that this connection was attached to and has not left; also when they have ended.
    attached: Mutex<BTreeSet<RunId>>,
    missed: Mutex<BTreeSet<RunId>>,
    /// Runs whose `run/start` has not been answered: nothing may be said of them yet. What is to be said afterwards.
    unborn: Mutex<BTreeMap<RunId, Vec<Box<RawValue>>>>,
    held: Arc<Mutex<Held>>,
}

/// What waits while it is not known whose run a token means.
#[derive(Default)]
struct Held {
    holders: usize,
    messages: Vec<(RunId, Vec<u8>)>,
}

/// While it lives, nothing is said of runs that are new.
pub struct Hold {
    held: Arc<Mutex<Held>>,
    out: Outgoing,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.lock().expect("nobody panics while holding this");
        held.holders -= 1;
        if held.holders == 0 {
            held.messages.drain(..).for_each(|(_, message)| self.out.control(message));
        }
    }
}

impl Broadcast {
    pub fn new(out: Outgoing, watch: bool) -> Self {
        Self {
            out,
            watch,
            own: Mutex::default(),
            attached: Mutex::default(),
            missed: Mutex::default(),
            unborn: Mutex::default(),
            held: Arc::default(),
        }
    }

    /// This connection is about to start a run.
    pub fn expect(&self, id: RunId) {
        self.own.lock().expect("nobody panics while holding this").insert(id);
        self.unborn.lock().expect("nobody panics while holding this").insert(id, Vec::new());
    }

    /// The start failed, or the client follows the run and hears everything so.
    pub fn born(&self, id: RunId) {
        self.unborn.lock().expect("nobody panics while holding this").remove(&id);
    }

    /// The answer that makes a run known has been sent to a client that does not follow it: what happened meanwhile is told.
    pub fn born_unfollowed(&self, server: &Arc<Server>, id: RunId) {
        // Under the lock, so that what comes just now comes after.
        let mut unborn = self.unborn.lock().expect("nobody panics while holding this");
        let waiting = unborn.remove(&id).unwrap_or_default();
        for entry in &waiting {
            if self.has_room(server, id) {
                let kind = line::head(entry.get().as_bytes()).map_or(Kind::State, |head| head.kind);
                self.notify(Some(id), kind.method(), entry);
            }
        }
        drop(unborn);
    }

    /// This connection attaches to a run.
    pub fn attached(&self, id: RunId) {
        self.attached.lock().expect("nobody panics while holding this").insert(id);
    }

    /// This connection leaves a run.
    pub fn detached(&self, id: RunId) {
        self.attached.lock().expect("nobody panics while holding this").remove(&id);
    }

    /// Whether this connection was attached to a run and has not left it.
    pub fn is_attached(&self, id: RunId) -> bool {
        self.attached.lock().expect("nobody panics while holding this").contains(&id)
    }

    /// Holds back what is said of new runs, for one of them may be the answer to a request that is under way.
    pub fn hold(&self) -> Hold {
        self.held.lock().expect("nobody panics while holding this").holders += 1;
        Hold { held: Arc::clone(&self.held), out: self.out.clone() }
    }

    /// This run is the answer: its follower tells everything.
    pub fn forget_held(&self, id: RunId) {
        self.held.lock().expect("nobody panics while holding this").messages.retain(|(held, _)| *held != id);
    }

    /// Whether this client is to hear of a run that it is not attached to.
    pub fn hears_of(&self, id: RunId) -> bool {
        let is_unborn = self.unborn.lock().expect("nobody panics while holding this").contains_key(&id);
        let is_own = || self.own.lock().expect("nobody panics while holding this").contains(&id);
        !is_unborn && (self.watch || is_own() || self.is_attached(id))
    }

    /// Whether this client watches all runs.
    pub fn watches(&self) -> bool {
        self.watch
    }

    /// A rare entry of a run that the client is not attached to.
    pub fn entry(&self, server: &Arc<Server>, id: RunId, entry: &RawValue) {
        if let Some(waiting) = self.unborn.lock().expect("nobody panics while holding this").get_mut(&id) {
            if waiting.len() < HELD_LIMIT {
                waiting.push(entry.to_owned());
            }
            return;
        }
        if !self.hears_of(id) || !self.has_room(server, id) {
            return;
        }
        let kind = line::head(entry.get().as_bytes()).map_or(Kind::State, |head| head.kind);
        self.notify(Some(id), kind.method(), entry);
    }

    /// A new run, an edited one, or one with a storage error.
    pub fn changed(&self, server: &Arc<Server>, run: &Run) {
        if self.hears_of(run.id) && self.has_room(server, run.id) {
            self.notify(Some(run.id), "run/changed", &json!({ "run": run }));
        }
    }

    pub fn deleted(&self, ids: &[RunId]) {
        if self.watch || ids.iter().any(|id| self.hears_of(*id)) {
            self.notify(None, "run/deleted", &json!({ "runIds": ids }));
        }
    }

    fn notify(&self, about: Option<RunId>, method: &str, params: &(impl Serialize + ?Sized)) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string().into_bytes();
        let mut held = self.held.lock().expect("nobody panics while holding this");
        match about.filter(|id| held.holders > 0 && held.messages.len() < HELD_LIMIT && is_new(*id)) {
            Some(id) => held.messages.push((id, message)),
            None => self.out.control(message),
        }
    }

    fn has_room(&self, server: &Arc<Server>, id: RunId) -> bool {
        if self.out.control_backlog() < BACKLOG_LIMIT {
            return true;
        }
        let mut missed = self.missed.lock().expect("nobody panics while holding this");
        if missed.is_empty() {
            tokio::spawn(catch_up(Arc::clone(server)));
        }
        missed.insert(id);
        false
    }
}

fn is_new(id: RunId) -> bool {
    id.created_at() + NEW_MS > now()
}

/// Waits until the client reads again and tells it how the runs stand that it missed something of.
async fn catch_up(server: Arc<Server>) {
    server.out.control_below(BACKLOG_LIMIT / 2).await;
    let missed = std::mem::take(&mut *server.broadcast.missed.lock().expect("nobody panics while holding this"));
    for id in missed {
        let reader = Arc::clone(&server);
        if let Ok(Ok(Some(run))) = tokio::task::spawn_blocking(move || reader.history.run(id)).await {
            server.broadcast.changed(&server, &run);
        }
    }
}
