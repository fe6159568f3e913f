//! Frames on a byte stream, in both framings: written, and split without being parsed.

use std::{io, ops::Range};

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Framing {
    /// `Content-Length` headers, as the language server protocol has them.
    Lsp,
    /// One message on a line.
    Ndjson,
}

impl Framing {
    /// Appends a message. The length stands in a field of fixed width, so that the body is written in its place at once.
    pub fn write(self, out: &mut Vec<u8>, message: &impl Serialize) -> io::Result<()> {
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

/// A buffer that finds where frames end. The framing is told by the first byte.
pub struct Splitter {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    framing: Option<Framing>,
    /// Bytes that the frame under way needs, header included, once its header has been read.
    wanted: usize,
}

/// The least room for a read.
const ROOM: usize = 256 * 1024;

impl Splitter {
    pub fn new() -> Self {
        Splitter { buffer: vec![0; 4 * ROOM], start: 0, end: 0, framing: None, wanted: 0 }
    }

    pub fn framing(&self) -> Framing {
        self.framing.expect("asked for after a first frame")
    }

    /// Where the next bytes go. What [`Splitter::next`] gave before is gone after this.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end < ROOM.max(self.wanted.saturating_sub(self.end - self.start)) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let least = self.end + ROOM.max(self.wanted);
            if self.buffer.len() < least {
                self.buffer.resize(least, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Takes note that so many bytes were put into the room.
    pub fn filled(&mut self, n: usize) {
        self.end += n;
    }

    pub fn frame(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next whole frame's body, if it is there.
    pub fn next(&mut self) -> io::Result<Option<Range<usize>>> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(first) = bytes.first() else { return Ok(None) };
        let framing = *self.framing.get_or_insert(if matches!(first, b'{' | b'[') { Framing::Ndjson } else { Framing::Lsp });
        let body = match framing {
            Framing::Ndjson => match memchr::memchr(b'\n', bytes) {
                Some(end) => 0..end,
                None => {
                    self.wanted = 2 * bytes.len();
                    return Ok(None);
                }
            },
            Framing::Lsp => {
                let Some(header) = memchr::memmem::find(&bytes[..bytes.len().min(4096)], b"\r\n\r\n") else { return Ok(None) };
                let length = content_length(&bytes[..header]).ok_or(io::ErrorKind::InvalidData)?;
                let start = header + 4;
                if bytes.len() < start + length {
                    self.wanted = start + length;
                    return Ok(None);
                }
                start..start + length
            }
        };
        let after = if framing == Framing::Ndjson { body.end + 1 } else { body.end };
        let range = self.start + body.start..self.start + body.end;
        self.start += after;
        self.wanted = 0;
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
