//! The phases of a run on its way to the end, and what each of them owns. No IO and no clock: the supervisor reports what
//! happened and when, and sends the signals.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::stop::{DEFAULT_GRACE, EndedDaemon, Sweep};
use crate::{model::entry::LeftProcess, provider::Exit};

/// How long a grandchild may hold the pipes open after the program has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a sweep scans the process tree, besides at each SIGCHLD, and how soon SIGKILL is repeated.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// Why a run is ended from outside of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    Cancelled,
    TimedOut(String),
    OutputLimit(u64),
}

/// The phase of a run.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The program runs.
    Running,
    /// The program was asked to end. `reason` is `None` if its conversation was over, and it did not end by itself. An agent
    /// that was asked to end in its own way first gets SIGTERM at `terminate_at`; the tree gets SIGKILL at `kill_at`.
    Ending { reason: Option<EndReason>, terminate_at: Option<Instant>, kill_at: Instant },
    /// The program has ended, and its pipes are read until `until`. `kill_at` is the deadline of an end from outside, if
    /// there was one.
    Draining { program: Exited, until: Instant, kill_at: Option<Instant> },
    /// The rest of the process tree is being ended.
    Sweeping { program: Exited, sweep: Sweep },
    /// Nothing runs any more, except for what is named in `left`.
    Over { program: Exited, left: Vec<LeftProcess>, daemons: Vec<EndedDaemon> },
}

/// The end of the program.
#[derive(Debug)]
pub(crate) struct Exited {
    exit: Exit,
    /// Why the run was ended from outside; `None` if it ended by itself.
    reason: Option<EndReason>,
}

/// The signal that is due for the process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DueSignal {
    Terminate,
    Kill,
}

/// What an end from outside has to know of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AgentState {
    /// It is an agent, which ends in its own way first: SIGTERM follows at half of the grace.
    pub(crate) is_agent: bool,
    pub(crate) is_in_turn: bool,
}

impl Phase {
    /// Ends the run from outside. A later call may shorten the grace; the run reports the reason of the first one. Returns
    /// whether the program is to be asked to end now.
    pub(super) fn end(&mut self, reason: EndReason, grace: Duration, agent: AgentState, now: Instant) -> bool {
        let deadline = now + grace;
        match self {
            Self::Running => {
                let terminate_at = agent.is_agent.then_some(now + grace / 2);
                *self = Self::Ending { reason: Some(reason), terminate_at, kill_at: deadline };
                return true;
            }
            Self::Ending { reason: first_reason, terminate_at, kill_at } => {
                // Either the conversation was over and the program did not end by itself, which keeps its own result,
                // or an earlier reason stands.
                if agent.is_in_turn || matches!(reason, EndReason::OutputLimit(_)) {
                    first_reason.get_or_insert(reason);
                }
                *kill_at = deadline.min(*kill_at);
                *terminate_at = terminate_at.map(|at| at.min(now + grace / 2));
            }
            Self::Draining { program, until, kill_at } => {
                program.note(reason);
                *until = deadline.min(*until);
                *kill_at = Some(kill_at.map_or(deadline, |at| at.min(deadline)));
            }
            Self::Sweeping { program, sweep } => {
                program.note(reason);
                sweep.shorten(deadline);
            }
            Self::Over { program, .. } => program.note(reason),
        }
        false
    }

    /// The conversation of an agent is over, and its program has not ended by itself. Returns whether it is to be asked to
    /// end now.
    pub(super) fn finish(&mut self, now: Instant) -> bool {
        let is_running = matches!(self, Self::Running);
        if is_running {
            *self = Self::Ending { reason: None, terminate_at: None, kill_at: now + DEFAULT_GRACE };
        }
        is_running
    }

    /// The program has ended.
    pub(super) fn note_exit(&mut self, exit: Exit, now: Instant) {
        let drained = now + DRAIN_TIMEOUT;
        match mem::replace(self, Self::Running) {
            Self::Running => *self = Self::Draining { program: Exited { exit, reason: None }, until: drained, kill_at: None },
            Self::Ending { reason, kill_at, .. } => {
                let program = Exited { exit, reason };
                *self = Self::Draining { program, until: kill_at.min(drained), kill_at: Some(kill_at) };
            }
            ended => *self = ended,
        }
    }

