//! The front end: its connection to the client above and to the server below, and its sessions.
//!
//! One task, [`forward`], reads everything that the server pushes and writes it to the client. It waits until the client
//! has taken each piece, so a client that does not read costs no memory. It never calls the server itself, because
//! answers queue behind notifications.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::sync::watch;

use super::{
    Options,
    session::{AcpSession, EntryPlace, SessionEffect, loomd_meta},
    wire::AcpClient,
};
use crate::{
    client::{ServerLaunch, ServerSession},
    model::{
        Entry, Failure, RunId,
        calls::{AttachParams, ChangedParams, OptionsResult, RunIdParams},
        methods::{Method, RunAttach, RunDetach},
    },
    rpc::{Notification, Notifications, Outgoing},
};

/// How the server knows this client.
const CLIENT_NAME: &str = "loomd acp";

/// How long the front end waits before it tries again to start a server.
const REOPEN_INTERVAL: Duration = Duration::from_millis(500);

/// Everything that the handlers of one client share.
pub(super) struct FrontEnd {
    pub(super) out: Outgoing,
    pub(super) options: Options,
    launch: ServerLaunch,
    client: OnceLock<AcpClient>,
    server: watch::Sender<Option<Arc<ServerSession>>>,
    pub(super) sessions: Mutex<BTreeMap<RunId, Arc<AcpSession>>>,
    /// The client's open permission requests, by number: the session and the permission id.
    pub(super) open_questions: Mutex<BTreeMap<u64, (RunId, String)>>,
    pub(super) question_count: Mutex<u64>,
    /// What providers offer, by name. Asking for it starts their program.
    pub(super) provider_options: Mutex<BTreeMap<String, OptionsResult>>,
}

impl FrontEnd {
    pub(super) fn new(out: Outgoing, options: Options, launch: ServerLaunch) -> Arc<Self> {
        Arc::new(Self {
            out,
            options,
            launch: ServerLaunch { can_answer: true, ..launch },
            client: OnceLock::new(),
            server: watch::Sender::new(None),
            sessions: Mutex::default(),
            open_questions: Mutex::default(),
            question_count: Mutex::default(),
            provider_options: Mutex::default(),
        })
    }

    pub(super) fn is_initialized(&self) -> bool {
        self.client.get().is_some()
    }

    pub(super) fn client(&self) -> AcpClient {
        self.client.get().cloned().unwrap_or_default()
    }

    /// Takes the client. False: it was there already.
    pub(super) fn set_client(&self, client: AcpClient) -> bool {
        self.client.set(client).is_ok()
    }

    /// Starts a server and the task that passes on what it says.
    pub(super) async fn open(self: &Arc<Self>) -> Result<(), Failure> {
        let (session, notifications) = self.launch.open_as(CLIENT_NAME).await?;
        self.server.send_replace(Some(Arc::new(session)));
        tokio::spawn(forward(Arc::clone(self), notifications));
        Ok(())
    }

    /// The server. While one is being started, this waits.
    pub(super) async fn server(&self) -> Result<Arc<ServerSession>, Failure> {
        let mut server = self.server.subscribe();
        let server = server.wait_for(Option::is_some).await.ok().and_then(|server| server.clone());
        server.ok_or_else(|| Failure::internal("there is no server"))
    }

    pub(super) async fn call<M: Method>(&self, method: M, params: impl Borrow<M::Params>) -> Result<M::Result, Failure> {
        self.server().await?.call(method, params).await
    }

    /// A session that the client has opened.
    pub(super) fn session(&self, id: RunId) -> Result<Arc<AcpSession>, Failure> {
        let session = self.sessions.lock().get(&id).cloned();
        session.ok_or_else(|| Failure::run_not_found(id).with("hint", "open the session with `session/load` first"))
    }

    /// Passes on what happens in the session's run, from its cursor on.
    pub(super) async fn follow(&self, session: &AcpSession) -> Result<(), Failure> {
        let (run_id, cursor) = {
            let mut state = session.state();
            let Some(run_id) = state.run.as_ref().map(|run| run.id) else { return Ok(()) };
            // Before the request, so that no entry is missed. What comes too early is not the next one, and passed over.
            state.live = true;
            (run_id, state.cursor)
        };
        let run = self.call(RunAttach, AttachParams::entries(run_id, cursor)).await?.run;
        let open: Vec<_> = {
            let mut state = session.state();
            let open = run.permissions.iter().filter(|open| open.seq <= cursor && !state.asked.contains_key(&open.permission_id));
            let open = open.cloned().collect();
            if let Some(known) = state.run.as_mut().filter(|known| known.id == run_id) {
                (known.agent, known.queued) = (run.agent, run.queued);
            }
            open
        };
        open.into_iter().for_each(|question| self.ask(session, &question));
        Ok(())
    }

    /// Keeps what comes from now on for later.
    pub(super) async fn stop_following(&self, session: &AcpSession) {
        let run_id = {
            let mut state = session.state();
            state.live = false;
            state.run.as_ref().map(|run| run.id)
        };
        if let Some(run_id) = run_id {
            // A run that is gone needs no detaching.
            self.call(RunDetach, RunIdParams { run_id }).await.ok();
        }
    }

