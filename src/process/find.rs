//! Finds the executable of a program as the run would: in the run's own PATH, from the run's own working directory.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Why a program cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindError {
    #[error("`{name}` was not found in PATH ({path})")]
    NotInPath { name: String, path: String },
    #[error("`{name}` was not found: {} does not exist", path.display())]
    NoFile { name: String, path: PathBuf },
    #[error("`{name}` cannot be started: {} is a directory", path.display())]
    Directory { name: String, path: PathBuf },
    #[error("`{name}` cannot be started: {} is not executable", path.display())]
    NotExecutable { name: String, path: PathBuf },
}

impl FindError {
    /// `reason` of the failure.
    pub(crate) fn reason(&self) -> &'static str {
        if self.is_there() { "notExecutable" } else { "notFound" }
    }

    /// How to fix it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotInPath { name, .. } => format!("install `{name}`, give its full path, or set PATH in its environment"),
            Self::NoFile { .. } => "check the path; a relative path is looked up from the working directory".to_owned(),
            Self::Directory { .. } => "name the program inside it".to_owned(),
            Self::NotExecutable { path, .. } => format!("run `chmod +x {}`, or start it with its interpreter", path.display()),
        }
    }

    /// Whether there is something of the program's name.
    fn is_there(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::NotExecutable { .. })
    }
}

/// Finds the executable that `name` refers to. A name with a slash is a path, relative to `cwd`; any other is searched
/// in `path`, or in the usual system directories where the run has no PATH. Directories in `path` that are not absolute
/// are passed over: they would be the working directory's, which may be anybody's. A file that is not executable is
/// reported only if no later directory has an executable one.
pub(crate) fn program(name: &str, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, FindError> {
    if name.contains('/') {
        return executable(cwd.join(name), name);
    }
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let mut not_executable = None;
    for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
        match executable(dir.join(name), name) {
            Ok(program) => return Ok(program),
            Err(error) if error.is_there() => not_executable = not_executable.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(not_executable.unwrap_or_else(|| FindError::NotInPath { name: name.to_owned(), path: path.to_string_lossy().into_owned() }))
}

fn executable(path: PathBuf, name: &str) -> Result<PathBuf, FindError> {
    let name = name.to_owned();
    match std::fs::metadata(&path) {
        Err(_) => Err(FindError::NoFile { name, path }),
        Ok(metadata) if metadata.is_dir() => Err(FindError::Directory { name, path }),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => Err(FindError::NotExecutable { name, path }),
        Ok(_) => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_searched_in_the_path_of_the_run() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tool = dir.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\n").expect("written");
        let missing = program("tool", Path::new("/"), Some(OsStr::new("/nowhere"))).expect_err("not there");
        assert!(missing.to_string().contains("/nowhere") && missing.reason() == "notFound", "{missing:?}");
        let plain = program("tool", Path::new("/"), Some(dir.path().as_os_str())).expect_err("not executable yet");
        assert!(plain.hint().contains("chmod +x") && plain.reason() == "notExecutable", "{plain:?}");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("changed");
        assert_eq!(program("tool", Path::new("/"), Some(dir.path().as_os_str())), Ok(tool.clone()));
        assert_eq!(program("./tool", dir.path(), None), Ok(dir.path().join("./tool")));
        for relative in ["", ".", "bin", ":/nowhere"] {
            assert!(program("tool", dir.path(), Some(OsStr::new(relative))).is_err(), "{relative:?} is the working directory's");
        }
        // A directory of that name is passed over where a later one has the program, and is the reason where none has.
        let other = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(other.path().join("tool")).expect("made");
        let both = std::env::join_paths([other.path(), dir.path()]).expect("a PATH");
        assert_eq!(program("tool", Path::new("/"), Some(&both)), Ok(tool));
        let directory = program("tool", Path::new("/"), Some(other.path().as_os_str())).expect_err("a directory");
        assert!(matches!(directory, FindError::Directory { .. }), "{directory:?}");
    }
}
