//! A program that is asked something and then ended, with everything that it started.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{detach::MARK, tree};

/// What is started, and how long it may take.
#[derive(Debug)]
pub struct Conversation {
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    /// Its stdin is a pipe; else it is null.
    pub talks: bool,
    pub patience: Duration,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    Wait,
    Say(Vec<u8>),
    Done,
}

/// How often a silent program is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Most bytes of one line, and of the end of stderr.
const LONGEST: u64 = 64 << 20;
const STDERR: usize = 4096;

/// Starts a program, says `first`, and gives each of its lines to `heard` until that is done, the program ends, or the time is over.
/// Returns the end of what it wrote to stderr. Nothing of it is left, whatever it did.
pub fn converse(conversation: &Conversation, first: &[u8], mut heard: impl FnMut(&[u8]) -> Next) -> io::Result<String> {
    let until = Instant::now() + conversation.patience;
    let mark = uuid::Uuid::now_v7().to_string();
    let mut command = Command::new(&conversation.argv[0]);
    command.args(&conversation.argv[1..]).current_dir(&conversation.cwd).env_clear();
    command.envs(conversation.env.iter().map(|(name, value)| (name, value))).env(MARK, &mark);
    command.stdin(if conversation.talks { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let mut stdin = child.stdin.take();
    let (sender, lines) = mpsc::sync_channel(16);
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            match (&mut reader).take(LONGEST).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if sender.send(line).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    let (tail_sender, tail) = mpsc::channel();
    thread::spawn(move || {
        let _ = tail_sender.send(end_of(stderr));
    });
    let mut say = |bytes: &[u8]| {
        if let Some(stdin) = &mut stdin {
            // A program that does not listen is seen by its silence.
            let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    };
    say(first);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left.min(LOOK)) {
            Ok(line) => match heard(line.strip_suffix(b"\n").unwrap_or(&line)) {
                Next::Wait => {}
                Next::Say(bytes) => say(&bytes),
                Next::Done => break,
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            // A grandchild may hold the pipe of a program that has ended.
            Err(mpsc::RecvTimeoutError::Timeout) if left.is_zero() || !matches!(child.try_wait(), Ok(None)) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
    drop(stdin);
    end(&mut child, &mark);
    Ok(tail.recv_timeout(Duration::from_millis(500)).unwrap_or_default())
}

fn end_of(mut stream: impl Read) -> String {
    let mut kept = VecDeque::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        kept.extend(&buffer[..read]);
        let surplus = kept.len().saturating_sub(STDERR);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(kept.make_contiguous()).into_owned()
}

/// Ends the program and all that it started: politely for half a second, then not. Its status is its own business.
fn end(child: &mut Child, mark: &str) {
    let leader = child.id();
    let polite = Instant::now() + Duration::from_millis(500);
    while Instant::now() < polite && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(5));
    }
    for signal in [Signal::TERM, Signal::KILL] {
        let until = Instant::now() + Duration::from_millis(500);
        loop {
            let processes = tree::all().unwrap_or_default();
            let mut left = tree::marked(&processes, mark);
            left.extend(tree::descendants(&processes, leader));
            left.extend(processes.get(&leader).cloned());
            left.retain(|process| !process.zombie);
            if left.is_empty() || Instant::now() >= until {
                break;
            }
            left.iter().for_each(|process| drop(tree::signal(process, signal)));
            let _ = child.try_wait();
            thread::sleep(Duration::from_millis(10));
        }
    }
    let _ = child.wait();
}
