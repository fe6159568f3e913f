//! The file that a run is exported to. It is there whole, or not at all.
//!
//! The file is written without a name where the file system can do that, so that not even a killed process leaves half a file behind. A
//! regular file at that path is replaced when the new one is whole and durable; anything else at that path is refused.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::ExportError;
use crate::{
    model::Failure,
    process::{current_process, disk},
};

const WRITE_BUFFER_BYTES: usize = 128 << 10;

/// A place to write to.
#[derive(Debug)]
pub(crate) struct Destination {
    /// As the client named it.
    path: PathBuf,
    /// The same path with links resolved.
    target: PathBuf,
    parent: PathBuf,
}

impl Destination {
    /// Checks that a file can be written at `path`. `private` is the directory of the runs, where nobody writes but loomd.
    pub(crate) fn find(path: &str, private: &Path) -> Result<Self, Failure> {
        let refused = |why: String| Failure::invalid_params("path", why);
        let path = PathBuf::from(path);
        let shown = path.display();
        if !path.is_absolute() {
            return Err(refused(format!("`path` must be absolute; {:?} is not", path.as_os_str())));
        }
        let link = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_symlink);
        if link.as_ref().is_some_and(|link| link.uid() != current_process::user_id()) {
            return Err(refused(format!("{shown} is a link of another user; name another file")));
        }
        let existing = match fs::metadata(&path) {
            Ok(existing) => Some(existing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(format!("cannot access {shown}: {error}"))),
        };
        match &existing {
            Some(existing) if existing.is_dir() => return Err(refused(format!("{shown} is a directory; name a file in it"))),
            Some(existing) if !existing.is_file() => return Err(refused(format!("{shown} is not a regular file; name another file"))),
            Some(_) if rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() => {
                return Err(refused(format!("{shown} is not writable; name another file")));
            }
            // `Path` drops the end of such a path, so its last directory would be taken for a file's name.
            None if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.as_os_str().as_encoded_bytes().ends_with(b"/.") => {
                return Err(refused(format!("{shown} names a directory that does not exist; name a file")));
            }
            _ => {}
        }
        let target = if existing.is_some() { fs::canonicalize(&path) } else { Ok(path.clone()) };
        let target = target.map_err(|error| refused(format!("cannot access {shown}: {error}")))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(refused(format!("{shown} is a directory; name a file in it")));
        };
        let named = parent.display();
        let parent = fs::canonicalize(parent).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refused(format!("the directory {named} does not exist; create it, or name another directory")),
            _ => refused(format!("cannot use the directory {named}: {error}")),
        })?;
        if !parent.is_dir() {
            return Err(refused(format!("{named} is not a directory; name a file in a directory")));
        }
        if fs::canonicalize(private).is_ok_and(|private| parent.starts_with(private)) {
            return Err(refused(format!("{shown} is in loomd's data directory; name a file outside of it")));
        }
        if link.is_some() && path.parent().and_then(|dir| dir.canonicalize().ok()).as_ref() != Some(&parent) {
            return Err(refused(format!("{shown} is a link that leads to another directory; name the file itself")));
        }
        disk::is_writable(&parent).map_err(|error| refused(format!("cannot create a file in {named}: {error}")))?;
        Ok(Self { target: parent.join(name), parent, path })
    }

    /// Writes the file. If that fails, nothing is left of it, and the file that it was to replace stays.
    pub(crate) fn write(&self, write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>) -> Result<(), ExportError> {
        let new = PendingFile::create(&self.parent)?;
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, &new.file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        new.file.sync_all()?;
        new.take_name(&self.target)?;
        disk::sync_dir(&self.parent)?;
        Ok(())
    }

    /// The failure of a write, for the client.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        let shown = self.path.display();
        let why = if disk::is_full(error) {
            format!("the disk is full, so {shown} was not written; free some disk space, or name a file on another disk")
        } else {
            format!("cannot write {shown}: {error}")
        };
        Failure::invalid_params("path", why)
    }
}

/// A file that is being written.
struct PendingFile {
    file: File,
    /// Its temporary name; `None` while it has no name at all.
    name: Option<PathBuf>,
    parent: PathBuf,
}

