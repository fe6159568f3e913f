//! The turns of a conversation: what follows from the events of its adapter, and the final state.

use super::{
    Conversation,
    stage::{Input, Stage},
};
use crate::{
    model::{RunError, RunState, Session, Takeover, TakeoverKind, entry::ResolvedBy, task::ContentBlocks},
    provider::{
        Exit,
        event_sink::Severity,
        kind,
        provider_event::{Action, EntryBody, FinalState, ProviderEvent, SessionInfo, TurnEnd},
    },
};

/// A turn that runs.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) prompt: TurnPrompt,
    /// A client stopped it.
    pub(super) is_interrupted: bool,
}

/// How far the prompt of a turn is.
#[derive(Debug)]
pub(super) enum TurnPrompt {
    /// It waits until the provider is ready.
    Due(ContentBlocks),
    /// It was sent, and the provider has not accepted it yet.
    Sent(ContentBlocks),
    /// The provider has accepted it, or has begun the turn by itself.
    Accepted,
}

/// How a turn ended.
#[derive(Debug)]
pub(super) struct EndedTurn {
    end: TurnEnd,
    was_interrupted: bool,
    /// Its end is in the log.
    is_logged: bool,
}

impl Turn {
    pub(super) fn new(prompt: TurnPrompt) -> Self {
        Self { prompt, is_interrupted: false }
    }
}

impl TurnPrompt {
    /// Takes the prompt that is due.
    fn take_due(&mut self) -> Option<ContentBlocks> {
        self.take(matches!(self, Self::Due(_)))
    }

    /// Takes the prompt that was sent and is not accepted.
    fn take_sent(&mut self) -> Option<ContentBlocks> {
        self.take(self.is_sent())
    }

    fn take(&mut self, is_wanted: bool) -> Option<ContentBlocks> {
        if !is_wanted {
            return None;
        }
        match std::mem::replace(self, Self::Accepted) {
            Self::Due(prompt) | Self::Sent(prompt) => Some(prompt),
            Self::Accepted => None,
        }
    }

    fn is_sent(&self) -> bool {
        matches!(self, Self::Sent(_))
    }
}

impl Conversation {
    /// Handles all events of the adapter and takes the steps that follow from them.
    pub(super) fn process_events(&mut self) {
        loop {
            for event in std::mem::take(&mut self.out.events) {
                self.handle_event(event);
            }
            if self.out.events.is_empty() && !self.advance() {
                return;
            }
        }
    }

    pub(super) fn handle_event(&mut self, event: ProviderEvent) {
        match event {
            ProviderEvent::Do(action) => self.actions.push_back(action),
            ProviderEvent::Session(info) => self.update_session(&info),
            ProviderEvent::Ready => {
                self.stage = self.stage.ready();
                if self.turn_count == 0 && self.stage == Stage::Ready && self.queue.is_empty() && !self.ends_when_idle() {
                    self.log_state(RunState::Idle, None, None);
                }
            }
            ProviderEvent::PromptAccepted => self.accept_prompt(),
            ProviderEvent::PromptReturned(position) => self.return_prompt(position),
            ProviderEvent::TurnStarted => {
                if self.turn.is_none() {
                    self.begin_turn(TurnPrompt::Accepted);
                }
            }
            ProviderEvent::TurnEnded(end) => self.end_turn(end),
            ProviderEvent::PermissionRequested(request) => self.open_request(request),
            ProviderEvent::PermissionWithdrawn(request) => self.withdraw_request(&request),
            ProviderEvent::Fatal(error) => {
                self.fatal_error.get_or_insert(error);
            }
        }
    }

    /// Takes the next step that is due. `true` means that it may have caused new events.
    fn advance(&mut self) -> bool {
        if self.stage.is_finishing() {
            return false;
        }
        if self.fatal_error.is_some() {
            return self.finish();
        }
        if self.stage == Stage::Starting {
            // A run that is to end before its provider is ready has nothing to wait for.
            return self.turn.is_none() && self.queue.is_empty() && self.ends_when_idle() && self.finish();
        }
        let prompt = match &mut self.turn {
            Some(turn) => {
                let Some(prompt) = turn.prompt.take_due() else { return false };
                turn.prompt = TurnPrompt::Sent(prompt.clone());
                self.out.begin_turn();
                self.actions.push_back(Action::TurnStarted);
                prompt
            }
            None => {
                while let Some(prompt) = self.steered_prompts.pop_back() {
                    self.queue.push_front(prompt);
                }
                let Some(prompt) = self.queue.pop_front() else { return self.ends_when_idle() && self.finish() };
                self.apply_settings();
                self.report_queue_length();
                self.begin_turn(TurnPrompt::Sent(prompt.clone()));
                prompt
            }
        };
        self.adapter.start_turn(&prompt, &mut self.out);
        true
    }

