//! Making the file so that a kill at any moment leaves either no store or a whole one.
//!
//! It is built in a directory of its own, `.loomd.redb.*`, and linked to its name when it is whole and on disk. A lock on
//! that directory says that its maker lives; redb locks the file itself, so the file's lock could not say it.
//! Held by `a_kill_at_any_step_leaves_no_store_or_a_whole_one`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use redb::{ConcurrencyMode, Database, ReadableTable, WriteTransaction};
use rustix::fs::{FlockOperation, flock};

use super::{
    FORMAT_VERSION, index,
    tables::{BASES, DELETED, FOLLOWERS, INDEX, KEPT, META, ROWS, RUNS, TEXT_USES, TEXTS, TOKENS, USES, VERSION},
    trouble::Trouble,
};
use crate::model::RunId;

/// redb's own default is 1 GiB; with 4 MiB a server stays small, and scans are no slower.
const CACHE_BYTES: usize = 4 << 20;
/// What has just been done; tests stop the work there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    DirectoryMade,
    DirectoryLocked,
    FileMade,
    Committed,
    Synced,
    Linked,
    Removed,
}

/// A place to build in may be swept away between its making and its locking; then the next one is tried.
const ATTEMPTS: usize = 16;

/// Makes the store at `path`. It is no error when somebody else was first.
pub(super) fn create(path: &Path, step: &mut dyn FnMut(Step) -> io::Result<()>) -> Result<(), Trouble> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| Trouble::Io("make its directory", error))?;
    sweep(path);
    for _ in 0..ATTEMPTS {
        let place = directory.join(format!("{}{}", prefix(path), RunId::new()));
        if let Some(lock) = make_place(&place, step).map_err(|error| Trouble::Io("create it", error))? {
            let result = build(&place.join("new"), path, step);
            // A simulated kill cleans nothing up, as a real one would not.
            if result.is_ok() {
                drop(remove_place(&place));
                step(Step::Removed).map_err(|error| Trouble::Io("create it", error))?;
            }
            drop(lock);
            return result;
        }
    }
    Err(Trouble::Io("create it", io::Error::other("its place to build in was removed again and again")))
}

/// Removes what killed makers left. Whatever cannot be removed is left for another time.
pub(super) fn sweep(path: &Path) {
    let prefix = prefix(path);
    let Some(Ok(entries)) = path.parent().map(fs::read_dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        if let Ok(directory) = File::open(entry.path())
            && flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            drop(remove_place(&entry.path()));
        }
    }
}

fn prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Makes and locks a directory. `None` when it was swept away in between.
fn make_place(place: &Path, step: &mut dyn FnMut(Step) -> io::Result<()>) -> io::Result<Option<File>> {
    DirBuilder::new().mode(0o700).create(place)?;
    step(Step::DirectoryMade)?;
    let Ok(directory) = File::open(place) else { return Ok(None) };
    if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let still_there = fs::metadata(place).is_ok_and(|now| directory.metadata().is_ok_and(|locked| now.ino() == locked.ino()));
    step(Step::DirectoryLocked)?;
    Ok(still_there.then_some(directory))
}