impl PendingFile {
    fn create(parent: &Path) -> io::Result<Self> {
        let parent = parent.to_owned();
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Mode, OFlags, open};
            if let Ok(file) = open(&parent, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
                return Ok(Self { file: file.into(), name: None, parent });
            }
        }
        let name = temporary(&parent);
        Ok(Self { file: disk::create_private_file(&name)?, name: Some(name), parent })
    }

    fn take_name(mut self, target: &Path) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if self.name.is_none() {
            use std::os::fd::AsRawFd;

            use rustix::fs::{AtFlags, CWD, linkat};
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            // A link is made only where no file stands; a rename replaces one, but needs a name to begin with.
            if linkat(CWD, own.as_str(), CWD, target, AtFlags::SYMLINK_FOLLOW).is_ok() {
                return Ok(());
            }
            let name = temporary(&self.parent);
            linkat(CWD, own.as_str(), CWD, &name, AtFlags::SYMLINK_FOLLOW)?;
            self.name = Some(name);
        }
        let name = self.name.as_ref().expect("it has a name by now");
        fs::rename(name, target)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // If it cannot be removed, nothing can be done about it here; its name tells what it was.
            fs::remove_file(name).ok();
        }
    }
}

fn temporary(parent: &Path) -> PathBuf {
    parent.join(format!(".loomd-export-{}", uuid::Uuid::now_v7().simple()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).expect("readable").map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn place(path: &Path) -> Result<Destination, Failure> {
        Destination::find(&path.to_string_lossy(), Path::new("/nonexistent"))
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.txt");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let failed = place(&path).expect("a place").write(|out| {
            out.write_all(&vec![b'x'; 1 << 20])?;
            Err(ExportError::Cancelled)
        });
        assert!(matches!(failed, Err(ExportError::Cancelled)));
        assert_eq!((names(dir.path()), fs::read(&path).expect("read")), (vec!["a.txt".to_owned()], b"old".to_vec()));
        place(&path).expect("a place").write(|out| Ok(out.write_all(b"new")?)).expect("written");
        assert_eq!((names(dir.path()), fs::read(&path).expect("read")), (vec!["a.txt".to_owned()], b"new".to_vec()));
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600,
            "its owner's alone, whatever the one before was"
        );
        let other = dir.path().join("b.txt");
        place(&other).expect("a place").write(|out| Ok(out.write_all(b"b")?)).expect("written");
        assert_eq!(fs::metadata(&other).expect("there").permissions().mode() & 0o777, 0o600, "its owner's alone");
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        fs::write(&path, "old").expect("written");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        place(&link).expect("a place").write(|out| Ok(out.write_all(b"new")?)).expect("written");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn a_link_to_another_directory_is_refused() {
        let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        fs::write(other.path().join("settings"), "precious").expect("written");
        for target in ["settings", "not-there"] {
            let link = dir.path().join(format!("{target}.md"));
            std::os::unix::fs::symlink(other.path().join(target), &link).expect("linked");
            // A link to nothing is replaced, and never followed.
            let place = place(&link);
            assert_eq!(place.is_err(), target == "settings", "{place:?}");
            place.into_iter().for_each(|place| place.write(|out| Ok(out.write_all(b"new")?)).expect("written"));
        }
        assert_eq!(
            (names(other.path()), fs::read(other.path().join("settings")).expect("read")),
            (vec!["settings".to_owned()], b"precious".to_vec())
        );
    }

    #[test]
    fn each_refused_path_has_its_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let message_for = |path: PathBuf| place(&path).expect_err("refused").message;
        fs::write(dir.path().join("file"), "").expect("written");
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RUSR).expect("made");
        assert_eq!(message_for("a/b".into()), "`path` must be absolute; \"a/b\" is not");
        assert!(message_for(dir.path().to_owned()).ends_with("is a directory; name a file in it"));
        assert!(message_for("/".into()).ends_with("is a directory; name a file in it"));
        assert!(message_for(dir.path().join("none/x")).contains("does not exist; create it"));
        for directory in ["new/", "new//", "new/.", "new/./"] {
            assert!(message_for(dir.path().join(directory)).contains("names a directory that does not exist"), "{directory}");
        }
        assert!(message_for(dir.path().join("file/x")).contains("cannot access"));
        assert!(message_for(dir.path().join("fifo")).contains("is not a regular file"));
        let own = Destination::find(&dir.path().join("loomd.redb").to_string_lossy(), dir.path()).expect_err("refused");
        assert!(own.message.contains("in loomd's data directory"), "{own}");
    }

    #[test]
    fn a_full_disk_is_named_in_the_failure() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(&dir.path().join("x")).expect("a place");
        let message = place.failure(&io::Error::from(io::ErrorKind::StorageFull)).message;
        assert!(message.starts_with("the disk is full") && message.contains("was not written"), "{message}");
    }
}
