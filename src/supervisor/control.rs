//! The supervisor's connections to servers.
//!
//! A server that is stopped or slow must hold up nothing: words to it wait in a bounded buffer of its connection, and a
//! connection whose buffer is full is closed; the server catches up from the log when it comes back.

use std::{
    cell::{Cell, RefCell},
    io,
    path::Path,
    rc::Rc,
};

use rustix::net::sockopt::socket_peercred;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc},
};

use super::words::{Asked, WAKE_CREDIT, line};
use crate::process::own;

/// Most bytes that may wait for one server.
const PENDING_LIMIT: usize = 4 << 20;
/// Longest line that a server may send: what a client may send to a run, escaped.
const LINE_LIMIT: usize = 512 << 20;

/// Something that a connection brought.
#[derive(Debug)]
pub enum Heard {
    /// The number of the connection, and what it asks.
    Asked(u64, Asked),
    /// It took note of wake-ups; more may be sent, and one is owed if any was held back.
    Credit(u64),
    Opened(Connection),
    Closed(u64),
}

/// What all connections bring, in order of arrival.
pub type Words = mpsc::UnboundedReceiver<Heard>;

/// The sending side of one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: u64,
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: OwnedWriteHalf,
    pending: RefCell<Vec<u8>>,
    more: Notify,
    wakes: Cell<u32>,
    owed: Cell<bool>,
    closed: Cell<bool>,
}

impl Connection {
    /// Sends a message, now or as soon as the server takes it.
    pub fn send(&self, message: &impl serde::Serialize) {
        self.send_line(&line(message));
    }

    /// Sends a line that is ready, with its line feed.
    pub fn send_line(&self, line: &[u8]) {
        let inner = &self.inner;
        let mut pending = inner.pending.borrow_mut();
        let sent = if pending.is_empty() { inner.writer.try_write(line).unwrap_or(0) } else { 0 };
        if sent < line.len() {
            pending.extend_from_slice(&line[sent..]);
            inner.closed.set(inner.closed.get() || pending.len() > PENDING_LIMIT);
            inner.more.notify_one();
        }
    }

    /// Tells that the log has grown, unless enough such words are on their way.
    pub fn wake(&self) {
        let inner = &self.inner;
        if inner.wakes.get() >= WAKE_CREDIT || !inner.pending.borrow().is_empty() {
            inner.owed.set(true);
            return;
        }
        // A socket that takes nothing now is waited for by the connection's own task.
        match inner.writer.try_write(b"\n") {
            Ok(_) => inner.wakes.set(inner.wakes.get() + 1),
            Err(_) => {
                inner.owed.set(true);
                inner.more.notify_one();
            }
        }
    }

    /// The server took note of some wake-ups.
    pub fn credit(&self) {
        self.inner.wakes.set(self.inner.wakes.get().saturating_sub(WAKE_CREDIT / 2));
        if self.inner.owed.replace(false) {
            self.wake();
        }
    }

    /// Waits until everything that was sent is with the server, or the server is gone.
    pub async fn flush(&self) {
        while self.inner.has_more() && !self.inner.closed.get() {
            if self.inner.writer.writable().await.is_err() {
                return;
            }
            self.inner.write_pending();
        }
    }
}

impl Inner {
    fn has_more(&self) -> bool {
        !self.pending.borrow().is_empty() || (self.owed.get() && self.wakes.get() < WAKE_CREDIT)
    }

    fn write_pending(&self) {
        let mut pending = self.pending.borrow_mut();
        if pending.is_empty() {
            // What is owed is a wake-up.
            pending.push(b'\n');
            self.owed.set(false);
            self.wakes.set(self.wakes.get() + 1);
        }
        match self.writer.try_write(&pending) {
            Ok(written) => drop(pending.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.closed.set(true),
        }
        if pending.is_empty() {
            pending.shrink_to(4096);
        }
    }
}

/// Opens the socket in a run's directory. Its path may be too long for a socket's address, so it is reached through the
/// directory's descriptor where the system has a way.
pub fn listen(dir: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(reachable(dir, &dir.join("s"))?.as_path())
}

/// Connects to the supervisor of the run in `dir`.
pub async fn connect(dir: &Path) -> io::Result<UnixStream> {
    let path = reachable(dir, &dir.join("s"))?;
    UnixStream::connect(path.as_path()).await
}

/// A path to a socket, short enough, and what keeps it valid.
struct Reachable {
    path: std::path::PathBuf,
    _dir: Option<std::fs::File>,
}

impl Reachable {
    fn as_path(&self) -> &Path {
        &self.path
    }
}

fn reachable(dir: &Path, socket: &Path) -> io::Result<Reachable> {
    use std::os::fd::AsRawFd;
    // sockaddr_un holds 108 bytes on Linux and 104 on macOS, the final NUL among them.
    if socket.as_os_str().len() < 100 || !cfg!(target_os = "linux") {
        return Ok(Reachable { path: socket.to_owned(), _dir: None });
    }
    let dir = std::fs::File::open(dir)?;
    let path = format!("/proc/self/fd/{}/s", dir.as_raw_fd()).into();
    Ok(Reachable { path, _dir: Some(dir) })
}

/// Takes connections for as long as the supervisor runs. Only our own user's are heard.
pub async fn accept(listener: UnixListener, heard: mpsc::UnboundedSender<Heard>) {
    let mut next_id = 1;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if is_ours(&stream) {
                    open(stream, next_id, heard.clone());
                    next_id += 1;
                }
            }
            // Too many open files and the like pass.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    #[cfg(target_os = "linux")]
    {
        socket_peercred(stream).is_ok_and(|peer| peer.uid.as_raw() == own::user())
    }
    #[cfg(not(target_os = "linux"))]
    {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == own::user())
    }
}

/// Begins to listen to one connection.
pub fn open(stream: UnixStream, id: u64, heard: mpsc::UnboundedSender<Heard>) {
    let (reader, writer) = stream.into_split();
    open_halves(BufReader::new(reader), writer, id, heard);
}

/// Like [`open`], for a stream of which some was read already.
pub fn open_halves(reader: BufReader<OwnedReadHalf>, writer: OwnedWriteHalf, id: u64, heard: mpsc::UnboundedSender<Heard>) {
    let inner = Inner {
        writer,
        pending: RefCell::default(),
        more: Notify::new(),
        wakes: Cell::new(0),
        owed: Cell::new(false),
        closed: Cell::new(false),
    };
    let connection = Connection { id, inner: Rc::new(inner) };
    // The main loop outlives its connections; if it is gone, so is everything.
    let _ = heard.send(Heard::Opened(connection.clone()));
    tokio::task::spawn_local(async move {
        tokio::select! {
            _ = listen_to(reader, id, &heard) => {}
            () = write(&connection) => {}
        }
        let _ = heard.send(Heard::Closed(id));
    });
}

async fn listen_to(mut reader: BufReader<OwnedReadHalf>, id: u64, heard: &mpsc::UnboundedSender<Heard>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).await? == 0 || line.len() > LINE_LIMIT {
            return Ok(());
        }
        let said = match line.as_slice() {
            b"\n" => Heard::Credit(id),
            line => Heard::Asked(id, serde_json::from_slice(line)?),
        };
        if heard.send(said).is_err() {
            return Ok(());
        }
        line.shrink_to(4096);
    }
}

async fn write(connection: &Connection) {
    while !connection.inner.closed.get() {
        connection.inner.more.notified().await;
        connection.flush().await;
    }
}
