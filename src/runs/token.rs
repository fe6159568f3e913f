//! A client's token means one run over several servers. Whoever claims it holds the claim until its run has started or failed; a
//! second server waits for that and finds the run in the claim. Once the run is sealed its token is in the store.

use std::{fs, io, time::Duration};

use crate::{
    claims::{self, Claim},
    history::History,
    log::RunDir,
    model::{Failure, RunId},
    process::lock::Lock,
};

/// How often a second server tries the claim.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The outcome of claiming a token.
#[derive(Debug)]
pub(crate) enum TokenClaim {
    /// This process holds the token, so the run may be started.
    Taken(ClaimedToken),
    /// This run was started with the token.
    Run(RunId),
}

/// A token that this process holds. Dropping it without [`ClaimedToken::keep`] frees the token.
#[derive(Debug)]
pub(crate) struct ClaimedToken {
    claim: Option<Claim>,
}

/// Claims a token; waits while another server is starting a run with it.
pub(super) async fn take(history: &History, token: &str) -> Result<TokenClaim, Failure> {
    let hash = blake3::hash(token.as_bytes());
    loop {
        let history = history.clone();
        let attempt = tokio::task::spawn_blocking(move || try_take(&history, hash)).await;
        match attempt.map_err(|error| Failure::internal(error.to_string()))?? {
            Some(token) => return Ok(token),
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Tries to claim a token. `None`: another server is starting a run with it just now.
fn try_take(history: &History, hash: blake3::Hash) -> Result<Option<TokenClaim>, Failure> {
    let path = claims::token_path(&history.runs, &hash);
    let failed = |error: io::Error| Failure::store(&path, format!("cannot use the claim {}: {error}", path.display()));
    let Some(claim) = Claim::try_take(&path).map_err(failed)? else { return Ok(None) };
    if let Some(id) = claim.named_run().map_err(failed)? {
        if history.run(id)?.is_some() {
            return Ok(Some(TokenClaim::Run(id)));
        }
        // The server that wrote the id died, but the supervisor that it started may be about to start the run.
        if matches!(Lock::try_take(RunDir::staging(&history.runs, id).path()), Ok(None)) || history.run(id)?.is_some() {
            return Ok(None);
        }
    }
    match history.store.token(hash.as_bytes())? {
        Some(id) => {
            // We created the file just now, but the run is sealed and its token in the store.
            fs::remove_file(&path).ok();
            Ok(Some(TokenClaim::Run(id)))
        }
        None => Ok(Some(TokenClaim::Taken(ClaimedToken { claim: Some(claim) }))),
    }
}

impl ClaimedToken {
    /// Records durably which run the token means, before that run is started: whoever comes after a crash finds the
    /// run, or finds that there is no such run.
    pub(super) fn name_run(&self, id: RunId) -> io::Result<()> {
        self.claim.iter().try_for_each(|claim| claim.name_run(id).and_then(|()| claim.sync()))
    }

    /// Keeps the token for its run, which has started.
    pub(super) fn keep(mut self) {
        self.claim = None;
    }
}

impl Drop for ClaimedToken {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.release();
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
        let take = |token: &str| try_take(&history, blake3::hash(token.as_bytes())).expect("usable");
        let Some(TokenClaim::Taken(first)) = take("a") else { panic!("nobody has it yet") };
        assert!(take("a").is_none(), "the second waits");
        assert!(matches!(take("b"), Some(TokenClaim::Taken(_))), "another token is another matter");
        first.name_run(RunId::new()).expect("written");
        drop(first);
        assert!(matches!(take("a"), Some(TokenClaim::Taken(_))), "a failed start frees it");
    }
}