    /// Begins the sweep, if the pipes are read as far as they will be. `is_held`: the log takes nothing.
    pub(super) fn note_drained(&mut self, pipes_have_ended: bool, is_held: bool, now: Instant) {
        if let Self::Draining { until, kill_at, .. } = *self {
            // A full disk holds up the end of a run that ended by itself, so that nothing is dropped. A run that is
            // being ended keeps what fits into the reserve, and its final entry counts what did not.
            let may_go_on = !is_held || kill_at.is_some();
            if (pipes_have_ended || now >= until)
                && may_go_on
                && let Self::Draining { program, .. } = mem::replace(self, Self::Running)
            {
                *self = Self::Sweeping { program, sweep: Sweep::begin(kill_at, now) };
            }
        }
    }

    /// The sweep is done.
    pub(super) fn note_swept(&mut self, left: Vec<LeftProcess>) {
        *self = match mem::replace(self, Self::Running) {
            Self::Sweeping { program, sweep } => Self::Over { program, left, daemons: sweep.daemons },
            other => other,
        };
    }

    /// When [`Self::take_due`] or a scan of the sweep is due next.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Running | Self::Over { .. } => None,
            Self::Ending { terminate_at, kill_at, .. } => Some(terminate_at.map_or(*kill_at, |at| at.min(*kill_at))),
            Self::Draining { until, .. } => Some(*until),
            Self::Sweeping { .. } => Some(now + SWEEP_INTERVAL),
        }
    }

    /// The signal that is due for a program that was asked to end.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<DueSignal> {
        let Self::Ending { terminate_at, kill_at, .. } = self else { return None };
        let is_terminated = terminate_at.take_if(|at| *at <= now).is_some();
        if *kill_at <= now {
            // Kills again soon, for processes that were forked meanwhile.
            *kill_at = now + SWEEP_INTERVAL;
            return Some(DueSignal::Kill);
        }
        is_terminated.then_some(DueSignal::Terminate)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over { .. })
    }

    /// How the program ended; `None` while it runs.
    pub(super) fn exit(&self) -> Option<&Exit> {
        self.program().map(|program| &program.exit)
    }

    /// Why the run is being ended from outside; `None` if it ends by itself.
    pub(super) fn reason(&self) -> Option<&EndReason> {
        match self {
            Self::Ending { reason, .. } => reason.as_ref(),
            _ => self.program()?.reason.as_ref(),
        }
    }

    fn program(&self) -> Option<&Exited> {
        match self {
            Self::Running | Self::Ending { .. } => None,
            Self::Draining { program, .. } | Self::Sweeping { program, .. } | Self::Over { program, .. } => Some(program),
        }
    }
}

impl Exited {
    /// An output limit counts even if the program that exceeded it has ended by now.
    fn note(&mut self, reason: EndReason) {
        if matches!(reason, EndReason::OutputLimit(_)) {
            self.reason.get_or_insert(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const COMMAND: AgentState = AgentState { is_agent: false, is_in_turn: false };
    const AGENT: AgentState = AgentState { is_agent: true, is_in_turn: true };
    const IDLE_AGENT: AgentState = AgentState { is_agent: true, is_in_turn: false };

    fn exited() -> Exit {
        Exit { code: Some(0), signal: None }
    }

    fn begin_sweep(phase: &mut Phase, now: Instant) -> bool {
        phase.note_drained(true, false, now);
        matches!(phase, Phase::Sweeping { .. })
    }

    #[test]
    fn a_cancelled_command_is_killed_after_its_grace_and_again_until_it_has_ended() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        assert!(phase.end(EndReason::Cancelled, 2 * SECOND, COMMAND, start), "it is terminated at once");
        assert_eq!(phase.next_deadline(start), Some(start + 2 * SECOND));
        assert_eq!(phase.take_due(start + SECOND), None);
        assert_eq!(phase.take_due(start + 2 * SECOND), Some(DueSignal::Kill));
        assert_eq!(phase.take_due(start + 2 * SECOND), None);
        assert_eq!(phase.take_due(start + 3 * SECOND), Some(DueSignal::Kill));
        phase.note_exit(exited(), start + 3 * SECOND);
        assert_eq!(phase.take_due(start + 4 * SECOND), None, "what is left is the sweep's");
        assert_eq!(phase.reason(), Some(&EndReason::Cancelled));
    }

    #[test]
    fn an_agent_gets_half_of_the_grace_to_end_in_its_own_way() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        assert!(phase.end(EndReason::Cancelled, 2 * SECOND, AGENT, start));
        assert_eq!(phase.next_deadline(start), Some(start + SECOND));
        assert_eq!(phase.take_due(start + SECOND), Some(DueSignal::Terminate));
        assert_eq!(phase.next_deadline(start), Some(start + 2 * SECOND));
        assert_eq!(phase.take_due(start + 2 * SECOND), Some(DueSignal::Kill));
    }

    #[test]
    fn a_second_cancel_shortens_the_grace_and_never_lengthens_it() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        assert!(phase.end(EndReason::TimedOut("t".to_owned()), 10 * SECOND, AGENT, start));
        assert!(!phase.end(EndReason::Cancelled, 60 * SECOND, AGENT, start));
        assert_eq!(phase.next_deadline(start), Some(start + 5 * SECOND));
        assert!(!phase.end(EndReason::Cancelled, SECOND, AGENT, start + SECOND), "it is not asked again");
        assert_eq!(phase.take_due(start + 3 * SECOND / 2), Some(DueSignal::Terminate));
        assert_eq!(phase.take_due(start + 2 * SECOND), Some(DueSignal::Kill));
        assert_eq!(phase.reason(), Some(&EndReason::TimedOut("t".to_owned())), "the first reason stands");
    }

