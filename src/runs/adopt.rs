//! Adopts runs whose supervisor died: sweeps their processes, repairs their log, writes their final entry.
//!
//! A process that gets the lock on the run's directory without waiting is the adopter; a lock that is held means that a
//! supervisor or another adopter holds it. Every step can be repeated, so an adopter may die anywhere and the next one
//! continues.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use super::seal;
use crate::{
    claims::Claim,
    log::{Appender, RunDir, append::Reserve, head, repair},
    model::{
        Entry, PermissionEntry, RunError, RunId, RunState, StateEntry,
        entry::{LeftProcess, PermissionStatus, ResolvedBy},
    },
    process::{Signal, current_process, data_file, lock::Lock, tree},
    supervisor,
};

/// How long an adopter keeps killing processes that carry the run's mark.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an adopter scans for processes that carry the run's mark.
const SWEEP_INTERVAL: Duration = Duration::from_millis(5);

/// Whether a run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Its supervisor lives.
    Alive,
    /// Another server is adopting it.
    Busy,
    /// The run has ended: by itself, or because this process has just adopted it.
    Final,
    /// There is no such directory.
    Gone,
}

/// Adopts a run if no process holds its lock and it has not ended. `final_state` is the state that it gets then.
pub(crate) fn resolve_liveness(dir: &RunDir, aside_dir: &Path, final_state: RunState) -> io::Result<Liveness> {
    let lock = match Lock::try_take(dir.path()) {
        Ok(Some(lock)) => lock,
        Ok(None) if dir.adopting().exists() => return Ok(Liveness::Busy),
        Ok(None) => return Ok(Liveness::Alive),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Liveness::Gone),
        Err(error) => return Err(error),
    };
    if head::snapshot(dir).is_ok_and(|run| run.state.is_final()) {
        return Ok(Liveness::Final);
    }
    match adopt(dir, aside_dir, final_state, &lock) {
        // The run had ended, and another server sealed and removed it while we held the lock.
        Err(_) if !lock.is_at(dir.path()) => Ok(Liveness::Gone),
        adopted => adopted.map(|()| Liveness::Final),
    }
}

fn adopt(dir: &RunDir, aside_dir: &Path, final_state: RunState, _lock: &Lock) -> io::Result<()> {
    data_file::write_or_create(&dir.adopting())?;
    current_process::seam("adopt.locked");
    let left = dir.id().map(sweep).unwrap_or_default();
    current_process::seam("adopt.swept");
    let repaired = repair::repair(dir, aside_dir)?;
    if !repaired.run.state.is_final() {
        let mut message = match final_state {
            RunState::Cancelled => "the run's supervisor did not answer and was ended with the run",
            _ => "the run's supervisor died before the run had ended",
        }
        .to_owned();
        if !repaired.cut_files.is_empty() {
            let paths: Vec<String> = repaired.cut_files.iter().map(|path| path.display().to_string()).collect();
            message = format!("{message}; the incomplete end of its log is stored in {}", paths.join(", "));
        }
        let (run_id, turn) = (repaired.run.id, repaired.run.turn);
        let (open_permissions, session) = (repaired.run.permissions.clone(), repaired.run.session.clone());
        let mut log = Appender::resume(dir.clone(), repaired.run)?;
        // No client will answer these any more, so they are resolved as canceled: nothing was allowed.
        for permission in open_permissions {
            let status =
                PermissionStatus::Resolved { option_id: None, cancelled: Some(true), message: None, by: ResolvedBy::Provider, rule: None };
            log.entry(|seq| Entry::Permission(PermissionEntry { seq, at: supervisor::now(), status, ..permission }), Reserve::FinalEntry)?;
        }
        let error = Some(RunError { kind: "supervisor".to_owned(), message });
        let stop_reason = Some(if final_state == RunState::Cancelled { "cancelled" } else { "error" }.to_owned());
        let entry = |seq| Entry::State(StateEntry { turn, stop_reason, error, left, ..supervisor::state_entry(run_id, seq, final_state) });
        log.entry(entry, Reserve::FinalEntry)?;
        log.finish()?;
        if let Some(claim) = session.and_then(|session| Claim::take_session(dir.path().parent()?, &session.id, run_id).ok()) {
            claim.release();
        }
    }
    fs::remove_file(dir.adopting())
}

/// Kills every process that carries the run's mark. Returns those that could not be ended.
pub(crate) fn sweep(id: RunId) -> Vec<LeftProcess> {
    let run = id.to_string();
    let deadline = Instant::now() + SWEEP_TIMEOUT;
    // A process in the middle of an exec shows no environment for a moment, so one empty scan proves nothing.
    let mut empty_scans = 0;
    loop {
        let processes = tree::all().unwrap_or_default();
        let mut marked = tree::marked(&processes, &run);
        // A server that runs inside the run's own tree cannot end itself before the work is done; it is only named.
        let own_pid = std::process::id();
        let own_process: Vec<_> = marked.extract_if(.., |process| process.pid == own_pid).collect();
        empty_scans = if marked.is_empty() { empty_scans + 1 } else { 0 };
        if empty_scans == 2 || Instant::now() >= deadline {
            return marked
                .iter()
                .chain(&own_process)
                .map(|process| LeftProcess { pid: process.pid, command: tree::command_line(process.pid) })
                .collect();
        }
        for process in &marked {
            // A process that is gone needs no signal.
            tree::signal(process, Signal::KILL).ok();
        }
        std::thread::sleep(SWEEP_INTERVAL);
    }
}

/// Removes what repairs of a deleted run have cut off.
pub(crate) fn remove_cut_files(aside_dir: &Path, id: RunId) {
    let of_run = |name: &str| name.starts_with(&id.to_string());
    for entry in fs::read_dir(aside_dir).into_iter().flatten().flatten().filter(|entry| entry.file_name().to_str().is_some_and(of_run)) {
        // A file that stays costs space and nothing else.
        fs::remove_file(entry.path()).ok();
    }
}

/// Removes the staging directory of a start that never became a run. Does nothing while a supervisor or starter holds
/// its lock.
pub(crate) fn remove_staging(dir: &Path, id: RunId) -> io::Result<()> {
    match Lock::try_take(dir) {
        // A link or a pipe, which is no run.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => seal::remove_gone_dir(dir),
        Ok(Some(_lock)) => {
            sweep(id);
            seal::remove_gone_dir(dir)
        }
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
