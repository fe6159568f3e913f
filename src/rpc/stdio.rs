//! The standard input and output of this process as asynchronous byte streams.
//!
//! Pipes and sockets are polled; some editors give their children socket pairs. Everything else, such as a terminal or
//! a file, is read or written by a thread of its own, which passes chunks through a bounded channel.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixStream,
        unix::pipe::{Receiver, Sender},
    },
    sync::mpsc,
};
use tokio_util::sync::PollSender;

use crate::process::descriptor::{self, DescriptorKind};

/// Requested capacity of the pipe to the client.
const CLIENT_PIPE_BYTES: usize = 1 << 20;

/// Most bytes that a thread passes on at once.
const THREAD_CHUNK_BYTES: usize = 64 << 10;

pub(crate) type StdioReader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type StdioWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// Opens copies of this process's standard input and output. Must be called within a tokio runtime, and once.
pub(crate) fn open() -> io::Result<(StdioReader, StdioWriter)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((reader(input)?, writer(output)?))
}

/// An asynchronous reader of `fd`, whatever kind of file it is.
pub(crate) fn reader(fd: OwnedFd) -> io::Result<StdioReader> {
    match DescriptorKind::of(&fd)? {
        DescriptorKind::Pipe => Ok(Box::new(Receiver::from_owned_fd(fd)?)),
        DescriptorKind::Socket => Ok(Box::new(socket(fd)?)),
        _ => ThreadReader::start(File::from(fd)).map(|reader| Box::new(reader) as StdioReader),
    }
}

/// An asynchronous writer to `fd`, whatever kind of file it is.
pub(crate) fn writer(fd: OwnedFd) -> io::Result<StdioWriter> {
    match DescriptorKind::of(&fd)? {
        DescriptorKind::Pipe => {
            // If the system refuses, the pipe keeps its size, and a busy connection only wakes up more often.
            descriptor::widen_pipe(&fd, CLIENT_PIPE_BYTES);
            Ok(Box::new(Sender::from_owned_fd(fd)?))
        }
        DescriptorKind::Socket => Ok(Box::new(socket(fd)?)),
        _ => ThreadWriter::start(File::from(fd)).map(|writer| Box::new(writer) as StdioWriter),
    }
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let socket = StdUnixStream::from(fd);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// Reads through a thread. The thread may block in a read forever, so nobody joins it.
struct ThreadReader {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    consumed: usize,
}

impl ThreadReader {
    fn start(mut file: File) -> io::Result<Self> {
        let (sender, chunks) = mpsc::channel(2);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut buffer = vec![0; THREAD_CHUNK_BYTES];
            loop {
                let chunk = match file.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(buffer[..length].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, chunk: Vec::new(), consumed: 0 })
    }
}

impl AsyncRead for ThreadReader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.consumed == self.chunk.len() {
            match ready!(self.chunks.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(chunk) => self.chunk = chunk?,
            }
            self.consumed = 0;
        }
        let length = buffer.remaining().min(self.chunk.len() - self.consumed);
        buffer.put_slice(&self.chunk[self.consumed..self.consumed + length]);
        self.consumed += length;
        Poll::Ready(Ok(()))
    }
}

/// Writes through a thread. `flush` waits until the thread has written everything.
struct ThreadWriter {
    chunks: PollSender<Vec<u8>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Chunks that were passed to the thread and are not written yet.
    unwritten: AtomicUsize,
    failed: AtomicBool,
    waker: AtomicWaker,
}

impl ThreadWriter {
    fn start(mut file: File) -> io::Result<Self> {
        let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(2);
        let progress = Arc::new(Progress::default());
        let writer = Self { chunks: PollSender::new(sender), progress: progress.clone() };
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            while let Some(chunk) = chunks.blocking_recv() {
                let result = file.write_all(&chunk);
                if result.is_err() {
                    progress.failed.store(true, Ordering::Release);
                    chunks.close();
                }
                progress.unwritten.fetch_sub(1, Ordering::AcqRel);
                progress.waker.wake();
                if result.is_err() {
                    return;
                }
            }
        })?;
        Ok(writer)
    }

    fn check(&self) -> io::Result<()> {
        if self.progress.failed.load(Ordering::Acquire) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl AsyncWrite for ThreadWriter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        ready!(self.chunks.poll_reserve(context)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let chunk = &bytes[..bytes.len().min(THREAD_CHUNK_BYTES)];
        self.progress.unwritten.fetch_add(1, Ordering::AcqRel);
        self.chunks.send_item(chunk.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.waker.register(context.waker());
        self.check()?;
        if self.progress.unwritten.load(Ordering::Acquire) == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Seek, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    async fn passes(reading: OwnedFd, writing: OwnedFd) {
        let mut reader = reader(reading).expect("reader");
        let mut writer = writer(writing).expect("writer");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let expected = bytes.clone();
        let write = async move {
            writer.write_all(&bytes).await.expect("writes");
            writer.flush().await.expect("flushes");
        };
        let read = async move {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).await.expect("reads");
            read
        };
        let ((), read) = timeout(Duration::from_secs(20), async { tokio::join!(write, read) }).await.expect("in time");
        assert!(read == expected, "the bytes are the same");
    }

    #[tokio::test]
    async fn a_pipe_passes_everything_and_ends() {
        let (reading, writing) = rustix::pipe::pipe().expect("pipe");
        passes(reading, writing).await;
    }

    #[tokio::test]
    async fn a_socket_passes_everything_and_ends() {
        let (reading, writing) = StdUnixStream::pair().expect("pair");
        passes(reading.into(), writing.into()).await;
    }

    #[tokio::test]
    async fn a_file_passes_everything_and_ends() {
        let mut file = tempfile::tempfile().expect("file");
        let writing = file.try_clone().expect("clone");
        let mut writer = writer(writing.into()).expect("writer");
        let bytes = vec![b'x'; 1_000_000];
        writer.write_all(&bytes).await.expect("writes");
        writer.flush().await.expect("flushes");
        file.rewind().expect("rewinds");
        let mut read = Vec::new();
        reader(file.into()).expect("reader").read_to_end(&mut read).await.expect("reads");
        assert!(read == bytes, "the bytes are the same");
    }

    #[tokio::test]
    async fn a_full_disk_ends_the_thread_with_an_error() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let mut writer = writer(full.into()).expect("writer");
        writer.write_all(b"x").await.expect("handed over");
        assert!(timeout(Duration::from_secs(10), writer.flush()).await.expect("in time").is_err());
    }
}
