//! The beginning of the first control connection: the server says its version and asks for the run of this supervisor.

use std::{io, rc::Rc};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::control::{id_of_request, unknown_command};
use crate::{
    model::{
        Failure, Run,
        control::{Command, ControlRequest, Event, LaunchSpec, StartReply, line, version_answer},
    },
    process::socket::{Socket, SocketReader},
};

/// A server that waits for the start of a run.
pub(super) struct Starter {
    pub(super) reader: BufReader<SocketReader>,
    pub(super) socket: Rc<Socket>,
    /// The id of its request; a server of version 0 sends none.
    id: Option<u64>,
}

impl Starter {
    /// Waits until a server asks for a run. `None`: it died before.
    pub(super) async fn receive(socket: Rc<Socket>) -> io::Result<Option<(Self, LaunchSpec)>> {
        let mut reader = BufReader::new(SocketReader::new(Rc::clone(&socket)));
        let mut text = Vec::new();
        while reader.read_until(b'\n', &mut text).await? > 0 {
            let answer = match serde_json::from_slice(&text) {
                Ok(ControlRequest { id, command: Command::Launch(spec), .. }) => {
                    return Ok(Some((Self { reader, socket, id: Some(id) }, *spec)));
                }
                Ok(ControlRequest { command: Command::Version(_), .. }) => version_answer(),
                Ok(ControlRequest { id, .. }) => unknown_command(id),
                Err(_) => match serde_json::from_slice(&text) {
                    Ok(spec) => return Ok(Some((Self { reader, socket, id: None }, spec))),
                    Err(_) => unknown_command(id_of_request(&text)?),
                },
            };
            send(&socket, &line(&answer)).await;
            text.clear();
        }
        Ok(None)
    }

    /// Tells the server what became of the start.
    pub(super) async fn reply(&self, result: Result<Run, Failure>) {
        let reply = match (self.id, result) {
            (Some(id), result) => line(&Event::Answer { id, result: result.map(|run| json!(run)) }),
            (None, Ok(run)) => line(&StartReply::Started(Box::new(run))),
            (None, Err(failure)) => line(&StartReply::Failed(failure)),
        };
        send(&self.socket, &reply).await;
    }
}

/// Sends a line to the server, unless that is gone. A run that has started goes on without it.
pub(super) async fn send(socket: &Socket, line: &[u8]) {
    let mut rest = line;
    while !rest.is_empty() {
        match socket.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && socket.writable().await.is_ok() => {}
            Err(_) => return,
        }
    }
}
