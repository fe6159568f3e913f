//! How far a conversation is: whether its program takes prompts, whether clients may send any, and which ones wait.

use crate::model::{calls::QueuedPrompt, task::ContentBlocks};
use std::collections::VecDeque;

/// How far the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It takes no prompt yet.
    Starting,
    Ready,
    /// It was asked to end, or has ended: no prompt follows.
    Finishing {
        was_ready: bool,
    },
}

impl Stage {
    pub(super) fn is_finishing(self) -> bool {
        matches!(self, Self::Finishing { .. })
    }

    pub(super) fn has_been_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Finishing { was_ready: true })
    }

    pub(super) fn ready(self) -> Self {
        if self.is_finishing() { Self::Finishing { was_ready: true } } else { Self::Ready }
    }

    pub(super) fn finishing(self) -> Self {
        Self::Finishing { was_ready: self.has_been_ready() }
    }
}

/// What becomes of prompts that clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    Open,
    /// No more are taken; those that are queued have their turns.
    Closed,
    /// The run is being ended: those that the adapter returns are dropped, too.
    Stopped,
}

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
