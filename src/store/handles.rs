//! The open file: a handle that reads, a handle that writes, and when each is opened, given up and trusted.
//!
//! A file is looked at before redb may write to it: redb mends what it takes for the trace of a crash, and would do so to
//! a truncated file as well. What is not certainly a store of ours is left as it is.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TableError};
use rustix::fs::{Access, access};

use super::{
    FORMAT_VERSION,
    create::{self, builder},
    tables::{META, VERSION},
    trouble::Trouble,
};

/// The handles of one process on one file.
pub(super) struct Handles {
    path: PathBuf,
    reader: Mutex<Option<Opened<ReadOnlyDatabase>>>,
    /// Held while the writing handle is being opened, which may take as long as a peer's transaction does. Readers must
    /// not wait for that, so they only ever try this lock.
    writer: Mutex<Option<Opened<Database>>>,
}

/// A handle, and the file that it was opened on: a file that was replaced is another store.
struct Opened<T> {
    file: FileId,
    handle: Arc<T>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// A handle to read with.
pub(super) enum Handle {
    Reading(Arc<ReadOnlyDatabase>),
    Writing(Arc<Database>),
}

impl Handle {
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Trouble> {
        Ok(match self {
            Self::Reading(handle) => handle.begin_read()?,
            Self::Writing(handle) => handle.begin_read()?,
        })
    }
}

impl Handles {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, reader: Mutex::new(None), writer: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// See [`super::Store::check`].
    pub(super) fn check(&self) -> Result<(), Trouble> {
        let there = self.for_reading()?.is_some();
        let looked_at = if there { Some(self.path.as_path()) } else { self.path.parent().filter(|directory| directory.exists()) };
        let Some(looked_at) = looked_at else { return Ok(()) };
        access(looked_at, Access::WRITE_OK).map_err(|error| Trouble::Io("write to it", error.into()))
    }

    /// The handle to read with; the writing one if it is open. `None` when there is no file.
    pub(super) fn for_reading(&self) -> Result<Option<Handle>, Trouble> {
        let Some(file) = FileId::of(&self.path)? else { return Ok(None) };
        if let Ok(writer) = self.writer.try_lock()
            && let Some(open) = writer.as_ref().filter(|open| open.file == file)
        {
            return Ok(Some(Handle::Writing(open.handle.clone())));
        }
        let mut reader = lock(&self.reader);
        if let Some(open) = reader.as_ref().filter(|open| open.file == file) {
            return Ok(Some(Handle::Reading(open.handle.clone())));
        }
        *reader = None;
        if let Some(handle) = open_to_read(&self.path)? {
            let handle = Arc::new(handle);
            *reader = Some(Opened { file, handle: handle.clone() });
            return Ok(Some(Handle::Reading(handle)));
        }
        drop(reader);
        Ok(self.for_writing()?.map(Handle::Writing))
    }

    /// The handle to write with. Waits while a peer is in a write transaction. `None` when there is no file.
    pub(super) fn for_writing(&self) -> Result<Option<Arc<Database>>, Trouble> {
        let mut writer = lock(&self.writer);
        let Some(file) = FileId::of(&self.path)? else {
            *writer = None;
            return Ok(None);
        };
        if let Some(open) = writer.as_ref().filter(|open| open.file == file) {
            return Ok(Some(open.handle.clone()));
        }
        *writer = None;
        // Says no to a newer format before anything is written; `None` is a file that has to be repaired first.
        drop(open_to_read(&self.path)?);
        let handle = guarded(|| Ok(builder().open(&self.path)?))?;
        guarded(|| check_format(&handle.begin_read()?))?;
        create::sweep(&self.path);
        let handle = Arc::new(handle);
        *writer = Some(Opened { file, handle: handle.clone() });
        *lock(&self.reader) = None;
        Ok(Some(handle))
    }

    /// Makes the file unless it is there.
    pub(super) fn make_file(&self) -> Result<(), Trouble> {
        if FileId::of(&self.path)?.is_some() {
            return Ok(());
        }
        create::create(&self.path, &mut |_| Ok(()))
    }

