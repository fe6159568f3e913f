//! Serves one client: reads its frames in order, runs the handlers of its requests, answers through [`Outgoing`].
//!
//! **Order.** [`serve`] polls every handler once, itself, before it reads the next message, and spawns only those that
//! are not ready then. So what a handler does before its first `await` happens in the order of the client's messages
//! (test `handlers_begin_in_the_order_of_arrival`). After that the handlers run concurrently.
//!
//! **Bounds.** [`serve`] handles no further frame while more than [`MAX_UNREAD_CONTROL_BYTES`] of answers wait for the
//! client.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{FutureExt, future::BoxFuture};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::{JoinSet, coop::consume_budget},
    time::timeout,
};
use tokio_util::codec::Decoder;

use super::{
    envelope::{self, Frame, Message, Params},
    frame::{FrameCodec, FrameError},
    in_flight::{Batch, InFlight, ReplySlot, RequestContext},
    outgoing::Outgoing,
};
use crate::model::Failure;

/// While more bytes of answers than this wait for the client, its frames are not handled.
pub(crate) const MAX_UNREAD_CONTROL_BYTES: usize = 8 << 20;

/// How many bytes are still read from a client whose frames are not handled, so that the end of its stream is noticed.
const MAX_READ_AHEAD_BYTES: usize = 1 << 20;

/// Least free capacity of the buffer for one read.
const READ_BLOCK_BYTES: usize = 64 << 10;

/// The memory of a longer frame is freed as soon as the frame has been handled.
const LARGE_FRAME_BYTES: usize = 1 << 20;

/// The notifications that cancel a request: ours, ACP's and MCP's.
const CANCEL_METHODS: &[&str] = &["$/cancelRequest", "$/cancel_request", "notifications/cancelled"];

/// How long handlers may go on after the input has ended, or after `exit`.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);

/// What serves a connection's messages.
pub(crate) trait Service {
    /// A method that may be called.
    type Method;

    /// The method of a request. Refuses one that is unknown, or that may not be served now, such as one before
    /// `initialize` or after `shutdown`.
    fn admit(&self, method: &str) -> Result<Self::Method, Failure>;

    /// The handler of a request. It does not begin before it is polled.
    fn call(&self, method: Self::Method, params: Option<Box<RawValue>>, context: RequestContext) -> HandlerFuture;

    /// Handles a notification, in order with the requests. The connection handles [`CANCEL_METHODS`] itself. An
    /// implementation ignores notifications that it does not know.
    fn notification(&self, method: &str, params: Option<&RawValue>) -> Flow;

    /// Handles the other side's answer to a request of ours: its result, or its error. A server that sends no requests
    /// ignores it.
    fn response(&self, _id: &RawValue, _outcome: Result<&RawValue, &RawValue>) {}

    /// The code of an error answer, where another protocol than ours numbers failures differently.
    fn error_code(failure: &Failure) -> i32
    where
        Self: Sized,
    {
        failure.kind.code()
    }
}

/// A handler that runs. Its result is the member `result` of the answer, as JSON without a line feed.
pub(crate) type HandlerFuture = BoxFuture<'static, Result<Vec<u8>, Failure>>;

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    /// The connection ends when all requests before have been answered, at the latest after [`LAST_ANSWERS_TIMEOUT`].
    /// The process exits with this code.
    Exit(i32),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The client closed its side.
    Eof,
    /// [`Service::notification`] returned [`Flow::Exit`].
    Exit(i32),
    /// The stream is broken, so the next message cannot be found. The client got an error; the process exits with 1.
    Broken,
    /// Reading from the client or writing to it failed.
    Gone,
}

