//! How a run ended, as an exit code and in words.

use super::{phrase, words};
use crate::{
    model::{Run, RunError, RunState, StateEntry, entry::LeftProcess},
    process::tree,
};

/// Exit code of a run that ran into its time limit, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// Exit code of a run that a person cancelled, as shells have it for Ctrl-C.
const CANCELLED: u8 = 130;
/// Most characters of a reason: a few lines of a terminal.
const REASON: usize = 600;

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub state: RunState,
    exit_code: Option<i32>,
    signal: Option<String>,
    error: Option<RunError>,
    left: Vec<LeftProcess>,
    /// What its program exits with says nothing of the work; the reason does.
    is_agents: bool,
}

impl From<&StateEntry> for Outcome {
    fn from(entry: &StateEntry) -> Self {
        let StateEntry { state, exit_code, signal, error, left, .. } = entry.clone();
        Self { state, exit_code, signal, error, left, is_agents: false }
    }
}

impl From<&Run> for Outcome {
    fn from(run: &Run) -> Self {
        let is_agents = run.session.is_some() || run.params.contains_key("prompt");
        Self {
            state: run.state,
            exit_code: run.exit_code,
            signal: run.signal.clone(),
            error: run.error.clone(),
            left: Vec::new(),
            is_agents,
        }
    }
}

impl Outcome {
    /// The same, of a run that is an agent's, or of one that is none.
    pub fn of_agent(self, is_agents: bool) -> Self {
        Self { is_agents, ..self }
    }

    /// The exit code that a shell would have seen.
    pub fn code(&self) -> u8 {
        let of_program = || match (self.exit_code, &self.signal) {
            // Only its lowest byte ever reaches a parent.
            (Some(code), _) => (code & 0xff) as u8,
            (None, Some(signal)) => tree::signal_number(signal).map_or(1, |number| 128_u8.saturating_add(number as u8)),
            (None, None) => 1,
        };
        match self.state {
            RunState::Succeeded => 0,
            RunState::TimedOut => TIMED_OUT,
            RunState::Cancelled if self.error.is_none() => CANCELLED,
            RunState::Cancelled | RunState::Lost => 1,
            // An agent may exit with 0 and have failed all the same.
            _ => of_program().max(1),
        }
    }

    /// The exit code of an agent's run: its program's own says nothing of the work.
    pub fn agent_code(&self) -> u8 {
        if self.state == RunState::Failed { 1 } else { self.code() }
    }

    /// The state and what led to it, in words: `failed: exit code 3`.
    pub fn words(&self) -> String {
        let state = state_words(self.state);
        let why = match (&self.error, self.exit_code, &self.signal) {
            (Some(error), ..) if !self.is_the_programs_own() => Some(reason(error)),
            _ if self.state == RunState::Cancelled => None,
            (_, Some(code), _) if code != 0 => Some(format!("exit code {code}")),
            (_, None, Some(signal)) => Some(format!("ended by {signal}")),
            (error, ..) => error.as_ref().map(reason),
        };
        why.map_or_else(|| state.to_owned(), |why| format!("{state}: {why}"))
    }

    /// Whether it ended otherwise than programs end by themselves, so that a person must be told.
    pub fn is_unusual(&self) -> bool {
        !self.is_the_programs_own() || !self.left.is_empty() || matches!(self.state, RunState::TimedOut | RunState::Lost)
    }

    /// Whether nothing but the program itself made it end so: its exit code or its signal tells all.
    fn is_the_programs_own(&self) -> bool {
        let is_told = self.exit_code.is_some_and(|code| code != 0) || self.signal.is_some();
        self.error.as_ref().is_none_or(|error| error.kind == "provider" && is_told && !self.is_agents)
    }

    /// Whether it came to an end that nobody wished.
    pub fn has_failed(&self) -> bool {
        !matches!(self.code(), 0 | CANCELLED) || self.agent_code() == 1
    }

