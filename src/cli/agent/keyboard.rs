//! The keyboard of our terminal: a line at a time, as the terminal edits it, or a single key for a question.
//!
//! It is read only while something is asked: what is typed at other times is for whoever reads next, as with any program.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::getpgrp,
    termios::{LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Most bytes of one look.
const PIECE: usize = 64 << 10;

/// Our terminal's keys.
pub struct Keyboard {
    terminal: AsyncFd<File>,
    usual: Termios,
    takes_keys: bool,
}

impl Keyboard {
    /// `None`: stdin is no terminal, or one that cannot be waited for.
    pub fn open() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let usual = tcgetattr(&stdin).ok()?;
        let terminal = File::from(stdin.as_fd().try_clone_to_owned().ok()?);
        #[expect(deprecated, reason = "what replaces it is unsafe, to promise what a file keeps: one descriptor, open as long as it lives")]
        let terminal = AsyncFd::with_interest(terminal, Interest::READABLE).ok()?;
        Some(Self { terminal, usual, takes_keys: false })
    }

    /// Whether keys are for us: a program in the background must not touch its terminal.
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(self.terminal.get_ref()).is_ok_and(|group| group == getpgrp())
    }

    /// From now on each key comes by itself and is not shown. What was typed before is forgotten: it was no answer.
    pub fn take_keys(&mut self) {
        let mut modes = self.usual.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        self.takes_keys = tcsetattr(self.terminal.get_ref(), OptionalActions::Now, &modes).is_ok();
        tcflush(self.terminal.get_ref(), QueueSelector::IFlush).ok();
    }

    /// The terminal is again as it was.
    pub fn take_lines(&mut self) {
        if std::mem::take(&mut self.takes_keys) {
            tcsetattr(self.terminal.get_ref(), OptionalActions::Now, &self.usual).ok();
        }
    }

    /// The next piece: a line, or the bytes of a key. Empty: the end of the input. Dropping the future loses nothing.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.terminal.readable().await?;
            // The terminal is shared, so it is never made non-blocking: only what is there is read.
            let mut look = [PollFd::new(ready.get_inner(), PollFlags::IN)];
            if poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0) == 0 {
                ready.clear_ready();
                continue;
            }
            let mut piece = vec![0; PIECE];
            match rustix::io::read(ready.get_inner(), &mut piece) {
                Ok(length) => {
                    piece.truncate(length);
                    return Ok(piece);
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.take_lines();
    }
}

/// What a piece of input means for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Escape,
    /// Several at once (an arrow, something pasted): no answer to anything.
    Other,
}

impl Key {
    pub fn of(piece: &[u8]) -> Self {
        match std::str::from_utf8(piece).map(|text| (text.chars().next(), text.chars().count())) {
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
