//! A block: successive entries of one run, as they are kept in rows.
//!
//! Its body is the payloads, one after the other, and then the numbering. An output line in canonical form is kept as the
//! program's raw bytes and a few bytes of numbering, from which `model::line::write_output` makes the line again; every
//! other line is kept as it is. So each line comes back byte for byte, and the search reads what the program wrote.
//! Held by `any_lines_come_back`.

use super::{
    block_head::BlockHead,
    escape::escaped_len,
    extract::{self, Reference},
    pack::REFERS,
    spare,
    trouble::Trouble,
};
use crate::model::{Entry, RunId, Stream, UnixMs, line};

/// How an entry is kept: the first byte of its numbering.
mod form {
    /// The line itself, without its line feed.
    pub const LINE: u8 = 0;
    /// Raw bytes that follow what the stream had so far.
    pub const STDOUT: u8 = 1;
    pub const STDERR: u8 = 2;
    /// Raw bytes at an offset that the numbering names.
    pub const STDOUT_AT: u8 = 3;
    pub const STDERR_AT: u8 = 4;
}

/// Takes lines and makes a block of them.
pub(super) struct Gatherer {
    run: RunId,
    run_text: String,
    head: BlockHead,
    /// Where each stream ends, by what was gathered.
    ends: [u64; 2],
    /// Where a reader of the numbering believes that it ends: a line kept as it is does not move that.
    implied: [u64; 2],
    at: UnixMs,
    payload: Vec<u8>,
    numbering: Vec<u8>,
    /// What is left of a payload from which texts were taken out.
    rest: Vec<u8>,
    ends_with_output: bool,
}

impl Gatherer {
    /// Begins after entry `sealed`, with the streams at `ends` (stdout, stderr).
    pub(super) fn new(run: RunId, sealed: u64, ends: [u64; 2]) -> Self {
        let mut gatherer = Self {
            run,
            run_text: run.to_string(),
            head: BlockHead { last_seq: sealed, ..BlockHead::default() },
            ends,
            implied: ends,
            at: 0,
            payload: Vec::new(),
            numbering: Vec::new(),
            rest: Vec::new(),
            ends_with_output: false,
        };
        gatherer.clear();
        gatherer
    }

    /// Number of the last entry taken.
    pub(super) fn last_seq(&self) -> u64 {
        self.head.last_seq
    }

    /// Where stdout and stderr end now.
    pub(super) fn ends(&self) -> [u64; 2] {
        self.ends
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbering.is_empty()
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.payload.len() + self.numbering.len()
    }