    /// Gives both handles up; the next call opens the file anew.
    pub(super) fn forget(&self) {
        *lock(&self.reader) = None;
        *lock(&self.writer) = None;
    }
}

/// Opens a file of ours without changing it. `None`: a killed writer left it, and opening it for writing will repair it.
fn open_to_read(path: &Path) -> Result<Option<ReadOnlyDatabase>, Trouble> {
    look_at(path)?;
    guarded(|| match builder().open_read_only(path) {
        Ok(handle) => {
            check_format(&handle.begin_read()?)?;
            Ok(Some(handle))
        }
        Err(DatabaseError::RepairAborted) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

fn check_format(transaction: &ReadTransaction) -> Result<(), Trouble> {
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(Trouble::Foreign("it is a redb file of another program")),
    };
    match redb::ReadableTable::get(&meta, VERSION)?.map(|version| version.value()) {
        Some(version) if version <= FORMAT_VERSION => Ok(()),
        Some(version) => Err(Trouble::Newer(version)),
        None => Err(Trouble::Foreign("it is a redb file of another program")),
    }
}

/// Looks at what redb's shared readers take on trust: that this is a redb file, and that its end is not missing.
/// The fields are those of redb's design document, "Super-header"; a file shorter than they say was cut by somebody else,
/// for redb shrinks a file only after it has written a smaller layout, and writes a larger one only after growing it.
fn look_at(path: &Path) -> Result<(), Trouble> {
    let mut file = File::open(path).map_err(|error| Trouble::Io("open it", error))?;
    let metadata = file.metadata().map_err(|error| Trouble::Io("look at it", error))?;
    if !metadata.is_file() {
        return Err(Trouble::Foreign("it is not a file"));
    }
    if metadata.len() == 0 {
        return Err(Trouble::damaged("it is empty"));
    }
    let mut header = [0; 32];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Trouble::damaged("its end is missing")),
        read => read.map_err(|error| Trouble::Io("read it", error))?,
    }
    if header[..9] != *b"redb\x1a\x0a\xa9\x0d\x0a" {
        return Err(Trouble::Foreign("its first bytes are not redb's"));
    }
    // A peer may be shrinking the file between the two looks, so a second one decides.
    let short = |header: &[u8; 32]| Ok(length_in(header) > file.metadata()?.len());
    let mut look_again = || {
        io::Seek::rewind(&mut &file)?;
        (&file).read_exact(&mut header)?;
        short(&header)
    };
    let is_short = look_again().and_then(|is_short| if is_short { look_again() } else { Ok(false) });
    if is_short.map_err(|error| Trouble::Io("read it", error))? {
        return Err(Trouble::damaged("its end is missing"));
    }
    Ok(())
}

/// The file's length by its header: one page, the full regions, and the last region.
fn length_in(header: &[u8; 32]) -> u64 {
    let word = |at: usize| u64::from(u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")));
    let (page, region_header, region_max, full, trailing) = (word(12), word(16), word(20), word(24), word(28));
    let trailing_pages = if trailing > 0 { region_header + trailing } else { 0 };
    full.saturating_mul(region_header + region_max).saturating_add(trailing_pages + 1).saturating_mul(page)
}

/// redb may panic where the pages of a file were overwritten by somebody else; that is damage, not a reason to die.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Trouble::damaged("its pages contradict each other")))
}

/// A panic elsewhere leaves an `Option` of a handle, which is never half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileId {
    fn of(path: &Path) -> Result<Option<Self>, Trouble> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self { device: metadata.dev(), inode: metadata.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Trouble::Io("look at it", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{FailureKind, RunId, Stream, line},
        store::{Sealed, Store, tests::run},
    };

    /// A store with a run of many rows, closed as it should be; its bytes, and those of a copy that was never closed.
    fn closed_and_unclosed() -> (RunId, Vec<u8>, Vec<u8>) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        let id = RunId::new();
        store.put_run(&run(id), None, || true).expect("told");
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut lines = Vec::new();
        line::write_output(&mut lines, id, 1, 1, Stream::Stdout, 0, &noise);
        store.seal(id, &lines).expect("sealed");
        let unclosed = fs::read(store.path()).expect("readable");
        let path = store.path().to_owned();
        drop(store);
        (id, fs::read(path).expect("readable"), unclosed)
    }

