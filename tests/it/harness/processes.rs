//! Looking at processes through /proc, and stopping or killing those that a test started, by number.

use std::{collections::BTreeMap, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// `R`, `S`, `T`, `Z`, … as in /proc/PID/stat.
    pub state: char,
    /// Its session; 0 where the session's leader is outside of our PID namespace.
    pub session: u32,
    pub command: String,
}

impl Process {
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything, so what follows is counted from the last one.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?.chars().next()?;
        let parent = rest.next()?.parse().ok()?;
        let session = rest.nth(1)?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Some(Self { pid, parent, state, session, command: String::from_utf8_lossy(&command).replace('\0', " ") })
    }

    pub fn is_alive(pid: u32) -> bool {
        Self::of(pid).is_some_and(|process| process.state != 'Z')
    }

    /// Whether no thread of it runs, or waits for a disk.
    pub fn threads_sleep(pid: u32) -> bool {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
        let mut states = threads.filter_map(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
            stat.rsplit_once(')')?.1.trim_start().chars().next()
        });
        states.all(|state| state == 'S')
    }

    pub fn all() -> Vec<Self> {
        let numbers = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.filter_map(Self::of).collect()
    }

    /// A variable of the environment that it was started with.
    pub fn variable(&self, name: &str) -> Option<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    /// Whether it holds a file below the directory open.
    pub fn holds_open(&self, directory: &Path) -> bool {
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|file| file.starts_with(directory))
    }
}

/// The processes that an editor finds when it kills a tree by parentage.
pub fn descendants(root: u32) -> Vec<Process> {
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

pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Stops a process and waits until it stands still.
pub fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    super::until("the process stands still", || Process::of(pid).filter(|process| process.state == 'T'));
}

pub fn resume(pid: u32) {
    signal(pid, Signal::CONT);
}

/// What a terminal sends for Ctrl-C.
pub fn interrupt(pid: u32) {
    signal(pid, Signal::INT);
}

/// What a terminal sends for Ctrl-\.
pub fn quit(pid: u32) {
    signal(pid, Signal::QUIT);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a process id")).expect("a process id");
    // It may have ended by itself just now, which is as good.
    let _ = kill_process(pid, signal);
}
