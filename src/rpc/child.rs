//! Servers that are started as children: here, or where a login leads to. What a login prints before the first message is
//! passed over, for a shell's start-up file may greet on stdout.

use std::{
    ffi::OsStr,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    process::{Child, Command, Stdio},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe,
};

use super::{Client, Framing, Notifications};
use crate::process::spawn::start_new_session;

/// Most bytes that may come before the first message.
const MAX_BANNER_BYTES: usize = 64 << 10;

/// Bytes that are read at a time until the first message is found.
const READ_BLOCK_BYTES: usize = 4096;

/// Begins the header of a message, as our servers write it.
const HEADER_START: &[u8] = b"Content-Length: ";

/// A server that [`Client::spawn`] started as a child.
pub(crate) struct SpawnedServer {
    pub(crate) client: Client,
    pub(crate) notifications: Notifications,
    pub(crate) child: Child,
}

impl Client {
    /// Starts `program` with `args`, as [`start_server`] does, and connects to its stdin and stdout.
    pub(crate) fn spawn(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<SpawnedServer> {
        let (child, reader, writer) = start_server(program, args)?;
        let (client, notifications) = Self::over(reader, writer, Framing::Lsp);
        Ok(SpawnedServer { client, notifications, child })
    }

    /// Starts a command that logs in where the server is, and connects to its stdin and stdout. What the login prints before
    /// the first answer is passed over.
    pub(crate) fn spawn_login(command: Command) -> io::Result<SpawnedServer> {
        let (child, reader, writer) = start_child(command)?;
        let (client, notifications) = Self::over(AfterBanner::new(reader), writer, Framing::Lsp);
        Ok(SpawnedServer { client, notifications, child })
    }
}

/// A server's process, its stdout and its stdin.
pub(crate) type ServerPipes = (Child, pipe::Receiver, pipe::Sender);

/// Starts a server. It inherits our stderr, and gets a session of its own: neither a key that interrupts or stops the client nor
/// the end of its terminal signals the server, and the client can still call it.
pub(crate) fn start_server(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<ServerPipes> {
    let mut command = Command::new(program);
    start_new_session(command.args(args));
    start_child(command)
}

fn start_child(mut command: Command) -> io::Result<ServerPipes> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let no_pipe = || io::Error::other("the child has no pipe");
    let output = OwnedFd::from(child.stdout.take().ok_or_else(no_pipe)?);
    let input = OwnedFd::from(child.stdin.take().ok_or_else(no_pipe)?);
    Ok((child, pipe::Receiver::from_owned_fd(output)?, pipe::Sender::from_owned_fd(input)?))
}

/// A reader of messages with `Content-Length` headers that begins with the first of them.
pub(crate) struct AfterBanner<R> {
    reader: R,
    /// What has been read and not passed on.
    held: BytesMut,
    is_found: bool,
}

impl<R> AfterBanner<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, held: BytesMut::new(), is_found: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for AfterBanner<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while !self.is_found {
            let mut block = [0; READ_BLOCK_BYTES];
            let mut block = ReadBuf::new(&mut block);
            ready!(Pin::new(&mut self.reader).poll_read(context, &mut block))?;
            if block.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(block.filled());
            if let Some(start) = first_header(&self.held) {
                self.held.advance(start);
                self.is_found = true;
            } else if self.held.len() > MAX_BANNER_BYTES {
                let message =
                    format!("more than {MAX_BANNER_BYTES} bytes came before the first message; is that a login shell's greeting?");
                return Poll::Ready(Err(io::Error::other(message)));
            }
        }
        if self.held.is_empty() {
            return Pin::new(&mut self.reader).poll_read(context, target);
        }
        let length = self.held.len().min(target.remaining());
        target.put_slice(&self.held.split_to(length));
        Poll::Ready(Ok(()))
    }
}

/// Where the first whole header begins that is followed by an object. A greeting need not end with a line end.
fn first_header(bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, HEADER_START).find(|start| {
        let rest = &bytes[start + HEADER_START.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && rest[digits..].starts_with(b"\r\n\r\n{")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// What is read of `parts`, which arrive one after another.
    async fn read(parts: Vec<Vec<u8>>) -> io::Result<Vec<u8>> {
        let (mut near, far) = duplex(16);
        let writing = tokio::spawn(async move {
            for part in parts {
                if near.write_all(&part).await.is_err() {
                    return;
                }
            }
        });
        let mut all = Vec::new();
        let result = AfterBanner::new(far).read_to_end(&mut all).await;
        writing.await.expect("no panic");
        result.map(|_| all)
    }

    #[tokio::test]
    async fn a_greeting_is_passed_over_wherever_it_is_cut() {
        let messages = b"Content-Length: 2\r\n\r\n{}Content-Length: 4\r\n\r\n[{}]";
        for greeting in ["", "Welcome!\n\nLast login: today\n", "Content-Length: is a header\nContent-Length: 5\n> ", "no line end"] {
            let whole = [greeting.as_bytes(), messages].concat();
            for cut in 0..whole.len() {
                let (before, after) = whole.split_at(cut);
                let read = read(vec![before.to_vec(), after.to_vec()]).await.expect("messages");
                assert_eq!(read, messages, "{greeting:?} cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn a_greeting_without_an_end_is_refused() {
        let endless = vec![vec![b'x'; MAX_BANNER_BYTES + READ_BLOCK_BYTES]];
        assert!(read(endless).await.expect_err("too long").to_string().contains("before the first message"));
        assert_eq!(read(vec![b"bye\n".to_vec()]).await.expect("the end"), b"");
    }

    /// `cat` answers a notification with the same notification.
    #[tokio::test]
    async fn a_spawned_child_is_reached_over_its_pipes() {
        let SpawnedServer { client, mut notifications, mut child } = Client::spawn("cat", [""; 0]).expect("starts");
        client.notify("note", serde_json::json!({"x": 1})).await.expect("sends");
        let notification = timeout(DEADLINE, notifications.next()).await.expect("in time").expect("a notification");
        assert_eq!((notification.method.as_str(), notification.params.get()), ("note", r#"{"x":1}"#));
        drop(client);
        assert!(timeout(DEADLINE, notifications.next()).await.expect("in time").is_none());
        assert!(child.wait().expect("ends").success());
    }
}
