//! Frames on a byte stream, in both framings: writing them, and splitting them without parsing.

use std::{io, ops::Range};

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Framing {
    /// `Content-Length` headers, as in the Language Server Protocol.
    Lsp,
    /// One message on each line.
    Ndjson,
}

impl Framing {
    /// Appends a message. The length is in a field of fixed width, so that the body can be written before it is known.
    pub(crate) fn write(self, out: &mut Vec<u8>, message: &impl Serialize) -> io::Result<()> {
        const HEADER: &str = "Content-Length:           \r\n\r\n";
        const END_OF_DIGITS: usize = HEADER.len() - 4;
        let start = out.len();
        match self {
            Framing::Ndjson => {
                serde_json::to_writer(&mut *out, message)?;
                out.push(b'\n');
            }
            Framing::Lsp => {
                out.extend_from_slice(HEADER.as_bytes());
                serde_json::to_writer(&mut *out, message)?;
                let digits = (out.len() - start - HEADER.len()).to_string();
                let end = start + END_OF_DIGITS;
                out[end - digits.len()..end].copy_from_slice(digits.as_bytes());
            }
        }
        Ok(())
    }
}

/// A read buffer that finds where frames end. The first byte decides the framing.
pub(crate) struct Splitter {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    framing: Option<Framing>,
    /// Bytes that the next frame needs, header included, once its header has been read.
    needed_bytes: usize,
}

/// The least free space that is offered to a read.
const MIN_READ_BYTES: usize = 256 * 1024;

impl Splitter {
    pub(crate) fn new() -> Self {
        Splitter { buffer: vec![0; 4 * MIN_READ_BYTES], start: 0, end: 0, framing: None, needed_bytes: 0 }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing.expect("called after the first frame")
    }

    /// The space for the next bytes. Ranges that [`Splitter::next`] returned before are invalid after this.
    pub(crate) fn free_space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end < MIN_READ_BYTES.max(self.needed_bytes.saturating_sub(self.end - self.start)) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let least = self.end + MIN_READ_BYTES.max(self.needed_bytes);
            if self.buffer.len() < least {
                self.buffer.resize(least, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Adds the first `n` bytes of the free space to the content.
    pub(crate) fn advance(&mut self, n: usize) {
        self.end += n;
    }

    pub(crate) fn frame(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The range of the next whole frame's body, if there is one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Range<usize>>> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(first) = bytes.first() else { return Ok(None) };
        let framing = *self.framing.get_or_insert(if matches!(first, b'{' | b'[') { Framing::Ndjson } else { Framing::Lsp });
        let body = match framing {
            Framing::Ndjson => match memchr::memchr(b'\n', bytes) {
                Some(end) => 0..end,
                None => {
                    self.needed_bytes = 2 * bytes.len();
                    return Ok(None);
                }
            },
            Framing::Lsp => {
                let Some(header) = memchr::memmem::find(&bytes[..bytes.len().min(4096)], b"\r\n\r\n") else { return Ok(None) };
                let length = content_length(&bytes[..header]).ok_or(io::ErrorKind::InvalidData)?;
                let start = header + 4;
                if bytes.len() < start + length {
                    self.needed_bytes = start + length;
                    return Ok(None);
                }
                start..start + length
            }
        };
        let after = if framing == Framing::Ndjson { body.end + 1 } else { body.end };
        let range = self.start + body.start..self.start + body.end;
        self.start += after;
        self.needed_bytes = 0;
        Ok(Some(range))
    }
}

fn content_length(header: &[u8]) -> Option<usize> {
    let header = std::str::from_utf8(header).ok()?;
    header.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
