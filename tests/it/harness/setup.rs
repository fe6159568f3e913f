//! How a server is started, and how what it writes is read.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufReader, Read},
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
};

use serde_json::{Value, json};

use super::{Framing, Home, Server, wire::drain};

/// How a server is to be started.
pub struct Setup {
    command: Command,
    framing: Framing,
    capabilities: Value,
}

/// Whether the client takes what the server writes.
#[derive(Default)]
pub struct Reading {
    pub(super) stopped: Mutex<bool>,
    pub(super) changed: Condvar,
}

impl Setup {
    pub fn new(home: &Home) -> Self {
        let mut setup = Self::bare(home);
        setup.command.arg("--data-dir").arg(home.data());
        setup
    }

    /// Without a word about where the data is to be.
    pub fn bare(home: &Home) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_loomd"));
        Self::by(isolated(command, home))
    }

    /// The same, but started through a shell script, in which `"$@"` is the server.
    pub fn through(home: &Home, script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_loomd"), "--data-dir"]).arg(home.data());
        Self::by(isolated(command, home))
    }

    /// A command that becomes the server, or does so at its end.
    pub fn by(command: Command) -> Self {
        Self { command, framing: Framing::Lsp, capabilities: json!({}) }
    }

    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub fn capabilities(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// Passes points of the code at which the process stops or kills itself.
    pub fn seam(self, seam: &str) -> Self {
        self.env("LOOMD_SEAM", seam)
    }

    /// Starts the process and says nothing to it.
    pub fn spawn(mut self) -> Server {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the server starts");
        let (send, incoming) = mpsc::channel();
        let reading = Arc::new(Reading::default());
        let (stdout, framing, gate) = (child.stdout.take().expect("a pipe"), self.framing, reading.clone());
        thread::spawn(move || read_frames(Gated { inner: stdout, gate }, framing, &send));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (mut pipe, text) = (child.stderr.take().expect("a pipe"), stderr.clone());
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                text.lock().expect("a lock").push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        });
        Server {
            stdin: child.stdin.take(),
            child,
            framing: self.framing,
            incoming,
            reading,
            stderr,
            next_id: 1,
            answers: BTreeMap::new(),
            strays: VecDeque::new(),
            notifications: VecDeque::new(),
        }
    }

    /// Starts the process and introduces itself.
    pub fn start(self) -> Server {
        let capabilities = self.capabilities.clone();
        let mut server = self.spawn();
        server.call("initialize", json!({ "protocolVersion": 1, "clientInfo": { "name": "test" }, "capabilities": capabilities }));
        server.notify("initialized", json!({}));
        server
    }
}

/// Nothing of the caller's own configuration or data reaches the server, and all its processes carry the home's mark.
pub fn isolated(mut command: Command, home: &Home) -> Command {
    for name in ["LOOMD_RUN_ID", "LOOMD_CONFIG", "LOOMD_DATA_DIR", "LOOMD_LOG", "LOOMD_SEAM"] {
        command.env_remove(name);
    }
    let (mark, value) = home.mark();
    command.env("XDG_CONFIG_HOME", home.path().join("config")).env("HOME", home.path()).env(mark, value);
    command
}

fn read_frames(stream: impl Read, framing: Framing, send: &mpsc::Sender<Result<Value, String>>) {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    loop {
        match framing.read(&mut reader) {
            Ok(None) => return,
            Ok(Some(message)) => {
                if send.send(Ok(message)).is_err() {
                    // Nobody wants it, but a server must not hang in its last write.
                    drain(&mut reader);
                    return;
                }
            }
            Err(error) => {
                let _ = send.send(Err(error));
                drain(&mut reader);
                return;
            }
        }
    }
}

/// A stream that is not read while its gate is closed.
struct Gated<R> {
    inner: R,
    gate: Arc<Reading>,
}

impl<R: Read> Read for Gated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let stopped = self.gate.stopped.lock().expect("a lock");
        drop(self.gate.changed.wait_while(stopped, |stopped| *stopped).expect("a lock"));
        self.inner.read(buffer)
    }
}