    #[test]
    fn a_run_without_grace_is_killed_at_once() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.end(EndReason::Cancelled, Duration::ZERO, AGENT, start);
        assert_eq!(phase.take_due(start), Some(DueSignal::Kill));
    }

    #[test]
    fn an_agent_that_does_not_end_between_turns_is_ended_and_keeps_its_own_result() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        assert!(phase.finish(start));
        assert!(!phase.end(EndReason::Cancelled, 60 * SECOND, IDLE_AGENT, start));
        assert_eq!(phase.reason(), None);
        assert_eq!(phase.take_due(start + DEFAULT_GRACE), Some(DueSignal::Kill));
        phase.note_exit(exited(), start + DEFAULT_GRACE);
        assert_eq!(phase.reason(), None);
        assert!(!phase.finish(start + DEFAULT_GRACE));
    }

    #[test]
    fn a_cancel_in_a_turn_that_outlives_its_conversation_is_the_reason() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.finish(start);
        phase.end(EndReason::Cancelled, SECOND, AGENT, start);
        assert_eq!(phase.reason(), Some(&EndReason::Cancelled));
    }

    #[test]
    fn pipes_that_are_held_open_are_read_for_a_while() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.note_exit(exited(), start);
        assert_eq!(phase.next_deadline(start), Some(start + DRAIN_TIMEOUT));
        phase.note_drained(false, false, start + DRAIN_TIMEOUT - SECOND);
        assert!(matches!(phase, Phase::Draining { .. }));
        phase.note_drained(false, false, start + DRAIN_TIMEOUT);
        assert!(matches!(phase, Phase::Sweeping { .. }));
    }

    #[test]
    fn a_cancel_shortens_how_long_held_pipes_are_read() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.note_exit(exited(), start);
        assert!(!phase.end(EndReason::Cancelled, Duration::ZERO, COMMAND, start));
        phase.note_drained(false, false, start);
        assert!(matches!(phase, Phase::Sweeping { .. }));
        assert_eq!(phase.reason(), None, "the program had ended by itself");
    }

    #[test]
    fn a_full_disk_holds_up_the_end_of_a_run_that_is_not_cancelled() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.note_exit(exited(), start);
        phase.note_drained(true, true, start + DRAIN_TIMEOUT);
        assert!(matches!(phase, Phase::Draining { .. }));
        phase.end(EndReason::Cancelled, SECOND, COMMAND, start + DRAIN_TIMEOUT);
        phase.note_drained(true, true, start + DRAIN_TIMEOUT);
        assert!(matches!(phase, Phase::Sweeping { .. }));
    }

    #[test]
    fn an_output_limit_counts_though_the_program_has_ended() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.note_exit(exited(), start);
        assert!(begin_sweep(&mut phase, start));
        phase.end(EndReason::OutputLimit(7), SECOND, COMMAND, start);
        phase.note_swept(Vec::new());
        phase.end(EndReason::OutputLimit(8), SECOND, COMMAND, start);
        assert!(phase.is_over());
        assert_eq!(phase.reason(), Some(&EndReason::OutputLimit(7)));
    }

    #[test]
    fn an_exit_is_noted_once() {
        let (mut phase, start) = (Phase::Running, Instant::now());
        phase.note_exit(exited(), start);
        phase.note_exit(Exit { code: Some(1), signal: None }, start + SECOND);
        assert_eq!(phase.exit().and_then(|exit| exit.code), Some(0));
        assert_eq!(phase.next_deadline(start), Some(start + DRAIN_TIMEOUT));
    }
}
