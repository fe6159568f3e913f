//! The supervisor that waits for this server's next run ([`crate::supervisor::ready_supervisor`]). There is none before the first
//! start, each start takes it, and another one is made behind that.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    process::{detach, inherited::InheritedSettings, lock::Lock},
    supervisor::ready_supervisor,
};

/// How long a supervisor that waits may take to say that it is there. One that is stopped, say, is left alone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the supervisor waits.
#[derive(Debug, Default)]
pub(super) struct ReadySlot(Mutex<SlotState>);

#[derive(Debug, Default)]
enum SlotState {
    #[default]
    Empty,
    /// One is being started.
    Filling,
    Filled(ReadySupervisor),
}

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
        {
            let mut state = self.0.lock();
            if !matches!(*state, SlotState::Empty) {
                return;
            }
            *state = SlotState::Filling;
        }
        let filled = ReadySupervisor::spawn().map(SlotState::Filled);
        *self.0.lock() = filled.unwrap_or_else(|error| {
            tracing::debug!(%error, "no supervisor waits for the next run, which starts its own");
            SlotState::Empty
        });
    }

    /// Takes the supervisor, and asks it whether it is there; [`ReadySupervisor::hand_over`] reads the answer.
    pub(super) fn take(&self) -> Option<ReadySupervisor> {
        let taken = {
            let mut state = self.0.lock();
            match std::mem::take(&mut *state) {
                SlotState::Filled(supervisor) => supervisor,
                other => {
                    *state = other;
                    return None;
                }
            }
        };
        let is_asked = taken.settings == InheritedSettings::now() && (&taken.stream).write_all(b"\n").is_ok();
        is_asked.then_some(taken)
    }
}

impl ReadySupervisor {
    fn spawn() -> io::Result<Self> {
        let settings = InheritedSettings::now();
        let (ours, theirs) = UnixStream::pair()?;
        let [ready, room] = ready_supervisor::waiting_words(std::process::id());
        detach::spawn_detached(&["supervise".as_ref(), ready.as_ref(), room.as_ref()], theirs.as_fd(), None)?;
        Ok(Self { stream: ours, settings })
    }

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
