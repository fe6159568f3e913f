//! Everything that a server sends, in two lanes over one output.
//!
//! `control` is for answers and rare notifications: it never waits and overtakes bulk between two frames.
//! `bulk` is for floods: whoever has the turn fills the connection's one buffer and waits until the client took it.
//!
//! Only one party polls the output at a time. Whoever has something tries once, without waiting; what does not
//! fit belongs to the flusher task, so that no aborted task can leave half a frame behind
//! (test `an_aborted_flush_cuts_no_frame`).

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io, mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::AsyncWrite,
    sync::{Mutex as Turn, Notify, OwnedMutexGuard},
    task::{AbortHandle, coop::unconstrained},
};
use tokio_util::sync::CancellationToken;

use super::frame::Framing;

/// Room that the bulk buffer keeps between two turns, in bytes.
const KEPT_CAPACITY: usize = 2 << 20;

/// Small control messages that wait are put together up to this size, in bytes.
const CONTROL_PIECE: usize = 64 << 10;

/// The output of one connection. Cheap to clone; the last clone ends it.
#[derive(Clone)]
pub struct Outgoing {
    lanes: Arc<Lanes>,
    _flusher: Arc<AbortOnDrop>,
}

/// A turn at the output: nobody else sends bulk until it is flushed or dropped.
pub struct Bulk {
    lanes: Arc<Lanes>,
    frames: Frames,
    framing: Framing,
    _turn: OwnedMutexGuard<()>,
}

struct Lanes {
    state: Mutex<State>,
    /// Wakes the flusher: the output did not take everything.
    kick: Notify,
    /// Tells those who wait that bytes went out, or never will.
    moved: Notify,
    turn: Arc<Turn<()>>,
    gone: CancellationToken,
}

struct State {
    /// `None` after an error: the client is gone.
    sink: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    framing: Option<Framing>,
    /// Messages that wait for the framing.
    unframed: Vec<Vec<u8>>,
    control: VecDeque<Vec<u8>>,
    /// Bytes of the first control piece that are out.
    control_written: usize,
    /// Bytes of control that are not out.
    control_backlog: usize,
    /// The turn's frames, once they are to go out.
    bulk: Option<Frames>,
    /// The bulk buffer while nobody uses it.
    spare: Vec<u8>,
    /// The flusher polls the output; nobody else may, or its wake-up would be lost.
    flushing: bool,
    /// The output was full since somebody asked.
    blocked: bool,
    /// Something was written since the output was flushed.
    dirty: bool,
}

/// Whole frames, and how far they are out.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
    written: usize,
    /// How many frames are out.
    passed: usize,
}

struct AbortOnDrop(AbortHandle);

