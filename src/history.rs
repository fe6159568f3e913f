//! One way to read a run, wherever it is: in its log, in the store, or partly in both.
//!
//! The log is asked first. If a file is gone, it was sealed, and its entries are in the store, in a transaction begun
//! afterwards. A reader never sees a seam.

use std::{collections::VecDeque, io, path::PathBuf};

use crate::{
    log::{Cursor, Place, RunDir, head, seek, seek::Before},
    model::{Entry, Failure, Kind, Run, RunBytes, RunId, RunState, Stream, line},
    store::{Block, Bodies, Piece, Store},
};

/// How often a reader looks again when a log was sealed under its eyes.
const LOOKS: u32 = 16;
/// How much of a log is read at a time.
const BLOCK: usize = 1 << 20;

/// All runs of a data directory.
#[derive(Clone)]
pub struct History {
    pub runs: PathBuf,
    pub store: Store,
}

/// A reader that moves forward over a run's entries.
#[derive(Debug)]
pub struct Forward {
    id: RunId,
    seq: u64,
    cursor: Option<Cursor>,
}

/// What a forward read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Lines. `all`: everything that was there.
    Lines { all: bool },
    /// Nothing more, for now or for ever.
    Nothing,
}

/// Where the next entries were found: in the log, or in the store.
enum Step<T> {
    Lines { all: bool },
    Sealed(T),
    Nothing,
}

/// A reader that moves backward.
#[derive(Debug)]
pub struct Backwards {
    id: RunId,
    before: u64,
    log: Option<seek::Backward>,
}

/// A piece of a run's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub raw: Vec<u8>,
    pub offset: u64,
    pub total: u64,
}

impl History {
    pub fn dir(&self, id: RunId) -> RunDir {
        RunDir::of(&self.runs, id)
    }

    /// The run as of its newest entry; `None` if there is no such run.
    pub fn run(&self, id: RunId) -> Result<Option<Run>, Failure> {
        let dir = self.dir(id);
        // Between the two looks it may move from the log into the store, never back.
        match head::picture(&dir) {
            Ok(mut run) => {
                if !run.state.is_final() && dir.adopting().exists() {
                    // Its last entry is still to come: nobody runs it any more.
                    (run.state, run.pid) = (RunState::Lost, None);
                }
                Ok(Some(run))
            }
            Err(error) if !dir.path().exists() => {
                tracing::trace!(%error, run = %id, "not in a log");
                Ok(self.store.run(id)?.filter(|stored| stored.finished).map(|stored| stored.run))
            }
            Err(error) => Err(unreadable(&dir, &error)),
        }
    }

