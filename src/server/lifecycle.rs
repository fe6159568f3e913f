//! A connection's lifecycle: from `initialize` to `exit`, and the other ways in which a connection ends.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Server, providers};
use crate::{
    config::{Config, ConfigError, Locations},
    model::{
        Failure, METHODS, PROTOCOL_VERSION,
        calls::{InitializeParams, InitializeResult, OutputCapabilities, ServerCapabilities, ServerInfo},
        item::FOLD_VERSION,
        methods::MethodName,
    },
    process::tree::wait_for_exit,
    rpc::{Outgoing, RequestContext},
    supervisor::now,
};

/// How long `shutdown` waits for runs that are being started.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How long `initialize` waits for the login shell; `run/start` and `provider/list` wait longer.
const SHELL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection's state, also before it is initialized.
pub(crate) struct ClientSession {
    locations: Locations,
    /// The result of reading the configuration; `initialize` reports its failure.
    config: Mutex<Option<Result<Config, ConfigError>>>,
    out: Outgoing,
    server: OnceLock<Arc<Server>>,
    stage: Mutex<LifecycleStage>,
    parent_pid: Mutex<Option<u32>>,
    parent_set: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LifecycleStage {
    New,
    Initialized,
    ShutDown,
}

impl ClientSession {
    pub(crate) fn new(locations: Locations, config: Result<Config, ConfigError>, out: Outgoing) -> Self {
        Self {
            locations,
            config: Mutex::new(Some(config)),
            out,
            server: OnceLock::new(),
            stage: Mutex::new(LifecycleStage::New),
            parent_pid: Mutex::new(None),
            parent_set: Notify::new(),
        }
    }

    /// The server of an initialized connection.
    pub(crate) fn server(&self) -> Result<Arc<Server>, Failure> {
        self.server.get().cloned().ok_or_else(Failure::not_initialized)
    }

    /// Answers `initialize`. After a failure the client may try again.
    pub(crate) fn initialize(&self, mut params: InitializeParams, context: &RequestContext) -> Result<InitializeResult, Failure> {
        let received_at = now();
        // At least 4 bytes, so that every character fits, and a bound, so that no notification grows without one. The
        // answer tells the client the value that holds.
        let output: &mut OutputCapabilities = &mut params.capabilities.output;
        output.max_chunk_bytes = output.max_chunk_bytes.clamp(4, 8 << 20);
        let config = self.config.lock().take().unwrap_or_else(|| self.locations.read_config())?;
        let server = Server::open(&self.locations, config, params.capabilities.clone(), self.out.clone())?;
        let mut methods: Vec<String> = METHODS.iter().map(|method| method.name.to_owned()).collect();
        methods.sort_unstable();
        let result = InitializeResult {
            protocol_version: PROTOCOL_VERSION,
            server_info: ServerInfo { name: "loomd".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            fold_version: FOLD_VERSION,
            store_path: server.history.store.path().to_string_lossy().into_owned(),
            providers: providers::all(&server.config, path_of(&server).as_deref()),
            capabilities: ServerCapabilities {
                methods,
                max_frame_bytes: server.config.limits.max_frame_bytes,
                output: params.capabilities.output,
                send_token: true,
            },
        };
        *self.parent_pid.lock() = params.process_id;
        self.parent_set.notify_one();
        *self.stage.lock() = LifecycleStage::Initialized;
        // Broadcasts begin after this answer.
        let watched = Arc::clone(&server);
        context.after.run(move || watched.runs.watch(received_at, watched.client.watch));
        // A second `initialize` was refused by the gate, so the cell is empty.
        self.server.set(server).ok();
        Ok(result)
    }

    /// Answers `shutdown`: when it is answered, every finished entry of the runs that this client knows is durable.
    pub(crate) async fn shut_down(&self) -> Result<(), Failure> {
        *self.stage.lock() = LifecycleStage::ShutDown;
        let server = self.server()?;
        // Starts that are under way are finished first, so that no run is lost half started.
        server.starting.close();
        tokio::time::timeout(START_TIMEOUT, server.starting.wait()).await.ok();
        server.runs.links.sync_all().await;
        Ok(())
    }

    /// Completes when the process that `initialize` named as its parent has ended; never if it named none.
    pub(crate) async fn parent_ended(&self) {
        loop {
            self.parent_set.notified().await;
            let parent_pid = *self.parent_pid.lock();
            if let Some(pid) = parent_pid {
                match wait_for_exit(pid).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, pid, "cannot watch the parent process"),
                }
            }
        }
    }

    /// Admits requests according to the lifecycle's stage.
    pub(super) fn admit(&self, method: &str) -> Result<MethodName, Failure> {
        let name = MethodName::find(method);
        match (self.stage(), name) {
            (LifecycleStage::New, Some(MethodName::Initialize)) => {}
            (LifecycleStage::New, _) => return Err(Failure::not_initialized()),
            (LifecycleStage::Initialized, Some(MethodName::Initialize)) => {
                return Err(Failure::invalid_request("the connection is already initialized; send `initialize` only once"));
            }
            (LifecycleStage::Initialized, _) => {}
            (LifecycleStage::ShutDown, _) => return Err(Failure::invalid_request("the connection is shut down; send `exit`")),
        }
        name.ok_or_else(|| Failure::method_not_found(method))
    }

    /// The exit code of a client that sends `exit`: 0 after `shutdown`.
    pub(super) fn exit_code(&self) -> i32 {
        i32::from(self.stage() != LifecycleStage::ShutDown)
    }

    fn stage(&self) -> LifecycleStage {
        *self.stage.lock()
    }
}

/// The PATH in which runs look for programs. A login shell that is to be asked for it is asked from now on, and waited
/// for only for a moment.
fn path_of(server: &Server) -> Option<String> {
    if server.environment.login_shell().is_ok() {
        let (sender, answered) = std::sync::mpsc::channel();
        let environment = Arc::clone(&server.environment);
        std::thread::spawn(move || {
            environment.shell_variables();
            // Nobody may wait any more.
            sender.send(()).ok();
        });
        answered.recv_timeout(SHELL_TIMEOUT).ok();
    }
    server.environment.known_path()
}
