//! Opens the files of the data directory. A copied or shared directory may hold anything under their names: so each is
//! opened relative to its directory, neither of the two through a link, without waiting for a pipe's other end, and must
//! be a regular file. Whoever reads one whole names the most that it may hold.
//!
//! The data directory itself is judged once, by [`check_own_dir`].

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, open, openat},
    io::Errno,
};

const FILE_FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const DIR_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a file to read it.
pub(crate) fn read(path: &Path) -> io::Result<File> {
    regular(path, OFlags::RDONLY)
}

/// Opens an existing file to read and write it.
pub(crate) fn write(path: &Path) -> io::Result<File> {
    regular(path, OFlags::RDWR)
}

/// Opens a file to read and write it; creates it with mode 0600 if it does not exist.
pub(crate) fn write_or_create(path: &Path) -> io::Result<File> {
    regular(path, OFlags::RDWR | OFlags::CREATE)
}

/// Opens a file to append to it; creates it with mode 0600 if it does not exist.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    regular(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
}

/// Creates a file with mode 0600 in place of whatever has its name, which is removed and not written to.
pub(crate) fn replace(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    regular(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
}

/// Reads a file that is no longer than `max_bytes`.
pub(crate) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    bounded(read(path)?, path, max_bytes)
}

/// Reads what is left of an open file, if that is no more than `max_bytes`.
pub(crate) fn bounded(file: File, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > max_bytes {
        return Err(unusable(path, &format!("is longer than {max_bytes} bytes")));
    }
    Ok(contents)
}

/// Opens a file or a directory to lock it.
pub(crate) fn to_lock(path: &Path) -> io::Result<File> {
    let file = open_at(path, OFlags::RDONLY)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() { Ok(file) } else { Err(unusable(path, "is neither a file nor a directory")) }
}

/// Succeeds if a directory is the user's own, and no link to one, and nobody else may put files into it.
pub(crate) fn check_own_dir(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::symlink_metadata(path).map_err(|error| format!("cannot use {shown}: {error}"))?;
    if !metadata.is_dir() {
        return Err(format!("{shown} is no directory, or a link to one; put a directory of your own there"));
    }
    if metadata.uid() != super::current_process::user_id() {
        return Err(format!("{shown} belongs to another user; make sure that you own it"));
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err(format!("others may write to {shown}; take that from them with `chmod go-w {shown}`"));
    }
    Ok(())
}

fn regular(path: &Path, flags: OFlags) -> io::Result<File> {
    let file = open_at(path, flags)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(unusable(path, "is no regular file")) }
}

fn open_at(path: &Path, flags: OFlags) -> io::Result<File> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Err(unusable(path, "names no file")) };
    let dir = match open(dir, DIR_FLAGS, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(unusable(dir, "is no directory, or a link to one")),
        Err(error) => return Err(error.into()),
    };
    match openat(dir, name, flags | FILE_FLAGS, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        Err(Errno::LOOP) => Err(unusable(path, "is a link")),
        // A pipe that nobody reads, a socket, or a directory that was to be written to.
        Err(Errno::NXIO | Errno::OPNOTSUPP | Errno::ISDIR) => Err(unusable(path, "is no regular file")),
        Err(error) => Err(error.into()),
    }
}

fn unusable(path: &Path, what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{} {what}; it is not loomd's, so move it away", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_written_nor_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "precious").expect("written");
        symlink(at("victim"), at("link")).expect("linked");
        symlink(dir.path(), at("elsewhere")).expect("linked");
        fs::create_dir(at("folder")).expect("made");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::RUSR | Mode::WUSR).expect("made");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
        for name in ["link", "elsewhere/victim", "folder", "pipe", "socket"] {
            for open in [read, write, write_or_create, append] {
                let error = open(&at(name)).expect_err(name);
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}: {error}");
            }
        }
        for name in ["link", "pipe", "socket", "elsewhere"] {
            assert_eq!(to_lock(&at(name)).expect_err(name).kind(), ErrorKind::InvalidData, "{name}");
        }
        assert_eq!(read(&at("missing")).expect_err("missing").kind(), ErrorKind::NotFound);
        replace(&at("link")).expect("the link itself is replaced");
        assert_eq!(fs::read_to_string(at("victim")).expect("read"), "precious");
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, "12345").expect("written");
        assert_eq!(read_bounded(&path, 5).expect("short enough"), b"12345");
        assert!(read_bounded(&path, 4).expect_err("too long").to_string().contains("longer than 4 bytes"));
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_not_ours() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().join("data");
        fs::create_dir(&at).expect("made");
        for (mode, is_ours) in [(0o700, true), (0o755, true), (0o770, false), (0o702, false), (0o1777, false)] {
            fs::set_permissions(&at, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(check_own_dir(&at).is_ok(), is_ours, "{mode:o}");
        }
        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).expect("set");
        symlink(&at, dir.path().join("link")).expect("linked");
        assert!(check_own_dir(&dir.path().join("link")).is_err());
    }
}
