//! Checks of the data directory and the configuration, as files: modes, locks, disk space, leftovers.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::Finding;
use crate::{
    cli::format,
    config::Locations,
    process::{current_process, disk, lock::Lock},
    store,
};

/// Below this much free space, `doctor` warns: runs may soon be paused.
const LOW_FREE_BYTES: u64 = 1 << 30;
/// Below this much free space, `doctor` reports an error.
const MIN_FREE_BYTES: u64 = 64 << 20;
/// A leftover that is younger may belong to an operation that is still going on.
const MIN_LEFTOVER_AGE: Duration = Duration::from_secs(60);
/// How deep below the data directory the files of runs lie.
const MAX_DEPTH: u32 = 3;

/// Checks everything that can be seen without a server. It creates nothing.
pub(crate) fn check(locations: &Locations) -> Vec<Finding> {
    let mut findings = vec![configuration(locations)];
    let dir = match locations.data_dir() {
        Ok(dir) => dir,
        Err(error) => return vec![Finding::error("data directory", error.to_string(), "set it with --data-dir")],
    };
    match fs::metadata(&dir) {
        Ok(metadata) => {
            findings.push(directory(&dir, &metadata));
            findings.push(file_system(&dir));
            findings.extend(free_space(&dir));
            findings.push(store_file(&dir));
            findings.push(modes(&dir));
            findings.extend(runs(&dir));
            findings.extend(leftovers(&dir));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::ok("data directory", format!("{} does not exist yet; the first run creates it", dir.display())));
        }
        Err(error) => {
            let detail = format!("cannot read {}: {error}", dir.display());
            findings.push(Finding::error("data directory", detail, "fix its permissions, or use another one: LOOMD_DATA_DIR"));
        }
    }
    findings
}

fn configuration(locations: &Locations) -> Finding {
    let path = match locations.config_file() {
        Ok(Some(path)) => path,
        Ok(None) => return Finding::ok("configuration", "none"),
        Err(error) => return Finding { fix: None, ..Finding::error("configuration", error.to_string(), "") },
    };
    match locations.read_config() {
        Ok(_) if path.exists() => Finding::ok("configuration", path.display().to_string()),
        Ok(_) => Finding::ok("configuration", format!("none ({} does not exist)", path.display())),
        Err(error) => Finding { fix: None, ..Finding::error("configuration", error.to_string(), "") },
    }
}

fn directory(dir: &Path, metadata: &Metadata) -> Finding {
    let (shown, mode) = (dir.display(), metadata.permissions().mode() & 0o7777);
    if !metadata.is_dir() {
        return Finding::error("data directory", format!("{shown} is a file"), "remove it, or use another path: LOOMD_DATA_DIR");
    }
    if metadata.uid() != current_process::user_id() {
        let fix = format!("`chown` it, or use another one: LOOMD_DATA_DIR (you are user {})", current_process::user_id());
        return Finding::error("data directory", format!("{shown} belongs to user {}", metadata.uid()), fix);
    }
    if let Err(error) = disk::is_writable(dir) {
        return Finding::error("data directory", format!("cannot write to {shown}: {error}"), format!("run `chmod u+rwx {shown}`"));
    }
    if mode & 0o022 != 0 {
        let detail = format!("others may write to {shown} (mode {mode:04o})");
        return Finding::error("data directory", detail, format!("run `chmod 0700 {shown}`"));
    }
    if mode & 0o077 != 0 {
        let detail = format!("{shown} is accessible to other users (mode {mode:04o})");
        return Finding::warning("data directory", detail, format!("run `chmod 0700 {shown}`"));
    }
    Finding::ok("data directory", format!("{shown} (mode {mode:04o})"))
}

fn file_system(dir: &Path) -> Finding {
    match disk::network_file_system(dir) {
        Ok(None) => Finding::ok("file system", "local"),
        Ok(Some(name)) => {
            Finding::error("file system", format!("{name} does not support locks"), "set LOOMD_DATA_DIR to a directory on a local disk")
        }
        Err(error) => Finding::warning("file system", format!("unknown: {error}"), "make sure that it is a local disk"),
    }
}

fn free_space(dir: &Path) -> Option<Finding> {
    let free = disk::free_bytes(dir)?;
    let detail = format!("{} free", format::bytes(free));
    let fix = "free up space, or use another disk: LOOMD_DATA_DIR";
    Some(match free {
        0..MIN_FREE_BYTES => Finding::error("disk", detail, fix),
        MIN_FREE_BYTES..LOW_FREE_BYTES => Finding::warning("disk", detail, fix),
        _ => Finding::ok("disk", detail),
    })
}

fn store_file(dir: &Path) -> Finding {
    let path = dir.join(store::FILE_NAME);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Finding::ok("store", format!("{} ({})", path.display(), format::bytes(metadata.len()))),
        Ok(_) => Finding::error("store", format!("{} is not a file", path.display()), "move it away"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::ok("store", "none yet; created when the first run ends"),
        Err(error) => Finding::error("store", format!("cannot read {}: {error}", path.display()), "fix its permissions"),
    }
}

