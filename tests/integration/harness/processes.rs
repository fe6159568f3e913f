//! Processes as /proc describes them, and signals to those that a test started.

use std::{collections::BTreeMap, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: u32,
    pub parent: u32,
    /// `R`, `S`, `T`, `Z`, … as in /proc/PID/stat.
    pub state: char,
    /// Its session; 0 where the session's leader is outside of our PID namespace.
    pub session: u32,
    pub command: String,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may contain anything, so the fields are counted from the last parenthesis.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?.chars().next()?;
        let parent = rest.next()?.parse().ok()?;
        let session = rest.nth(1)?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Some(Self { pid, parent, state, session, command: String::from_utf8_lossy(&command).replace('\0', " ") })
    }

    pub(crate) fn is_alive(pid: u32) -> bool {
        Self::of(pid).is_some_and(|process| process.state != 'Z')
    }

    /// Whether no thread of it runs, or waits for a disk.
    pub(crate) fn threads_sleep(pid: u32) -> bool {
        let states = thread_states(pid);
        assert!(!states.is_empty(), "process {pid} is gone");
        states.iter().all(|state| *state == 'S')
    }

    pub(crate) fn all() -> Vec<Self> {
        let numbers = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.filter_map(Self::of).collect()
    }

    /// A variable of the environment that it was started with.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    /// Whether it holds a file below the directory open.
    pub(crate) fn holds_open(&self, directory: &Path) -> bool {
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|file| file.starts_with(directory))
    }
}

/// The descendants of a process by parentage: those that an editor kills with its tree.
pub(crate) fn descendants(root: u32) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in Process::all() {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut next) = (Vec::new(), vec![root]);
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            next.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// Kills a process and waits until it has ended: until then it holds its locks and sockets.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
    super::until("the killed process has ended", || (!has_threads(pid)).then_some(()));
}

/// Whether a thread of the process has not ended yet. The first one may be a zombie before the others have ended.
fn has_threads(pid: u32) -> bool {
    thread_states(pid).iter().any(|state| !matches!(state, 'Z' | 'X'))
}

/// The states of the process's threads, as in `Process::state`; empty if the process is gone.
fn thread_states(pid: u32) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let state = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    threads.filter_map(state).collect()
}

/// Stops a process and waits until it stands still.
pub(crate) fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    super::until("the process stands still", || Process::of(pid).filter(|process| process.state == 'T'));
}

pub(crate) fn resume(pid: u32) {
    signal(pid, Signal::CONT);
}

/// What a terminal sends for Ctrl-C.
pub(crate) fn interrupt(pid: u32) {
    signal(pid, Signal::INT);
}

/// What a terminal sends for Ctrl-\.
pub(crate) fn quit(pid: u32) {
    signal(pid, Signal::QUIT);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a process id")).expect("a process id");
    // The process may have ended by itself meanwhile, which is as good.
    kill_process(pid, signal).ok();
}
