//! A run's conversation with its agent: turns, the prompts that wait for theirs, open questions, the outcome.
//!
//! What is the same for every provider stands here once; what one of them says and wants to hear is its [`Adapter`]'s.
//! No IO: the supervisor tells what happened and carries out the [`Act`]s that it gets back, in their order.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    adapter::{Adapter, Answer, Exit},
    effect::{Effect, Question, SessionNews, TurnEnd},
    out::{Out, Severity},
    policy, readable,
    task::{Blocks, Task},
    terminal,
};
use crate::model::{
    Failure, FailureKind, RunError, RunState, Session, Takeover, TakeoverKind, Usage,
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
    pub fn configure(&mut self, model: Option<String>, permissions: Option<PermissionMode>) {
        let (old_model, old_permissions) = self.configured.take().unwrap_or_default();
        self.configured = Some((model.or(old_model), permissions.or(old_permissions)));
        if !self.in_turn && self.ready {
            self.apply_configuration();
        }
        self.settle();
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

    // How it goes on.

    /// Works through everything that the adapter said, and what follows from it.
    fn settle(&mut self) {
        loop {
            for effect in std::mem::take(&mut self.out.effects) {
                self.take(effect);
            }
            if self.out.effects.is_empty() && !self.go_on() {
                return;
            }
        }
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Write(bytes) => self.acts.push_back(Act::Write(bytes)),
            Effect::CloseStdin => self.acts.push_back(Act::CloseStdin),
            Effect::Update(update) => self.acts.push_back(Act::Log(Body::Update(update))),
            Effect::Session(news) => self.session_news(&news),
            Effect::Ready => {
                self.ready = true;
                if self.turn == 0 && !self.finishing && self.queue.is_empty() && !self.is_done() {
                    self.log_state(RunState::Idle, None, None);
                }
            }
            Effect::Took => self.took(),
            Effect::GaveBack(place) => self.gave_back(place),
            Effect::TurnBegan => {
                if !self.in_turn {
                    self.begin_turn();
                }
            }
            Effect::TurnEnded(end) => self.turn_ended(end),
            Effect::Ask(question) => self.ask(question),
            Effect::Withdraw(question) => self.withdraw(&question),
            Effect::Wake { after, token } => self.acts.push_back(Act::Wake { after, token }),
            Effect::EndCommands => self.acts.push_back(Act::EndCommands),
            Effect::Fatal(error) => {
                self.fatal.get_or_insert(error);
            }
        }
    }

    /// Takes the next step that is due, if any.
    fn go_on(&mut self) -> bool {
        if self.finishing {
            return false;
        }
        if self.fatal.is_some() {
            return self.finish();
        }
        if !self.ready {
            // A run that is to end before its provider was ready has nothing to wait for.
            return !self.in_turn && self.queue.is_empty() && self.is_done() && self.finish();
        }
        if self.in_turn && !self.first_is_due {
            return false;
        }
        while let Some(prompt) = self.steered.pop_back() {
            self.queue.push_front(prompt);
        }
        if let Some(prompt) = self.queue.pop_front() {
            self.apply_configuration();
            if std::mem::take(&mut self.first_is_due) {
                self.acts.push_back(Act::TurnBegins);
            } else {
                self.tell_queue();
                self.begin_turn();
            }
            self.given = Some(prompt.clone());
            self.adapter.prompt(&prompt, &mut self.out);
            return true;
        }
        self.is_done() && self.finish()
    }

    /// Whether the run is over once no turn runs and nothing waits.
    fn is_done(&self) -> bool {
        !self.interactive || self.input_closed
    }

    fn finish(&mut self) -> bool {
        self.finishing = true;
        self.adapter.finish(&mut self.out);
        for effect in std::mem::take(&mut self.out.effects) {
            self.take(effect);
        }
        self.acts.push_back(Act::Finish);
        false
    }

    fn begin_turn(&mut self) {
        self.turn += 1;
        self.in_turn = true;
        self.interrupted = false;
        self.acts.push_back(Act::TurnBegins);
        self.log_state(RunState::Running, Some(self.turn), None);
    }

    fn turn_ended(&mut self, end: TurnEnd) {
        if !self.in_turn {
            return;
        }
        self.in_turn = false;
        self.cancel_questions(ResolvedBy::Provider, false);
        self.given = None;
        self.out.forget_turn();
        self.last = Some(end.clone());
        self.acts.push_back(Act::TurnEnded);
        // What ends the run ends the turn in the same breath, in its final state.
        if self.fatal.is_none() && (!self.is_done() || !self.queue.is_empty() || !self.steered.is_empty()) {
            self.log_state(RunState::Idle, Some(self.turn), Some(end));
            self.told = self.turn;
        }
    }

    fn apply_configuration(&mut self) {
        if let Some((model, permissions)) = self.configured.take() {
            self.mode = permissions.unwrap_or(self.mode);
            self.adapter.configure(model.as_deref(), permissions, &mut self.out);
        }
    }

    fn took(&mut self) {
        if let Some(prompt) = self.given.take().or_else(|| self.steered.pop_front()) {
            // It belongs before whatever the provider says next; effects are worked through in order.
            let later = std::mem::take(&mut self.out.effects);
            self.out.user_message(&prompt);
            for effect in std::mem::replace(&mut self.out.effects, later) {
                self.take(effect);
            }
        }
    }

    fn gave_back(&mut self, place: usize) {
        let prompt = match self.given.take_if(|_| place == 0) {
            Some(prompt) => prompt,
            None => match self.steered.remove(place - usize::from(self.given.is_some())) {
                Some(prompt) => prompt,
                None => return,
            },
        };
        if self.stopping {
            self.out.notice(Severity::Warning, "a prompt that the agent had not taken was dropped, for the run was ended", None);
        } else {
            self.queue.push_back(prompt);
            self.tell_queue();
        }
    }

    fn session_news(&mut self, news: &SessionNews) {
        let known = self.session.as_ref().filter(|session| session.id == news.id);
        // What was kept stays kept, and a path stays known.
        let news = SessionNews {
            id: news.id.clone(),
            path: news.path.clone().or_else(|| known.and_then(|session| session.path.clone())),
            resumable: news.resumable || known.is_some_and(|session| session.resumable),
        };
        let session = Session {
            provider: self.provider.clone(),
            id: news.id.clone(),
            path: news.path.clone(),
            resumable: news.resumable,
            takeover: self.takeovers(&news),
        };
        if self.session.as_ref() != Some(&session) {
            self.session = Some(session.clone());
            self.acts.push_back(Act::Log(Body::Session(session)));
        }
    }

    /// The provider's own ways, and the one that loomd has for all of them.
    fn takeovers(&self, news: &SessionNews) -> Vec<Takeover> {
        let (program, cwd) = &self.replay;
        let mut command = ["loomd", "run", &self.provider, "--resume", &news.id].map(str::to_owned).to_vec();
        if self.provider == "acp" {
            // The argv of such an agent is nobody else's to know.
            command.push("--".to_owned());
            command.extend(program.clone());
        }
        let mut ways = self.adapter.takeovers(news);
        if self.adapter.can_resume() && !ways.iter().any(|way| way.kind == TakeoverKind::ReplayCommand) {
            ways.push(terminal::kept(news, TakeoverKind::ReplayCommand, command, cwd, None));
        }
        ways
    }

    // Questions.

    fn ask(&mut self, question: Question) {
        self.asked += 1;
        let permission_id = format!("p{}", self.asked);
        let decided = if self.in_turn { policy::decide(self.mode, &question) } else { Some(Answer { option: None, message: None }) };
        let was_waiting = self.is_waiting_for_an_answer();
        let status = PermissionStatus::Requested { tool_call: question.tool_call.clone(), options: question.options.clone() };
        self.acts.push_back(Act::Log(Body::Permission { permission_id: permission_id.clone(), status }));
        self.open.insert(permission_id.clone(), question);
        match decided {
            Some(answer) => self.resolve(&permission_id, answer, ResolvedBy::Policy),
            None if was_waiting => {}
            None => self.log_state(RunState::AwaitingPermission, None, None),
        }
    }

    /// Settles a question and tells the provider.
    fn resolve(&mut self, permission_id: &str, answer: Answer, by: ResolvedBy) {
        let Some(question) = self.log_resolved(permission_id, answer.clone(), by) else { return };
        self.adapter.answer(&question.id, &answer, &mut self.out);
    }

    fn log_resolved(&mut self, permission_id: &str, answer: Answer, by: ResolvedBy) -> Option<Question> {
        let question = self.open.remove(permission_id)?;
        self.settled.push(permission_id.to_owned());
        let cancelled = answer.option.is_none().then_some(true);
        let status = PermissionStatus::Resolved { option_id: answer.option, cancelled, message: answer.message, by };
        self.acts.push_back(Act::Log(Body::Permission { permission_id: permission_id.to_owned(), status }));
        Some(question)
    }

    fn withdraw(&mut self, question: &str) {
        let Some(id) = self.open.iter().find(|(_, open)| open.id == question).map(|(id, _)| id.clone()) else { return };
        self.log_resolved(&id, Answer { option: None, message: None }, ResolvedBy::Provider);
        self.go_on_running();
    }

    fn cancel_questions(&mut self, by: ResolvedBy, tell: bool) {
        let open: Vec<String> = self.open.keys().cloned().collect();
        let nobody = Answer { option: None, message: None };
        for id in &open {
            if tell {
                self.resolve(id, nobody.clone(), by);
            } else {
                self.log_resolved(id, nobody.clone(), by);
            }
        }
        if tell && !open.is_empty() {
            self.go_on_running();
        }
    }

    fn go_on_running(&mut self) {
        if !self.is_waiting_for_an_answer() && self.in_turn {
            self.log_state(RunState::Running, None, None);
        }
    }

    fn log_state(&mut self, state: RunState, turn: Option<u64>, end: Option<TurnEnd>) {
        self.acts.push_back(Act::Log(Body::State { state, turn, end }));
    }

    fn tell_queue(&mut self) {
        self.acts.push_back(Act::Queued(self.waiting() as u64));
    }

    /// How many prompts wait for a turn. The first one has its turn from the beginning.
    fn waiting(&self) -> usize {
        self.queue.len().saturating_sub(usize::from(self.first_is_due))
    }

    /// A prompt of a later turn was given to a provider that was about to end.
    fn never_taken(&self) -> bool {
        self.in_turn && self.turn > 1 && self.given.is_some()
    }

    fn tell_dropped(&mut self, dropped: usize, why: &str) {
        if dropped > 0 {
            self.tell_queue();
            let prompts = if dropped == 1 { "a prompt that waited was".to_owned() } else { format!("{dropped} prompts that waited were") };
            self.out.notice(Severity::Warning, &format!("{prompts} dropped, for {why}"), None);
        }
    }

    // The outcome.

    fn verdict(&self, exit: &Exit, stderr: &str) -> Verdict {
        let untold = self.turn > self.told;
        let turn = untold.then_some(self.turn).filter(|turn| *turn > 0);
        let usage = self.last.as_ref().and_then(|end| end.usage).filter(|_| untold && !self.in_turn);
        let failed = |error: RunError| Verdict {
            state: RunState::Failed,
            stop_reason: "error".to_owned(),
            error: Some(with_stderr(error, stderr)),
            turn,
            usage,
        };
        if let Some(error) = &self.fatal {
            return failed(error.clone());
        }
        if self.in_turn {
            if self.interrupted {
                return Verdict { state: RunState::Cancelled, stop_reason: "cancelled".to_owned(), error: None, turn, usage };
            }
            // It was about to end when it was given another prompt: the reason is in the turn before.
            if let Some(error) = self.last.as_ref().and_then(|end| end.error.clone()).filter(|_| self.never_taken()) {
                return failed(error);
            }
            let how = match (exit.code, &exit.signal) {
                (Some(code), _) => format!("with code {code}"),
                (None, Some(signal)) => format!("by {signal}"),
                (None, None) => "in an unknown way".to_owned(),
            };
            let message = format!("{} ended {how} in the middle of its turn", self.provider);
            return failed(RunError { kind: "provider".to_owned(), message });
        }
        match &self.last {
            Some(TurnEnd { error: Some(error), .. }) => failed(error.clone()),
            // Also what its provider cancelled, say because a person answered so, did not succeed.
            Some(end) if (self.interrupted || end.stop_reason == "cancelled") && !self.interactive => {
                Verdict { state: RunState::Cancelled, stop_reason: end.stop_reason.clone(), error: None, turn, usage }
            }
            Some(end) => Verdict { state: RunState::Succeeded, stop_reason: end.stop_reason.clone(), error: None, turn, usage },
            None if self.ready => Verdict { state: RunState::Succeeded, stop_reason: "end_turn".to_owned(), error: None, turn, usage },
            None => {
                let message = match exit.code {
                    Some(code) => format!("{} ended with code {code} before it was ready", self.provider),
                    None => format!("{} ended by {} before it was ready", self.provider, exit.signal.as_deref().unwrap_or("a signal")),
                };
                failed(RunError { kind: "provider".to_owned(), message })
            }
        }
    }
}

/// Adds the end of what the program wrote to stderr: for a person it is often the reason.
fn with_stderr(mut error: RunError, stderr: &str) -> RunError {
    let tail = stderr.trim();
    if !tail.is_empty() && !error.message.contains(tail) {
        error.message = format!("{}; its last words on stderr: {tail}", error.message);
    }
    error
}
