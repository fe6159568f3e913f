//! One WebSocket: first the token, then the frames of a server that was started for it.
//!
//! Nothing is queued here. A frame of the server is read when the one before it was taken by the browser, so a slow
//! browser slows its own server down and nobody else; a message of the browser is read when the server took the one
//! before. The server ends with the socket, and the socket with the server.

use std::{process::Child, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::json;
use tokio::{
    net::unix::pipe,
    sync::{Mutex, OwnedSemaphorePermit},
    time::timeout,
};
use tokio_util::codec::{FramedRead, FramedWrite};

use super::admission::{self, Site, Verdict};
use crate::{
    process::tree::wait_for_exit,
    rpc::{FrameCodec, Framing, client::CLIENT_MAX_FRAME_BYTES},
};

/// Longest message that a page may send. A prompt with images is the longest that it has.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// How long a new WebSocket may take to send the token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to end after its connection.
const SERVER_EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a WebSocket is closed.
#[derive(Clone, Copy)]
enum CloseReason {
    WrongToken,
    TooManyPages,
    ServerEnded,
    ServerCannotStart,
    MessageTooLong,
}

impl CloseReason {
    /// The code for the page, and a sentence for people.
    fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::WrongToken => (4001, "the first message must be the token of the address that loomd web printed"),
            Self::TooManyPages => (1013, "too many pages are open; close one of them"),
            Self::ServerEnded => (1001, "the connection's server ended"),
            Self::ServerCannotStart => (1011, "loomd cannot start a server; its terminal says why"),
            Self::MessageTooLong => (1009, "the message is too long"),
        };
        CloseFrame { code, reason: Utf8Bytes::from_static(reason) }
    }
}

/// Serves one WebSocket. `unknown` is its place among those that have not sent the token.
pub(super) async fn serve(mut socket: WebSocket, site: Arc<Site>, unknown: OwnedSemaphorePermit) {
    let first = timeout(TOKEN_TIMEOUT, socket.recv()).await;
    let is_known = matches!(first, Ok(Some(Ok(Message::Text(token)))) if site.token.matches(&token));
    let reason = match is_known.then(|| site.connections.clone().try_acquire_owned()) {
        None => CloseReason::WrongToken,
        Some(Err(_)) => CloseReason::TooManyPages,
        Some(Ok(_connected)) => {
            drop(unknown);
            serve_page(&mut socket, &site).await
        }
    };
    // Where the browser has gone, nobody is to be told.
    timeout(SERVER_EXIT_TIMEOUT, socket.send(Message::Close(Some(reason.frame())))).await.ok();
}

/// Starts a server for a page that knows the token, and passes messages until one of the two ends.
async fn serve_page(socket: &mut WebSocket, site: &Site) -> CloseReason {
    let hello = json!({ "readOnly": site.read_only }).to_string();
    if socket.send(Message::Text(hello.into())).await.is_err() {
        return CloseReason::ServerEnded;
    }
    let (server, output, input) = match site.launch.start_server() {
        Ok(started) => started,
        Err(error) => {
            tracing::error!(%error, "cannot start a server for a page");
            return CloseReason::ServerCannotStart;
        }
    };
    let codec = || FrameCodec::new(Some(Framing::Lsp), CLIENT_MAX_FRAME_BYTES);
    let (mut output, mut input) = (FramedRead::new(output, codec()), FramedWrite::new(input, codec()));
    let (sink, mut messages) = socket.split();
    // Answers to refused requests stand between the server's frames.
    let sink = Mutex::new(sink);
    let reason = tokio::select! {
        () = to_page(&mut output, &sink) => CloseReason::ServerEnded,
        reason = to_server(&mut messages, &sink, &mut input, site.read_only) => reason,
    };
    // The server ends when its input does.
    drop((input, output));
    end(server).await;
    reason
}

async fn to_page(output: &mut FramedRead<pipe::Receiver, FrameCodec>, sink: &Mutex<impl Sink<Message> + Unpin>) {
    while let Some(Ok(frame)) = output.next().await {
        let Ok(text) = Utf8Bytes::try_from(frame) else { return };
        if sink.lock().await.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
}

async fn to_server(
    messages: &mut (impl Stream<Item = Result<Message, axum::Error>> + Unpin),
    sink: &Mutex<impl Sink<Message> + Unpin>,
    input: &mut FramedWrite<pipe::Sender, FrameCodec>,
    read_only: bool,
) -> CloseReason {
    while let Some(message) = messages.next().await {
        let text = match message {
            Ok(Message::Text(text)) => text,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Binary(_) | Message::Close(_)) => return CloseReason::ServerEnded,
            Err(_) => return CloseReason::MessageTooLong,
        };
        let passed = match read_only.then(|| admission::judge(&text)) {
            None => input.send(text.as_bytes()).await.is_ok(),
            Some(Verdict::Pass(message)) => input.send(message.as_bytes()).await.is_ok(),
            Some(Verdict::Answer(answer)) => sink.lock().await.send(Message::Text(answer.into())).await.is_ok(),
            Some(Verdict::Drop) => true,
        };
        if !passed {
            return CloseReason::ServerEnded;
        }
    }
    CloseReason::ServerEnded
}

/// Waits until a server has ended whose input was closed, or kills it.
async fn end(mut server: Child) {
    if timeout(SERVER_EXIT_TIMEOUT, wait_for_exit(server.id())).await.is_err() {
        server.kill().ok();
    }
    // It has ended, so this does not wait.
    server.wait().ok();
}
