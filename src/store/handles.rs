//! The open file: a handle that reads, a handle that writes, and when each is opened and closed.
//!
//! We check a file before redb may write to it: redb repairs what it takes for the trace of a crash, and would do so to
//! a truncated file as well. A file that is not certainly a store of loomd is left as it is.

use std::{
    cell::Cell,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use parking_lot::Mutex;
use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TableError};

use super::{
    FORMAT_VERSION,
    create::{self, builder},
    error::StoreErrorKind,
    tables::{META, VERSION},
};
use crate::process::{data_file, disk};

/// The handles of one process to one file.
pub(super) struct Handles {
    path: PathBuf,
    reader: Mutex<Option<OpenHandle<ReadOnlyDatabase>>>,
    /// Locked while the writing handle is being opened, which may take as long as the transaction of another process
    /// does. Readers must not wait for that, so they only ever try this lock.
    writer: Mutex<Option<OpenHandle<Database>>>,
}

/// A handle, and the file that it was opened for: a file that was replaced is another store.
struct OpenHandle<T> {
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
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreErrorKind> {
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
    pub(super) fn check(&self) -> Result<(), StoreErrorKind> {
        let exists = self.for_reading()?.is_some();
        let written_path = if exists { Some(self.path.as_path()) } else { self.path.parent().filter(|directory| directory.exists()) };
        let Some(written_path) = written_path else { return Ok(()) };
        disk::writing_allowed(written_path).map_err(|error| StoreErrorKind::Io("write to it", error))
    }

    /// The handle to read with: the writing one if it is open. `None` when there is no file.
    pub(super) fn for_reading(&self) -> Result<Option<Handle>, StoreErrorKind> {
        let Some(file) = FileId::of(&self.path)? else { return Ok(None) };
        if let Some(writer) = self.writer.try_lock()
            && let Some(open) = writer.as_ref().filter(|open| open.file == file)
        {
            return Ok(Some(Handle::Writing(open.handle.clone())));
        }
        let mut reader = self.reader.lock();
        if let Some(open) = reader.as_ref().filter(|open| open.file == file) {
            return Ok(Some(Handle::Reading(open.handle.clone())));
        }
        *reader = None;
        if let Some(handle) = open_to_read(&self.path)? {
            let handle = Arc::new(handle);
            *reader = Some(OpenHandle { file, handle: handle.clone() });
            return Ok(Some(Handle::Reading(handle)));
        }
        drop(reader);
        Ok(self.for_writing()?.map(Handle::Writing))
    }

    /// The handle to write with. Opening it waits while another process is in a write transaction. `None` when there is
    /// no file.
    pub(super) fn for_writing(&self) -> Result<Option<Arc<Database>>, StoreErrorKind> {
        let mut writer = self.writer.lock();
        let Some(file) = FileId::of(&self.path)? else {
            *writer = None;
            return Ok(None);
        };
        if let Some(open) = writer.as_ref().filter(|open| open.file == file) {
            return Ok(Some(open.handle.clone()));
        }
        *writer = None;
        // This refuses a newer format before anything is written. If it returns `None`, the file has to be repaired
        // first, which opening it for writing does.
        drop(open_to_read(&self.path)?);
        let handle = catch_panics(|| Ok(builder().open(&self.path)?))?;
        catch_panics(|| check_format(&handle.begin_read()?))?;
        create::sweep(&self.path);
        let handle = Arc::new(handle);
        *writer = Some(OpenHandle { file, handle: handle.clone() });
        *self.reader.lock() = None;
        Ok(Some(handle))
    }

    /// Creates the file unless it exists.
    pub(super) fn make_file(&self) -> Result<(), StoreErrorKind> {
        if FileId::of(&self.path)?.is_some() {
            return Ok(());
        }
        create::create(&self.path, &mut |_| Ok(()))
    }

    /// Closes both handles; the next call opens the file anew.
    pub(super) fn close(&self) {
        *self.reader.lock() = None;
        *self.writer.lock() = None;
    }
}

/// Opens a store's file without changing it. `None` if a killed writer left it; opening it for writing will repair it.
fn open_to_read(path: &Path) -> Result<Option<ReadOnlyDatabase>, StoreErrorKind> {
    check_header(path)?;
    catch_panics(|| match builder().open_read_only(path) {
        Ok(handle) => {
            check_format(&handle.begin_read()?)?;
            Ok(Some(handle))
        }
        Err(DatabaseError::RepairAborted) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

fn check_format(transaction: &ReadTransaction) -> Result<(), StoreErrorKind> {
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(StoreErrorKind::Foreign("it is a redb file of another program")),
    };
    match redb::ReadableTable::get(&meta, VERSION)?.map(|version| version.value()) {
        Some(version) if version <= FORMAT_VERSION => Ok(()),
        Some(version) => Err(StoreErrorKind::Newer(version)),
        None => Err(StoreErrorKind::Foreign("it is a redb file of another program")),
    }
}

/// Checks what redb's shared readers do not: that this is a redb file, and that its end is not missing.
///
/// The fields are those of redb's design document, "Super-header". A file shorter than they say was cut by another
/// program, for redb shrinks a file only after it has written a smaller layout, and writes a larger layout only after
/// growing the file.
fn check_header(path: &Path) -> Result<(), StoreErrorKind> {
    let mut file = data_file::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => StoreErrorKind::Foreign("it is not a file, or a link to one"),
        _ => StoreErrorKind::Io("open it", error),
    })?;
    let metadata = file.metadata().map_err(|error| StoreErrorKind::Io("inspect it", error))?;
    if metadata.len() == 0 {
        return Err(StoreErrorKind::damaged("it is empty"));
    }
    let mut header = [0; 32];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(StoreErrorKind::damaged("its end is missing")),
        read => read.map_err(|error| StoreErrorKind::Io("read it", error))?,
    }
    if header[..9] != *b"redb\x1a\x0a\xa9\x0d\x0a" {
        return Err(StoreErrorKind::Foreign("it is not a redb file"));
    }
    // Another process may shrink the file between our reading the header and the length, so a second comparison
    // decides.
    let mut is_cut_short = || {
        io::Seek::rewind(&mut &file)?;
        (&file).read_exact(&mut header)?;
        Ok(length_in(&header) > file.metadata()?.len())
    };
    let is_short = is_cut_short().and_then(|is_short| if is_short { is_cut_short() } else { Ok(false) });
    if is_short.map_err(|error| StoreErrorKind::Io("read it", error))? {
        return Err(StoreErrorKind::damaged("its end is missing"));
    }
    Ok(())
}

