//! The output of a connection: everything that a server sends, in two lanes over one byte stream.
//!
//! `control` is for answers and rare notifications. Sending never waits, and control goes before bulk between two
//! frames. `bulk` is for output in large amounts. One task at a time holds it: that task fills the connection's bulk
//! buffer and waits until the client has taken it.
//!
//! Only one task polls the stream at a time. A sender writes once, without waiting; the flusher task writes what the
//! stream did not accept. So a task that is aborted leaves no half frame behind (test
//! `an_aborted_flush_cuts_no_frame`).

use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io, mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::AsyncWrite,
    sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard},
    task::coop::unconstrained,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    bulk_frames::{BulkFrames, keep_buffer},
    frame::Framing,
};

/// Control messages that wait are joined to chunks of up to this size, so that many small ones cost one write.
const MAX_CONTROL_PIECE_BYTES: usize = 64 << 10;

/// The output of one connection. It is cheap to clone. When the last clone is dropped, so is the stream.
#[derive(Clone)]
pub(crate) struct Outgoing {
    lanes: Arc<OutgoingLanes>,
    _flusher: Arc<AbortOnDropHandle<()>>,
}

/// Exclusive use of the bulk lane: nobody else sends bulk until this is flushed or dropped.
pub(crate) struct Bulk {
    lanes: Arc<OutgoingLanes>,
    frames: BulkFrames,
    framing: Framing,
    _guard: OwnedMutexGuard<()>,
}

struct OutgoingLanes {
    state: Mutex<OutgoingState>,
    /// Wakes the flusher, because the stream did not accept everything.
    flush_wanted: Notify,
    /// Wakes those in [`Self::wait_until`], because bytes were written or the client is gone.
    progress: Notify,
    bulk_lock: Arc<AsyncMutex<()>>,
    closed: CancellationToken,
}

struct OutgoingState {
    /// `None` after an error: the client is gone.
    sink: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    framing: Option<Framing>,
    /// Messages that wait for the framing.
    unframed: Vec<Vec<u8>>,
    control: VecDeque<Vec<u8>>,
    /// How many bytes of the first control chunk have been written.
    control_written: usize,
    /// How many bytes of control have not been written.
    control_backlog: usize,
    /// The bulk frames that are being written.
    bulk: Option<BulkFrames>,
    /// The bulk buffer while nobody uses it.
    spare: Vec<u8>,
    /// The flusher polls the stream. Nobody else may poll it then, because that would replace the flusher's waker.
    flushing: bool,
    /// The stream was full since the last call of [`Bulk::was_blocked`].
    blocked: bool,
    /// Something was written since the stream was flushed.
    dirty: bool,
}

impl Outgoing {
    /// Sends to `sink`. Needs a tokio runtime around it.
    pub(crate) fn new(sink: impl AsyncWrite + Send + 'static) -> Self {
        let lanes = Arc::new(OutgoingLanes {
            state: Mutex::new(OutgoingState {
                sink: Some(Box::pin(sink)),
                framing: None,
                unframed: Vec::new(),
                control: VecDeque::new(),
                control_written: 0,
                control_backlog: 0,
                bulk: None,
                spare: Vec::new(),
                flushing: false,
                blocked: false,
                dirty: false,
            }),
            flush_wanted: Notify::new(),
            progress: Notify::new(),
            bulk_lock: Arc::default(),
            closed: CancellationToken::new(),
        });
        let flusher = AbortOnDropHandle::new(tokio::spawn(run_flusher(lanes.clone())));
        Self { lanes, _flusher: Arc::new(flusher) }
    }

    /// Sets the framing and sends the messages that waited for it. Only the first call has an effect.
    pub(crate) fn set_framing(&self, framing: Framing) {
        let mut state = self.lanes.lock();
        if state.framing.is_some() {
            return;
        }
        state.framing = Some(framing);
        for message in mem::take(&mut state.unframed) {
            state.control_backlog -= message.len();
            state.push(framing, b"", message, b"");
        }
        self.lanes.write_some(&mut state);
        self.lanes.progress.notify_waiters();
    }

    /// Sends one message, which is JSON without a line feed. It never waits, keeps the order of calls, and goes before
    /// bulk frames that have not begun.
    pub(crate) fn control(&self, message: Vec<u8>) {
        self.control_in_parts(b"", message, b"");
    }

