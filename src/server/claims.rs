//! Claims make a client's token mean one run over several servers: a locked file in `claims/`, named by the token's hash.
//!
//! The first taker holds the lock until its run has started or failed; a second one waits for that and finds the run's
//! id in the file. Once a run is sealed its token is in the store, and the file goes.

use std::{
    fs, io,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    history::History,
    log::RunDir,
    model::{Failure, RunId},
    process::lock::Lock,
};

/// How often a second taker looks.
const LOOK: Duration = Duration::from_millis(20);

/// What became of taking a token.
#[derive(Debug)]
pub enum Token {
    /// It is ours: the run may be started.
    Taken(Claim),
    /// This run was started with it.
    Run(RunId),
}

/// A token that we hold. Dropping it without [`Claim::keep`] frees it.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock: Lock,
    kept: bool,
}

/// The hash by which a token is known.
pub fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Where the claim of a token stands.
pub fn path(data_dir: &Path, hash: &[u8; 32]) -> PathBuf {
    data_dir.join("claims").join(format!("token-{}", blake3::Hash::from_bytes(*hash).to_hex()))
}

/// Tries to take a token. `None`: somebody is starting a run with it just now.
pub fn try_take(data_dir: &Path, history: &History, hash: &[u8; 32]) -> Result<Option<Token>, Failure> {
    let path = path(data_dir, hash);
    let failed = |error: io::Error| Failure::store(&path, format!("the claim {} cannot be used: {error}", path.display()));
    let lock = match Lock::try_take_or_create(&path) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(None),
        // It was removed between the opening and the locking.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut named = String::new();
    lock.file().read_to_string(&mut named).map_err(failed)?;
    let named: Option<RunId> = named.trim().parse().ok();
    if let Some(id) = named {
        if history.run(id)?.is_some() {
            return Ok(Some(Token::Run(id)));
        }
        // Its server died, but the supervisor that it told may be about to start the run.
        if matches!(Lock::try_take(RunDir::unborn(&history.runs, id).path()), Ok(None)) || history.run(id)?.is_some() {
            return Ok(None);
        }
    }
    match history.store.token(hash)? {
        Some(id) => {
            // The file was made by us just now; the store knows better.
            let _ = fs::remove_file(&path);
            Ok(Some(Token::Run(id)))
        }
        None => Ok(Some(Token::Taken(Claim { path, lock, kept: false }))),
    }
}

/// Takes a token, waiting for whoever is starting a run with it.
pub async fn take(data_dir: PathBuf, history: History, hash: [u8; 32]) -> Result<Token, Failure> {
    loop {
        let (data_dir, history) = (data_dir.clone(), history.clone());
        let taken = tokio::task::spawn_blocking(move || try_take(&data_dir, &history, &hash)).await;
        match taken.map_err(|error| Failure::internal(error.to_string()))?? {
            Some(token) => return Ok(token),
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

impl Claim {
    /// Writes down which run the token means, durably, before it is started: whoever comes after a crash finds it, or
    /// finds that there is no such run.
    pub fn name(&self, id: RunId) -> io::Result<()> {
        let mut file = self.lock.file();
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(id.to_string().as_bytes())?;
        file.sync_all()
    }

    /// The run has started: the token is its own from now on.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            // Removed while locked, so that nobody takes what is being removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_token_has_one_holder_and_is_freed_by_failure() {
        let data = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(data.path().join("claims")).expect("made");
        let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
        let taken = |token: &str| try_take(data.path(), &history, &hash(token)).expect("usable");
        let Some(Token::Taken(first)) = taken("a") else { panic!("nobody has it yet") };
        assert!(taken("a").is_none(), "the second waits");
        assert!(matches!(taken("b"), Some(Token::Taken(_))), "another token is another matter");
        first.name(RunId::new()).expect("written");
        drop(first);
        assert!(matches!(taken("a"), Some(Token::Taken(_))), "a failed start frees it");
    }
}
