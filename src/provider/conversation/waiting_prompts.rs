//! The prompts that wait for a turn of their own.

use std::collections::VecDeque;

use crate::model::{calls::QueuedPrompt, task::ContentBlocks};

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

    /// All of them, the next one first.
    pub(super) fn list(&self) -> Vec<QueuedPrompt> {
        self.prompts.iter().cloned().collect()
    }

    /// Adds a prompt behind the others. Returns its number.
    pub(super) fn push_back(&mut self, prompt: ContentBlocks) -> u64 {
        let queued = self.number(prompt);
        self.prompts.push_back(queued);
        self.last_id
    }

    pub(super) fn push_front(&mut self, prompt: ContentBlocks) {
        let queued = self.number(prompt);
        self.prompts.push_front(queued);
    }

    fn number(&mut self, prompt: ContentBlocks) -> QueuedPrompt {
        self.last_id += 1;
        QueuedPrompt { prompt_id: self.last_id, prompt }
    }

    pub(super) fn pop_front(&mut self) -> Option<ContentBlocks> {
        Some(self.prompts.pop_front()?.prompt)
    }

    /// Takes one of them back.
    pub(super) fn take(&mut self, prompt_id: u64) -> Option<QueuedPrompt> {
        let position = self.prompts.iter().position(|queued| queued.prompt_id == prompt_id)?;
        self.prompts.remove(position)
    }

    pub(super) fn clear(&mut self) {
        self.prompts.clear();
    }
}
