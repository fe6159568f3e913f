//! The running turn: its id, the prompts that Codex has taken, and the tokens that it used.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Sub,
};

use serde_json::Value;

use crate::model::Usage;

/// Where the turn stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TurnStage {
    #[default]
    None,
    /// `turn/start` was sent, and Codex has not sent the turn's id yet.
    Requested,
    Running(String),
}

/// A prompt that was sent into the running turn by `turn/steer`.
struct Steer {
    /// The id of its request.
    request: u64,
    /// It carries the message of a permission answer. The log has that message in the entry of the answer, so no
    /// prompt is logged for it.
    is_silent: bool,
}

/// The running turn.
#[derive(Default)]
pub(crate) struct CodexTurn {
    pub(crate) stage: TurnStage,
    /// A client interrupts the turn. `turn/interrupt` needs the id of the turn, so it may have to wait for it.
    pub(crate) is_interrupt_requested: bool,
    /// Codex has taken the prompt of the turn.
    is_taken: bool,
    /// The steers that Codex has not taken, oldest first.
    steers: VecDeque<Steer>,
    /// The user message of the turn's own prompt has come back, or none is expected.
    has_echo: bool,
    /// The user message that came back last. Codex sends each twice, when the item starts and when it is completed.
    last_echo: Option<String>,
    /// The id of the turn that ended last.
    last_ended: Option<String>,
}

impl CodexTurn {
    /// A turn begins. `is_taken` is for a turn that Codex started by itself: it has no prompt of ours to wait for.
    pub(crate) fn begin(&mut self, stage: TurnStage, is_taken: bool) {
        let last_ended = self.last_ended.take();
        *self = Self { stage, is_taken, has_echo: is_taken, last_ended, ..Self::default() };
    }

    /// The turn has ended.
    pub(crate) fn end(&mut self) {
        let last_ended = match std::mem::take(&mut self.stage) {
            TurnStage::Running(id) => Some(id),
            TurnStage::None | TurnStage::Requested => self.last_ended.take(),
        };
        *self = Self { last_ended, ..Self::default() };
    }

    pub(crate) fn is_running(&self, id: &str) -> bool {
        matches!(&self.stage, TurnStage::Running(running) if running == id)
    }

    /// Whether this turn has ended already. Whatever Codex still sends for it is late.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.last_ended.as_deref() == Some(id)
    }

    pub(crate) fn push_steer(&mut self, request: u64, is_silent: bool) {
        self.steers.push_back(Steer { request, is_silent });
    }

    /// A user message came back. Returns whether it is a prompt that counts as taken by it and has to be logged.
    pub(crate) fn take_echo(&mut self, item: &str) -> bool {
        if self.last_echo.as_deref() == Some(item) {
            return false;
        }
        self.last_echo = Some(item.to_owned());
        if !std::mem::replace(&mut self.has_echo, true) {
            return !std::mem::replace(&mut self.is_taken, true);
        }
        self.steers.pop_front().is_some_and(|steer| !steer.is_silent)
    }

    /// Codex works on the turn, so it has taken the prompt. Returns whether that is new.
    pub(crate) fn mark_taken(&mut self) -> bool {
        !std::mem::replace(&mut self.is_taken, true)
    }

    /// Codex refused a steer, or the turn ended before it was taken. `None` if it is not pending.
    pub(crate) fn take_refused(&mut self, request: u64) -> Option<RefusedSteer> {
        let index = self.steers.iter().position(|steer| steer.request == request)?;
        let before = self.steers.iter().take(index).filter(|steer| !steer.is_silent).count();
        let steer = self.steers.remove(index)?;
        Some(if steer.is_silent { RefusedSteer::Silent } else { RefusedSteer::Prompt { index: before + usize::from(!self.is_taken) } })
    }

    /// The requests of all pending steers.
    pub(crate) fn pending_steers(&self) -> Vec<u64> {
        self.steers.iter().map(|steer| steer.request).collect()
    }
}

/// A steer that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedSteer {
    /// A prompt; `index` counts the prompts that were sent and not taken, oldest first.
    Prompt { index: usize },
    /// The message of a permission answer.
    Silent,
}

