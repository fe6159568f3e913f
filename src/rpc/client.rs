//! A client of the protocol, for the command line.
//!
//! jsonrpsee's client makes the calls. It drops notifications when nobody reads them fast enough, so our transport
//! takes them out of the stream before jsonrpsee sees them, and puts them into a bounded channel: a slow reader slows
//! the server down and loses nothing.

use std::{borrow::Borrow, io, time::Duration};

use bytes::BytesMut;
use futures_util::StreamExt;
use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientBuilder, ClientT, ReceivedMessage, TransportReceiverT, TransportSenderT},
        traits::ToRpcParams,
    },
    types::ErrorObject,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::codec::{Encoder, FramedRead};

use super::frame::{DEFAULT_MAX_FRAME_BYTES, FrameCodec, FrameError, Framing};
use crate::model::{Failure, FailureKind, calls::ErrorData, methods::Method};

/// Most notifications that wait for their reader.
const MAX_QUEUED_NOTIFICATIONS: usize = 256;

/// Longest frame that a client accepts. It is above the server's limit for requests, so that no answer is refused.
pub(crate) const CLIENT_MAX_FRAME_BYTES: usize = 4 * DEFAULT_MAX_FRAME_BYTES;

/// jsonrpsee demands a timeout. Some answers come only when a run ends, so this one is as good as none.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A connection to a server. Dropping it closes the server's stdin.
pub(crate) struct Client {
    rpc: jsonrpsee::core::client::Client,
}

/// The notifications of a connection, in order. Somebody must read them or drop this value: an answer is received only
/// after the notifications that the server sent before it. Once this value is dropped, notifications are discarded.
pub(crate) struct Notifications(mpsc::Receiver<Notification>);

/// A notification from the server.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) method: String,
    pub(crate) params: Box<RawValue>,
}

impl Client {
    /// A client over two byte streams. Must be called within a tokio runtime.
    pub(crate) fn over<R, W>(reader: R, writer: W, framing: Framing) -> (Self, Notifications)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, notifications) = mpsc::channel(MAX_QUEUED_NOTIFICATIONS);
        let codec = FrameCodec::new(Some(framing), CLIENT_MAX_FRAME_BYTES);
        let receiver = FrameReceiver { frames: FramedRead::new(reader, codec), notifications: sender };
        let sender = FrameSender { writer, codec: FrameCodec::new(Some(framing), CLIENT_MAX_FRAME_BYTES), buffer: BytesMut::new() };
        let builder = ClientBuilder::default().request_timeout(REQUEST_TIMEOUT).max_concurrent_requests(4096);
        (Self { rpc: builder.build_with_tokio(sender, receiver) }, Notifications(notifications))
    }

    /// Whether the server may still answer.
    pub(crate) fn is_connected(&self) -> bool {
        self.rpc.is_connected()
    }

    /// Calls a method and waits for its answer, however long that takes. An error answer is returned as the server's
    /// failure. A connection that ended, or an answer that cannot be read, is returned as `internal`.
    pub(crate) async fn call<M: Method>(&self, method: M, params: impl Borrow<M::Params>) -> Result<M::Result, Failure> {
        self.call_as(method, params).await
    }

    /// As [`Self::call`], for a caller that reads the result in its own way.
    pub(crate) async fn call_as<M: Method, R: DeserializeOwned>(&self, _: M, params: impl Borrow<M::Params>) -> Result<R, Failure> {
        self.request(M::NAME.as_str(), params.borrow()).await
    }

    /// As [`Self::call_as`], by the method's name.
    pub(crate) async fn request<R: DeserializeOwned>(&self, method: &str, params: &impl Serialize) -> Result<R, Failure> {
        let params = RawParams::of(params)?;
        self.rpc.request(method, params).await.map_err(|error| failure_from(method, error))
    }

    /// Sends a notification.
    pub(crate) async fn notify<P: Serialize>(&self, method: &str, params: P) -> Result<(), Failure> {
        let params = RawParams::of(&params)?;
        self.rpc.notification(method, params).await.map_err(|error| failure_from(method, error))
    }
}

impl Notifications {
    /// The next notification; `None` when the connection has ended and all have been read.
    pub(crate) async fn next(&mut self) -> Option<Notification> {
        self.0.recv().await
    }
}

fn failure_from(method: &str, error: ClientError) -> Failure {
    match error {
        ClientError::Call(error) => failure_of(&error),
        ClientError::ParseError(error) => Failure::internal(format!("the answer to `{method}` is invalid: {error}")),
        ClientError::RestartNeeded(error) => connection_end(error),
        error => connection_end(error),
    }
}

