//! A home directory for loomd, and a terminal on which commands run.

use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use loomd::{
    model::TerminalSize,
    process::spawn::{self, Program, StdioMode},
};
use rustix::process::{Pid, WaitOptions, waitpid};

pub(crate) const LOOMD: &str = env!("CARGO_BIN_EXE_loomd");
const DEADLINE: Duration = Duration::from_secs(30);

/// A temporary home with a data directory of its own. When it is dropped, the runs in it are canceled.
pub(crate) struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let own = [("LOOMD_DATA_DIR", "data"), ("HOME", "."), ("XDG_CONFIG_HOME", "config"), ("TMPDIR", ".")];
        own.into_iter()
            .map(|(name, value)| (name, self.path(value)))
            .chain([("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()).into())])
            .collect()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(LOOMD);
        command.args(arguments).env_clear().envs(self.environment()).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn loomd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("loomd starts")
    }

    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.loomd(arguments).stdout).expect("text")
    }

    /// The newest run.
    pub(crate) fn run(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout(&["list", "--json", "--limit", "1"]).trim()).expect("a run")
    }

    /// Starts loomd on a terminal.
    pub(crate) fn terminal(&self, arguments: &[&str]) -> Terminal {
        let argv = std::iter::once("loomd").chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut env: Vec<_> = self.environment().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        env.push(("TERM".into(), "xterm-256color".into()));
        let program = Program {
            path: LOOMD.into(),
            argv,
            cwd: self.dir.path().to_owned(),
            env,
            umask: 0o022,
            input: StdioMode::Terminal(TerminalSize::default()),
            large_stdout: false,
        };
        let spawned = spawn::spawn(&program).expect("loomd starts");
        let (sender, chunks) = mpsc::channel();
        let mut screen = File::from(spawned.stdout);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading from a terminal whose other side is closed is an error.
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { pid: spawned.pid, keys: spawned.stdin.map(File::from), chunks, shown: String::new() }
    }

    /// A shell script that prints `ready`, waits for the file `gate`, prints `went on`, and exits with 5.
    pub(crate) fn gated(&self) -> String {
        format!("echo ready; while [ ! -e '{}' ]; do sleep 0.02; done; echo went on; exit 5", self.path("gate").display())
    }

    pub(crate) fn open_gate(&self) {
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

pub(crate) struct Terminal {
    pub pid: Pid,
    keys: Option<File>,
    chunks: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    pub(crate) fn press(&mut self, key: &[u8]) {
        self.keys.as_mut().expect("it is open").write_all(key).expect("the terminal takes keys");
    }

    /// Presses a key until `text` is shown: keys count only a while after a question has appeared.
    pub(crate) fn answers(&mut self, key: &[u8], text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        while !self.shown.contains(text) {
            assert!(Instant::now() < end, "`{text}` is not shown, but: {}", self.shown);
            self.press(key);
            if let Ok(chunk) = self.chunks.recv_timeout(Duration::from_millis(50)) {
                self.shown.push_str(&String::from_utf8_lossy(&chunk));
            }
        }
        self.shows(text)
    }

    /// The size of the window changes.
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(self.keys.as_ref().expect("it is open"), size).expect("it is a terminal");
    }

    /// Waits until `text` is shown after the text of the last call. Returns everything up to its end.
    pub(crate) fn shows(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            match self.chunks.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.shown.push_str(&String::from_utf8_lossy(&chunk)),
                Err(_) => panic!("`{text}` is not shown, but: {}", self.shown),
            }
        }
    }

    /// Waits for the exit code.
    pub(crate) fn ends(&mut self) -> i32 {
        let status = until("loomd ends", || waitpid(Some(self.pid), WaitOptions::NOHANG).expect("it is our child"));
        status.1.exit_status().unwrap_or_else(|| panic!("it ended by itself, not by a signal; shown: {}", self.shown))
    }

    /// Waits for the end. Returns the exit code and everything that was shown.
    pub(crate) fn ends_having_shown(&mut self) -> (i32, String) {
        let code = self.ends();
        // The channel ends with the terminal, whose last user has ended.
        while let Ok(chunk) = self.chunks.recv_timeout(DEADLINE) {
            self.shown.push_str(&String::from_utf8_lossy(&chunk));
        }
        (code, std::mem::take(&mut self.shown))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The server that loomd has started.
    #[cfg(target_os = "linux")]
    pub(crate) fn server(&self) -> Pid {
        let pid = self.pid();
        let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("readable");
        until("there is a server", || Pid::from_raw(children().split_whitespace().next()?.parse().ok()?))
    }
}

/// Polls until there is a value, with a deadline.
pub(crate) fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
