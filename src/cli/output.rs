//! Writes a run's output to our own stdout and stderr, in order, in a thread that may block.
//!
//! A terminal that was stopped with Ctrl-S, or a pager that nobody scrolls, blocks this thread alone: keys are still
//! handled.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{Arc, OnceLock},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    EarlyExit,
    screen::{Content, TerminalFilter},
};
use crate::{model::Stream, process::descriptor};

/// Most chunks that wait for the thread. Each has at most the bytes of one notification.
const MAX_QUEUED_CHUNKS: usize = 64;

/// Queues bytes for the thread, and makes the caller wait while the queue is full.
#[derive(Clone)]
pub(crate) struct OutputWriter {
    queue: mpsc::Sender<OutputChunk>,
    /// Why the thread ended early.
    write_error: Arc<OnceLock<io::Error>>,
}

enum OutputChunk {
    Bytes(Stream, Vec<u8>),
    Flush(oneshot::Sender<()>),
}

impl OutputWriter {
    /// Starts the thread. It ends when the last `OutputWriter` is dropped and everything is written, or with the
    /// process.
    pub(crate) fn start(content: Content) -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self::to(stdout, stderr, content))
    }

    fn to(stdout: File, stderr: File, content: Content) -> Self {
        let (queue, mut chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let write_error = Arc::new(OnceLock::new());
        let write_error_of_thread = write_error.clone();
        std::thread::spawn(move || {
            // The thread ends after that, and `chunks` closes the queue: `write` and `flush` then find the error.
            if let Err(error) = write_chunks(&mut chunks, Sink::of(stdout, content), Sink::of(stderr, content)) {
                // It is set once only, by this thread.
                write_error_of_thread.set(error).ok();
            }
        });
        Self { queue, write_error }
    }

    /// Queues bytes. `Closed`: nobody reads our stdout any more.
    pub(crate) async fn write(&self, stream: Stream, bytes: Vec<u8>) -> Result<(), EarlyExit> {
        self.queue.send(OutputChunk::Bytes(stream, bytes)).await.map_err(|_| self.early_exit())
    }

    /// Whether writing failed for another reason than that nobody reads our stdout.
    pub(crate) fn has_failed(&self) -> bool {
        self.write_error.get().is_some_and(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn early_exit(&self) -> EarlyExit {
        match self.write_error.get() {
            Some(error) => EarlyExit::write_failed(error),
            None => EarlyExit::Closed,
        }
    }

    /// Waits until everything queued before has been written.
    pub(crate) async fn flush(&self) -> Result<(), EarlyExit> {
        let (sender, flushed) = oneshot::channel();
        self.queue.send(OutputChunk::Flush(sender)).await.map_err(|_| self.early_exit())?;
        flushed.await.map_err(|_| self.early_exit())
    }
}

/// A stream of ours. A terminal gets only what may reach one.
struct Sink {
    file: File,
    filter: TerminalFilter,
}

impl Sink {
    fn of(file: File, content: Content) -> Self {
        let content = if file.is_terminal() { content } else { Content::Exact };
        Self { file, filter: TerminalFilter::new(content) }
    }

    fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        write_all(&mut self.file, &self.filter.filter(bytes))
    }
}

fn write_chunks(chunks: &mut mpsc::Receiver<OutputChunk>, mut stdout: Sink, mut stderr: Sink) -> io::Result<()> {
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk {
            OutputChunk::Bytes(Stream::Stdout, bytes) => stdout.write(bytes)?,
            // Output to a closed stderr is lost, as it is with any program.
            OutputChunk::Bytes(Stream::Stderr, bytes) => {
                stderr.write(bytes).ok();
            }
            OutputChunk::Flush(sender) => {
                // Nobody waits any more if the future of `flush` was dropped.
                sender.send(()).ok();
            }
        }
    }
    Ok(())
}

/// Writes everything, even if another process that shares the descriptor made it non-blocking.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => descriptor::wait_writable(file.as_fd())?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    async fn all_bytes_arrive_in_order_on_their_stream() {
        let (mut out, stdout) = pipe();
        let (mut err, stderr) = pipe();
        // More than a pipe holds, into a descriptor that does not block.
        rustix::io::ioctl_fionbio(&stdout, true).expect("non-blocking");
        let output = OutputWriter::to(stdout, stderr, Content::Output);
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
        let mut text = Vec::new();
        err.read_to_end(&mut text).expect("reads");
        assert_eq!(text, b"\xff!");
    }

    #[tokio::test]
    async fn a_closed_stdout_is_an_early_exit_and_a_closed_stderr_is_not() {
        let (out, stdout) = pipe();
        let (err, stderr) = pipe();
        drop(OwnedFd::from(err));
        let output = OutputWriter::to(stdout, stderr, Content::Output);
        output.write(Stream::Stderr, b"lost".to_vec()).await.expect("taken");
        output.flush().await.expect("no early exit");
        drop(OwnedFd::from(out));
        output.write(Stream::Stdout, b"x".to_vec()).await.expect("taken");
        assert!(matches!(output.flush().await, Err(EarlyExit::Closed)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_write_error_is_a_failure() {
        let full = || File::options().write(true).open("/dev/full").expect("there");
        let output = OutputWriter::to(full(), full(), Content::Output);
        output.write(Stream::Stderr, b"lost".to_vec()).await.expect("taken");
        output.flush().await.expect("no early exit");
        output.write(Stream::Stdout, b"x".to_vec()).await.expect("taken");
        for _ in 0..2 {
            let Err(EarlyExit::Failure(failure)) = output.flush().await else { panic!("no failure") };
            assert!(failure.message.starts_with("cannot write output: No space left"), "{failure}");
        }
    }
}