/// Whether other users can read the files of the data directory.
fn modes(dir: &Path) -> Finding {
    let mut open = Vec::new();
    collect_open(dir, MAX_DEPTH, &mut open);
    match open.first() {
        None => Finding::ok("modes", "files are readable by their owner only"),
        Some(first) => {
            let detail = format!("{} files are accessible to other users, e.g. {}", open.len(), first.display());
            Finding::warning("modes", detail, format!("run `chmod -R go= {}`", dir.display()))
        }
    }
}

fn collect_open(dir: &Path, depth: u32, open: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // A file that is removed meanwhile needs no report.
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_symlink() && metadata.permissions().mode() & 0o077 != 0 {
            open.push(entry.path());
        }
        if metadata.is_dir() && depth > 1 {
            collect_open(&entry.path(), depth - 1, open);
        }
    }
}

/// Counts the runs whose log is still a file. A run is live as long as its supervisor holds its lock.
fn runs(dir: &Path) -> Option<Finding> {
    let (mut held, mut free) = (0, 0);
    for path in names(&dir.join("runs"), |name| !name.starts_with('.')) {
        match Lock::try_take(&path) {
            Ok(None) => held += 1,
            Ok(Some(_)) => free += 1,
            Err(_) => {}
        }
    }
    let detail = match free {
        0 => format!("{held} held by live runs"),
        _ => format!("{held} held by live runs; {free} ended runs not in the store yet (the next server moves them)"),
    };
    (held + free > 0).then(|| Finding::ok("locks", detail))
}

/// Directories of starts and removals that were interrupted, an interrupted store, and what repairs cut off damaged
/// logs.
fn leftovers(dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_left = |name: &str| name.starts_with(".new-") || name.starts_with(".gone-");
    let left: Vec<PathBuf> = names(&dir.join("runs"), is_left).into_iter().filter(|path| is_old(path)).collect();
    if let Some(first) = left.first() {
        let detail = format!("{} partially created or removed runs, e.g. {}", left.len(), first.display());
        findings.push(Finding::warning("leftovers", detail, "the next server removes them"));
    }
    let interrupted = names(dir, |name| name.starts_with(".loomd.redb."));
    if let Some(first) = interrupted.iter().find(|path| is_old(path)) {
        let detail = format!("{} is a partially created store", first.display());
        findings.push(Finding::warning("leftovers", detail, "the next run that ends removes it"));
    }
    let aside = names(&dir.join("aside"), |_| true);
    if let Some(first) = aside.first() {
        let detail = format!("{} fragments cut off damaged logs, e.g. {}", aside.len(), first.display());
        findings.push(Finding::warning("repairs", detail, "review and remove them"));
    }
    findings
}

fn is_old(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > MIN_LEFTOVER_AGE)
}

fn names(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(&wanted)).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, *};

    fn grades(findings: &[Finding], subject: &str) -> Vec<Grade> {
        findings.iter().filter(|finding| finding.subject == subject).map(|finding| finding.grade).collect()
    }

    fn locations(dir: &Path) -> Locations {
        Locations { data_dir: Some(dir.to_owned()), config: None }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_private_directory_is_ok_and_an_accessible_one_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        chmod(dir.path(), 0o700);
        disk::create_private_dir(&dir.path().join("runs")).expect("made");
        let findings = check(&locations(dir.path()));
        assert_eq!(grades(&findings, "data directory"), [Grade::Ok]);
        assert_eq!(grades(&findings, "modes"), [Grade::Ok]);
        let file = dir.path().join("runs/f");
        fs::write(&file, "x").expect("written");
        chmod(&file, 0o644);
        chmod(dir.path(), 0o755);
        let findings = check(&locations(dir.path()));
        assert_eq!(grades(&findings, "data directory"), [Grade::Warning]);
        assert_eq!(grades(&findings, "modes"), [Grade::Warning]);
    }

    #[test]
    fn checks_create_nothing() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("none");
        assert_eq!(grades(&check(&locations(&dir)), "data directory"), [Grade::Ok]);
        assert!(!dir.exists());
        fs::write(&dir, "").expect("written");
        assert_eq!(grades(&check(&locations(&dir)), "data directory"), [Grade::Error]);
    }

    #[test]
    fn locks_distinguish_live_runs_from_ended_ones() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runs_dir = dir.path().join("runs");
        for name in ["alive", "dead", ".new-x"] {
            disk::create_private_dir(&runs_dir.join(name)).expect("made");
        }
        let _lock = Lock::try_take(&runs_dir.join("alive")).expect("it is there").expect("it is free");
        let detail = runs(dir.path()).expect("there are runs").detail;
        assert!(detail.starts_with("1 held") && detail.contains("1 ended"), "{detail}");
        assert_eq!(leftovers(dir.path()), [], "a directory that was made just now may belong to a start that has not finished");
    }

    #[test]
    fn fragments_of_damaged_logs_are_reported() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        disk::create_private_dir(&dir.path().join("aside")).expect("made");
        fs::write(dir.path().join("aside/piece"), "x").expect("written");
        assert_eq!(grades(&leftovers(dir.path()), "repairs"), [Grade::Warning]);
    }

    #[test]
    fn a_bad_configuration_is_reported_with_its_line() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config.toml");
        fs::write(&path, "keep = []\nretries = 3\n").expect("written");
        let finding = configuration(&Locations { data_dir: None, config: Some(path) });
        assert_eq!(finding.grade, Grade::Error);
        assert!(finding.detail.contains("line 2"), "{finding:?}");
    }
}
