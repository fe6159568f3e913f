//! Starts a run: creates its directory, starts its supervisor, and waits for the supervisor's reply.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use super::{
    adopt,
    ready_supervisor::{ReadySlot, ReadySupervisor},
};
use crate::{
    log::{Description, RunDir},
    model::{
        Failure, Run,
        control::{Command, ControlRequest, Event, LAUNCH_ID, LaunchCommand, LaunchSpec, StartReply, VERSION, VERSION_ID, line},
    },
    process::{current_process, descriptor, detach, disk, lock::Lock},
};

/// Bytes of the supervisor's reply that are looked at at a time.
const PEEK_BYTES: usize = 64 << 10;

/// A run that has been started, and the first connection to its supervisor.
#[derive(Debug)]
pub(crate) struct StartedRun {
    pub(crate) run: Run,
    pub(crate) connection: StarterConnection,
}

/// The connection over which a run was launched.
#[derive(Debug)]
pub(crate) struct StarterConnection {
    pub(crate) stream: UnixStream,
    /// The supervisor's version of the control protocol.
    pub(crate) version: u64,
}

/// Starts a supervisor with its control connection and the lock on the run's directory.
pub(super) type SpawnSupervisor<'a> = dyn Fn(BorrowedFd<'_>, &Lock) -> io::Result<()> + Sync + 'a;

/// Starts a run and waits until its program has been spawned and its description is durable. Blocking.
pub(super) fn start(runs: &Path, spec: &LaunchSpec, ready: &ReadySlot) -> Result<StartedRun, Failure> {
    let id = spec.run.id.to_string();
    let spawn = |control: BorrowedFd<'_>, lock: &Lock| detach::spawn_detached(&["supervise".as_ref(), id.as_ref()], control, Some(lock));
    start_with(runs, spec, ready.take(), &spawn)
}

/// Like [`start`], with this supervisor that waits, or else one that `spawn` starts.
pub(super) fn start_with(
    runs: &Path,
    spec: &LaunchSpec,
    ready: Option<ReadySupervisor>,
    spawn: &SpawnSupervisor,
) -> Result<StartedRun, Failure> {
    let dir = RunDir::staging(runs, spec.run.id);
    let failed = |error: io::Error| {
        let hint = if disk::is_full(&error) {
            "free some disk space"
        } else {
            "make sure that you own the directory, or set LOOMD_DATA_DIR to another directory"
        };
        Failure::store(dir.path(), format!("cannot store the run in {}: {error}; {hint}", runs.display()))
    };
    let lock = create_locked_dir(&dir).map_err(failed)?;
    match launch_in(&dir, spec, &lock, ready, spawn) {
        Ok((StartReply::Started(run), connection)) => Ok(StartedRun { run: *run, connection }),
        // A supervisor whose start fails removes the directory itself; this is for one that could not.
        Ok((StartReply::Failed(failure), _)) => {
            fs::remove_dir_all(dir.path()).ok();
            Err(failure)
        }
        Err(error) => {
            // The supervisor may have died with the program already spawned.
            adopt::sweep(spec.run.id);
            // A directory that stays is removed by the next server that starts.
            fs::remove_dir_all(dir.path()).ok();
            Err(failed(error))
        }
    }
}

