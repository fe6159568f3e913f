//! What is due later in a run, in one queue, and the time limit of a program's start, which waits for a program that is at
//! work: `npx` downloads its package first. No IO and no clock.

use std::{mem::discriminant, time::Duration};

use tokio::time::Instant;

use super::input::Waiter;
use crate::{model::Failure, process::tree::ObservedProcess};

/// How often a program that is late is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A program is at work if it uses at least this part of a processor; one that waits uses next to nothing.
const WORKING_SHARE: u32 = 50;
/// A program that is at work gets this many times its limit, and no more.
const MAX_LIMITS: u32 = 10;

/// Something that is done once its time has come.
#[derive(Debug)]
pub(super) enum Timer {
    /// The log takes nothing: it is tried again.
    RetryStorage,
    /// The code that only the start needed is freed.
    ReleaseCode,
    /// An interrupt is answered, though the program or the turn goes on.
    InterruptAnswer(Waiter),
    /// A sender whose write failed because stdin is closed is told so. We wait to learn whether the program has exited,
    /// because the error is another one then.
    RefusedSend(Waiter, Failure),
    /// A timer of the agent's conversation.
    Conversation(u32),
    /// The program may be at work still, else its start has taken too long.
    ProgramStart(StartDeadline),
    /// Commands that a turn left behind, and that got SIGTERM, get SIGKILL.
    KillCommands(Vec<ObservedProcess>),
    /// The conversation is over: the program gets SIGTERM if it has not ended by itself.
    FinishTimeout,
    /// The agent has been idle for long with no client attached.
    KeepIdle,
}

/// The timers that are set.
#[derive(Debug, Default)]
pub(super) struct Timers(Vec<(Instant, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.0.push((at, timer));
    }

    /// Sets a timer of which there is one at most.
    pub(super) fn reset(&mut self, at: Instant, timer: Timer) {
        self.clear(&timer);
        self.set(at, timer);
    }

    /// Removes every timer of this kind.
    pub(super) fn clear(&mut self, kind: &Timer) {
        self.0.retain(|(_, timer)| discriminant(timer) != discriminant(kind));
    }

    pub(super) fn is_set(&self, kind: &Timer) -> bool {
        self.0.iter().any(|(_, timer)| discriminant(timer) == discriminant(kind))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|(at, _)| *at).min()
    }

    /// Takes what is due, the earliest first.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due: Vec<(Instant, Timer)> = self.0.extract_if(.., |(at, _)| *at <= now).collect();
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, timer)| timer).collect()
    }

    /// Takes those who wait for the answer to an interrupt.
    pub(super) fn take_interrupt_waiters(&mut self) -> Vec<Waiter> {
        self.take(|timer| match timer {
            Timer::InterruptAnswer(waiter) => Some(*waiter),
            _ => None,
        })
    }

    /// Takes the senders whose write failed.
    pub(super) fn take_refused_senders(&mut self) -> Vec<Waiter> {
        self.take(|timer| match timer {
            Timer::RefusedSend(waiter, _) => Some(*waiter),
            _ => None,
        })
    }

    fn take(&mut self, waiter: impl Fn(&Timer) -> Option<Waiter>) -> Vec<Waiter> {
        self.0.extract_if(.., |(_, timer)| waiter(timer).is_some()).filter_map(|(_, timer)| waiter(&timer)).collect()
    }
}

/// The limit for one step of a program's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartDeadline {
    token: u32,
    expires_at: Instant,
    gives_up_at: Instant,
    /// How long the program is watched for each check.
    interval: Duration,
    /// The processor time that was used at the last look.
    used: Option<Duration>,
}

/// What follows from a look at the program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StartCheck {
    /// It is looked at again then.
    Later(Instant, StartDeadline),
    /// Its time is over: the timer with this token has expired.
    Expired(u32),
}

impl StartDeadline {
    /// Sets a limit. Returns when the program is to be looked at first.
    pub(super) fn set(limit: Duration, token: u32, now: Instant) -> (Instant, Self) {
        let interval = CHECK_INTERVAL.min(limit / 2);
        let deadline = Self { token, expires_at: now + limit, gives_up_at: now + limit * MAX_LIMITS, interval, used: None };
        (deadline.expires_at - interval, deadline)
    }

    /// Looks at the processor time that the program has used so far.
    pub(super) fn check(self, used: Duration, now: Instant) -> StartCheck {
        let at = match self.used {
            None => self.expires_at.max(now + self.interval),
            // Less than before: a part of the program has ended.
            Some(before) if used.abs_diff(before) * WORKING_SHARE >= self.interval && now < self.gives_up_at => now + self.interval,
            Some(_) => return StartCheck::Expired(self.token),
        };
        StartCheck::Later(at, Self { used: Some(used), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_taken_when_they_are_due_the_earliest_first() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        timers.set(start + 3 * second, Timer::Conversation(3));
        timers.set(start + 2 * second, Timer::InterruptAnswer((1, 7)));
        timers.set(start + second, Timer::Conversation(1));
        timers.reset(start + 5 * second, Timer::KeepIdle);
        timers.reset(start + 4 * second, Timer::KeepIdle);
        assert_eq!(timers.next_deadline(), Some(start + second));
        let due = timers.take_due(start + 2 * second);
        assert!(matches!(due[..], [Timer::Conversation(1), Timer::InterruptAnswer((1, 7))]), "{due:?}");
        let due = timers.take_due(start + 4 * second);
        assert!(matches!(due[..], [Timer::Conversation(3), Timer::KeepIdle]), "{due:?}");
        assert_eq!(timers.next_deadline(), None, "a timer that was reset is set once");
    }

    #[test]
    fn waiters_are_answered_once_though_their_time_has_not_come() {
        let at = Instant::now() + Duration::from_secs(60);
        let mut timers = Timers::default();
        timers.set(at, Timer::InterruptAnswer((1, 7)));
        timers.set(at, Timer::Conversation(1));
        timers.set(at, Timer::InterruptAnswer((2, 7)));
        assert_eq!(timers.take_interrupt_waiters(), [(1, 7), (2, 7)]);
        assert_eq!(timers.take_interrupt_waiters(), []);
        assert!(timers.is_set(&Timer::Conversation(0)));
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Plays a program that uses `share` percent of a processor until it is given up. Returns when.
    fn given_up_after(limit: Duration, share: impl Fn(Duration) -> u32) -> Duration {
        let start = Instant::now();
        let (mut at, mut deadline) = StartDeadline::set(limit, 7, start);
        let (mut used, mut last) = (Duration::ZERO, start);
        loop {
            used += (at - last) * share(at - start) / 100;
            last = at;
            match deadline.check(used, at) {
                StartCheck::Later(next, later) => (at, deadline) = (next, later),
                StartCheck::Expired(token) => {
                    assert_eq!(token, 7);
                    return at - start;
                }
            }
        }
    }

    #[test]
    fn a_program_that_waits_has_its_limit_and_one_that_works_has_more() {
        assert_eq!(given_up_after(60 * SECOND, |_| 0), 60 * SECOND);
        assert_eq!(given_up_after(60 * SECOND, |at| if at <= 30 * SECOND { 100 } else { 0 }), 60 * SECOND, "work of long ago is none");
        assert_eq!(given_up_after(60 * SECOND, |at| if at <= 100 * SECOND { 4 } else { 0 }), 105 * SECOND);
        assert_eq!(given_up_after(60 * SECOND, |_| 100), 600 * SECOND, "not for ever");
        assert_eq!(given_up_after(SECOND, |_| 0), SECOND);
    }
}
