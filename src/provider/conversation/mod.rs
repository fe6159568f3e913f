//! A run's conversation with its agent: turns, queued prompts, open permission requests, and the final state.
//!
//! What all providers have in common is here; what is particular to one is in its [`Adapter`]. A conversation does no
//! IO: the supervisor reports what happened, and carries out the returned [`Action`]s in their order.

mod permissions;
mod stage;
mod turns;

use std::{collections::VecDeque, time::Duration};

use serde_json::Value;

pub(crate) use self::permissions::{PermissionRules, RuleAnswer};
use self::{
    permissions::{PermissionRequests, Resolution},
    stage::{Input, Stage, WaitingPrompts},
    turns::{EndedTurn, Turn, TurnPrompt},
};
use super::{
    Adapter, Answer, Exit,
    event_sink::{EventSink, Severity},
    json_lines::{JsonLines, ReadLine},
    provider_event::{Action, FinalState, ProviderEvent, TurnEnd},
};
use crate::model::{
    Failure, FailureKind, RunError, Session,
    calls::{QueuedPrompt, RunSettings},
    entry::ResolvedBy,
    task::{ContentBlocks, Task},
};

/// The state of a conversation.
pub struct Conversation {
    adapter: Box<dyn Adapter>,
    out: EventSink,
    lines: JsonLines,
    /// Lines of this turn that could not be read.
    unread_lines: u64,
    actions: VecDeque<Action>,
    facts: RunFacts,
    stage: Stage,
    input: Input,
    /// The running turn.
    turn: Option<Turn>,
    /// How many turns have begun, the running one included.
    turn_count: u64,
    /// How the newest turn that is over ended.
    ended: Option<EndedTurn>,
    /// Prompts that wait for a turn of their own.
    queue: WaitingPrompts,
    /// Prompts that were sent into the running turn and are not known to be accepted, oldest first. What a turn leaves
    /// of them belongs to the next turn: to one that the provider starts by itself at once, else to one that this
    /// conversation starts.
    steered_prompts: VecDeque<ContentBlocks>,
    requests: PermissionRequests,
    /// What to set before the next turn.
    pending_settings: Option<RunSettings>,
    session: Option<Session>,
    fatal_error: Option<RunError>,
}

/// What never changes in a run.
struct RunFacts {
    provider: String,
    /// The argv of the program so far, and its working directory, for the takeover that resumes the session with loomd.
    program: Vec<String>,
    cwd: String,
    interactive: bool,
}

/// An agent that has not stopped this long after an interrupt is reported in a notice.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a program may take to go on with a message that it broke off at the end of a line.
const UNFINISHED_TIMEOUT: Duration = Duration::from_secs(1);
/// Lines of a turn that could not be read and are told one by one.
const MAX_UNREAD_NOTICES: u64 = 20;
/// The tokens of the conversation's own timers. Adapters number theirs from zero.
const INTERRUPT_TIMER: u32 = u32::MAX;
const UNFINISHED_TIMER: u32 = u32::MAX - 1;

impl Conversation {
    /// The conversation of a run. If its task has a prompt, turn 1 runs from the beginning, and its prompt waits until
    /// the provider is ready.
    pub fn new(task: &Task, adapter: Box<dyn Adapter>) -> Self {
        let turn = task.prompt.clone().map(|prompt| Turn::new(TurnPrompt::Due(prompt)));
        Self {
            adapter,
            out: EventSink::default(),
            lines: JsonLines::default(),
            unread_lines: 0,
            actions: VecDeque::new(),
            facts: RunFacts {
                provider: task.provider.clone(),
                program: task.program.clone(),
                cwd: task.cwd.clone(),
                interactive: task.interactive,
            },
            stage: Stage::Starting,
            input: Input::Open,
            turn_count: u64::from(turn.is_some()),
            turn,
            ended: None,
            queue: WaitingPrompts::default(),
            steered_prompts: VecDeque::new(),
            requests: PermissionRequests::new(task.permissions),
            pending_settings: None,
            session: None,
            fatal_error: None,
        }
    }

    /// Has these rules consulted before anybody is asked.
    pub(crate) fn use_rules(&mut self, rules: Box<dyn PermissionRules>) {
        self.requests.use_rules(rules);
    }

    // Events of the run.

