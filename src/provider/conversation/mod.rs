//! A run's conversation with its agent: turns, the prompts that wait for theirs, open questions, the outcome.
//!
//! What is the same for every provider stands here once; what one of them says and wants to hear is its [`Adapter`]'s.
//! No IO: the supervisor tells what happened and carries out the [`Act`]s that it gets back, in their order.

mod questions;
mod turns;
mod verdict;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    adapter::{Adapter, Answer, Exit},
    effect::{Question, TurnEnd},
    out::{Out, Severity},
    readable,
    task::{Blocks, Task},
};
use crate::model::{
    Failure, FailureKind, RunError, RunState, Session, Usage,
    calls::PermissionMode,
    entry::{PermissionStatus, ResolvedBy},
};

/// A conversation, as far as it has come.
pub struct Conversation {
    adapter: Box<dyn Adapter>,
    out: Out,
    acts: VecDeque<Act>,
    provider: String,
    /// What begins a run that goes on with the session, but for the session's id; and where.
    replay: (Vec<String>, String),
    mode: PermissionMode,
    interactive: bool,
    input_closed: bool,
    /// The run is being ended: prompts that come back are dropped.
    stopping: bool,
    /// Prompts that wait for a turn of their own.
    queue: VecDeque<Blocks>,
    /// The turn's own prompt, until the provider has taken it.
    given: Option<Blocks>,
    /// Prompts that were given into the running turn and are not known to be taken, oldest first. What a turn leaves is for the next
    /// one: the provider's own, if it begins one in the same breath, else one of ours.
    steered: VecDeque<Blocks>,
    /// Settings for the next turn.
    configured: Option<(Option<String>, Option<PermissionMode>)>,
    ready: bool,
    turn: u64,
    in_turn: bool,
    /// Turn 1 runs from the run's first moment; its prompt is given once the provider is ready.
    first_is_due: bool,
    /// The running turn was stopped by a client.
    interrupted: bool,
    last: Option<TurnEnd>,
    /// The newest turn whose end stands in the log.
    told: u64,
    fatal: Option<RunError>,
    /// The program was told that nothing more will come.
    finishing: bool,
    /// Questions that nobody has answered: the permission's id, and the question.
    open: BTreeMap<String, Question>,
    /// Questions that are settled, so that a late answer is told so.
    settled: Vec<String>,
    asked: u64,
    session: Option<Session>,
}

/// An agent that has not stopped after this is said to be stubborn.
const STUBBORN: Duration = Duration::from_secs(10);
/// Of our own alarm; adapters count theirs from below.
const STOP_TOKEN: u32 = u32::MAX;

/// Something for the supervisor to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Log(Body),
    Write(Vec<u8>),
    CloseStdin,
    /// A turn begins: what is started from now on is its doing.
    TurnBegins,
    TurnEnded,
    /// End what was started since the turn began.
    EndCommands,
    /// So many prompts wait.
    Queued(u64),
    Wake {
        after: Duration,
        token: u32,
    },
    /// Nothing more will be said to the program; it is to end soon.
    Finish,
}

/// An entry of the log, but for its number and time.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Session(Session),
    Update(Map<String, Value>),
    Permission { permission_id: String, status: PermissionStatus },
    State { state: RunState, turn: Option<u64>, end: Option<TurnEnd> },
}

/// What the run came to, as far as its provider is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub state: RunState,
    pub stop_reason: String,
    pub error: Option<RunError>,
    /// The turn that this ends, with what it used, unless it was told already.
    pub turn: Option<u64>,
    pub usage: Option<Usage>,
}

impl Conversation {
    pub fn new(task: &Task, adapter: Box<dyn Adapter>) -> Self {
        Self {
            adapter,
            out: Out::default(),
            acts: VecDeque::new(),
            provider: task.provider.clone(),
            replay: (task.program.clone(), task.cwd.clone()),
            mode: task.permissions,
            interactive: task.interactive,
            input_closed: false,
            stopping: false,
            queue: task.prompt.clone().into_iter().collect(),
            given: None,
            steered: VecDeque::new(),
            configured: None,
            ready: false,
            turn: u64::from(task.prompt.is_some()),
            in_turn: task.prompt.is_some(),
            first_is_due: task.prompt.is_some(),
            interrupted: false,
            last: None,
            told: 0,
            fatal: None,
            finishing: false,
            open: BTreeMap::new(),
            settled: Vec::new(),
            asked: 0,
            session: None,
        }
    }

    // What happens.

    /// The program was started. The log's first entry says that turn 1 runs, if there is a prompt.
    pub fn begin(&mut self) {
        self.adapter.begin(&mut self.out);
        self.settle();
    }

    /// The program wrote a whole line.
    pub fn line(&mut self, line: &[u8]) {
        self.adapter.line(&readable::readable(line), &mut self.out);
        self.settle();
    }

    /// The program wrote a line that is too long to be looked at.
    pub fn line_too_long(&mut self, bytes: u64) {
        let title = format!("the provider wrote a line of {bytes} bytes, which is too long to be understood; it is in the output");
        self.out.notice(Severity::Warning, &title, None);
        self.settle();
    }

