//! The modes and the size of a terminal that this process was given.

use std::os::fd::AsFd;

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

use crate::model::TerminalSize;

/// How a terminal treats what is typed.
#[derive(Clone, Debug)]
pub(crate) struct TerminalModes(Termios);

impl TerminalModes {
    /// Those of a terminal now. `None`: it is none, or it is gone.
    pub(crate) fn of(terminal: impl AsFd) -> Option<Self> {
        tcgetattr(terminal).ok().map(Self)
    }

    /// The same, but each key comes by itself and is not echoed.
    pub(crate) fn key_by_key(&self) -> Self {
        let mut modes = self.0.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        Self(modes)
    }

    /// Gives them to a terminal. `false`: it is gone.
    pub(crate) fn set(&self, terminal: impl AsFd) -> bool {
        tcsetattr(terminal, OptionalActions::Now, &self.0).is_ok()
    }
}

/// Drops what was typed and not read yet.
pub(crate) fn drop_input(terminal: impl AsFd) {
    // Only a terminal that is gone refuses this, and then there are no keys either.
    tcflush(terminal, QueueSelector::IFlush).ok();
}

/// Whether this process is in the foreground: a program in the background must not touch its terminal.
pub(crate) fn is_in_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// How many rows and columns a terminal has; each may be 0 where it does not know.
pub(crate) fn size(terminal: impl AsFd) -> Option<TerminalSize> {
    tcgetwinsize(terminal).ok().map(|size| TerminalSize { rows: size.ws_row, cols: size.ws_col })
}
