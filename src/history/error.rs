//! Why a run cannot be read.

use std::{io, path::PathBuf};

use crate::{
    model::{Failure, RunId, line::NotCanonical},
    store::StoreError,
};

/// Why a run, or the list of runs, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("there is no run {0}; `run/list` lists all runs")]
    NotFound(RunId),
    #[error("cannot read the log in {}: {source}; run `loomd doctor` for details", dir.display())]
    Log { dir: PathBuf, source: io::Error },
    #[error("cannot read the log in {}: {source}; run `loomd doctor` for details", dir.display())]
    Line { dir: PathBuf, source: NotCanonical },
    #[error("cannot list {}: {source}", runs.display())]
    List { runs: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let message = error.to_string();
        match error {
            HistoryError::NotFound(id) => Self::run_not_found(id),
            HistoryError::Log { dir, .. } | HistoryError::Line { dir, .. } => Self::store(&dir, message),
            HistoryError::List { runs, .. } => Self::store(&runs, message),
            HistoryError::Store(error) => error.into(),
        }
    }
}