    /// The runs that have a log, in no order.
    pub fn in_logs(&self) -> Result<Vec<RunId>, Failure> {
        let runs = &self.runs;
        let names =
            std::fs::read_dir(runs).map_err(|error| Failure::store(runs, format!("{} cannot be listed: {error}", runs.display())))?;
        Ok(names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// The run, or the failure that says that there is none.
    pub fn known_run(&self, id: RunId) -> Result<Run, Failure> {
        self.run(id)?.ok_or_else(|| Failure::run_not_found(id))
    }

    /// Reads output by byte: of one stream, or of both in order of arrival. `offset` inside a character counts as its
    /// first byte; no character is cut at the end.
    pub fn text(&self, id: RunId, stream: Option<Stream>, offset: u64, max: usize) -> Result<Text, Failure> {
        let total = counted(self.known_run(id)?.bytes, stream);
        let offset = offset.min(total);
        let mut text = Text { raw: Vec::new(), offset, total };
        let Some(after) = self.entry_before_byte(id, stream, offset)? else { return Ok(text) };
        let mut reader = Forward::new(id, after);
        // Where the next entry of each stream begins is told by the entries themselves, but for the other stream's end.
        let mut ends = self.bytes_before(id, after)?;
        let mut lines = Vec::new();
        while text.raw.len() <= max {
            lines.clear();
            if reader.read(self, BLOCK, &mut lines)? == Found::Nothing {
                break;
            }
            for output in line::lines(&lines).filter_map(line::output) {
                let start = begin(&mut ends, output.stream, output.offset, stream);
                let length = output.raw_len();
                advance(&mut ends, output.stream, output.offset + length);
                if stream.is_some_and(|stream| stream != output.stream) || start + length <= text.offset || text.raw.len() > max {
                    continue;
                }
                let mut raw = Vec::new();
                output.raw(&mut raw).map_err(|error| Failure::store(self.dir(id).path(), error.to_string()))?;
                if start < text.offset {
                    let skip = crate::log::text::boundary(&raw, usize::try_from(text.offset - start).unwrap_or(usize::MAX));
                    raw.drain(..skip);
                    text.offset = start + skip as u64;
                }
                text.raw.extend_from_slice(&raw);
            }
        }
        // At least one character, however small the page.
        let end = crate::log::text::boundary(&text.raw, max.max(4));
        text.raw.truncate(end);
        Ok(text)
    }

    /// Reads the last lines, at most `max` bytes of them.
    pub fn last_lines(&self, id: RunId, stream: Option<Stream>, count: u64, max: usize) -> Result<Text, Failure> {
        let run = self.known_run(id)?;
        let total = counted(run.bytes, stream);
        let mut reader = Backwards::new(id, run.last_seq + 1);
        let mut pieces: VecDeque<Vec<u8>> = VecDeque::new();
        let (mut length, mut breaks) = (0, 0);
        let mut lines = Vec::new();
        // One break more than lines are wanted: the last line may have one of its own.
        while length <= max && breaks <= count && reader.read(self, BLOCK, &mut lines)? != Found::Nothing {
            for output in line::lines(&lines).filter_map(line::output).collect::<Vec<_>>().into_iter().rev() {
                if stream.is_some_and(|stream| stream != output.stream) || length > max || breaks > count {
                    continue;
                }
                let mut raw = Vec::new();
                output.raw(&mut raw).map_err(|error| Failure::store(self.dir(id).path(), error.to_string()))?;
                length += raw.len();
                breaks += memchr::memchr_iter(b'\n', &raw).count() as u64;
                pieces.push_front(raw);
            }
        }
        let raw = pieces.into_iter().flatten().collect::<Vec<u8>>();
        let mut start = start_of_last_lines(&raw, count);
        if raw.len() - start > max {
            let cut = raw.len() - max;
            start = (cut..raw.len().min(cut + 4)).find(|at| raw[*at] & 0b1100_0000 != 0b1000_0000).unwrap_or(cut);
        }
        let raw = raw[start..].to_vec();
        Ok(Text { offset: total - raw.len() as u64, raw, total })
    }

    /// The entry after which a reader must begin to meet a byte of output.
    fn entry_before_byte(&self, id: RunId, stream: Option<Stream>, offset: u64) -> Result<Option<u64>, Failure> {
        let dir = self.dir(id);
        for _ in 0..LOOKS {
            if let Some(found) = seek::entry_before_byte(&dir, stream, offset).map_err(|error| unreadable(&dir, &error))? {
                return Ok(Some(found));
            }
            if let Some(block) = self.store.block_at_offset(id, stream, offset)? {
                return Ok(Some(block.first_seq - 1));
            }
            if !dir.path().exists() {
                break;
            }
        }
        Ok(None)
    }

    /// Bytes of both streams up to an entry, found by reading the entries around it.
    fn bytes_before(&self, id: RunId, after: u64) -> Result<RunBytes, Failure> {
        let dir = self.dir(id);
        if let Some(bytes) = seek::bytes_before(&dir, after).map_err(|error| unreadable(&dir, &error))? {
            return Ok(bytes);
        }
        let block = self.store.lines_at(id, after + 1)?;
        Ok(block.map_or_else(RunBytes::default, |block| {
            let mut bytes = RunBytes { stdout: block.stdout_offset, stderr: block.stderr_offset };
            for output in line::lines(&block.lines()).filter_map(line::output).take_while(|output| output.seq <= after) {
                advance(&mut bytes, output.stream, output.offset + output.raw_len());
            }
            bytes
        }))
    }
}

impl Forward {
    /// A reader that stands after entry `after`.
    pub fn new(id: RunId, after: u64) -> Self {
        Self { id, seq: after, cursor: None }
    }

    /// Number of the last entry that was read.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether at least `enough` raw bytes of output wait behind it in its segment.
    pub fn waits_for(&self, enough: u64) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.waiting_bytes() >= enough && cursor.waiting_output(enough) >= enough)
    }

