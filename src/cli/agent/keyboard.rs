//! The keyboard of a terminal: whole lines, as the terminal edits them, or single keys that answer a permission
//! request.
//!
//! It is read only while there is a prompt. What is typed at other times stays in the terminal for the next reader, as
//! with any program.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::process::descriptor::{self, TerminalModes};

/// Most bytes of one read.
const MAX_READ_BYTES: usize = 64 << 10;

/// The keyboard of our stdin.
pub(crate) struct Keyboard {
    terminal: AsyncFd<File>,
    original_modes: TerminalModes,
    is_in_key_mode: bool,
}

impl Keyboard {
    /// `None`: stdin is no terminal, or one whose input cannot be awaited.
    pub(crate) fn open() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let original_modes = TerminalModes::of(&stdin)?;
        let terminal = File::from(stdin.as_fd().try_clone_to_owned().ok()?);
        #[expect(deprecated, reason = "what replaces it is unsafe, to promise what a file keeps: one descriptor, open as long as it lives")]
        let terminal = AsyncFd::with_interest(terminal, Interest::READABLE).ok()?;
        Some(Self { terminal, original_modes, is_in_key_mode: false })
    }

    /// Whether we are in the foreground: a program in the background must not touch its terminal.
    pub(crate) fn is_ours(&self) -> bool {
        descriptor::is_in_foreground(self.terminal.get_ref())
    }

    /// From now on each key comes by itself and is not echoed. Keys that were pressed before are dropped: they were not
    /// meant as answers.
    pub(crate) fn enter_key_mode(&mut self) {
        self.is_in_key_mode = self.original_modes.key_by_key().set(self.terminal.get_ref());
        self.drop_input();
    }

    /// Drops what was typed and not read yet.
    pub(crate) fn drop_input(&self) {
        descriptor::drop_input(self.terminal.get_ref());
    }

    /// Gives the terminal its modes back.
    pub(crate) fn leave_key_mode(&mut self) {
        if std::mem::take(&mut self.is_in_key_mode) {
            // A terminal that is gone has no modes.
            self.original_modes.set(self.terminal.get_ref());
        }
    }

    /// The next input: a line, or the bytes of a key. Empty: the end of the input. Dropping the future loses nothing.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.terminal.readable().await?;
            // Other processes share the terminal's description, so it is never made non-blocking. We read only when
            // `poll` says that there is input.
            if !descriptor::has_input(ready.get_inner()) {
                ready.clear_ready();
                continue;
            }
            let mut bytes = vec![0; MAX_READ_BYTES];
            match descriptor::read(ready.get_inner(), &mut bytes) {
                Ok(length) => {
                    bytes.truncate(length);
                    return Ok(bytes);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.leave_key_mode();
    }
}

/// What an input means for a permission request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Escape,
    /// Several characters at once (an arrow key, pasted text), which answer nothing.
    Other,
}

impl Key {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes).map(|text| (text.chars().next(), text.chars().count())) {
            Ok((Some('\x1b'), 1)) => Self::Escape,
            Ok((Some(key), 1)) => Self::Char(key),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_key_answers() {
        assert_eq!(Key::of(b"y"), Key::Char('y'));
        assert_eq!(Key::of(b"\x1b"), Key::Escape);
        assert_eq!(Key::of(b"\x1b[A"), Key::Other);
        assert_eq!(Key::of(b"yes"), Key::Other);
        assert_eq!(Key::of("ß".as_bytes()), Key::Char('ß'));
    }
}
