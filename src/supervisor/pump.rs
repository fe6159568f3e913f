//! One of the program's output streams: from its pipe to pieces that can be logged.

use std::{io, os::fd::OwnedFd};

use rustix::{io::Errno, pipe::fcntl_setpipe_size};
use tokio::io::unix::AsyncFd;

use crate::{log::text, model::Stream, process::ready};

/// A quiet program needs no more;
const SMALL_BUFFER: usize = 16 << 10;
/// one that fills it gets this, and a pipe of [`LARGE_PIPE`].
const LARGE_BUFFER: usize = 128 << 10;
const LARGE_PIPE: usize = 1 << 20;

/// A stream that is being read.
#[derive(Debug)]
pub struct Pump {
    pub stream: Stream,
    /// `None` once it has ended.
    fd: Option<AsyncFd<OwnedFd>>,
    buffer: Vec<u8>,
    /// So many bytes at the beginning of the buffer are read and not logged.
    filled: usize,
    full_reads: u32,
}

/// What there is to log after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Whole characters wait in the buffer.
    Ready,
    /// Nothing, or only the beginning of a character.
    Nothing,
}

impl Pump {
    pub fn new(stream: Stream, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { stream, fd: Some(ready::register(fd)?), buffer: vec![0; SMALL_BUFFER], filled: 0, full_reads: 0 })
    }

    pub fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// Waits until there is something to read; for ever once the stream has ended.
    pub async fn readable(&self) {
        match &self.fd {
            // The guard must not clear the readiness: `read` does, when it knows.
            Some(fd) => match fd.readable().await {
                Ok(mut guard) => guard.retain_ready(),
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Reads once, without waiting.
    pub fn read(&mut self) -> Read {
        let Some(fd) = &self.fd else { return self.what_waits() };
        let room = self.buffer.len() - self.filled;
        if room == 0 {
            return Read::Ready;
        }
        let buffer = &mut self.buffer[self.filled..];
        let read = fd.try_io(tokio::io::Interest::READABLE, |fd| rustix::io::read(fd, &mut *buffer).map_err(io::Error::from));
        match read {
            Ok(0) => self.fd = None,
            Ok(read) => {
                self.filled += read;
                if read == room {
                    self.grow();
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // Linux answers so once the other side of a pseudoterminal is closed.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => self.fd = None,
            Err(_) => self.fd = None,
        }
        self.what_waits()
    }

    /// The bytes that can be logged: whole characters, and at the end of the stream everything.
    pub fn waiting(&self) -> &[u8] {
        let all = &self.buffer[..self.filled];
        if self.fd.is_some() { &all[..all.len() - text::unfinished(all)] } else { all }
    }

    /// Forgets what [`Self::waiting`] gave: it is in the log.
    pub fn logged(&mut self) {
        let logged = self.waiting().len();
        self.buffer.copy_within(logged..self.filled, 0);
        self.filled -= logged;
    }

    /// Ends the stream: what comes from now on is nobody's.
    pub fn close(&mut self) {
        self.fd = None;
    }

    fn what_waits(&self) -> Read {
        if self.waiting().is_empty() { Read::Nothing } else { Read::Ready }
    }

    fn grow(&mut self) {
        self.full_reads += 1;
        if self.buffer.len() < LARGE_BUFFER {
            self.buffer.resize(LARGE_BUFFER, 0);
        } else if self.full_reads == 2
            && let Some(fd) = &self.fd
        {
            // A user has 64 MiB of such pipes (pipe(7)); without one the program just waits for us more often.
            let _ = fcntl_setpipe_size(fd.get_ref(), LARGE_PIPE);
        }
    }
}
