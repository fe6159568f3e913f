//! The supervisor's connections to servers.
//!
//! A server that is stopped or slow must hold up nothing: lines to it wait in a bounded buffer of its connection, and a
//! connection whose buffer is full is closed; the server catches up from the log when it connects again.

use std::{
    cell::{Cell, RefCell},
    io,
    path::Path,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Notify, mpsc},
};

use crate::{
    model::{
        Failure, RunId,
        control::{ControlRequest, Event, WAKE_CREDIT, line, version_answer},
    },
    process::socket::{self, Socket, SocketPath, SocketReader},
};

/// Bytes that may wait for one server.
const MAX_PENDING_BYTES: usize = 4 << 20;
/// Bytes of the longest line that a server may send: what a client may send to a run, escaped.
const MAX_LINE_BYTES: usize = 512 << 20;

/// How long [`accept`] waits after an error, such as too many open files.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Capacity that a connection's buffers keep between lines.
const SPARE_BUFFER_BYTES: usize = 4096;

/// The connection of the server that started the run. The versions were exchanged before it is served here.
pub(crate) const STARTER: u64 = 0;

/// What a connection reports to the supervisor's main loop.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// A request, with the id of its connection.
    Request(u64, ControlRequest),
    /// A request of a newer server that this supervisor does not know, with the id of its connection and its own.
    Unknown(u64, u64),
    /// The server has seen wake-ups: more may be sent, and one is sent at once if one was held back.
    Credit(u64),
    Opened(ControlConnection),
    Closed(u64),
}

/// Receives the events of all connections, in order of arrival.
pub(crate) type EventReceiver = mpsc::UnboundedReceiver<ConnectionEvent>;

/// A server's connection, and whether the server's client is attached to the run.
pub(crate) struct ServerConnection {
    pub(crate) connection: ControlConnection,
    pub(crate) attached: bool,
    /// The runs by which the server is limited, once that was looked up.
    pub(crate) limits: Option<Vec<RunId>>,
    /// Its client, while it is attached, answers what programs ask of a terminal.
    pub(crate) shows_terminal: bool,
    /// Whether a person can answer permission requests at its client. `None`: an older server does not say.
    pub(crate) can_answer: Option<bool>,
}

/// The sending side of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ControlConnection {
    pub(crate) id: u64,
    state: Rc<ConnectionState>,
}

#[derive(Debug)]
struct ConnectionState {
    socket: Rc<Socket>,
    pending: RefCell<Vec<u8>>,
    work_added: Notify,
    wakes: Cell<u32>,
    owes_wake: Cell<bool>,
    closed: Cell<bool>,
}

impl ControlConnection {
    /// The server's process; `None` where the system does not tell, or where the server is in another container.
    pub(crate) fn peer(&self) -> Option<u32> {
        self.state.socket.peer()
    }

    /// Sends a message, now or as soon as the server reads on.
    pub(crate) fn send(&self, message: &impl serde::Serialize) {
        self.send_line(&line(message));
    }

    /// Sends a line that is ready, including its line feed.
    pub(crate) fn send_line(&self, line: &[u8]) {
        let state = &self.state;
        let mut pending = state.pending.borrow_mut();
        let sent = if pending.is_empty() { state.socket.try_write(line).unwrap_or(0) } else { 0 };
        if sent < line.len() {
            pending.extend_from_slice(&line[sent..]);
            state.closed.set(state.closed.get() || pending.len() > MAX_PENDING_BYTES);
            state.work_added.notify_one();
        }
    }

    /// Sends a wake-up, which tells that the log has grown, unless [`WAKE_CREDIT`] of them are on their way.
    pub(crate) fn wake(&self) {
        let state = &self.state;
        if state.wakes.get() >= WAKE_CREDIT || !state.pending.borrow().is_empty() {
            state.owes_wake.set(true);
            return;
        }
        // The connection's own task waits until the socket takes bytes again.
        match state.socket.try_write(b"\n") {
            Ok(_) => state.wakes.set(state.wakes.get() + 1),
            Err(_) => {
                state.owes_wake.set(true);
                state.work_added.notify_one();
            }
        }
    }

    /// Counts the wake-ups that the server has seen.
    pub(crate) fn credit(&self) {
        self.state.wakes.set(self.state.wakes.get().saturating_sub(WAKE_CREDIT / 2));
        if self.state.owes_wake.replace(false) {
            self.wake();
        }
    }

