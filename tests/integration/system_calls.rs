//! How many system calls a line and a start cost. Counts, so that no slow machine matters.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::harness::{Gate, Home, Log, Process, Server, interrupt, until};

const LINES: usize = 50;
/// Calls that are not about a line: the beginning and the end of what is counted, and a timer that fires meanwhile.
const MAX_OTHERS: usize = 10;
/// Calls of a supervisor that waited, from the lock of its run to the first output.
const MAX_START_CALLS: usize = 100;

/// A recording of the system calls of a process and its threads.
struct Trace {
    strace: Child,
    path: PathBuf,
    pid: u32,
}

impl Trace {
    /// Begins to record. `None` where this user may not.
    fn begin(home: &Home, pid: u32) -> Option<Self> {
        let path = home.path().join(format!("calls-of-{pid}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-p", &pid.to_string(), "-o"]).arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut strace = command.spawn().ok()?;
        let begun = until("the calls are recorded", || {
            let ended = strace.try_wait().expect("a child of ours").is_some();
            let is_traced = fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0")));
            (ended || is_traced).then_some(is_traced)
        });
        if !begun {
            eprintln!("NOT TESTED: this needs strace and the right to trace a process");
        }
        begun.then_some(Self { strace, path, pid })
    }

    /// Ends the recording. Returns how often the process's first thread made each call.
    fn end(mut self) -> BTreeMap<String, usize> {
        interrupt(self.strace.id());
        self.strace.wait().expect("a child of ours");
        let text = fs::read_to_string(&self.path).expect("a recording");
        let mut calls = BTreeMap::new();
        for line in text.lines().filter(|line| !line.contains("resumed>")) {
            let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
            let Some((name, _)) = call.trim_start().split_once('(') else { continue };
            if thread == self.pid.to_string() {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }
}

/// Whether a process sleeps and has something to wait with: its own start is over then.
fn waits(pid: u32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    let has_queue = targets.any(|target| target.to_string_lossy().contains("eventpoll"));
    has_queue && Process::of(pid).is_some_and(|process| process.state == 'S')
}

/// A run that repeats each line that the test writes to it, past all servers and supervisors.
struct Echo {
    gate: Gate,
    log: Log,
    supervisor: u32,
    expected: String,
}

impl Echo {
    fn start(home: &Home, server: &mut Server) -> Self {
        let gate = Gate::new(home.path(), "gate");
        let (run, log) = server.sh(&gate.echo());
        let supervisor = home.supervisor(run["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid"));
        let mut echo = Self { gate, log, supervisor, expected: String::new() };
        echo.line(server);
        echo
    }

    fn line(&mut self, server: &mut Server) {
        self.gate.send("line");
        self.expected.push_str("line\n");
        server.follow(&mut self.log, "the line", |log| log.stdout == self.expected.as_bytes());
    }

    fn end(mut self, server: &mut Server) {
        self.gate.send("end");
        server.follow_to_end(&mut self.log);
    }
}

/// The supervisor waits, reads the pipe, appends, wakes the server; all else comes from the thread that syncs, a few times
/// a second.
#[test]
fn a_line_is_four_calls_of_the_supervisor() {
    let home = Home::new();
    let mut server = home.server();
    let mut echo = Echo::start(&home, &mut server);
    let Some(trace) = Trace::begin(&home, echo.supervisor) else { return echo.end(&mut server) };
    (0..LINES).for_each(|_| echo.line(&mut server));
    let mut calls = trace.end();
    let mut take = |name: &str| calls.remove(name).unwrap_or(0);
    let (waits, reads, writes, wakes) = (take("epoll_wait"), take("read"), take("pwrite64"), take("sendto"));
    // Each sync is followed by one wait and one write of the head; and the thread that syncs is woken by a futex.
    let syncs = writes.saturating_sub(LINES);
    take("futex");
    // What the start needed is given back once.
    take("madvise");
    assert!(reads <= LINES + syncs + MAX_OTHERS, "{reads} reads");
    assert!(wakes <= LINES + MAX_OTHERS, "{wakes} wake-ups");
    assert!(waits <= LINES + syncs + MAX_OTHERS, "{waits} waits with {syncs} syncs");
    assert!(calls.values().sum::<usize>() <= MAX_OTHERS, "{calls:?}");
    echo.end(&mut server);
}

/// The server waits, reads the wake-up, reads the log, writes to the client.
#[test]
fn a_line_is_four_calls_of_the_server() {
    let home = Home::new();
    let mut server = home.server();
    let mut echo = Echo::start(&home, &mut server);
    let Some(trace) = Trace::begin(&home, server.pid()) else { return echo.end(&mut server) };
    (0..LINES).for_each(|_| echo.line(&mut server));
    let mut calls = trace.end();
    for name in ["epoll_wait", "recvfrom", "pread64", "write"] {
        let count = calls.remove(name).unwrap_or(0);
        assert!(count <= LINES + MAX_OTHERS, "{count} × {name}");
    }
    assert!(calls.values().sum::<usize>() <= MAX_OTHERS, "{calls:?}");
    echo.end(&mut server);
}

/// Behind the first start, a program is started by a supervisor that is there already, which makes the thread that syncs
/// and the program.
#[test]
fn a_start_makes_no_process_but_the_program() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut first) = server.sh("echo first");
    server.follow_to_end(&mut first);
    let ready = until("a supervisor waits", || crate::ready_supervisors::waiting(server.pid()).into_iter().find(|pid| waits(*pid)));
    let Some(trace) = Trace::begin(&home, ready) else { return };
    let (_, mut log) = server.sh(&format!("echo up; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout == b"up\n");
    let mut calls = trace.end();
    let made = ["fork", "vfork", "clone", "clone3"].map(|name| calls.get(name).copied().unwrap_or(0));
    assert_eq!(made.iter().sum::<usize>(), 2, "{calls:?}");
    // These depend on the length of PATH and on the system's libraries.
    calls.retain(|name, _| name != "statx" && name != "madvise");
    assert!(calls.values().sum::<usize>() <= MAX_START_CALLS, "{calls:?}");
    gate.open();
    server.follow_to_end(&mut log);
}