    /// Sends an update that is in no log.
    pub(super) fn tell(&self, session: &AcpSession, update: &Value) {
        let (run_id, seq) = {
            let state = session.state();
            (state.run.as_ref().map_or(session.id, |run| run.id), state.cursor)
        };
        let params = json!({ "sessionId": session.id, "update": update, "_meta": loomd_meta(run_id, seq) });
        self.notify("session/update", &params);
    }

    /// Sends a notification that is not large.
    pub(super) fn notify(&self, method: &str, params: &Value) {
        self.out.control(json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string().into_bytes());
    }

    /// Sends the updates of one run, and waits until the client has taken them.
    pub(super) async fn send_updates(&self, session: RunId, run_id: RunId, updates: &[(u64, Map<String, Value>)]) {
        if updates.is_empty() {
            return;
        }
        let mut bulk = self.out.bulk().await;
        for (seq, update) in updates {
            let params = json!({ "sessionId": session, "update": update, "_meta": loomd_meta(run_id, *seq) });
            bulk.frame("session/update", &[params.to_string().as_bytes()]);
        }
        // An error means that the client is gone, which ends the connection elsewhere.
        bulk.flush().await.ok();
    }

    async fn handle(self: &Arc<Self>, notification: &Notification) {
        match notification.method.as_str() {
            "run/changed" => {
                if let Ok(ChangedParams { run }) = serde_json::from_str(notification.params.get()) {
                    let session = self.showing(run.id);
                    session.iter().for_each(|session| self.run_changed(session, run.clone()));
                }
            }
            "run/deleted" => {}
            _ => self.handle_entry(&notification.params).await,
        }
    }

    async fn handle_entry(self: &Arc<Self>, params: &RawValue) {
        let Ok(place) = serde_json::from_str::<EntryPlace>(params.get()) else { return };
        let Some(session) = self.showing(place.run_id) else { return };
        let effects = {
            let mut state = session.state();
            if !state.wants(&place) {
                return;
            }
            let is_unneeded = params.get().starts_with(r#"{"kind":"output""#)
                && state.translator.as_ref().is_some_and(|translator| !translator.needs_output());
            let entry = if is_unneeded { None } else { serde_json::from_str::<Entry>(params.get()).ok() };
            match entry {
                Some(entry) => state.take(&entry, false),
                None => {
                    state.skip(&place);
                    Vec::new()
                }
            }
        };
        self.apply(&session, &place, effects).await;
        session.changed.notify_waiters();
    }

    /// Carries out what follows from an entry.
    async fn apply(self: &Arc<Self>, session: &Arc<AcpSession>, place: &EntryPlace, effects: Vec<SessionEffect>) {
        for effect in effects {
            match effect {
                SessionEffect::Update(update) => self.send_updates(session.id, place.run_id, &[(place.seq, update)]).await,
                SessionEffect::Ask(question) => self.ask(session, &question),
                SessionEffect::Withdraw(number) => self.withdraw(number),
                SessionEffect::OfferChanged => self.tell_offer(session),
                SessionEffect::Answer(due) => {
                    due.done.send(due.outcome).ok();
                    // The prompt's handler runs now, so that the answer stands before what comes next.
                    tokio::task::yield_now().await;
                    if self.client().drops_free_updates && session.state().prompts.is_empty() {
                        session.state().live = false;
                        let (front_end, session) = (Arc::clone(self), Arc::clone(session));
                        tokio::spawn(async move {
                            let _sending = session.sending.lock().await;
                            if session.state().prompts.is_empty() {
                                front_end.stop_following(&session).await;
                            }
                        });
                    }
                }
            }
        }
    }

    fn showing(&self, run_id: RunId) -> Option<Arc<AcpSession>> {
        self.sessions.lock().values().find(|session| session.state().shows(run_id)).cloned()
    }
}

/// Passes on what the server pushes. A server that ends is replaced, and every session goes on from its cursor.
async fn forward(front_end: Arc<FrontEnd>, mut notifications: Notifications) {
    loop {
        while let Some(notification) = notifications.next().await {
            front_end.handle(&notification).await;
        }
        front_end.server.send_replace(None);
        let session = loop {
            match front_end.launch.open_as(CLIENT_NAME).await {
                Ok((session, next)) => {
                    notifications = next;
                    break session;
                }
                Err(failure) => {
                    tracing::error!(%failure, "the server has ended, and another one cannot be started");
                    tokio::time::sleep(REOPEN_INTERVAL).await;
                }
            }
        };
        front_end.server.send_replace(Some(Arc::new(session)));
        let sessions: Vec<_> = front_end.sessions.lock().values().filter(|session| session.state().live).cloned().collect();
        for session in sessions {
            let front_end = Arc::clone(&front_end);
            // Not here: the answer comes behind notifications, which this task reads.
            tokio::spawn(async move {
                if let Err(failure) = front_end.follow(&session).await {
                    tracing::error!(%failure, session = %session.id, "cannot follow the session's run any more");
                }
            });
        }
    }
}