    /// Takes the entry that follows, a line without its line feed.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<(), Trouble> {
        let before = self.payload.len();
        if let Some(output) = line::output(line)
            && self.run_text.as_bytes() == &line[26..62]
            && output.raw(&mut self.payload).is_ok()
            && is_as_written(&output, &self.payload[before..])
        {
            let bytes = (self.payload.len() - before) as u64;
            self.number_output(output.stream, output.at, output.offset, bytes);
            self.ends_with_output = true;
        } else {
            self.payload.truncate(before);
            self.push_as_it_is(line)?;
            self.ends_with_output = false;
        }
        self.head.last_seq += 1;
        Ok(())
    }

    fn number_output(&mut self, stream: Stream, at: UnixMs, offset: u64, bytes: u64) {
        let which = stream as usize;
        let follows = offset == self.implied[which];
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
        self.implied[which] = end;
        self.ends[which] = end;
    }

    fn push_as_it_is(&mut self, line: &[u8]) -> Result<(), Trouble> {
        let not_an_entry = || Trouble::NotAnEntry { run: self.run, sealed: self.head.last_seq };
        let is_output = line::head(line).is_none_or(|head| head.kind == crate::model::Kind::Output);
        if is_output && let Entry::Output(output) = line::parse(line).map_err(|_| not_an_entry())? {
            self.ends[output.stream as usize] = output.offset.saturating_add(output.raw_len());
        }
        self.numbering.push(form::LINE);
        write_number(&mut self.numbering, line.len() as u64);
        self.payload.extend_from_slice(line);
        Ok(())
    }

    /// Whether the block should not end here: a long text may go on in the next entry.
    pub(super) fn ends_in_a_long_line(&self) -> bool {
        self.ends_with_output && extract::ends_in_a_long_line(&self.payload)
    }

    /// Hands over what was gathered, head, flags and body, and begins the next block. Long texts go to `keep`.
    pub(super) fn finish(
        &mut self,
        keep: impl FnMut(&[u8]) -> Result<[u8; 32], Trouble>,
        take: impl FnOnce(&BlockHead, u16, &[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let references = extract::extract(&self.payload, &mut self.rest, keep)?;
        let flags = if references.is_empty() { 0 } else { REFERS };
        if flags != 0 {
            std::mem::swap(&mut self.payload, &mut self.rest);
        }
        self.head.payload_bytes = self.payload.len() as u64;
        self.payload.append(&mut self.numbering);
        if flags != 0 {
            extract::write_references(&references, &mut self.payload);
        }
        self.head.body_bytes = self.payload.len() as u64;
        self.head.stdout_bytes = self.ends[0].saturating_sub(self.head.stdout_offset);
        self.head.stderr_bytes = self.ends[1].saturating_sub(self.head.stderr_offset);
        take(&self.head, flags, &self.payload)?;
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.payload.clear();
        // One huge entry must not be paid for as long as the sealing goes on.
        self.payload.shrink_to(1 << 20);
        self.rest.clear();
        self.rest.shrink_to(1 << 20);
        self.numbering.clear();
        self.at = 0;
        self.implied = self.ends;
        self.head.first_seq = self.head.last_seq + 1;
        [self.head.stdout_offset, self.head.stderr_offset] = self.ends;
    }
}

/// Whether the one writer would write these bytes as this line, as far as undoing the line's escapes does not tell: the
/// text is UTF-8, and nothing stands bare in it that the writer escapes. What stands bare makes a text shorter than it
/// would be written, and nothing makes it longer, so its length tells.
fn is_as_written(output: &line::OutputLine<'_>, raw: &[u8]) -> bool {
    match output.data {
        None => escaped_len(raw) == output.text.len() && simdutf8::basic::from_utf8(raw).is_ok(),
        // Here the raw bytes are not the text, and making the text of them once more would cost as much as all the rest.
        Some(_) => nothing_stands_bare(output.text),
    }
}

fn nothing_stands_bare(text: &[u8]) -> bool {
    let bare = |quote: usize| text[..quote].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    text.iter().all(|byte| *byte >= 0x20) && !memchr::memchr_iter(b'"', text).any(bare)
}

/// Sealed entries, decoded: those of one block.
#[derive(Clone, Debug)]
pub struct Block {
    run: RunId,
    pub first_seq: u64,
    pub last_seq: u64,
    /// Raw bytes of stdout before the block.
    pub stdout_offset: u64,
    /// Raw bytes of stderr before the block.
    pub stderr_offset: u64,
    body: Vec<u8>,
    payload_bytes: usize,
}

/// One entry of a [`Block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What the program wrote.
    Output { seq: u64, at: UnixMs, stream: Stream, offset: u64, raw: &'a [u8] },
    /// Any other entry, as its line without the line feed. An output entry that was not in the canonical form is one too.
    Line { seq: u64, line: &'a [u8] },
}

impl Block {
    /// Of a body from which texts were taken out; `text` gives them back.
    pub(super) fn with_texts(
        run: RunId,
        head: &BlockHead,
        body: &[u8],
        text: impl FnMut(&Reference) -> Result<Vec<u8>, Trouble>,
    ) -> Result<Self, Trouble> {
        let (body, references) = extract::split_references(body)?;
        let payload_bytes = usize::try_from(head.payload_bytes).unwrap_or(usize::MAX);
        let cut = body.split_at_checked(payload_bytes).ok_or_else(|| Trouble::damaged("a block is shorter than its payload"))?;
        let mut whole = extract::put_back(cut.0, &references, text)?;
        let head = BlockHead { payload_bytes: whole.len() as u64, ..*head };
        whole.extend_from_slice(cut.1);
        Self::new(run, &head, whole)
    }

    pub(super) fn new(run: RunId, head: &BlockHead, body: Vec<u8>) -> Result<Self, Trouble> {
        let contradicts = || Trouble::damaged(format!("the numbering of run {run} after entry {} does not hold", head.first_seq));
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
        let mut pieces = block.pieces();
        let count = pieces.by_ref().count() as u64;
        let whole = pieces.numbering.is_empty() && pieces.payload.is_empty();
        if !whole || head.last_seq.checked_sub(head.first_seq).and_then(|more| more.checked_add(1)) != Some(count) {
            return Err(contradicts());
        }
        Ok(block)
    }

    /// The entries in order; output as the program's raw bytes, without making lines of them.
    pub fn pieces(&self) -> Pieces<'_> {
        let (payload, numbering) = self.body.split_at(self.payload_bytes);
        Pieces { seq: self.first_seq, at: 0, ends: [self.stdout_offset, self.stderr_offset], payload, numbering }
    }

    /// The entries as lines, each with its line feed: the bytes that were sealed.
    pub fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.body.len() + self.body.len() / 2);
        self.write_lines(0, &mut lines);
        lines
    }

    /// Appends the lines of the entries after `after_seq`.
    pub fn write_lines(&self, after_seq: u64, lines: &mut Vec<u8>) {
        for piece in self.pieces().filter(|piece| piece.seq() > after_seq) {
            piece.write_line(self.run, lines);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.body));
    }
}

