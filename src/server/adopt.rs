//! Runs whose supervisor died: swept, repaired, closed.
//!
//! Whoever gets the lock on the run's directory without waiting is the adopter; a lock that is held means that somebody
//! is there. Every step can be repeated, so an adopter may die anywhere and the next one goes on.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    log::{Appender, RunDir, append::Room, head, repair},
    model::{
        Entry, PermissionEntry, RunError, RunId, RunState, StateEntry,
        entry::{LeftProcess, PermissionStatus, ResolvedBy},
    },
    process::{lock::Lock, own, tree},
    supervisor::{self, claim::Claim},
};

/// How long an adopter goes on killing what carries the run's mark.
const SWEEP_PATIENCE: Duration = Duration::from_secs(5);

/// How a run was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Its supervisor lives.
    Alive,
    /// Another server is adopting it.
    Busy,
    /// It has ended: by itself, or just now by us.
    Final,
    /// There is no such directory.
    Gone,
}

/// Adopts a run if nobody holds it and it has not ended. `verdict` is the state that it gets then.
pub fn settle(dir: &RunDir, aside: &Path, verdict: RunState) -> io::Result<Settled> {
    let lock = match Lock::try_take(dir.path()) {
        Ok(Some(lock)) => lock,
        Ok(None) if dir.adopting().exists() => return Ok(Settled::Busy),
        Ok(None) => return Ok(Settled::Alive),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settled::Gone),
        Err(error) => return Err(error),
    };
    if head::picture(dir).is_ok_and(|run| run.state.is_final()) {
        return Ok(Settled::Final);
    }
    match adopt(dir, aside, verdict, &lock) {
        // What had ended was sealed and removed under our eyes.
        Err(_) if !lock.is_at(dir.path()) => Ok(Settled::Gone),
        adopted => adopted.map(|()| Settled::Final),
    }
}

fn adopt(dir: &RunDir, aside: &Path, verdict: RunState, _lock: &Lock) -> io::Result<()> {
    fs::write(dir.adopting(), "")?;
    own::seam("adopt.locked");
    let id = head::id_of(&dir.path().file_name().unwrap_or_default().to_string_lossy());
    let left = id.map(sweep).unwrap_or_default();
    own::seam("adopt.swept");
    let repaired = repair::repair(dir, aside)?;
    if !repaired.run.state.is_final() {
        let mut message = match verdict {
            RunState::Cancelled => "the run's supervisor did not answer and was ended with the run",
            _ => "the run's supervisor died before the run had ended",
        }
        .to_owned();
        if !repaired.aside.is_empty() {
            let kept: Vec<String> = repaired.aside.iter().map(|path| path.display().to_string()).collect();
            message = format!("{message}; what was not whole in its log is kept in {}", kept.join(", "));
        }
        let (run_id, turn) = (repaired.run.id, repaired.run.turn);
        let (open, session) = (repaired.run.permissions.clone(), repaired.run.session.clone());
        let mut log = Appender::resume(dir.clone(), repaired.run)?;
        // Nobody will answer these any more, and nothing was allowed.
        for question in open {
            let status = PermissionStatus::Resolved { option_id: None, cancelled: Some(true), message: None, by: ResolvedBy::Provider };
            log.entry(|seq| Entry::Permission(PermissionEntry { seq, at: supervisor::now(), status, ..question }), Room::Last)?;
        }
        let error = Some(RunError { kind: "supervisor".to_owned(), message });
        let stop_reason = Some(if verdict == RunState::Cancelled { "cancelled" } else { "error" }.to_owned());
        let entry = |seq| Entry::State(StateEntry { turn, stop_reason, error, left, ..supervisor::state_entry(run_id, seq, verdict) });
        log.entry(entry, Room::Last)?;
        log.finish()?;
        if let Some(claim) = session.and_then(|session| Claim::take(dir.path().parent()?, &session.id, run_id).ok()) {
            claim.release();
        }
    }
    fs::remove_file(dir.adopting())
}

/// Ends everything that carries the run's mark. Returns what could not be ended.
pub fn sweep(id: RunId) -> Vec<LeftProcess> {
    let run = id.to_string();
    let deadline = Instant::now() + SWEEP_PATIENCE;
    // A process in the middle of an exec shows no environment for a moment, so one empty look proves nothing.
    let mut empty_looks = 0;
    loop {
        let processes = tree::all().unwrap_or_default();
        let mut marked = tree::marked(&processes, &run);
        // A server that runs inside the run's own tree cannot end itself before the work is done; it is named.
        let ourselves = std::process::id();
        let myself: Vec<_> = marked.extract_if(.., |process| process.pid == ourselves).collect();
        empty_looks = if marked.is_empty() { empty_looks + 1 } else { 0 };
        if empty_looks == 2 || Instant::now() >= deadline {
            return marked
                .iter()
                .chain(&myself)
                .map(|process| LeftProcess { pid: process.pid, command: tree::command_line(process.pid) })
                .collect();
        }
        for process in &marked {
            // One that is gone is what we want.
            let _ = tree::signal(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what repairs of a deleted run have kept aside.
pub fn remove_aside(aside: &Path, id: RunId) {
    let of_run = |name: &str| name.starts_with(&id.to_string());
    for entry in fs::read_dir(aside).into_iter().flatten().flatten().filter(|entry| entry.file_name().to_str().is_some_and(of_run)) {
        let _ = fs::remove_file(entry.path());
    }
}

/// Removes what a start that never became a run has left. Does nothing while somebody is at it.
pub fn remove_unborn(dir: &Path, id: RunId) -> io::Result<()> {
    match Lock::try_take(dir) {
        Ok(Some(_lock)) => {
            sweep(id);
            fs::remove_dir_all(dir)
        }
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
