//! Where a program is, as the run itself would look for it: in its own PATH and from its own working directory.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Why a program cannot be started; `hint` says what would fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    pub message: String,
    pub hint: String,
}

/// Finds the executable that `name` means.
pub fn program(name: &str, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, NotFound> {
    if name.contains('/') {
        return executable(cwd.join(name), name);
    }
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let mut refused = None;
    for dir in std::env::split_paths(path) {
        match executable(cwd.join(dir).join(name), name) {
            Ok(found) => return Ok(found),
            Err(error) if error.message.contains("not executable") => refused = refused.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| NotFound {
        message: format!("`{name}` was not found in PATH ({})", path.to_string_lossy()),
        hint: format!("install `{name}`, name it by its full path, or set PATH in `env`"),
    }))
}

/// Finds a program in this process's own PATH.
pub fn in_own_path(name: &str) -> Option<PathBuf> {
    program(name, Path::new("/"), std::env::var_os("PATH").as_deref()).ok()
}

fn executable(path: PathBuf, name: &str) -> Result<PathBuf, NotFound> {
    let shown = path.display();
    let Ok(metadata) = std::fs::metadata(&path) else {
        let message = format!("`{name}` was not found: there is no {shown}");
        return Err(NotFound { message, hint: "check the path; a relative one is looked up from `cwd`".to_owned() });
    };
    if metadata.is_dir() {
        let message = format!("`{name}` cannot be started: {shown} is a directory, not executable");
        return Err(NotFound { message, hint: "name the program inside it".to_owned() });
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let message = format!("`{name}` cannot be started: {shown} is not executable");
        return Err(NotFound { message, hint: format!("make it so with `chmod +x {shown}`, or start it through its interpreter") });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_in_the_path_that_the_run_gets() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tool = dir.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\n").expect("written");
        let missing = program("tool", Path::new("/"), Some(OsStr::new("/nowhere"))).expect_err("not there");
        assert!(missing.message.contains("/nowhere"), "{missing:?}");
        let plain = program("tool", Path::new("/"), Some(dir.path().as_os_str())).expect_err("not executable yet");
        assert!(plain.hint.contains("chmod +x"), "{plain:?}");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("changed");
        assert_eq!(program("tool", Path::new("/"), Some(dir.path().as_os_str())), Ok(tool.clone()));
        assert_eq!(program("./tool", dir.path(), None), Ok(dir.path().join("./tool")));
    }
}