    fn store_of(bytes: &[u8]) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        fs::write(store.path(), bytes).expect("written");
        (directory, store)
    }

    /// Every way in says that the store cannot be used, and the file stays as it is.
    fn assert_refused(what: &str, bytes: &[u8], says: &str) {
        let (_directory, store) = store_of(bytes);
        let id = RunId::new();
        let failures = [
            store.check().expect_err(what),
            store.put_run(&run(id), None, || true).expect_err(what),
            store.run(id).expect_err(what),
            store.seal(id, b"").expect_err(what),
            store.check().expect_err(what),
        ];
        for failure in failures {
            assert_eq!(failure.kind, FailureKind::Store);
            assert!(failure.message.contains(says), "{what}: {failure}");
            assert!(failure.message.contains(&*store.path().to_string_lossy()), "{what}: {failure}");
        }
        assert!(fs::read(store.path()).expect("readable") == bytes, "{what}: the file was written to");
    }

    #[test]
    fn a_damaged_store_is_refused_and_not_written_to() {
        let (_, closed, unclosed) = closed_and_unclosed();
        for (how, bytes) in [("closed", &closed), ("unclosed", &unclosed)] {
            for length in [0, 1, 8, 9, 31, 32, 319, 320, 4095, 4096, 8192, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
                assert_refused(&format!("{how}, cut at {length}"), &bytes[..length], "damaged");
            }
            let mut gutted = bytes.clone();
            gutted[4096..].iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 31 % 251) as u8);
            assert_refused(&format!("{how}, its pages overwritten"), &gutted, "damaged");
            let mut headless = bytes.clone();
            headless[9..4096].fill(0);
            assert_refused(&format!("{how}, its header wiped"), &headless, "damaged");
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_and_not_written_to() {
        assert_refused("text", &b"Dear diary, ".repeat(1000), "not a store of loomd");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("other.redb");
        let version = |version: Option<u64>| {
            let handle = builder().create(&path).expect("made");
            let transaction = handle.begin_write().expect("begins");
            {
                let mut meta = transaction.open_table(META).expect("opens");
                match version {
                    Some(version) => drop(meta.insert(VERSION, version).expect("inserts")),
                    None => drop(meta.remove(VERSION).expect("removes")),
                }
            }
            transaction.commit().expect("commits");
            drop(handle);
            fs::read(&path).expect("readable")
        };
        assert_refused("newer", &version(Some(FORMAT_VERSION + 1)), "update loomd");
        assert_refused("another program's", &version(None), "not a store of loomd");

        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        fs::create_dir(store.path()).expect("made");
        assert!(store.check().expect_err("a directory").message.contains("not a file"));
        store.put_run(&run(RunId::new()), None, || true).expect_err("a directory");
    }

    #[test]
    fn a_file_that_a_killed_writer_left_is_repaired() {
        let (id, _, unclosed) = closed_and_unclosed();
        let (_directory, store) = store_of(&unclosed);
        assert!(open_to_read(store.path()).expect("is ours").is_none(), "has to be repaired");
        store.check().expect("repaired");
        assert!(store.lines_at(id, 1).expect("readable").is_some());
        assert!(store.put_run(&run(RunId::new()), None, || true).expect("writable"));
    }

    #[test]
    fn after_a_failed_read_the_file_is_opened_anew() {
        let (id, closed, _) = closed_and_unclosed();
        let (_directory, store) = store_of(&closed);
        assert!(store.run(id).expect("readable").is_some());
        let file = File::options().write(true).open(store.path()).expect("opens");
        file.set_len(8192).expect("cut");
        store.lines_at(id, 1).expect_err("its rows are cut off");
        fs::write(store.path(), &closed).expect("put back");
        assert!(store.lines_at(id, 1).expect("opened anew").is_some());
    }

    #[test]
    fn a_file_that_was_replaced_is_another_store() {
        let (id, closed, _) = closed_and_unclosed();
        let (_directory, store) = store_of(&closed);
        let new = RunId::new();
        assert!(store.put_run(&run(new), None, || true).expect("told"));
        fs::remove_file(store.path()).expect("removed");
        assert_eq!(store.run(id).expect("no error"), None);
        assert_eq!(store.seal(id, b"").expect("no error"), Sealed::Gone);
        assert!(store.put_run(&run(new), None, || true).expect("made anew"));
        assert!(Store::at(store.path().parent().expect("a directory")).run(new).expect("readable").is_some());
    }
}
