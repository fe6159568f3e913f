//! Pumps one of the program's output streams from its pipe into pieces that can be logged.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

use crate::{
    log::text,
    model::Stream,
    process::{
        descriptor,
        spawn::{enlarge_pipe, register_fd},
    },
};

/// The buffer of a program that writes little.
const SMALL_BUFFER_BYTES: usize = 16 << 10;
/// The buffer of a program that has filled [`SMALL_BUFFER_BYTES`]. If it fills this too, its pipe is enlarged.
const LARGE_BUFFER_BYTES: usize = 128 << 10;

/// A stream that is being read.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) stream: Stream,
    /// `None` once the stream has ended.
    fd: Option<AsyncFd<OwnedFd>>,
    buffer: Vec<u8>,
    /// Bytes at the beginning of the buffer that are read and not logged.
    filled: usize,
    full_reads: u32,
    is_terminal: bool,
}

/// What a read leaves to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PumpRead {
    /// Whole characters are in the buffer.
    Ready,
    /// The buffer holds nothing, or only the beginning of a character.
    Nothing,
}

impl Pump {
    pub(crate) fn new(stream: Stream, fd: OwnedFd, is_terminal: bool) -> io::Result<Self> {
        let buffer = vec![0; SMALL_BUFFER_BYTES];
        Ok(Self { stream, fd: Some(register_fd(fd)?), buffer, filled: 0, full_reads: 0, is_terminal })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// Waits until there is something to read; forever once the stream has ended.
    pub(crate) async fn readable(&self) {
        match &self.fd {
            // The guard must not clear the readiness: `read` does that when it finds nothing.
            Some(fd) => match fd.readable().await {
                Ok(mut guard) => guard.retain_ready(),
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Reads once, without waiting.
    pub(crate) fn read(&mut self) -> PumpRead {
        let Some(fd) = &self.fd else { return self.pump_read() };
        let free_bytes = self.buffer.len() - self.filled;
        if free_bytes == 0 {
            return PumpRead::Ready;
        }
        let buffer = &mut self.buffer[self.filled..];
        let is_pipe = !self.is_terminal;
        let mut last_read = None;
        let read = fd.try_io(tokio::io::Interest::READABLE, |fd| {
            let read = descriptor::read(fd, buffer)?;
            // A pipe that gave less than it was asked for is empty: a second read would only say so. A terminal gives one
            // line at a time.
            last_read = Some(read).filter(|read| is_pipe && (1..free_bytes).contains(read));
            if last_read.is_some() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(read) }
        });
        match last_read.map_or(read, Ok) {
            Ok(0) => self.fd = None,
            Ok(read) => {
                self.filled += read;
                if read == free_bytes {
                    self.grow();
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // Linux reports EIO once the other side of a pseudoterminal is closed.
            Err(_) => self.fd = None,
        }
        self.pump_read()
    }

    /// The bytes that can be logged: whole characters, and at the end of the stream everything.
    pub(crate) fn unlogged(&self) -> &[u8] {
        let all = &self.buffer[..self.filled];
        if self.fd.is_some() { &all[..all.len() - text::unfinished_char_len(all)] } else { all }
    }

    /// Drops what [`Self::unlogged`] returned, once it is in the log.
    pub(crate) fn mark_logged(&mut self) {
        let length = self.unlogged().len();
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }

    /// Ends the stream; what a process writes to it from now on is not read.
    pub(crate) fn close(&mut self) {
        self.fd = None;
    }

    fn pump_read(&self) -> PumpRead {
        if self.unlogged().is_empty() { PumpRead::Nothing } else { PumpRead::Ready }
    }

    fn grow(&mut self) {
        self.full_reads += 1;
        if self.buffer.len() < LARGE_BUFFER_BYTES {
            self.buffer.resize(LARGE_BUFFER_BYTES, 0);
        } else if self.full_reads == 2
            && let Some(fd) = &self.fd
        {
            enlarge_pipe(fd.get_ref());
        }
    }
}
