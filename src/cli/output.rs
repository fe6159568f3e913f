//! The way out of a program's bytes: to our own stdout and stderr, in order, from a thread that may be held up.
//!
//! A terminal that was stopped with Ctrl-S, or a pager that nobody scrolls, stops this thread alone: keys are still heard.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock},
};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot};

use super::Stop;
use crate::model::Stream;

/// Pieces that may wait, each of at most one notification's bytes.
const WAITING: usize = 64;

/// Takes bytes, and makes the caller wait when nobody takes them from us.
#[derive(Clone)]
pub struct Output {
    queue: mpsc::Sender<Piece>,
    /// Why the thread ended before its time.
    fault: Arc<OnceLock<io::Error>>,
}

enum Piece {
    Bytes(Stream, Vec<u8>),
    Mark(oneshot::Sender<()>),
}

impl Output {
    /// Starts the thread. It lives until everything is written, or the process ends.
    pub fn start() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self::to(stdout, stderr))
    }

    fn to(stdout: File, stderr: File) -> Self {
        let (queue, mut pieces) = mpsc::channel(WAITING);
        let fault = Arc::new(OnceLock::new());
        let told = fault.clone();
        std::thread::spawn(move || {
            // The queue is closed behind that, which is how the other side hears of it.
            if let Err(error) = write_all_pieces(&mut pieces, stdout, stderr) {
                told.set(error).ok();
            }
        });
        Self { queue, fault }
    }

    /// Hands bytes over. `Closed`: nobody reads our stdout any more.
    pub async fn write(&self, stream: Stream, bytes: Vec<u8>) -> Result<(), Stop> {
        self.queue.send(Piece::Bytes(stream, bytes)).await.map_err(|_| self.stop())
    }

    /// Whether something could not be written, though somebody was there to read it.
    pub fn has_failed(&self) -> bool {
        self.fault.get().is_some_and(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn stop(&self) -> Stop {
        match self.fault.get() {
            Some(error) => Stop::unwritten(error),
            None => Stop::Closed,
        }
    }

    /// Completes when everything before it has been written.
    pub async fn flush(&self) -> Result<(), Stop> {
        let (mark, passed) = oneshot::channel();
        self.queue.send(Piece::Mark(mark)).await.map_err(|_| self.stop())?;
        passed.await.map_err(|_| self.stop())
    }
}

fn write_all_pieces(pieces: &mut mpsc::Receiver<Piece>, mut stdout: File, mut stderr: File) -> io::Result<()> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(Stream::Stdout, bytes) => write_all(&mut stdout, &bytes)?,
            // A closed stderr loses what goes there, as it does for any program.
            Piece::Bytes(Stream::Stderr, bytes) => {
                write_all(&mut stderr, &bytes).ok();
            }
            Piece::Mark(mark) => {
                mark.send(()).ok();
            }
        }
    }
    Ok(())
}

/// Writes everything, also to a descriptor that whoever shares it with us made non-blocking.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(file.as_fd())?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_room(fd: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::OwnedFd};

    use super::*;

    fn pipe() -> (File, File) {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        (reader.into(), writer.into())
    }

    #[tokio::test]
    async fn bytes_go_where_they_belong_whole_and_in_order() {
        let (mut out, stdout) = pipe();
        let (mut err, stderr) = pipe();
        // More than a pipe holds, into one that refuses to wait.
        rustix::io::ioctl_fionbio(&stdout, true).expect("non-blocking");
        let output = Output::to(stdout, stderr);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            out.read_to_end(&mut got).map(|_| got)
        });
        for chunk in sent.chunks(50_000) {
            output.write(Stream::Stdout, chunk.to_vec()).await.expect("taken");
        }
        output.write(Stream::Stderr, b"\xff!".to_vec()).await.expect("taken");
        output.flush().await.expect("written");
        drop(output);
        assert!(reader.join().expect("no panic").expect("reads") == expected);
        let mut said = Vec::new();
        err.read_to_end(&mut said).expect("reads");
        assert_eq!(said, b"\xff!");
    }

    #[tokio::test]
    async fn a_closed_stdout_is_noticed_and_a_closed_stderr_is_not_missed() {
        let (out, stdout) = pipe();
        let (err, stderr) = pipe();
        drop(OwnedFd::from(err));
        let output = Output::to(stdout, stderr);
        output.write(Stream::Stderr, b"lost".to_vec()).await.expect("taken");
        output.flush().await.expect("goes on");
        drop(OwnedFd::from(out));
        output.write(Stream::Stdout, b"x".to_vec()).await.expect("taken");
        assert!(matches!(output.flush().await, Err(Stop::Closed)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_cannot_be_written_is_told() {
        let full = || File::options().write(true).open("/dev/full").expect("there");
        let output = Output::to(full(), full());
        output.write(Stream::Stderr, b"lost".to_vec()).await.expect("taken");
        output.flush().await.expect("goes on");
        output.write(Stream::Stdout, b"x".to_vec()).await.expect("taken");
        for _ in 0..2 {
            let Err(Stop::Failure(failure)) = output.flush().await else { panic!("told") };
            assert!(failure.message.starts_with("the output cannot be written: No space left"), "{failure}");
        }
    }
}
