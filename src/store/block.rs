//! A block: successive entries of one run, as they are stored in rows.
//!
//! Its body is the payloads, one after the other, and then the numbering. An output line in canonical form is stored as
//! the program's raw bytes and a few bytes of numbering, from which `model::line::write_output` makes the line again;
//! every other line is stored as it is. So each line comes back byte for byte, and the search reads what the program
//! wrote. Held by `any_lines_come_back`.

use super::{
    error::StoreErrorKind,
    extract::{self, Reference, escaped_len},
    row::{BlockHead, HAS_REFERENCES, read_number, write_number},
    unpack::return_spare,
};
use crate::model::{Entry, RunId, Stream, UnixMs, line};

/// Capacity that a [`BlockBuilder`] keeps for the next block in each of its large buffers.
const MAX_IDLE_BUFFER_BYTES: usize = 1 << 20;

/// How an entry is stored: the first byte of its numbering.
mod form {
    /// The line itself, without its line feed.
    pub(crate) const LINE: u8 = 0;
    /// Raw bytes of stdout that follow what the stream had so far.
    pub(crate) const STDOUT: u8 = 1;
    /// Raw bytes of stderr that follow what the stream had so far.
    pub(crate) const STDERR: u8 = 2;
    /// Raw bytes of stdout at an offset that the numbering names.
    pub(crate) const STDOUT_AT: u8 = 3;
    /// Raw bytes of stderr at an offset that the numbering names.
    pub(crate) const STDERR_AT: u8 = 4;
}

/// Makes blocks of lines.
pub(super) struct BlockBuilder {
    run: RunId,
    run_text: String,
    head: BlockHead,
    /// Where each stream ends after the lines pushed so far.
    ends: [u64; 2],
    /// Where a reader of the numbering takes each stream to end. A line that is stored as it is does not move that.
    implied_ends: [u64; 2],
    at: UnixMs,
    payload: Vec<u8>,
    numbering: Vec<u8>,
    /// What is left of the payload when texts have been taken out of it.
    remaining_payload: Vec<u8>,
    ends_with_output: bool,
}

impl BlockBuilder {
    /// A builder for the block after entry `sealed`, with the streams at `ends` (stdout, stderr).
    pub(super) fn new(run: RunId, sealed: u64, ends: [u64; 2]) -> Self {
        let mut builder = Self {
            run,
            run_text: run.to_string(),
            head: BlockHead { last_seq: sealed, ..BlockHead::default() },
            ends,
            implied_ends: ends,
            at: 0,
            payload: Vec::new(),
            numbering: Vec::new(),
            remaining_payload: Vec::new(),
            ends_with_output: false,
        };
        builder.clear();
        builder
    }

    /// Number of the last entry that was pushed.
    pub(super) fn last_seq(&self) -> u64 {
        self.head.last_seq
    }

    /// Where stdout and stderr end after the lines pushed so far.
    pub(super) fn ends(&self) -> [u64; 2] {
        self.ends
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbering.is_empty()
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.payload.len() + self.numbering.len()
    }