/// Token usage of the run's thread and of the threads of its sub-agents.
///
/// Codex reports the totals of a thread, which continue over resumes. The usage of a turn is what they grew by.
#[derive(Debug, Default)]
pub(crate) struct TokenUsage {
    at_turn_start: BTreeMap<String, Totals>,
    latest: BTreeMap<String, Totals>,
    has_grown: bool,
}

/// The totals of a thread.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    input: u64,
    output: u64,
    cached: u64,
}

impl TokenUsage {
    /// A thread's `tokenUsage`. `in_turn` says whether it counts for the running turn.
    pub(crate) fn update(&mut self, thread: &str, usage: &Value, in_turn: bool) {
        let total = Totals::of(&usage["total"]);
        let at_turn_start = if in_turn { total - Totals::of(&usage["last"]) } else { total };
        if in_turn {
            // A thread that is first reported in a turn may have a history, so only `last` counts for the turn.
            self.at_turn_start.entry(thread.to_owned()).or_insert(at_turn_start);
        } else {
            self.at_turn_start.insert(thread.to_owned(), at_turn_start);
        }
        self.latest.insert(thread.to_owned(), total);
        self.has_grown |= in_turn;
    }

    /// The turn has ended. Returns its usage if Codex reported any.
    pub(crate) fn turn_ended(&mut self) -> Option<Usage> {
        let growth = self.latest.iter().map(|(thread, latest)| *latest - self.at_turn_start.get(thread).copied().unwrap_or_default());
        let sum = growth.fold(Totals::default(), |sum, growth| Totals {
            input: sum.input.saturating_add(growth.input),
            output: sum.output.saturating_add(growth.output),
            cached: sum.cached.saturating_add(growth.cached),
        });
        self.at_turn_start = self.latest.clone();
        std::mem::take(&mut self.has_grown).then_some(Usage {
            input_tokens: Some(sum.input),
            output_tokens: Some(sum.output),
            cached_input_tokens: Some(sum.cached),
            cost_usd: None,
        })
    }
}

impl Totals {
    fn of(counts: &Value) -> Self {
        let count = |name: &str| counts[name].as_u64().unwrap_or_default();
        Self { input: count("inputTokens"), output: count("outputTokens"), cached: count("cachedInputTokens") }
    }
}

impl Sub for Totals {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            input: self.input.saturating_sub(earlier.input),
            output: self.output.saturating_sub(earlier.output),
            cached: self.cached.saturating_sub(earlier.cached),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usage(total: u64, last: u64) -> Value {
        let counts = |input: u64| json!({ "inputTokens": input, "outputTokens": input / 10, "cachedInputTokens": 1 });
        json!({ "total": counts(total), "last": counts(last) })
    }

    fn input(token_usage: &mut TokenUsage) -> Option<u64> {
        token_usage.turn_ended().and_then(|usage| usage.input_tokens)
    }

    #[test]
    fn each_turn_has_its_own_share() {
        let mut token_usage = TokenUsage::default();
        token_usage.update("t", &usage(1000, 1000), true);
        token_usage.update("t", &usage(3000, 2000), true);
        assert_eq!(input(&mut token_usage), Some(3000));
        token_usage.update("t", &usage(3500, 500), true);
        assert_eq!(input(&mut token_usage), Some(500));
        assert_eq!(input(&mut token_usage), None, "Codex reported nothing for a third turn");
    }

    #[test]
    fn usage_before_the_run_does_not_count() {
        let mut token_usage = TokenUsage::default();
        token_usage.update("t", &usage(2000, 1000), false);
        token_usage.update("t", &usage(2600, 600), true);
        assert_eq!(input(&mut token_usage), Some(600));
        let mut silent = TokenUsage::default();
        silent.update("t", &usage(2600, 600), true);
        assert_eq!(input(&mut silent), Some(600), "an older program reports no totals when it resumes");
    }

    #[test]
    fn sub_agents_count() {
        let mut token_usage = TokenUsage::default();
        token_usage.update("t", &usage(1000, 1000), true);
        token_usage.update("child", &usage(70, 70), true);
        assert_eq!(input(&mut token_usage), Some(1070));
    }
}