    /// As [`Self::control`], for a message in three parts. A large `body` is not copied.
    pub(crate) fn control_in_parts(&self, head: &[u8], body: Vec<u8>, tail: &[u8]) {
        let mut state = self.lanes.lock();
        if state.sink.is_none() {
            return;
        }
        match state.framing {
            Some(framing) => state.push(framing, head, body, tail),
            None => {
                let message = [head, &body, tail].concat();
                state.control_backlog += message.len();
                state.unframed.push(message);
            }
        }
        self.lanes.write_some(&mut state);
    }

    /// How many bytes of control the client has not taken.
    pub(crate) fn control_backlog(&self) -> usize {
        self.lanes.lock().control_backlog
    }

    /// Waits until at most `bytes` of control wait, or the client is gone.
    pub(crate) async fn control_below(&self, bytes: usize) {
        // An error means that the client is gone, which ends the wait as well.
        self.lanes.wait_until(|state| state.control_backlog <= bytes).await.ok();
    }

    /// Waits for exclusive use of the bulk lane. Tasks get it in the order in which they called this.
    pub(crate) async fn bulk(&self) -> Bulk {
        let guard = self.lanes.bulk_lock.clone().lock_owned().await;
        // The task before may have been aborted while its frames were being written. An error means that the client is
        // gone; `Bulk::flush` reports that.
        self.lanes.wait_until(|state| state.bulk.is_none() && state.framing.is_some()).await.ok();
        let mut state = self.lanes.lock();
        let frames = BulkFrames { bytes: mem::take(&mut state.spare), ..BulkFrames::default() };
        let framing = state.framing.unwrap_or(Framing::Lsp);
        drop(state);
        Bulk { lanes: self.lanes.clone(), frames, framing, _guard: guard }
    }

    /// Waits until everything that was sent has been written and flushed, or the client is gone. A client that does not
    /// read keeps it waiting.
    pub(crate) async fn drained(&self) {
        // An error means that the client is gone, which ends the wait as well.
        self.lanes.wait_until(|state| state.control.is_empty() && state.bulk.is_none() && !state.dirty).await.ok();
    }

    /// Waits until a write has failed. The client is gone then, and whatever is sent is dropped.
    pub(crate) async fn closed(&self) {
        self.lanes.closed.cancelled().await;
    }
}

impl Bulk {
    /// Appends the notification `method` to the frames. Its params are the pieces of `params` joined, JSON without a
    /// line feed.
    pub(crate) fn frame(&mut self, method: &str, params: &[&[u8]]) {
        const BEFORE: &[u8] = br#"{"jsonrpc":"2.0","method":""#;
        const BETWEEN: &[u8] = br#"","params":"#;
        const AFTER: &[u8] = b"}";
        debug_assert!(!method.contains(['"', '\\']), "method names need no escapes");
        let length: usize = params.iter().map(|piece| piece.len()).sum();
        let length = BEFORE.len() + method.len() + BETWEEN.len() + length + AFTER.len();
        let bytes = &mut self.frames.bytes;
        bytes.extend_from_slice(self.framing.header(length).as_bytes());
        for piece in [BEFORE, method.as_bytes(), BETWEEN].iter().chain(params).chain([&AFTER]) {
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(self.framing.trailer());
        self.frames.ends.push(self.frames.bytes.len());
    }

    /// Whether the stream was full since the last call.
    pub(crate) fn was_blocked(&self) -> bool {
        mem::take(&mut self.lanes.lock().blocked)
    }

    /// Sends the frames and waits until they have been written. An error means that the client is gone. Dropping the
    /// future releases the bulk lane; once polled, the frames are written all the same.
    pub(crate) async fn flush(mut self) -> io::Result<()> {
        {
            let mut state = self.lanes.lock();
            if state.sink.is_some() {
                state.bulk = Some(mem::take(&mut self.frames));
                self.lanes.write_some(&mut state);
            }
        }
        self.lanes.wait_until(|state| state.bulk.is_none()).await
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        if self.frames.bytes.capacity() > 0 {
            self.lanes.lock().keep_spare(mem::take(&mut self.frames.bytes));
        }
    }
}

impl OutgoingLanes {
    fn lock(&self) -> MutexGuard<'_, OutgoingState> {
        self.state.lock()
    }

