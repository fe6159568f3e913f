//! The client, the same for every server: it reads frames as fast as they come and parses only what it must.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    frames::{Framing, Splitter},
    processes::monotonic_ns,
};

/// How the reader handles output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Reads only the offset of each frame, and parses the last one.
    Offsets,
    /// Parses each frame and digests the text.
    Digest,
    /// Parses each frame and compares the time at the beginning of each line with now.
    Latency,
    /// As `Offsets`, but reads nothing for this long after the response to `run/start`.
    Stall(Duration),
}

/// What the reader reports. `at` is when the read returned, in monotonic nanoseconds.
pub(crate) enum Event {
    Response { id: u64, at: u64, body: Value },
    FirstOutput { at: u64 },
    Final { at: u64, state: String },
    Closed,
}

/// The output that the reader has read from a connection.
#[derive(Default)]
pub(crate) struct Output {
    /// Raw bytes; if several runs ran, those of the one that ended last.
    pub bytes: u64,
    pub frames: u64,
    pub digest: Option<blake3::Hash>,
    pub latencies_ns: Vec<u64>,
}

pub(crate) struct Client {
    process: Child,
    input: ChildStdin,
    framing: Framing,
    events: Receiver<Event>,
    reader: JoinHandle<io::Result<Output>>,
    next_id: u64,
    pub spawned_at: u64,
}

impl Client {
    pub(crate) fn spawn(mut command: Command, log: File, framing: Framing, read_mode: ReadMode) -> io::Result<Client> {
        let spawned_at = monotonic_ns();
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let input = process.stdin.take().expect("piped above");
        let output = File::from(OwnedFd::from(process.stdout.take().expect("piped above")));
        let (sender, events) = channel();
        let reader = thread::spawn(move || {
            let mut reader = Reader { read_mode, sender, output: Output::default(), hasher: blake3::Hasher::new(), partial: Vec::new() };
            let read = reader.read(output);
            // The client may have been dropped before its reader ends; then nobody needs the event.
            reader.sender.send(Event::Closed).ok();
            reader.output.digest = (read_mode == ReadMode::Digest).then(|| reader.hasher.finalize());
            read.map(|()| reader.output)
        });
        Ok(Client { process, input, framing, events, reader, next_id: 0, spawned_at })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn initialize(&mut self) -> io::Result<u64> {
        let params = json!({"protocolVersion": 1, "clientInfo": {"name": "bench"}, "capabilities": {"watch": false}});
        let (at, _) = self.request("initialize", params)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "initialized", "params": {}}))?;
        Ok(at)
    }

    /// Sends `run/start` and returns the request's id. Does not wait for the response.
    pub(crate) fn start(&mut self, command: &[String]) -> io::Result<u64> {
        self.next_id += 1;
        let params = json!({"provider": "command", "command": command});
        self.send(&json!({"jsonrpc": "2.0", "id": self.next_id, "method": "run/start", "params": params}))?;
        Ok(self.next_id)
    }

    /// The next event. An error response, a run that failed and a closed connection are errors.
    pub(crate) fn next(&mut self, deadline: Instant) -> io::Result<Event> {
        match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server sent nothing until the deadline")),
            Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the server closed the connection")),
            Ok(Event::Response { body, .. }) if body.get("error").is_some() => Err(io::Error::other(body["error"].to_string())),
            Ok(Event::Final { state, .. }) if state != "succeeded" => Err(io::Error::other(format!("a run ended {state}"))),
            Ok(event) => Ok(event),
        }
    }

    fn request(&mut self, method: &str, params: Value) -> io::Result<(u64, Value)> {
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Event::Response { id, at, body } = self.next(deadline)?
                && id == self.next_id
            {
                return Ok((at, body));
            }
        }
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.framing.write(&mut bytes, message)?;
        self.input.write_all(&bytes)
    }

    /// Sends `shutdown` and `exit`. The process is reaped by its [`crate::processes::Tree`].
    pub(crate) fn shut_down(mut self) -> io::Result<Output> {
        self.request("shutdown", Value::Null)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "exit"}))?;
        drop(self.input);
        self.reader.join().expect("the reader does not panic")
    }

    /// Kills a server that failed.
    pub(crate) fn kill(mut self) {
        // It may have exited already.
        self.process.kill().ok();
    }
}

