//! A loomd with a data directory of its own, and a client that speaks to it over stdio as an editor does.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::frames::{Framing, Splitter};

pub(crate) struct LoomdProcess {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    splitter: Splitter,
    next_id: u64,
    /// From the spawn to the answer to `initialize`, in seconds.
    pub initialize_seconds: f64,
}

impl LoomdProcess {
    pub(crate) fn spawn(data: &Path) -> io::Result<Self> {
        let started_at = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_loomd"))
            .env("LOOMD_DATA_DIR", data)
            .env("XDG_CONFIG_HOME", data.join("config"))
            .env_remove("LOOMD_CONFIG")
            .env_remove("LOOMD_RUN_ID")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (process.stdin.take().expect("piped above"), process.stdout.take().expect("piped above"));
        let mut server = Self { process, input, output, splitter: Splitter::new(), next_id: 0, initialize_seconds: 0.0 };
        server.call("initialize", json!({"protocolVersion": 1, "clientInfo": {"name": "bench"}, "capabilities": {"watch": false}}))?;
        server.initialize_seconds = started_at.elapsed().as_secs_f64();
        server.send(&json!({"jsonrpc": "2.0", "method": "initialized", "params": {}}))?;
        Ok(server)
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        let mut bytes = Vec::new();
        Framing::Lsp.write(&mut bytes, message)?;
        self.input.write_all(&bytes)
    }

    /// Sends a request and returns its id.
    pub(crate) fn send_request(&mut self, method: &str, params: Value) -> io::Result<u64> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// Gives every frame to `select` until that returns a value.
    pub(crate) fn read_frames<T>(&mut self, mut select: impl FnMut(&[u8]) -> io::Result<Option<T>>) -> io::Result<T> {
        loop {
            while let Some(range) = self.splitter.next()? {
                if let Some(found) = select(self.splitter.frame(range))? {
                    return Ok(found);
                }
            }
            let read = self.output.read(self.splitter.free_space())?;
            if read == 0 {
                return Err(io::Error::other("loomd closed the connection"));
            }
            self.splitter.advance(read);
        }
    }

    /// Sends a request and waits for its response. Other messages are dropped.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> io::Result<Value> {
        let id = self.send_request(method, params)?;
        self.read_frames(|frame| {
            if is_notification(frame) {
                return Ok(None);
            }
            let mut answer: Value = serde_json::from_slice(frame)?;
            if answer["id"] != id {
                return Ok(None);
            }
            match answer.get("error") {
                Some(error) => Err(io::Error::other(format!("{method}: {error}"))),
                None => Ok(Some(answer["result"].take())),
            }
        })
    }

    /// Waits for the final state of a run.
    pub(crate) fn wait_final_state(&mut self) -> io::Result<()> {
        self.read_frames(|frame| Ok(is_final_state(frame).then_some(())))
    }

    /// Attaches to an ended run from its beginning and reads everything. Returns the seconds.
    pub(crate) fn attach(&mut self, run: &str) -> io::Result<f64> {
        let started_at = Instant::now();
        self.send_request("run/attach", json!({"runId": run, "afterSeq": 0}))?;
        self.wait_final_state()?;
        Ok(started_at.elapsed().as_secs_f64())
    }

    /// Reads a run page by page. Returns the seconds.
    pub(crate) fn read(&mut self, run: &str) -> io::Result<f64> {
        let started_at = Instant::now();
        let mut after = 0;
        loop {
            self.send_request("run/read", json!({"runId": run, "afterSeq": after, "maxBytes": 4 << 20}))?;
            let (next, at_end) = self.read_frames(|frame| {
                if is_notification(frame) {
                    return Ok(None);
                }
                // The end of the page is written after the entries; parsing those would measure the client.
                let tail = &frame[frame.len().saturating_sub(200)..];
                let number = |name: &str| {
                    let at = memchr::memmem::rfind(tail, name.as_bytes())? + name.len();
                    std::str::from_utf8(&tail[at..]).ok()?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
                };
                Ok(Some((number("\"nextAfterSeq\":"), memchr::memmem::rfind(tail, b"\"atEnd\":true").is_some())))
            })?;
            if at_end {
                return Ok(started_at.elapsed().as_secs_f64());
            }
            after = next.ok_or_else(|| io::Error::other("a page that does not say where it ends"))?;
        }
    }

    /// Bytes that the server has written to the disk so far.
    pub(crate) fn written(&self) -> io::Result<u64> {
        let account = fs::read_to_string(format!("/proc/{}/io", self.process.id()))?;
        let line = account.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        line.and_then(|number| number.parse().ok()).ok_or_else(|| io::Error::other("no account of what was written"))
    }

    pub(crate) fn shut_down(mut self) -> io::Result<()> {
        self.call("shutdown", Value::Null)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "exit"}))?;
        self.process.wait().map(drop)
    }

    /// Kills it without a chance to close anything.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

fn is_notification(frame: &[u8]) -> bool {
    memchr::memmem::find(&frame[..frame.len().min(64)], b"\"method\":").is_some()
}

fn is_final_state(frame: &[u8]) -> bool {
    let head = &frame[..frame.len().min(64)];
    memchr::memmem::find(head, b"\"run/state\"").is_some()
        && [&b"\"succeeded\""[..], b"\"failed\"", b"\"cancelled\"", b"\"timedOut\"", b"\"lost\""]
            .iter()
            .any(|state| memchr::memmem::find(frame, state).is_some())
}
