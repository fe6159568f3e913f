//! What can go wrong with the store, and how it is said to people.

use std::{io, path::Path};

use super::FORMAT_VERSION;
use crate::model::{Failure, RunId};

/// An error inside the store; it leaves this room only as a [`Failure`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The first word says what was tried.
    #[error("failed to {0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("{0}")]
    Foreign(&'static str),
    #[error("{0}")]
    Damaged(String),
    #[error("format {0} is newer than {FORMAT_VERSION}")]
    Newer(u64),
    #[error("a row has a form that is newer than this loomd")]
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

impl Trouble {
    pub(super) fn vanished() -> Self {
        Self::Io("open it", io::Error::new(io::ErrorKind::NotFound, "it was removed meanwhile"))
    }

    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self::Damaged(detail.into())
    }

    /// Whether an open handle is of no use any more.
    pub(super) fn spoils_handles(&self) -> bool {
        matches!(self, Self::Redb(_) | Self::Damaged(_) | Self::Io(..))
    }

    /// The sentence for a person: what is wrong with which file, and the way out.
    pub(super) fn at(self, path: &Path) -> Failure {
        let name = path.display();
        let message = match &self {
            Self::Foreign(what) => {
                format!("{name} is not a store of loomd ({what}); move it away, or set LOOMD_DATA_DIR to another directory")
            }
            Self::Damaged(detail) => {
                format!("the store {name} is damaged ({detail}); put a copy of it back, or move it away to begin with an empty one")
            }
            Self::Newer(version) => format!(
                "the store {name} has format {version}, and this loomd knows {FORMAT_VERSION} at most; update loomd, or set LOOMD_DATA_DIR to another directory"
            ),
            Self::NewerRow => format!("the store {name} was written by a newer loomd, which keeps entries in another form; update loomd"),
            Self::Io(_, error) => format!("the store {name} cannot be used: {self}; {}", way_out(error)),
            Self::Redb(error) => redb_message(path, error),
            Self::Gap { .. } | Self::NotAnEntry { .. } | Self::Unsealed { .. } => {
                format!("{self}; the log is kept as it is beside the store {name}")
            }
        };
        Failure::store(path, message)
    }
}

fn redb_message(path: &Path, error: &redb::Error) -> String {
    let name = path.display();
    match error {
        redb::Error::Io(error) => format!("the store {name} cannot be read or written: {error}; {}", way_out(error)),
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. } => {
            format!("the store {name} is damaged ({error}); put a copy of it back, or move it away to begin with an empty one")
        }
        redb::Error::DatabaseAlreadyOpen => {
            format!("the store {name} is held by another program; close it, or set LOOMD_DATA_DIR to another directory")
        }
        error => format!("the store {name} cannot be used: {error}; try again, and run `loomd doctor` if it stays so"),
    }
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "let its owner read and write it and its directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and try again",
        io::ErrorKind::ReadOnlyFilesystem => "set LOOMD_DATA_DIR to a directory that can be written",
        io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => "set LOOMD_DATA_DIR to a directory that is there",
        _ => "try again, and run `loomd doctor` if it stays so",
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Trouble {
            fn from(error: redb::$error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        Self::Redb(Box::new(error))
    }
}
