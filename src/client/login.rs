//! A login at another host: the process of ssh, and what it says on stderr.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
    task::JoinHandle,
    time::timeout,
};

use super::{
    Note,
    host::{Host, HostError},
};
use crate::{
    process::{
        spawn::{ignore_interrupts, start_new_session},
        tree::wait_for_exit,
    },
    rpc::{Client, Notifications, child::SpawnedServer},
};

/// How long ssh may take to exit after it has closed its output.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the rest of its stderr may take after its exit. A control master that ssh has started may keep it open.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest part of a line of stderr that is shown.
const MAX_LINE_BYTES: usize = 1000;

/// Whether a person may be asked for a password, or whether to trust the host's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attendance {
    /// ssh may use our terminal, and what it says is passed on until the server has answered.
    Attended,
    /// ssh gets no terminal, so it fails where it would ask.
    Unattended,
}

/// The process of ssh. Dropping it ends it.
pub(super) struct Login {
    child: Child,
    stderr: Arc<Mutex<StderrLines>>,
    reading: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct StderrLines {
    last: Option<String>,
    passes_on: Option<Note>,
}

impl Login {
    /// Starts ssh, and loomd on the host.
    pub(super) fn start(host: &Host, attendance: Attendance, note: Note) -> Result<(Self, Client, Notifications), HostError> {
        let mut command = host.ssh("-T")?;
        command.stderr(Stdio::piped());
        if attendance == Attendance::Unattended {
            start_new_session(command.env("SSH_ASKPASS_REQUIRE", "never"));
        }
        ignore_interrupts(&mut command);
        let SpawnedServer { client, notifications, mut child } = Client::spawn_login(command).map_err(HostError::Spawn)?;
        let passes_on = (attendance == Attendance::Attended).then_some(note);
        let stderr = Arc::new(Mutex::new(StderrLines { last: None, passes_on }));
        let pipe = child.stderr.take().ok_or_else(|| io::Error::other("the child has no pipe"));
        let pipe = pipe.and_then(|pipe| pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))).map_err(HostError::Spawn)?;
        let reading = tokio::spawn(read_lines(pipe, Arc::clone(&stderr)));
        Ok((Self { child, stderr, reading: Some(reading) }, client, notifications))
    }

    /// The server has answered. What ssh says from now on is kept for the end of the connection.
    pub(super) fn is_established(&self) {
        self.stderr.lock().passes_on = None;
    }

    /// Why the connection has ended. `otherwise` is said where neither the exit code nor stderr tell.
    pub(super) async fn end(&mut self, host: &Host, otherwise: &str) -> HostError {
        timeout(EXIT_TIMEOUT, wait_for_exit(self.child.id())).await.ok();
        if let Some(reading) = self.reading.take() {
            timeout(LAST_LINE_TIMEOUT, reading).await.ok();
        }
        let code = self.child.try_wait().ok().flatten().and_then(|status| status.code());
        HostError::of_exit(host, code, self.stderr.lock().last.clone(), otherwise)
    }

    /// Waits until ssh has ended by itself.
    pub(super) async fn exit(&self) {
        wait_for_exit(self.child.id()).await.ok();
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        // It may have ended, or not be reached any more; either way nothing of it is needed.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Reads stderr to its end, whoever writes how much to it.
async fn read_lines(pipe: pipe::Receiver, lines: Arc<Mutex<StderrLines>>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let (length, is_end) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(block) => match memchr::memchr(b'\n', block) {
                Some(at) => (at + 1, true),
                None => (block.len(), false),
            },
        };
        let room = MAX_LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&reader.buffer()[..length.min(room)]);
        reader.consume(length);
        if is_end {
            keep(&lines, &line);
            line.clear();
        }
    }
    keep(&lines, &line);
}

fn keep(lines: &Mutex<StderrLines>, line: &[u8]) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    if text.is_empty() {
        return;
    }
    let mut lines = lines.lock();
    if let Some(note) = lines.passes_on {
        note(&text);
    }
    lines.last = Some(text);
}
