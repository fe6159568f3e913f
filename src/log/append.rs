//! The writer of a run's log. There is exactly one, in the run's supervisor (or, after its death, the adopter).
//!
//! An entry is in the log when its one `write` has returned: from then on it survives `kill -9` of everything. Nobody is
//! shown an entry before that. A failed write leaves nothing behind, so it can be tried again.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use tokio::sync::watch;

use super::{
    files::RunDir,
    head::{Head, HeadFile},
    index::{IndexFile, SegmentRecord},
    sync::{Durable, Syncer, Written},
};
use crate::{
    model::{Entry, Run, RunBytes, Stream, UnixMs, line},
    process::disk,
};

/// A segment is closed once it is as long as this.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Room that is kept behind the end for the last words on a full disk.
const RESERVE_BYTES: u64 = 64 << 10;
/// How much of it is for the entry that ends the run, whatever else is said last.
const END_BYTES: u64 = 8 << 10;
/// First allocation of a segment; it grows by doubling.
const FIRST_ALLOCATION: u64 = 256 << 10;
/// Room for lines that is kept from one append to the next; what a long line took beyond it is given back.
const KEPT_LINES: usize = 256 << 10;

/// The writing end of a log.
#[derive(Debug)]
pub struct Appender {
    dir: RunDir,
    run: Run,
    file: Arc<File>,
    /// Which segment this is, counted from 0.
    position: u64,
    record: SegmentRecord,
    checksum: crc32fast::Hasher,
    length: u64,
    allocated: u64,
    can_allocate: bool,
    head: HeadFile,
    index: IndexFile,
    syncer: Syncer,
    lines: Vec<u8>,
}

/// Which room an append may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// What leaves the reserve alone.
    Usual,
    /// The reserve too, but for the end's part: for what was said before the end.
    Late,
    /// All of it: for the end of a run.
    Last,
}