    /// Whether the run ends once no turn runs and no prompt is queued.
    pub(super) fn ends_when_idle(&self) -> bool {
        !self.facts.interactive || self.input != Input::Open
    }

    fn finish(&mut self) -> bool {
        self.stage = self.stage.finishing();
        self.cancel_requests(ResolvedBy::Provider, true);
        self.adapter.finish(&mut self.out);
        for event in std::mem::take(&mut self.out.events) {
            self.handle_event(event);
        }
        self.actions.push_back(Action::Finish);
        false
    }

    fn begin_turn(&mut self, prompt: TurnPrompt) {
        self.turn_count += 1;
        self.turn = Some(Turn::new(prompt));
        self.unread_lines = 0;
        self.out.begin_turn();
        self.actions.push_back(Action::TurnStarted);
        self.log_state(RunState::Running, Some(self.turn_count), None);
        if self.is_awaiting_permission() {
            self.log_state(RunState::AwaitingPermission, None, None);
        }
    }

    pub(super) fn end_turn(&mut self, end: TurnEnd) {
        let Some(turn) = self.turn.take() else { return };
        self.cancel_requests(ResolvedBy::Provider, true);
        self.report_surplus_requests();
        self.out.end_turn();
        for event in std::mem::take(&mut self.out.events) {
            self.handle_event(event);
        }
        self.actions.push_back(Action::TurnEnded);
        // The end of a turn that ends the run is not logged here: the run's final state contains it.
        let has_next = !self.ends_when_idle() || !self.queue.is_empty() || !self.steered_prompts.is_empty();
        let is_logged = self.fatal_error.is_none() && has_next;
        if is_logged {
            self.log_state(RunState::Idle, Some(self.turn_count), Some(end.clone()));
        }
        self.ended = Some(EndedTurn { end, was_interrupted: turn.is_interrupted, is_logged });
    }

    pub(super) fn apply_settings(&mut self) {
        if let Some(settings) = self.pending_settings.take() {
            self.requests.set_mode(settings.permissions);
            self.adapter.configure(&settings, &mut self.out);
        }
    }

    fn accept_prompt(&mut self) {
        let sent = self.turn.as_mut().and_then(|turn| turn.prompt.take_sent());
        if let Some(prompt) = sent.or_else(|| self.steered_prompts.pop_front()) {
            // The prompt is logged before whatever the provider says next, because events are handled in order.
            let later = std::mem::take(&mut self.out.events);
            self.out.user_message(&prompt);
            for event in std::mem::replace(&mut self.out.events, later) {
                self.handle_event(event);
            }
        }
    }

    fn return_prompt(&mut self, position: usize) {
        let sent = self.turn.as_mut().map(|turn| &mut turn.prompt).filter(|prompt| prompt.is_sent());
        let prompt = match (sent, position) {
            (Some(sent), 0) => sent.take_sent(),
            (Some(_), position) => self.steered_prompts.remove(position - 1),
            (None, position) => self.steered_prompts.remove(position),
        };
        let Some(prompt) = prompt else { return };
        if self.input == Input::Stopped {
            self.out.notice(Severity::Warning, "a prompt that the agent had not received was dropped because the run was ended", None);
        } else {
            self.queue.push_back(prompt);
            self.report_queue_length();
        }
    }

    fn update_session(&mut self, info: &SessionInfo) {
        let known = self.session.as_ref().filter(|session| session.id == info.id);
        // A session that was resumable stays so, and a known path stays known.
        let info = SessionInfo {
            id: info.id.clone(),
            path: info.path.clone().or_else(|| known.and_then(|session| session.path.clone())),
            resumable: info.resumable || known.is_some_and(|session| session.resumable),
        };
        let session = Session {
            provider: self.facts.provider.clone(),
            id: info.id.clone(),
            path: info.path.clone(),
            resumable: info.resumable,
            takeover: self.takeovers(&info),
        };
        if self.session.as_ref() != Some(&session) {
            self.session = Some(session.clone());
            self.actions.push_back(Action::Log(EntryBody::Session(session)));
        }
    }

    /// The adapter's takeovers, and the one that loomd offers for all providers.
    fn takeovers(&self, info: &SessionInfo) -> Vec<Takeover> {
        let facts = &self.facts;
        let mut command = ["loomd", "run", &facts.provider, "--resume", &info.id].map(str::to_owned).to_vec();
        if facts.provider == "acp" {
            // Only the caller of `loomd run acp` knows the argv of such an agent, so the command repeats it.
            command.push("--".to_owned());
            command.extend(facts.program.clone());
        }
        let mut takeovers = self.adapter.takeovers(info);
        if self.adapter.can_resume() && !takeovers.iter().any(|takeover| takeover.kind == TakeoverKind::ReplayCommand) {
            takeovers.push(kind::resumable_takeover(info, TakeoverKind::ReplayCommand, command, &facts.cwd, None));
        }
        takeovers
    }

