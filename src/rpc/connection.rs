//! One client: reads its frames in order, serves its requests, answers through [`Outgoing`].
//!
//! **Order.** Every handler is polled once, inside the reader, before the next message is looked at; only what is
//! not ready then is spawned. So what a handler does before its first `await` happens in the order of the
//! client's messages (test `handlers_begin_in_the_order_of_arrival`). After that they run side by side.
//!
//! **Bounds.** No frame is looked at while a client leaves its answers unread beyond [`CONTROL_LIMIT`].

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::FutureExt;
use jsonrpsee::{
    MethodResponse, Methods,
    core::middleware::{Request, RpcServiceT},
    types::Id,
};
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
    in_flight::{Answer, Batch, InFlight, Place},
    outgoing::Outgoing,
    service::Service,
};
use crate::model::{Failure, FailureKind};

/// Unread answers, in bytes, from which on a client is not listened to.
pub const CONTROL_LIMIT: usize = 8 << 20;

/// What is read from a client that is not listened to, in bytes, so that its end is noticed.
const READ_AHEAD: usize = 1 << 20;

/// Least room for one read, in bytes.
const READ_SIZE: usize = 64 << 10;

/// From this length on, in bytes, a frame's memory is given back at once.
const LARGE_FRAME: usize = 1 << 20;

/// How long requests that were read may take to answer after the input ended, or after `exit`.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the connection asks its owner.
pub trait Hooks {
    /// Whether a request may be served now: before `initialize`, after `shutdown`, and so on.
    fn admit(&self, method: &str) -> Result<(), Failure>;

    /// A notification came, in order with the requests. `$/cancelRequest` never comes here. Unknown ones are to be ignored.
    fn notification(&self, method: &str, params: Option<&RawValue>) -> Flow;
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    /// It ends once what was asked before has been answered, or soon; the process exits with this code.
    Exit(i32),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client closed its side.
    Eof,
    /// A hook said so.
    Exit(i32),
    /// The next message could not be found; the client has been told. The process exits with 1.
    Broken,
    /// The client could not be read from or written to any more.
    Gone,
}

/// Serves one client until it goes. What handlers still do then is dropped, after a short time to answer.
///
/// Handlers find a [`super::Call`] in their extensions, and params that are an object or absent.
pub async fn serve<R, H>(mut reader: R, mut codec: FrameCodec, methods: Methods, hooks: H, outgoing: Outgoing) -> Ended
where
    R: AsyncRead + Unpin,
    H: Hooks,
{
    let in_flight = Arc::new(InFlight::new(outgoing.clone()));
    let mut connection = Connection { service: Service(methods), hooks, in_flight, tasks: JoinSet::new() };
    let mut buffer = BytesMut::new();
    let mut at_end = false;
    let ended = loop {
        let held = outgoing.control_backlog() > CONTROL_LIMIT;
        if held && at_end {
            if timeout(LAST_ANSWERS, outgoing.control_below(CONTROL_LIMIT)).await.is_err() {
                break Ended::Eof;
            }
            continue;
        }
        if held {
            tokio::select! {
                () = outgoing.closed() => return Ended::Gone,
                () = outgoing.control_below(CONTROL_LIMIT) => {}
                read = read_some(&mut reader, &mut buffer), if buffer.len() < READ_AHEAD => match read {
                    Ok(length) => at_end = length == 0,
                    Err(_) => return Ended::Gone,
                },
            }
            continue;
        }
        let found = if at_end { codec.decode_eof(&mut buffer) } else { codec.decode(&mut buffer) };
        if let Some(framing) = codec.framing() {
            outgoing.set_framing(framing);
        }
        match found {
            Ok(Some(frame)) => {
                if let Flow::Exit(code) = connection.take(&frame) {
                    break Ended::Exit(code);
                }
                if frame.len() > LARGE_FRAME {
                    drop(frame);
                    buffer = BytesMut::from(&buffer[..]);
                }
                // A client that floods us with requests shares the thread with its own handlers.
                consume_budget().await;
            }
            Ok(None) if at_end => break Ended::Eof,
            Ok(None) => tokio::select! {
                () = outgoing.closed() => return Ended::Gone,
                read = read_some(&mut reader, &mut buffer) => match read {
                    Ok(length) => at_end = length == 0,
                    Err(_) => return Ended::Gone,
                },
            },
            Err(FrameError::Io(_)) => return Ended::Gone,
            Err(FrameError::Broken(failure)) => {
                connection.in_flight.refuse(None, &failure, &Place::Alone);
                break Ended::Broken;
            }
        }
    };
    let last_answers = async { while connection.tasks.join_next().await.is_some() {} };
    timeout(LAST_ANSWERS, last_answers).await.ok();
    ended
}

