//! The clocks of a run: its total time, its time without output, its time without an attached client. They count time
//! awake only: on Linux the monotonic clock stands still while the machine sleeps.

use std::time::Duration;

use tokio::time::Instant;

use super::{phase::EndReason, stop::DEFAULT_GRACE};
use crate::model::control::LaunchSpec;

/// How long a run with `onDisconnect: "cancel"` waits for a client to come back.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(5);

/// The limits that end a run by themselves.
#[derive(Debug)]
pub(crate) struct Watchdog {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    idle_timeout: Option<Duration>,
    last_output: Instant,
    /// Since when the idle clock stands still.
    idle_paused_since: Option<Instant>,
    abandoned_at: Option<Instant>,
}

impl Watchdog {
    pub(crate) fn new(spec: &LaunchSpec) -> Self {
        let now = Instant::now();
        let timeout = spec.timeout_ms.map(Duration::from_millis);
        Self {
            timeout,
            deadline: timeout.and_then(|timeout| now.checked_add(timeout)),
            idle_timeout: spec.idle_timeout_ms.map(Duration::from_millis),
            last_output: now,
            idle_paused_since: None,
            abandoned_at: None,
        }
    }

    pub(crate) fn note_output(&mut self) {
        self.last_output = Instant::now();
    }

    /// Stops the idle clock while the run waits for something else than its program.
    pub(crate) fn pause_idle_clock(&mut self) {
        self.idle_paused_since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn resume_idle_clock(&mut self) {
        if let Some(since) = self.idle_paused_since.take() {
            self.last_output += since.elapsed();
        }
    }

    /// The last attached client has left.
    pub(crate) fn client_left(&mut self) {
        self.abandoned_at = Some(Instant::now());
    }

    /// A client is attached.
    pub(crate) fn client_came(&mut self) {
        self.abandoned_at = None;
    }

    /// When a limit is due next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.deadline, self.idle_end(), self.abandoned_at.map(|at| at + ABANDON_TIMEOUT)].into_iter().flatten().min()
    }

    /// The reason for which the run must end now, if there is one, and the grace that the program gets.
    pub(crate) fn due(&self, now: Instant) -> Option<(EndReason, Duration)> {
        if self.deadline.is_some_and(|at| at <= now) {
            let limit = self.timeout.unwrap_or_default().as_millis();
            return Some((EndReason::TimedOut(format!("the run took longer than its limit of {limit} ms")), DEFAULT_GRACE));
        }
        if self.idle_end().is_some_and(|at| at <= now) {
            let limit = self.idle_timeout.unwrap_or_default().as_millis();
            return Some((EndReason::TimedOut(format!("the run wrote nothing for longer than its limit of {limit} ms")), DEFAULT_GRACE));
        }
        let abandoned = self.abandoned_at.is_some_and(|at| at + ABANDON_TIMEOUT <= now);
        abandoned.then_some((EndReason::Cancelled, DEFAULT_GRACE))
    }

    fn idle_end(&self) -> Option<Instant> {
        if self.idle_paused_since.is_some() {
            return None;
        }
        self.last_output.checked_add(self.idle_timeout?)
    }
}
