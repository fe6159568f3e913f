//! What is due later in a run, in one queue.

use std::mem::discriminant;

use tokio::time::Instant;

use super::{input::Waiter, start_deadline::StartDeadline};
use crate::{model::Failure, process::tree::ObservedProcess};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
