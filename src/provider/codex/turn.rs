//! The running turn: which it is, and which prompts Codex has taken.

use std::collections::VecDeque;

/// Where the turn stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    None,
    /// It was asked for; Codex has not named it yet.
    Asked,
    Runs(String),
}

/// A prompt that was put into the running turn.
struct Steer {
    /// The request that carries it.
    request: u64,
    /// It belongs to an answer, which tells of it in the log.
    is_silent: bool,
}

/// The running turn.
#[derive(Default)]
pub struct Turn {
    pub stage: Stage,
    /// A client wants it stopped; it is told to Codex as soon as the turn has a name.
    pub is_unwanted: bool,
    /// Its own prompt was taken.
    taken: bool,
    /// The prompts that were put into it and have not been taken, oldest first.
    steers: VecDeque<Steer>,
    /// The echo of its prompt has been seen, or was not waited for.
    echoed: bool,
    /// The message of a user that was seen last: it comes at its beginning and at its end.
    last_echo: Option<String>,
    /// The turn that was over last.
    over: Option<String>,
}

impl Turn {
    /// A turn begins. `taken`: nobody here asked for it.
    pub fn begin(&mut self, stage: Stage, taken: bool) {
        let over = self.over.take();
        *self = Self { stage, taken, echoed: taken, over, ..Self::default() };
    }

    pub fn end(&mut self) {
        let over = match std::mem::take(&mut self.stage) {
            Stage::Runs(id) => Some(id),
            Stage::None | Stage::Asked => self.over.take(),
        };
        *self = Self { over, ..Self::default() };
    }

    pub fn is(&self, id: &str) -> bool {
        matches!(&self.stage, Stage::Runs(running) if running == id)
    }

    /// It has ended already: what is said of it now is an echo of the past.
    pub fn was(&self, id: &str) -> bool {
        self.over.as_deref() == Some(id)
    }

    pub fn steered(&mut self, request: u64, is_silent: bool) {
        self.steers.push_back(Steer { request, is_silent });
    }

    /// A user's message came back. Whether a prompt was taken by that.
    pub fn echo(&mut self, item: &str) -> bool {
        if self.last_echo.as_deref() == Some(item) {
            return false;
        }
        self.last_echo = Some(item.to_owned());
        if !std::mem::replace(&mut self.echoed, true) {
            return !std::mem::replace(&mut self.taken, true);
        }
        self.steers.pop_front().is_some_and(|steer| !steer.is_silent)
    }

    /// Codex works on the turn, so it has its prompt. Whether that was not known yet.
    pub fn works(&mut self) -> bool {
        !std::mem::replace(&mut self.taken, true)
    }

    /// A prompt was refused: its place among those that were given and not taken, unless it is known by other means.
    pub fn refused(&mut self, request: u64) -> Option<Refused> {
        let index = self.steers.iter().position(|steer| steer.request == request)?;
        let before = self.steers.iter().take(index).filter(|steer| !steer.is_silent).count();
        let steer = self.steers.remove(index)?;
        Some(if steer.is_silent { Refused::Silent } else { Refused::Prompt { place: before + usize::from(!self.taken) } })
    }

    /// The requests of all prompts that were not taken.
    pub fn waiting(&self) -> Vec<u64> {
        self.steers.iter().map(|steer| steer.request).collect()
    }
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Prompt { place: usize },
    Silent,
}
