//! Reads a run wherever its entries are: in its log, in the store, or partly in both.
//!
//! A reader looks into the log first. If a segment file is gone, it was sealed, and its entries are in the store. The
//! reader begins its store transaction after it has missed the file, so it sees every entry that has left the log.

mod output_text;

pub(crate) use output_text::byte_count;

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    log::{Description, FollowRead, LogCursor, RunDir, head, seek, seek::BackwardRead},
    model::{Entry, Failure, Kind, Run, RunError, RunId, RunState, Stream, line},
    store::{Block, BlockEntry, PartCache, Store, StoreError},
};

/// A reader gives up after so many attempts, if a log is sealed between its look into the log and its look into the
/// store.
const MAX_READ_ATTEMPTS: u32 = 16;
/// Bytes of a log that one read asks for.
const READ_BLOCK_BYTES: usize = 1 << 20;
/// The provider of a run whose description cannot be read.
const UNKNOWN_PROVIDER: &str = "unknown";

/// All runs of a data directory.
#[derive(Clone)]
pub struct History {
    pub runs: PathBuf,
    pub store: Store,
}

/// Why a run, or the list of runs, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("there is no run {0}; `run/list` lists all runs")]
    NotFound(RunId),
    #[error("cannot read the log in {}: {source}; run `loomd doctor` for details", dir.display())]
    Log { dir: PathBuf, source: io::Error },
    #[error("cannot read the log in {}: {source}; run `loomd doctor` for details", dir.display())]
    Line { dir: PathBuf, source: line::NotCanonical },
    #[error("cannot list {}: {source}", runs.display())]
    List { runs: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let message = error.to_string();
        match error {
            HistoryError::NotFound(id) => Self::run_not_found(id),
            HistoryError::Log { dir, .. } | HistoryError::Line { dir, .. } => Self::store(&dir, message),
            HistoryError::List { runs, .. } => Self::store(&runs, message),
            HistoryError::Store(error) => error.into(),
        }
    }
}

/// Moves forward over a run's entries, from the log and the store alike.
#[derive(Debug)]
pub struct ForwardReader {
    id: RunId,
    seq: u64,
    cursor: Option<LogCursor>,
    is_woken: bool,
    reads_pages: bool,
}

/// What a read of a [`ForwardReader`] or [`BackwardReader`] yielded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Lines were read. `at_end`: they are everything that was there.
    Lines { at_end: bool },
    /// There are no more lines, for now or for good.
    Nothing,
}

/// Where [`ForwardReader::step`] found the next entries: in the log, or in the store.
enum ReadStep<T> {
    Lines { at_end: bool },
    Sealed(T),
    Nothing,
}

/// Moves backward over a run's entries, from the log and the store alike.
#[derive(Debug)]
pub(crate) struct BackwardReader {
    id: RunId,
    before: u64,
    log: Option<seek::BackwardCursor>,
}

impl History {
    pub(crate) fn dir(&self, id: RunId) -> RunDir {
        RunDir::of(&self.runs, id)
    }

    /// The run as of its newest entry; `None` if there is no such run.
    pub(crate) fn run(&self, id: RunId) -> Result<Option<Run>, HistoryError> {
        let dir = self.dir(id);
        // Between this look into the log and the one into the store, the run may move from the log into the store,
        // never back.
        match head::snapshot(&dir) {
            Ok(run) if run.id != id => {
                Err(log_unreadable(&dir, io::Error::new(io::ErrorKind::InvalidData, format!("it is the log of run {}", run.id))))
            }
            Ok(mut run) => {
                if !run.state.is_final() && dir.adopting().exists() {
                    // An adopter is closing the run and has not written its final entry yet: no supervisor runs it any
                    // more.
                    (run.state, run.pid) = (RunState::Lost, None);
                }
                Ok(Some(run))
            }
            Err(error) if !dir.is_there() => {
                tracing::trace!(%error, run = %id, "not in a log");
                Ok(self.store.run(id)?.filter(|stored| stored.finished).map(|stored| stored.run))
            }
            Err(error) => Err(log_unreadable(&dir, error)),
        }
    }