/// Creates the run's directory and locks it. A server that starts just now may remove it as a leftover between the two
/// steps; then both are repeated.
fn create_locked_dir(dir: &RunDir) -> io::Result<Lock> {
    loop {
        match disk::create_private_dir(dir.path()) {
            // The directory is ours from the last attempt: the server that held its lock has not removed it.
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

/// Launches the run in its locked directory, once its description is written: the intent is on disk before the program is
/// spawned.
fn launch_in(
    dir: &RunDir,
    spec: &LaunchSpec,
    lock: &Lock,
    ready: Option<ReadySupervisor>,
    spawn: &SpawnSupervisor,
) -> io::Result<(StartReply, StarterConnection)> {
    let description = Description { version: Description::VERSION, run: spec.run.clone(), token: spec.token.clone() };
    let Some(ready) = ready else { return spawn_and_launch(dir, spec, lock, &description, spawn) };
    description.write(dir)?;
    match ready.hand_over(lock) {
        Some(stream) => {
            current_process::seam("start.intent");
            let (reply, version) = launch(&stream, spec)?.ok_or_else(has_ended)?;
            Ok((reply, StarterConnection { stream, version }))
        }
        None => spawn_and_launch(dir, spec, lock, &description, spawn),
    }
}

/// Writes the description while the supervisor starts, and launches the run when both are done.
fn spawn_and_launch(
    dir: &RunDir,
    spec: &LaunchSpec,
    lock: &Lock,
    description: &Description,
    spawn: &SpawnSupervisor,
) -> io::Result<(StartReply, StarterConnection)> {
    let (ours, theirs) = UnixStream::pair()?;
    std::thread::scope(|scope| {
        let supervisor = scope.spawn(|| spawn(theirs.as_fd(), lock));
        let written = description.write(dir);
        let spawned = supervisor.join().unwrap_or_else(|_| Err(io::Error::other("starting the supervisor panicked")));
        written.and(spawned)
    })?;
    drop(theirs);
    current_process::seam("start.intent");
    if let Some((reply, version)) = launch(&ours, spec)? {
        return Ok((reply, StarterConnection { stream: ours, version }));
    }
    // A supervisor of version 0 has closed the connection at the first line, which is no launch spec. It may be one
    // where an executable that was replaced cannot be started any more.
    let (ours, theirs) = UnixStream::pair()?;
    spawn(theirs.as_fd(), lock)?;
    drop(theirs);
    let reply = launch_version_0(&ours, spec)?;
    Ok((reply, StarterConnection { stream: ours, version: 0 }))
}

/// Launches the run. Returns also the supervisor's version. `None`: the supervisor has said nothing, not even that.
fn launch(mut stream: &UnixStream, spec: &LaunchSpec) -> io::Result<Option<(StartReply, u64)>> {
    let mut request = line(&ControlRequest { id: VERSION_ID, command: Command::Version(VERSION), within: Vec::new() });
    request.extend(line(&ControlRequest { id: LAUNCH_ID, command: LaunchCommand::Launch(spec), within: Vec::new() }));
    // A supervisor that has closed the connection is noticed by reading.
    stream.write_all(&request).ok();
    let mut version = None;
    loop {
        let mut answer = Vec::new();
        // Only the bytes up to the line feed are read: what follows belongs to the link.
        let read = read_line(stream, &mut answer);
        if answer.is_empty() {
            return if version.is_some() { Err(read.err().unwrap_or_else(has_ended)) } else { Ok(None) };
        }
        let reply = match serde_json::from_slice(&answer)? {
            Event::Answer { id: LAUNCH_ID, result: Ok(run) } => StartReply::Started(serde_json::from_value(run)?),
            Event::Answer { id: LAUNCH_ID, result: Err(failure) } => StartReply::Failed(failure),
            Event::Answer { id: VERSION_ID, result } => {
                version = Some(result.ok().and_then(|version| version.as_u64()).unwrap_or(0));
                continue;
            }
            _ => continue,
        };
        return Ok(Some((reply, version.unwrap_or(0))));
    }
}

/// Launches the run with a supervisor of version 0.
fn launch_version_0(mut stream: &UnixStream, spec: &LaunchSpec) -> io::Result<StartReply> {
    stream.write_all(&line(spec))?;
    let mut answer = Vec::new();
    read_line(stream, &mut answer)?;
    if answer.is_empty() {
        return Err(has_ended());
    }
    Ok(serde_json::from_slice(&answer)?)
}

fn has_ended() -> io::Error {
    io::Error::other("the supervisor ended before it started the program")
}

fn read_line(stream: &UnixStream, line: &mut Vec<u8>) -> io::Result<()> {
    let mut peeked = vec![0; PEEK_BYTES];
    loop {
        let seen = descriptor::peek(stream, &mut peeked)?;
        let end = memchr::memchr(b'\n', &peeked[..seen]).map(|end| end + 1);
        let take = end.unwrap_or(seen);
        (&mut &*stream).read_exact(&mut peeked[..take])?;
        line.extend_from_slice(&peeked[..take]);
        if end.is_some() || seen == 0 {
            return Ok(());
        }
    }
}
