//! What the run came to.

use super::{Conversation, Verdict};
use crate::{
    model::{RunError, RunState},
    provider::{adapter::Exit, effect::TurnEnd},
};

impl Conversation {
    pub(super) fn verdict(&self, exit: &Exit, stderr: &str) -> Verdict {
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
