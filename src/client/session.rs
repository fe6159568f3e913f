//! An initialized connection to a server. One to another host that breaks is made anew, and what may be repeated is asked
//! again.

use std::{
    borrow::Borrow,
    future::Future,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{sleep, timeout},
};

use super::{
    OpenConnection, ServerLaunch,
    host::{Host, HostError, pause_before},
    login::{Attendance, Login},
    run_name::{matches_id, only_match, parse_id_digits, split_host},
};
use crate::{
    model::{
        Failure, FailureKind, Run, RunId,
        calls::{Empty, InitializeResult, ListParams, RunIdParams, RunResult, SendParams, SendResult, StartParams},
        methods::{Method, MethodName, RunGet, RunList, RunSend, RunStart, Shutdown},
    },
    process::tree::wait_for_exit,
    rpc::{Client, Notifications, is_connection_end},
};

/// Longest wait for the server to shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one attempt to make a connection anew may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Most runs in one page of `run/list`.
const MAX_PAGE_RUNS: u64 = 500;

/// The connection to a server of our own, which has been initialized.
pub(crate) struct ServerSession {
    launch: ServerLaunch,
    client_name: String,
    connection: Mutex<Arc<SessionConnection>>,
    /// The notifications of a connection that was made anew for a call, until somebody reads them.
    new_notifications: AsyncMutex<Option<Notifications>>,
    /// Attempts to connect anew since the last answer.
    attempts: AtomicU32,
    /// A connection to another host that breaks is made anew.
    is_remade: bool,
    /// Time limit for each answer.
    limit: Option<Duration>,
    /// The server's result of `initialize`.
    pub(crate) info: InitializeResult,
}

/// A connection, and the process at its other end.
pub(super) struct SessionConnection {
    client: Arc<Client>,
    server: AsyncMutex<ServerProcess>,
}

/// What has to end after a connection: the server itself, or ssh.
pub(super) enum ServerProcess {
    Child(Child),
    Login(Login),
}

impl SessionConnection {
    pub(super) fn new(client: Client, server: ServerProcess) -> Self {
        Self { client: Arc::new(client), server: AsyncMutex::new(server) }
    }

    /// Waits until the server, or what leads to it, has ended by itself.
    async fn exit(&self) {
        match &*self.server.lock().await {
            ServerProcess::Child(child) => wait_for_exit(child.id()).await.unwrap_or_default(),
            ServerProcess::Login(login) => login.exit().await,
        }
    }

    /// Why the connection has ended.
    async fn end(&self, host: &Host) -> HostError {
        match &mut *self.server.lock().await {
            ServerProcess::Login(login) => login.end(host, "the connection broke").await,
            ServerProcess::Child(_) => HostError::Ended { host: host.name.clone(), reason: "the server ended".to_owned() },
        }
    }
}

impl ServerSession {
    pub(super) fn new(launch: &ServerLaunch, client_name: &str, opened: OpenConnection) -> (Self, Notifications) {
        let session = Self {
            launch: launch.clone(),
            client_name: client_name.to_owned(),
            connection: Mutex::new(Arc::new(opened.connection)),
            new_notifications: AsyncMutex::default(),
            attempts: AtomicU32::new(0),
            is_remade: false,
            limit: None,
            info: opened.info,
        };
        (session, opened.notifications)
    }

    pub(super) fn remade(self) -> Self {
        Self { is_remade: true, ..self }
    }

    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Calls a method. If the connection to another host breaks before the answer, a method that changes nothing is called
    /// again over a new one.
    pub(crate) async fn call<M: Method>(&self, method: M, params: impl Borrow<M::Params>) -> Result<M::Result, Failure> {
        self.call_as(method, params).await
    }

    /// As [`Self::call`], for a caller that reads the result in its own way.
    pub(crate) async fn call_as<M: Method, R: DeserializeOwned>(&self, _: M, params: impl Borrow<M::Params>) -> Result<R, Failure> {
        self.request(M::NAME, params.borrow(), may_repeat(M::NAME)).await
    }

    /// Starts a run. On another host it has a token, so that a start that is sent again starts nothing else.
    pub(crate) async fn start(&self, params: &StartParams) -> Result<RunResult, Failure> {
        if self.launch.host().is_none() || params.client_token.is_some() {
            return self.request(MethodName::RunStart, params, params.client_token.is_some()).await;
        }
        self.request(RunStart::NAME, &StartParams { client_token: new_token(), ..params.clone() }, true).await
    }

