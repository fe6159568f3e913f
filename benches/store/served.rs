//! A loomd with a data directory of its own, asked over stdio as an editor would.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::frames::{Framing, Splitter};

pub struct Served {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    splitter: Splitter,
    next_id: u64,
    /// From the spawn to the answer to `initialize`, in seconds.
    pub initialized_in: f64,
}

impl Served {
    pub fn spawn(data: &Path) -> io::Result<Self> {
        let begun = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_loomd"))
            .env("LOOMD_DATA_DIR", data)
            .env("XDG_CONFIG_HOME", data.join("config"))
            .env_remove("LOOMD_CONFIG")
            .env_remove("LOOMD_RUN_ID")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (process.stdin.take().expect("asked for"), process.stdout.take().expect("asked for"));
        let mut served = Self { process, input, output, splitter: Splitter::new(), next_id: 0, initialized_in: 0.0 };
        served.call("initialize", json!({"protocolVersion": 1, "clientInfo": {"name": "bench"}, "capabilities": {"watch": false}}))?;
        served.initialized_in = begun.elapsed().as_secs_f64();
        served.send(&json!({"jsonrpc": "2.0", "method": "initialized", "params": {}}))?;
        Ok(served)
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        let mut bytes = Vec::new();
        Framing::Lsp.write(&mut bytes, message)?;
        self.input.write_all(&bytes)
    }

    /// Sends a request, and answers its id.
    pub fn ask(&mut self, method: &str, params: Value) -> io::Result<u64> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// Gives every frame to `take` until that makes something of one.
    pub fn frames<T>(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<Option<T>>) -> io::Result<T> {
        loop {
            while let Some(range) = self.splitter.next()? {
                if let Some(found) = take(self.splitter.frame(range))? {
                    return Ok(found);
                }
            }
            let read = self.output.read(self.splitter.room())?;
            if read == 0 {
                return Err(io::Error::other("loomd closed the connection"));
            }
            self.splitter.filled(read);
        }
    }

    /// Asks, and waits for the answer; what else comes is dropped.
    pub fn call(&mut self, method: &str, params: Value) -> io::Result<Value> {
        let id = self.ask(method, params)?;
        self.frames(|frame| {
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

    /// Waits for the last state of a run.
    pub fn ended(&mut self) -> io::Result<()> {
        self.frames(|frame| Ok(is_end(frame).then_some(())))
    }

    /// Attaches to an ended run from its beginning, and takes all there is. Answers the seconds.
    pub fn attach(&mut self, run: &str) -> io::Result<f64> {
        let begun = Instant::now();
        self.ask("run/attach", json!({"runId": run, "afterSeq": 0}))?;
        self.ended()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Reads a run page by page. Answers the seconds.
    pub fn read(&mut self, run: &str) -> io::Result<f64> {
        let begun = Instant::now();
        let mut after = 0;
        loop {
            self.ask("run/read", json!({"runId": run, "afterSeq": after, "maxBytes": 4 << 20}))?;
            let (next, at_end) = self.frames(|frame| {
                if is_notification(frame) {
                    return Ok(None);
                }
                // Where it ends stands behind the entries; parsing those would measure the client.
                let tail = &frame[frame.len().saturating_sub(200)..];
                let number = |name: &str| {
                    let at = memchr::memmem::rfind(tail, name.as_bytes())? + name.len();
                    std::str::from_utf8(&tail[at..]).ok()?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
                };
                Ok(Some((number("\"nextAfterSeq\":"), memchr::memmem::rfind(tail, b"\"atEnd\":true").is_some())))
            })?;
            if at_end {
                return Ok(begun.elapsed().as_secs_f64());
            }
            after = next.ok_or_else(|| io::Error::other("a page that does not say where it ends"))?;
        }
    }

    /// Bytes that the server has written to the disk so far.
    pub fn written(&self) -> io::Result<u64> {
        let account = fs::read_to_string(format!("/proc/{}/io", self.process.id()))?;
        let line = account.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        line.and_then(|number| number.parse().ok()).ok_or_else(|| io::Error::other("no account of what was written"))
    }

    pub fn leave(mut self) -> io::Result<()> {
        self.call("shutdown", Value::Null)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "exit"}))?;
        self.process.wait().map(drop)
    }

    /// Ends it as a power failure of its own.
    pub fn kill(mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

fn is_notification(frame: &[u8]) -> bool {
    memchr::memmem::find(&frame[..frame.len().min(64)], b"\"method\":").is_some()
}

fn is_end(frame: &[u8]) -> bool {
    let head = &frame[..frame.len().min(64)];
    memchr::memmem::find(head, b"\"run/state\"").is_some()
        && [&b"\"succeeded\""[..], b"\"failed\"", b"\"cancelled\"", b"\"timedOut\"", b"\"lost\""]
            .iter()
            .any(|state| memchr::memmem::find(frame, state).is_some())
}