#[derive(Deserialize)]
struct OutputFrame {
    params: OutputParams,
}

#[derive(Deserialize)]
struct OutputParams {
    offset: u64,
    text: String,
}

struct Reader {
    read_mode: ReadMode,
    sender: Sender<Event>,
    output: Output,
    hasher: blake3::Hasher,
    /// The last frame of output, where only that one is to be parsed.
    partial: Vec<u8>,
}

impl Reader {
    fn read(&mut self, mut from: File) -> io::Result<()> {
        let mut splitter = Splitter::new();
        loop {
            let n = from.read(splitter.free_space())?;
            if n == 0 {
                return Ok(());
            }
            splitter.advance(n);
            let at = monotonic_ns();
            let mut last_output = None;
            while let Some(range) = splitter.next()? {
                let frame = splitter.frame(range.clone());
                if memchr::memmem::find(&frame[..frame.len().min(64)], b"\"run/output\"").is_some() {
                    self.output_frame(frame, at)?;
                    last_output = Some(range);
                } else {
                    if let Some(range) = last_output.take() {
                        self.partial = splitter.frame(range).to_vec();
                    }
                    self.other_frame(frame, at)?;
                }
            }
            if let Some(range) = last_output {
                self.partial.clear();
                self.partial.extend_from_slice(splitter.frame(range));
            }
        }
    }

    fn output_frame(&mut self, frame: &[u8], at: u64) -> io::Result<()> {
        self.output.frames += 1;
        if self.output.frames == 1 {
            // The client may have been dropped; then nobody needs the event.
            self.sender.send(Event::FirstOutput { at }).ok();
        }
        if matches!(self.read_mode, ReadMode::Offsets | ReadMode::Stall(_)) {
            let offset = offset(frame)?;
            if (self.output.frames == 1 && offset != 0) || (self.output.frames > 1 && offset <= self.output.bytes) {
                return Err(invalid_data(format!("offset {offset} after {}", self.output.bytes)));
            }
            self.output.bytes = offset;
            return Ok(());
        }
        let OutputParams { offset, text } = serde_json::from_slice::<OutputFrame>(frame)?.params;
        match self.read_mode {
            ReadMode::Digest if offset != self.output.bytes => {
                return Err(invalid_data(format!("offset {offset} at byte {}", self.output.bytes)));
            }
            ReadMode::Digest => drop(self.hasher.update(text.as_bytes())),
            _ => {
                let times = text.lines().filter_map(|line| line.get(..20)?.parse::<u64>().ok());
                self.output.latencies_ns.extend(times.map(|time| at.saturating_sub(time)));
            }
        }
        self.output.bytes = offset + text.len() as u64;
        Ok(())
    }

    fn other_frame(&mut self, frame: &[u8], at: u64) -> io::Result<()> {
        let body: Value = serde_json::from_slice(frame)?;
        let state = body["params"]["state"].as_str();
        let event = match (body["id"].as_u64(), body["method"].as_str(), state) {
            (Some(id), None, _) => Event::Response { id, at, body },
            (None, Some("run/state"), Some(state)) if !matches!(state, "starting" | "running" | "idle") => {
                if matches!(self.read_mode, ReadMode::Offsets | ReadMode::Stall(_)) && !self.partial.is_empty() {
                    let last = serde_json::from_slice::<OutputFrame>(&self.partial)?.params;
                    self.output.bytes = last.offset + last.text.len() as u64;
                }
                Event::Final { at, state: state.to_owned() }
            }
            _ => return Ok(()),
        };
        let started = matches!(&event, Event::Response { body, .. } if body["result"]["run"].is_object());
        // The client may have been dropped; then nobody needs the event.
        self.sender.send(event).ok();
        if let (ReadMode::Stall(time), true) = (self.read_mode, started) {
            thread::sleep(time);
        }
        Ok(())
    }
}

fn offset(frame: &[u8]) -> io::Result<u64> {
    const NAME: &[u8] = b"\"offset\":";
    let head = &frame[..frame.len().min(512)];
    let at = memchr::memmem::find(head, NAME).ok_or_else(|| invalid_data("no offset in the head of a frame".to_owned()))? + NAME.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

fn invalid_data(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
