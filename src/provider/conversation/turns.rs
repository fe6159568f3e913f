//! Turns and prompts: what follows from what the provider said.

use super::{Act, Body, Conversation};
use crate::{
    model::{RunState, Session, Takeover, TakeoverKind, entry::ResolvedBy},
    provider::{
        effect::{Effect, SessionNews, TurnEnd},
        out::Severity,
        terminal,
    },
};

impl Conversation {
    /// Works through everything that the adapter said, and what follows from it.
    pub(super) fn settle(&mut self) {
        loop {
            for effect in std::mem::take(&mut self.out.effects) {
                self.take(effect);
            }
            if self.out.effects.is_empty() && !self.go_on() {
                return;
            }
        }
    }

    pub(super) fn take(&mut self, effect: Effect) {
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

    pub(super) fn turn_ended(&mut self, end: TurnEnd) {
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

    pub(super) fn apply_configuration(&mut self) {
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

    pub(super) fn log_state(&mut self, state: RunState, turn: Option<u64>, end: Option<TurnEnd>) {
        self.acts.push_back(Act::Log(Body::State { state, turn, end }));
    }

    pub(super) fn tell_queue(&mut self) {
        self.acts.push_back(Act::Queued(self.waiting() as u64));
    }

    /// How many prompts wait for a turn. The first one has its turn from the beginning.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len().saturating_sub(usize::from(self.first_is_due))
    }

    /// A prompt of a later turn was given to a provider that was about to end.
    pub(super) fn never_taken(&self) -> bool {
        self.in_turn && self.turn > 1 && self.given.is_some()
    }

    pub(super) fn tell_dropped(&mut self, dropped: usize, why: &str) {
        if dropped > 0 {
            self.tell_queue();
            let prompts = if dropped == 1 { "a prompt that waited was".to_owned() } else { format!("{dropped} prompts that waited were") };
            self.out.notice(Severity::Warning, &format!("{prompts} dropped, for {why}"), None);
        }
    }
}