fn build(new: &PathBuf, path: &Path, step: &mut dyn FnMut(Step) -> io::Result<()>) -> Result<(), Trouble> {
    let failed = |error| Trouble::Io("create it", error);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(new).map_err(failed)?;
    // The umask may have taken the owner's rights as well.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    step(Step::FileMade).map_err(failed)?;

    let handle = builder().create(new)?;
    fill(&handle)?;
    step(Step::Committed).map_err(failed)?;

    handle.close()?;
    file.sync_all().map_err(failed)?;
    step(Step::Synced).map_err(failed)?;

    match fs::hard_link(new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(failed)?,
    }
    step(Step::Linked).map_err(failed)?;
    let directory = File::open(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    directory.sync_all().map_err(failed)
}

/// Puts into a new file what every store has.
pub(super) fn fill(handle: &Database) -> Result<(), Trouble> {
    let mut transaction = handle.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(META)?.insert(VERSION, FORMAT_VERSION)?;
    make_tables(&transaction)?;
    Ok(transaction.commit()?)
}

fn make_tables(transaction: &WriteTransaction) -> Result<(), Trouble> {
    transaction.open_table(RUNS)?;
    transaction.open_table(ROWS)?;
    transaction.open_table(TOKENS)?;
    transaction.open_table(DELETED)?;
    transaction.open_table(TEXTS)?;
    transaction.open_table(TEXT_USES)?;
    transaction.open_table(USES)?;
    transaction.open_table(BASES)?;
    transaction.open_table(FOLLOWERS)?;
    transaction.open_table(KEPT)?;
    transaction.open_table(INDEX)?;
    Ok(())
}

/// Makes an older file one of this format, with the first thing that is written to it. One that a newer server has changed
/// meanwhile is left alone.
pub(super) fn upgrade(transaction: &WriteTransaction) -> Result<(), Trouble> {
    let mut meta = transaction.open_table(META)?;
    let found = meta.get(VERSION)?.map_or(FORMAT_VERSION, |version| version.value());
    match found {
        FORMAT_VERSION => Ok(()),
        newer if newer > FORMAT_VERSION => Err(Trouble::Newer(newer)),
        _ => {
            meta.insert(VERSION, FORMAT_VERSION)?;
            make_tables(transaction)?;
            index::build(transaction)
        }
    }
}

fn remove_place(place: &Path) -> io::Result<()> {
    fs::remove_file(place.join("new")).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    fs::remove_dir(place)
}

/// Every handle of every process has to be opened in the same mode.
pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(CACHE_BYTES);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, tests::run};

    const STEPS: [Step; 7] =
        [Step::DirectoryMade, Step::DirectoryLocked, Step::FileMade, Step::Committed, Step::Synced, Step::Linked, Step::Removed];

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    fn killed_at(step: Step) -> impl FnMut(Step) -> io::Result<()> {
        move |done| if done == step { Err(io::Error::other("killed")) } else { Ok(()) }
    }

    #[test]
    fn a_kill_at_any_step_leaves_no_store_or_a_whole_one() {
        for step in STEPS {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("loomd.redb");
            create(&path, &mut killed_at(step)).expect_err("stopped");
            assert_eq!(path.exists(), matches!(step, Step::Linked | Step::Removed), "{step:?}");
            let store = Store::at(directory.path());
            store.check().unwrap_or_else(|failure| panic!("{step:?}: {failure}"));
            let id = RunId::new();
            assert!(store.put_run(&run(id), None, || true).unwrap_or_else(|failure| panic!("{step:?}: {failure}")));
            assert_eq!(store.run(id).expect("readable").expect("there").run.id, id);
            assert_eq!(names(directory.path()), ["loomd.redb"], "{step:?}: what was left is swept");
        }
    }

    #[test]
    fn who_is_second_takes_what_is_there() {
        for step in STEPS {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("loomd.redb");
            let id = RunId::new();
            let first = Store::at(directory.path());
            create(&path, &mut |done| {
                if done == step {
                    assert!(first.put_run(&run(id), None, || true).expect("told"), "{step:?}");
                }
                Ok(())
            })
            .unwrap_or_else(|trouble| panic!("{step:?}: {trouble}"));
            let second = Store::at(directory.path());
            assert!(second.run(id).expect("readable").is_some(), "{step:?}");
            assert!(second.put_run(&run(id), None, || true).expect("told"), "{step:?}");
            assert_eq!(names(directory.path()), ["loomd.redb"], "{step:?}");
        }
    }

    #[test]
    fn the_file_is_the_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path().join("deep/down"));
        store.put_run(&run(RunId::new()), None, || true).expect("told");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(store.path()), 0o600);
        assert_eq!(mode(&directory.path().join("deep")), 0o700);
    }
}
