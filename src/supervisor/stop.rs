//! How a run's processes are ended: SIGTERM first, SIGKILL after a grace; at the end it sweeps what is left of the process tree.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    model::entry::LeftProcess,
    process::{
        Signal, ancestry, current_process,
        tree::{self, ObservedProcess},
    },
};

/// How long a canceled program may take to end by itself, unless the client says otherwise.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_millis(2000);
/// How long processes that a run leaves behind may take to end after SIGTERM.
const SWEEP_GRACE: Duration = Duration::from_millis(2000);
/// How long after SIGKILL a sweep gives up on a process that survives it (one in an uninterruptible sleep).
const KILL_TIMEOUT: Duration = Duration::from_millis(3000);

/// How often a full disk is tried again.
pub(crate) const STORAGE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Build daemons and agents that serve more than one run; a sweep spares them, for killing them would hurt other runs.
const SPARED_PROGRAMS: [&str; 16] = [
    "sccache",
    "ccache",
    "distccd",
    "iceccd",
    "gradle",
    "GradleDaemon",
    "KotlinCompileDaemon",
    "bazel",
    "buck2d",
    "pantsd",
    "mvnd",
    "watchman",
    "turbo",
    "adb",
    "gpg-agent",
    "ssh-agent",
];

/// The processes of one run.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    run: String,
    /// Leader of the program's group.
    leader: u32,
    keep: Vec<String>,
    /// For a moment the supervisor adopted no orphans, so that the mark alone may show a process.
    may_have_strays: bool,
}

/// A sweep that is under way.
#[derive(Debug)]
pub(crate) struct Sweep {
    kill_at: Instant,
    has_terminated: bool,
    /// Processes that it ended though they had made themselves independent; one for each session.
    pub(crate) daemons: Vec<EndedDaemon>,
}

/// A process that somebody may have wanted to outlive the run.
#[derive(Debug)]
pub(crate) struct EndedDaemon {
    /// What would spare it in `keep`.
    pub(crate) name: String,
    pub(crate) process: LeftProcess,
}

/// What one scan of a sweep found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SweepOutcome {
    /// No process is left except these, which were spared or could not be ended.
    Done(Vec<LeftProcess>),
    /// Some processes have not ended yet.
    NotYet,
}

impl ProcessTree {
    pub(crate) fn new(run: String, leader: u32, keep: Vec<String>) -> Self {
        let keep = SPARED_PROGRAMS.iter().map(|name| (*name).to_owned()).chain(keep).collect();
        Self { run, leader, keep, may_have_strays: false }
    }

    /// Notes that orphans may have left the tree, see [`detach::spawn_outside`](crate::process::detach::spawn_outside).
    pub(crate) fn note_strays(&mut self) {
        self.may_have_strays = true;
    }

    /// The program itself.
    pub(crate) fn leader(&self) -> u32 {
        self.leader
    }

    /// Sends SIGTERM to every process of the tree.
    pub(crate) fn terminate(&self) {
        tree::signal_group(self.leader, Signal::TERM);
        let (others, _) = self.members();
        others.iter().for_each(|process| self.signal_outside_group(process, Signal::TERM));
    }

