//! What the standard library does not do with open files, pipes, sockets and terminals.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat},
    io::Errno,
    termios::{
        LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    },
};

use crate::model::TerminalSize;

/// What stands behind a descriptor, as far as it decides how to read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescriptorKind {
    Pipe,
    Socket,
    RegularFile,
    Other,
}

impl DescriptorKind {
    pub(crate) fn of(fd: impl AsFd) -> io::Result<Self> {
        Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
            FileType::Fifo => Self::Pipe,
            FileType::Socket => Self::Socket,
            FileType::RegularFile => Self::RegularFile,
            _ => Self::Other,
        })
    }
}

/// Reads once.
pub(crate) fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, buffer)?)
}

/// Writes once.
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd, bytes)?)
}

/// Reads once from this position into the free capacity of `out`, and leaves the file's own position.
pub(crate) fn append_from(file: &File, position: u64, out: &mut Vec<u8>) -> io::Result<usize> {
    Ok(rustix::io::pread(file, rustix::buffer::spare_capacity(out), position)?)
}

/// Copies what has come, and leaves it to be read.
pub(crate) fn peek(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(stream, buffer, rustix::net::RecvFlags::PEEK)?.1)
}

/// Whether a pipe, a socket or a file has bytes that nobody has read.
pub(crate) fn has_unread_bytes(fd: impl AsFd) -> bool {
    match DescriptorKind::of(&fd) {
        Ok(DescriptorKind::Pipe | DescriptorKind::Socket) => rustix::io::ioctl_fionread(&fd).is_ok_and(|bytes| bytes > 0),
        Ok(DescriptorKind::RegularFile) => {
            let size = fstat(&fd).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
            let at = rustix::fs::seek(&fd, rustix::fs::SeekFrom::Current(0));
            at.is_ok_and(|at| size.is_some_and(|size| at < size))
        }
        _ => false,
    }
}

/// Whether a read would find input at once.
pub(crate) fn has_input(fd: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0) > 0
}

/// Waits until a write would take something. It may return early.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks for a pipe of this capacity, where pipes have one that can be changed. If the system refuses, it keeps its own.
pub(crate) fn widen_pipe(fd: impl AsFd, bytes: usize) {
    #[cfg(target_os = "linux")]
    rustix::pipe::fcntl_setpipe_size(fd, bytes).ok();
    #[cfg(not(target_os = "linux"))]
    let _ = (fd, bytes);
}

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
pub(crate) fn terminal_size(terminal: impl AsFd) -> Option<TerminalSize> {
    tcgetwinsize(terminal).ok().map(|size| TerminalSize { rows: size.ws_row, cols: size.ws_col })
}
