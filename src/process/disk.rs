//! Creates private files and directories, makes them durable, and tells which network file system a path is on.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{Access, FallocateFlags, Mode, OFlags, access, fallocate},
    io::Errno,
};

use super::data_file;

/// Creates a directory and its missing parents with mode 0700.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a file with mode 0600 and opens it. Fails if the file exists.
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Replaces a file so that a reader, also after a power cut, sees the old contents or the new ones whole. It writes a
/// temporary file with the extension `new` beside it, and renames that.
pub(crate) fn replace_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = data_file::replace(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_dir(path.parent().expect("a file has a directory"))
}

/// Reads a file that nobody but this user may have written: a regular one of the user's own, not longer than `max_bytes`. It
/// neither follows a link in the last place nor waits for a pipe. The error's text goes on after the file's name.
pub(crate) fn read_own_file(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = match rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Err(io::ErrorKind::NotFound.into()),
        Err(Errno::LOOP) => return Err(io::Error::other("is a link; put the file itself there")),
        Err(error) => return Err(io::Error::other(format!("cannot be read: {}", io::Error::from(error)))),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is no regular file; put one there"));
    }
    if metadata.uid() != super::current_process::user_id() {
        return Err(io::Error::other("belongs to another user; own it yourself"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("can be written by others; take that from them with `chmod go-w`"));
    }
    let mut contents = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("is longer than {max_bytes} bytes; shorten it")));
    }
    Ok(contents)
}

/// Makes the entries of a directory durable, such as a file that was created or renamed in it.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Allocates space for a range of a file without changing the file's length. `Ok(false)` means that the file system
/// cannot.
pub(crate) fn allocate(file: &File, from: u64, length: u64) -> io::Result<bool> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, length) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error says that the disk or the user's quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Succeeds if this process may create files in a directory.
pub(crate) fn is_writable(dir: &Path) -> io::Result<()> {
    access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

/// The name of the network file system that a path is on, if it is on one. Locks are not reliable there. On systems
/// other than Linux and macOS it is always `None`.
pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    #[cfg(target_os = "linux")]
    {
        // Magic numbers from linux/magic.h and the file systems' own headers.
        let kind = rustix::fs::statfs(path)?.f_type as u32;
        Ok(match kind {
            0x6969 => Some("NFS"),
            0xFF53_4D42 => Some("CIFS"),
            0xFE53_4D42 => Some("SMB2"),
            0x517B => Some("SMB"),
            0x0102_1997 => Some("9P"),
            0x5346_414F => Some("AFS"),
            0x7375_7245 => Some("Coda"),
            0x00C3_6400 => Some("Ceph"),
            _ => None,
        })
    }
    #[cfg(target_os = "macos")]
    {
        let name = rustix::fs::statfs(path)?.f_fstypename.map(|c| c as u8);
        let known = ["nfs", "smbfs", "afpfs", "webdav"];
        Ok(known.into_iter().find(|known| name.starts_with(known.as_bytes())))
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = path;
        Ok(None)
    }
}

/// Refuses what this user may not write.
pub(crate) fn writing_allowed(path: &Path) -> io::Result<()> {
    Ok(access(path, Access::WRITE_OK)?)
}

/// How many bytes this user may still write to the file system of `path`.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let figures = rustix::fs::statvfs(path).ok()?;
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// A new file in a directory, for this user alone, that has no name and is gone when it is closed. `None`: the file system has
/// no such files.
pub(crate) fn unnamed_file(dir: &Path) -> Option<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).ok().map(File::from)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = dir;
        None
    }
}

/// Gives a file of [`unnamed_file`] a name that no file has.
pub(crate) fn give_name(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, own.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn created_files_and_directories_are_private() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("a/b");
        create_private_dir(&dir).expect("made");
        create_private_file(&dir.join("f")).expect("made");
        replace_durably(&dir.join("g"), b"text").expect("written");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir) & 0o077, 0);
        assert_eq!(mode(&dir.join("f")) & 0o177, 0);
        assert_eq!(mode(&dir.join("g")) & 0o177, 0);
    }

    #[test]
    fn allocation_keeps_the_length() {
        let file = tempfile::tempfile().expect("a temporary file");
        if allocate(&file, 0, 1 << 20).expect("there is room") {
            assert_eq!(file.metadata().expect("it is open").len(), 0);
        }
    }
}
