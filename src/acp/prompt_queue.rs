//! The prompts of one session that wait for the end of a turn, and which turn each of them belongs to.
//!
//! `run/send` does not tell in which turn a prompt will be taken, and prompts of other clients stand in the same queue.
//! But each prompt is logged when the agent takes it. So a prompt belongs to the turn in which its own text is logged.

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::wire::turn_failure;
use crate::model::{Failure, RunError, entry::StateEntry, state::RunState, task::ContentBlocks};

/// How a prompt ended: ACP's stop reason, or why it failed.
pub(super) type PromptOutcome = Result<String, Failure>;

/// A prompt that waits for the end of its turn.
struct WaitingPrompt {
    number: u64,
    /// What was sent to the agent; none, where the client only follows a turn.
    blocks: ContentBlocks,
    /// The turn that it belongs to, once that is known.
    turn: Option<u64>,
    done: oneshot::Sender<PromptOutcome>,
}

/// The waiting prompts of a session, oldest first.
#[derive(Default)]
pub(super) struct PromptQueue {
    waiting: Vec<WaitingPrompt>,
    count: u64,
    /// What this client put into a running turn, and the log has not told yet.
    steered: Vec<ContentBlocks>,
    has_turns: bool,
    turn: u64,
    is_running: bool,
    /// A prompt was logged in the running turn.
    was_taken: bool,
    /// The message in which the client's own prompt is being told; the client shows that already.
    own_message: Option<String>,
}

/// An answer that is due.
pub(super) struct DueAnswer {
    pub(super) done: oneshot::Sender<PromptOutcome>,
    pub(super) outcome: PromptOutcome,
}

impl PromptQueue {
    /// Adds a prompt that is about to be sent. The number takes it back.
    pub(super) fn push(&mut self, blocks: ContentBlocks) -> (u64, oneshot::Receiver<PromptOutcome>) {
        self.add(blocks, None)
    }

    /// Adds a prompt that ends with the running turn. `None`: none runs.
    pub(super) fn follow(&mut self) -> Option<oneshot::Receiver<PromptOutcome>> {
        self.is_running.then(|| self.add(Vec::new(), Some(self.turn)).1)
    }

    fn add(&mut self, blocks: ContentBlocks, turn: Option<u64>) -> (u64, oneshot::Receiver<PromptOutcome>) {
        let (done, outcome) = oneshot::channel();
        self.count += 1;
        self.waiting.push(WaitingPrompt { number: self.count, blocks, turn, done });
        (self.count, outcome)
    }

    /// Removes a prompt that could not be sent.
    pub(super) fn remove(&mut self, number: u64) {
        self.waiting.retain(|prompt| prompt.number != number);
    }

    /// Notes a prompt that goes into the running turn.
    pub(super) fn steer(&mut self, blocks: ContentBlocks) {
        self.steered.push(blocks);
    }

    /// A prompt that was meant for the running turn waits for one of its own; nobody is told when that ends.
    pub(super) fn queue_steered(&mut self, blocks: &ContentBlocks) {
        if self.take_steered(blocks) {
            drop(self.push(blocks.clone()));
        }
    }

