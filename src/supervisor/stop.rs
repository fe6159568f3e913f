//! How a run's processes end: politely, then not; and what is left of the tree is swept.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::{Signal, WaitOptions};
use tokio::time::Instant;

use crate::{
    model::entry::LeftProcess,
    process::tree::{self, Seen},
};

/// How long a cancelled program may take to end by itself, unless the client says otherwise.
pub const GRACE: Duration = Duration::from_millis(2000);
/// How long what a run leaves behind may take to end by itself.
const SWEEP_GRACE: Duration = Duration::from_millis(2000);
/// After this the sweep gives up on what survives SIGKILL (a process in an uninterruptible sleep).
const GIVE_UP: Duration = Duration::from_millis(3000);

/// Build daemons and agents that serve more than one run; killing them would hurt their owner.
const KEPT: [&str; 16] = [
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
pub struct Tree {
    run: String,
    /// Leader of the program's group.
    leader: u32,
    keep: Vec<String>,
}

/// A sweep that is under way.
#[derive(Debug)]
pub struct Sweep {
    kill_at: Instant,
    asked_politely: bool,
}

/// What a look at the tree found.
#[derive(Debug, PartialEq, Eq)]
pub enum Swept {
    /// Nothing is left but these, which were spared or could not be ended.
    Done(Vec<LeftProcess>),
    /// Some are still ending.
    NotYet,
}

impl Tree {
    pub fn new(run: String, leader: u32, keep: Vec<String>) -> Self {
        let keep = KEPT.iter().map(|name| (*name).to_owned()).chain(keep).collect();
        Self { run, leader, keep }
    }

    /// Asks every process of the tree to end.
    pub fn terminate(&self) {
        tree::signal_group(self.leader, Signal::TERM);
        let (others, _) = self.members();
        others.iter().for_each(|process| self.signal_outside_group(process, Signal::TERM));
    }

    /// Interrupts the program's group, as Ctrl-C does.
    pub fn interrupt(&self) {
        tree::signal_group(self.leader, Signal::INT);
    }

    /// Ends every process of the tree that is seen now.
    pub fn kill(&self) {
        tree::signal_group(self.leader, Signal::KILL);
        let (members, _) = self.members();
        for process in &members {
            // One that is gone, or became another, is what we want.
            let _ = tree::signal(process, Signal::KILL);
        }
    }

    /// All processes of the tree that run now.
    pub fn running(&self) -> Vec<Seen> {
        self.members().0
    }

    /// Asks some processes to end,
    pub fn ask_to_end(&self, processes: &[Seen]) {
        processes.iter().for_each(|process| drop(tree::signal(process, Signal::TERM)));
    }

    /// and makes them, if they are still there.
    pub fn end(&self, processes: &[Seen]) {
        processes.iter().for_each(|process| drop(tree::signal(process, Signal::KILL)));
    }

    /// Looks at what is left after the program has ended, and moves it on.
    pub fn sweep(&self, sweep: &mut Sweep) -> Swept {
        // As a subreaper we are the parent of every orphan, so without a child there is no descendant.
        if !has_children() {
            return Swept::Done(Vec::new());
        }
        let (members, kept) = self.members();
        if members.is_empty() {
            return Swept::Done(left(&kept));
        }
        let now = Instant::now();
        if now >= sweep.kill_at + GIVE_UP {
            return Swept::Done(left(&[kept, members].concat()));
        }
        let signal = if now >= sweep.kill_at { Signal::KILL } else { Signal::TERM };
        if signal == Signal::KILL || !sweep.asked_politely {
            sweep.asked_politely = true;
            members.iter().for_each(|process| drop(tree::signal(process, signal)));
        }
        Swept::NotYet
    }

    /// What runs of the tree, and what of it is to be spared: the programs named in `keep` and their descendants.
    fn members(&self) -> (Vec<Seen>, Vec<Seen>) {
        let processes = tree::all().unwrap_or_default();
        let own = std::process::id();
        let mut members: BTreeMap<u32, Seen> = BTreeMap::new();
        for process in tree::descendants(&processes, own).into_iter().chain(tree::marked(&processes, &self.run)) {
            if !process.zombie && process.pid != own {
                members.insert(process.pid, process);
            }
        }
        let mut kept: BTreeMap<u32, Seen> = BTreeMap::new();
        for process in members.values().filter(|process| process.pid != self.leader && tree::is_one_of(process.pid, &self.keep)) {
            kept.insert(process.pid, process.clone());
            let below = tree::descendants(&processes, process.pid).into_iter().filter(|below| !below.zombie);
            kept.extend(below.map(|below| (below.pid, below)));
        }
        members.retain(|pid, _| !kept.contains_key(pid));
        (members.into_values().collect(), kept.into_values().collect())
    }

    fn signal_outside_group(&self, process: &Seen, signal: Signal) {
        let pid = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw);
        let group = pid.and_then(|pid| rustix::process::getpgid(Some(pid)).ok());
        if group.is_none_or(|group| group.as_raw_nonzero().get().cast_unsigned() != self.leader) {
            // One that is gone is what we want.
            let _ = tree::signal(process, signal);
        }
    }
}

impl Sweep {
    /// Begins a sweep. `deadline`: a cancel has given them until then already.
    pub fn begin(deadline: Option<Instant>) -> Self {
        Self { kill_at: deadline.unwrap_or_else(|| Instant::now() + SWEEP_GRACE), asked_politely: false }
    }

    /// A shorter grace later wins.
    pub fn hurry(&mut self, deadline: Instant) {
        self.kill_at = self.kill_at.min(deadline);
    }
}

/// Whether any child is left, zombies that are not reaped among them.
fn has_children() -> bool {
    !matches!(
        rustix::process::waitid(
            rustix::process::WaitId::All,
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG | rustix::process::WaitIdOptions::NOWAIT
        ),
        Err(rustix::io::Errno::CHILD)
    )
}

fn left(processes: &[Seen]) -> Vec<LeftProcess> {
    processes.iter().map(|process| LeftProcess { pid: process.pid, command: tree::command_line(process.pid) }).collect()
}

/// Reaps every child that has ended. There is no other wait in this process: a run's orphans come to it unasked.
pub fn reap(mut ended: impl FnMut(u32, rustix::process::WaitStatus)) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        ended(pid.as_raw_nonzero().get().cast_unsigned(), status);
    }
}
