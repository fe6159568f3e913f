//! The prompts that wait for a turn, each under a number by which it can be taken back.

use std::collections::VecDeque;

use crate::model::{calls::QueuedPrompt, task::ContentBlocks};

/// Prompts in the order of their turns.
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
