//! A socket that wakes its task for what arrives, and for room only while somebody waits for room.
//!
//! Where both are watched all the time, every message that the other side reads wakes this process: there is room again.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use super::current_process;
use rustix::net::{RecvFlags, SendFlags};
use tokio::{
    io::{AsyncRead, Interest, ReadBuf, unix::AsyncFd},
    net::UnixStream,
};

/// The socket. Its reading side is a [`SocketReader`].
#[derive(Debug)]
pub(crate) struct Socket {
    fd: AsyncFd<OwnedFd>,
    peer: Option<u32>,
}

/// Reads from a [`Socket`].
#[derive(Debug)]
pub(crate) struct SocketReader(Rc<Socket>);

impl Socket {
    /// Watches the stream in this way.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Rc<Self>> {
        let peer = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
        Ok(Rc::new(Self { fd: register(stream.into_std()?.into(), Interest::READABLE)?, peer: peer.filter(|pid| *pid > 0) }))
    }

    /// The process on the other side; `None` where the system does not tell, or where it is in another container.
    pub(crate) fn peer(&self) -> Option<u32> {
        self.peer
    }

    /// Reads with `read`, as soon as something has arrived.
    pub(crate) async fn read_with<T>(&self, mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        self.fd.async_io(Interest::READABLE, |fd| read(fd.as_fd())).await
    }

    /// Writes what there is room for. `WouldBlock`: there is none.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.fd.get_ref(), bytes, SendFlags::NOSIGNAL)?)
    }

    /// Waits until there is room, or the other side is gone.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        // A copy of the descriptor can be watched for something else.
        let copy = self.fd.get_ref().try_clone()?;
        register(copy, Interest::WRITABLE)?.writable().await?.retain_ready();
        Ok(())
    }
}

impl SocketReader {
    pub(crate) fn new(socket: Rc<Socket>) -> Self {
        Self(socket)
    }
}

impl AsyncRead for SocketReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.fd.poll_read_ready(context))?;
            let free = buffer.initialize_unfilled();
            let wanted = free.len();
            match guard.try_io(|fd| Ok(rustix::net::recv(fd.get_ref(), free, RecvFlags::empty())?.0)) {
                Ok(read) => {
                    let read = read?;
                    // A stream that gave less than it was asked for is empty: a second read would only say so.
                    if (1..wanted).contains(&read) {
                        guard.clear_ready();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

#[expect(unsafe_code, reason = "tokio requires the caller to guarantee that the descriptor stays open and the same")]
fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open and its number the same for as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// A path to a socket that fits into a socket's address, and the descriptor that keeps it valid.
pub(crate) struct SocketPath {
    path: PathBuf,
    _dir: Option<File>,
}

impl SocketPath {
    /// The path of a socket in a directory.
    pub(crate) fn of(dir: &Path, name: &str) -> io::Result<Self> {
        let socket = dir.join(name);
        // sockaddr_un holds 108 bytes on Linux and 104 on macOS, the final NUL among them.
        if socket.as_os_str().len() < 100 || !cfg!(target_os = "linux") {
            return Ok(Self { path: socket, _dir: None });
        }
        let dir = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()).into();
        Ok(Self { path, _dir: Some(dir) })
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.path
    }
}

/// Whether the other side of a connection is a process of this user.
pub(crate) fn is_of_this_user(stream: &UnixStream) -> bool {
    #[cfg(target_os = "linux")]
    {
        rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid.as_raw() == current_process::user_id())
    }
    #[cfg(not(target_os = "linux"))]
    {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == current_process::user_id())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_full_socket_is_written_on_once_there_is_room() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (near, far) = (Socket::new(near).expect("registered"), Socket::new(far).expect("registered"));
        let mut sent = 0;
        while let Ok(written) = near.try_write(&[7; 4096]) {
            sent += written;
        }
        let mut reader = SocketReader::new(far);
        let mut received = vec![0; sent];
        let (writable, read) = tokio::join!(near.writable(), reader.read_exact(&mut received));
        writable.expect("open");
        read.expect("all of it");
        assert_eq!(near.try_write(b"more").expect("there is room"), 4);
        let mut rest = [0; 16];
        assert_eq!(reader.read(&mut rest).await.expect("read"), 4);
        drop(near);
        assert_eq!(reader.read(&mut rest).await.expect("read"), 0, "its end");
    }
}
