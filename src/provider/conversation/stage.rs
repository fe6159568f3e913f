//! How far a conversation is: whether its program takes prompts, and whether clients may send any.

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