    /// Whether it stands in a log. What is not sealed yet was written a moment ago and is in memory, so that reading it
    /// does not wait for a disk.
    pub fn is_in_log(&self) -> bool {
        self.cursor.is_some()
    }

    /// Appends whole lines to `out`: about `max` bytes, one line at least where there is one.
    pub fn read(&mut self, history: &History, max: usize, out: &mut Vec<u8>) -> Result<Found, Failure> {
        let (id, after) = (self.id, self.seq);
        Ok(match self.step(history, max, out, || history.store.lines_at(id, after + 1))? {
            Step::Lines { all } => Found::Lines { all },
            Step::Sealed(block) => {
                block.write_lines(after, out);
                self.seq = block.last_seq;
                Found::Lines { all: false }
            }
            Step::Nothing => Found::Nothing,
        })
    }

    /// Shows `take` the output of the entries that follow: number, stream, offset, raw bytes. Of a log about `max` bytes of
    /// lines, of what is sealed a block; that may as well have none.
    pub fn read_output(
        &mut self,
        history: &History,
        max: usize,
        bodies: &mut Bodies,
        mut take: impl FnMut(u64, Stream, u64, &[u8]),
    ) -> Result<Found, Failure> {
        let (id, after) = (self.id, self.seq);
        let mut lines = Vec::new();
        match self.step(history, max, &mut lines, || history.store.output_after(id, after, bodies))? {
            Step::Lines { all } => {
                line::lines(&lines).for_each(|line| take_line(line, &mut take));
                Ok(Found::Lines { all })
            }
            Step::Sealed((last, block)) => {
                for piece in block.iter().flat_map(Block::pieces).filter(|piece| piece.seq() > after) {
                    match piece {
                        Piece::Output { seq, stream, offset, raw, .. } => take(seq, stream, offset, raw),
                        Piece::Line { line, .. } => take_line(line, &mut take),
                    }
                }
                self.seq = last;
                Ok(Found::Lines { all: false })
            }
            Step::Nothing => Ok(Found::Nothing),
        }
    }

    /// The next lines of the log, or what `sealed` finds in the store.
    fn step<T>(
        &mut self,
        history: &History,
        max: usize,
        out: &mut Vec<u8>,
        mut sealed: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<Step<T>, Failure> {
        let dir = history.dir(self.id);
        let failed = |error: io::Error| unreadable(&dir, &error);
        for _ in 0..LOOKS {
            if let Some(cursor) = &mut self.cursor {
                match cursor.read(max, out).map_err(failed)? {
                    Place::Lines { short } => {
                        self.seq = cursor.seq();
                        return Ok(Step::Lines { all: short });
                    }
                    Place::Tip => return Ok(Step::Nothing),
                    Place::Sealed => self.cursor = None,
                }
            }
            self.cursor = Cursor::open(&dir, self.seq).map_err(failed)?;
            if self.cursor.is_some() {
                continue;
            }
            if let Some(found) = sealed()? {
                return Ok(Step::Sealed(found));
            }
            if !dir.path().exists() {
                // Sealed wholly meanwhile, or there is nothing after this entry.
                return Ok(sealed()?.map_or(Step::Nothing, Step::Sealed));
            }
        }
        Ok(Step::Nothing)
    }
}

/// Shows what an output entry holds; other lines hold none.
fn take_line(line: &[u8], take: &mut impl FnMut(u64, Stream, u64, &[u8])) {
    let mut raw = Vec::new();
    match line::output(line).map(|output| (output, output.raw(&mut raw))) {
        Some((output, Ok(()))) => take(output.seq, output.stream, output.offset, &raw),
        None if line::head(line).is_some_and(|head| head.kind != Kind::Output) => {}
        _ => {
            if let Ok(Entry::Output(output)) = line::parse(line) {
                take(output.seq, output.stream, output.offset, &output.raw());
            }
        }
    }
}

impl Backwards {
    /// A reader that stands before entry `before`.
    pub fn new(id: RunId, before: u64) -> Self {
        Self { id, before, log: None }
    }

