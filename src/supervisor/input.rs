//! The program's stdin: what was sent, in order, written as the program takes it.

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

use crate::{
    model::{Failure, FailureKind},
    process::{ready, spawn},
};

/// Most bytes that may wait for the program: a message of the largest frame.
const WAITING_LIMIT: usize = 64 << 20;

/// Whom to answer once something was written.
pub type Waiter = (u64, u64);

/// The writing side.
#[derive(Debug)]
pub struct Stdin {
    fd: Option<AsyncFd<OwnedFd>>,
    is_terminal: bool,
    queue: VecDeque<Item>,
    waiting: usize,
    /// The last byte that was queued, for end-of-file on a terminal.
    last: u8,
}

#[derive(Debug)]
struct Item {
    bytes: Vec<u8>,
    written: usize,
    /// Close after this.
    closes: bool,
    waiter: Option<Waiter>,
}

impl Stdin {
    pub fn new(fd: Option<OwnedFd>, is_terminal: bool) -> io::Result<Self> {
        let fd = fd.map(ready::register).transpose()?;
        Ok(Self { fd, is_terminal, queue: VecDeque::new(), waiting: 0, last: b'\n' })
    }

    /// Queues text. The waiter is answered once the program has it.
    pub fn send(&mut self, bytes: Vec<u8>, waiter: Option<Waiter>) -> Result<(), Failure> {
        if !self.takes_more() {
            let message =
                "the run's stdin is closed; a run takes more only if it was started with `interactive: true`, and until `run/closeInput`";
            return Err(Failure::unsupported("send", message));
        }
        if self.waiting + bytes.len() > WAITING_LIMIT {
            let message = "the program does not read what it was sent; wait until it has";
            return Err(Failure::new(FailureKind::Limit, message).with("limit", WAITING_LIMIT));
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        self.push(bytes, false, waiter);
        Ok(())
    }

    /// Queues the end of the input. A terminal knows it as a character, which counts only at the beginning of a line.
    pub fn close(&mut self, waiter: Option<Waiter>) {
        let bytes = match &self.fd {
            Some(fd) if self.is_terminal && self.takes_more() => {
                let end = spawn::end_of_file_character(fd.get_ref());
                if self.last == b'\n' { vec![end] } else { vec![end, end] }
            }
            _ => Vec::new(),
        };
        self.push(bytes, true, waiter);
    }

    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Waits until the program may take more.
    pub async fn writable(&self) {
        if let Some(fd) = &self.fd
            && let Ok(mut guard) = fd.writable().await
        {
            guard.retain_ready();
        }
    }

    /// Writes what the program takes now. Returns whose words are done, and whether the program got them.
    pub fn write(&mut self) -> Vec<(Waiter, Result<(), Failure>)> {
        let mut done = Vec::new();
        while let Some(item) = self.queue.front_mut() {
            let result = match &self.fd {
                _ if item.written == item.bytes.len() => Ok(()),
                Some(fd) => {
                    let rest = &item.bytes[item.written..];
                    let written = fd.try_io(tokio::io::Interest::WRITABLE, |fd| rustix::io::write(fd, rest).map_err(io::Error::from));
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
            if item.closes || result.is_err() {
                self.fd = None;
            }
            let answer = result.or(if item.closes { Ok(()) } else { Err(()) });
            let answer = answer.map_err(|()| Failure::unsupported("send", "the program has closed its stdin; it takes no more"));
            done.extend(item.waiter.map(|waiter| (waiter, answer)));
        }
        done
    }

    /// The run has ended: nobody will take what still waits.
    pub fn abandon(&mut self) -> Vec<Waiter> {
        self.fd = None;
        self.waiting = 0;
        self.queue.drain(..).filter_map(|item| item.waiter).collect()
    }

    fn takes_more(&self) -> bool {
        self.fd.is_some() && !self.queue.iter().any(|item| item.closes)
    }

    fn push(&mut self, bytes: Vec<u8>, closes: bool, waiter: Option<Waiter>) {
        self.waiting += bytes.len();
        self.queue.push_back(Item { bytes, written: 0, closes, waiter });
    }
}
