//! The supervisor that waits for this server's next run ([`crate::supervisor::launch`]). There is none before the first
//! start, each start takes it, and another one is made behind that.
//!
//! A supervisor with a scope of its own always waits first, because a `systemd-run` that hangs must hold nothing of a run.

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    config::SupervisorScope,
    process::{current_process::InheritedSettings, detach, lock::Lock},
    supervisor::launch,
};

/// How long a supervisor that waits may take to say that it is there. One that is stopped, say, is left alone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The same for one that may still be on its way into its scope: the user's systemd is asked over its bus.
const SCOPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the supervisor waits. It is here before its process is there, so that a start in between waits for that process and makes no
/// other.
#[derive(Debug, Default)]
pub(super) struct ReadySlot {
    waiting: Mutex<Option<ReadySupervisor>>,
    scope: SupervisorScope,
}

/// A supervisor that waits for a run.
#[derive(Debug)]
pub(super) struct ReadySupervisor {
    stream: UnixStream,
    scope: SupervisorScope,
    /// What it inherited. A run gets what this server has when it is started.
    settings: InheritedSettings,
}

impl ReadySlot {
    /// Supervisors are started in this scope.
    pub(super) fn new(scope: SupervisorScope) -> Self {
        Self { waiting: Mutex::default(), scope }
    }

    /// Starts a supervisor, unless one waits already. Blocking.
    pub(super) fn fill(&self) {
        let started = {
            let mut slot = self.waiting.lock();
            if slot.is_some() {
                return;
            }
            UnixStream::pair().map(|(ours, theirs)| {
                *slot = Some(ReadySupervisor { stream: ours, scope: self.scope, settings: InheritedSettings::now() });
                theirs
            })
        };
        let [ready, room] = launch::waiting_words(std::process::id());
        let words = ["supervise".as_ref(), ready.as_ref(), room.as_ref()];
        let spawned = started.and_then(|theirs| match self.scope {
            SupervisorScope::Inherited => detach::spawn_detached(&words, theirs.as_fd(), None),
            SupervisorScope::Systemd => detach::spawn_in_systemd_scope(&words, theirs.as_fd()),
        });
        if let Err(error) = spawned {
            // Whoever took it meanwhile reads the end of the connection.
            *self.waiting.lock() = None;
            tracing::debug!(%error, "no supervisor waits for the next run, which starts its own");
        }
    }

    /// Takes the supervisor, and asks it whether it is there; [`ReadySupervisor::hand_over`] reads the answer. Where supervisors
    /// have scopes and none waits, it starts one.
    pub(super) fn take(&self) -> Option<ReadySupervisor> {
        let taken = self.take_waiting();
        if taken.is_some() || self.scope == SupervisorScope::Inherited {
            return taken;
        }
        self.fill();
        let taken = self.take_waiting();
        if taken.is_none() {
            warn_of_missing_scope();
        }
        taken
    }

    fn take_waiting(&self) -> Option<ReadySupervisor> {
        let taken = self.waiting.lock().take()?;
        let is_asked = taken.settings == InheritedSettings::now() && (&taken.stream).write_all(b"\n").is_ok();
        is_asked.then_some(taken)
    }
}

impl ReadySupervisor {
    /// Hands the lock of a run over, and returns the connection, over which the run is launched. `None`: the supervisor
    /// is gone or does not answer, and has got nothing.
    pub(super) fn hand_over(self, lock: &Lock) -> Option<UnixStream> {
        let scope = self.scope;
        let handed_over = self.try_hand_over(lock);
        if handed_over.is_none() && scope == SupervisorScope::Systemd {
            warn_of_missing_scope();
        }
        handed_over
    }

    fn try_hand_over(self, lock: &Lock) -> Option<UnixStream> {
        // Its version is all that it says.
        let mut answer = [0; 256];
        let mut length = 0;
        let timeout = if self.scope == SupervisorScope::Systemd { SCOPE_TIMEOUT } else { ANSWER_TIMEOUT };
        self.stream.set_read_timeout(Some(timeout)).ok()?;
        while !answer[..length].ends_with(b"\n") {
            match (&self.stream).read(&mut answer[length..]) {
                Ok(read @ 1..) => length += read,
                _ => return None,
            }
        }
        self.stream.set_read_timeout(None).ok()?;
        lock.send(&self.stream).ok()?;
        Some(self.stream)
    }
}

fn warn_of_missing_scope() {
    tracing::warn!("systemd gave the supervisor no scope; the run starts without one, and may end at a logout");
}
