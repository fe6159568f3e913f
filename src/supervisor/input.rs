//! Writes to the program's stdin: queues what servers send and writes it in order, as fast as the program reads.

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

use crate::{
    model::{Failure, FailureKind, TerminalSize},
    process::{
        descriptor,
        spawn::{self, register_fd},
    },
};

/// Bytes that may wait for the program: a message of the largest frame.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Answers of the terminal that may wait for a program that does not read.
const MAX_WAITING_REPLY_BYTES: usize = 4 << 10;

/// The connection and the request that are answered once their bytes were written.
pub(crate) type Waiter = (u64, u64);

/// The writing side of the program's stdin.
#[derive(Debug)]
pub(crate) struct StdinWriter {
    fd: Option<AsyncFd<OwnedFd>>,
    is_terminal: bool,
    /// A terminal stays open after its input was closed, for it answers what programs ask of it.
    is_closed: bool,
    queue: VecDeque<QueuedInput>,
    waiting: usize,
    /// The last byte that was queued; it decides how end-of-file is sent to a terminal.
    last_byte: u8,
}

#[derive(Debug)]
struct QueuedInput {
    bytes: Vec<u8>,
    written: usize,
    /// Stdin is closed after this item.
    closes: bool,
    is_reply: bool,
    waiter: Option<Waiter>,
}

impl StdinWriter {
    pub(crate) fn new(fd: Option<OwnedFd>, is_terminal: bool) -> io::Result<Self> {
        let fd = fd.map(register_fd).transpose()?;
        Ok(Self { fd, is_terminal, is_closed: false, queue: VecDeque::new(), waiting: 0, last_byte: b'\n' })
    }

    /// Queues text. The waiter is answered once the program has read it into its pipe.
    pub(crate) fn send(&mut self, bytes: Vec<u8>, waiter: Option<Waiter>) -> Result<(), Failure> {
        if !self.takes_more() {
            let message = "the run's stdin is closed; only an interactive run accepts input, and only until its input is closed";
            return Err(Failure::unsupported("send", message));
        }
        if self.waiting + bytes.len() > MAX_WAITING_BYTES {
            let message = "the program has not read its earlier input; wait until it has";
            return Err(Failure::new(FailureKind::Limit, message).with("limit", MAX_WAITING_BYTES));
        }
        self.last_byte = bytes.last().copied().unwrap_or(self.last_byte);
        self.push(bytes, false, waiter);
        Ok(())
    }

    /// Queues an answer of the terminal, unless too many wait already.
    pub(crate) fn reply(&mut self, bytes: Vec<u8>) {
        let waiting: usize = self.queue.iter().filter(|item| item.is_reply).map(|item| item.bytes.len()).sum();
        if self.is_terminal && self.fd.is_some() && waiting + bytes.len() <= MAX_WAITING_REPLY_BYTES {
            self.last_byte = bytes.last().copied().unwrap_or(self.last_byte);
            self.waiting += bytes.len();
            self.queue.push_back(QueuedInput { bytes, written: 0, closes: false, is_reply: true, waiter: None });
        }
    }

    pub(crate) fn set_terminal_size(&self, size: TerminalSize) {
        if let Some(fd) = &self.fd {
            // A terminal that nobody has open any more needs no size.
            spawn::set_terminal_size(fd.get_ref(), size).ok();
        }
    }

    /// Queues the end of the input. A terminal takes it as a character, which counts only at the beginning of a line.
    pub(crate) fn close(&mut self, waiter: Option<Waiter>) {
        let bytes = match &self.fd {
            Some(fd) if self.is_terminal && self.takes_more() => {
                let end = spawn::end_of_file_character(fd.get_ref());
                if self.last_byte == b'\n' { vec![end] } else { vec![end, end] }
            }
            _ => Vec::new(),
        };
        self.push(bytes, true, waiter);
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Waits until stdin may take more bytes.
    pub(crate) async fn writable(&self) {
        if let Some(fd) = &self.fd
            && let Ok(mut guard) = fd.writable().await
        {
            guard.retain_ready();
        }
    }

    /// Writes what stdin takes now. Returns the waiters whose bytes are written or refused, with the result of each.
    pub(crate) fn write(&mut self) -> Vec<(Waiter, Result<(), Failure>)> {
        let mut done = Vec::new();
        while let Some(item) = self.queue.front_mut() {
            let result = match &self.fd {
                _ if item.written == item.bytes.len() => Ok(()),
                Some(fd) => {
                    let rest = &item.bytes[item.written..];
                    let written = fd.try_io(tokio::io::Interest::WRITABLE, |fd| descriptor::write(fd, rest));
                    match written {
                        Ok(written) => {
                            item.written += written;
                            self.waiting -= written;
                            continue;
                        }
                        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return done,
                        Err(_) => Err(()),
                    }
                }
                None => Err(()),
            };
            let item = self.queue.pop_front().expect("it was just there");
            self.waiting -= item.bytes.len() - item.written;
            self.is_closed |= item.closes;
            if result.is_err() || (item.closes && !self.is_terminal) {
                self.fd = None;
            }
            let answer = result.or(if item.closes { Ok(()) } else { Err(()) });
            let answer = answer.map_err(|()| Failure::unsupported("send", "the program has closed its stdin; it accepts no more input"));
            done.extend(item.waiter.map(|waiter| (waiter, answer)));
        }
        done
    }

    /// Drops the queue at the end of the run and returns the waiters whose bytes no program will read.
    pub(crate) fn abandon(&mut self) -> Vec<Waiter> {
        self.fd = None;
        self.waiting = 0;
        self.queue.drain(..).filter_map(|item| item.waiter).collect()
    }

    pub(crate) fn takes_more(&self) -> bool {
        self.fd.is_some() && !self.is_closed && !self.queue.iter().any(|item| item.closes)
    }

    fn push(&mut self, bytes: Vec<u8>, closes: bool, waiter: Option<Waiter>) {
        self.waiting += bytes.len();
        self.queue.push_back(QueuedInput { bytes, written: 0, closes, is_reply: false, waiter });
    }
}
