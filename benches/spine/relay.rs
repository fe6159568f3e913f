//! The reference `relay`, which stores nothing: it reads a child's pipe, checks that it is UTF-8, frames it as JSON and
//! writes it out.
//!
//! It is as fast as such a relay can be: one thread, epoll on both pipes, 1 MiB pipes, reads of 256 KiB, at most 64 KiB
//! of text in a frame, one write for all frames of a read.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::{Command, Stdio},
    rc::Rc,
};

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    sync::Mutex,
};
use uuid::Uuid;

use crate::frames::{Framing, Splitter};

const PIPE_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 256 * 1024;
const MAX_TEXT_BYTES: usize = 64 * 1024;

type Out = Rc<Mutex<pipe::Sender>>;

#[derive(Deserialize)]
struct Request<'a> {
    method: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    params: Option<Params>,
}

#[derive(Default, Deserialize)]
struct Params {
    #[serde(default)]
    command: Vec<String>,
}

#[derive(Serialize)]
struct Output<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: OutputParams<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputParams<'a> {
    run_id: &'a str,
    seq: u64,
    stream: &'static str,
    offset: u64,
    text: &'a str,
}

pub(crate) fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let code = tokio::task::LocalSet::new().block_on(&runtime, requests())?;
    std::process::exit(code)
}

async fn requests() -> io::Result<i32> {
    // A pipe that stays narrow only makes the relay slower.
    rustix::pipe::fcntl_setpipe_size(io::stdout(), PIPE_BYTES).ok();
    let mut input = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let out: Out = Rc::new(Mutex::new(pipe::Sender::from_owned_fd(io::stdout().as_fd().try_clone_to_owned()?)?));
    let mut splitter = Splitter::new();
    let mut shut_down = false;
    loop {
        while let Some(frame) = splitter.next()? {
            let request: Request = serde_json::from_slice(splitter.frame(frame))?;
            let framing = splitter.framing();
            let result = match request.method.as_str() {
                "initialize" => json!({"protocolVersion": 1, "serverInfo": {"name": "relay"}, "providers": [], "capabilities": {}}),
                "run/start" => {
                    let run = Run { id: Uuid::now_v7().to_string(), out: out.clone(), framing, seq: 0.into() };
                    let result = json!({"run": {"id": run.id, "state": "running"}});
                    let child = Child::spawn(&request.params.unwrap_or_default().command)?;
                    respond(&out, framing, request.id, &result).await?;
                    tokio::task::spawn_local(run.follow(child));
                    continue;
                }
                "shutdown" => {
                    shut_down = true;
                    json!(null)
                }
                "exit" => return Ok(if shut_down { 0 } else { 1 }),
                _ => continue,
            };
            respond(&out, framing, request.id, &result).await?;
        }
        let n = input.read(splitter.free_space()).await?;
        if n == 0 {
            return Ok(1);
        }
        splitter.advance(n);
    }
}

async fn respond(out: &Out, framing: Framing, id: Option<&RawValue>, result: &serde_json::Value) -> io::Result<()> {
    let mut bytes = Vec::new();
    framing.write(&mut bytes, &json!({"jsonrpc": "2.0", "id": id, "result": result}))?;
    out.lock().await.write_all(&bytes).await
}

/// A started program and its two pipes.
struct Child {
    process: std::process::Child,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

impl Child {
    fn spawn(command: &[String]) -> io::Result<Child> {
        let (program, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let ((stdout, child_stdout), (stderr, child_stderr)) = (wide_pipe()?, wide_pipe()?);
        let process = Command::new(program).args(args).stdin(Stdio::null()).stdout(child_stdout).stderr(child_stderr).spawn()?;
        Ok(Child { process, stdout: pipe::Receiver::from_owned_fd(stdout)?, stderr: pipe::Receiver::from_owned_fd(stderr)? })
    }
}

fn wide_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // A pipe that stays narrow only makes the relay slower.
    rustix::pipe::fcntl_setpipe_size(&read, PIPE_BYTES).ok();
    Ok((read, write))
}

struct Run {
    id: String,
    out: Out,
    framing: Framing,
    seq: std::cell::Cell<u64>,
}

impl Run {
    async fn follow(self, child: Child) {
        let (stdout, stderr) = tokio::join!(self.relay("stdout", child.stdout), self.relay("stderr", child.stderr));
        let status = wait_exit(child.process).await;
        let state = if stdout.and(stderr).is_ok() && status.is_ok_and(|status| status.success()) { "succeeded" } else { "failed" };
        let mut bytes = Vec::new();
        let params = json!({"runId": self.id, "seq": self.next_seq(), "state": state});
        let framed = self.framing.write(&mut bytes, &json!({"jsonrpc": "2.0", "method": "run/state", "params": params}));
        if framed.is_ok() {
            // The client may have closed its end; then nobody needs the notification.
            self.out.lock().await.write_all(&bytes).await.ok();
        }
    }

    async fn relay(&self, stream: &'static str, mut pipe: pipe::Receiver) -> io::Result<()> {
        let mut read = vec![0; READ_BYTES];
        let mut frames = Vec::with_capacity(READ_BYTES + READ_BYTES / 4);
        // Bytes at the beginning of `read` that begin a character whose end has not been read yet.
        let mut partial_bytes = 0;
        let mut offset = 0;
        loop {
            let n = pipe.read(&mut read[partial_bytes..]).await?;
            let mut rest = &read[..partial_bytes + n];
            frames.clear();
            while !rest.is_empty() {
                let (text, used) = next_text(&rest[..rest.len().min(MAX_TEXT_BYTES)], n == 0);
                if used == 0 {
                    break;
                }
                let params = OutputParams { run_id: &self.id, seq: self.next_seq(), stream, offset, text: &text };
                self.framing.write(&mut frames, &Output { jsonrpc: "2.0", method: "run/output", params })?;
                offset += used as u64;
                rest = &rest[used..];
            }
            let (whole, remaining) = (partial_bytes + n - rest.len(), rest.len());
            self.out.lock().await.write_all(&frames).await?;
            if n == 0 {
                return Ok(());
            }
            read.copy_within(whole..whole + remaining, 0);
            partial_bytes = remaining;
        }
    }

    fn next_seq(&self) -> u64 {
        self.seq.set(self.seq.get() + 1);
        self.seq.get()
    }
}

/// The text at the beginning, and how many bytes it stands for. The length is 0 if only an unfinished character is
/// left.
fn next_text(bytes: &[u8], last: bool) -> (std::borrow::Cow<'_, str>, usize) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.into(), bytes.len()),
        Err(error) => {
            let valid = error.valid_up_to();
            match error.error_len() {
                None if !last => (String::from_utf8_lossy(&bytes[..valid]), valid),
                _ => (String::from_utf8_lossy(bytes), bytes.len()),
            }
        }
    }
}

/// Waits for the child's exit on a thread of its own. The pipes are at their end, so the child has nearly always exited
/// already.
async fn wait_exit(mut child: std::process::Child) -> io::Result<std::process::ExitStatus> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    receiver.await.map_err(io::Error::other)?
}