    /// Writes what the stream accepts at once, and leaves the rest to the flusher.
    fn write_some(&self, state: &mut OutgoingState) {
        if state.flushing {
            return;
        }
        // Without `unconstrained`, tokio reports a writable stream as full when the task's budget is used up.
        let pump = unconstrained(poll_fn(|context| state.poll_pump(context)));
        match pin!(pump).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => self.pump_ended(state, result),
            Poll::Pending => {
                state.flushing = true;
                self.progress.notify_waiters();
                self.flush_wanted.notify_one();
            }
        }
    }

    fn pump_ended(&self, state: &mut OutgoingState, result: io::Result<()>) {
        state.flushing = false;
        if let Err(error) = result {
            tracing::debug!(%error, "the client is gone");
            state.drop_everything();
            self.closed.cancel();
        }
        self.progress.notify_waiters();
    }

    async fn wait_until(&self, done: impl Fn(&OutgoingState) -> bool) -> io::Result<()> {
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            {
                let state = self.lock();
                if state.sink.is_none() {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if done(&state) {
                    return Ok(());
                }
            }
            progress.await;
        }
    }
}

/// The flusher task: writes what the stream did not accept at once.
async fn run_flusher(lanes: Arc<OutgoingLanes>) {
    loop {
        lanes.flush_wanted.notified().await;
        poll_fn(|context| {
            let mut state = lanes.lock();
            match state.poll_pump(context) {
                Poll::Ready(result) => {
                    lanes.pump_ended(&mut state, result);
                    Poll::Ready(())
                }
                Poll::Pending => {
                    lanes.progress.notify_waiters();
                    Poll::Pending
                }
            }
        })
        .await;
    }
}

impl OutgoingState {
    fn push(&mut self, framing: Framing, head: &[u8], mut body: Vec<u8>, tail: &[u8]) {
        let header = framing.header(head.len() + body.len() + tail.len());
        let head = [header.as_bytes(), head].concat();
        let tail = [tail, framing.trailer()].concat();
        let length = head.len() + body.len() + tail.len();
        self.control_backlog += length;
        match self.control.back_mut() {
            Some(last) if last.len() + length <= MAX_CONTROL_PIECE_BYTES => [head, body, tail].iter().for_each(|part| last.extend(part)),
            _ if length <= MAX_CONTROL_PIECE_BYTES => self.control.push_back([head, body, tail].concat()),
            // A large message is not copied only to put something before it.
            _ => {
                if !head.is_empty() {
                    self.control.push_back(head);
                }
                body.extend(tail);
                self.control.push_back(body);
            }
        }
    }

    /// Writes until nothing is left or the stream is full: control first, bulk otherwise, but never into the middle of
    /// a frame.
    fn poll_pump(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(sink) = &mut self.sink else { return Poll::Ready(Ok(())) };
        loop {
            let is_mid_frame = self.bulk.as_ref().is_some_and(BulkFrames::is_mid_frame);
            if let Some(piece) = self.control.front().filter(|_| !is_mid_frame) {
                let written = write(sink, context, &piece[self.control_written..], &mut self.blocked);
                let written = ready!(written)?;
                self.dirty = true;
                self.control_written += written;
                self.control_backlog -= written;
                if self.control_written == piece.len() {
                    self.control.pop_front();
                    self.control_written = 0;
                }
                continue;
            }
            let Some(frames) = &mut self.bulk else { break };
            if frames.written < frames.bytes.len() {
                let rest = frames.rest(!self.control.is_empty());
                let written = ready!(write(sink, context, rest, &mut self.blocked))?;
                self.dirty = true;
                frames.advance(written);
            }
            if frames.written == frames.bytes.len() {
                let buffer = mem::take(&mut frames.bytes);
                self.bulk = None;
                keep_buffer(&mut self.spare, buffer);
            }
        }
        if self.dirty {
            ready!(sink.as_mut().poll_flush(context))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn keep_spare(&mut self, buffer: Vec<u8>) {
        keep_buffer(&mut self.spare, buffer);
    }

    /// Drops the stream and everything that waits for it, because the client is gone.
    fn drop_everything(&mut self) {
        self.sink = None;
        self.unframed = Vec::new();
        self.control = VecDeque::new();
        self.control_written = 0;
        self.control_backlog = 0;
        self.bulk = None;
        self.spare = Vec::new();
        self.dirty = false;
    }
}

fn write(
    sink: &mut Pin<Box<dyn AsyncWrite + Send>>,
    context: &mut Context<'_>,
    bytes: &[u8],
    blocked: &mut bool,
) -> Poll<io::Result<usize>> {
    match sink.as_mut().poll_write(context, bytes) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Poll::Pending => {
            *blocked = true;
            Poll::Pending
        }
        ready => ready,
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
