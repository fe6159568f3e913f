//! The turns of a conversation: what follows from the events of its adapter, and the final state.

use std::collections::VecDeque;

use super::{Action, Conversation, EntryBody, FinalState};
use crate::{
    model::{RunError, RunState, Session, Takeover, TakeoverKind, calls::QueuedPrompt, entry::ResolvedBy, task::ContentBlocks},
    provider::{
        Exit,
        event_sink::Severity,
        kind,
        provider_event::{ProviderEvent, SessionInfo, TurnEnd},
    },
};

/// The prompts that wait for a turn, in the order of their turns, each under a number by which it can be taken back.
#[derive(Debug, Default)]
pub(super) struct WaitingPrompts {
    prompts: VecDeque<QueuedPrompt>,
    last_id: u64,
}

impl WaitingPrompts {
    pub(super) fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Adds a prompt behind the others. Returns its number.
    pub(super) fn push_back(&mut self, prompt: ContentBlocks) -> u64 {
        self.last_id += 1;
        self.prompts.push_back(QueuedPrompt { prompt_id: self.last_id, prompt });
        self.last_id
    }

    pub(super) fn push_front(&mut self, prompt: ContentBlocks) {
        self.last_id += 1;
        self.prompts.push_front(QueuedPrompt { prompt_id: self.last_id, prompt });
    }

    pub(super) fn pop_front(&mut self) -> Option<ContentBlocks> {
        Some(self.prompts.pop_front()?.prompt)
    }

    /// Keeps the first `length` prompts.
    pub(super) fn truncate(&mut self, length: usize) {
        self.prompts.truncate(length);
    }

    /// The prompts behind the first `skipped`.
    pub(super) fn after(&self, skipped: usize) -> Vec<QueuedPrompt> {
        self.prompts.iter().skip(skipped).cloned().collect()
    }

