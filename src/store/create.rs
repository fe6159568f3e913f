//! Creating the file so that a kill at any moment leaves either no store or a whole one.
//!
//! The file is built in a staging directory, `.loomd.redb.*`, and linked to its name when it is whole and on disk. A
//! lock on the staging directory says that the process that builds in it is alive. A lock on the file could not say it,
//! for redb locks that. Held by `a_kill_at_any_step_leaves_no_store_or_a_whole_one`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use redb::{ConcurrencyMode, Database, ReadableTable, WriteTransaction};

use super::{
    FORMAT_VERSION, builds,
    error::StoreErrorKind,
    index,
    tables::{
        ANCHORS, BASES, BLOCK_ANCHORS, BUILDERS, BUILDS, CHECKPOINTS, DELETED, INDEX, META, ROWS, RUNS, TEXT_USES, TEXTS, TOKENS, TOUCHED,
        USES, VERSION,
    },
};
use crate::{
    model::RunId,
    process::{data_file, lock},
};

/// redb's own default is 1 GiB; with 4 MiB a server stays small, and scans are no slower.
const CACHE_BYTES: usize = 4 << 20;

/// What [`create`] has just done; tests stop it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CreateStep {
    DirectoryMade,
    DirectoryLocked,
    FileMade,
    Committed,
    Synced,
    Linked,
    Removed,
}

/// The first format that has an index of runs.
const FIRST_INDEXED_VERSION: u64 = 3;
/// The first format that notes by block who builds on what.
const FIRST_BLOCK_BUILDS_VERSION: u64 = 4;

/// Another process may sweep a staging directory away between its creation and its locking; then we try again, this
/// often.
const MAX_CREATE_ATTEMPTS: usize = 16;

/// Creates the store at `path`. It is no error if another process was first.
pub(super) fn create(path: &Path, step: &mut dyn FnMut(CreateStep) -> io::Result<()>) -> Result<(), StoreErrorKind> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| StoreErrorKind::Io("create its directory", error))?;
    sweep(path);
    for _ in 0..MAX_CREATE_ATTEMPTS {
        let staging = directory.join(format!("{}{}", prefix(path), RunId::new()));
        if let Some(lock) = make_staging(&staging, step).map_err(|error| StoreErrorKind::Io("create it", error))? {
            let result = build(&staging.join("new"), path, step);
            // A simulated kill cleans nothing up, as a real one would not.
            if result.is_ok() {
                drop(remove_staging(&staging));
                step(CreateStep::Removed).map_err(|error| StoreErrorKind::Io("create it", error))?;
            }
            drop(lock);
            return result;
        }
    }
    Err(StoreErrorKind::Io("create it", io::Error::other("its temporary directory was removed repeatedly")))
}

/// Removes the staging directories of killed processes. What cannot be removed is left for the next call.
pub(super) fn sweep(path: &Path) {
    let prefix = prefix(path);
    let Some(Ok(entries)) = path.parent().map(fs::read_dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        if let Ok(directory) = data_file::to_lock(&entry.path())
            && lock::try_exclusive(&directory)
        {
            drop(remove_staging(&entry.path()));
        }
    }
}

fn prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Creates and locks a staging directory. `None` if it was swept away in between.
fn make_staging(staging: &Path, step: &mut dyn FnMut(CreateStep) -> io::Result<()>) -> io::Result<Option<File>> {
    DirBuilder::new().mode(0o700).create(staging)?;
    step(CreateStep::DirectoryMade)?;
    let Ok(directory) = data_file::to_lock(staging) else { return Ok(None) };
    if !lock::try_exclusive(&directory) {
        return Ok(None);
    }
    let still_there = fs::metadata(staging).is_ok_and(|now| directory.metadata().is_ok_and(|locked| now.ino() == locked.ino()));
    step(CreateStep::DirectoryLocked)?;
    Ok(still_there.then_some(directory))
}