async fn read_some<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> std::io::Result<usize> {
    buffer.reserve(READ_SIZE);
    reader.read_buf(buffer).await
}

struct Connection<H> {
    service: Service,
    hooks: H,
    in_flight: Arc<InFlight>,
    /// Handlers that were not ready at once. They end with the connection.
    tasks: JoinSet<()>,
}

impl<H: Hooks> Connection<H> {
    fn take(&mut self, frame: &[u8]) -> Flow {
        while self.tasks.try_join_next().is_some() {}
        match envelope::frame(frame) {
            Frame::One(message) => self.serve_one(message, Place::Alone),
            Frame::Batch(members) => self.serve_batch(&members),
            Frame::Bad(failure) => {
                self.in_flight.refuse(None, &failure, &Place::Alone);
                Flow::Continue
            }
        }
    }

    fn serve_batch(&mut self, members: &[&RawValue]) -> Flow {
        // Each member is JSON, or the batch would not be.
        let read = |member| envelope::message(member).unwrap_or_else(|failure| Message::Bad { id: None, failure });
        let members: Vec<_> = members.iter().map(|member| read(member.get())).collect();
        let answers = members.iter().filter(|member| matches!(member, Message::Request { .. } | Message::Bad { .. })).count();
        let batch = Arc::new(Batch::new(answers));
        let mut index = 0;
        for member in members {
            let place = Place::Batch(batch.clone(), index);
            index += usize::from(matches!(member, Message::Request { .. } | Message::Bad { .. }));
            if let Flow::Exit(code) = self.serve_one(member, place) {
                return Flow::Exit(code);
            }
        }
        Flow::Continue
    }

    fn serve_one(&mut self, message: Message<'_>, place: Place) -> Flow {
        match message {
            Message::Request { id, method, params } => self.request(id, method, params, place),
            Message::Notification { method, params } if method == "$/cancelRequest" => self.cancel(params),
            Message::Notification { method, params } => return self.hooks.notification(&method, params),
            Message::Response => {}
            Message::Bad { id, failure } => self.in_flight.refuse(id, &failure, &place),
        }
        Flow::Continue
    }

    fn request(&mut self, id: &RawValue, method: String, params: Params<'_>, place: Place) {
        let params = match self.check(&method, params) {
            Ok(params) => params.map(ToOwned::to_owned),
            Err(failure) => return self.in_flight.refuse(Some(id), &failure, &place),
        };
        let Some(pending) = self.in_flight.begin(id, place) else { return };
        let mut request = Request::owned(method, params, Id::Number(0));
        request.extensions_mut().insert(pending.call.clone());
        let mut handler = Box::pin(AssertUnwindSafe(self.service.call(request)).catch_unwind());
        match pin!(&mut handler).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => self.in_flight.finish(&pending, answer_of(ended)),
            Poll::Pending => {
                let in_flight = self.in_flight.clone();
                self.tasks.spawn(async move {
                    let ended = handler.await;
                    in_flight.finish(&pending, answer_of(ended));
                });
            }
        }
    }

    fn check<'a>(&self, method: &str, params: Params<'a>) -> Params<'a> {
        self.hooks.admit(method)?;
        if self.service.0.method(method).is_none() {
            return Err(Failure::method_not_found(method));
        }
        params
    }

    fn cancel(&self, params: Option<&RawValue>) {
        #[derive(Deserialize)]
        struct CancelParams<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        if let Some(Ok(CancelParams { id })) = params.map(|params| serde_json::from_str(params.get())) {
            self.in_flight.cancel(id);
        }
    }
}

fn answer_of(ended: Result<MethodResponse, Box<dyn Any + Send>>) -> Answer {
    let Ok(response) = ended else {
        return Answer::Failed(Failure::internal("the server failed on this request, which is a bug; the log has the details"));
    };
    let internal = response.as_error_code() == Some(FailureKind::Internal.code());
    let text: Box<str> = response.into_json().into();
    if !text.starts_with(Answer::SAID_BEFORE) || internal && !text.contains("\"kind\"") {
        return Answer::Failed(Failure::internal("the answer could not be written as JSON, which is a bug"));
    }
    Answer::Said(text)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
