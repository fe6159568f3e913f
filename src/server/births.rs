//! Making a run: its directory, its supervisor, and word of how the start went.

use std::{
    fs,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
};

use super::adopt;
use crate::{
    log::{Description, RunDir},
    model::{Failure, Run},
    process::{detach, disk, lock::Lock, own},
    supervisor::words::{Birth, Orders, line},
};

/// A run that has been started, and the first connection to its supervisor.
#[derive(Debug)]
pub struct Born {
    pub run: Run,
    pub stream: UnixStream,
}

/// Starts a run and waits until its program has been spawned and its record is durable. Blocking.
pub fn start(runs: &Path, orders: &Orders) -> Result<Born, Failure> {
    let dir = RunDir::unborn(runs, orders.run.id);
    let failed = |error: io::Error| {
        let way_out = if disk::is_full(&error) {
            "make room on the disk"
        } else {
            "see that the directory is yours, or set LOOMD_DATA_DIR to another"
        };
        Failure::store(dir.path(), format!("the run cannot be kept in {}: {error}; {way_out}", runs.display()))
    };
    let lock = make_dir(&dir).map_err(failed)?;
    match spawn_and_wait(&dir, orders, &lock) {
        Ok((Birth::Started(run), stream)) => Ok(Born { run: *run, stream }),
        // The supervisor removes what was made when a start fails; this is for one that could not.
        Ok((Birth::Failed(failure), _)) => {
            let _ = fs::remove_dir_all(dir.path());
            Err(failure)
        }
        Err(error) => {
            // The supervisor may have died with the program already spawned.
            adopt::sweep(orders.run.id);
            let _ = fs::remove_dir_all(dir.path());
            Err(failed(error))
        }
    }
}

/// The directory, locked. A server that starts just now may take it for a leftover between the two steps; then again.
fn make_dir(dir: &RunDir) -> io::Result<Lock> {
    loop {
        match disk::create_private_dir(dir.path()) {
            // Ours from the last look: whoever swept just then has not removed it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        match Lock::try_take(dir.path()) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => std::thread::yield_now(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes the description while the supervisor starts, and gives it its orders when both are done: the intent is on
/// disk before the program is spawned.
fn spawn_and_wait(dir: &RunDir, orders: &Orders, lock: &Lock) -> io::Result<(Birth, UnixStream)> {
    let (near, far) = UnixStream::pair()?;
    let id = orders.run.id.to_string();
    std::thread::scope(|scope| {
        let supervisor = scope.spawn(|| detach::spawn_detached(&["supervise".as_ref(), id.as_ref()], far.as_fd(), lock));
        let described = Description { version: Description::VERSION, run: orders.run.clone(), token: orders.token.clone() }.write(dir);
        let spawned = supervisor.join().unwrap_or_else(|_| Err(io::Error::other("starting the supervisor panicked")));
        described.and(spawned)
    })?;
    drop(far);
    own::seam("start.intent");
    (&near).write_all(&line(orders))?;
    let mut answer = Vec::new();
    // Byte for byte up to the line feed: what follows belongs to the link.
    read_line(&near, &mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::other("the supervisor ended before it had started the program"));
    }
    Ok((serde_json::from_slice(&answer)?, near))
}

fn read_line(stream: &UnixStream, line: &mut Vec<u8>) -> io::Result<()> {
    let mut peeked = vec![0; 64 << 10];
    loop {
        let seen = rustix::net::recv(stream, &mut peeked[..], rustix::net::RecvFlags::PEEK)?.1;
        let end = memchr::memchr(b'\n', &peeked[..seen]).map(|end| end + 1);
        let take = end.unwrap_or(seen);
        (&mut &*stream).read_exact(&mut peeked[..take])?;
        line.extend_from_slice(&peeked[..take]);
        if end.is_some() || seen == 0 {
            return Ok(());
        }
    }
}