    pub(super) fn log_state(&mut self, state: RunState, turn: Option<u64>, end: Option<TurnEnd>) {
        self.actions.push_back(Action::Log(EntryBody::State { state, turn, end }));
    }

    pub(super) fn report_queue_length(&mut self) {
        self.actions.push_back(Action::QueueLength(self.queue.len() as u64));
    }

    /// Forgets the prompts that wait or were not accepted, but for the running turn's own. Returns how many there were.
    pub(super) fn drop_prompts(&mut self) -> usize {
        let count = self.queue.len() + self.steered_prompts.len();
        self.queue.clear();
        self.steered_prompts.clear();
        count
    }

    /// Whether the prompt of a later turn was sent to a program that was about to end.
    pub(super) fn was_never_accepted(&self) -> bool {
        self.turn_count > 1 && self.turn.as_ref().is_some_and(|turn| turn.prompt.is_sent())
    }

    pub(super) fn report_dropped_prompts(&mut self, count: usize, reason: &str) {
        if count > 0 {
            self.report_queue_length();
            let prompts = if count == 1 { "a queued prompt was".to_owned() } else { format!("{count} queued prompts were") };
            self.out.notice(Severity::Warning, &format!("{prompts} dropped because {reason}"), None);
        }
    }

    pub(super) fn final_state(&self, exit: &Exit, stderr: &str) -> FinalState {
        let ended = self.ended.as_ref();
        let is_unlogged = self.turn.is_some() || ended.is_some_and(|turn| !turn.is_logged);
        let turn = is_unlogged.then_some(self.turn_count);
        let usage = ended.filter(|_| is_unlogged && self.turn.is_none()).and_then(|turn| turn.end.usage);
        let failed = |error: RunError| FinalState {
            state: RunState::Failed,
            stop_reason: "error".to_owned(),
            error: Some(with_stderr(error, stderr)),
            turn,
            usage,
        };
        if let Some(error) = &self.fatal_error {
            return failed(error.clone());
        }
        if let Some(running) = &self.turn {
            if running.is_interrupted {
                return FinalState { state: RunState::Cancelled, stop_reason: "cancelled".to_owned(), error: None, turn, usage };
            }
            // The program was about to end when it was sent this prompt: the reason is in the turn before.
            if let Some(error) = ended.and_then(|turn| turn.end.error.clone()).filter(|_| self.was_never_accepted()) {
                return failed(error);
            }
            let how = match (exit.code, &exit.signal) {
                (Some(code), _) => format!("with code {code}"),
                (None, Some(signal)) => format!("by {signal}"),
                (None, None) => "for an unknown reason".to_owned(),
            };
            let message = format!("{} ended {how} during its turn", self.facts.provider);
            return failed(RunError { kind: "provider".to_owned(), message });
        }
        let succeeded =
            |stop_reason: &str| FinalState { state: RunState::Succeeded, stop_reason: stop_reason.to_owned(), error: None, turn, usage };
        match ended {
            Some(EndedTurn { end: TurnEnd { error: Some(error), .. }, .. }) => failed(error.clone()),
            // A turn that the provider cancelled did not succeed either, for example because a person chose an option
            // that cancels it.
            Some(EndedTurn { end, was_interrupted, .. })
                if (*was_interrupted || end.stop_reason == "cancelled") && !self.facts.interactive =>
            {
                FinalState { state: RunState::Cancelled, ..succeeded(&end.stop_reason) }
            }
            Some(EndedTurn { end, .. }) => succeeded(&end.stop_reason),
            None if self.stage.has_been_ready() => succeeded("end_turn"),
            None => {
                let message = match exit.code {
                    Some(code) => format!("{} ended with code {code} before it was ready", self.facts.provider),
                    None => {
                        format!("{} ended by {} before it was ready", self.facts.provider, exit.signal.as_deref().unwrap_or("a signal"))
                    }
                };
                failed(RunError { kind: "provider".to_owned(), message })
            }
        }
    }
}

/// Appends the end of what the program wrote to stderr, which is often the reason for a person.
fn with_stderr(mut error: RunError, stderr: &str) -> RunError {
    let tail = stderr.trim();
    if !tail.is_empty() && !error.message.contains(tail) {
        error.message = format!("{}; end of stderr: {tail}", error.message);
    }
    error
}
