//! The commands for people on a real terminal: a pseudoterminal with keys, a hang-up, a pipe that is closed.
//!
//! What the commands print elsewhere is tested with the other integration tests.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use loomd::process::spawn::{self, Input, Program};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

const LOOMD: &str = env!("CARGO_BIN_EXE_loomd");
const DEADLINE: Duration = Duration::from_secs(30);

/// A data directory of its own. When it goes, so does what still runs in it.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let own = [("LOOMD_DATA_DIR", "data"), ("HOME", "."), ("XDG_CONFIG_HOME", "config"), ("TMPDIR", ".")];
        own.into_iter().map(|(name, value)| (name, self.path(value))).chain([("PATH", "/usr/local/bin:/usr/bin:/bin".into())]).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(LOOMD);
        command.args(arguments).env_clear().envs(self.environment()).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn loomd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("loomd starts")
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.loomd(arguments).stdout).expect("text")
    }

    /// The newest run.
    fn run(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout(&["list", "--json", "--limit", "1"]).trim()).expect("a run")
    }

    /// Starts loomd on a terminal.
    fn terminal(&self, arguments: &[&str]) -> Terminal {
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
    fn gated(&self) -> String {
        format!("echo ready; while [ ! -e '{}' ]; do sleep 0.02; done; echo went on; exit 5", self.path("gate").display())
    }

    fn open_gate(&self) {
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

struct Terminal {
    pid: Pid,
    keys: Option<File>,
    pieces: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn press(&mut self, key: &[u8]) {
        self.keys.as_mut().expect("it is open").write_all(key).expect("the terminal takes keys");
    }

    /// Waits until something is shown after what was waited for before, and takes it off.
    fn shows(&mut self, text: &str) -> String {
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
    fn ends(&mut self) -> i32 {
        let status = until("loomd ends", || waitpid(Some(self.pid), WaitOptions::NOHANG).expect("it is our child"));
        status.1.exit_status().unwrap_or_else(|| panic!("it ended by itself, not by a signal; shown: {}", self.shown))
    }

    #[cfg(target_os = "linux")]
    fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }
}

/// Looks again and again until something is there.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it is in vain to wait until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The server that a command started for itself.
#[cfg(target_os = "linux")]
fn server_of(pid: u32) -> Pid {
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("readable");
    let child = until("there is a server", || children().split_whitespace().next()?.parse().ok());
    Pid::from_raw(child).expect("a pid")
}

#[test]
fn the_first_ctrl_c_interrupts_the_second_cancels_the_third_kills() {
    let home = Home::new();
    let script = "trap 'echo caught' INT; trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", script]);
    let head = terminal.shows("ready");
    assert!(head.contains("\x1b[") && head.contains("loomd logs"), "{head}");
    terminal.press(b"\x03");
    terminal.shows("interrupting");
    terminal.shows("caught");
    terminal.press(b"\x03");
    terminal.shows("cancelling");
    terminal.shows("asked");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
    terminal.shows("cancelled");
    assert_eq!(home.run()["state"], "cancelled");
}