impl Piece<'_> {
    pub fn seq(&self) -> u64 {
        match self {
            Self::Output { seq, .. } | Self::Line { seq, .. } => *seq,
        }
    }

    /// Appends the entry as a line, with its line feed.
    pub fn write_line(&self, run: RunId, lines: &mut Vec<u8>) {
        match *self {
            Self::Output { seq, at, stream, offset, raw } => line::write_output(lines, run, seq, at, stream, offset, raw),
            Self::Line { line, .. } => {
                lines.extend_from_slice(line);
                lines.push(b'\n');
            }
        }
    }
}

/// Walks over the entries of a block.
pub struct Pieces<'a> {
    seq: u64,
    at: UnixMs,
    ends: [u64; 2],
    payload: &'a [u8],
    numbering: &'a [u8],
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    /// Ends early where the numbering does not hold; [`Block::new`] lets no such block pass.
    fn next(&mut self) -> Option<Piece<'a>> {
        let (form, rest) = self.numbering.split_first()?;
        let mut rest = rest;
        let seq = self.seq;
        if *form == form::LINE {
            let bytes = usize::try_from(read_number(&mut rest)?).ok()?;
            let (line, payload) = self.payload.split_at_checked(bytes)?;
            (self.numbering, self.payload, self.seq) = (rest, payload, seq + 1);
            return Some(Piece::Line { seq, line });
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
        Some(Piece::Output { seq, at, stream, offset, raw })
    }
}

/// LEB128: seven bits a byte, the lowest first, the top bit set on all but the last.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
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
            assert!(is_as_written(&output, raw), "{raw:?}");
            for bare in [&b"\""[..], b"\n", b"\x01"] {
                let text = [output.text, bare].concat();
                let raw = [raw, bare].concat();
                assert!(!is_as_written(&line::OutputLine { text: &text, ..output }, &raw), "{raw:?}");
            }
        }
    }

    #[test]
    fn numbers_come_back() {
        for number in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = &bytes[..];
            assert_eq!((read_number(&mut rest), rest.len()), (Some(number), 0));
        }
        assert_eq!(read_number(&mut &[0x80, 0x80][..]), None);
    }
}