    /// Adds the next entry, a line without its line feed.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<(), StoreErrorKind> {
        let before = self.payload.len();
        if let Some(output) = line::output(line)
            && self.run_text.as_bytes() == &line[26..62]
            && output.raw(&mut self.payload).is_ok()
            && is_canonical(&output, &self.payload[before..])
        {
            let bytes = (self.payload.len() - before) as u64;
            self.number_output(output.stream, output.at, output.offset, bytes);
            self.ends_with_output = true;
        } else {
            self.payload.truncate(before);
            self.push_verbatim(line)?;
            self.ends_with_output = false;
        }
        self.head.last_seq += 1;
        Ok(())
    }

    fn number_output(&mut self, stream: Stream, at: UnixMs, offset: u64, bytes: u64) {
        let which = stream as usize;
        let follows = offset == self.implied_ends[which];
        self.numbering.push(match (stream, follows) {
            (Stream::Stdout, true) => form::STDOUT,
            (Stream::Stderr, true) => form::STDERR,
            (Stream::Stdout, false) => form::STDOUT_AT,
            (Stream::Stderr, false) => form::STDERR_AT,
        });
        let delta = at.wrapping_sub(self.at) as i64;
        write_number(&mut self.numbering, ((delta << 1) ^ (delta >> 63)) as u64);
        self.at = at;
        if !follows {
            write_number(&mut self.numbering, offset);
        }
        write_number(&mut self.numbering, bytes);
        let end = offset.saturating_add(bytes);
        self.implied_ends[which] = end;
        self.ends[which] = end;
    }

    fn push_verbatim(&mut self, line: &[u8]) -> Result<(), StoreErrorKind> {
        let not_an_entry = || StoreErrorKind::NotAnEntry { run: self.run, sealed: self.head.last_seq };
        let is_output = line::head(line).is_none_or(|head| head.kind == crate::model::Kind::Output);
        if is_output && let Entry::Output(output) = line::parse(line).map_err(|_| not_an_entry())? {
            self.ends[output.stream as usize] = output.offset.saturating_add(output.raw_len());
        }
        self.numbering.push(form::LINE);
        write_number(&mut self.numbering, line.len() as u64);
        self.payload.extend_from_slice(line);
        Ok(())
    }

    /// Whether a long text may go on in the next entry, so that the block should not end here.
    pub(super) fn ends_in_a_long_line(&self) -> bool {
        self.ends_with_output && extract::ends_in_a_long_line(&self.payload)
    }

    /// Gives head, flags and body of the block to `emit` and begins the next one. `keep_text` stores a long text,
    /// returns its hash.
    pub(super) fn finish(
        &mut self,
        keep_text: impl FnMut(&[u8]) -> Result<[u8; 32], StoreErrorKind>,
        emit: impl FnOnce(&BlockHead, u16, &[u8]) -> Result<(), StoreErrorKind>,
    ) -> Result<(), StoreErrorKind> {
        let references = extract::extract(&self.payload, &mut self.remaining_payload, keep_text)?;
        let flags = if references.is_empty() { 0 } else { HAS_REFERENCES };
        if flags != 0 {
            std::mem::swap(&mut self.payload, &mut self.remaining_payload);
        }
        self.head.payload_bytes = self.payload.len() as u64;
        self.payload.append(&mut self.numbering);
        if flags != 0 {
            extract::write_references(&references, &mut self.payload);
        }
        self.head.body_bytes = self.payload.len() as u64;
        self.head.stdout_bytes = self.ends[0].saturating_sub(self.head.stdout_offset);
        self.head.stderr_bytes = self.ends[1].saturating_sub(self.head.stderr_offset);
        emit(&self.head, flags, &self.payload)?;
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.payload.clear();
        // The memory of one huge entry must not be held until the sealing ends.
        self.payload.shrink_to(MAX_IDLE_BUFFER_BYTES);
        self.remaining_payload.clear();
        self.remaining_payload.shrink_to(MAX_IDLE_BUFFER_BYTES);
        self.numbering.clear();
        self.at = 0;
        self.implied_ends = self.ends;
        self.head.first_seq = self.head.last_seq + 1;
        [self.head.stdout_offset, self.head.stderr_offset] = self.ends;
    }
}

/// Whether `model::line::write_output` would write these bytes as this line. `OutputLine::raw` has undone the line's
/// escapes; what it does not check is that the text is UTF-8, and that every byte is escaped that the writer escapes. A
/// byte that is not escaped makes the text shorter than it would be written, and nothing makes it longer, so comparing
/// the lengths is enough.
fn is_canonical(output: &line::OutputLine<'_>, raw: &[u8]) -> bool {
    match output.data {
        None => escaped_len(raw) == output.text.len() && simdutf8::basic::from_utf8(raw).is_ok(),
        // The raw bytes are those of `data` and not of the text; making the text from them again would double the cost.
        Some(_) => is_fully_escaped(output.text),
    }
}

fn is_fully_escaped(text: &[u8]) -> bool {
    let is_bare = |quote: usize| text[..quote].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    text.iter().all(|byte| *byte >= 0x20) && !memchr::memchr_iter(b'"', text).any(is_bare)
}

/// The entries of one block, decoded.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    run: RunId,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Raw bytes of stdout before the block.
    pub(crate) stdout_offset: u64,
    /// Raw bytes of stderr before the block.
    pub(crate) stderr_offset: u64,
    body: Vec<u8>,
    payload_bytes: usize,
}