    /// Forgets a prompt that was meant for the running turn. False: the log has told it already.
    pub(super) fn take_steered(&mut self, blocks: &ContentBlocks) -> bool {
        let at = self.steered.iter().position(|steered| steered == blocks);
        at.map(|at| self.steered.remove(at)).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Another run follows in the session: its turns are counted anew. A run that has none is one turn.
    pub(super) fn begin_run(&mut self, has_turns: bool) {
        (self.has_turns, self.turn, self.is_running, self.was_taken, self.own_message) = (has_turns, 0, false, false, None);
    }

    /// Takes an update of the log. True: it is this client's own prompt, which the client shows already.
    pub(super) fn is_own_prompt(&mut self, update: &Map<String, Value>) -> bool {
        if update.get("sessionUpdate").and_then(Value::as_str) != Some("user_message_chunk") {
            return false;
        }
        let message = update.get("messageId").and_then(Value::as_str);
        if self.own_message.is_some() && self.own_message.as_deref() == message {
            return true;
        }
        let content = update.get("content").unwrap_or(&Value::Null);
        if let Some(at) = self.steered.iter().position(|blocks| begins_with(blocks, content)) {
            self.steered.remove(at);
        } else {
            self.was_taken = true;
            let is_ours = |prompt: &&mut WaitingPrompt| prompt.turn.is_none() && begins_with(&prompt.blocks, content);
            let Some(prompt) = self.waiting.iter_mut().find(is_ours) else { return false };
            prompt.turn = Some(self.turn);
        }
        self.own_message = message.map(str::to_owned);
        true
    }

    /// Takes a change of the run's state, and returns the answers that are due now.
    pub(super) fn change_state(&mut self, entry: &StateEntry) -> Vec<DueAnswer> {
        match entry.state {
            RunState::Starting => Vec::new(),
            RunState::Running | RunState::AwaitingPermission => {
                if let Some(turn) = entry.turn.filter(|turn| *turn > self.turn) {
                    (self.turn, self.was_taken) = (turn, false);
                }
                // Before its first turn an agent runs too, and can be given nothing.
                self.is_running = !self.has_turns || self.turn > 0;
                Vec::new()
            }
            RunState::Idle if entry.stop_reason.is_none() => {
                self.is_running = false;
                Vec::new()
            }
            _ => self.end_turn(entry),
        }
    }

    fn end_turn(&mut self, entry: &StateEntry) -> Vec<DueAnswer> {
        self.is_running = false;
        self.own_message = None;
        // The agent did not take the turn's prompt, so that it is not in the log. It was the oldest one that waited.
        if !self.was_taken
            && entry.stop_reason.is_some()
            && let Some(prompt) = self.waiting.iter_mut().find(|prompt| prompt.turn.is_none())
        {
            prompt.turn = Some(self.turn);
        }
        let is_final = entry.state.is_final();
        let due = self.waiting.extract_if(.., |prompt| is_final || prompt.turn.is_some_and(|turn| turn <= self.turn));
        due.map(|prompt| {
            let outcome = if prompt.turn.is_some() { outcome(entry) } else { Err(untaken(entry)) };
            DueAnswer { done: prompt.done, outcome }
        })
        .collect()
    }

    /// Gives up all prompts: the client opened the session again.
    pub(super) fn clear(&mut self) -> Vec<DueAnswer> {
        self.steered.clear();
        let failure = Failure::internal("the session was opened again; `/follow` waits for its running turn");
        self.waiting.drain(..).map(|prompt| DueAnswer { done: prompt.done, outcome: Err(failure.clone()) }).collect()
    }
}

/// Whether a logged block is the first one of a prompt. A long text is logged in pieces.
fn begins_with(blocks: &ContentBlocks, content: &Value) -> bool {
    let Some(first) = blocks.first() else { return false };
    match (first.get("text").and_then(Value::as_str), content["text"].as_str()) {
        (Some(sent), Some(logged)) => !logged.is_empty() && sent.starts_with(logged) || sent == logged,
        _ => content.as_object() == Some(first),
    }
}

/// What the end of a turn means for its prompt.
fn outcome(entry: &StateEntry) -> PromptOutcome {
    match (entry.stop_reason.as_deref(), entry.state) {
        (Some("error"), _) | (None, RunState::Failed | RunState::TimedOut | RunState::Lost) => Err(turn_failure(&error_of(entry))),
        (Some(reason), _) => Ok(reason.to_owned()),
        (None, RunState::Cancelled) => Ok("cancelled".to_owned()),
        (None, _) => Ok("end_turn".to_owned()),
    }
}

fn untaken(entry: &StateEntry) -> Failure {
    match &entry.error {
        Some(error) => turn_failure(error),
        None => Failure::internal("the run ended before it took this prompt; send it again"),
    }
}

fn error_of(entry: &StateEntry) -> RunError {
    let unnamed = || RunError { kind: "provider".to_owned(), message: format!("the run ended as {}", entry.state.as_str()) };
    entry.error.clone().unwrap_or_else(unnamed)
}

#[cfg(test)]
#[path = "prompt_queue_tests.rs"]
mod tests;