/// The file's length according to its header: one page, the full regions, and the last region.
fn length_in(header: &[u8; 32]) -> u64 {
    let field = |at: usize| u64::from(u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")));
    let (page, region_header, region_max, full, trailing) = (field(12), field(16), field(20), field(24), field(28));
    let trailing_pages = if trailing > 0 { region_header + trailing } else { 0 };
    full.saturating_mul(region_header + region_max).saturating_add(trailing_pages + 1).saturating_mul(page)
}

thread_local! {
    static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Makes an error of a panic. redb may panic if another program overwrote pages of the file; that must neither end the
/// process nor be what a person reads.
pub(super) fn catch_panics<T>(work: impl FnOnce() -> Result<T, StoreErrorKind>) -> Result<T, StoreErrorKind> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match CATCHES_PANICS.get() {
            true => tracing::warn!(%panic, "the store is damaged"),
            false => others(panic),
        }));
    });
    let before = CATCHES_PANICS.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHES_PANICS.set(before);
    result.unwrap_or_else(|_| Err(StoreErrorKind::damaged("its pages contradict each other")))
}

impl FileId {
    fn of(path: &Path) -> Result<Option<Self>, StoreErrorKind> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self { device: metadata.dev(), inode: metadata.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreErrorKind::Io("inspect it", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{RunId, Stream, line},
        store::{SealResult, Store, tests::run},
    };

    /// The run, the bytes of a store with a run of many rows that was closed, and those of a copy from before it was
    /// closed.
    fn closed_and_unclosed() -> (RunId, Vec<u8>, Vec<u8>) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        let id = RunId::new();
        store.put_run(&run(id), None, || true).expect("stored");
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

    /// Asserts that every call fails with a message that contains `message_part`, and that the file stays as it is.
    fn assert_refused(what: &str, bytes: &[u8], message_part: &str) {
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
            assert!(failure.to_string().contains(message_part), "{what}: {failure}");
            assert!(failure.to_string().contains(&*store.path().to_string_lossy()), "{what}: {failure}");
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
    fn a_file_of_another_program_is_refused_and_not_written_to() {
        assert_refused("text", &b"Dear diary, ".repeat(1000), "not a loomd store");
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
        assert_refused("another program's", &version(None), "not a loomd store");

        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        fs::create_dir(store.path()).expect("made");
        assert!(store.check().expect_err("a directory").to_string().contains("not a file"));
        store.put_run(&run(RunId::new()), None, || true).expect_err("a directory");
    }

    #[test]
    fn a_file_that_a_killed_writer_left_is_repaired() {
        let (id, _, unclosed) = closed_and_unclosed();
        let (_directory, store) = store_of(&unclosed);
        assert!(open_to_read(store.path()).expect("is ours").is_none(), "has to be repaired");
        store.check().expect("repaired");
        assert!(store.block_at(id, 1).expect("readable").is_some());
        assert!(store.put_run(&run(RunId::new()), None, || true).expect("writable"));
    }

    #[test]
    fn after_a_failed_read_the_file_is_opened_anew() {
        let (id, closed, _) = closed_and_unclosed();
        let (_directory, store) = store_of(&closed);
        assert!(store.run(id).expect("readable").is_some());
        let file = fs::File::options().write(true).open(store.path()).expect("opens");
        file.set_len(8192).expect("cut");
        store.block_at(id, 1).expect_err("its rows are cut off");
        fs::write(store.path(), &closed).expect("put back");
        assert!(store.block_at(id, 1).expect("opened anew").is_some());
    }

    #[test]
    fn a_file_that_was_replaced_is_another_store() {
        let (id, closed, _) = closed_and_unclosed();
        let (_directory, store) = store_of(&closed);
        let new = RunId::new();
        assert!(store.put_run(&run(new), None, || true).expect("stored"));
        fs::remove_file(store.path()).expect("removed");
        assert_eq!(store.run(id).expect("no error"), None);
        assert_eq!(store.seal(id, b"").expect("no error"), SealResult::Gone);
        assert!(store.put_run(&run(new), None, || true).expect("made anew"));
        assert!(Store::at(store.path().parent().expect("a directory")).run(new).expect("readable").is_some());
    }
}
