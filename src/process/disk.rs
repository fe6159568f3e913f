//! Private files and directories, their durability, and what kind of file system they are on.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{Access, FallocateFlags, access, fallocate},
    io::Errno,
};

/// Makes a directory and what is missing above it, for the owner alone.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a new file for the owner alone. Fails if it is there already.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a file so that it is there whole or not at all, and survives a power cut.
pub fn replace_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_dir(path.parent().expect("a file has a directory"))
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Sets room aside behind the end of a file, which keeps its length. `Ok(false)`: this file system cannot.
pub fn allocate(file: &File, from: u64, length: u64) -> io::Result<bool> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, length) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the disk, or our share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether we may create files in a directory.
pub fn is_writable(dir: &Path) -> io::Result<()> {
    access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

/// The name of the network file system that a path is on, if it is on one: locks do not hold there.
pub fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_made_is_private() {
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
    fn allocated_room_is_behind_the_end() {
        let file = tempfile::tempfile().expect("a temporary file");
        if allocate(&file, 0, 1 << 20).expect("there is room") {
            assert_eq!(file.metadata().expect("it is open").len(), 0);
        }
    }
}
