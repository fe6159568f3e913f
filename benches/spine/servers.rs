//! The servers that are compared, and a session with one of them, from its spawn to the sum of what its processes used.

use std::{
    env, fs, io,
    os::unix::{fs::DirBuilderExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    client::{Client, Event, Output, ReadMode},
    frames::Framing,
    options::{Options, Server},
    processes::{GENERATE, Report, ResourceUsage, Tree},
};

/// The settings, directories and reports that all loads share.
pub(crate) struct Bench {
    pub servers: Vec<Server>,
    pub framing: Framing,
    pub rounds: usize,
    /// Digest what arrives and compare it with what was generated.
    pub verify: bool,
    loomd: PathBuf,
    this: PathBuf,
    work: PathBuf,
    /// How long a wait for an event or for quiet may take.
    timeout: Duration,
    reports: Receiver<Report>,
    reports_dir: TempDir,
}

impl Bench {
    pub(crate) fn new(options: &Options) -> io::Result<Bench> {
        // A socket's path must be short, and a work directory may be anywhere.
        let reports_dir = tempfile::tempdir()?;
        let reports = receive_reports(&reports_dir.path().join("r"))?;
        let work = options.work.join(format!("bench-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&work)?;
        let servers = options.servers.clone();
        if servers.contains(&Server::Node) {
            install_node()?;
        }
        Ok(Bench {
            servers,
            framing: options.framing,
            rounds: options.rounds,
            verify: options.verify,
            loomd: options.loomd.clone(),
            this: env::current_exe()?,
            work,
            timeout: Duration::from_secs(if options.smoke { 30 } else { 300 }),
            reports,
            reports_dir,
        })
    }

    /// The servers of a load's turns: in each round each server once, and each round begins with another one.
    pub(crate) fn interleaved(&self, rounds: usize) -> impl Iterator<Item = Server> {
        let count = self.servers.len();
        (0..rounds).flat_map(move |round| (0..count).map(move |turn| self.servers[(round + turn) % count]))
    }

    /// The command line of a generator.
    pub(crate) fn generator(&self, program: &str, options: &[(&str, u64)]) -> Vec<String> {
        let mut command = vec![self.this.display().to_string(), GENERATE.to_owned(), program.to_owned()];
        command.extend(options.iter().map(|(name, value)| format!("--{name}={value}")));
        command.push(format!("--report={}", self.reports_dir.path().join("r").display()));
        command
    }

    /// The data directory of a server's warm store.
    pub(crate) fn warm_dir(&self, server: Server) -> PathBuf {
        self.work.join(format!("{}-warm", server.name()))
    }

    pub(crate) fn open_fresh(&self, server: Server, read_mode: ReadMode, sample_every: Duration) -> io::Result<Session<'_>> {
        let data = self.work.join(server.name());
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        // What earlier turns left to be written must not slow this one.
        rustix::fs::sync();
        self.open(server, data, read_mode, sample_every)
    }

    pub(crate) fn open(&self, server: Server, data: PathBuf, read_mode: ReadMode, sample_every: Duration) -> io::Result<Session<'_>> {
        let mut command = match server {
            Server::Loomd => Command::new(&self.loomd),
            Server::Relay => Command::new(&self.this),
            Server::Node => Command::new("node"),
        };
        match server {
            Server::Loomd => &mut command,
            Server::Relay => command.arg("relay"),
            Server::Node => command.arg(node_dir().join("server.js")),
        };
        let no_config = self.work.join("config");
        command.env("LOOMD_DATA_DIR", &data).env("XDG_CONFIG_HOME", no_config).env_remove("LOOMD_CONFIG").env_remove("LOOMD_RUN_ID");
        let log = fs::File::options().create(true).append(true).open(self.work.join(format!("{}.stderr", server.name())))?;
        let framing = if server == Server::Node { Framing::Lsp } else { self.framing };
        let client = Client::spawn(command, log, framing, read_mode)?;
        let tree = Tree::new(client.pid(), sample_every);
        Ok(Session { bench: self, server, data, client, tree, reports: Vec::new() })
    }

    /// Removes the work directory. It is kept when a load fails, so that it can be examined.
    pub(crate) fn clean(self) -> io::Result<()> {
        fs::remove_dir_all(&self.work)
    }

    pub(crate) fn work(&self) -> &Path {
        &self.work
    }
}

/// A running server and its client.
pub(crate) struct Session<'a> {
    bench: &'a Bench,
    pub server: Server,
    data: PathBuf,
    pub client: Client,
    pub tree: Tree,
    pub reports: Vec<Report>,
}

