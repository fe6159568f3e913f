//! The beginning of the first control connection: the server says its version and asks for the run of this supervisor. A supervisor
//! may be started before its run, so that the run need not wait for it: `loomd supervise --ready`.
//!
//! One that waits holds nothing of a run: no lock, no socket of its own, no environment but its server's. It ends with that
//! server, and when it was not needed for [`READY_LIFETIME`]. A server asks with one byte whether it is there; once it has
//! answered it does not end by itself. Then it gets the lock of a run, and from there on it is a supervisor like any other,
//! also by its argv, by which a process's ancestors are judged.

use std::{future::Future, io, rc::Rc, time::Duration};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::control::{id_of_request, unknown_command};
use crate::{
    model::{
        Failure, Run, RunId,
        control::{Command, ControlRequest, Event, LaunchSpec, StartReply, line, version_answer},
    },
    process::{
        current_process::LastWords,
        detach::READY_WORD,
        lock::{Lock, ReceivedByte},
        socket::{Socket, SocketReader},
    },
};

/// How long a supervisor waits for a run.
pub(crate) const READY_LIFETIME: Duration = Duration::from_secs(50);

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

/// The words of its argv that [`name_run`] replaces. The second one, the pid of its server, is as long as a run's id.
pub(crate) fn waiting_words(server: u32) -> [String; 2] {
    [READY_WORD.to_owned(), format!("{server:0width$}", width = uuid::fmt::Hyphenated::LENGTH)]
}

/// Finds the place in the argv for the run's id. A supervisor that has none must not get a run.
pub(super) fn find_words() -> io::Result<LastWords> {
    let words: Vec<String> = std::env::args().skip(2).collect();
    LastWords::find(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Says by the argv which run this process supervises from now on.
pub(super) fn name_run(words: LastWords, id: RunId) {
    words.replace(&[&id.to_string(), READY_WORD]);
}

/// Waits for the lock of a run. `None`: the server is gone, or `unneeded` has come before anything else.
pub(super) async fn wait_for_lock(server: &Socket, unneeded: impl Future<Output = ()>) -> io::Result<Option<Lock>> {
    tokio::pin!(unneeded);
    let mut was_asked = false;
    loop {
        let received = tokio::select! {
            biased;
            received = server.read_with(|socket| Lock::receive(socket)) => received?,
            () = &mut unneeded, if !was_asked => return Ok(None),
        };
        match received {
            ReceivedByte::Lock(lock) => return Ok(Some(lock)),
            ReceivedByte::End => return Ok(None),
            ReceivedByte::Plain => {
                was_asked = true;
                send(server, &line(&version_answer())).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future, io::Read, os::unix::net::UnixStream, rc::Rc};

    use super::*;

    fn pair() -> (UnixStream, Rc<Socket>) {
        let (near, far) = UnixStream::pair().expect("a pair");
        far.set_nonblocking(true).expect("set");
        let far = tokio::net::UnixStream::from_std(far).and_then(Socket::new);
        (near, far.expect("registered"))
    }

    #[tokio::test]
    async fn it_ends_when_it_was_not_needed_in_a_minute() {
        assert!(READY_LIFETIME < Duration::from_secs(60));
        let (_server, far) = pair();
        assert!(wait_for_lock(&far, future::ready(())).await.expect("waited").is_none());
    }

    #[tokio::test]
    async fn it_ends_with_its_server() {
        let (server, far) = pair();
        drop(server);
        assert!(wait_for_lock(&far, future::pending()).await.expect("waited").is_none());
    }

    /// Its time may be over between the question and the lock; who was told that it is there relies on it.
    #[tokio::test]
    async fn it_stays_once_it_has_said_that_it_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = Lock::try_take(directory.path()).expect("it is there").expect("it is free");
        let (mut server, far) = pair();
        let is_over = tokio::sync::Notify::new();
        io::Write::write_all(&mut server, b"\n").expect("written");
        let handing_over = async {
            let mut answer = [0; 1];
            server.set_nonblocking(true).expect("set");
            while server.read(&mut answer).is_err() {
                tokio::task::yield_now().await;
            }
            is_over.notify_one();
            tokio::task::yield_now().await;
            lock.send(&server).expect("sent");
        };
        let (received, ()) = tokio::join!(wait_for_lock(&far, is_over.notified()), handing_over);
        assert!(received.expect("waited").is_some());
    }
}
