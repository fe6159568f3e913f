//! Starting a server, and the threads that read what it writes.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufReader, Read},
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
};

use serde_json::{Value, json};

use super::{Framing, Home, Server, wire::drain};

/// The options of a server.
pub(crate) struct Setup {
    command: Command,
    framing: Framing,
    capabilities: Value,
}

/// Whether the client reads what the server writes.
#[derive(Default)]
pub(super) struct ReadGate {
    pub(super) stopped: Mutex<bool>,
    pub(super) changed: Condvar,
}

impl Setup {
    pub(crate) fn new(home: &Home) -> Self {
        let mut setup = Self::without_data_dir(home);
        setup.command.arg("--data-dir").arg(home.data());
        setup
    }

    /// A server that is started without `--data-dir`.
    pub(crate) fn without_data_dir(home: &Home) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_loomd"));
        Self::from_command(isolated(command, home))
    }

    /// A server that is started through a shell script, in which `"$@"` is the server.
    pub(crate) fn through_shell(home: &Home, script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_loomd"), "--data-dir"]).arg(home.data());
        Self::from_command(isolated(command, home))
    }

    /// A server that is started by a command that replaces itself with it.
    pub(crate) fn from_command(command: Command) -> Self {
        Self { command, framing: Framing::Lsp, capabilities: json!({}) }
    }

    pub(crate) fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub(crate) fn capabilities(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// Names a point of the code at which the process stops or kills itself.
    pub(crate) fn seam(self, seam: &str) -> Self {
        self.env("LOOMD_SEAM", seam)
    }

    /// Starts the process without sending anything.
    pub(crate) fn spawn(mut self) -> Server {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the server starts");
        let (send, incoming) = mpsc::channel();
        let read_gate = Arc::new(ReadGate::default());
        let (stdout, framing, gate) = (child.stdout.take().expect("a pipe"), self.framing, read_gate.clone());
        thread::spawn(move || read_frames(GatedReader { inner: stdout, gate }, framing, &send));
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
            read_gate,
            stderr,
            next_id: 1,
            responses: BTreeMap::new(),
            unmatched: VecDeque::new(),
            notifications: VecDeque::new(),
        }
    }

    /// Starts the process and sends `initialize`.
    pub(crate) fn start(self) -> Server {
        let capabilities = self.capabilities.clone();
        let mut server = self.spawn();
        server.call("initialize", json!({ "protocolVersion": 1, "clientInfo": { "name": "test" }, "capabilities": capabilities }));
        server.notify("initialized", json!({}));
        server
    }
}

/// Isolates a command: no configuration or data of the caller reaches it, and its processes have the home's mark.
pub(crate) fn isolated(mut command: Command, home: &Home) -> Command {
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
                    // The test has dropped the server, which must not hang in its last write.
                    drain(&mut reader);
                    return;
                }
            }
            Err(error) => {
                // The test may have dropped the server; then nobody needs the error.
                send.send(Err(error)).ok();
                drain(&mut reader);
                return;
            }
        }
    }
}

/// A stream that is not read while its gate is closed.
struct GatedReader<R> {
    inner: R,
    gate: Arc<ReadGate>,
}

impl<R: Read> Read for GatedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let stopped = self.gate.stopped.lock().expect("a lock");
        drop(self.gate.changed.wait_while(stopped, |stopped| *stopped).expect("a lock"));
        self.inner.read(buffer)
    }
}
