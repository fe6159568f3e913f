//! Between a run and the one who knows its provider: what an adapter is told, and what it answers.
//!
//! An adapter is a state machine without IO: it touches no process, no clock and no file. So a recorded conversation is a test,
//! and a crash cannot corrupt it. It is called in the order in which things happen and answers through [`Out`].

use std::time::Duration;

use serde_json::{Map, Value};

use super::{out::Out, task::Blocks};
use crate::model::{PermissionOption, RunError, Takeover, Usage, calls::PermissionMode};

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

/// Something that is to happen because of what an adapter understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Bytes for the program's stdin.
    Write(Vec<u8>),
    CloseStdin,
    /// An entry of the log: an ACP `SessionUpdate`.
    Update(Map<String, Value>),
    Session(SessionNews),
    /// Prompts can be taken from now on.
    Ready,
    /// The oldest prompt that was given and not taken yet has been taken by the provider.
    Took,
    /// A prompt that was given and not taken yet will not be taken; it waits for a turn of its own. By its place among those, oldest first.
    GaveBack(usize),
    /// The provider began a turn that nobody asked for (a prompt that came too late for the turn before).
    TurnBegan,
    TurnEnded(TurnEnd),
    Ask(Question),
    /// The provider no longer waits for an answer to its question of this name.
    Withdraw(String),
    Wake {
        after: Duration,
        token: u32,
    },
    /// What was started since the turn began still runs and is to be ended; the provider itself forgot it.
    EndCommands,
    /// The run cannot go on.
    Fatal(RunError),
}

/// What became known of the provider's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionNews {
    pub id: String,
    /// The provider's file, if it says so.
    pub path: Option<String>,
    /// The provider has really kept it.
    pub resumable: bool,
}

/// How a turn ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnEnd {
    /// An ACP `StopReason`, or `error`.
    pub stop_reason: String,
    pub error: Option<RunError>,
    /// What this turn alone used.
    pub usage: Option<Usage>,
}

/// A decision that the provider needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The adapter's own name of it, unique among open ones.
    pub id: String,
    /// An ACP `ToolCallUpdate` with at least `toolCallId`; what is known of the tool call already is added.
    pub tool_call: Map<String, Value>,
    pub options: Vec<PermissionOption>,
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

impl TurnEnd {
    pub fn new(stop_reason: &str) -> Self {
        Self { stop_reason: stop_reason.to_owned(), error: None, usage: None }
    }

    pub fn failed(error: RunError) -> Self {
        Self { stop_reason: "error".to_owned(), error: Some(error), usage: None }
    }
}