impl Appender {
    /// Begins a log, or goes on with one whose last entry is `run.last_seq`, in a new segment.
    pub fn open(dir: RunDir, run: Run) -> io::Result<Self> {
        let position = super::index::read(&dir)?.len() as u64;
        let syncer = Syncer::start(&dir)?;
        let head = HeadFile::create(&dir)?;
        let index = IndexFile::create(&dir)?;
        let record = SegmentRecord { first_seq: run.last_seq + 1, before: run.bytes, synced: 0, last_seq: run.last_seq, checksum: 0 };
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
            index,
            syncer,
            lines: Vec::new(),
        };
        appender.make_room(0, Room::Usual)?;
        appender.index.write(appender.position, &appender.record)?;
        appender.write_head()?;
        Ok(appender)
    }

    /// Goes on in the newest segment of a log whose writer is gone, in the room that was set aside behind its end: on a full
    /// disk there is no other. The log has been repaired.
    pub fn resume(dir: RunDir, run: Run) -> io::Result<Self> {
        let Some(first_seq) = dir.segments()?.pop() else { return Self::open(dir, run) };
        let records = super::index::read(&dir)?;
        let Some(position) = records.iter().position(|record| record.first_seq == first_seq) else { return Self::open(dir, run) };
        let path = dir.segment(first_seq);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&std::fs::read(&path)?);
        let file = File::options().read(true).write(true).open(&path)?;
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
            index: IndexFile::create(&dir)?,
            syncer: Syncer::start(&dir)?,
            lines: Vec::new(),
            dir,
            run,
        })
    }

    /// The run as of its newest entry.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The same, as it is told to others: with the file that the newest entries are in.
    pub fn picture(&self) -> Run {
        let transcript = self.dir.segment(self.record.first_seq).to_string_lossy().into_owned();
        Run { transcript: Some(transcript), ..self.run.clone() }
    }

    /// Changes what is not told by entries (title, labels, pid …).
    pub fn describe(&mut self, change: impl FnOnce(&mut Run)) -> io::Result<()> {
        change(&mut self.run);
        self.write_head()
    }

    /// How far the log would survive a power cut.
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.syncer.durable()
    }

    /// Takes over what the sync thread has achieved into the picture that readers find.
    pub fn note_durable(&mut self, seq: u64) -> io::Result<()> {
        self.run.durable_seq = self.run.durable_seq.max(seq);
        self.write_head()
    }

    /// Asks for everything to be made durable now.
    pub fn hurry(&self) {
        self.syncer.hurry();
    }

    /// The directory got its final name.
    pub fn renamed(&mut self, dir: RunDir) {
        self.dir = dir;
    }

    /// Appends pieces of output, in this order, each as one entry. All of them or none.
    pub fn output(&mut self, at: UnixMs, stream: Stream, pieces: &[&[u8]], room: Room) -> io::Result<()> {
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
        self.commit(room)?;
        self.run.last_seq = seq;
        match stream {
            Stream::Stdout => self.run.bytes.stdout = offset,
            Stream::Stderr => self.run.bytes.stderr = offset,
        }
        self.wrote();
        Ok(())
    }

    /// Appends one entry that is not output; `make` gets its number. Returns its line, without the line feed.
    pub fn entry(&mut self, make: impl FnOnce(u64) -> Entry, room: Room) -> io::Result<Vec<u8>> {
        let entry = make(self.run.last_seq + 1);
        self.lines.clear();
        line::write(&mut self.lines, &entry);
        self.commit(room)?;
        self.run.apply(&entry);
        self.wrote();
        match self.write_head() {
            // It is in the log, and must not be appended again. Readers move an older head on.
            Err(error) if disk::is_full(&error) => {}
            written => written?,
        }
        let line = self.lines[..self.lines.len() - 1].to_vec();
        if self.lines.capacity() > KEPT_LINES {
            self.lines = Vec::new();
        }
        Ok(line)
    }

    /// Makes everything durable and ends the sync thread. The picture that readers find says so.
    pub fn finish(mut self) -> io::Result<Run> {
        let durable = self.syncer.durable();
        self.syncer.finish();
        let reached = durable.borrow().clone();
        self.run.durable_seq = reached.seq;
        let head = Head { run: self.run.clone(), segment: self.record.first_seq, position: self.length };
        self.head.write(&head)?;
        match reached.error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(self.run),
        }
    }

    /// Writes the lines that are ready, in one `write`, into this segment or a new one.
    fn commit(&mut self, room: Room) -> io::Result<()> {
        let needed = self.lines.len() as u64;
        if self.length > 0 && self.length + needed > SEGMENT_BYTES && room == Room::Usual {
            self.rotate()?;
        }
        self.make_room(needed, room)?;
        if let Err(error) = self.file.write_all_at(&self.lines, self.length) {
            // Nothing of a failed append may be seen, and the room behind the end is wanted back.
            self.file.set_len(self.length)?;
            self.allocated = self.length;
            return Err(error);
        }
        self.checksum.update(&self.lines);
        self.length += needed;
        Ok(())
    }

    fn wrote(&mut self) {
        self.record.last_seq = self.run.last_seq;
        self.record.synced = self.length;
        self.record.checksum = self.checksum.clone().finalize();
        self.syncer.wrote(Written { file: Arc::clone(&self.file), position: self.position, record: self.record });
    }

    /// Begins a new segment. The head points to it before it is there: once it is, the old one may be sealed and removed.
    fn rotate(&mut self) -> io::Result<()> {
        let first_seq = self.run.last_seq + 1;
        let file = disk::create_private_file(&self.dir.segment(first_seq).with_extension("next"))?;
        let renamed = disk::allocate(&file, 0, FIRST_ALLOCATION).and_then(|can_allocate| {
            self.can_allocate = can_allocate;
            self.head.write(&Head { run: self.run.clone(), segment: first_seq, position: 0 })?;
            // By byte, a reader finds its way from the first moment on.
            self.index.write(
                self.position + 1,
                &SegmentRecord { first_seq, before: self.run.bytes, synced: 0, last_seq: self.run.last_seq, checksum: 0 },
            )?;
            std::fs::rename(self.dir.segment(first_seq).with_extension("next"), self.dir.segment(first_seq))
        });
        if let Err(error) = renamed {
            let _ = std::fs::remove_file(self.dir.segment(first_seq).with_extension("next"));
            return Err(error);
        }
        self.file = Arc::new(file);
        self.position += 1;
        self.record = SegmentRecord { first_seq, before: self.run.bytes, synced: 0, last_seq: self.run.last_seq, checksum: 0 };
        self.checksum = crc32fast::Hasher::new();
        self.length = 0;
        self.allocated = if self.can_allocate { FIRST_ALLOCATION } else { 0 };
        Ok(())
    }

    /// Sees to it that `needed` bytes fit, and behind them the reserve. Fails as the disk fails, before anything is written.
    fn make_room(&mut self, needed: u64, room: Room) -> io::Result<()> {
        let reserve = match room {
            Room::Usual => RESERVE_BYTES,
            Room::Late => END_BYTES,
            Room::Last => 0,
        };
        let end = self.length + needed + reserve;
        if !self.can_allocate || end <= self.allocated {
            return Ok(());
        }
        let generous = end.max((self.allocated * 2).clamp(FIRST_ALLOCATION, SEGMENT_BYTES + FIRST_ALLOCATION));
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
        let head = Head { run: self.run.clone(), segment: self.record.first_seq, position: self.length };
        self.head.write(&head)
    }

    /// Bytes of both streams so far.
    pub fn bytes(&self) -> RunBytes {
        self.run.bytes
    }
}

/// A segment's file. An adopter may find one that was made and not yet written to.
fn open_segment(dir: &RunDir, first_seq: u64) -> io::Result<File> {
    let path = dir.segment(first_seq);
    match disk::create_private_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.metadata()?.len() == 0 => {
            File::options().read(true).write(true).open(&path)
        }
        created => created,
    }
}
