//! The servers that are compared, and a session with one of them: spawned, used, quiet, ended, accounted for.

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
    client::{Client, Event, Output, Reading},
    contenders::Server,
    frames::Framing,
    options::Options,
    processes::{GENERATE, Report, Tree, Used},
};

/// What all loads need.
pub struct Bench {
    pub servers: Vec<Server>,
    pub framing: Framing,
    pub rounds: usize,
    /// Digest what arrives and compare it with what was generated.
    pub verify: bool,
    loomd: PathBuf,
    this: PathBuf,
    work: PathBuf,
    /// How long any one thing may take.
    patience: Duration,
    reports: Receiver<Report>,
    reports_dir: TempDir,
}

impl Bench {
    pub fn new(options: &Options) -> io::Result<Bench> {
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
            patience: Duration::from_secs(if options.smoke { 30 } else { 300 }),
            reports,
            reports_dir,
        })
    }

    /// The rounds of a load: each server once in each, beginning with another one each time.
    pub fn turns(&self, rounds: usize) -> impl Iterator<Item = Server> {
        let count = self.servers.len();
        (0..rounds).flat_map(move |round| (0..count).map(move |turn| self.servers[(round + turn) % count]))
    }

    /// A generator's command line.
    pub fn generator(&self, program: &str, options: &[(&str, u64)]) -> Vec<String> {
        let mut command = vec![self.this.display().to_string(), GENERATE.to_owned(), program.to_owned()];
        command.extend(options.iter().map(|(name, value)| format!("--{name}={value}")));
        command.push(format!("--report={}", self.reports_dir.path().join("r").display()));
        command
    }

    /// A data directory that a warm store is kept in.
    pub fn warm_dir(&self, server: Server) -> PathBuf {
        self.work.join(format!("{}-warm", server.name()))
    }

    pub fn open_fresh(&self, server: Server, reading: Reading, sample_every: Duration) -> io::Result<Session<'_>> {
        let data = self.work.join(server.name());
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        // What earlier turns left to be written must not be this one's burden.
        rustix::fs::sync();
        self.open(server, data, reading, sample_every)
    }

    pub fn open(&self, server: Server, data: PathBuf, reading: Reading, sample_every: Duration) -> io::Result<Session<'_>> {
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
        let client = Client::spawn(command, log, framing, reading)?;
        let tree = Tree::new(client.pid(), sample_every);
        Ok(Session { bench: self, server, data, client, tree, reports: Vec::new() })
    }

    /// Removes what was made. Kept when a load fails, for a look at it.
    pub fn clean(self) -> io::Result<()> {
        fs::remove_dir_all(&self.work)
    }

    pub fn work(&self) -> &Path {
        &self.work
    }
}

/// A server under load.
pub struct Session<'a> {
    bench: &'a Bench,
    pub server: Server,
    data: PathBuf,
    pub client: Client,
    pub tree: Tree,
    pub reports: Vec<Report>,
}

/// What a session came to.
pub struct Ended {
    pub output: Output,
    /// From the server's spawn to the end of the last of its processes, without generators.
    pub used: Used,
}

impl Session<'_> {
    /// Runs `body`, then waits for quiet, ends the server and adds up. A server that fails is killed with all its tree.
    pub fn conduct<T>(mut self, body: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<(T, Ended)> {
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

    /// Waits for the next event that `wanted` makes something of.
    pub fn wait_for<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + self.bench.patience;
        loop {
            if let Some(found) = wanted(self.client.next(deadline)?) {
                return Ok(found);
            }
        }
    }

    /// Takes the word of so many generators that they are done.
    pub fn take_reports(&mut self, count: usize) -> io::Result<()> {
        for _ in 0..count {
            self.reports.push(self.bench.reports.recv_timeout(Duration::from_secs(30)).map_err(io::Error::other)?);
        }
        Ok(())
    }

    /// Waits until nothing of the server works any more: its finished runs are sealed, and no process uses the processor.
    pub fn wait_quiet(&self) -> io::Result<()> {
        let deadline = Instant::now() + self.bench.patience;
        while self.server == Server::Loomd && has_directories(&self.data.join("runs"))? {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a finished run was not sealed"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.tree.wait_quiet(deadline)
    }

    fn end(self) -> io::Result<Ended> {
        self.wait_quiet()?;
        let output = self.client.leave()?;
        let used = self.tree.end(&self.reports, Instant::now() + Duration::from_secs(60))?;
        Ok(Ended { output, used })
    }
}

/// Receives at all times: a datagram socket holds ten messages, and a generator that waits for room would not end.
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

pub fn node_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node")
}

/// Installs the Node server's packages, once. Where no prebuilt database binding can be had it is compiled; the
/// headers for that come with Node, so that nothing is downloaded.
fn install_node() -> io::Result<()> {
    let dir = node_dir();
    if dir.join("node_modules/better-sqlite3/build/Release/better_sqlite3.node").exists() {
        return Ok(());
    }
    let asked = Command::new("node").args(["-p", "process.execPath"]).output()?;
    let node = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir);
    if let Some(prefix) = node.ancestors().nth(2).filter(|prefix| prefix.join("include/node/node.h").exists()) {
        npm.env("npm_config_nodedir", prefix);
    }
    // Its words go where progress goes; stdout is for the figures.
    let status = npm.stdout(io::stderr()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("npm ci in {} failed: {status}", dir.display()))) }
}