/// One entry of a [`Block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockEntry<'a> {
    /// An output entry, as the bytes that the program wrote.
    Output { seq: u64, at: UnixMs, stream: Stream, offset: u64, raw: &'a [u8] },
    /// Any other entry, as its line without the line feed. An output entry that was not in the canonical form is one of
    /// these.
    Line { seq: u64, line: &'a [u8] },
}

impl Block {
    /// The block of a body from which texts were taken out; `text` returns each of them, decoded.
    pub(super) fn with_texts(
        run: RunId,
        head: &BlockHead,
        body: &[u8],
        text: impl FnMut(&Reference) -> Result<Vec<u8>, StoreErrorKind>,
    ) -> Result<Self, StoreErrorKind> {
        let (body, references) = extract::split_references(body)?;
        let payload_bytes = usize::try_from(head.payload_bytes).unwrap_or(usize::MAX);
        let (payload, numbering) =
            body.split_at_checked(payload_bytes).ok_or_else(|| StoreErrorKind::damaged("a block is shorter than its payload"))?;
        let mut body = extract::put_back(payload, &references, text)?;
        let head = BlockHead { payload_bytes: body.len() as u64, ..*head };
        body.extend_from_slice(numbering);
        Self::new(run, &head, body)
    }

    /// The block of a whole body. Fails unless the numbering accounts for every byte and every entry.
    pub(super) fn new(run: RunId, head: &BlockHead, body: Vec<u8>) -> Result<Self, StoreErrorKind> {
        let contradicts =
            || StoreErrorKind::damaged(format!("the entries of run {run} are not numbered in order after entry {}", head.first_seq));
        let payload_bytes = usize::try_from(head.payload_bytes).ok().filter(|bytes| *bytes <= body.len()).ok_or_else(contradicts)?;
        let block = Self {
            run,
            first_seq: head.first_seq,
            last_seq: head.last_seq,
            stdout_offset: head.stdout_offset,
            stderr_offset: head.stderr_offset,
            body,
            payload_bytes,
        };
        let mut entries = block.entries();
        let count = entries.by_ref().count() as u64;
        let whole = entries.numbering.is_empty() && entries.payload.is_empty();
        if !whole || head.last_seq.checked_sub(head.first_seq).and_then(|more| more.checked_add(1)) != Some(count) {
            return Err(contradicts());
        }
        Ok(block)
    }

    /// Whether this is the block of a run that has this head.
    pub(super) fn is_of(&self, run: RunId, head: &BlockHead) -> bool {
        (self.run, self.first_seq, self.last_seq) == (run, head.first_seq, head.last_seq)
    }

    /// The bytes that it holds.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The entries in order. Output entries come as the program's raw bytes; no lines are made of them.
    pub(crate) fn entries(&self) -> BlockEntries<'_> {
        let (payload, numbering) = self.body.split_at(self.payload_bytes);
        BlockEntries { seq: self.first_seq, at: 0, ends: [self.stdout_offset, self.stderr_offset], payload, numbering }
    }

    /// The entries as lines, each with its line feed: the bytes that were sealed.
    pub(crate) fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.body.len() + self.body.len() / 2);
        self.write_lines(0, &mut lines);
        lines
    }

    /// Appends the lines of the entries after `after_seq`.
    pub(crate) fn write_lines(&self, after_seq: u64, lines: &mut Vec<u8>) {
        for entry in self.entries().filter(|entry| entry.seq() > after_seq) {
            entry.write_line(self.run, lines);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        return_spare(std::mem::take(&mut self.body));
    }
}

impl BlockEntry<'_> {
    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Output { seq, .. } | Self::Line { seq, .. } => *seq,
        }
    }

    /// Appends the entry as a line, with its line feed.
    pub(crate) fn write_line(&self, run: RunId, lines: &mut Vec<u8>) {
        match *self {
            Self::Output { seq, at, stream, offset, raw } => line::write_output(lines, run, seq, at, stream, offset, raw),
            Self::Line { line, .. } => {
                lines.extend_from_slice(line);
                lines.push(b'\n');
            }
        }
    }
}

/// Iterator over the entries of a block.
pub(crate) struct BlockEntries<'a> {
    seq: u64,
    at: UnixMs,
    ends: [u64; 2],
    payload: &'a [u8],
    numbering: &'a [u8],
}

impl<'a> Iterator for BlockEntries<'a> {
    type Item = BlockEntry<'a>;

    /// Ends early where the numbering is wrong; [`Block::new`] refuses such a block.
    fn next(&mut self) -> Option<BlockEntry<'a>> {
        let (form, rest) = self.numbering.split_first()?;
        let mut rest = rest;
        let seq = self.seq;
        if *form == form::LINE {
            let bytes = usize::try_from(read_number(&mut rest)?).ok()?;
            let (line, payload) = self.payload.split_at_checked(bytes)?;
            (self.numbering, self.payload, self.seq) = (rest, payload, seq + 1);
            return Some(BlockEntry::Line { seq, line });
        }
        let (stream, follows) = match *form {
            form::STDOUT => (Stream::Stdout, true),
            form::STDERR => (Stream::Stderr, true),
            form::STDOUT_AT => (Stream::Stdout, false),
            form::STDERR_AT => (Stream::Stderr, false),
            _ => return None,
        };
        let zigzag = read_number(&mut rest)?;
        let at = self.at.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg());
        let offset = if follows { self.ends[stream as usize] } else { read_number(&mut rest)? };
        let bytes = read_number(&mut rest)?;
        let (raw, payload) = self.payload.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.ends[stream as usize] = offset.checked_add(bytes)?;
        (self.numbering, self.payload, self.seq, self.at) = (rest, payload, seq + 1, at);
        Some(BlockEntry::Output { seq, at, stream, offset, raw })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_characters_are_not_as_written() {
        let id = RunId::new();
        for raw in [&b"a\nb\x1b\"\\\x07\x00"[..], b"plain", b"", b"\xffbad\"\n\x01", &[b'"'; 200], &[1; 200]] {
            let mut whole = Vec::new();
            line::write_output(&mut whole, id, 1, 1, Stream::Stdout, 0, raw);
            let output = line::output(&whole[..whole.len() - 1]).expect("canonical");
            assert!(is_canonical(&output, raw), "{raw:?}");
            for bare in [&b"\""[..], b"\n", b"\x01"] {
                let text = [output.text, bare].concat();
                let raw = [raw, bare].concat();
                assert!(!is_canonical(&line::OutputLine { text: &text, ..output }, &raw), "{raw:?}");
            }
        }
    }
}