    /// Sends text or a prompt. It has a token, so that one that is sent again arrives once, unless server or supervisor are of an
    /// older version.
    pub(crate) async fn send(&self, params: SendParams) -> Result<SendResult, Failure> {
        if self.info.capabilities.send_token {
            let once = SendParams { client_token: self.send_token(), ..params.clone() };
            match self.request(RunSend::NAME, &once, true).await {
                Err(failure) if is_unknown_command(&failure) => {}
                answered => return answered,
            }
        }
        self.request(RunSend::NAME, &SendParams { client_token: None, ..params }, false).await
    }

    /// A token for a `run/send`, if the server knows them.
    pub(crate) fn send_token(&self) -> Option<String> {
        self.info.capabilities.send_token.then(new_token).flatten()
    }

    async fn request<R: DeserializeOwned>(&self, method: MethodName, params: &impl Serialize, may_repeat: bool) -> Result<R, Failure> {
        let mut is_again = false;
        loop {
            let connection = self.connection();
            let failure = match self.in_time(connection.client.request(method.as_str(), params)).await {
                Ok(result) => {
                    self.attempts.store(0, Ordering::Relaxed);
                    return Ok(result);
                }
                Err(failure) => failure,
            };
            let Some(host) = self.launch.host() else { return Err(failure) };
            if is_again && method == MethodName::RunCloseInput && failure.kind == FailureKind::RunNotActive {
                // The run has ended after the first time, by which its input was closed.
                return serde_json::from_str("{}").map_err(|error| Failure::internal(error.to_string()));
            }
            if !is_connection_end(&failure) {
                return Err(failure.with("host", host.as_str()));
            }
            match (self.is_remade, may_repeat) {
                (true, true) => {
                    self.connect_anew(&connection, 0).await?;
                    is_again = true;
                }
                _ => {
                    let message = format!("the connection to {host} broke before `{}` was answered", method.as_str());
                    let more = if may_repeat { "; try again" } else { ", which may have taken effect; look before you try again" };
                    return Err(Failure::internal(message + more).with("host", host.as_str()));
                }
            }
        }
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let (Some(limit), Some(host)) = (self.limit, self.launch.host()) else { return call.await };
        timeout(limit, call).await.unwrap_or_else(|_| Err(HostError::TimedOut { host: host.clone(), limit }.into()))
    }

    /// A connection in place of one that broke before its watcher saw the end. `failed` connections in a row have brought
    /// nothing.
    pub(crate) async fn reconnect(&self, failed: u32) -> Result<Notifications, Failure> {
        let connection = self.connection();
        let made_for_a_call = self.new_notifications.lock().await.take();
        if let Some(notifications) = made_for_a_call.filter(|_| connection.client.is_connected()) {
            return Ok(notifications);
        }
        self.connect_anew(&connection, failed).await?;
        let notifications = self.new_notifications.lock().await.take();
        notifications.ok_or_else(|| Failure::internal("the notifications of the connection are read elsewhere"))
    }

