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
    pub(crate) fn find(path: &str, private: &Path) -> Result<Self, DestinationError> {
        let path = PathBuf::from(path);
        let shown = path.display().to_string();
        let refused = |problem: DestinationProblem| DestinationError { path: shown.clone(), problem };
        if !path.is_absolute() {
            return Err(refused(DestinationProblem::Relative));
        }
        let link = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_symlink);
        if link.as_ref().is_some_and(|link| link.uid() != current_process::user_id()) {
            return Err(refused(DestinationProblem::ForeignLink));
        }
        let existing = match fs::metadata(&path) {
            Ok(existing) => Some(existing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(DestinationProblem::Inaccessible(error))),
        };
        match &existing {
            Some(existing) if existing.is_dir() => return Err(refused(DestinationProblem::Directory)),
            Some(existing) if !existing.is_file() => return Err(refused(DestinationProblem::NoRegularFile)),
            Some(_) if disk::writing_allowed(&path).is_err() => {
                return Err(refused(DestinationProblem::ReadOnly));
            }
            // `Path` drops the end of such a path, so its last directory would be taken for a file's name.
            None if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.as_os_str().as_encoded_bytes().ends_with(b"/.") => {
                return Err(refused(DestinationProblem::MissingDirectory));
            }
            _ => {}
        }
        let target = if existing.is_some() { fs::canonicalize(&path) } else { Ok(path.clone()) };
        let target = target.map_err(|error| refused(DestinationProblem::Inaccessible(error)))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(refused(DestinationProblem::Directory));
        };
        let in_parent = |problem: DestinationProblem| DestinationError { path: parent.display().to_string(), problem };
        let parent = fs::canonicalize(parent).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => in_parent(DestinationProblem::MissingParent),
            _ => in_parent(DestinationProblem::UnusableParent(error)),
        })?;
        if !parent.is_dir() {
            return Err(in_parent(DestinationProblem::NoDirectory));
        }
        if fs::canonicalize(private).is_ok_and(|private| parent.starts_with(private)) {
            return Err(refused(DestinationProblem::Private));
        }
        if link.is_some() && path.parent().and_then(|dir| dir.canonicalize().ok()).as_ref() != Some(&parent) {
            return Err(refused(DestinationProblem::LinkElsewhere));
        }
        disk::is_writable(&parent).map_err(|error| in_parent(DestinationProblem::UnwritableParent(error)))?;
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

    /// The error of a write that failed.
    pub(crate) fn error(&self, error: io::Error) -> DestinationError {
        let problem = if disk::is_full(&error) { DestinationProblem::DiskFull(error) } else { DestinationProblem::NotWritten(error) };
        DestinationError { path: self.path.display().to_string(), problem }
    }
}

/// Why a file cannot be written where a client wants it.
#[derive(Debug, thiserror::Error)]
#[error("{}", problem.sentence(path))]
pub(crate) struct DestinationError {
    /// As it is shown.
    path: String,
    #[source]
    problem: DestinationProblem,
}

#[derive(Debug, thiserror::Error)]
enum DestinationProblem {
    #[error("a relative path")]
    Relative,
    #[error("a link of another user")]
    ForeignLink,
    #[error(transparent)]
    Inaccessible(io::Error),
    #[error("a directory")]
    Directory,
    #[error("no regular file")]
    NoRegularFile,
    #[error("not writable")]
    ReadOnly,
    #[error("a directory that does not exist")]
    MissingDirectory,
    #[error("in a directory that does not exist")]
    MissingParent,
    #[error(transparent)]
    UnusableParent(io::Error),
    #[error("below something that is no directory")]
    NoDirectory,
    #[error("in the data directory")]
    Private,
    #[error("a link to another directory")]
    LinkElsewhere,
    #[error(transparent)]
    UnwritableParent(io::Error),
    #[error(transparent)]
    DiskFull(io::Error),
    #[error(transparent)]
    NotWritten(io::Error),
}

impl DestinationProblem {
    /// What is wrong with this path, and what to do.
    fn sentence(&self, path: &str) -> String {
        match self {
            Self::Relative => format!("`path` must be absolute; {path:?} is not"),
            Self::ForeignLink => format!("{path} is a link of another user; name another file"),
            Self::Inaccessible(error) => format!("cannot access {path}: {error}"),
            Self::Directory => format!("{path} is a directory; name a file in it"),
            Self::NoRegularFile => format!("{path} is not a regular file; name another file"),
            Self::ReadOnly => format!("{path} is not writable; name another file"),
            Self::MissingDirectory => format!("{path} names a directory that does not exist; name a file"),
            Self::MissingParent => format!("the directory {path} does not exist; create it, or name another directory"),
            Self::UnusableParent(error) => format!("cannot use the directory {path}: {error}"),
            Self::NoDirectory => format!("{path} is not a directory; name a file in a directory"),
            Self::Private => format!("{path} is in loomd's data directory; name a file outside of it"),
            Self::LinkElsewhere => format!("{path} is a link that leads to another directory; name the file itself"),
            Self::UnwritableParent(error) => format!("cannot create a file in {path}: {error}"),
            Self::DiskFull(_) => {
                format!("the disk is full, so {path} was not written; free some disk space, or name a file on another disk")
            }
            Self::NotWritten(error) => format!("cannot write {path}: {error}"),
        }
    }
}

impl From<DestinationError> for Failure {
    fn from(error: DestinationError) -> Self {
        Self::invalid_params("path", error.to_string())
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
        if let Some(file) = disk::unnamed_file(&parent) {
            return Ok(Self { file, name: None, parent });
        }
        let name = temporary(&parent);
        Ok(Self { file: disk::create_private_file(&name)?, name: Some(name), parent })
    }

    fn take_name(mut self, target: &Path) -> io::Result<()> {
        if self.name.is_none() {
            // A link is made only where no file stands; a rename replaces one, but needs a name to begin with.
            if disk::give_name(&self.file, target).is_ok() {
                return Ok(());
            }
            let name = temporary(&self.parent);
            disk::give_name(&self.file, &name)?;
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

    fn place(path: &Path) -> Result<Destination, DestinationError> {
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
        let message_for = |path: PathBuf| place(&path).expect_err("refused").to_string();
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
        assert!(own.to_string().contains("in loomd's data directory"), "{own}");
    }

    #[test]
    fn a_full_disk_is_named_in_the_failure() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(&dir.path().join("x")).expect("a place");
        let message = place.error(io::Error::from(io::ErrorKind::StorageFull)).to_string();
        assert!(message.starts_with("the disk is full") && message.contains("was not written"), "{message}");
    }
}
