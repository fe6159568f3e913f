//! Serves one client: its lifecycle, its requests, its notifications, and the upkeep of the store.
//!
//! A server holds nothing that matters. Runs live in their supervisors and logs, finished ones in the store; after this
//! process is killed at any moment, the next one continues from there.

mod broadcast;
mod follower;
mod item_follower;
mod lifecycle;
mod merge;
mod methods;
mod probe;
mod providers;
mod sessions;
mod takeovers;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{
    config::{Config, Locations},
    environment::Environment,
    history::History,
    model::{Failure, calls::ClientCapabilities},
    process::{ancestry::EnclosingRuns, current_process, data_file, disk},
    rpc::{ConnectionEnd, FrameCodec, Framing, Outgoing, connection, stdio},
    runs::RunsHandle,
    store::{Store, StoreError},
    transcript::touched::UnsealedFiles,
};

/// How long the last answers may take to reach a client that has sent `exit` or closed the connection.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long `initialize` waits for a store that another server has locked.
const STORE_CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many large answers may be made at a time.
const MAX_LARGE_ANSWERS: usize = 2;
/// How many searches may run at a time.
const MAX_SEARCHES: usize = 2;

/// How many runs may be exported to files at a time.
const MAX_EXPORTS: usize = 2;

/// The options of the command line that concern a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) locations: Locations,
    pub(crate) framing: Option<Framing>,
    pub(crate) log_file: Option<PathBuf>,
}

/// A server whose client has initialized it.
pub(crate) struct Server {
    pub(crate) data_dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) environment: Arc<Environment>,
    pub(crate) client: ClientCapabilities,
    pub(crate) history: History,
    pub(crate) out: Outgoing,
    pub(crate) runs: RunsHandle,
    pub(crate) followers: Arc<follower::Followers>,
    pub(crate) broadcast: broadcast::Broadcast,
    /// Every `run/start` that is under way holds a token of it.
    pub(crate) starting: TaskTracker,
    /// The one buffer that followers read into, one at a time.
    pub(crate) scratch: Mutex<Vec<u8>>,
    /// The permit of one follower to decode its next block while the one before is being sent.
    pub(crate) read_ahead: Arc<Semaphore>,
    /// Permits to make large answers, so that what a client requests and does not read stays bounded.
    pub(crate) large_answers: Semaphore,
    /// Permits to search, which keeps a processor busy.
    pub(crate) searches: Semaphore,
    /// Permits to export runs to files.
    pub(crate) exports: Semaphore,
    pub(crate) unsealed_files: Arc<UnsealedFiles>,
}

