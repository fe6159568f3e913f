//! What a person types: the keys that send signals, and stdin as text.

use std::io::{self, BufRead, Read};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::render;
use crate::{
    log::text::unfinished_char_len,
    model::{Failure, TerminalSize},
    process::descriptor,
};

/// Longest chunk of a line.
const MAX_CHUNK_BYTES: u64 = 64 << 10;

/// Most chunks that wait to be sent.
const MAX_QUEUED_CHUNKS: usize = 4;

/// Chunks of stdin as text, until its end.
pub(crate) type StdinChunks = mpsc::Receiver<Result<String, Failure>>;

/// Starts to read stdin in a thread, which ends with stdin or with the process.
pub(crate) fn stdin_chunks() -> StdinChunks {
    let (sender, stdin_chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
    std::thread::spawn(move || {
        let mut reader = TextReader::of(io::stdin().lock());
        while let Some(chunk) = reader.next().transpose() {
            if sender.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    stdin_chunks
}

/// Whether our stdin is a pipe or a file with bytes that nobody has read.
pub(crate) fn has_unread_input() -> bool {
    descriptor::has_unread_bytes(io::stdin())
}

/// Reads text in chunks: a line, or a part of a long one.
pub(crate) struct TextReader<R> {
    reader: R,
    /// The beginning of a character whose rest comes with the next chunk.
    incomplete: Vec<u8>,
}

impl<R: BufRead> TextReader<R> {
    pub(crate) fn of(reader: R) -> Self {
        Self { reader, incomplete: Vec::new() }
    }

    /// The next chunk; `None` at the end. `run/send` takes text, so bytes that are not UTF-8 are a failure.
    pub(crate) fn next(&mut self) -> Result<Option<String>, Failure> {
        let mut chunk = std::mem::take(&mut self.incomplete);
        let read = (&mut self.reader).take(MAX_CHUNK_BYTES).read_until(b'\n', &mut chunk);
        let read = read.map_err(|error| Failure::internal(format!("cannot read stdin: {error}")))?;
        if read > 0 {
            self.incomplete = chunk.split_off(chunk.len() - unfinished_char_len(&chunk));
            if chunk.is_empty() {
                return self.next();
            }
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        let not_text = |_| Failure::invalid_params("text", "stdin is not valid UTF-8, and only text can be sent to a run");
        String::from_utf8(chunk).map(Some).map_err(not_text)
    }
}

/// What the person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserAction {
    /// The first Ctrl-C: interrupt the program, as at its own terminal, or the agent's turn.
    Interrupt,
    /// The second Ctrl-C: end the run.
    Cancel,
    /// Every further Ctrl-C: kill the run at once.
    Kill,
    /// Ctrl-\: detach. The run continues.
    Detach,
    /// SIGTERM: detach as well, but exit as a program that SIGTERM ended, so that its sender sees it.
    Terminate,
    /// SIGHUP: the terminal was closed.
    HangUp,
}

/// Receives the signals of keys. From `listen` on, they no longer have their default effect.
pub(crate) struct Keys {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
    interrupts: u32,
    pending_action: Option<UserAction>,
}

impl Keys {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupts: 0,
            pending_action: None,
        })
    }

    /// The next action. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> UserAction {
        if let Some(action) = self.pending_action.take() {
            return action;
        }
        tokio::select! {
            _ = self.interrupt.recv() => {
                self.interrupts += 1;
                nth_interrupt(self.interrupts)
            }
            _ = self.quit.recv() => UserAction::Detach,
            _ = self.terminate.recv() => UserAction::Terminate,
            _ = self.hang_up.recv() => UserAction::HangUp,
        }
    }

    /// Makes the next Ctrl-C a first one, because what was interrupted is over.
    pub(crate) fn reset_interrupts(&mut self) {
        self.interrupts = 0;
    }

    /// Returns an action that could not be carried out yet. `next` returns it again.
    pub(crate) fn put_back(&mut self, action: UserAction) {
        self.pending_action = Some(action);
    }
}

/// Changes of the size of our terminal. From `listen` on, none is missed.
pub(crate) struct Resizes {
    signal: Signal,
}

impl Resizes {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { signal: signal(SignalKind::window_change())? })
    }

    /// Waits for the next change. `None` where we have no terminal.
    pub(crate) async fn next(&mut self) -> Option<TerminalSize> {
        self.signal.recv().await;
        render::terminal_size()
    }
}

/// The next change, where we follow them.
pub(crate) async fn next_size(resizes: &mut Option<Resizes>) -> Option<TerminalSize> {
    match resizes {
        Some(resizes) => resizes.next().await,
        None => std::future::pending().await,
    }
}

fn nth_interrupt(count: u32) -> UserAction {
    match count {
        1 => UserAction::Interrupt,
        2 => UserAction::Cancel,
        _ => UserAction::Kill,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(bytes: &[u8]) -> Result<Vec<String>, Failure> {
        let mut reader = TextReader::of(io::BufReader::with_capacity(7, bytes));
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn each_line_is_a_chunk_and_the_last_needs_no_line_end() {
        assert_eq!(chunks(b"one\n\ntwo"), Ok(vec!["one\n".to_owned(), "\n".to_owned(), "two".to_owned()]));
        assert_eq!(chunks(b""), Ok(vec![]));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = format!("x{}", "日".repeat(50_000));
        let found = chunks(long.as_bytes()).expect("text");
        assert!(found.len() > 1 && found.iter().all(|chunk| chunk.len() <= MAX_CHUNK_BYTES as usize + 3));
        assert_eq!(found.concat(), long);
    }

    #[test]
    fn only_unread_bytes_count_as_input() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        assert!(!descriptor::has_unread_bytes(&reader), "nothing was written");
        rustix::io::write(&writer, b"x").expect("written");
        assert!(descriptor::has_unread_bytes(&reader));
        rustix::io::read(&reader, &mut [0; 2]).expect("read");
        drop(writer);
        assert!(!descriptor::has_unread_bytes(&reader), "it was read");
        assert!(!descriptor::has_unread_bytes(std::fs::File::open("/dev/null").expect("opened")));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        assert!(chunks(b"a\xff\n").is_err());
        assert!(chunks(b"cut \xe6\x97").is_err());
    }

    #[test]
    fn each_further_interrupt_is_stronger() {
        assert_eq!([1, 2, 3, 4].map(nth_interrupt), [UserAction::Interrupt, UserAction::Cancel, UserAction::Kill, UserAction::Kill]);
    }
}
