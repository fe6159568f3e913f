//! Reads a run's output by byte and by line, which is what `run/text` answers with.

use std::collections::VecDeque;

use super::{BackwardReader, ForwardReader, History, HistoryError, MAX_READ_ATTEMPTS, READ_BLOCK_BYTES, ReadOutcome, log_unreadable};
use crate::{
    log::{seek, text::char_boundary},
    model::{RunBytes, RunId, Stream, line},
    store::BlockEntry,
};

/// A piece of a run's output: `raw` are its bytes, `offset` is the position of the first one, `total` the number of
/// bytes that the run has written so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputText {
    pub raw: Vec<u8>,
    pub offset: u64,
    pub total: u64,
}

impl History {
    /// Reads at most about `max` bytes of output from byte `offset` on: of one stream, or of both in order of arrival.
    /// An `offset` inside a character counts as the character's first byte, and no character is cut at the end.
    pub fn text(&self, id: RunId, stream: Option<Stream>, offset: u64, max: usize) -> Result<OutputText, HistoryError> {
        let total = byte_count(self.known_run(id)?.bytes, stream);
        let offset = offset.min(total);
        let mut text = OutputText { raw: Vec::new(), offset, total };
        let Some(after) = self.entry_before_byte(id, stream, offset)? else { return Ok(text) };
        let mut reader = ForwardReader::for_pages(id, after);
        // An entry tells the offset within its own stream only, so `stream_ends` follows where both streams are.
        let mut stream_ends = self.bytes_before(id, after)?;
        let mut lines = Vec::new();
        while text.raw.len() <= max {
            lines.clear();
            if reader.read(self, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
                break;
            }
            for output in line::lines(&lines).filter_map(line::output) {
                let start = entry_start(&mut stream_ends, output.stream, output.offset, stream);
                let length = output.raw_len();
                set_stream_end(&mut stream_ends, output.stream, output.offset + length);
                if stream.is_some_and(|stream| stream != output.stream) || start + length <= text.offset || text.raw.len() > max {
                    continue;
                }
                let mut raw = Vec::new();
                output.raw(&mut raw).map_err(|source| HistoryError::Line { dir: self.dir(id).path().to_owned(), source })?;
                if start < text.offset {
                    let skip = char_boundary(&raw, usize::try_from(text.offset - start).unwrap_or(usize::MAX));
                    raw.drain(..skip);
                    text.offset = start + skip as u64;
                }
                text.raw.extend_from_slice(&raw);
            }
        }
        // A character has at most four bytes, so even the smallest `max` yields one.
        let end = char_boundary(&text.raw, max.max(4));
        text.raw.truncate(end);
        Ok(text)
    }

    /// Reads the last `count` lines, at most `max` bytes of them.
    pub fn last_lines(&self, id: RunId, stream: Option<Stream>, count: u64, max: usize) -> Result<OutputText, HistoryError> {
        let run = self.known_run(id)?;
        let total = byte_count(run.bytes, stream);
        let mut reader = BackwardReader::new(id, run.last_seq + 1);
        let mut pieces: VecDeque<Vec<u8>> = VecDeque::new();
        let (mut length, mut line_feeds) = (0, 0);
        let mut lines = Vec::new();
        // The last line may end with a line feed of its own, so one more than `count` is needed.
        while length <= max && line_feeds <= count && reader.read(self, READ_BLOCK_BYTES, &mut lines)? != ReadOutcome::Nothing {
            for output in line::lines(&lines).filter_map(line::output).collect::<Vec<_>>().into_iter().rev() {
                if stream.is_some_and(|stream| stream != output.stream) || length > max || line_feeds > count {
                    continue;
                }
                let mut raw = Vec::new();
                output.raw(&mut raw).map_err(|source| HistoryError::Line { dir: self.dir(id).path().to_owned(), source })?;
                length += raw.len();
                line_feeds += memchr::memchr_iter(b'\n', &raw).count() as u64;
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
        Ok(OutputText { offset: total - raw.len() as u64, raw, total })
    }

    /// The entry after which a reader must begin, so that its first output holds byte `offset`. `None`: the run has no
    /// such byte.
    fn entry_before_byte(&self, id: RunId, stream: Option<Stream>, offset: u64) -> Result<Option<u64>, HistoryError> {
        let dir = self.dir(id);
        for _ in 0..MAX_READ_ATTEMPTS {
            if let Some(after) = seek::entry_before_byte(&dir, stream, offset).map_err(|error| log_unreadable(&dir, error))? {
                return Ok(Some(after));
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

    /// Bytes of both streams up to and including entry `after`, counted over the entries around it.
    fn bytes_before(&self, id: RunId, after: u64) -> Result<RunBytes, HistoryError> {
        let dir = self.dir(id);
        if let Some(bytes) = seek::bytes_before(&dir, after).map_err(|error| log_unreadable(&dir, error))? {
            return Ok(bytes);
        }
        let block = self.store.page_block_at(id, after + 1)?;
        Ok(block.map_or_else(RunBytes::default, |block| {
            let mut bytes = RunBytes { stdout: block.stdout_offset, stderr: block.stderr_offset };
            for entry in block.entries().take_while(|entry| entry.seq() <= after) {
                match entry {
                    BlockEntry::Output { stream, offset, raw, .. } => set_stream_end(&mut bytes, stream, offset + raw.len() as u64),
                    BlockEntry::Line { line, .. } => {
                        line::output(line)
                            .into_iter()
                            .for_each(|output| set_stream_end(&mut bytes, output.stream, output.offset + output.raw_len()));
                    }
                }
            }
            bytes
        }))
    }
}

/// The bytes of one stream, or of both together.
pub(crate) fn byte_count(bytes: RunBytes, stream: Option<Stream>) -> u64 {
    match stream {
        Some(Stream::Stdout) => bytes.stdout,
        Some(Stream::Stderr) => bytes.stderr,
        None => bytes.total(),
    }
}

/// Where an entry begins in the text that is read: its offset within its stream, or the position among both streams in
/// order of arrival.
fn entry_start(stream_ends: &mut RunBytes, of: Stream, offset: u64, counted_stream: Option<Stream>) -> u64 {
    if counted_stream.is_some() {
        return offset;
    }
    match of {
        Stream::Stdout => offset + stream_ends.stderr,
        Stream::Stderr => offset + stream_ends.stdout,
    }
}

fn set_stream_end(stream_ends: &mut RunBytes, stream: Stream, end: u64) {
    match stream {
        Stream::Stdout => stream_ends.stdout = end,
        Stream::Stderr => stream_ends.stderr = end,
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