    /// The program was started. If the task has a prompt, the supervisor has already logged that turn 1 runs.
    pub fn start(&mut self) {
        self.adapter.start(&mut self.out);
        self.process_events();
    }

    /// The program wrote a whole line.
    pub fn handle_line(&mut self, line: &[u8]) {
        self.adapter.handle_line(line, &mut self.out);
        self.process_events();
        if self.adapter.speaks_json() {
            let read = self.lines.read(line);
            self.handle_read(read);
            if self.lines.is_unfinished() {
                self.actions.push_back(Action::SetTimer { after: UNFINISHED_TIMEOUT, token: UNFINISHED_TIMER });
            }
        }
    }

    fn handle_read(&mut self, read: ReadLine) {
        for beginning in read.unread {
            self.unread_lines += 1;
            let title = format!("{} wrote a line that is no message; the output has all of it", self.facts.provider);
            match self.unread_lines {
                ..MAX_UNREAD_NOTICES => self.out.notice(Severity::Warning, &title, Some(&beginning)),
                MAX_UNREAD_NOTICES => self.out.notice(Severity::Warning, &title, Some("Further lines of this turn are not told.")),
                _ => {}
            }
        }
        for message in read.messages {
            self.adapter.handle_message(Value::Object(message), &mut self.out);
            self.process_events();
        }
        self.process_events();
    }

    /// The program wrote a line that is too long to be parsed.
    pub(crate) fn handle_oversized_line(&mut self, bytes: u64) {
        let title = format!("the provider wrote a line of {bytes} bytes, which is too long to be interpreted; the output has the line");
        self.out.notice(Severity::Warning, &title, None);
        self.process_events();
    }

    /// A timer of [`Action::SetTimer`] or [`Action::SetStartDeadline`] has expired.
    pub(crate) fn handle_timer(&mut self, token: u32) {
        match token {
            INTERRUPT_TIMER if self.turn.as_ref().is_some_and(|turn| turn.is_interrupted) => {
                self.out.notice(Severity::Warning, "the agent has not stopped its turn yet; cancel the run to end it", None);
            }
            INTERRUPT_TIMER => {}
            UNFINISHED_TIMER => {
                let read = self.lines.finish();
                self.handle_read(read);
            }
            token => self.adapter.handle_timer(token, &mut self.out),
        }
        self.process_events();
    }

    /// Sends a prompt: into the running turn if `steer` says so and the adapter can, else in a turn of its own. Returns
    /// the number under which it is or was queued.
    pub(crate) fn send(&mut self, prompt: ContentBlocks, steer: bool) -> Result<Option<u64>, Failure> {
        if self.input != Input::Open || self.stage.is_finishing() {
            return Err(Failure::unsupported("send", "the run accepts no more prompts; resume its session with a new run"));
        }
        if let Some(takes) = self.adapter.prompt_capabilities() {
            takes.check(&self.facts.provider, &prompt)?;
        }
        let can_steer = self.stage == Stage::Ready && self.turn.as_ref().is_some_and(|turn| !turn.is_interrupted);
        if steer && can_steer && self.adapter.steer(&prompt, &mut self.out) {
            self.steered_prompts.push_back(prompt);
            self.process_events();
            return Ok(None);
        }
        let prompt_id = self.queue.push_back(prompt);
        self.report_queue_length();
        self.process_events();
        Ok(Some(prompt_id))
    }

    /// The prompts that wait for a turn.
    pub(crate) fn queue(&self) -> Vec<QueuedPrompt> {
        self.queue.list()
    }

    /// Takes a prompt back that waits for a turn.
    pub(crate) fn unqueue(&mut self, prompt_id: u64) -> Result<QueuedPrompt, Failure> {
        let Some(taken) = self.queue.take(prompt_id) else {
            let message = format!("prompt {prompt_id} does not wait; its turn may have begun (`run/queue` lists those that wait)");
            return Err(Failure::invalid_params("promptId", message));
        };
        self.report_queue_length();
        self.process_events();
        Ok(taken)
    }

    /// Accepts no more prompts: the run ends when its turn and its queue have ended.
    pub(crate) fn close_input(&mut self) {
        self.input = self.input.max(Input::Closed);
        self.process_events();
    }

    /// Stops the running turn. `false` means that none runs.
    pub(crate) fn interrupt(&mut self) -> bool {
        self.interrupt_by(ResolvedBy::Client)
    }