    /// The runs that have a log, in no particular order.
    pub(crate) fn runs_in_logs(&self) -> Result<Vec<RunId>, HistoryError> {
        let runs = &self.runs;
        let names = std::fs::read_dir(runs).map_err(|source| HistoryError::List { runs: runs.clone(), source })?;
        Ok(names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// Stands for a run that cannot be read, where others are listed beside it: its error says why. What its description
    /// tells is there, if that can be read.
    pub(crate) fn unreadable_run(&self, id: RunId, error: &HistoryError) -> Run {
        let described = Description::read(&self.dir(id)).map(|description| description.run).ok().filter(|run| run.id == id);
        let mut run = described.unwrap_or_else(|| Run::new(id, UNKNOWN_PROVIDER, Vec::new(), "", id.created_at()));
        if run.display_title.is_empty() {
            run.display_title = "A run that cannot be read".to_owned();
        }
        (run.state, run.pid, run.permissions) = (RunState::Lost, None, Vec::new());
        run.error = Some(RunError { kind: "storage".to_owned(), message: error.to_string() });
        run
    }

    /// The run, or the failure `runNotFound`.
    pub(crate) fn known_run(&self, id: RunId) -> Result<Run, HistoryError> {
        self.run(id)?.ok_or(HistoryError::NotFound(id))
    }
}

impl ForwardReader {
    /// A reader whose next entry is the one after number `after`.
    pub fn new(id: RunId, after: u64) -> Self {
        Self { id, seq: after, cursor: None, is_woken: false, reads_pages: false }
    }

    /// A reader whose caller may leave a part of what was read, and read on from there with another reader.
    pub(crate) fn for_pages(id: RunId, after: u64) -> Self {
        Self { reads_pages: true, ..Self::new(id, after) }
    }

    /// Number of the last entry that was read.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// See [`LogCursor::set_woken`].
    pub(crate) fn set_woken(&mut self, is_woken: bool) {
        self.is_woken = is_woken;
    }

    /// Whether at least `enough` raw bytes of output follow in the segment that this reader has open.
    pub(crate) fn has_unread_output(&self, enough: u64) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.unread_bytes() >= enough && cursor.unread_output(enough) >= enough)
    }

    /// Whether this reader has a log open. Entries that are not sealed yet were written a moment ago and are in memory,
    /// so that reading them does not wait for a disk.
    pub(crate) fn is_in_log(&self) -> bool {
        self.cursor.is_some()
    }

    /// Appends whole lines to `out`: about `max` bytes, but at least one line if there is one.
    pub fn read(&mut self, history: &History, max: usize, out: &mut Vec<u8>) -> Result<ReadOutcome, HistoryError> {
        let (id, after) = (self.id, self.seq);
        let reads_pages = self.reads_pages;
        let stored = || match reads_pages {
            true => Ok(history.store.page_block_at(id, after + 1)?),
            false => Ok(history.store.block_at(id, after + 1)?.map(Arc::new)),
        };
        Ok(match self.step(history, max, out, stored)? {
            ReadStep::Lines { at_end } => ReadOutcome::Lines { at_end },
            ReadStep::Sealed(block) => {
                block.write_lines(after, out);
                self.seq = block.last_seq;
                ReadOutcome::Lines { at_end: false }
            }
            ReadStep::Nothing => ReadOutcome::Nothing,
        })
    }

    /// Calls `visit` with the output of the entries that follow: number, stream, offset, raw bytes. One call reads
    /// about `max` bytes of lines from a log, or one block from the store; a block may hold no output.
    pub(crate) fn read_output(
        &mut self,
        history: &History,
        max: usize,
        bodies: &mut PartCache,
        mut visit: impl FnMut(u64, Stream, u64, &[u8]),
    ) -> Result<ReadOutcome, HistoryError> {
        let (id, after) = (self.id, self.seq);
        let mut lines = Vec::new();
        match self.step(history, max, &mut lines, || Ok(history.store.output_after(id, after, bodies)?))? {
            ReadStep::Lines { at_end } => {
                line::lines(&lines).for_each(|line| visit_line(line, &mut visit));
                Ok(ReadOutcome::Lines { at_end })
            }
            ReadStep::Sealed((last, block)) => {
                for piece in block.iter().flat_map(Block::entries).filter(|piece| piece.seq() > after) {
                    match piece {
                        BlockEntry::Output { seq, stream, offset, raw, .. } => visit(seq, stream, offset, raw),
                        BlockEntry::Line { line, .. } => visit_line(line, &mut visit),
                    }
                }
                self.seq = last;
                Ok(ReadOutcome::Lines { at_end: false })
            }
            ReadStep::Nothing => Ok(ReadOutcome::Nothing),
        }
    }

