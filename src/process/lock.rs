//! An advisory lock (`flock`) on a directory or file, which proves that the process holding it is alive.
//!
//! The lock belongs to an open file description. The kernel releases it when the last process that has the description
//! open has exited, for whatever reason, and a process can pass it on with the descriptor. So a free lock means that no
//! holder is alive.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg},
};

use super::data_file;

/// The byte with which a lock is sent.
const LOCK_BYTE: u8 = b'L';

/// What [`Lock::receive`] found on a socket.
#[derive(Debug)]
pub(crate) enum ReceivedByte {
    Lock(Lock),
    /// A byte without a lock.
    Plain,
    /// The other side is gone.
    End,
}

/// A lock that this process holds, alone or together with a process that inherited its descriptor.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock on the directory or file at `path`, without waiting. `None` means that another description holds
    /// it. The error `NotFound` means that `path` does not exist, or names another file by the time the lock is taken.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        Self::try_lock(data_file::to_lock(path)?, path)
    }

    /// Like [`Self::try_take`], for a file, which is created if it does not exist.
    pub fn try_take_or_create(path: &Path) -> io::Result<Option<Self>> {
        Self::try_lock(data_file::write_or_create(path)?, path)
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

    /// A lock that this process inherited with its descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }

    /// Sends the lock over a Unix socket: from now on this process and the one that receives it hold it together.
    pub(crate) fn send(&self, socket: impl AsFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [self.file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(socket, &[IoSlice::new(&[LOCK_BYTE])], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives one byte from a Unix socket, and the lock that came with it.
    pub(crate) fn receive(socket: impl AsFd) -> io::Result<ReceivedByte> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = if cfg!(target_os = "linux") { RecvFlags::CMSG_CLOEXEC } else { RecvFlags::empty() };
        let received = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
        let descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        Ok(match descriptors.flatten().last() {
            Some(descriptor) => ReceivedByte::Lock(Self::from_fd(descriptor)),
            None if received.bytes == 0 => ReceivedByte::End,
            None => ReceivedByte::Plain,
        })
    }

    /// Whether `path` still names what is locked. The directory may have been removed and created again in between.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.file.metadata(), std::fs::metadata(path)) else { return false };
        (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
    }

    /// The locked file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Locks an open file or directory against other descriptions of it, without waiting. `false`: it is locked already.
pub(crate) fn try_exclusive(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
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
    fn a_lock_that_was_sent_is_held_until_both_have_let_go() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let is_free = || Lock::try_take(dir.path()).expect("it is there").is_some();
        let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let lock = Lock::try_take(dir.path()).expect("it is there").expect("it is free");
        io::Write::write_all(&mut &near, b"?").expect("written");
        lock.send(&near).expect("sent");
        drop(lock);
        assert!(matches!(Lock::receive(&far).expect("received"), ReceivedByte::Plain));
        assert!(!is_free());
        let ReceivedByte::Lock(received) = Lock::receive(&far).expect("received") else { panic!("a lock came") };
        assert!(!is_free());
        drop((received, near));
        assert!(is_free());
        assert!(matches!(Lock::receive(&far).expect("received"), ReceivedByte::End));
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