fn build(new: &PathBuf, path: &Path, step: &mut dyn FnMut(CreateStep) -> io::Result<()>) -> Result<(), StoreErrorKind> {
    let failed = |error| StoreErrorKind::Io("create it", error);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(new).map_err(failed)?;
    // The umask may have removed the owner's permissions as well.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    step(CreateStep::FileMade).map_err(failed)?;

    let handle = builder().create(new)?;
    fill(&handle)?;
    step(CreateStep::Committed).map_err(failed)?;

    handle.close()?;
    file.sync_all().map_err(failed)?;
    step(CreateStep::Synced).map_err(failed)?;

    match fs::hard_link(new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(failed)?,
    }
    step(CreateStep::Linked).map_err(failed)?;
    let directory = File::open(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    directory.sync_all().map_err(failed)
}

/// Writes into a new file what every store has: the format's version and the tables.
pub(super) fn fill(handle: &Database) -> Result<(), StoreErrorKind> {
    let mut transaction = handle.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(META)?.insert(VERSION, FORMAT_VERSION)?;
    make_tables(&transaction)?;
    Ok(transaction.commit()?)
}

fn make_tables(transaction: &WriteTransaction) -> Result<(), StoreErrorKind> {
    transaction.open_table(RUNS)?;
    transaction.open_table(ROWS)?;
    transaction.open_table(TOKENS)?;
    transaction.open_table(DELETED)?;
    transaction.open_table(TEXTS)?;
    transaction.open_table(TEXT_USES)?;
    transaction.open_table(USES)?;
    transaction.open_table(BASES)?;
    transaction.open_table(INDEX)?;
    transaction.open_table(BUILDS)?;
    transaction.open_table(BUILDERS)?;
    transaction.open_table(ANCHORS)?;
    transaction.open_table(BLOCK_ANCHORS)?;
    transaction.open_table(CHECKPOINTS)?;
    transaction.open_table(TOUCHED)?;
    Ok(())
}

/// Makes an older file one of this format, in the first transaction that writes to it. Fails if a newer server has
/// upgraded the file to its own format meanwhile.
pub(super) fn upgrade(transaction: &WriteTransaction) -> Result<(), StoreErrorKind> {
    let mut meta = transaction.open_table(META)?;
    let found = meta.get(VERSION)?.map_or(FORMAT_VERSION, |version| version.value());
    match found {
        FORMAT_VERSION => Ok(()),
        newer if newer > FORMAT_VERSION => Err(StoreErrorKind::Newer(newer)),
        older => {
            meta.insert(VERSION, FORMAT_VERSION)?;
            make_tables(transaction)?;
            if older < FIRST_BLOCK_BUILDS_VERSION {
                builds::upgrade(transaction)?;
            }
            if older < FIRST_INDEXED_VERSION { index::rebuild(transaction) } else { Ok(()) }
        }
    }
}

fn remove_staging(staging: &Path) -> io::Result<()> {
    fs::remove_file(staging.join("new")).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    fs::remove_dir(staging)
}

/// The options of every handle. redb requires that every process opens the file in the same mode.
pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(CACHE_BYTES);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, tests::run};

    const STEPS: [CreateStep; 7] = [
        CreateStep::DirectoryMade,
        CreateStep::DirectoryLocked,
        CreateStep::FileMade,
        CreateStep::Committed,
        CreateStep::Synced,
        CreateStep::Linked,
        CreateStep::Removed,
    ];

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    fn killed_at(step: CreateStep) -> impl FnMut(CreateStep) -> io::Result<()> {
        move |done| if done == step { Err(io::Error::other("killed")) } else { Ok(()) }
    }

    #[test]
    fn a_kill_at_any_step_leaves_no_store_or_a_whole_one() {
        for step in STEPS {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("loomd.redb");
            create(&path, &mut killed_at(step)).expect_err("stopped");
            assert_eq!(path.exists(), matches!(step, CreateStep::Linked | CreateStep::Removed), "{step:?}");
            let store = Store::at(directory.path());
            store.check().unwrap_or_else(|failure| panic!("{step:?}: {failure}"));
            let id = RunId::new();
            assert!(store.put_run(&run(id), None, || true).unwrap_or_else(|failure| panic!("{step:?}: {failure}")));
            assert_eq!(store.run(id).expect("readable").expect("there").run.id, id);
            assert_eq!(names(directory.path()), ["loomd.redb"], "{step:?}: what was left is swept");
        }
    }

    #[test]
    fn the_second_creator_uses_the_file_of_the_first() {
        for step in STEPS {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("loomd.redb");
            let id = RunId::new();
            let first = Store::at(directory.path());
            create(&path, &mut |done| {
                if done == step {
                    assert!(first.put_run(&run(id), None, || true).expect("stored"), "{step:?}");
                }
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{step:?}: {error}"));
            let second = Store::at(directory.path());
            assert!(second.run(id).expect("readable").is_some(), "{step:?}");
            assert!(second.put_run(&run(id), None, || true).expect("stored"), "{step:?}");
            assert_eq!(names(directory.path()), ["loomd.redb"], "{step:?}");
        }
    }

    #[test]
    fn the_file_is_the_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path().join("deep/down"));
        store.put_run(&run(RunId::new()), None, || true).expect("stored");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(store.path()), 0o600);
        assert_eq!(mode(&directory.path().join("deep")), 0o700);
    }
}