/// The member of a failure's data that is there if the connection ended before the answer.
const CONNECTION_END: &str = "connectionEnded";

fn connection_end(error: impl std::fmt::Display) -> Failure {
    Failure::internal(format!("the connection to the server ended: {error}")).with(CONNECTION_END, true)
}

/// Whether a request has no answer because its connection ended.
pub(crate) fn is_connection_end(failure: &Failure) -> bool {
    failure.data.contains_key(CONNECTION_END)
}

/// Reads an error answer as the failure that the server sent. Where `data` has no kind that we know, the code decides.
fn failure_of(error: &ErrorObject<'_>) -> Failure {
    let message = error.message().to_owned();
    match error.data().map(|data| serde_json::from_str(data.get())) {
        Some(Ok(ErrorData { kind, more })) => Failure { kind, message, data: more },
        _ => {
            let kind = FailureKind::ALL.iter().copied().find(|kind| kind.code() == error.code());
            Failure::new(kind.unwrap_or(FailureKind::Internal), message)
        }
    }
}

struct RawParams(Option<Box<RawValue>>);

impl RawParams {
    fn of<P: Serialize>(params: &P) -> Result<Self, Failure> {
        let raw = to_raw_value(params).map_err(|error| Failure::internal(format!("the params cannot be written as JSON: {error}")))?;
        Ok(Self((raw.get() != "null").then_some(raw)))
    }
}

impl ToRpcParams for RawParams {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

struct FrameSender<W> {
    writer: W,
    codec: FrameCodec,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin + Send + 'static> TransportSenderT for FrameSender<W> {
    type Error = FrameError;

    async fn send(&mut self, message: String) -> Result<(), FrameError> {
        self.codec.encode(message.as_bytes(), &mut self.buffer)?;
        self.writer.write_all_buf(&mut self.buffer).await?;
        Ok(self.writer.flush().await?)
    }

    async fn close(&mut self) -> Result<(), FrameError> {
        Ok(self.writer.shutdown().await?)
    }
}

struct FrameReceiver<R> {
    frames: FramedRead<R, FrameCodec>,
    notifications: mpsc::Sender<Notification>,
}

/// The members that distinguish an answer from a notification.
#[derive(Deserialize)]
struct IncomingMessage<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<R: AsyncRead + Unpin + Send + 'static> TransportReceiverT for FrameReceiver<R> {
    type Error = FrameError;