    /// A time that was asked for has come.
    pub fn woken(&mut self, token: u32) {
        match token {
            STOP_TOKEN if self.in_turn && self.interrupted => {
                self.out.notice(Severity::Warning, "the agent was told to stop and has not yet; cancelling the run ends it", None);
            }
            STOP_TOKEN => {}
            token => self.adapter.woken(token, &mut self.out),
        }
        self.settle();
    }

    /// A prompt: into the running turn if that is wanted and can be done, else for a turn of its own.
    pub fn send(&mut self, prompt: Blocks, steer: bool) -> Result<(), Failure> {
        if self.input_closed || self.finishing {
            return Err(Failure::unsupported("send", "the run takes no more prompts; resume its session with a new run"));
        }
        if steer && self.in_turn && self.ready && !self.interrupted && self.adapter.steer(&prompt, &mut self.out) {
            self.steered.push_back(prompt);
        } else {
            self.queue.push_back(prompt);
            self.tell_queue();
        }
        self.settle();
        Ok(())
    }

    /// No more prompts: the run ends when its turn and its queue have.
    pub fn close_input(&mut self) {
        self.input_closed = true;
        self.settle();
    }

    /// Stops the running turn. `false`: none runs.
    pub fn interrupt(&mut self) -> bool {
        self.interrupt_by(ResolvedBy::Client)
    }

    fn interrupt_by(&mut self, by: ResolvedBy) -> bool {
        if !self.in_turn {
            return false;
        }
        self.interrupted = true;
        if self.ready {
            // First that it is over, then that nobody answers: an agent may go on for a moment after an answer.
            self.adapter.interrupt(&mut self.out);
            self.cancel_questions(by, true);
            self.acts.push_back(Act::Wake { after: STUBBORN, token: STOP_TOKEN });
            self.settle();
        } else {
            // The provider has not heard of the prompt yet.
            self.queue.pop_front();
            self.first_is_due = false;
            self.turn_ended(TurnEnd::new("cancelled"));
            self.settle();
        }
        true
    }

    /// Asks the provider to end in its own way: the turn is stopped, then its input is closed.
    /// `by`: who wants it so.
    pub fn stop(&mut self, by: ResolvedBy) {
        self.input_closed = true;
        self.stopping = true;
        let dropped = self.waiting() + self.steered.len();
        // The first prompt belongs to the turn that runs already.
        self.queue.truncate(self.queue.len() - self.waiting());
        self.steered.clear();
        self.tell_dropped(dropped, "the run was ended");
        if !self.interrupt_by(by) {
            self.settle();
        }
    }

    /// An answer to a question.
    pub fn answer(&mut self, permission_id: &str, answer: Answer) -> Result<(), Failure> {
        let Some(question) = self.open.get(permission_id) else {
            if self.settled.iter().any(|settled| settled == permission_id) {
                return Err(Failure::permission_resolved(permission_id));
            }
            let message = format!("the run has asked no question {permission_id}; see `Run.permissions`");
            return Err(Failure::new(FailureKind::PermissionNotFound, message).with("permissionId", permission_id));
        };
        if let Some(chosen) = &answer.option
            && !question.options.iter().any(|option| option.option_id == *chosen)
        {
            let known: Vec<&str> = question.options.iter().map(|option| option.option_id.as_str()).collect();
            let message = format!("`{chosen}` is no option of {permission_id}; it offers {}", known.join(", "));
            return Err(Failure::invalid_params("optionId", message));
        }
        self.resolve(permission_id, answer, ResolvedBy::Client);
        self.go_on_running();
        self.settle();
        Ok(())
    }

    /// Settings from the next turn on.
    pub fn configure(&mut self, model: Option<String>, permissions: Option<PermissionMode>) -> Result<(), Failure> {
        self.adapter.can_configure(model.as_deref(), permissions)?;
        let (old_model, old_permissions) = self.configured.take().unwrap_or_default();
        self.configured = Some((model.or(old_model), permissions.or(old_permissions)));
        if !self.in_turn && self.ready {
            self.apply_configuration();
        }
        self.settle();
        Ok(())
    }

    /// The program has ended and all its output was given. What its turn was is decided.
    pub fn ended(&mut self, exit: &Exit, stderr: &str) -> Verdict {
        // A turn that ends by this is the last: what waits can be given to nobody.
        self.finishing = true;
        self.adapter.ended(exit.clone(), &mut self.out);
        self.settle();
        self.cancel_questions(ResolvedBy::Provider, false);
        let dropped = self.waiting() + self.steered.len() + usize::from(self.never_taken());
        self.queue.clear();
        self.steered.clear();
        self.tell_dropped(dropped, "the run ended");
        self.settle();
        self.verdict(exit, stderr)
    }

    /// The next thing to do.
    pub fn next_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// Puts back what could not be done yet.
    pub fn put_back(&mut self, act: Act) {
        self.acts.push_front(act);
    }

    // What is so.

    pub fn is_in_turn(&self) -> bool {
        self.in_turn
    }

    /// A client stopped the last turn.
    pub fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    pub fn is_waiting_for_an_answer(&self) -> bool {
        !self.open.is_empty()
    }

    /// An interactive conversation between turns.
    pub fn is_idle(&self) -> bool {
        !self.in_turn && self.ready && !self.finishing
    }

    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
}
