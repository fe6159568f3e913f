//! The clocks of a run: its whole time, its time without output, its time without anybody. Awake time only: on Linux the
//! monotonic clock stands still while the machine sleeps.

use std::time::Duration;

use tokio::time::Instant;

use super::{phase::Ending, stop::GRACE, words::Orders};

/// How long a run with `onDisconnect: "cancel"` waits for somebody to come back.
const ABANDONED: Duration = Duration::from_secs(5);

/// What may end a run by itself.
#[derive(Debug)]
pub struct Watchdog {
    timeout: Option<Duration>,
    ends: Option<Instant>,
    idle_timeout: Option<Duration>,
    last_output: Instant,
    /// Since when the idle clock stands still.
    standing_since: Option<Instant>,
    abandoned_at: Option<Instant>,
}

impl Watchdog {
    pub fn new(orders: &Orders) -> Self {
        let now = Instant::now();
        let timeout = orders.timeout_ms.map(Duration::from_millis);
        Self {
            timeout,
            ends: timeout.and_then(|timeout| now.checked_add(timeout)),
            idle_timeout: orders.idle_timeout_ms.map(Duration::from_millis),
            last_output: now,
            standing_since: None,
            abandoned_at: None,
        }
    }

    pub fn saw_output(&mut self) {
        self.last_output = Instant::now();
    }

    /// The run waits for something that is not its own fault.
    pub fn stand_still(&mut self) {
        self.standing_since.get_or_insert_with(Instant::now);
    }

    pub fn go_on(&mut self) {
        if let Some(since) = self.standing_since.take() {
            self.last_output += since.elapsed();
        }
    }

    /// The last attached client has gone,
    pub fn abandoned(&mut self) {
        self.abandoned_at = Some(Instant::now());
    }

    /// or one has come.
    pub fn attended(&mut self) {
        self.abandoned_at = None;
    }

    /// When something will be due next.
    pub fn next(&self) -> Option<Instant> {
        [self.ends, self.idle_end(), self.abandoned_at.map(|at| at + ABANDONED)].into_iter().flatten().min()
    }

    /// What is due now, and how long the program may take to end.
    pub fn due(&self, now: Instant) -> Option<(Ending, Duration)> {
        if self.ends.is_some_and(|at| at <= now) {
            let limit = self.timeout.unwrap_or_default().as_millis();
            return Some((Ending::TimedOut(format!("the run took longer than timeoutMs allows ({limit} ms)")), GRACE));
        }
        if self.idle_end().is_some_and(|at| at <= now) {
            let limit = self.idle_timeout.unwrap_or_default().as_millis();
            return Some((Ending::TimedOut(format!("no output came for as long as idleTimeoutMs allows ({limit} ms)")), GRACE));
        }
        let abandoned = self.abandoned_at.is_some_and(|at| at + ABANDONED <= now);
        abandoned.then_some((Ending::Cancelled, GRACE))
    }

    fn idle_end(&self) -> Option<Instant> {
        if self.standing_since.is_some() {
            return None;
        }
        self.last_output.checked_add(self.idle_timeout?)
    }
}