    /// Sends SIGINT to the program's group, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        tree::signal_group(self.leader, Signal::INT);
    }

    /// Sends SIGKILL to every process of the tree that exists now.
    pub(crate) fn kill(&self) {
        tree::signal_group(self.leader, Signal::KILL);
        let (members, _) = self.members();
        for process in &members {
            // A process that is gone, or whose pid belongs to another one now, needs no signal.
            tree::signal(process, Signal::KILL).ok();
        }
    }

    /// All running processes of the tree, except spared ones.
    pub(crate) fn running(&self) -> Vec<ObservedProcess> {
        self.members().0
    }

    /// The processor time that the running processes of the tree and their ended children have used.
    pub(crate) fn processor_time(&self) -> Duration {
        self.running().iter().map(|process| process.processor_time).sum()
    }

    /// Sends SIGTERM to some processes.
    pub(crate) fn terminate_processes(&self, processes: &[ObservedProcess]) {
        processes.iter().for_each(|process| drop(tree::signal(process, Signal::TERM)));
    }

    /// Sends SIGKILL to some processes.
    pub(crate) fn kill_processes(&self, processes: &[ObservedProcess]) {
        processes.iter().for_each(|process| drop(tree::signal(process, Signal::KILL)));
    }

    /// Scans what is left after the program has ended, and sends the signal that is due.
    pub(crate) fn sweep(&self, sweep: &mut Sweep) -> SweepOutcome {
        // The supervisor is a subreaper and so the parent of every orphan: without a child there is no descendant.
        if !self.may_have_strays && !current_process::has_children() {
            return SweepOutcome::Done(Vec::new());
        }
        let (members, spared) = self.members();
        if members.is_empty() {
            return SweepOutcome::Done(left_processes(&spared));
        }
        let now = Instant::now();
        if now >= sweep.kill_at + KILL_TIMEOUT {
            return SweepOutcome::Done(left_processes(&[spared, members].concat()));
        }
        let signal = if now >= sweep.kill_at { Signal::KILL } else { Signal::TERM };
        if signal == Signal::KILL || !sweep.has_terminated {
            if !sweep.has_terminated {
                sweep.daemons = self.daemons_among(&members);
            }
            sweep.has_terminated = true;
            members.iter().for_each(|process| drop(tree::signal(process, signal)));
        }
        SweepOutcome::NotYet
    }

    /// The running processes of the tree, and those to spare: the programs named in `keep` and their descendants.
    fn members(&self) -> (Vec<ObservedProcess>, Vec<ObservedProcess>) {
        let processes = tree::all().unwrap_or_default();
        let own_pid = std::process::id();
        let mut members: BTreeMap<u32, ObservedProcess> = BTreeMap::new();
        for process in tree::descendants(&processes, own_pid).into_iter().chain(tree::marked(&processes, &self.run)) {
            if !process.zombie && process.pid != own_pid {
                members.insert(process.pid, process);
            }
        }
        let mut spared: BTreeMap<u32, ObservedProcess> = BTreeMap::new();
        for process in members.values().filter(|process| process.pid != self.leader && tree::is_one_of(process.pid, &self.keep)) {
            spared.insert(process.pid, process.clone());
            let descendant = tree::descendants(&processes, process.pid).into_iter().filter(|descendant| !descendant.zombie);
            spared.extend(descendant.map(|descendant| (descendant.pid, descendant)));
        }
        members.retain(|pid, _| !spared.contains_key(pid));
        (members.into_values().collect(), spared.into_values().collect())
    }

    fn daemons_among(&self, members: &[ObservedProcess]) -> Vec<EndedDaemon> {
        let sessions: BTreeMap<u32, &ObservedProcess> = members
            .iter()
            .rev()
            .filter(|process| !ancestry::waits_for_run(process.pid))
            .filter_map(|process| Some((tree::session_of_its_own(process.pid, self.leader)?, process)))
            .collect();
        let processes: Vec<ObservedProcess> = sessions.into_values().cloned().collect();
        let names = processes.iter().map(|process| tree::keep_name(process.pid));
        names.zip(left_processes(&processes)).map(|(name, process)| EndedDaemon { name, process }).collect()
    }

    fn signal_outside_group(&self, process: &ObservedProcess, signal: Signal) {
        if current_process::group_of(process.pid) != Some(self.leader) {
            // A process that is gone needs no signal.
            tree::signal(process, signal).ok();
        }
    }
}

impl Sweep {
    /// Begins a sweep. `deadline` is the one that a cancel has set already.
    pub(crate) fn begin(deadline: Option<Instant>, now: Instant) -> Self {
        Self { kill_at: deadline.unwrap_or(now + SWEEP_GRACE), has_terminated: false, daemons: Vec::new() }
    }

    /// Moves the SIGKILL forward, if `deadline` is earlier.
    pub(crate) fn shorten(&mut self, deadline: Instant) {
        self.kill_at = self.kill_at.min(deadline);
    }
}

fn left_processes(processes: &[ObservedProcess]) -> Vec<LeftProcess> {
    processes.iter().map(|process| LeftProcess { pid: process.pid, command: tree::command_line(process.pid) }).collect()
}