    async fn receive(&mut self) -> Result<ReceivedMessage, FrameError> {
        loop {
            let frame = match self.frames.next().await {
                Some(frame) => frame?,
                None => return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())),
            };
            let Ok(incoming) = serde_json::from_slice::<IncomingMessage<'_>>(&frame) else {
                return Err(FrameError::Broken(Failure::parse("the server sent something that is not a message")));
            };
            let Some(method) = incoming.method else {
                // An error without an id belongs to no call: the server could not find or read a message of ours.
                if let (None, Some(error)) = (incoming.id, incoming.error) {
                    return Err(FrameError::Broken(Failure::parse(format!("the server refused a message: {error}"))));
                }
                return Ok(ReceivedMessage::Bytes(frame.into()));
            };
            if incoming.id.is_none() {
                let params = incoming.params.unwrap_or(RawValue::NULL).to_owned();
                // An error means that `Notifications` was dropped; the notification is discarded then.
                self.notifications.send(Notification { method, params }).await.ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::{
        io::{duplex, split},
        task::JoinHandle,
        time::timeout,
    };

    use super::*;
    use crate::{
        model::FailureKind,
        rpc::{ConnectionEnd, Flow, HandlerFuture, Outgoing, RequestContext, Service, connection::serve},
    };

    const DEADLINE: Duration = Duration::from_secs(20);

    struct EchoService;

    impl Service for EchoService {
        type Method = String;

        fn admit(&self, method: &str) -> Result<String, Failure> {
            if matches!(method, "echo" | "fail") { Ok(method.to_owned()) } else { Err(Failure::method_not_found(method)) }
        }

        fn call(&self, method: String, params: Option<Box<RawValue>>, _: RequestContext) -> HandlerFuture {
            Box::pin(async move {
                match method.as_str() {
                    "echo" => Ok(params.map_or("null".to_owned(), |params| params.get().to_owned()).into_bytes()),
                    _ => Err(Failure::unsupported("steer", "cannot be steered")),
                }
            })
        }

        fn notification(&self, method: &str, _: Option<&RawValue>) -> Flow {
            if method == "exit" { Flow::Exit(0) } else { Flow::Continue }
        }
    }

    fn connected(framing: Framing) -> (Client, Notifications, Outgoing, JoinHandle<ConnectionEnd>) {
        let (ours, theirs) = duplex(1 << 16);
        let (reader, writer) = split(theirs);
        let outgoing = Outgoing::new(writer);
        let server = serve(reader, FrameCodec::new(None, DEFAULT_MAX_FRAME_BYTES), EchoService, outgoing.clone());
        let server = tokio::spawn(server);
        let (reader, writer) = split(ours);
        let (client, notifications) = Client::over(reader, writer, framing);
        (client, notifications, outgoing, server)
    }

    #[tokio::test]
    async fn calls_are_answered_in_both_framings() {
        for framing in [Framing::Lsp, Framing::Ndjson] {
            let (client, _notifications, _outgoing, _server) = connected(framing);
            let params = json!({"text": "two\nlines é"});
            assert_eq!(client.request::<Value>("echo", &params).await.expect("answers"), params);
            assert_eq!(client.request::<Value>("echo", &()).await.expect("answers"), Value::Null);
        }
    }

    #[tokio::test]
    async fn an_error_answer_is_the_servers_failure() {
        let (client, _notifications, _outgoing, _server) = connected(Framing::Lsp);
        let failure = client.request::<Value>("fail", &()).await.expect_err("fails");
        assert_eq!(failure, Failure::unsupported("steer", "cannot be steered"));
        let failure = client.request::<Value>("none", &()).await.expect_err("fails");
        assert_eq!(failure.kind, FailureKind::MethodNotFound);
    }

    #[test]
    fn a_failure_comes_back_as_it_was() {
        for kind in FailureKind::ALL.iter().copied() {
            let data = serde_json::json!({ "kind": kind, "field": "a.b", "known": ["x"] });
            let failure = Failure::new(kind, "what to do").with("field", "a.b").with("known", vec!["x".to_owned()]);
            assert_eq!(failure_of(&ErrorObject::owned(kind.code(), "what to do", Some(data))), failure);
        }
    }

    #[test]
    fn an_error_without_our_data_gets_its_kind_from_its_code() {
        let kind = |code| failure_of(&ErrorObject::owned(code, "message", Some("text"))).kind;
        assert_eq!(kind(-32601), FailureKind::MethodNotFound);
        assert_eq!(kind(-1), FailureKind::Internal);
    }

    /// The server sends more than all buffers in between hold, to a reader that begins late.
    #[tokio::test]
    async fn a_slow_reader_loses_no_notification() {
        let (client, mut notifications, outgoing, _server) = connected(Framing::Lsp);
        client.request::<Value>("echo", &()).await.expect("answers");
        let mut flood = tokio::spawn(async move {
            for number in 0..20_000 {
                let mut bulk = outgoing.bulk().await;
                bulk.frame("run/output", &[b"{\"seq\":", number.to_string().as_bytes(), b"}"]);
                bulk.flush().await.expect("out");
            }
        });
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!flood.is_finished(), "the reader holds the writer up");
        let read = async {
            for number in 0..20_000 {
                let notification = notifications.next().await.expect("a notification");
                assert_eq!(notification.method, "run/output");
                assert_eq!(notification.params.get(), format!("{{\"seq\":{number}}}"));
            }
        };
        timeout(DEADLINE, read).await.expect("all come");
        (&mut flood).await.expect("no panic");
    }

    #[tokio::test]
    async fn the_end_of_the_server_ends_the_notifications_and_fails_the_calls() {
        let (client, mut notifications, outgoing, server) = connected(Framing::Lsp);
        client.notify("exit", ()).await.expect("sends");
        assert_eq!(timeout(DEADLINE, server).await.expect("in time").expect("no panic"), ConnectionEnd::Exit(0));
        drop(outgoing);
        assert!(timeout(DEADLINE, notifications.next()).await.expect("in time").is_none());
        let failure = timeout(DEADLINE, client.request::<Value>("echo", &())).await.expect("in time").expect_err("fails");
        assert_eq!(failure.kind, FailureKind::Internal);
    }

    #[tokio::test]
    async fn dropping_the_client_ends_the_server() {
        let (client, notifications, _outgoing, server) = connected(Framing::Ndjson);
        assert_eq!(client.request::<Value>("echo", &()).await.expect("answers"), Value::Null);
        drop((client, notifications));
        assert_eq!(timeout(DEADLINE, server).await.expect("in time").expect("no panic"), ConnectionEnd::Eof);
    }
}
