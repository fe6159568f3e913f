//! Descriptors that are waited for without blocking.

use std::{io, os::fd::OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::unix::AsyncFd;

/// Hands a descriptor (a pipe, a socket, a terminal, a pidfd) to the runtime, in non-blocking mode.
/// The mode belongs to the open file description: everybody who shares it gets it too.
#[expect(unsafe_code, reason = "tokio wants the promise that the descriptor stays what it is")]
pub fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` is closed by nobody else and gives one number for as long as it lives.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
