//! Locks that prove life: an advisory lock on a directory or file, held by an open file description.
//!
//! The kernel frees such a lock when the last process that holds the description is gone, however it went. It can be
//! handed to another process with the descriptor. So «the lock is free» always means «nobody is there».

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// A lock that this process holds, alone or together with whoever it handed it to.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock on what is at `path`, a directory or a file, without waiting. `None`: somebody holds it.
    /// `NotFound`: nothing is there, or what was locked is no longer what stands at `path`.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        Self::try_lock(File::open(path)?, path)
    }

    /// Like [`Self::try_take`], for a file that is made if it is not there.
    pub fn try_take_or_create(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Self::try_lock(file, path)
    }

    fn try_lock(file: File, path: &Path) -> io::Result<Option<Self>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let lock = Self { file };
        if lock.is_at(path) { Ok(Some(lock)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// A lock that was handed over with its descriptor.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }

    /// Whether `path` still names what is locked: a directory may have been removed, and made anew, in between.
    pub fn is_at(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.file.metadata(), std::fs::metadata(path)) else { return false };
        (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_free_when_it_goes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = Lock::try_take(dir.path()).expect("it is there").expect("it is free");
        assert!(Lock::try_take(dir.path()).expect("it is there").is_none());
        drop(first);
        assert!(Lock::try_take(dir.path()).expect("it is there").is_some());
    }

    #[test]
    fn a_directory_made_anew_is_another_one() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let path = parent.path().join("run");
        std::fs::create_dir(&path).expect("made");
        let lock = Lock::try_take(&path).expect("it is there").expect("it is free");
        assert!(lock.is_at(&path));
        std::fs::rename(&path, parent.path().join("moved")).expect("renamed");
        std::fs::create_dir(&path).expect("made");
        assert!(!lock.is_at(&path));
    }
}
