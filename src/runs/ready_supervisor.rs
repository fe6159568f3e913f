//! The supervisor that waits for this server's next run ([`crate::supervisor::launch`]). There is none before the first
//! start, each start takes it, and another one is made behind that.

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    process::{current_process::InheritedSettings, detach, lock::Lock},
    supervisor::launch,
};

/// How long a supervisor that waits may take to say that it is there. One that is stopped, say, is left alone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the supervisor waits. It is here before its process is there, so that a start in between waits for that process and makes no
/// other.
#[derive(Debug, Default)]
pub(super) struct ReadySlot(Mutex<Option<ReadySupervisor>>);

/// A supervisor that waits for a run.
#[derive(Debug)]
pub(super) struct ReadySupervisor {
    stream: UnixStream,
    /// What it inherited. A run gets what this server has when it is started.
    settings: InheritedSettings,
}

impl ReadySlot {
    /// Starts a supervisor, unless one waits already. Blocking.
    pub(super) fn fill(&self) {
        let started = {
            let mut slot = self.0.lock();
            if slot.is_some() {
                return;
            }
            UnixStream::pair().map(|(ours, theirs)| {
                *slot = Some(ReadySupervisor { stream: ours, settings: InheritedSettings::now() });
                theirs
            })
        };
        let [ready, room] = launch::waiting_words(std::process::id());
        let words = ["supervise".as_ref(), ready.as_ref(), room.as_ref()];
        if let Err(error) = started.and_then(|theirs| detach::spawn_detached(&words, theirs.as_fd(), None)) {
            // Whoever took it meanwhile reads the end of the connection.
            *self.0.lock() = None;
            tracing::debug!(%error, "no supervisor waits for the next run, which starts its own");
        }
    }

    /// Takes the supervisor, and asks it whether it is there; [`ReadySupervisor::hand_over`] reads the answer.
    pub(super) fn take(&self) -> Option<ReadySupervisor> {
        let taken = self.0.lock().take()?;
        let is_asked = taken.settings == InheritedSettings::now() && (&taken.stream).write_all(b"\n").is_ok();
        is_asked.then_some(taken)
    }
}

impl ReadySupervisor {
    /// Hands the lock of a run over, and returns the connection, over which the run is launched. `None`: the supervisor
    /// is gone or does not answer, and has got nothing.
    pub(super) fn hand_over(self, lock: &Lock) -> Option<UnixStream> {
        // Its version is all that it says.
        let mut answer = [0; 256];
        let mut length = 0;
        self.stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
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