/// Serves one client on stdin and stdout until it leaves.
pub(crate) fn main(options: Options) -> ExitCode {
    current_process::limit_allocator_caches();
    current_process::set_private_umask();
    if let Err(failure) = init_logging(&options) {
        eprintln!("loomd: {failure}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("loomd: the server cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(options));
    // Work on other threads is safe to stop anywhere; the exit waits neither for a blocked read nor for a seal.
    runtime.shutdown_background();
    code
}

async fn serve(options: Options) -> ExitCode {
    let (input, output) = match stdio::open() {
        Ok(halves) => halves,
        Err(error) => {
            eprintln!("loomd: cannot use stdin and stdout: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The frame limit must be known before the first frame; `initialize` reports a bad configuration.
    let config = options.locations.read_config();
    let limit = config.as_ref().map_or(crate::config::MAX_FRAME_BYTES, |config| config.limits.max_frame_bytes);
    let codec = FrameCodec::new(options.framing, usize::try_from(limit).unwrap_or(usize::MAX));
    let out = Outgoing::new(output);
    let session = Arc::new(lifecycle::ClientSession::new(options.locations, config, out.clone()));
    let end = tokio::select! {
        end = connection::serve(input, codec, Arc::clone(&session), out.clone()) => end,
        () = session.parent_ended() => ConnectionEnd::Gone,
        () = current_process::termination_signal() => ConnectionEnd::Gone,
    };
    // A client that does not read is not waited for any longer.
    tokio::time::timeout(FLUSH_TIMEOUT, out.drained()).await.ok();
    match end {
        ConnectionEnd::Exit(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        ConnectionEnd::Broken => ExitCode::FAILURE,
        ConnectionEnd::Eof | ConnectionEnd::Gone => ExitCode::SUCCESS,
    }
}

impl Server {
    /// Prepares everything that needs no store: directories, threads. The store is checked, not opened for writing.
    fn open(locations: &Locations, config: Config, client: ClientCapabilities, out: Outgoing) -> Result<Arc<Self>, Failure> {
        // Now, because who started this process may be gone later.
        EnclosingRuns::own();
        let data_dir = locations.data_dir()?;
        let runs = data_dir.join("runs");
        let unusable = |path: &std::path::Path, error: std::io::Error| {
            let message = format!(
                "cannot use {}: {error}; make sure that you own the directory, or set LOOMD_DATA_DIR to another directory",
                path.display()
            );
            Failure::store(path, message)
        };
        make_private_if_empty(&data_dir).map_err(|error| unusable(&data_dir, error))?;
        for dir in [&data_dir, &runs, &data_dir.join("claims")] {
            disk::create_private_dir(dir).map_err(|error| unusable(dir, error))?;
        }
        for dir in [data_dir.clone(), runs.clone(), data_dir.join("claims"), data_dir.join("aside"), data_dir.join("transcripts")] {
            if dir.symlink_metadata().is_ok() {
                data_file::check_own_dir(&dir)
                    .map_err(|why| Failure::store(&dir, format!("{why}, or set LOOMD_DATA_DIR to another directory")))?;
                disk::is_writable(&dir).map_err(|error| unusable(&dir, error))?;
            }
        }
        if let Some(kind) = disk::network_file_system(&data_dir).map_err(|error| unusable(&data_dir, error))? {
            let message = format!(
                "{} is on a network file system ({kind}), where file locks are not reliable; set LOOMD_DATA_DIR to a local directory",
                data_dir.display()
            );
            return Err(Failure::store(&data_dir, message));
        }
        let store = Store::at(&data_dir);
        check_store(&store)?;
        let history = History { runs, store };
        let (runs, events) = RunsHandle::open(data_dir.clone(), history.clone(), &config);
        let followers = Arc::<follower::Followers>::default();
        let broadcast = broadcast::Broadcast::new(out.clone(), client.watch, history.clone(), Arc::clone(&followers));
        tokio::spawn(broadcast.clone().handle_events(events));
        Ok(Arc::new(Self {
            runs,
            followers,
            broadcast,
            starting: TaskTracker::new(),
            scratch: Mutex::new(Vec::new()),
            read_ahead: Arc::new(Semaphore::new(1)),
            large_answers: Semaphore::new(MAX_LARGE_ANSWERS),
            searches: Semaphore::new(MAX_SEARCHES),
            exports: Semaphore::new(MAX_EXPORTS),
            unsealed_files: Arc::default(),
            data_dir,
            environment: Arc::new(Environment::of_process(config.environment.clone())),
            config,
            client,
            history,
            out,
        }))
    }
}

/// Makes an existing empty directory private, because it was made for us. A directory with other things in it is left
/// as it is; our own files in it are private by themselves.
fn make_private_if_empty(dir: &std::path::Path) -> std::io::Result<()> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)),
            Some(_) => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks the store. A server that was stopped in the middle of a commit must not hold this client up: after
/// [`STORE_CHECK_TIMEOUT`] its store is taken to be good, as it was when that server opened it.
fn check_store(store: &Store) -> Result<(), StoreError> {
    let (sender, checked) = std::sync::mpsc::channel();
    let store = store.clone();
    std::thread::spawn(move || drop(sender.send(store.check())));
    match checked.recv_timeout(STORE_CHECK_TIMEOUT) {
        Ok(checked) => checked,
        Err(_) => {
            tracing::warn!("the store is busy and was not checked");
            Ok(())
        }
    }
}

/// Sends logs to stderr, errors only, because editors show them as errors; or to the file that the options name. They
/// never go to stdout.
fn init_logging(options: &Options) -> Result<(), Failure> {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("LOOMD_LOG");
    match &options.log_file {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| {
                Failure::store(path, format!("cannot write the log file {}: {error}; name another file with --log-file", path.display()))
            })?;
            let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
            fmt().with_env_filter(filter).with_ansi(false).with_writer(Arc::new(file)).init();
        }
        None => {
            let filter = filter.unwrap_or_else(|_| EnvFilter::new("error"));
            fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
        }
    }
    Ok(())
}
