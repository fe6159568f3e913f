//! Errors of the store, and the messages that people read.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::FORMAT_VERSION;
use crate::model::{Failure, RunId};

/// Why the store's file cannot be used. Its words are for people: what is wrong with which file, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}", kind.sentence(path))]
pub struct StoreError {
    path: PathBuf,
    #[source]
    kind: Box<StoreErrorKind>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::store(&error.path, error.to_string())
    }
}

/// What went wrong inside the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreErrorKind {
    /// The text says what was tried, as it follows "failed to".
    #[error("failed to {0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("{0}")]
    Foreign(&'static str),
    #[error("{0}")]
    Damaged(String),
    #[error("format {0} is newer than {FORMAT_VERSION}")]
    Newer(u64),
    #[error("a row has a format that is newer than this loomd")]
    NewerRow,
    #[error("{0}")]
    Redb(Box<redb::Error>),
    #[error("failed to seal run {run}: entry {found} follows entry {sealed}")]
    Gap { run: RunId, sealed: u64, found: u64 },
    #[error("failed to seal run {run}: what follows entry {sealed} is not an entry")]
    NotAnEntry { run: RunId, sealed: u64 },
    #[error("failed to finish run {run}: entry {last} is its last, but only {sealed} are stored")]
    Unsealed { run: RunId, last: u64, sealed: u64 },
}

impl StoreErrorKind {
    pub(super) fn vanished() -> Self {
        Self::Io("open it", io::Error::new(io::ErrorKind::NotFound, "it was removed meanwhile"))
    }

    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self::Damaged(detail.into())
    }

    /// Whether the open handles cannot be used after this error.
    pub(super) fn spoils_handles(&self) -> bool {
        matches!(self, Self::Redb(_) | Self::Damaged(_) | Self::Io(..))
    }

    /// The error that callers get.
    pub(super) fn at(self, path: &Path) -> StoreError {
        StoreError { path: path.to_owned(), kind: Box::new(self) }
    }

    fn sentence(&self, path: &Path) -> String {
        let name = path.display();
        match self {
            Self::Foreign(what) => {
                format!("{name} is not a loomd store ({what}); move it away, or set LOOMD_DATA_DIR to another directory")
            }
            Self::Damaged(detail) => {
                format!("the store {name} is damaged ({detail}); restore a backup, or move the file away to start with an empty store")
            }
            Self::Newer(version) => format!(
                "the store {name} has format {version}, but this loomd supports at most {FORMAT_VERSION}; update loomd, or set LOOMD_DATA_DIR to another directory"
            ),
            Self::NewerRow => {
                format!("the store {name} was written by a newer loomd, which stores entries in another format; update loomd")
            }
            Self::Io(_, error) => format!("cannot use the store {name}: {self}; {}", remedy(error)),
            Self::Redb(error) => redb_message(path, error),
            Self::Gap { .. } | Self::NotAnEntry { .. } | Self::Unsealed { .. } => {
                format!("{self}; the log stays unchanged beside the store {name}")
            }
        }
    }
}

fn redb_message(path: &Path, error: &redb::Error) -> String {
    let name = path.display();
    match error {
        redb::Error::Io(error) => format!("cannot read or write the store {name}: {error}; {}", remedy(error)),
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. } => {
            format!("the store {name} is damaged ({error}); restore a backup, or move the file away to start with an empty store")
        }
        redb::Error::DatabaseAlreadyOpen => {
            format!("the store {name} is held by another program; close it, or set LOOMD_DATA_DIR to another directory")
        }
        error => format!("cannot use the store {name}: {error}; try again, and run `loomd doctor` if the error stays"),
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "make sure that you may read and write the file and its directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some disk space and try again",
        io::ErrorKind::ReadOnlyFilesystem => "set LOOMD_DATA_DIR to a writable directory",
        io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => "set LOOMD_DATA_DIR to an existing directory",
        _ => "try again, and run `loomd doctor` if the error stays",
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreErrorKind {
            fn from(error: redb::$error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

impl From<redb::Error> for StoreErrorKind {
    fn from(error: redb::Error) -> Self {
        Self::Redb(Box::new(error))
    }
}
