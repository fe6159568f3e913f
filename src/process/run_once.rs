//! Runs a short-lived program, such as a provider that lists its models, and ends it with everything that it started.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    detach::RUN_MARK_VARIABLE,
    spawn::start_new_session,
    tree::{self, ObservedProcess},
};

/// A program to start, and how long it may take.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    /// True: its stdin is a pipe, which [`run`] writes to. False: its stdin is `/dev/null`.
    pub(crate) piped_stdin: bool,
    /// [`run`] ends the program after this time.
    pub(crate) timeout: Duration,
}

/// What [`run`] does after a line of the program.
#[derive(Debug)]
pub(crate) enum AfterLine {
    /// Waits for the next line.
    Continue,
    /// Writes these bytes to the program's stdin, then waits for the next line.
    Write(Vec<u8>),
    /// Ends the program.
    Stop,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The end of what it wrote to stderr.
    pub(crate) stderr: String,
    /// `None`: it is not known.
    pub(crate) status: Option<ExitStatus>,
    /// The timeout was over before [`run`] had what it waited for.
    pub(crate) timed_out: bool,
}

/// How often [`run`] checks whether a program that writes nothing has exited.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest line that the program may write; a longer one comes in pieces.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// How much of the end of stderr is returned.
const STDERR_TAIL_BYTES: usize = 4096;

/// Starts a program, writes `first_input` to its stdin, and calls `on_line` for each line of its stdout until `on_line`
/// returns [`AfterLine::Stop`], the program exits or closes its stdout, or the timeout is over. No process that it started is left, as far as [`tree`] finds them and may signal them.
pub(crate) fn run(invocation: &Invocation, first_input: &[u8], mut on_line: impl FnMut(&[u8]) -> AfterLine) -> io::Result<Ending> {
    let deadline = Instant::now() + invocation.timeout;
    let mark = uuid::Uuid::now_v7().to_string();
    let mut command = Command::new(&invocation.argv[0]);
    command.args(&invocation.argv[1..]).current_dir(&invocation.cwd).env_clear();
    command.envs(invocation.env.iter().map(|(name, value)| (name, value))).env(RUN_MARK_VARIABLE, &mark);
    command.stdin(if invocation.piped_stdin { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A shell that thinks itself interactive would stop at a terminal of ours that it does not own.
    start_new_session(&mut command);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let mut stdin = child.stdin.take();
    let (sender, lines) = mpsc::sync_channel(16);
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if sender.send(line).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    let (tail_sender, tail) = mpsc::channel();
    thread::spawn(move || {
        // `run` may have stopped waiting for the tail; then nobody needs it.
        tail_sender.send(read_tail(stderr)).ok();
    });
    let mut write = |bytes: &[u8]| {
        if let Some(stdin) = &mut stdin {
            // A program that has closed its stdin writes no answer, so the timeout or its exit ends the loop below.
            stdin.write_all(bytes).and_then(|()| stdin.flush()).ok();
        }
    };
    write(first_input);
    let (mut timed_out, mut is_stopped) = (false, false);
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(remaining.min(EXIT_POLL_INTERVAL)) {
            Ok(line) => match on_line(line.strip_suffix(b"\n").unwrap_or(&line)) {
                AfterLine::Continue => {}
                AfterLine::Write(bytes) => write(&bytes),
                AfterLine::Stop => {
                    is_stopped = true;
                    break;
                }
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            // A grandchild may hold the pipe open after the program has exited, so the end of the pipe is not waited
            // for.
            Err(mpsc::RecvTimeoutError::Timeout) if remaining.is_zero() => {
                timed_out = true;
                break;
            }
            Err(mpsc::RecvTimeoutError::Timeout) if !matches!(child.try_wait(), Ok(None)) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
    drop(stdin);
    let status = end_tree(&mut child, &mark);
    // A last line without a line feed is whole only when nobody holds the pipe open any more.
    while !is_stopped && let Ok(line) = lines.recv_timeout(EXIT_POLL_INTERVAL) {
        is_stopped = matches!(on_line(line.strip_suffix(b"\n").unwrap_or(&line)), AfterLine::Stop);
    }
    Ok(Ending { stderr: tail.recv_timeout(Duration::from_millis(500)).unwrap_or_default(), status, timed_out })
}

/// Starts a program of which nothing is read, and waits until it has exited or its time is over. No process that it started is
/// left. It gets no mark: every descendant of this process is one of its, which has to be their subreaper and to start nothing
/// else.
pub(crate) fn run_alone(invocation: &Invocation) -> io::Result<()> {
    let deadline = Instant::now() + invocation.timeout;
    let mut command = Command::new(&invocation.argv[0]);
    command.args(&invocation.argv[1..]).current_dir(&invocation.cwd).env_clear();
    command.envs(invocation.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    start_new_session(&mut command);
    let mut child = command.spawn()?;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(EXIT_POLL_INTERVAL);
    }
    end_processes(&mut child, |processes| tree::descendants(processes, std::process::id()));
    Ok(())
}

fn read_tail(mut stream: impl Read) -> String {
    let mut tail = VecDeque::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        tail.extend(&buffer[..read]);
        let surplus = tail.len().saturating_sub(STDERR_TAIL_BYTES);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(tail.make_contiguous()).into_owned()
}

/// Ends the program and all that it started. The program has half a second to exit by itself, because its stdin is
/// closed; then every process left gets SIGTERM for half a second, then SIGKILL.
fn end_tree(child: &mut Child, mark: &str) -> Option<ExitStatus> {
    let leader = child.id();
    let exit_deadline = Instant::now() + Duration::from_millis(500);
    while Instant::now() < exit_deadline && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(5));
    }
    end_processes(child, |processes| {
        let mut alive = tree::marked(processes, mark);
        alive.extend(tree::descendants(processes, leader));
        alive.extend(processes.get(&leader).cloned());
        alive
    });
    // Reaps the program. It fails only if somebody else has reaped it.
    child.wait().ok()
}

/// Sends SIGTERM to the processes that `find` finds until none is left, after half a second SIGKILL.
fn end_processes(child: &mut Child, find: impl Fn(&BTreeMap<u32, ObservedProcess>) -> Vec<ObservedProcess>) {
    for signal in [Signal::TERM, Signal::KILL] {
        let signal_deadline = Instant::now() + Duration::from_millis(500);
        loop {
            let mut alive = find(&tree::all().unwrap_or_default());
            alive.retain(|process| !process.zombie);
            if alive.is_empty() || Instant::now() >= signal_deadline {
                break;
            }
            alive.iter().for_each(|process| drop(tree::signal(process, signal)));
            // Reaps the program; the loop ends by `alive`, not by this result.
            child.try_wait().ok();
            thread::sleep(Duration::from_millis(10));
        }
    }
}