impl Outgoing {
    /// Sends to `sink`. Needs a tokio runtime around it.
    pub fn new(sink: impl AsyncWrite + Send + 'static) -> Self {
        let lanes = Arc::new(Lanes {
            state: Mutex::new(State {
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
            kick: Notify::new(),
            moved: Notify::new(),
            turn: Arc::default(),
            gone: CancellationToken::new(),
        });
        let flusher = tokio::spawn(flush_what_waits(lanes.clone())).abort_handle();
        Self { lanes, _flusher: Arc::new(AbortOnDrop(flusher)) }
    }

    /// Says how messages are framed; those that wait for it go out. Only the first call counts.
    pub fn set_framing(&self, framing: Framing) {
        let mut state = self.lanes.lock();
        if state.framing.is_some() {
            return;
        }
        state.framing = Some(framing);
        for message in mem::take(&mut state.unframed) {
            state.control_backlog -= message.len();
            state.push(framing, message);
        }
        self.lanes.write_some(&mut state);
        self.lanes.moved.notify_waiters();
    }

    /// Sends one whole message of JSON without a line feed. Never waits; keeps the order of calls; goes before bulk that waits.
    pub fn control(&self, message: Vec<u8>) {
        let mut state = self.lanes.lock();
        if state.sink.is_none() {
            return;
        }
        match state.framing {
            Some(framing) => state.push(framing, message),
            None => {
                state.control_backlog += message.len();
                state.unframed.push(message);
            }
        }
        self.lanes.write_some(&mut state);
    }

    /// Bytes of control that the client has not taken.
    pub fn control_backlog(&self) -> usize {
        self.lanes.lock().control_backlog
    }

    /// Waits until at most `bytes` of control wait, or the client is gone.
    pub async fn control_below(&self, bytes: usize) {
        self.lanes.until(|state| state.control_backlog <= bytes).await.ok();
    }

    /// Waits for the turn at the output. Turns are given in the order of asking.
    pub async fn bulk(&self) -> Bulk {
        let turn = self.lanes.turn.clone().lock_owned().await;
        // The holder before may have been aborted with its frames half out.
        self.lanes.until(|state| state.bulk.is_none() && state.framing.is_some()).await.ok();
        let mut state = self.lanes.lock();
        let frames = Frames { bytes: mem::take(&mut state.spare), ..Frames::default() };
        let framing = state.framing.unwrap_or(Framing::Lsp);
        drop(state);
        Bulk { lanes: self.lanes.clone(), frames, framing, _turn: turn }
    }

    /// Waits until everything that was sent is out, or the client is gone. A client that does not read keeps it waiting.
    pub async fn drained(&self) {
        self.lanes.until(|state| state.control.is_empty() && state.bulk.is_none() && !state.dirty).await.ok();
    }

    /// Waits until a write failed: the client is gone, and what is sent from now on is dropped.
    pub async fn closed(&self) {
        self.lanes.gone.cancelled().await;
    }
}

impl Bulk {
    /// Appends the notification `method` with the concatenated `params`, which are JSON without a line feed.
    pub fn frame(&mut self, method: &str, params: &[&[u8]]) {
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

    /// Bytes in the buffer, headers included.
    pub fn len(&self) -> usize {
        self.frames.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.bytes.is_empty()
    }

    /// Whether the client kept this connection waiting since somebody last asked.
    pub fn was_blocked(&self) -> bool {
        mem::take(&mut self.lanes.lock().blocked)
    }

    /// Sends the frames and waits until they are out. An error says that the client is gone.
    /// Dropping the future gives the turn on; what was begun goes out all the same.
    pub async fn flush(mut self) -> io::Result<()> {
        {
            let mut state = self.lanes.lock();
            if state.sink.is_some() {
                state.bulk = Some(mem::take(&mut self.frames));
                self.lanes.write_some(&mut state);
            }
        }
        self.lanes.until(|state| state.bulk.is_none()).await
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        if self.frames.bytes.capacity() > 0 {
            self.lanes.lock().keep(mem::take(&mut self.frames.bytes));
        }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the output takes at once, and leaves the rest to the flusher.
    fn write_some(&self, state: &mut State) {
        if state.flushing {
            return;
        }
        // Out of the task's budget, or tokio would call a free output full.
        let pump = unconstrained(poll_fn(|context| state.poll_pump(context)));
        match pin!(pump).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => self.settle(state, result),
            Poll::Pending => {
                state.flushing = true;
                self.moved.notify_waiters();
                self.kick.notify_one();
            }
        }
    }

    fn settle(&self, state: &mut State, result: io::Result<()>) {
        state.flushing = false;
        if let Err(error) = result {
            tracing::debug!(%error, "the client is gone");
            state.lose();
            self.gone.cancel();
        }
        self.moved.notify_waiters();
    }

    async fn until(&self, done: impl Fn(&State) -> bool) -> io::Result<()> {
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            {
                let state = self.lock();
                if state.sink.is_none() {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if done(&state) {
                    return Ok(());
                }
            }
            moved.await;
        }
    }
}

/// The flusher: writes what the output did not take at once.
async fn flush_what_waits(lanes: Arc<Lanes>) {
    loop {
        lanes.kick.notified().await;
        poll_fn(|context| {
            let mut state = lanes.lock();
            match state.poll_pump(context) {
                Poll::Ready(result) => {
                    lanes.settle(&mut state, result);
                    Poll::Ready(())
                }
                Poll::Pending => {
                    lanes.moved.notify_waiters();
                    Poll::Pending
                }
            }
        })
        .await;
    }
}

impl State {
    fn push(&mut self, framing: Framing, mut message: Vec<u8>) {
        let header = framing.header(message.len());
        let trailer = framing.trailer();
        let length = header.len() + message.len() + trailer.len();
        self.control_backlog += length;
        match self.control.back_mut() {
            Some(last) if last.len() + length <= CONTROL_PIECE => {
                last.extend_from_slice(header.as_bytes());
                last.extend_from_slice(&message);
                last.extend_from_slice(trailer);
            }
            _ if length <= CONTROL_PIECE => self.control.push_back([header.as_bytes(), &message, trailer].concat()),
            // A large message is not copied for the sake of its header.
            _ => {
                if !header.is_empty() {
                    self.control.push_back(header.into_bytes());
                }
                message.extend_from_slice(trailer);
                self.control.push_back(message);
            }
        }
    }

    /// Writes until nothing is left or the output is full.
    fn poll_pump(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(sink) = &mut self.sink else { return Poll::Ready(Ok(())) };
        loop {
            let mid_frame = self.bulk.as_ref().is_some_and(Frames::mid_frame);
            if let Some(piece) = self.control.front().filter(|_| !mid_frame) {
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
                keep(&mut self.spare, buffer);
            }
        }
        if self.dirty {
            ready!(sink.as_mut().poll_flush(context))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, buffer: Vec<u8>) {
        keep(&mut self.spare, buffer);
    }

    /// The client is gone: drops everything that waits.
    fn lose(&mut self) {
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

/// Keeps an emptied buffer for the next turn, unless it has grown too large for that.
fn keep(spare: &mut Vec<u8>, mut buffer: Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
    *spare = buffer;
}

impl Frames {
    fn mid_frame(&self) -> bool {
        let begun_at = if self.passed == 0 { 0 } else { self.ends[self.passed - 1] };
        self.written > begun_at
    }

    /// What is to be written next: everything, or only up to the end of the frame that was begun.
    fn rest(&self, to_frame_end: bool) -> &[u8] {
        let end = if to_frame_end { self.ends[self.passed] } else { self.bytes.len() };
        &self.bytes[self.written..end]
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        while self.ends.get(self.passed).is_some_and(|&end| end <= self.written) {
            self.passed += 1;
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
