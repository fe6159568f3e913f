//! Writes a run's log. A log has exactly one [`Appender`]: in the run's supervisor or, once that has died, in the
//! adopter.
//!
//! An entry is in the log as soon as its one `write` has returned: from then on it survives `kill -9` of every process.
//! The supervisor shows no entry to anybody before that. A failed write leaves nothing behind, so it can be tried
//! again.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    RunDir,
    follow::{MAX_LINE_BYTES, SEGMENT_BYTES},
    head::HeadFile,
    index::{IndexFile, SegmentRecord},
    sync::{AppendProgress, SyncStatus, Syncer},
};
use crate::{
    model::{Entry, Run, RunBytes, Stream, UnixMs, line},
    process::{data_file, disk},
};

/// Allocated behind the end of the newest segment, so that a full disk still takes the last entries of a run.
const RESERVE_BYTES: u64 = 64 << 10;
/// The part of [`RESERVE_BYTES`] that only the run's final entry may use, whatever else is written late.
const FINAL_ENTRY_BYTES: u64 = 8 << 10;
/// First allocation of a segment; each further one doubles it.
const FIRST_ALLOCATION_BYTES: u64 = 256 << 10;
/// Capacity of the line buffer that stays allocated between appends; a buffer that a long line has grown beyond it is
/// freed.
const MAX_SPARE_BUFFER_BYTES: usize = 256 << 10;

/// How old the head may be when an update is appended. Other entries, and each sync, write it at once.
const HEAD_INTERVAL: Duration = Duration::from_secs(1);

/// The writing end of a log.
#[derive(Debug)]
pub(crate) struct Appender {
    dir: RunDir,
    run: Run,
    file: Arc<File>,
    /// Position of the segment among all of the run, counted from 0.
    position: u64,
    record: SegmentRecord,
    checksum: crc32fast::Hasher,
    length: u64,
    allocated: u64,
    can_allocate: bool,
    head: HeadFile,
    head_written_at: Instant,
    index: IndexFile,
    syncer: Syncer,
    lines: Vec<u8>,
}

/// How much of [`RESERVE_BYTES`] an append may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// Usual appends leave the whole reserve alone.
    Untouched,
    /// What was written before the run's end and did not fit may use all but [`FINAL_ENTRY_BYTES`].
    LateEntries,
    /// The entries that end a run may use all of it.
    FinalEntry,
}

impl Appender {
    /// Begins a log, or continues one whose last entry is `run.last_seq` in a new segment.
    pub(crate) fn open(dir: RunDir, run: Run) -> io::Result<Self> {
        let position = super::index::read(&dir)?.len() as u64;
        let syncer = Syncer::start(&dir)?;
        let head = HeadFile::create(&dir)?;
        let index = IndexFile::create(&dir)?;
        let record =
            SegmentRecord { first_seq: run.last_seq + 1, bytes_before: run.bytes, synced_bytes: 0, last_seq: run.last_seq, checksum: 0 };
        let mut appender = Self {
            file: Arc::new(open_segment(&dir, record.first_seq)?),
            dir,
            run,
            position,
            record,
            checksum: crc32fast::Hasher::new(),
            length: 0,
            allocated: 0,
            can_allocate: true,
            head,
            head_written_at: Instant::now(),
            index,
            syncer,
            lines: Vec::new(),
        };
        appender.allocate_for(0, Reserve::Untouched)?;
        appender.index.write(appender.position, &appender.record)?;
        appender.write_head()?;
        Ok(appender)
    }

