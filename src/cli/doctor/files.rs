//! The data directory and the configuration, as files.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::Finding;
use crate::{
    cli::words,
    config::Places,
    process::{disk, lock::Lock, own},
    store,
};

/// With less room than this, runs are about to be held up.
const LITTLE_ROOM: u64 = 1 << 30;
const NO_ROOM: u64 = 64 << 20;
/// What is younger than this may be in the making.
const YOUNG: Duration = Duration::from_secs(60);
/// So deep are the files of runs below the data directory.
const DEPTH: u32 = 3;

pub fn look(places: &Places) -> Vec<Finding> {
    let mut findings = vec![configuration(places)];
    let dir = match places.data_dir() {
        Ok(dir) => dir,
        Err(failure) => return vec![Finding::error("data directory", failure.message, "name one with --data-dir")],
    };
    match fs::metadata(&dir) {
        Ok(metadata) => {
            findings.push(directory(&dir, &metadata));
            findings.push(file_system(&dir));
            findings.extend(room(&dir));
            findings.push(store_file(&dir));
            findings.push(modes(&dir));
            findings.extend(runs(&dir));
            findings.extend(leftovers(&dir));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::ok("data directory", format!("{} is not there yet; the first run makes it", dir.display())));
        }
        Err(error) => {
            let found = format!("{} cannot be looked at: {error}", dir.display());
            findings.push(Finding::error("data directory", found, "mend its modes, or name another with LOOMD_DATA_DIR"));
        }
    }
    findings
}

fn configuration(places: &Places) -> Finding {
    let Some(path) = places.config_file() else { return Finding::ok("configuration", "none") };
    match places.read_config() {
        Ok(_) if path.exists() => Finding::ok("configuration", path.display().to_string()),
        Ok(_) => Finding::ok("configuration", format!("none ({} is not there)", path.display())),
        Err(failure) => Finding { mend: None, ..Finding::error("configuration", failure.message, "") },
    }
}

fn directory(dir: &Path, metadata: &Metadata) -> Finding {
    let (shown, mode) = (dir.display(), metadata.permissions().mode() & 0o7777);
    if !metadata.is_dir() {
        return Finding::error("data directory", format!("{shown} is a file"), "remove it, or name another place with LOOMD_DATA_DIR");
    }
    if metadata.uid() != own::user() {
        let mend = format!("`chown` it, or name another with LOOMD_DATA_DIR (you are user {})", own::user());
        return Finding::error("data directory", format!("{shown} belongs to user {}", metadata.uid()), mend);
    }
    if let Err(error) = disk::is_writable(dir) {
        return Finding::error("data directory", format!("{shown} cannot be written to: {error}"), format!("`chmod u+rwx {shown}`"));
    }
    if mode & 0o077 != 0 {
        return Finding::warning("data directory", format!("{shown} is open to others (mode {mode:04o})"), format!("`chmod 0700 {shown}`"));
    }
    Finding::ok("data directory", format!("{shown} (mode {mode:04o})"))
}

fn file_system(dir: &Path) -> Finding {
    match disk::network_file_system(dir) {
        Ok(None) => Finding::ok("file system", "local"),
        Ok(Some(name)) => {
            Finding::error("file system", format!("{name}: locks do not hold there"), "set LOOMD_DATA_DIR to a directory on a local disk")
        }
        Err(error) => Finding::warning("file system", format!("its kind is not known: {error}"), "see that it is a local disk"),
    }
}

fn room(dir: &Path) -> Option<Finding> {
    let figures = rustix::fs::statvfs(dir).ok()?;
    let free = figures.f_bavail.saturating_mul(figures.f_frsize);
    let found = format!("{} free", words::bytes(free));
    let mend = "make room, or name another place with LOOMD_DATA_DIR";
    Some(match free {
        0..NO_ROOM => Finding::error("disk", found, mend),
        NO_ROOM..LITTLE_ROOM => Finding::warning("disk", found, mend),
        _ => Finding::ok("disk", found),
    })
}

fn store_file(dir: &Path) -> Finding {
    let path = dir.join(store::FILE_NAME);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Finding::ok("store", format!("{} ({})", path.display(), words::bytes(metadata.len()))),
        Ok(_) => Finding::error("store", format!("{} is no file", path.display()), "move it away"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::ok("store", "not made yet; the first finished run makes it"),
        Err(error) => Finding::error("store", format!("{} cannot be looked at: {error}", path.display()), "mend the modes"),
    }
}

/// Whether somebody else could read what is kept.
fn modes(dir: &Path) -> Finding {
    let mut open = Vec::new();
    collect_open(dir, DEPTH, &mut open);
    match open.first() {
        None => Finding::ok("modes", "files are readable by their owner alone"),
        Some(first) => {
            let found = format!("{} files are open to others, {} is one", open.len(), first.display());
            Finding::warning("modes", found, format!("`chmod -R go= {}`", dir.display()))
        }
    }
}

