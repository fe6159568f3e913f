//! A client of the protocol: for the command line, tests and benchmarks.
//!
//! Calls go through jsonrpsee's client. Its own way to receive notifications drops them when nobody reads fast
//! enough, so our transport takes them out before it sees them, into a bounded channel: a slow reader then
//! slows the server down, and loses nothing.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::StreamExt;
use jsonrpsee::core::{
    ClientError,
    client::{ClientBuilder, ClientT, ReceivedMessage, TransportReceiverT, TransportSenderT},
    traits::ToRpcParams,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::unix::pipe,
    sync::mpsc,
};
use tokio_util::codec::{Encoder, FramedRead};

use super::{
    frame::{DEFAULT_FRAME_LIMIT, FrameCodec, FrameError, Framing},
    service::failure_of,
};
use crate::model::Failure;

/// Notifications that may wait for their reader.
const WAITING_NOTIFICATIONS: usize = 256;

/// Longest frame that a client takes, in bytes: no answer of the server should be refused.
const CLIENT_FRAME_LIMIT: usize = 4 * DEFAULT_FRAME_LIMIT;

/// Some answers come when a run ends, so there is no limit that makes sense; this one stands for none.
const NO_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A connection to a server. Dropping it closes the server's input.
pub struct Client {
    calls: jsonrpsee::core::client::Client,
}

/// The notifications of a connection, in order. If it is dropped, they are thrown away; as long as it is there somebody
/// must read it, for answers come behind the notifications that the server sent before them.
pub struct Notifications(mpsc::Receiver<Notification>);

/// Something that the server told.
#[derive(Debug)]
pub struct Notification {
    pub method: String,
    pub params: Box<RawValue>,
}

/// A server that was started as a child.
pub struct Spawned {
    pub client: Client,
    pub notifications: Notifications,
    pub child: Child,
}

impl Client {
    /// A client over two byte streams. Needs a tokio runtime around it.
    pub fn over<R, W>(reader: R, writer: W, framing: Framing) -> (Self, Notifications)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, notifications) = mpsc::channel(WAITING_NOTIFICATIONS);
        let codec = FrameCodec::new(Some(framing), CLIENT_FRAME_LIMIT);
        let receiver = Receiver { frames: FramedRead::new(reader, codec), notifications: sender };
        let sender = Sender { writer, codec: FrameCodec::new(Some(framing), CLIENT_FRAME_LIMIT), buffer: BytesMut::new() };
        let builder = ClientBuilder::default().request_timeout(NO_TIMEOUT).max_concurrent_requests(4096);
        (Self { calls: builder.build_with_tokio(sender, receiver) }, Notifications(notifications))
    }

    /// Starts `program` with `args` and speaks to it over its standard input and output; its standard error is ours.
    pub fn spawn(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Spawned> {
        let (child, reader, writer) = start_child(program.as_ref(), args)?;
        let (client, notifications) = Self::over(reader, writer, Framing::Lsp);
        Ok(Spawned { client, notifications, child })
    }

    /// Calls a method and waits for its answer, however long that takes. An error answer comes back as the server's failure;
    /// a connection that ended or an answer that is not understood as `internal`.
    pub async fn call<P: Serialize, R: DeserializeOwned>(&self, method: &str, params: P) -> Result<R, Failure> {
        let params = RawParams::of(&params)?;
        self.calls.request(method, params).await.map_err(|error| failed(method, error))
    }

    /// Sends a notification.
    pub async fn notify<P: Serialize>(&self, method: &str, params: P) -> Result<(), Failure> {
        let params = RawParams::of(&params)?;
        self.calls.notification(method, params).await.map_err(|error| failed(method, error))
    }
}

impl Notifications {
    /// The next one; `None` when the connection has ended and all have been read.
    pub async fn next(&mut self) -> Option<Notification> {
        self.0.recv().await
    }
}

/// Starts the server as the leader of a process group of its own, so that a key that interrupts the client's
/// group leaves the server time to answer.
fn start_child(program: &OsStr, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<(Child, pipe::Receiver, pipe::Sender)> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let no_pipe = || io::Error::other("the child has no pipe");
    let output = OwnedFd::from(child.stdout.take().ok_or_else(no_pipe)?);
    let input = OwnedFd::from(child.stdin.take().ok_or_else(no_pipe)?);
    Ok((child, pipe::Receiver::from_owned_fd(output)?, pipe::Sender::from_owned_fd(input)?))
}

