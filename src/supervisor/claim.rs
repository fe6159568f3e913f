//! A provider's session belongs to one live run: a locked file in `claims/`, named by the session's hash, held by its supervisor.

use std::{
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::{
    model::{Failure, FailureKind, RunId},
    process::lock::Lock,
};

/// A session that is ours for as long as this is held.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock: Lock,
}

impl Claim {
    /// Takes a session for a run, or says whose it is. `runs`: the directory of runs.
    pub fn take(runs: &Path, session: &str, run: RunId) -> Result<Self, Failure> {
        let path = path(runs, session);
        let failed = |error: io::Error| Failure::store(&path, format!("the claim {} cannot be used: {error}", path.display()));
        loop {
            match Lock::try_take_or_create(&path) {
                Ok(Some(lock)) => {
                    let mut file = lock.file();
                    file.rewind()
                        .and_then(|()| file.set_len(0))
                        .and_then(|()| file.write_all(run.to_string().as_bytes()))
                        .map_err(failed)?;
                    return Ok(Self { path, lock });
                }
                Ok(None) => return Err(busy(session, holder(&path))),
                // It was given back between the opening and the locking.
                Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::exists) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    pub fn is_of(&self, session: &str) -> bool {
        self.path.file_name() == Some(file_name(session).as_ref())
    }

    /// Gives it back. Removed while locked, so that nobody takes what is being removed.
    pub fn release(self) {
        let _ = fs::remove_file(&self.path);
        drop(self.lock);
    }
}

fn busy(session: &str, holder: Option<RunId>) -> Failure {
    let who = holder.map_or_else(|| "another run".to_owned(), |run| format!("run {run}"));
    let message = format!("the session {session} is held by {who}; follow that run, send to it, or cancel it first");
    let failure = Failure::new(FailureKind::SessionBusy, message);
    match holder {
        Some(run) => failure.with("runId", run.to_string()),
        None => failure,
    }
}

/// The run that wrote its name into the claim. It does so right after locking.
fn holder(path: &Path) -> Option<RunId> {
    for _ in 0..50 {
        let mut text = String::new();
        fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).ok()?;
        if let Ok(run) = text.trim().parse() {
            return Some(run);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    None
}

fn path(runs: &Path, session: &str) -> PathBuf {
    runs.parent().unwrap_or(runs).join("claims").join(file_name(session))
}

fn file_name(session: &str) -> String {
    format!("session-{}", blake3::hash(session.as_bytes()).to_hex())
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
        let claim = Claim::take(&runs, "s", first).expect("it is free");
        assert!(claim.is_of("s") && !claim.is_of("t"));
        let refused = Claim::take(&runs, "s", second).expect_err("it is held");
        assert_eq!((refused.kind, refused.data["runId"].as_str()), (FailureKind::SessionBusy, Some(first.to_string().as_str())));
        Claim::take(&runs, "t", second).expect("another session is another matter").release();
        claim.release();
        Claim::take(&runs, "s", second).expect("it was given back");
    }
}
