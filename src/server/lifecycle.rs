//! From `initialize` to `exit`, and the other ways in which a connection ends.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use serde_json::value::RawValue;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::{Server, providers, watch};
use crate::{
    config::{Config, Places},
    model::{
        Failure, PROTOCOL_VERSION,
        calls::{InitializeParams, InitializeResult, OutputCapabilities, ServerCapabilities, ServerInfo},
    },
    process::ending,
    rpc::{Call, Flow, Hooks, Outgoing},
};

/// How long `shutdown` waits for runs that are being started.
const START_PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// A connection's state, from before it is initialized.
pub struct Session {
    places: Places,
    /// What reading the configuration gave; told by `initialize`.
    config: Mutex<Option<Result<Config, Failure>>>,
    out: Outgoing,
    server: OnceLock<Arc<Server>>,
    /// Names of the methods, as `initialize` tells them.
    methods: OnceLock<Vec<String>>,
    stage: Mutex<Stage>,
    parent: Mutex<Option<u32>>,
    parent_known: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Initialized,
    ShutDown,
}

/// The connection's gatekeeper.
pub struct Gate(pub Arc<Session>);

impl Hooks for Gate {
    fn admit(&self, method: &str) -> Result<(), Failure> {
        match (self.0.stage(), method) {
            (Stage::New, "initialize") => Ok(()),
            (Stage::New, _) => Err(Failure::not_initialized()),
            (Stage::Initialized, "initialize") => {
                Err(Failure::invalid_request("the connection is initialized already; `initialize` comes once"))
            }
            (Stage::Initialized, _) => Ok(()),
            (Stage::ShutDown, _) => Err(Failure::invalid_request("the connection is shut down; send `exit`")),
        }
    }

    fn notification(&self, method: &str, _params: Option<&RawValue>) -> Flow {
        match method {
            "exit" => Flow::Exit(i32::from(self.0.stage() != Stage::ShutDown)),
            _ => Flow::Continue,
        }
    }
}

impl Session {
    pub fn new(places: Places, config: Result<Config, Failure>, out: Outgoing) -> Self {
        Self {
            places,
            config: Mutex::new(Some(config)),
            out,
            server: OnceLock::new(),
            methods: OnceLock::new(),
            stage: Mutex::new(Stage::New),
            parent: Mutex::new(None),
            parent_known: Notify::new(),
        }
    }

    /// Notes which methods there are. To be called once, before the first request.
    pub fn know_methods(&self, names: Vec<String>) {
        self.methods.set(names).expect("called once");
    }

    /// The server behind a request that was admitted.
    pub fn server(&self) -> Result<Arc<Server>, Failure> {
        self.server.get().cloned().ok_or_else(Failure::not_initialized)
    }

    /// Answers `initialize`. After a failure the client may try again.
    pub fn initialize(&self, mut params: InitializeParams, call: &Call) -> Result<InitializeResult, Failure> {
        // Every character fits, and no notification grows without bound; the answer tells what came of it.
        let output: &mut OutputCapabilities = &mut params.capabilities.output;
        output.max_chunk_bytes = output.max_chunk_bytes.clamp(4, 8 << 20);
        let config = self.config.lock().expect("nobody panics while holding this").take().unwrap_or_else(|| self.places.read_config())?;
        let server = Server::open(&self.places, config, params.capabilities.clone(), self.out.clone())?;
        let result = InitializeResult {
            protocol_version: PROTOCOL_VERSION,
            server_info: ServerInfo { name: "loomd".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            store_path: server.history.store.path().to_string_lossy().into_owned(),
            providers: providers::all(&server.config),
            capabilities: ServerCapabilities {
                methods: self.methods.get().cloned().unwrap_or_default(),
                max_frame_bytes: server.config.limits.max_frame_bytes,
                output: params.capabilities.output,
            },
        };
        *self.parent.lock().expect("nobody panics while holding this") = params.process_id;
        self.parent_known.notify_one();
        *self.stage.lock().expect("nobody panics while holding this") = Stage::Initialized;
        // Broadcasts begin with this answer.
        let watched = Arc::clone(&server);
        call.after.run(move || watch::begin(&watched));
        let _ = self.server.set(server);
        Ok(result)
    }

    /// Answers `shutdown`: every finished entry of the runs that this client knows is durable then.
    pub async fn shut_down(&self) -> Result<(), Failure> {
        *self.stage.lock().expect("nobody panics while holding this") = Stage::ShutDown;
        let server = self.server()?;
        // What was asked for before is finished first, so that no run is lost half started.
        let deadline = Instant::now() + START_PATIENCE;
        while Arc::strong_count(&server.starting) > 1 && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        server.links.sync_all().await;
        Ok(())
    }

    /// Completes when the process that `initialize` named has ended; never if it named none.
    pub async fn parent_ended(&self) {
        loop {
            self.parent_known.notified().await;
            let parent = *self.parent.lock().expect("nobody panics while holding this");
            if let Some(pid) = parent {
                match ending::ended(pid).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, pid, "the parent process cannot be watched"),
                }
            }
        }
    }

    fn stage(&self) -> Stage {
        *self.stage.lock().expect("nobody panics while holding this")
    }
}

/// Completes when this process is asked to end by a signal.
pub async fn told_to_end() {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}
