//! How a run ended: as an exit code and as a description.

use super::format;
use crate::{
    model::{Run, RunError, RunState, StateEntry, entry::LeftProcess},
    process::signal_name::signal_number,
};

/// Exit code of a run that reached its time limit, as timeout(1) has it.
const EXIT_TIMED_OUT: u8 = 124;
/// Exit code of a run that a person canceled, as shells have it for Ctrl-C.
const EXIT_CANCELLED: u8 = 130;
/// Most characters of a reason, which are a few lines of a terminal.
const MAX_REASON_CHARS: usize = 600;

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunOutcome {
    pub(crate) state: RunState,
    exit_code: Option<i32>,
    signal: Option<String>,
    error: Option<RunError>,
    left_processes: Vec<LeftProcess>,
    /// The exit code of an agent's program says nothing about its work; the error does.
    is_agent: bool,
}

impl From<&StateEntry> for RunOutcome {
    fn from(entry: &StateEntry) -> Self {
        let StateEntry { state, exit_code, signal, error, left: left_processes, .. } = entry.clone();
        Self { state, exit_code, signal, error, left_processes, is_agent: false }
    }
}

impl From<&Run> for RunOutcome {
    fn from(run: &Run) -> Self {
        let is_agent = run.session.is_some() || run.params.contains_key("prompt");
        Self {
            state: run.state,
            exit_code: run.exit_code,
            signal: run.signal.clone(),
            error: run.error.clone(),
            left_processes: Vec::new(),
            is_agent,
        }
    }
}

impl RunOutcome {
    /// The same outcome, of an agent's run or of a command's.
    pub(crate) fn with_agent(self, is_agent: bool) -> Self {
        Self { is_agent, ..self }
    }

    /// The exit code that a shell would have seen.
    pub(crate) fn code(&self) -> u8 {
        let of_program = || match (self.exit_code, &self.signal) {
            // Only the lowest byte of an exit code reaches the parent process.
            (Some(code), _) => (code & 0xff) as u8,
            (None, Some(signal)) => signal_number(signal).map_or(1, |number| 128_u8.saturating_add(number as u8)),
            (None, None) => 1,
        };
        match self.state {
            RunState::Succeeded => 0,
            RunState::TimedOut => EXIT_TIMED_OUT,
            RunState::Cancelled if self.error.is_none() => EXIT_CANCELLED,
            RunState::Cancelled | RunState::Lost => 1,
            // An agent's program may exit with 0 although its work failed.
            _ => of_program().max(1),
        }
    }

    /// The exit code of an agent's run, in which the exit code of its program does not count.
    pub(crate) fn agent_code(&self) -> u8 {
        if self.state == RunState::Failed { 1 } else { self.code() }
    }

    /// The state and its reason: `failed: exit code 3`.
    pub(crate) fn description(&self) -> String {
        self.describe("")
    }

    /// As [`Self::description`], with the duration: `failed after 2.4 s: exit code 3`.
    pub(crate) fn description_after(&self, duration_ms: u64) -> String {
        self.describe(&format!(" after {}", format::duration(duration_ms)))
    }

    fn describe(&self, after: &str) -> String {
        let state = self.state.shown();
        let reason = match (&self.error, self.exit_code, &self.signal) {
            (Some(error), ..) if !self.is_explained_by_exit_status() => Some(reason(error)),
            _ if self.state == RunState::Cancelled => None,
            (_, Some(code), _) if code != 0 => Some(format!("exit code {code}")),
            (_, None, Some(signal)) => Some(format!("terminated by {signal}")),
            (error, ..) => error.as_ref().map(reason),
        };
        reason.map_or_else(|| format!("{state}{after}"), |reason| format!("{state}{after}: {reason}"))
    }

    /// Whether it ended in another way than a program does by itself, so that a person must see it.
    pub(crate) fn is_unusual(&self) -> bool {
        !self.is_explained_by_exit_status() || !self.left_processes.is_empty() || matches!(self.state, RunState::TimedOut | RunState::Lost)
    }

    /// Whether the exit code or the signal of the program explains the end, and no error of loomd's or of an agent
    /// does.
    fn is_explained_by_exit_status(&self) -> bool {
        let has_exit_status = self.exit_code.is_some_and(|code| code != 0) || self.signal.is_some();
        self.error.as_ref().is_none_or(|error| error.kind == "provider" && has_exit_status && !self.is_agent)
    }

    /// Whether the run failed, and was not just canceled.
    pub(crate) fn has_failed(&self) -> bool {
        !matches!(self.code(), 0 | EXIT_CANCELLED) || self.agent_code() == 1
    }