/// The result of a session.
pub(crate) struct SessionResult {
    pub output: Output,
    /// From the server's spawn to the end of the last of its processes, without generators.
    pub usage: ResourceUsage,
}

impl Session<'_> {
    /// Runs `body`, then waits for quiet, ends the server and adds up what it used. If anything in `body` fails, all
    /// processes of the server are killed.
    pub(crate) fn run<T>(mut self, body: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<(T, SessionResult)> {
        let named = |server: Server, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", server.name()));
        let server = self.server;
        match body(&mut self) {
            Ok(value) => self.end().map(|ended| (value, ended)).map_err(|error| named(server, error)),
            Err(error) => {
                self.client.kill();
                self.tree.kill();
                Err(named(server, error))
            }
        }
    }

    /// Waits for the next event for which `select` returns a value.
    pub(crate) fn wait_for<T>(&mut self, mut select: impl FnMut(Event) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + self.bench.timeout;
        loop {
            if let Some(found) = select(self.client.next(deadline)?) {
                return Ok(found);
            }
        }
    }

    /// Waits for the reports of `count` generators.
    pub(crate) fn wait_reports(&mut self, count: usize) -> io::Result<()> {
        for _ in 0..count {
            self.reports.push(self.bench.reports.recv_timeout(Duration::from_secs(30)).map_err(io::Error::other)?);
        }
        Ok(())
    }

    /// Waits until the server has nothing to do: its finished runs are sealed, and none of its processes uses the
    /// processor.
    pub(crate) fn wait_quiet(&self) -> io::Result<()> {
        let deadline = Instant::now() + self.bench.timeout;
        while self.server == Server::Loomd && has_directories(&self.data.join("runs"))? {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a finished run was not sealed"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.tree.wait_quiet(deadline)
    }

    fn end(self) -> io::Result<SessionResult> {
        self.wait_quiet()?;
        let output = self.client.shut_down()?;
        let usage = self.tree.end(&self.reports, Instant::now() + Duration::from_secs(60))?;
        Ok(SessionResult { output, usage })
    }
}

/// Receives reports on a thread at all times: a datagram socket holds ten messages, and a generator that waits for
/// space would not end.
fn receive_reports(path: &Path) -> io::Result<Receiver<Report>> {
    let socket = UnixDatagram::bind(path)?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length) = socket.recv(&mut buffer) {
            let Ok(report) = serde_json::from_slice(&buffer[..length]) else { continue };
            if sender.send(report).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn has_directories(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(entries.flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn node_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node")
}

/// Installs the Node server's packages, once. If there is no prebuilt database binding, npm compiles it with the
/// headers that come with Node, so that nothing else is downloaded.
fn install_node() -> io::Result<()> {
    let dir = node_dir();
    if dir.join("node_modules/better-sqlite3/build/Release/better_sqlite3.node").exists() {
        return Ok(());
    }
    let node_path = Command::new("node").args(["-p", "process.execPath"]).output()?;
    let node = PathBuf::from(String::from_utf8_lossy(&node_path.stdout).trim());
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir);
    if let Some(prefix) = node.ancestors().nth(2).filter(|prefix| prefix.join("include/node/node.h").exists()) {
        npm.env("npm_config_nodedir", prefix);
    }
    // npm's output goes to stderr; stdout is for the figures.
    let status = npm.stdout(io::stderr()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("npm ci in {} failed: {status}", dir.display()))) }
}