    /// Replaces a connection that broke, unless another call has replaced it already. Tries again after growing pauses.
    async fn connect_anew(&self, broken: &Arc<SessionConnection>, failed: u32) -> Result<(), Failure> {
        let mut new_notifications = self.new_notifications.lock().await;
        let Some(host) = self.launch.found_host()? else { return Err(Failure::internal("the server has ended")) };
        if !Arc::ptr_eq(broken, &self.connection()) {
            return Ok(());
        }
        let mut error = broken.end(&host).await;
        (self.launch.note)(&format!("{error}; connecting again…"));
        self.attempts.fetch_max(failed, Ordering::Relaxed);
        while let Some(pause) = pause_before(self.attempts.fetch_add(1, Ordering::Relaxed)) {
            sleep(pause).await;
            let connecting = self.launch.connect(&host, &self.client_name, Attendance::Unattended);
            error = match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(OpenConnection { connection, notifications, .. })) => {
                    *self.connection.lock() = Arc::new(connection);
                    *new_notifications = Some(notifications);
                    return Ok(());
                }
                Ok(Err(error)) if error.is_permanent() => return Err(error.into()),
                Ok(Err(error)) => error,
                Err(_) => HostError::TimedOut { host: host.name.clone(), limit: CONNECT_TIMEOUT },
            };
        }
        Err(error.into())
    }

    fn connection(&self) -> Arc<SessionConnection> {
        self.connection.lock().clone()
    }

    /// Whether the server can still be called.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection().client.is_connected()
    }

    /// The connection, for requests that are sent while others are pending. They fail when it breaks.
    pub(crate) fn client(&self) -> Arc<Client> {
        self.connection().client.clone()
    }

    pub(crate) async fn run(&self, run_id: RunId) -> Result<Run, Failure> {
        Ok(self.call(RunGet, RunIdParams { run_id }).await?.run)
    }

    /// The run that `text` names: by its whole ID, or by the beginning or the end of exactly one ID. The host before it must
    /// be that of this server.
    pub(crate) async fn run_id(&self, text: &str) -> Result<RunId, Failure> {
        let (host, digits) = split_host(text)?;
        if let Some(host) = host.filter(|host| Some(host) != self.launch.host()) {
            let message = format!("{text} is a run on {host}; use `loomd --host {host} …`");
            return Err(Failure::invalid_params("runId", message));
        }
        if let Ok(id) = digits.parse() {
            return Ok(id);
        }
        let digits = parse_id_digits(digits)?;
        let mut matches = Vec::new();
        let mut params = ListParams { limit: Some(MAX_PAGE_RUNS), ..ListParams::default() };
        loop {
            let page = self.call(RunList, &params).await?;
            matches.extend(page.runs.iter().map(|run| run.id).filter(|id| matches_id(*id, &digits)));
            match page.next_cursor {
                Some(cursor) => params.cursor = Some(cursor),
                None => return only_match(matches, &digits, self.launch.host()),
            }
        }
    }

    /// The run that `text` names, or the newest one without `text`.
    pub(crate) async fn run_id_or_newest(&self, text: Option<&str>) -> Result<RunId, Failure> {
        if let Some(text) = text {
            return self.run_id(text).await;
        }
        let page = self.call(RunList, ListParams { limit: Some(1), ..ListParams::default() }).await?;
        let newest = page.runs.first().map(|run| run.id);
        newest.ok_or_else(|| Failure::invalid_params("runId", "no runs yet; start one with `loomd run -- COMMAND`"))
    }

    /// Shuts the server down and waits up to `SHUTDOWN_TIMEOUT` until it has ended. Its notifications must have been
    /// dropped, because the reply queues behind them.
    pub(crate) async fn close(self) {
        let connection = self.connection();
        drop(self.new_notifications);
        // The results do not matter: whatever fails, the server ends when its input does, which is when this process
        // ends.
        let shutdown = async {
            connection.client.call(Shutdown, Empty {}).await.ok();
            connection.client.notify("exit", ()).await.ok();
            connection.exit().await;
        };
        timeout(SHUTDOWN_TIMEOUT, shutdown).await.ok();
    }
}

/// Sends text or a prompt over one connection, without its token if the supervisor knows none. After a failure for which
/// [`is_connection_end`] holds it may be sent again with its token.
pub(crate) async fn send_over(client: &Client, params: SendParams) -> Result<SendResult, Failure> {
    match client.call(RunSend, &params).await {
        Err(failure) if params.client_token.is_some() && is_unknown_command(&failure) => {
            let sent = client.call(RunSend, SendParams { client_token: None, ..params }).await;
            sent.map_err(|failure| Failure::new(failure.kind, failure.message))
        }
        answered => answered,
    }
}

/// Whether the supervisor of a run is too old for a command.
fn is_unknown_command(failure: &Failure) -> bool {
    failure.kind == FailureKind::Unsupported && failure.data.get("capability").is_some_and(|capability| capability == "command")
}

/// A token for a request that may be sent again.
fn new_token() -> Option<String> {
    Some(uuid::Uuid::now_v7().to_string())
}

/// Whether a method may be called again after a connection that broke before its answer: it changes nothing, or nothing
/// more the second time.
fn may_repeat(method: MethodName) -> bool {
    use MethodName::{
        Initialize, ProviderList, ProviderOptions, RuleAdd, RuleList, RuleRemove, RunAnswer, RunAttach, RunCancel, RunChanges,
        RunCloseInput, RunConfigure, RunDelete, RunDetach, RunEdit, RunExport, RunGet, RunGetItem, RunInterrupt, RunItems, RunList,
        RunQueue, RunRead, RunSearch, RunSend, RunSetSize, RunStart, RunSync, RunTakeover, RunText, RunUnqueue, SessionList, Shutdown,
        StorePrune, StoreStats,
    };
    match method {
        RunGet | RunList | RunRead | RunItems | RunGetItem | RunText | RunSearch | RunChanges | RunQueue | RunAttach | RunDetach
        | RunSync | RunSetSize | RunCloseInput | RunCancel | RunConfigure | RunEdit | RuleList | RuleAdd | ProviderList
        | ProviderOptions | SessionList | StoreStats | StorePrune | RunExport => true,
        Initialize | Shutdown | RunStart | RunSend | RunUnqueue | RunInterrupt | RunAnswer | RunTakeover | RunDelete | RuleRemove => false,
    }
}
