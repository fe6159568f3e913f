//! A home for loomd, and a terminal to use it on.

use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use loomd::process::spawn::{self, Input, Program};
use rustix::process::{Pid, WaitOptions, waitpid};

pub const LOOMD: &str = env!("CARGO_BIN_EXE_loomd");
const DEADLINE: Duration = Duration::from_secs(30);

/// A data directory of its own. When it goes, so does what still runs in it.
pub struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let own = [("LOOMD_DATA_DIR", "data"), ("HOME", "."), ("XDG_CONFIG_HOME", "config"), ("TMPDIR", ".")];
        own.into_iter()
            .map(|(name, value)| (name, self.path(value)))
            .chain([("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()).into())])
            .collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(LOOMD);
        command.args(arguments).env_clear().envs(self.environment()).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub fn loomd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("loomd starts")
    }

    pub fn stdout(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.loomd(arguments).stdout).expect("text")
    }

    /// The newest run.
    pub fn run(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout(&["list", "--json", "--limit", "1"]).trim()).expect("a run")
    }

    /// Starts loomd on a terminal.
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        let argv = std::iter::once("loomd").chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut env: Vec<_> = self.environment().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        env.push(("TERM".into(), "xterm-256color".into()));
        let program = Program { path: LOOMD.into(), argv, cwd: self.dir.path().to_owned(), env, umask: 0o022, input: Input::Terminal };
        let spawned = spawn::spawn(&program).expect("loomd starts");
        let (sender, pieces) = mpsc::channel();
        let mut screen = File::from(spawned.stdout);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The other side of a closed terminal reads as an error.
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { pid: spawned.pid, keys: spawned.stdin.map(File::from), pieces, shown: String::new() }
    }

    /// A shell script that says that it is ready, waits for `gate`, and says that it went on.
    pub fn gated(&self) -> String {
        format!("echo ready; while [ ! -e '{}' ]; do sleep 0.02; done; echo went on; exit 5", self.path("gate").display())
    }

    pub fn open_gate(&self) {
        File::create(self.path("gate")).expect("made");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for run in self.stdout(&["list", "--state", "live", "--json"]).lines() {
            let run: serde_json::Value = serde_json::from_str(run).expect("a run");
            self.loomd(&["cancel", "--grace", "0s", run["id"].as_str().expect("an id")]);
        }
    }
}

pub struct Terminal {
    pub pid: Pid,
    keys: Option<File>,
    pieces: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    pub fn press(&mut self, key: &[u8]) {
        self.keys.as_mut().expect("it is open").write_all(key).expect("the terminal takes keys");
    }

    /// Waits until something is shown after what was waited for before, and takes it off.
    pub fn shows(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            match self.pieces.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(_) => panic!("`{text}` is not shown, but: {}", self.shown),
            }
        }
    }

    /// Waits for the exit code.
    pub fn ends(&mut self) -> i32 {
        let status = until("loomd ends", || waitpid(Some(self.pid), WaitOptions::NOHANG).expect("it is our child"));
        status.1.exit_status().unwrap_or_else(|| panic!("it ended by itself, not by a signal; shown: {}", self.shown))
    }

    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }
}

/// Looks again and again until something is there.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it is in vain to wait until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
