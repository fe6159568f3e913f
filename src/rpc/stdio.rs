//! The standard input and output of this process as asynchronous byte streams.
//!
//! Pipes and sockets (some editors give their children socket pairs) are polled. Everything else, such as a
//! terminal or a file, cannot be, and gets a thread of its own with a bounded hand-over.

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
use rustix::fs::{FileType, fstat};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixStream,
        unix::pipe::{Receiver, Sender},
    },
    sync::mpsc,
};
use tokio_util::sync::PollSender;

/// What a pipe to the client is asked to hold, in bytes.
#[cfg(target_os = "linux")]
const PIPE_SIZE: usize = 1 << 20;

/// What a thread hands over at once, in bytes.
const THREAD_PIECE: usize = 64 << 10;

pub type Input = Box<dyn AsyncRead + Send + Unpin>;
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Takes copies of this process's standard input and output. Needs a tokio runtime around it; call it once.
pub fn open() -> io::Result<(Input, Output)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((reader(input)?, writer(output)?))
}

/// Reads from `fd`, whatever it is.
pub fn reader(fd: OwnedFd) -> io::Result<Input> {
    match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::Fifo => Ok(Box::new(Receiver::from_owned_fd(fd)?)),
        FileType::Socket => Ok(Box::new(socket(fd)?)),
        _ => ThreadReader::start(File::from(fd)).map(|reader| Box::new(reader) as Input),
    }
}

/// Writes to `fd`, whatever it is.
pub fn writer(fd: OwnedFd) -> io::Result<Output> {
    match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::Fifo => {
            // A refusal only means more wake-ups.
            #[cfg(target_os = "linux")]
            rustix::pipe::fcntl_setpipe_size(&fd, PIPE_SIZE).ok();
            Ok(Box::new(Sender::from_owned_fd(fd)?))
        }
        FileType::Socket => Ok(Box::new(socket(fd)?)),
        _ => ThreadWriter::start(File::from(fd)).map(|writer| Box::new(writer) as Output),
    }
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let socket = StdUnixStream::from(fd);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// The reading end of a thread that reads. The thread may hang in a read for ever, so nobody waits for it.
struct ThreadReader {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
}

impl ThreadReader {
    fn start(mut file: File) -> io::Result<Self> {
        let (sender, pieces) = mpsc::channel(2);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut buffer = vec![0; THREAD_PIECE];
            loop {
                let piece = match file.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(buffer[..length].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                if sender.blocking_send(piece).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, piece: Vec::new(), taken: 0 })
    }
}

impl AsyncRead for ThreadReader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken == self.piece.len() {
            match ready!(self.pieces.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(piece) => self.piece = piece?,
            }
            self.taken = 0;
        }
        let length = buffer.remaining().min(self.piece.len() - self.taken);
        buffer.put_slice(&self.piece[self.taken..self.taken + length]);
        self.taken += length;
        Poll::Ready(Ok(()))
    }
}

/// The writing end of a thread that writes. `flush` waits until the thread has written everything.
struct ThreadWriter {
    pieces: PollSender<Vec<u8>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Pieces that were handed over and are not written.
    waiting: AtomicUsize,
    failed: AtomicBool,
    waker: AtomicWaker,
}

impl ThreadWriter {
    fn start(mut file: File) -> io::Result<Self> {
        let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(2);
        let progress = Arc::new(Progress::default());
        let writer = Self { pieces: PollSender::new(sender), progress: progress.clone() };
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            while let Some(piece) = pieces.blocking_recv() {
                let result = file.write_all(&piece);
                if result.is_err() {
                    progress.failed.store(true, Ordering::Release);
                    pieces.close();
                }
                progress.waiting.fetch_sub(1, Ordering::AcqRel);
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
        ready!(self.pieces.poll_reserve(context)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let piece = &bytes[..bytes.len().min(THREAD_PIECE)];
        self.progress.waiting.fetch_add(1, Ordering::AcqRel);
        self.pieces.send_item(piece.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.waker.register(context.waker());
        self.check()?;
        if self.progress.waiting.load(Ordering::Acquire) == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
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