    /// Continues the newest segment of a repaired log whose writer has died, in the reserve that the writer allocated
    /// behind its end: a full disk has no other space.
    pub(crate) fn resume(dir: RunDir, run: Run) -> io::Result<Self> {
        let Some(first_seq) = dir.segments()?.pop() else { return Self::open(dir, run) };
        let records = super::index::read(&dir)?;
        let Some(position) = records.iter().position(|record| record.first_seq == first_seq) else { return Self::open(dir, run) };
        let path = dir.segment(first_seq);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&data_file::read_bounded(&path, SEGMENT_BYTES + MAX_LINE_BYTES as u64)?);
        let file = data_file::write(&path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            position: position as u64,
            record: records[position],
            checksum,
            length,
            allocated: length + RESERVE_BYTES,
            can_allocate: true,
            head: HeadFile::create(&dir)?,
            head_written_at: Instant::now(),
            index: IndexFile::create(&dir)?,
            syncer: Syncer::start(&dir)?,
            lines: Vec::new(),
            dir,
            run,
        })
    }

    /// The run as of its newest entry.
    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// The run as of its newest entry, with `transcript` naming the file that holds the newest entries.
    pub(crate) fn snapshot(&self) -> Run {
        let transcript = self.dir.segment(self.record.first_seq).to_string_lossy().into_owned();
        Run { transcript: Some(transcript), ..self.run.clone() }
    }

    /// Changes what no entry tells: title, labels, pid and their like. The change goes into the head.
    pub(crate) fn update_run(&mut self, change: impl FnOnce(&mut Run)) -> io::Result<()> {
        change(&mut self.run);
        self.write_head()
    }

    /// Watches how far the log would survive a power cut.
    pub(crate) fn sync_status(&self) -> watch::Receiver<SyncStatus> {
        self.syncer.sync_status()
    }

    /// Writes the number of the last durable entry into the head, where readers find it.
    pub(crate) fn note_durable(&mut self, seq: u64) -> io::Result<()> {
        self.run.durable_seq = self.run.durable_seq.max(seq);
        self.write_head()
    }

    /// Has the sync thread make everything durable without its usual delay.
    pub(crate) fn sync_now(&self) {
        self.syncer.sync_now();
    }

    /// Follows the directory to its final name.
    pub(crate) fn set_dir(&mut self, dir: RunDir) {
        self.dir = dir;
    }

    /// Appends pieces of output in this order, each as one entry. Either all of them are appended or none.
    pub(crate) fn output(&mut self, at: UnixMs, stream: Stream, pieces: &[&[u8]], reserve: Reserve) -> io::Result<()> {
        let mut offset = match stream {
            Stream::Stdout => self.run.bytes.stdout,
            Stream::Stderr => self.run.bytes.stderr,
        };
        let mut seq = self.run.last_seq;
        self.lines.clear();
        for piece in pieces {
            seq += 1;
            line::write_output(&mut self.lines, self.run.id, seq, at, stream, offset, piece);
            offset += piece.len() as u64;
        }
        self.commit(reserve)?;
        self.run.last_seq = seq;
        match stream {
            Stream::Stdout => self.run.bytes.stdout = offset,
            Stream::Stderr => self.run.bytes.stderr = offset,
        }
        self.report_progress();
        Ok(())
    }

    /// Appends one entry that is not output; `make` gets its number. Returns the entry's line without the line feed.
    pub(crate) fn entry(&mut self, make: impl FnOnce(u64) -> Entry, reserve: Reserve) -> io::Result<Vec<u8>> {
        let entry = make(self.run.last_seq + 1);
        self.lines.clear();
        line::write(&mut self.lines, &entry);
        self.commit(reserve)?;
        self.run.apply(&entry);
        self.report_progress();
        if !matches!(entry, Entry::Output(_) | Entry::Update(_)) || self.head_written_at.elapsed() >= HEAD_INTERVAL {
            match self.write_head() {
                // The entry is in the log and must not be appended again. Readers that find an older head move it on
                // themselves.
                Err(error) if disk::is_full(&error) => {}
                written => written?,
            }
        }
        let line = self.lines[..self.lines.len() - 1].to_vec();
        if self.lines.capacity() > MAX_SPARE_BUFFER_BYTES {
            self.lines = Vec::new();
        }
        Ok(line)
    }

    /// Makes everything durable, ends the sync thread, and writes both into the head.
    pub(crate) fn finish(mut self) -> io::Result<Run> {
        let durable = self.syncer.sync_status();
        self.syncer.finish();
        let status = durable.borrow().clone();
        self.run.durable_seq = status.durable_seq;
        self.head.write(&mut self.run, self.record.first_seq, self.length)?;
        match status.error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(self.run),
        }
    }

    /// Writes `self.lines` with one `write`, into this segment or a new one.
    fn commit(&mut self, reserve: Reserve) -> io::Result<()> {
        let needed = self.lines.len() as u64;
        if self.length >= SEGMENT_BYTES && reserve == Reserve::Untouched {
            self.rotate()?;
        }
        self.allocate_for(needed, reserve)?;
        if let Err(error) = self.file.write_all_at(&self.lines, self.length) {
            // Readers must not see a part of a failed append, and truncating to `length` frees what was allocated
            // behind it.
            self.file.set_len(self.length)?;
            self.allocated = self.length;
            return Err(error);
        }
        self.checksum.update(&self.lines);
        self.length += needed;
        Ok(())
    }

    fn report_progress(&mut self) {
        self.record.last_seq = self.run.last_seq;
        self.record.synced_bytes = self.length;
        self.record.checksum = self.checksum.clone().finalize();
        self.syncer.report(AppendProgress { file: Arc::clone(&self.file), position: self.position, record: self.record });
    }

    /// Begins a new segment. The head points to it before its file has its name: once it has, the old segment may be
    /// sealed and removed.
    fn rotate(&mut self) -> io::Result<()> {
        let first_seq = self.run.last_seq + 1;
        let file = disk::create_private_file(&self.dir.segment(first_seq).with_extension("next"))?;
        let result = disk::allocate(&file, 0, FIRST_ALLOCATION_BYTES).and_then(|can_allocate| {
            self.can_allocate = can_allocate;
            self.head.write(&mut self.run, first_seq, 0)?;
            // The index names the segment as well, so that readers by byte find it from the first moment on.
            self.index.write(
                self.position + 1,
                &SegmentRecord { first_seq, bytes_before: self.run.bytes, synced_bytes: 0, last_seq: self.run.last_seq, checksum: 0 },
            )?;
            std::fs::rename(self.dir.segment(first_seq).with_extension("next"), self.dir.segment(first_seq))
        });
        if let Err(error) = result {
            // A leftover with this extension is no segment; `rotate` fails with the error that matters.
            std::fs::remove_file(self.dir.segment(first_seq).with_extension("next")).ok();
            return Err(error);
        }
        self.file = Arc::new(file);
        self.position += 1;
        self.record = SegmentRecord { first_seq, bytes_before: self.run.bytes, synced_bytes: 0, last_seq: self.run.last_seq, checksum: 0 };
        self.checksum = crc32fast::Hasher::new();
        self.length = 0;
        self.allocated = if self.can_allocate { FIRST_ALLOCATION_BYTES } else { 0 };
        Ok(())
    }

    /// Allocates space for `needed` bytes and for the part of the reserve that this append must leave. Fails before
    /// anything is written, with the disk's error.
    fn allocate_for(&mut self, needed: u64, reserve: Reserve) -> io::Result<()> {
        let reserved_bytes = match reserve {
            Reserve::Untouched => RESERVE_BYTES,
            Reserve::LateEntries => FINAL_ENTRY_BYTES,
            Reserve::FinalEntry => 0,
        };
        let end = self.length + needed + reserved_bytes;
        if !self.can_allocate || end <= self.allocated {
            return Ok(());
        }
        let generous = end.max((self.allocated * 2).clamp(FIRST_ALLOCATION_BYTES, SEGMENT_BYTES + FIRST_ALLOCATION_BYTES));
        for wanted in [generous, end] {
            match disk::allocate(&self.file, self.allocated, wanted - self.allocated) {
                Ok(true) => {
                    self.allocated = wanted;
                    return Ok(());
                }
                Ok(false) => {
                    self.can_allocate = false;
                    return Ok(());
                }
                Err(error) if wanted > end && disk::is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_head(&mut self) -> io::Result<()> {
        self.head_written_at = Instant::now();
        self.head.write(&mut self.run, self.record.first_seq, self.length)
    }

    /// Bytes of both streams so far.
    pub(crate) fn bytes(&self) -> RunBytes {
        self.run.bytes
    }
}

/// Creates a segment's file. An adopter may find one that its writer created and did not write to.
fn open_segment(dir: &RunDir, first_seq: u64) -> io::Result<File> {
    let path = dir.segment(first_seq);
    match disk::create_private_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.metadata()?.len() == 0 => data_file::write(&path),
        created => created,
    }
}
