//! The time limit of a program's start, which waits for a program that is at work: `npx` downloads its package first.
//! No IO and no clock.

use std::time::Duration;

use tokio::time::Instant;

/// How often a program that is late is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A program is at work if it uses at least this part of a processor; one that waits uses next to nothing.
const WORKING_SHARE: u32 = 50;
/// A program that is at work gets this many times its limit, and no more.
const MAX_LIMITS: u32 = 10;

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
