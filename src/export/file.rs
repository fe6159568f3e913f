//! The file that a run is exported to: there whole, or not at all.
//!
//! It is written without a name where the file system can, so that not even a killed process leaves half a file behind. A regular
//! file that stands there is replaced when the new one is whole and durable; anything else that stands there is refused.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::Trouble;
use crate::{model::Failure, process::disk};

const BUFFER: usize = 128 << 10;

/// A place to write to.
#[derive(Debug)]
pub struct Place {
    /// As the client named it.
    path: PathBuf,
    /// Where it really is, links followed.
    target: PathBuf,
    parent: PathBuf,
    /// Those of the file that it replaces.
    permissions: Option<Permissions>,
}

impl Place {
    /// Looks whether a file can be written there. `private`: the directory of the runs, where nobody writes but loomd.
    pub fn find(path: &str, private: &Path) -> Result<Self, Failure> {
        let refused = |why: String| Failure::invalid_params("path", why);
        let path = PathBuf::from(path);
        let shown = path.display();
        if !path.is_absolute() {
            return Err(refused(format!("`path` must be absolute; {:?} is not", path.as_os_str())));
        }
        let standing = match fs::metadata(&path) {
            Ok(standing) => Some(standing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(format!("{shown} cannot be looked at: {error}"))),
        };
        match &standing {
            Some(standing) if standing.is_dir() => return Err(refused(format!("{shown} is a directory; name a file in it"))),
            Some(standing) if !standing.is_file() => return Err(refused(format!("{shown} is no regular file; name another one"))),
            Some(_) if rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() => {
                return Err(refused(format!("{shown} may not be written to; name another file")));
            }
            // Its last name would be taken for a file's.
            None if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.as_os_str().as_encoded_bytes().ends_with(b"/.") => {
                return Err(refused(format!("{shown} names a directory, and none is there; name a file")));
            }
            _ => {}
        }
        let target = if standing.is_some() { fs::canonicalize(&path) } else { Ok(path.clone()) };
        let target = target.map_err(|error| refused(format!("{shown} cannot be looked at: {error}")))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(refused(format!("{shown} is a directory; name a file in it")));
        };
        let named = parent.display();
        let parent = fs::canonicalize(parent).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refused(format!("the directory {named} is not there; make it first, or name another one")),
            _ => refused(format!("the directory {named} cannot be used: {error}")),
        })?;
        if !parent.is_dir() {
            return Err(refused(format!("{named} is no directory; name a file in one")));
        }
        if fs::canonicalize(private).is_ok_and(|private| parent.starts_with(private)) {
            return Err(refused(format!("{shown} is among loomd's own files; name a place outside of them")));
        }
        disk::is_writable(&parent).map_err(|error| refused(format!("no file can be made in {named}: {error}")))?;
        Ok(Self { target: parent.join(name), parent, path, permissions: standing.map(|standing| standing.permissions()) })
    }

    /// Writes the file. If that fails, nothing is left of it, and what stood there stands.
    pub fn write(&self, write: impl FnOnce(&mut dyn Write) -> Result<(), Trouble>) -> Result<(), Trouble> {
        let new = New::create(&self.parent)?;
        let mut out = BufWriter::with_capacity(BUFFER, &new.file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        if let Some(permissions) = &self.permissions {
            new.file.set_permissions(permissions.clone())?;
        }
        new.file.sync_all()?;
        new.take_name(&self.target)?;
        disk::sync_dir(&self.parent)?;
        Ok(())
    }

    /// What is told of a failed write.
    pub fn failure(&self, error: &io::Error) -> Failure {
        let shown = self.path.display();
        let why = if disk::is_full(error) {
            format!("there is no room for {shown} on its disk; nothing was left there: make room, or name a file elsewhere")
        } else {
            format!("{shown} cannot be written: {error}")
        };
        Failure::invalid_params("path", why)
    }
}

/// A file on its way.
struct New {
    file: File,
    /// Its name in between; `None`: it has none yet.
    name: Option<PathBuf>,
    parent: PathBuf,
}

impl New {
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
            // A link takes a name only where nothing stands; a renamed file takes any.
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

impl Drop for New {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
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

    fn place(path: &Path) -> Result<Place, Failure> {
        Place::find(&path.to_string_lossy(), Path::new("/nonexistent"))
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.txt");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        let failed = place(&path).expect("a place").write(|out| {
            out.write_all(&vec![b'x'; 1 << 20])?;
            Err(Trouble::Cancelled)
        });
        assert!(matches!(failed, Err(Trouble::Cancelled)));
        assert_eq!((names(dir.path()), fs::read(&path).expect("read")), (vec!["a.txt".to_owned()], b"old".to_vec()));
        place(&path).expect("a place").write(|out| Ok(out.write_all(b"new")?)).expect("written");
        assert_eq!((names(dir.path()), fs::read(&path).expect("read")), (vec!["a.txt".to_owned()], b"new".to_vec()));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640, "as the one before");
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
    fn each_bad_place_has_its_sentence() {
        let dir = tempfile::tempdir().expect("a directory");
        let said = |path: PathBuf| place(&path).expect_err("refused").message;
        fs::write(dir.path().join("file"), "").expect("written");
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RUSR).expect("made");
        assert_eq!(said("a/b".into()), "`path` must be absolute; \"a/b\" is not");
        assert!(said(dir.path().to_owned()).ends_with("is a directory; name a file in it"));
        assert!(said("/".into()).ends_with("is a directory; name a file in it"));
        assert!(said(dir.path().join("none/x")).contains("is not there; make it first"));
        for directory in ["new/", "new//", "new/.", "new/./"] {
            assert!(said(dir.path().join(directory)).contains("names a directory, and none is there"), "{directory}");
        }
        assert!(said(dir.path().join("file/x")).contains("cannot be looked at"));
        assert!(said(dir.path().join("fifo")).contains("is no regular file"));
        let own = Place::find(&dir.path().join("loomd.redb").to_string_lossy(), dir.path()).expect_err("refused");
        assert!(own.message.contains("loomd's own files"), "{own}");
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = place(&dir.path().join("x")).expect("a place");
        let told = place.failure(&io::Error::from(io::ErrorKind::StorageFull)).message;
        assert!(told.starts_with("there is no room for ") && told.contains("nothing was left there"), "{told}");
    }
}