fn collect_open(dir: &Path, depth: u32, open: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // A file may go while we look: then it is nothing to tell.
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_symlink() && metadata.permissions().mode() & 0o077 != 0 {
            open.push(entry.path());
        }
        if metadata.is_dir() && depth > 1 {
            collect_open(&entry.path(), depth - 1, open);
        }
    }
}

/// Runs whose log is still a file: alive, which their lock proves, or not.
fn runs(dir: &Path) -> Option<Finding> {
    let (mut held, mut free) = (0, 0);
    for path in names(&dir.join("runs"), |name| !name.starts_with('.')) {
        match Lock::try_take(&path) {
            Ok(None) => held += 1,
            Ok(Some(_)) => free += 1,
            Err(_) => {}
        }
    }
    let found = match free {
        0 => format!("{held} locks held by live runs"),
        _ => format!("{held} locks held by live runs; {free} ended runs wait to be put into the store, which any server does"),
    };
    (held + free > 0).then(|| Finding::ok("locks", found))
}

/// What was begun and never finished, or kept aside.
fn leftovers(dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_left = |name: &str| name.starts_with(".new-") || name.starts_with(".gone-");
    let left: Vec<PathBuf> = names(&dir.join("runs"), is_left).into_iter().filter(|path| is_old(path)).collect();
    if let Some(first) = left.first() {
        let found = format!("{} runs were begun or removed and left halfway, {} is one", left.len(), first.display());
        findings.push(Finding::warning("leftovers", found, "the next server removes them"));
    }
    let halves = names(dir, |name| name.starts_with(".loomd.redb."));
    if let Some(first) = halves.iter().find(|path| is_old(path)) {
        let found = format!("{} is a store whose making was interrupted", first.display());
        findings.push(Finding::warning("leftovers", found, "the next run that ends removes it"));
    }
    let aside = names(&dir.join("aside"), |_| true);
    if let Some(first) = aside.first() {
        let found = format!("{} pieces were cut off damaged logs and kept, {} is one", aside.len(), first.display());
        findings.push(Finding::warning("repairs", found, "look through them, then remove them"));
    }
    findings
}

fn is_old(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > YOUNG)
}

fn names(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(&wanted)).map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, *};

    fn grades(findings: &[Finding], subject: &str) -> Vec<Grade> {
        findings.iter().filter(|finding| finding.subject == subject).map(|finding| finding.grade).collect()
    }

    fn places(dir: &Path) -> Places {
        Places { data_dir: Some(dir.to_owned()), config: None }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_private_directory_is_fine_and_an_open_one_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        chmod(dir.path(), 0o700);
        disk::create_private_dir(&dir.path().join("runs")).expect("made");
        let findings = look(&places(dir.path()));
        assert_eq!(grades(&findings, "data directory"), [Grade::Ok]);
        assert_eq!(grades(&findings, "modes"), [Grade::Ok]);
        let file = dir.path().join("runs/f");
        fs::write(&file, "x").expect("written");
        chmod(&file, 0o644);
        chmod(dir.path(), 0o755);
        let findings = look(&places(dir.path()));
        assert_eq!(grades(&findings, "data directory"), [Grade::Warning]);
        assert_eq!(grades(&findings, "modes"), [Grade::Warning]);
    }

    #[test]
    fn looking_makes_nothing() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("none");
        assert_eq!(grades(&look(&places(&dir)), "data directory"), [Grade::Ok]);
        assert!(!dir.exists());
        fs::write(&dir, "").expect("written");
        assert_eq!(grades(&look(&places(&dir)), "data directory"), [Grade::Error]);
    }

    #[test]
    fn locks_tell_the_living_from_the_dead() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runs_dir = dir.path().join("runs");
        for name in ["alive", "dead", ".new-x"] {
            disk::create_private_dir(&runs_dir.join(name)).expect("made");
        }
        let _lock = Lock::try_take(&runs_dir.join("alive")).expect("it is there").expect("it is free");
        let found = runs(dir.path()).expect("there are runs").found;
        assert!(found.starts_with("1 locks held") && found.contains("1 ended"), "{found}");
        assert_eq!(leftovers(dir.path()), [], "what was made just now may be in the making");
    }

    #[test]
    fn what_was_cut_off_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        disk::create_private_dir(&dir.path().join("aside")).expect("made");
        fs::write(dir.path().join("aside/piece"), "x").expect("written");
        assert_eq!(grades(&leftovers(dir.path()), "repairs"), [Grade::Warning]);
    }

    #[test]
    fn a_bad_configuration_is_told_by_its_line() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config.toml");
        fs::write(&path, "keep = []\nretries = 3\n").expect("written");
        let finding = configuration(&Places { data_dir: None, config: Some(path) });
        assert_eq!(finding.grade, Grade::Error);
        assert!(finding.found.contains("line 2"), "{finding:?}");
    }
}
