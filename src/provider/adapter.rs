//! Between a run and the one who knows its provider: what an adapter is told, and what it answers.
//!
//! An adapter is a state machine without IO: it touches no process, no clock and no file. So a recorded conversation is a test,
//! and a crash cannot corrupt it. It is called in the order in which things happen and answers through [`Out`].

use super::{effect::SessionNews, out::Out, task::Blocks};
use crate::model::{Failure, Takeover, calls::PermissionMode};

/// One provider's side of one run.
pub trait Adapter {
    /// The program runs: say what must be said first. [`Out::ready`] follows once prompts can be taken.
    fn begin(&mut self, out: &mut Out);

    /// The program wrote a whole line to stdout (without its line feed). One that means nothing is ignored: it is in the log as output.
    fn line(&mut self, line: &[u8], out: &mut Out);

    /// The next turn's prompt. Called between turns only, after [`Out::ready`]. [`Out::took`] follows when the provider has taken it,
    /// [`Out::turn_ended`] when the turn is over.
    fn prompt(&mut self, prompt: &Blocks, out: &mut Out);

    /// A prompt into the running turn. `false`: this provider cannot; the prompt is kept for the next turn.
    fn steer(&mut self, _prompt: &Blocks, _out: &mut Out) -> bool {
        false
    }

    /// Stop the running turn and keep the session. [`Out::turn_ended`] follows.
    fn interrupt(&mut self, out: &mut Out);

    /// A question that was put by [`Out::ask`] is decided. `question` is the adapter's own name of it.
    fn answer(&mut self, question: &str, answer: &Answer, out: &mut Out);

    /// Whether these settings can be made. Asked before they are taken.
    fn can_configure(&self, _model: Option<&str>, _permissions: Option<PermissionMode>) -> Result<(), Failure> {
        Ok(())
    }

    /// From the next turn on. `None` leaves a setting alone. Called between turns.
    fn configure(&mut self, _model: Option<&str>, _permissions: Option<PermissionMode>, _out: &mut Out) {}

    /// No turn runs and no prompt will come: let the program end. For most that is the end of its stdin.
    fn finish(&mut self, out: &mut Out) {
        out.close_stdin();
    }

    /// A time that was asked for by [`Out::wake`] has come.
    fn woken(&mut self, _token: u32, _out: &mut Out) {}

    /// The program has ended, and all its output was given to [`Self::line`]. The last chance to say what it meant.
    fn ended(&mut self, _exit: Exit, _out: &mut Out) {}

    /// Whether a later run can go on with this session.
    fn can_resume(&self) -> bool {
        true
    }

    /// The ways to go on with a session in a terminal, best first.
    fn takeovers(&self, session: &SessionNews) -> Vec<Takeover>;
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One of the question's options; `None`: nobody chose, and nothing is allowed.
    pub option: Option<String>,
    /// What the agent is to be told beside it.
    pub message: Option<String>,
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    pub code: Option<i32>,
    /// By name (`SIGKILL`).
    pub signal: Option<String>,
}