#[test]
fn ctrl_backslash_leaves_and_attach_comes_back_for_the_exit_code() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    terminal.press(b"\x1c");
    terminal.shows("goes on");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(home.run()["state"], "running");
    let mut terminal = home.terminal(&["attach"]);
    terminal.shows("ready\r\n");
    home.open_gate();
    terminal.shows("went on\r\n");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn a_run_goes_on_when_its_terminal_is_closed() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    // What a terminal does when its window is closed.
    kill_process(terminal.pid, Signal::HUP).expect("it runs");
    assert_eq!(terminal.ends(), 129, "as shells say of a program that SIGHUP ended");
    drop(terminal);
    assert_eq!(home.run()["state"], "running");
    home.open_gate();
    assert_eq!(home.stdout(&["logs", "-f"]), "ready\nwent on\n");
    assert_eq!(home.run()["exitCode"], 5);
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_dies_is_replaced_without_a_gap() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    kill_process(server_of(terminal.pid()), Signal::KILL).expect("it runs");
    home.open_gate();
    let rest = terminal.shows("went on\r\n");
    assert_eq!(rest, "went on\r\n", "no repeat");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn what_is_typed_reaches_an_interactive_run_and_its_end_too() {
    let home = Home::new();
    let mut terminal =
        home.terminal(&["run", "--interactive", "--", "sh", "-c", "echo ready; while read l; do echo \"<$l>\"; done; exit 4"]);
    terminal.shows("ready");
    terminal.press("wörds\n".as_bytes());
    terminal.shows("<wörds>");
    terminal.press(b"\x04");
    assert_eq!(terminal.ends(), 4);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::new();
    assert_eq!(home.loomd(&["run", "--quiet", "--", "seq", "200000"]).status.code(), Some(0));
    let mut logs = home.command(&["logs"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loomd starts");
    let mut first = [0; 2];
    logs.stdout.take().expect("a pipe").read_exact(&mut first).expect("output");
    let output = logs.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_run_goes_on_when_its_output_is_closed() {
    let home = Home::new();
    let script = format!("echo ready; while [ ! -e '{0}' ]; do echo more; sleep 0.02; done; echo end", home.path("gate").display());
    let mut run = home.command(&["run", "--", "sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut first = [0; 5];
    let mut stdout = run.stdout.take().expect("a pipe");
    stdout.read_exact(&mut first).expect("output");
    drop(OwnedFd::from(stdout));
    assert_eq!(run.wait_with_output().expect("it leaves").status.code(), Some(0));
    assert_eq!(home.run()["state"], "running");
    home.open_gate();
    assert!(home.stdout(&["logs", "--follow"]).ends_with("more\nend\n"));
}

#[test]
fn the_last_lines_are_exact_and_of_the_stream_that_is_asked_for() {
    let home = Home::new();
    home.loomd(&["run", "--", "sh", "-c", r"printf 'a\nb\377\n'; printf 'x\ny' >&2"]);
    let logs = |arguments: &[&str]| home.loomd(&[&["logs"], arguments].concat()).stdout;
    assert_eq!(logs(&["--stream", "stdout"]), b"a\nb\xff\n");
    assert_eq!(logs(&["--stream", "stdout", "--tail", "1"]), b"b\xff\n");
    assert_eq!(logs(&["--stream", "stderr", "--tail", "1"]), b"y");
    assert_eq!(logs(&["--tail", "0"]), b"");
    assert_eq!(logs(&["--tail", "99"]).len(), 8);
}

#[test]
fn exit_codes_tell_how_it_ended() {
    let home = Home::new();
    let code = |arguments: &[&str]| home.loomd(&[&["run", "--quiet"], arguments].concat()).status.code();
    assert_eq!(code(&["--", "true"]), Some(0));
    assert_eq!(code(&["--", "sh", "-c", "exit 200"]), Some(200));
    assert_eq!(code(&["--", "sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["--timeout", "10ms", "--", "sleep", "1000"]), Some(124));
    assert_eq!(code(&["--max-output", "1", "--", "sh", "-c", "echo long; sleep 1000"]), Some(1));
    assert_eq!(code(&["--", "/no/such/program"]), Some(127));
    assert_eq!(home.loomd(&["run", "--bogus"]).status.code(), Some(2));
    assert_eq!(home.loomd(&["logs", "not-an-id"]).status.code(), Some(1));
}

#[test]
fn a_run_is_named_by_its_last_digits() {
    let home = Home::new();
    let id = home.stdout(&["run", "--detach", "--interactive", "--", "cat"]).trim().to_owned();
    let short = &id[id.len() - 8..];
    assert!(home.stdout(&["list"]).starts_with(short));
    assert!(home.loomd(&["send", short, "hello", "--close"]).status.success());
    assert_eq!(home.stdout(&["attach", short, "--from-start"]), "hello\n");
    assert!(home.loomd(&["delete", short]).status.success());
    assert_eq!(home.stdout(&["list"]), "");
}

#[test]
fn old_runs_are_pruned_and_counted() {
    let home = Home::new();
    for number in 0..3 {
        assert_eq!(home.stdout(&["run", "--", "echo", &number.to_string()]), format!("{number}\n"));
    }
    assert_eq!(home.loomd(&["prune"]).status.code(), Some(2), "nothing is pruned without a bound");
    assert!(home.stdout(&["prune", "--older-than", "30d"]).starts_with("0 runs deleted"));
    assert!(home.stdout(&["prune", "--keep", "1"]).starts_with("2 runs deleted"));
    assert_eq!(home.stdout(&["list"]).lines().count(), 1);
    assert!(home.stdout(&["stats"]).starts_with("runs       1 (0 live)"));
    assert!(home.stdout(&["stats", "--json"]).contains("\"maxAgeDays\":90"));
}
