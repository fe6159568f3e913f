//! The connection to a server of our own, and which runs the client may see.

use std::{borrow::Borrow, collections::BTreeSet, io, path::Path, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::Options;
use crate::{
    client::{ServerLaunch, ServerSession},
    model::{
        Failure, Run, RunId,
        calls::{ListParams, ListResult, RunIdParams},
        methods::{Method, RunGet, RunList},
        run::normalize_directory,
    },
    process::{ancestry::EnclosingRuns, current_process},
};

/// How the server knows this client.
const CLIENT_NAME: &str = "loomd mcp";

/// Everything that the tools share.
pub(super) struct McpFrontEnd {
    pub(super) may_start: bool,
    /// The directories whose runs are shown, by its name and by its real path; none: all.
    directories: Vec<String>,
    /// The runs in whose trees the client stands, the innermost first.
    own: Vec<RunId>,
    /// The runs that were started here.
    started: Mutex<BTreeSet<RunId>>,
    launch: ServerLaunch,
    server: AsyncMutex<Option<Arc<ServerSession>>>,
}

impl McpFrontEnd {
    pub(super) fn new(options: &Options, launch: ServerLaunch) -> io::Result<Arc<Self>> {
        // Paths of another host have nothing to do with the directory here.
        let directories = match options.all || launch.host().is_some() {
            true => Vec::new(),
            false => vec![directory(&current_process::logical_directory()?), directory(&std::env::current_dir()?)],
        };
        Ok(Arc::new(Self {
            may_start: options.may_start,
            directories,
            own: EnclosingRuns::own().all(),
            started: Mutex::default(),
            launch,
            server: AsyncMutex::default(),
        }))
    }

    /// Calls the server. One is started for the first call, and for the next one after it has ended.
    pub(super) async fn call<M: Method>(&self, method: M, params: impl Borrow<M::Params>) -> Result<M::Result, Failure> {
        self.server().await?.call(method, params).await
    }

    async fn server(&self) -> Result<Arc<ServerSession>, Failure> {
        let mut server = self.server.lock().await;
        if let Some(session) = server.as_ref().filter(|session| session.is_connected()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.launch.open_as(CLIENT_NAME).await?.0);
        *server = Some(Arc::clone(&session));
        Ok(session)
    }

    /// The run that `text` names, by its id or some digits of it, if the client may see it.
    pub(super) async fn run(&self, text: &str) -> Result<Run, Failure> {
        let run_id = self.server().await?.run_id(text).await?;
        let run = self.call(RunGet, RunIdParams { run_id }).await?.run;
        if self.own.contains(&run.id) {
            return Err(Failure::invalid_params("run", format!("{} is the run that you are in, or one around it", run.id)));
        }
        if !self.is_in_scope(&run) {
            let message = format!("run {} is in {}, whose runs are not shown here (`loomd mcp --all` shows all)", run.id, run.cwd);
            return Err(Failure::invalid_params("run", message));
        }
        Ok(run)
    }

    /// Whether lists and searches show this run: not the client's own, and none around it or in it.
    pub(super) fn shows(&self, run: &Run) -> bool {
        let is_inside = self.own.first().is_some_and(|own| run.enclosing_run_ids.contains(own));
        self.is_in_scope(run) && !self.own.contains(&run.id) && (!is_inside || self.started.lock().contains(&run.id))
    }

    /// Whether the run is in a directory whose runs are shown.
    pub(super) fn is_in_scope(&self, run: &Run) -> bool {
        self.directories.is_empty() || self.is_below(&run.cwd) || self.started.lock().contains(&run.id)
    }

    /// Whether a directory is one of those whose runs are shown, or below one.
    pub(super) fn is_below(&self, cwd: &str) -> bool {
        let is_below = |directory: &String| {
            cwd.strip_prefix(directory.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.directories.is_empty() || self.directories.iter().any(is_below)
    }

    /// The directory in which a command starts unless another one is named.
    pub(super) fn directory(&self) -> Option<&String> {
        self.directories.first()
    }

    pub(super) fn note_started(&self, id: RunId) {
        self.started.lock().insert(id);
    }

    /// A page of runs without those that are not shown.
    pub(super) async fn page(&self, params: &ListParams) -> Result<ListResult, Failure> {
        let mut page = self.call(RunList, params).await?;
        page.runs.retain(|run| self.shows(run));
        Ok(page)
    }
}

fn directory(path: &Path) -> String {
    normalize_directory(&path.to_string_lossy())
}