/// Serves one client until its connection ends. Handlers that still run then have [`LAST_ANSWERS_TIMEOUT`] to answer,
/// and are dropped after that. A handler's params are an object or absent.
pub(crate) async fn serve<R, S>(mut reader: R, mut codec: FrameCodec, service: S, outgoing: Outgoing) -> ConnectionEnd
where
    R: AsyncRead + Unpin,
    S: Service,
{
    let in_flight = Arc::new(InFlight::new(outgoing.clone(), S::error_code));
    let mut connection = Connection { service, in_flight, tasks: JoinSet::new() };
    let mut buffer = BytesMut::new();
    let mut at_end = false;
    let outcome = loop {
        let is_paused = outgoing.control_backlog() > MAX_UNREAD_CONTROL_BYTES;
        if is_paused && at_end {
            if timeout(LAST_ANSWERS_TIMEOUT, outgoing.control_below(MAX_UNREAD_CONTROL_BYTES)).await.is_err() {
                break ConnectionEnd::Eof;
            }
            continue;
        }
        if is_paused {
            tokio::select! {
                () = outgoing.closed() => return ConnectionEnd::Gone,
                () = outgoing.control_below(MAX_UNREAD_CONTROL_BYTES) => {}
                read = read_some(&mut reader, &mut buffer), if buffer.len() < MAX_READ_AHEAD_BYTES => match read {
                    Ok(length) => at_end = length == 0,
                    Err(_) => return ConnectionEnd::Gone,
                },
            }
            continue;
        }
        let decoded = if at_end { codec.decode_eof(&mut buffer) } else { codec.decode(&mut buffer) };
        if let Some(framing) = codec.framing() {
            outgoing.set_framing(framing);
        }
        match decoded {
            Ok(Some(frame)) => {
                if let Flow::Exit(code) = connection.serve_frame(&frame) {
                    break ConnectionEnd::Exit(code);
                }
                if frame.len() > LARGE_FRAME_BYTES {
                    drop(frame);
                    buffer = BytesMut::from(&buffer[..]);
                }
                // A client that sends requests without a pause must not keep its own handlers from running on this
                // thread.
                consume_budget().await;
            }
            Ok(None) if at_end => break ConnectionEnd::Eof,
            Ok(None) => tokio::select! {
                () = outgoing.closed() => return ConnectionEnd::Gone,
                read = read_some(&mut reader, &mut buffer) => match read {
                    Ok(length) => at_end = length == 0,
                    Err(_) => return ConnectionEnd::Gone,
                },
            },
            Err(FrameError::Io(_)) => return ConnectionEnd::Gone,
            Err(FrameError::Broken(failure)) => {
                connection.in_flight.send_error(None, &failure, &ReplySlot::Alone);
                break ConnectionEnd::Broken;
            }
        }
    };
    let last_answers = async { while connection.tasks.join_next().await.is_some() {} };
    // Those that are not done by now are dropped with `connection.tasks`.
    timeout(LAST_ANSWERS_TIMEOUT, last_answers).await.ok();
    outcome
}

async fn read_some<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> std::io::Result<usize> {
    buffer.reserve(READ_BLOCK_BYTES);
    reader.read_buf(buffer).await
}

struct Connection<S> {
    service: S,
    in_flight: Arc<InFlight>,
    /// Handlers that were not ready at the first poll. They are aborted when the connection is dropped.
    tasks: JoinSet<()>,
}

impl<S: Service> Connection<S> {
    fn serve_frame(&mut self, frame: &[u8]) -> Flow {
        while self.tasks.try_join_next().is_some() {}
        match envelope::frame(frame) {
            Frame::One(message) => self.serve_one(message, ReplySlot::Alone),
            Frame::Batch(members) => self.serve_batch(&members),
            Frame::Invalid(failure) => {
                self.in_flight.send_error(None, &failure, &ReplySlot::Alone);
                Flow::Continue
            }
        }
    }

    fn serve_batch(&mut self, members: &[&RawValue]) -> Flow {
        // A member is always JSON, because the batch has been parsed as JSON; so `message` finds only invalid requests
        // here.
        let read = |member| envelope::message(member).unwrap_or_else(|failure| Message::Invalid { id: None, failure });
        let members: Vec<_> = members.iter().map(|member| read(member.get())).collect();
        let answers = members.iter().filter(|member| matches!(member, Message::Request { .. } | Message::Invalid { .. })).count();
        let batch = Arc::new(Batch::new(answers));
        let mut index = 0;
        for member in members {
            let slot = ReplySlot::Batch(batch.clone(), index);
            index += usize::from(matches!(member, Message::Request { .. } | Message::Invalid { .. }));
            if let Flow::Exit(code) = self.serve_one(member, slot) {
                return Flow::Exit(code);
            }
        }
        Flow::Continue
    }

    fn serve_one(&mut self, message: Message<'_>, slot: ReplySlot) -> Flow {
        match message {
            Message::Request { id, method, params } => self.request(id, method, params, slot),
            Message::Notification { method, params } if CANCEL_METHODS.contains(&method.as_str()) => self.cancel(params),
            Message::Notification { method, params } => return self.service.notification(&method, params),
            Message::Response { id, outcome } => self.service.response(id, outcome),
            Message::Invalid { id, failure } => self.in_flight.send_error(id, &failure, &slot),
        }
        Flow::Continue
    }

    fn request(&mut self, id: &RawValue, method: String, params: Params<'_>, slot: ReplySlot) {
        let admitted = self.service.admit(&method).and_then(|method| Ok((method, params?.map(ToOwned::to_owned))));
        let (method, params) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return self.in_flight.send_error(Some(id), &failure, &slot),
        };
        let Some(pending) = self.in_flight.begin(id, slot) else { return };
        let handler = AssertUnwindSafe(self.service.call(method, params, pending.context.clone())).catch_unwind();
        let in_flight = self.in_flight.clone();
        let mut answering = Box::pin(async move {
            let outcome = handler.await;
            in_flight.finish(&pending, outcome.ok());
        });
        if pin!(&mut answering).poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            self.tasks.spawn(answering);
        }
    }

    fn cancel(&self, params: Option<&RawValue>) {
        #[derive(Deserialize)]
        struct CancelledId<'a> {
            #[serde(borrow, alias = "requestId")]
            id: &'a RawValue,
        }
        if let Some(Ok(CancelledId { id })) = params.map(|params| serde_json::from_str(params.get())) {
            self.in_flight.cancel(id);
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