fn failed(method: &str, error: ClientError) -> Failure {
    match error {
        ClientError::Call(error) => failure_of(&error),
        ClientError::ParseError(error) => Failure::internal(format!("the answer to `{method}` is not understood: {error}")),
        ClientError::RestartNeeded(error) => Failure::internal(format!("the connection to the server ended: {error}")),
        error => Failure::internal(format!("the connection to the server ended: {error}")),
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

struct Sender<W> {
    writer: W,
    codec: FrameCodec,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin + Send + 'static> TransportSenderT for Sender<W> {
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

struct Receiver<R> {
    frames: FramedRead<R, FrameCodec>,
    notifications: mpsc::Sender<Notification>,
}

/// What tells an answer from a notification.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<R: AsyncRead + Unpin + Send + 'static> TransportReceiverT for Receiver<R> {
    type Error = FrameError;

    async fn receive(&mut self) -> Result<ReceivedMessage, FrameError> {
        loop {
            let frame = match self.frames.next().await {
                Some(frame) => frame?,
                None => return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())),
            };
            let Ok(incoming) = serde_json::from_slice::<Incoming<'_>>(&frame) else {
                return Err(FrameError::Broken(Failure::parse("the server sent something that is no message")));
            };
            let Some(method) = incoming.method else {
                // An error without an id answers no call: the server could not find our next message.
                if let (None, Some(error)) = (incoming.id, incoming.error) {
                    return Err(FrameError::Broken(Failure::parse(format!("the server refused a message: {error}"))));
                }
                return Ok(ReceivedMessage::Bytes(frame.into()));
            };
            if incoming.id.is_none() {
                let params = incoming.params.unwrap_or(RawValue::NULL).to_owned();
                // Nobody listens: then it is thrown away.
                self.notifications.send(Notification { method, params }).await.ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonrpsee::RpcModule;
    use serde_json::{Value, json};
    use tokio::{
        io::{duplex, split},
        task::JoinHandle,
        time::timeout,
    };

    use super::*;
    use crate::{
        model::FailureKind,
        rpc::{Ended, Flow, Hooks, Outgoing, serve},
    };

    const DEADLINE: Duration = Duration::from_secs(20);

    struct Open;

    impl Hooks for Open {
        fn admit(&self, _: &str) -> Result<(), Failure> {
            Ok(())
        }

        fn notification(&self, method: &str, _: Option<&RawValue>) -> Flow {
            if method == "exit" { Flow::Exit(0) } else { Flow::Continue }
        }
    }

    fn connected(framing: Framing) -> (Client, Notifications, Outgoing, JoinHandle<Ended>) {
        let (ours, theirs) = duplex(1 << 16);
        let (reader, writer) = split(theirs);
        let outgoing = Outgoing::new(writer);
        let mut module = RpcModule::new(());
        let echo = module.register_async_method("echo", |params, _, _| async move {
            Ok::<_, Failure>(params.as_str().map(|text| serde_json::from_str::<Value>(text).unwrap_or_default()))
        });
        assert!(echo.is_ok());
        let fail =
            module.register_async_method("fail", |_, _, _| async move { Err::<(), _>(Failure::unsupported("steer", "cannot be steered")) });
        assert!(fail.is_ok());
        let server = serve(reader, FrameCodec::new(None, DEFAULT_FRAME_LIMIT), module.into(), Open, outgoing.clone());
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
            assert_eq!(client.call::<_, Value>("echo", &params).await.expect("answers"), params);
            assert_eq!(client.call::<_, Value>("echo", ()).await.expect("answers"), Value::Null);
        }
    }

    #[tokio::test]
    async fn an_error_answer_is_the_servers_failure() {
        let (client, _notifications, _outgoing, _server) = connected(Framing::Lsp);
        let failure = client.call::<_, Value>("fail", ()).await.expect_err("fails");
        assert_eq!(failure, Failure::unsupported("steer", "cannot be steered"));
        let failure = client.call::<_, Value>("none", ()).await.expect_err("fails");
        assert_eq!(failure.kind, FailureKind::MethodNotFound);
    }

    /// More than every buffer on the way holds, to a reader that begins late.
    #[tokio::test]
    async fn a_slow_reader_loses_no_notification() {
        let (client, mut notifications, outgoing, _server) = connected(Framing::Lsp);
        client.call::<_, Value>("echo", ()).await.expect("answers");
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
        assert_eq!(timeout(DEADLINE, server).await.expect("in time").expect("no panic"), Ended::Exit(0));
        drop(outgoing);
        assert!(timeout(DEADLINE, notifications.next()).await.expect("in time").is_none());
        let failure = timeout(DEADLINE, client.call::<_, Value>("echo", ())).await.expect("in time").expect_err("fails");
        assert_eq!(failure.kind, FailureKind::Internal);
    }

    #[tokio::test]
    async fn dropping_the_client_ends_the_server() {
        let (client, notifications, _outgoing, server) = connected(Framing::Ndjson);
        assert_eq!(client.call::<_, Value>("echo", ()).await.expect("answers"), Value::Null);
        drop((client, notifications));
        assert_eq!(timeout(DEADLINE, server).await.expect("in time").expect("no panic"), Ended::Eof);
    }

    /// `cat` answers a notification with the same notification.
    #[tokio::test]
    async fn a_child_is_spoken_to_over_its_pipes() {
        let Spawned { client, mut notifications, mut child } = Client::spawn("cat", [""; 0]).expect("starts");
        client.notify("note", json!({"x": 1})).await.expect("sends");
        let notification = timeout(DEADLINE, notifications.next()).await.expect("in time").expect("a notification");
        assert_eq!((notification.method.as_str(), notification.params.get()), ("note", r#"{"x":1}"#));
        drop(client);
        assert!(timeout(DEADLINE, notifications.next()).await.expect("in time").is_none());
        assert!(child.wait().expect("ends").success());
    }
}
