//! Claims make a name belong to one process at a time, among all on a data directory: a locked file in `claims/`, named by the hash
//! of what is claimed, with the id of the run that it is claimed for.
//!
//! A client's token is claimed by the server that starts a run with it, a provider's session by the run's supervisor.

use std::{
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    model::{Failure, FailureKind, RunId},
    process::{data_file, lock::Lock},
};

/// How long we wait between two reads of a claim whose holder has not written its run's id yet.
const HOLDER_READ_INTERVAL: Duration = Duration::from_millis(2);
/// How many times a claim without an id is read.
const MAX_HOLDER_READS: u32 = 50;
/// A claim holds the id of a run; of a longer file no more is read.
const MAX_CLAIM_BYTES: u64 = 64;

/// A name belongs to this process for as long as it holds this. A file that stays is no claim once its lock is free.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    lock: Lock,
}

impl Claim {
    /// Takes a claim. `None`: another process holds it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            match Lock::try_take_or_create(path) {
                // The file was removed between the opening and the locking.
                Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::exists) => {}
                taken => return Ok(taken?.map(|lock| Self { path: path.to_owned(), lock })),
            }
        }
    }

    /// Takes a provider's session for a run, or fails with `sessionBusy` and the run that holds it. `runs` is the directory of runs.
    pub(crate) fn take_session(runs: &Path, session: &str, run: RunId) -> Result<Self, Failure> {
        let path = claims_dir(runs).join(session_file_name(session));
        let failed = |error: io::Error| Failure::store(&path, format!("cannot use the claim {}: {error}", path.display()));
        let claim = Self::try_take(&path).map_err(failed)?.ok_or_else(|| session_busy(session, holder(&path)))?;
        claim.name_run(run).map_err(failed)?;
        Ok(claim)
    }

    /// Whether this is the claim of a session.
    pub(crate) fn is_of_session(&self, session: &str) -> bool {
        self.path.file_name() == Some(session_file_name(session).as_ref())
    }

    /// The run that the last holder claimed this for.
    pub(crate) fn named_run(&self) -> io::Result<Option<RunId>> {
        let mut text = String::new();
        let mut file = self.lock.file();
        file.rewind()?;
        file.take(MAX_CLAIM_BYTES).read_to_string(&mut text)?;
        Ok(text.trim().parse().ok())
    }

    /// Writes for which run this is claimed.
    pub(crate) fn name_run(&self, id: RunId) -> io::Result<()> {
        let mut file = self.lock.file();
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(id.to_string().as_bytes())
    }

    /// Waits until what was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.lock.file().sync_all()
    }

    /// Gives the name up. The file is removed while it is locked, so that nobody takes a file that is being removed.
    pub(crate) fn release(self) {
        fs::remove_file(&self.path).ok();
        drop(self.lock);
    }
}

/// The file of a token's claim. `runs` is the directory of runs.
pub(crate) fn token_path(runs: &Path, hash: &blake3::Hash) -> PathBuf {
    claims_dir(runs).join(format!("token-{}", hash.to_hex()))
}

fn claims_dir(runs: &Path) -> PathBuf {
    runs.parent().unwrap_or(runs).join("claims")
}

fn session_file_name(session: &str) -> String {
    format!("session-{}", blake3::hash(session.as_bytes()).to_hex())
}

fn session_busy(session: &str, holder: Option<RunId>) -> Failure {
    let who = holder.map_or_else(|| "another run".to_owned(), |run| format!("run {run}"));
    let message = format!("session {session} is in use by {who}; follow that run, send a message to it, or cancel it first");
    let failure = Failure::new(FailureKind::SessionBusy, message);
    match holder {
        Some(run) => failure.with("runId", run.to_string()),
        None => failure,
    }
}

/// The run that wrote its id into the claim, which its holder does right after locking.
fn holder(path: &Path) -> Option<RunId> {
    for _ in 0..MAX_HOLDER_READS {
        let mut text = String::new();
        data_file::read(path).and_then(|file| file.take(MAX_CLAIM_BYTES).read_to_string(&mut text)).ok()?;
        if let Ok(run) = text.trim().parse() {
            return Some(run);
        }
        std::thread::sleep(HOLDER_READ_INTERVAL);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_holder_who_is_named() {
        let data = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(data.path().join("claims")).expect("made");
        let runs = data.path().join("runs");
        let (first, second) = (RunId::new(), RunId::new());
        let claim = Claim::take_session(&runs, "s", first).expect("it is free");
        assert!(claim.is_of_session("s") && !claim.is_of_session("t"));
        assert_eq!(claim.named_run().expect("readable"), Some(first));
        let refused = Claim::take_session(&runs, "s", second).expect_err("it is held");
        assert_eq!((refused.kind, refused.data["runId"].as_str()), (FailureKind::SessionBusy, Some(first.to_string().as_str())));
        Claim::take_session(&runs, "t", second).expect("another session is another matter").release();
        claim.release();
        Claim::take_session(&runs, "s", second).expect("it was released");
    }
}