    /// The processes that outlived the run.
    pub(crate) fn left_processes(&self) -> &[LeftProcess] {
        &self.left_processes
    }
}

/// The reason for the end, in a few lines without control characters. The beginning tells what happened, the end holds
/// the last lines that the program wrote, so a long reason is cut in the middle.
fn reason(error: &RunError) -> String {
    let lines = error.message.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let chars: Vec<char> = format::plain(&lines).chars().collect();
    match chars.len().checked_sub(MAX_REASON_CHARS) {
        None | Some(0) => chars.into_iter().collect(),
        Some(surplus) => {
            let (begin, rest) = chars.split_at(MAX_REASON_CHARS / 2);
            begin.iter().chain(&['…']).chain(&rest[surplus..]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(state: RunState, exit_code: Option<i32>, signal: Option<&str>) -> RunOutcome {
        RunOutcome { state, exit_code, signal: signal.map(str::to_owned), error: None, left_processes: Vec::new(), is_agent: false }
    }

    #[test]
    fn the_exit_code_is_that_of_the_program() {
        use RunState::{Cancelled, Failed, Lost, Succeeded, TimedOut};
        assert_eq!(outcome(Succeeded, Some(0), None).code(), 0);
        assert_eq!(outcome(Failed, Some(3), None).code(), 3);
        assert_eq!(outcome(Failed, Some(255), None).code(), 255);
        assert_eq!(outcome(Failed, None, Some("SIGINT")).code(), 130);
        assert_eq!(outcome(Failed, None, Some("SIGKILL")).code(), 137);
        assert_eq!(outcome(Failed, None, None).code(), 1);
        assert_eq!(outcome(Failed, Some(0), None).code(), 1);
        assert_eq!(outcome(TimedOut, None, Some("SIGTERM")).code(), 124);
        assert_eq!(outcome(Cancelled, None, Some("SIGTERM")).code(), 130);
        assert_eq!(outcome(Lost, None, None).code(), 1);
    }

    #[test]
    fn an_agents_exit_code_is_that_of_its_work() {
        let agent = |state, code| outcome(state, code, None).agent_code();
        assert_eq!(agent(RunState::Succeeded, Some(0)), 0);
        assert_eq!(agent(RunState::Failed, Some(143)), 1);
        assert_eq!(agent(RunState::Cancelled, Some(0)), 130);
        assert_eq!(agent(RunState::TimedOut, None), 124);
    }

    #[test]
    fn a_run_that_a_limit_canceled_has_failed() {
        let error = RunError { kind: "outputLimit".to_owned(), message: "it wrote more than 10 bytes".to_owned() };
        let outcome = RunOutcome { error: Some(error), ..outcome(RunState::Cancelled, None, Some("SIGKILL")) };
        assert_eq!(outcome.code(), 1);
        assert_eq!(outcome.description(), "canceled: it wrote more than 10 bytes");
        assert!(outcome.is_unusual());
    }

    #[test]
    fn the_description_is_the_state_and_its_reason() {
        assert_eq!(outcome(RunState::Succeeded, Some(0), None).description(), "succeeded");
        assert_eq!(outcome(RunState::Failed, Some(3), None).description(), "failed: exit code 3");
        assert_eq!(outcome(RunState::Failed, None, Some("SIGSEGV")).description(), "failed: terminated by SIGSEGV");
        let error = |message: &str| Some(RunError { kind: "provider".to_owned(), message: message.to_owned() });
        let exited = RunOutcome { error: error("`sh` exited with code 3"), ..outcome(RunState::Failed, Some(3), None) };
        assert_eq!(exited.description_after(2450), "failed after 2.4 s: exit code 3");
        assert_eq!((exited.description().as_str(), exited.is_unusual()), ("failed: exit code 3", false));
        let refused = RunOutcome { error: error("it refused"), ..outcome(RunState::Failed, Some(0), None) };
        assert_eq!((refused.description().as_str(), refused.is_unusual()), ("failed: it refused", true));
    }

    #[test]
    fn the_reason_of_an_agents_failure_is_a_few_lines() {
        let message = format!("it ended with code 7; end of stderr: \u{1b}[1m{}\nthe last", "excuse ".repeat(500));
        let error = Some(RunError { kind: "provider".to_owned(), message });
        let died = RunOutcome { error, ..outcome(RunState::Failed, Some(7), None) }.with_agent(true);
        let description = died.description();
        assert!(
            description.starts_with("failed: it ended with code 7; end of stderr: ␣[1mexcuse") && description.ends_with(" | the last"),
            "{description}"
        );
        assert!(description.chars().count() < MAX_REASON_CHARS + 20 && died.is_unusual(), "{description}");
    }
}