    fn interrupt_by(&mut self, by: ResolvedBy) -> bool {
        let Some(turn) = &mut self.turn else { return false };
        turn.is_interrupted = true;
        if self.stage.has_been_ready() {
            // The adapter stops the turn before the open requests are cancelled, because an agent may go on for a
            // moment after an answer; and what stops it is written before each of them is logged.
            self.adapter.interrupt(&mut self.out);
            for stop in self.out.events.extract_if(.., |event| matches!(event, ProviderEvent::Do(Action::Write(_)))).collect::<Vec<_>>() {
                self.handle_event(stop);
            }
            self.cancel_requests(by, true);
            self.actions.push_back(Action::SetTimer { after: INTERRUPT_TIMEOUT, token: INTERRUPT_TIMER });
        } else {
            // The provider has not received the prompt yet.
            self.end_turn(TurnEnd::new("cancelled"));
        }
        self.process_events();
        true
    }

    /// Asks the provider to end in its own way: the turn is stopped, then the input is closed. `by` says on whose behalf.
    pub(crate) fn stop(&mut self, by: ResolvedBy) {
        self.input = Input::Stopped;
        let count = self.drop_prompts();
        self.report_dropped_prompts(count, "the run was ended");
        if !self.interrupt_by(by) {
            self.process_events();
        }
    }

    /// Answers a permission request.
    pub(crate) fn answer(&mut self, permission_id: &str, answer: Answer) -> Result<(), Failure> {
        let Some(request) = self.requests.get(permission_id) else {
            if self.requests.has_made(permission_id) {
                return Err(Failure::permission_resolved(permission_id));
            }
            let message = format!("there is no permission request {permission_id}; `Run.permissions` lists the open ones");
            return Err(Failure::new(FailureKind::PermissionNotFound, message).with("permissionId", permission_id));
        };
        if let Some(chosen) = &answer.option
            && !request.options.iter().any(|option| option.option_id == *chosen)
        {
            let known: Vec<&str> = request.options.iter().map(|option| option.option_id.as_str()).collect();
            let message = format!("`{chosen}` is not an option of permission request {permission_id}; choose one of {}", known.join(", "));
            return Err(Failure::invalid_params("optionId", message));
        }
        let is_delivered = self.resolve(permission_id, Resolution::by_client(answer));
        self.log_running();
        self.process_events();
        if is_delivered { Ok(()) } else { Err(Failure::permission_resolved(permission_id)) }
    }

    /// Changes settings from the next turn on.
    pub(crate) fn configure(&mut self, settings: RunSettings) -> Result<(), Failure> {
        self.adapter.can_configure(&settings)?;
        self.pending_settings.get_or_insert_default().extend(settings);
        if self.turn.is_none() && self.stage.has_been_ready() {
            self.apply_settings();
        }
        self.process_events();
        Ok(())
    }

    /// The program has ended, and all its output was handled. Returns the final state of the run.
    pub(crate) fn handle_exit(&mut self, exit: &Exit, stderr: &str) -> FinalState {
        // If a turn ends with the program, no other follows: a queued prompt has nobody to go to.
        self.stage = self.stage.finishing();
        let read = self.lines.finish();
        self.handle_read(read);
        self.adapter.handle_exit(exit.clone(), &mut self.out);
        self.process_events();
        self.cancel_requests(ResolvedBy::Provider, false);
        self.report_surplus_requests();
        self.out.end_turn();
        let count = self.drop_prompts() + usize::from(self.was_never_accepted());
        self.report_dropped_prompts(count, "the run ended");
        self.process_events();
        self.final_state(exit, stderr)
    }

    /// The next action to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Puts an action back that could not be carried out yet.
    pub(crate) fn put_back(&mut self, action: Action) {
        self.actions.push_front(action);
    }

    // Queries.

    pub(crate) fn is_in_turn(&self) -> bool {
        self.turn.is_some()
    }

    pub(crate) fn is_awaiting_permission(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether the run waits for a prompt, between turns.
    pub(crate) fn is_idle(&self) -> bool {
        self.turn.is_none() && self.stage == Stage::Ready && !self.is_awaiting_permission()
    }

    #[cfg(test)]
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
}

#[cfg(test)]
mod tests;