    /// Waits until everything that was sent is with the server, or the server is gone.
    pub(crate) async fn flush(&self) {
        while self.state.has_work() && !self.state.closed.get() {
            if self.state.socket.writable().await.is_err() {
                return;
            }
            self.state.write_pending();
        }
    }
}

impl ConnectionState {
    fn has_work(&self) -> bool {
        !self.pending.borrow().is_empty() || (self.owes_wake.get() && self.wakes.get() < WAKE_CREDIT)
    }

    fn write_pending(&self) {
        let mut pending = self.pending.borrow_mut();
        if pending.is_empty() {
            // With nothing else pending, the work is an owed wake-up.
            pending.push(b'\n');
            self.owes_wake.set(false);
            self.wakes.set(self.wakes.get() + 1);
        }
        match self.socket.try_write(&pending) {
            Ok(written) => drop(pending.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.closed.set(true),
        }
        if pending.is_empty() {
            pending.shrink_to(SPARE_BUFFER_BYTES);
        }
    }
}

/// Opens the socket in a run's directory. Its path may be too long for a socket's address, so Linux reaches it through
/// the directory's descriptor.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(SocketPath::of(dir, "s")?.as_path())
}

/// Connects to the supervisor of the run in `dir`.
pub(crate) async fn connect(dir: &Path) -> io::Result<UnixStream> {
    let path = SocketPath::of(dir, "s")?;
    UnixStream::connect(path.as_path()).await
}

/// Accepts connections for as long as the supervisor runs; those of other users are dropped.
pub(crate) async fn accept(listener: UnixListener, events: mpsc::UnboundedSender<ConnectionEvent>) {
    let mut next_id = STARTER + 1;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if socket::is_of_this_user(&stream)
                    && let Ok(socket) = Socket::new(stream)
                {
                    open(BufReader::new(SocketReader::new(Rc::clone(&socket))), socket, next_id, events.clone());
                    next_id += 1;
                }
            }
            // Errors such as too many open files pass.
            Err(_) => tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await,
        }
    }
}

/// Serves one connection, of which some was read already.
pub(crate) fn open(reader: BufReader<SocketReader>, socket: Rc<Socket>, id: u64, events: mpsc::UnboundedSender<ConnectionEvent>) {
    let state = ConnectionState {
        socket,
        pending: RefCell::default(),
        work_added: Notify::new(),
        wakes: Cell::new(0),
        owes_wake: Cell::new(false),
        closed: Cell::new(false),
    };
    let connection = ControlConnection { id, state: Rc::new(state) };
    if id != STARTER {
        connection.send(&version_answer());
    }
    // The main loop outlives its connections; if it is gone, so is the process.
    events.send(ConnectionEvent::Opened(connection.clone())).ok();
    tokio::task::spawn_local(async move {
        tokio::select! {
            _ = read_requests(reader, id, &events) => {}
            () = write(&connection) => {}
        }
        // A main loop that is gone needs no event.
        events.send(ConnectionEvent::Closed(id)).ok();
    });
}

/// The id of a request that may be one of a newer server.
pub(super) fn id_of_request(line: &[u8]) -> serde_json::Result<u64> {
    #[derive(serde::Deserialize)]
    struct RequestId {
        id: u64,
    }
    Ok(serde_json::from_slice::<RequestId>(line)?.id)
}

/// The answer to a command that this supervisor does not know.
pub(super) fn unknown_command(id: u64) -> Event {
    let message = "the run's supervisor is older than this server and does not know this command; start the run again for it";
    Event::Answer { id, result: Err(Failure::unsupported("command", message)) }
}

async fn read_requests(mut reader: BufReader<SocketReader>, id: u64, events: &mpsc::UnboundedSender<ConnectionEvent>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).await? == 0 || line.len() > MAX_LINE_BYTES {
            return Ok(());
        }
        let event = match line.as_slice() {
            b"\n" => ConnectionEvent::Credit(id),
            line => match serde_json::from_slice(line) {
                Ok(request) => ConnectionEvent::Request(id, request),
                Err(_) => ConnectionEvent::Unknown(id, id_of_request(line)?),
            },
        };
        if events.send(event).is_err() {
            return Ok(());
        }
        line.shrink_to(SPARE_BUFFER_BYTES);
    }
}

async fn write(connection: &ControlConnection) {
    while !connection.state.closed.get() {
        connection.state.work_added.notified().await;
        connection.flush().await;
    }
}