    /// Reads the next lines of the log into `out`, or returns what `sealed` finds in the store.
    fn step<T>(
        &mut self,
        history: &History,
        max: usize,
        out: &mut Vec<u8>,
        mut sealed: impl FnMut() -> Result<Option<T>, HistoryError>,
    ) -> Result<ReadStep<T>, HistoryError> {
        let dir = history.dir(self.id);
        let failed = |error: io::Error| log_unreadable(&dir, error);
        for _ in 0..MAX_READ_ATTEMPTS {
            if let Some(cursor) = &mut self.cursor {
                cursor.set_woken(self.is_woken);
                match cursor.read(max, out).map_err(failed)? {
                    FollowRead::Lines { at_end } => {
                        self.seq = cursor.seq();
                        return Ok(ReadStep::Lines { at_end });
                    }
                    FollowRead::Tip => return Ok(ReadStep::Nothing),
                    FollowRead::Sealed => self.cursor = None,
                }
            }
            self.cursor = LogCursor::open(&dir, self.seq).map_err(failed)?;
            if self.cursor.is_some() {
                continue;
            }
            if let Some(stored) = sealed()? {
                return Ok(ReadStep::Sealed(stored));
            }
            if !dir.path().exists() {
                // The run was sealed to its end meanwhile, or there is no entry after this one.
                return Ok(sealed()?.map_or(ReadStep::Nothing, ReadStep::Sealed));
            }
        }
        Ok(ReadStep::Nothing)
    }
}

/// Calls `visit` with the output of a line. Lines of other kinds hold none.
fn visit_line(line: &[u8], visit: &mut impl FnMut(u64, Stream, u64, &[u8])) {
    let mut raw = Vec::new();
    match line::output(line).map(|output| (output, output.raw(&mut raw))) {
        Some((output, Ok(()))) => visit(output.seq, output.stream, output.offset, &raw),
        None if line::head(line).is_some_and(|head| head.kind != Kind::Output) => {}
        _ => {
            if let Ok(Entry::Output(output)) = line::parse(line) {
                visit(output.seq, output.stream, output.offset, &output.raw());
            }
        }
    }
}

impl BackwardReader {
    /// A reader whose next entry is the one before number `before`.
    pub(crate) fn new(id: RunId, before: u64) -> Self {
        Self { id, before, log: None }
    }

    /// Replaces `out` by the lines before this reader, ascending: about `max` bytes, but at least one line if there is
    /// one.
    pub(crate) fn read(&mut self, history: &History, max: usize, out: &mut Vec<u8>) -> Result<ReadOutcome, HistoryError> {
        out.clear();
        if self.before <= 1 {
            return Ok(ReadOutcome::Nothing);
        }
        let dir = history.dir(self.id);
        let failed = |error: io::Error| log_unreadable(&dir, error);
        for _ in 0..MAX_READ_ATTEMPTS {
            if self.log.is_none() {
                self.log = seek::BackwardCursor::open(&dir, self.before).map_err(failed)?;
            }
            if let Some(log) = &mut self.log {
                match log.read(max, out) {
                    Ok(BackwardRead::Lines) => {
                        let first = line::lines(out).next().unwrap_or_default();
                        self.before = crate::log::follow::seq_of(first).map_err(failed)?;
                        return Ok(ReadOutcome::Lines { at_end: self.before == 1 });
                    }
                    Ok(BackwardRead::Start) => return Ok(ReadOutcome::Nothing),
                    Ok(BackwardRead::Sealed { .. }) => self.log = None,
                    Err(error) => return Err(failed(error)),
                }
            }
            if let Some(block) = history.store.page_block_at(self.id, self.before - 1)? {
                let lines = block.lines();
                let end = lines
                    .split_inclusive(|byte| *byte == b'\n')
                    .take_while(|line| crate::log::follow::seq_of(line).is_ok_and(|seq| seq < self.before));
                out.extend(end.flatten());
                self.before = block.first_seq;
                return Ok(ReadOutcome::Lines { at_end: self.before == 1 });
            }
            if !dir.path().exists() {
                return Ok(ReadOutcome::Nothing);
            }
        }
        Ok(ReadOutcome::Nothing)
    }
}

fn log_unreadable(dir: &RunDir, source: io::Error) -> HistoryError {
    HistoryError::Log { dir: dir.path().to_owned(), source }
}