    /// Puts the lines before this reader into `out`, ascending: about `max` bytes, one line at least where there is one.
    pub fn read(&mut self, history: &History, max: usize, out: &mut Vec<u8>) -> Result<Found, Failure> {
        out.clear();
        if self.before <= 1 {
            return Ok(Found::Nothing);
        }
        let dir = history.dir(self.id);
        let failed = |error: io::Error| unreadable(&dir, &error);
        for _ in 0..LOOKS {
            if self.log.is_none() {
                self.log = seek::Backward::open(&dir, self.before).map_err(failed)?;
            }
            if let Some(log) = &mut self.log {
                match log.read(max, out) {
                    Ok(Before::Lines) => {
                        let first = line::lines(out).next().unwrap_or_default();
                        self.before = crate::log::follow::seq_of(first).map_err(failed)?;
                        return Ok(Found::Lines { all: self.before == 1 });
                    }
                    Ok(Before::Start) => return Ok(Found::Nothing),
                    Ok(Before::Sealed { .. }) => self.log = None,
                    Err(error) => return Err(failed(error)),
                }
            }
            if let Some(block) = history.store.lines_at(self.id, self.before - 1)? {
                let lines = block.lines();
                let end = lines
                    .split_inclusive(|byte| *byte == b'\n')
                    .take_while(|line| crate::log::follow::seq_of(line).is_ok_and(|seq| seq < self.before));
                out.extend(end.flatten());
                self.before = block.first_seq;
                return Ok(Found::Lines { all: self.before == 1 });
            }
            if !dir.path().exists() {
                return Ok(Found::Nothing);
            }
        }
        Ok(Found::Nothing)
    }
}

/// Bytes of one stream, or of both together.
pub fn counted(bytes: RunBytes, stream: Option<Stream>) -> u64 {
    match stream {
        Some(Stream::Stdout) => bytes.stdout,
        Some(Stream::Stderr) => bytes.stderr,
        None => bytes.total(),
    }
}

fn begin(ends: &mut RunBytes, of: Stream, offset: u64, counted_stream: Option<Stream>) -> u64 {
    if counted_stream.is_some() {
        return offset;
    }
    match of {
        Stream::Stdout => offset + ends.stderr,
        Stream::Stderr => offset + ends.stdout,
    }
}

fn advance(ends: &mut RunBytes, stream: Stream, end: u64) {
    match stream {
        Stream::Stdout => ends.stdout = end,
        Stream::Stderr => ends.stderr = end,
    }
}

fn start_of_last_lines(raw: &[u8], count: u64) -> usize {
    if count == 0 {
        return raw.len();
    }
    let body = raw.strip_suffix(b"\n").unwrap_or(raw);
    let nth = usize::try_from(count - 1).unwrap_or(usize::MAX);
    memchr::memrchr_iter(b'\n', body).nth(nth).map_or(0, |at| at + 1)
}

fn unreadable(dir: &RunDir, error: &io::Error) -> Failure {
    Failure::store(dir.path(), format!("the log in {} cannot be read: {error}; `loomd doctor` says more", dir.path().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_count_an_unfinished_one() {
        let of = |text: &'static str, count| &text[start_of_last_lines(text.as_bytes(), count)..];
        assert_eq!(of("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(of("a\nb\nc", 2), "b\nc");
        assert_eq!(of("a\nb\n\n", 1), "\n");
        assert_eq!(of("a", 5), "a");
        assert_eq!(of("a\n", 0), "");
    }
}