    /// Takes a prompt out that is not among the first `skipped`.
    pub(super) fn take(&mut self, prompt_id: u64, skipped: usize) -> Option<QueuedPrompt> {
        let position = self.prompts.iter().skip(skipped).position(|queued| queued.prompt_id == prompt_id)?;
        self.prompts.remove(position + skipped)
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
            ProviderEvent::Write(bytes) => self.actions.push_back(Action::Write(bytes)),
            ProviderEvent::CloseStdin => self.actions.push_back(Action::CloseStdin),
            ProviderEvent::Update(update) => self.actions.push_back(Action::Log(EntryBody::Update(update))),
            ProviderEvent::Session(info) => self.update_session(&info),
            ProviderEvent::Ready => {
                self.ready = true;
                if self.turn == 0 && !self.finishing && self.queued.is_empty() && !self.ends_when_idle() {
                    self.log_state(RunState::Idle, None, None);
                }
            }
            ProviderEvent::PromptAccepted => self.accept_prompt(),
            ProviderEvent::PromptReturned(position) => self.return_prompt(position),
            ProviderEvent::TurnStarted => {
                if !self.in_turn {
                    self.begin_turn();
                }
            }
            ProviderEvent::TurnEnded(end) => self.end_turn(end),
            ProviderEvent::PermissionRequested(request) => self.open_request(request),
            ProviderEvent::PermissionWithdrawn(request) => self.withdraw_request(&request),
            ProviderEvent::Offer(offer) => self.actions.push_back(Action::Offer(offer)),
            ProviderEvent::SetTimer { after, token } => self.actions.push_back(Action::SetTimer { after, token }),
            ProviderEvent::SetStartDeadline { limit, token } => self.actions.push_back(Action::SetStartDeadline { limit, token }),
            ProviderEvent::EndCommands => self.actions.push_back(Action::EndCommands),
            ProviderEvent::Fatal(error) => {
                self.fatal_error.get_or_insert(error);
            }
        }
    }

    /// Takes the next step that is due. `true` means that it may have caused new events.
    fn advance(&mut self) -> bool {
        if self.finishing {
            return false;
        }
        if self.fatal_error.is_some() {
            return self.finish();
        }
        if !self.ready {
            // A run that is to end before its provider is ready has nothing to wait for.
            return !self.in_turn && self.queued.is_empty() && self.ends_when_idle() && self.finish();
        }
        if self.in_turn && !self.first_prompt_is_due {
            return false;
        }
        while let Some(prompt) = self.steered_prompts.pop_back() {
            self.queued.push_front(prompt);
        }
        if let Some(prompt) = self.queued.pop_front() {
            self.apply_settings();
            if std::mem::take(&mut self.first_prompt_is_due) {
                self.out.begin_turn();
                self.actions.push_back(Action::TurnStarted);
            } else {
                self.report_queue_length();
                self.begin_turn();
            }
            self.pending_prompt = Some(prompt.clone());
            self.adapter.start_turn(&prompt, &mut self.out);
            return true;
        }
        self.ends_when_idle() && self.finish()
    }

    /// Whether the run ends once no turn runs and no prompt is queued.
    pub(super) fn ends_when_idle(&self) -> bool {
        !self.interactive || self.input_closed
    }

    fn finish(&mut self) -> bool {
        self.finishing = true;
        self.cancel_requests(ResolvedBy::Provider, true);
        self.adapter.finish(&mut self.out);
        for event in std::mem::take(&mut self.out.events) {
            self.handle_event(event);
        }
        self.actions.push_back(Action::Finish);
        false
    }

    fn begin_turn(&mut self) {
        self.turn += 1;
        self.in_turn = true;
        self.interrupted = false;
        self.unread_lines = 0;
        self.out.begin_turn();
        self.actions.push_back(Action::TurnStarted);
        self.log_state(RunState::Running, Some(self.turn), None);
        if self.is_awaiting_permission() {
            self.log_state(RunState::AwaitingPermission, None, None);
        }
    }

    pub(super) fn end_turn(&mut self, end: TurnEnd) {
        if !self.in_turn {
            return;
        }
        self.in_turn = false;
        self.cancel_requests(ResolvedBy::Provider, true);
        self.report_surplus_requests();
        self.pending_prompt = None;
        self.out.end_turn();
        for event in std::mem::take(&mut self.out.events) {
            self.handle_event(event);
        }
        self.last_turn_end = Some(end.clone());
        self.actions.push_back(Action::TurnEnded);
        // The end of a turn that ends the run is not logged here: the run's final state contains it.
        if self.fatal_error.is_none() && (!self.ends_when_idle() || !self.queued.is_empty() || !self.steered_prompts.is_empty()) {
            self.log_state(RunState::Idle, Some(self.turn), Some(end));
            self.last_logged_turn = self.turn;
        }
    }

    pub(super) fn apply_settings(&mut self) {
        if let Some((model, permissions)) = self.pending_settings.take() {
            self.permissions = permissions.unwrap_or(self.permissions);
            self.adapter.configure(model.as_deref(), permissions, &mut self.out);
        }
    }

    fn accept_prompt(&mut self) {
        if let Some(prompt) = self.pending_prompt.take().or_else(|| self.steered_prompts.pop_front()) {
            // The prompt is logged before whatever the provider says next, because events are handled in order.
            let later = std::mem::take(&mut self.out.events);
            self.out.user_message(&prompt);
            for event in std::mem::replace(&mut self.out.events, later) {
                self.handle_event(event);
            }
        }
    }

    fn return_prompt(&mut self, position: usize) {
        let prompt = match self.pending_prompt.take_if(|_| position == 0) {
            Some(prompt) => prompt,
            None => match self.steered_prompts.remove(position - usize::from(self.pending_prompt.is_some())) {
                Some(prompt) => prompt,
                None => return,
            },
        };
        if self.stopping {
            self.out.notice(Severity::Warning, "a prompt that the agent had not received was dropped because the run was ended", None);
        } else {
            self.queued.push_back(prompt);
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
            provider: self.provider.clone(),
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
        let mut command = ["loomd", "run", &self.provider, "--resume", &info.id].map(str::to_owned).to_vec();
        if self.provider == "acp" {
            // Only the caller of `loomd run acp` knows the argv of such an agent, so the command repeats it.
            command.push("--".to_owned());
            command.extend(self.program.clone());
        }
        let mut takeovers = self.adapter.takeovers(info);
        if self.adapter.can_resume() && !takeovers.iter().any(|takeover| takeover.kind == TakeoverKind::ReplayCommand) {
            takeovers.push(kind::resumable_takeover(info, TakeoverKind::ReplayCommand, command, &self.cwd, None));
        }
        takeovers
    }

    pub(super) fn log_state(&mut self, state: RunState, turn: Option<u64>, end: Option<TurnEnd>) {
        self.actions.push_back(Action::Log(EntryBody::State { state, turn, end }));
    }

    pub(super) fn report_queue_length(&mut self) {
        self.actions.push_back(Action::QueueLength(self.queue_length() as u64));
    }

    /// How many prompts wait for a turn. The first one has its turn from the beginning.
    pub(super) fn queue_length(&self) -> usize {
        self.queued.len().saturating_sub(usize::from(self.first_prompt_is_due))
    }

    /// Whether the prompt of a later turn was sent to a program that was about to end.
    pub(super) fn was_never_accepted(&self) -> bool {
        self.in_turn && self.turn > 1 && self.pending_prompt.is_some()
    }

    pub(super) fn report_dropped_prompts(&mut self, count: usize, reason: &str) {
        if count > 0 {
            self.report_queue_length();
            let prompts = if count == 1 { "a queued prompt was".to_owned() } else { format!("{count} queued prompts were") };
            self.out.notice(Severity::Warning, &format!("{prompts} dropped because {reason}"), None);
        }
    }

    pub(super) fn final_state(&self, exit: &Exit, stderr: &str) -> FinalState {
        let is_unlogged = self.turn > self.last_logged_turn;
        let turn = is_unlogged.then_some(self.turn).filter(|turn| *turn > 0);
        let usage = self.last_turn_end.as_ref().and_then(|end| end.usage).filter(|_| is_unlogged && !self.in_turn);
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
        if self.in_turn {
            if self.interrupted {
                return FinalState { state: RunState::Cancelled, stop_reason: "cancelled".to_owned(), error: None, turn, usage };
            }
            // The program was about to end when it was sent this prompt: the reason is in the turn before.
            if let Some(error) = self.last_turn_end.as_ref().and_then(|end| end.error.clone()).filter(|_| self.was_never_accepted()) {
                return failed(error);
            }
            let how = match (exit.code, &exit.signal) {
                (Some(code), _) => format!("with code {code}"),
                (None, Some(signal)) => format!("by {signal}"),
                (None, None) => "for an unknown reason".to_owned(),
            };
            let message = format!("{} ended {how} during its turn", self.provider);
            return failed(RunError { kind: "provider".to_owned(), message });
        }
        match &self.last_turn_end {
            Some(TurnEnd { error: Some(error), .. }) => failed(error.clone()),
            // A turn that the provider cancelled did not succeed either, for example because a person chose an option
            // that cancels it.
            Some(end) if (self.interrupted || end.stop_reason == "cancelled") && !self.interactive => {
                FinalState { state: RunState::Cancelled, stop_reason: end.stop_reason.clone(), error: None, turn, usage }
            }
            Some(end) => FinalState { state: RunState::Succeeded, stop_reason: end.stop_reason.clone(), error: None, turn, usage },
            None if self.ready => FinalState { state: RunState::Succeeded, stop_reason: "end_turn".to_owned(), error: None, turn, usage },
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

/// Appends the end of what the program wrote to stderr, which is often the reason for a person.
fn with_stderr(mut error: RunError, stderr: &str) -> RunError {
    let tail = stderr.trim();
    if !tail.is_empty() && !error.message.contains(tail) {
        error.message = format!("{}; end of stderr: {tail}", error.message);
    }
    error
}