    /// The processes that outlived the run.
    pub fn left(&self) -> &[LeftProcess] {
        &self.left
    }
}

/// Why it ended so, in a few lines at most that give a terminal no orders. Its beginning says what happened, its end holds the last
/// words of the program.
fn reason(error: &RunError) -> String {
    let lines = error.message.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let plain: Vec<char> = words::plain(&phrase::of_the_command_line(&lines)).chars().collect();
    match plain.len().checked_sub(REASON) {
        None | Some(0) => plain.into_iter().collect(),
        Some(surplus) => {
            let (begin, rest) = plain.split_at(REASON / 2);
            begin.iter().chain(&['…']).chain(&rest[surplus..]).collect()
        }
    }
}

/// A state in a person's words.
pub fn state_words(state: RunState) -> &'static str {
    match state {
        RunState::Starting => "starting",
        RunState::Running => "running",
        RunState::AwaitingPermission => "waiting for an answer",
        RunState::Idle => "idle",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::TimedOut => "timed out",
        RunState::Lost => "lost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(state: RunState, exit_code: Option<i32>, signal: Option<&str>) -> Outcome {
        Outcome { state, exit_code, signal: signal.map(str::to_owned), error: None, left: Vec::new(), is_agents: false }
    }

    #[test]
    fn the_programs_code_is_passed_on() {
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
    fn an_agents_code_is_of_its_work() {
        let agent = |state, code| outcome(state, code, None).agent_code();
        assert_eq!(agent(RunState::Succeeded, Some(0)), 0);
        assert_eq!(agent(RunState::Failed, Some(143)), 1);
        assert_eq!(agent(RunState::Cancelled, Some(0)), 130);
        assert_eq!(agent(RunState::TimedOut, None), 124);
    }

    #[test]
    fn a_limit_is_not_a_persons_wish() {
        let error = RunError { kind: "outputLimit".to_owned(), message: "it wrote more than 10 bytes".to_owned() };
        let outcome = Outcome { error: Some(error), ..outcome(RunState::Cancelled, None, Some("SIGKILL")) };
        assert_eq!(outcome.code(), 1);
        assert_eq!(outcome.words(), "cancelled: it wrote more than 10 bytes");
        assert!(outcome.is_unusual());
    }

    #[test]
    fn the_end_is_told_in_words() {
        assert_eq!(outcome(RunState::Succeeded, Some(0), None).words(), "succeeded");
        assert_eq!(outcome(RunState::Failed, Some(3), None).words(), "failed: exit code 3");
        assert_eq!(outcome(RunState::Failed, None, Some("SIGSEGV")).words(), "failed: ended by SIGSEGV");
        let error = |message: &str| Some(RunError { kind: "provider".to_owned(), message: message.to_owned() });
        let exited = Outcome { error: error("`sh` exited with code 3"), ..outcome(RunState::Failed, Some(3), None) };
        assert_eq!((exited.words().as_str(), exited.is_unusual()), ("failed: exit code 3", false));
        let refused = Outcome { error: error("it refused"), ..outcome(RunState::Failed, Some(0), None) };
        assert_eq!((refused.words().as_str(), refused.is_unusual()), ("failed: it refused", true));
    }

    #[test]
    fn an_agents_end_is_told_by_its_reason_in_a_few_lines() {
        let message = format!("it ended with code 7; its last words: \u{1b}[1m{}\nthe last", "excuse ".repeat(500));
        let error = Some(RunError { kind: "provider".to_owned(), message });
        let died = Outcome { error, ..outcome(RunState::Failed, Some(7), None) }.of_agent(true);
        let words = died.words();
        assert!(words.starts_with("failed: it ended with code 7; its last words: ␣[1mexcuse") && words.ends_with(" | the last"), "{words}");
        assert!(words.chars().count() < REASON + 20 && died.is_unusual(), "{words}");
    }
}
