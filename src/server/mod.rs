//! One client: its lifecycle, its requests, what is pushed to it, and the keeping of the store.
//!
//! A server holds nothing that matters. Runs live in their supervisors and logs, finished ones in the store; kill this
//! process at any moment, and the next one goes on from there.

mod adopt;
mod births;
mod broadcast;
mod changes;
mod claims;
mod follower;
mod inquire;
mod keeper;
mod lifecycle;
mod link;
mod links;
mod merge;
mod methods;
mod providers;
mod prune;
mod retention;
mod seal;
mod sessions;
mod version;
mod watch;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    config::{Config, Places},
    history::History,
    model::{Failure, RunId, RunState, calls::ClientCapabilities},
    process::{disk, own},
    rpc::{Ended, FrameCodec, Framing, Outgoing, connection, stdio},
    store::Store,
};

/// How long the last answers may take to reach a client that has said goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long `initialize` waits for a store that a peer holds.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);

/// How many large answers may be made at a time.
const LARGE_ANSWERS: usize = 2;
/// How many searches may be under way at a time.
const SEARCHES: usize = 2;

/// How many runs may be written to files at a time.
const EXPORTS: usize = 2;

/// What the command line says about a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub places: Places,
    pub framing: Option<Framing>,
    pub log_file: Option<PathBuf>,
}

/// A server that its client has initialized.
pub struct Server {
    pub data_dir: PathBuf,
    pub config: Config,
    pub client: ClientCapabilities,
    pub history: History,
    pub out: Outgoing,
    pub links: links::Links,
    pub followers: follower::Followers,
    pub keeper: keeper::Keeper,
    pub broadcast: broadcast::Broadcast,
    /// Held by every `run/start` that is under way.
    pub starting: Arc<()>,
    /// The one buffer that followers read into, in their turns.
    pub scratch: Mutex<Vec<u8>>,
    /// One follower's right to decode its next block while the one before is being sent.
    pub ahead: Arc<Semaphore>,
    /// Turns at making large answers, so that what a client asks for and does not read stays bounded.
    pub large_answers: Semaphore,
    /// Turns at searching, which keeps a processor busy.
    pub searches: Semaphore,
    /// Turns at writing runs to files.
    pub exports: Semaphore,
    /// Runs that get another final state than `lost` when they are adopted, because a client asked for it.
    pub verdicts: Mutex<BTreeMap<RunId, RunState>>,
}

/// Serves one client on stdin and stdout until it goes.
pub fn main(options: Options) -> ExitCode {
    own::keep_memory_small();
    own::become_private();
    if let Err(failure) = begin_to_log(&options) {
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
    // What still runs on other threads is safe to stop anywhere; nothing waits for a blocked read or a seal.
    runtime.shutdown_background();
    code
}

async fn serve(options: Options) -> ExitCode {
    let (input, output) = match stdio::open() {
        Ok(halves) => halves,
        Err(error) => {
            eprintln!("loomd: stdin and stdout cannot be used: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The limit must be known before the first frame; a configuration that is bad is told by `initialize`.
    let config = options.places.read_config();
    let limit = config.as_ref().map_or(crate::config::MAX_FRAME_BYTES, |config| config.limits.max_frame_bytes);
    let codec = FrameCodec::new(options.framing, usize::try_from(limit).unwrap_or(usize::MAX));
    let out = Outgoing::new(output);
    let session = Arc::new(lifecycle::Session::new(options.places, config, out.clone()));
    let methods = methods::table(Arc::clone(&session));
    session.know_methods({
        let mut names: Vec<String> = methods.method_names().map(str::to_owned).collect();
        names.sort_unstable();
        names
    });
    let ended = tokio::select! {
        ended = connection::serve(input, codec, methods, lifecycle::Gate(Arc::clone(&session)), out.clone()) => ended,
        () = session.parent_ended() => Ended::Gone,
        () = lifecycle::told_to_end() => Ended::Gone,
    };
    // A client that reads no more is not waited for.
    let _ = tokio::time::timeout(FAREWELL, out.drained()).await;
    match ended {
        Ended::Exit(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Ended::Broken => ExitCode::FAILURE,
        Ended::Eof | Ended::Gone => ExitCode::SUCCESS,
    }
}

impl Server {
    /// Prepares everything that needs no store: directories, threads. The store is looked at, not opened for writing.
    fn open(places: &Places, config: Config, client: ClientCapabilities, out: Outgoing) -> Result<Arc<Self>, Failure> {
        let data_dir = places.data_dir()?;
        let runs = data_dir.join("runs");
        let unusable = |path: &std::path::Path, error: std::io::Error| {
            let message =
                format!("{} cannot be used: {error}; make it a directory of yours, or name another with LOOMD_DATA_DIR", path.display());
            Failure::store(path, message)
        };
        make_private_if_empty(&data_dir).map_err(|error| unusable(&data_dir, error))?;
        for dir in [&data_dir, &runs, &data_dir.join("claims")] {
            disk::create_private_dir(dir).map_err(|error| unusable(dir, error))?;
            disk::is_writable(dir).map_err(|error| unusable(dir, error))?;
        }
        if let Some(kind) = disk::network_file_system(&data_dir).map_err(|error| unusable(&data_dir, error))? {
            let message = format!(
                "{} is on a network file system ({kind}), where locks do not hold; set LOOMD_DATA_DIR to a local directory",
                data_dir.display()
            );
            return Err(Failure::store(&data_dir, message));
        }
        let store = Store::at(&data_dir);
        check(&store)?;
        let history = History { runs, store };
        Ok(Arc::new_cyclic(|server| Self {
            links: links::Links::new(server.clone()),
            followers: follower::Followers::default(),
            keeper: keeper::Keeper::start(history.clone(), data_dir.clone(), &config, server.clone()),
            broadcast: broadcast::Broadcast::new(out.clone(), client.watch),
            starting: Arc::default(),
            scratch: Mutex::new(Vec::new()),
            ahead: Arc::new(Semaphore::new(1)),
            large_answers: Semaphore::new(LARGE_ANSWERS),
            searches: Semaphore::new(SEARCHES),
            exports: Semaphore::new(EXPORTS),
            verdicts: Mutex::default(),
            data_dir,
            config,
            client,
            history,
            out,
        }))
    }
}

/// A directory that is there and has nothing in it was made for us. One with other things in it is left as it is: what is
/// ours in it is private by itself.
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

/// Looks at the store. A peer that was stopped in the middle of a commit must not hold this client up: after a while
/// its store is taken to be good, as it was when the peer opened it.
fn check(store: &Store) -> Result<(), Failure> {
    let (sender, checked) = std::sync::mpsc::channel();
    let store = store.clone();
    std::thread::spawn(move || drop(sender.send(store.check())));
    match checked.recv_timeout(CHECK_PATIENCE) {
        Ok(checked) => checked,
        Err(_) => {
            tracing::warn!("the store is busy and was not checked");
            Ok(())
        }
    }
}

/// Logs go to stderr, quietly, for editors show them as errors; to a file if one is named. Never to stdout.
fn begin_to_log(options: &Options) -> Result<(), Failure> {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("LOOMD_LOG");
    match &options.log_file {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| {
                Failure::store(path, format!("the log file {} cannot be written: {error}; name another with --log-file", path.display()))
            })?;
            let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
            fmt().with_env_filter(filter).with_ansi(false).with_writer(Mutex::new(file)).init();
        }
        None => {
            let filter = filter.unwrap_or_else(|_| EnvFilter::new("error"));
            fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
        }
    }
    Ok(())
}
