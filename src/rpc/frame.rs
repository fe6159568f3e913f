//! Splits a byte stream into messages: by `Content-Length` headers, or one message a line.
//!
//! The codec does not parse messages. It remembers how far it has searched the buffer, so a frame that arrives in many
//! small reads costs no more than one that arrives whole (test `a_frame_in_small_reads_is_scanned_once`).

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::model::Failure;

/// Longest frame that is accepted unless the configuration sets another limit.
pub(crate) const DEFAULT_MAX_FRAME_BYTES: usize = 64 << 20;

/// Longest header block. Those of real clients have about 40 bytes.
const MAX_HEADER_BYTES: usize = 4096;

/// How messages are separated on a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length: N`, an empty line, N bytes, as in the Language Server Protocol.
    Lsp,
    /// One message on each line.
    Ndjson,
}

/// Splits a byte stream into messages, and frames messages for it.
#[derive(Debug)]
pub(crate) struct FrameCodec {
    framing: Option<Framing>,
    limit: usize,
    /// How many bytes at the front of the buffer have been searched for an end in vain.
    scanned: usize,
    /// Length of the message whose header block has been removed from the buffer already.
    body_length: Option<usize>,
}

/// Why no further message can be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side gets this failure before the connection ends.
    #[error("{0}")]
    Broken(Failure),
}

impl Framing {
    /// The bytes before a message of `length` bytes.
    pub(super) fn header(self, length: usize) -> String {
        match self {
            Self::Lsp => format!("Content-Length: {length}\r\n\r\n"),
            Self::Ndjson => String::new(),
        }
    }

    /// The bytes after a message.
    pub(super) fn trailer(self) -> &'static [u8] {
        match self {
            Self::Lsp => b"",
            Self::Ndjson => b"\n",
        }
    }
}

impl FrameCodec {
    /// A codec for one direction of a connection. `limit` is the longest message in bytes. Where `framing` is `None`,
    /// the first byte that is not white space decides: an opening brace or bracket means [`Framing::Ndjson`], any other
    /// byte [`Framing::Lsp`].
    pub(crate) fn new(framing: Option<Framing>, limit: usize) -> Self {
        Self { framing, limit, scanned: 0, body_length: None }
    }

    /// The framing; `None` until the first byte has decided.
    pub(crate) fn framing(&self) -> Option<Framing> {
        self.framing
    }

    fn over_limit(&self) -> FrameError {
        let message = format!("the message is longer than {} bytes; send it in parts", self.limit);
        FrameError::Broken(Failure::limit(self.limit as u64, message))
    }

    fn next_line(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        while let Some(end) = memchr::memchr(b'\n', &buffer[self.scanned..]).map(|at| self.scanned + at) {
            self.scanned = 0;
            let mut line = buffer.split_to(end + 1);
            line.truncate(end);
            if line.last() == Some(&b'\r') {
                line.truncate(end - 1);
            }
            if line.len() > self.limit {
                return Err(self.over_limit());
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
        self.scanned = buffer.len();
        // The one byte above the limit may be the carriage return before a line feed that has not arrived yet.
        if buffer.len() > self.limit + 1 {
            return Err(self.over_limit());
        }
        Ok(None)
    }

    fn next_counted(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let length = match self.body_length {
            Some(length) => length,
            None => match self.take_header(buffer)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if buffer.len() < length {
            self.body_length = Some(length);
            return Ok(None);
        }
        self.body_length = None;
        Ok(Some(buffer.split_to(length).freeze()))
    }

    /// Removes a header block from the buffer and returns the length that it announces; `None` until the block is
    /// complete.
    fn take_header(&mut self, buffer: &mut BytesMut) -> Result<Option<usize>, FrameError> {
        let window = &buffer[..buffer.len().min(MAX_HEADER_BYTES)];
        let from = self.scanned.saturating_sub(3);
        let Some(end) = end_of_header(window, from) else {
            self.scanned = window.len();
            if window.len() == MAX_HEADER_BYTES {
                return Err(broken_header(format!("no header block ends within {MAX_HEADER_BYTES} bytes")));
            }
            return Ok(None);
        };
        self.scanned = 0;
        let block = buffer.split_to(end);
        let length = content_length(&block)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.limit => Ok(Some(length)),
            _ => Err(self.over_limit()),
        }
    }
}

/// The end of the header block, with its empty line. Lines end with a carriage return and a line feed; a line feed
/// alone is accepted too.
fn end_of_header(window: &[u8], from: usize) -> Option<usize> {
    let ends = memchr::memchr_iter(b'\n', &window[from..]).map(|at| from + at);
    ends.filter(|end| *end > 1).find(|end| matches!(&window[..*end], [.., b'\n'] | [.., b'\n', b'\r'])).map(|end| end + 1)
}

/// The length that a header block announces. Other headers are ignored.
fn content_length(block: &[u8]) -> Result<u64, FrameError> {
    let block = std::str::from_utf8(block).map_err(|_| broken_header("the header block is not UTF-8"))?;
    let mut length = None;
    for line in block.lines() {
        // An empty line ends the block. There may be one in front of it too, because some clients end a message with a
        // line break that `Content-Length` does not count.
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(broken_header(format!("the header line {line:?} has no colon")));
        };
        if !name.trim().eq_ignore_ascii_case("content-length") {
            continue;
        }
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(broken_header(format!("Content-Length is {value:?}, which is not a number of bytes")));
        }
        // The value has digits only, so parsing fails only where it is too large; the limit refuses it then.
        let value = value.parse().unwrap_or(u64::MAX);
        if length.is_some_and(|length| length != value) {
            return Err(broken_header("Content-Length occurs twice, with two values"));
        }
        length = Some(value);
    }
    length.ok_or_else(|| broken_header("the header block has no Content-Length"))
}

fn broken_header(what: impl std::fmt::Display) -> FrameError {
    FrameError::Broken(Failure::parse(format!("{what}; the next message cannot be found, so the connection ends")))
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        if self.framing.is_none() {
            let leading_blanks = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            buffer.advance(leading_blanks);
            self.framing = match buffer.first() {
                None => return Ok(None),
                Some(b'{' | b'[') => Some(Framing::Ndjson),
                Some(_) => Some(Framing::Lsp),
            };
        }
        match self.framing {
            Some(Framing::Ndjson) => self.next_line(buffer),
            Some(Framing::Lsp) | None => self.next_counted(buffer),
        }
    }

    /// At the end of the stream a last line is a message also without its line feed. A message that is shorter than its
    /// `Content-Length` is dropped.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        if let Some(frame) = self.decode(buffer)? {
            return Ok(Some(frame));
        }
        let rest = buffer.split();
        self.scanned = 0;
        let line = self.framing == Some(Framing::Ndjson) && !rest.trim_ascii().is_empty();
        Ok(line.then(|| rest.freeze()))
    }
}

impl Encoder<&[u8]> for FrameCodec {
    type Error = FrameError;

    /// Frames one message. Under [`Framing::Ndjson`] it must contain no line feed.
    fn encode(&mut self, message: &[u8], buffer: &mut BytesMut) -> Result<(), FrameError> {
        let framing = self.framing.unwrap_or(Framing::Lsp);
        buffer.extend_from_slice(framing.header(message.len()).as_bytes());
        buffer.extend_from_slice(message);
        buffer.extend_from_slice(framing.trailer());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::FailureKind;

    /// Feeds `bytes` in pieces that end at `cuts`, and decodes after each piece.
    fn decode(codec: &mut FrameCodec, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Bytes>, FrameError> {
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        let mut from = 0;
        for &to in cuts.iter().chain([&bytes.len()]) {
            buffer.extend_from_slice(&bytes[from..to]);
            from = to;
            while let Some(frame) = codec.decode(&mut buffer)? {
                frames.push(frame);
            }
        }
        while let Some(frame) = codec.decode_eof(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn all(bytes: &[u8], limit: usize) -> Result<Vec<Bytes>, FrameError> {
        decode(&mut FrameCodec::new(None, limit), bytes, &[])
    }

    fn kind_of_failure(bytes: &[u8], limit: usize) -> FailureKind {
        match all(bytes, limit) {
            Err(FrameError::Broken(failure)) => failure.kind,
            other => panic!("expected a broken frame, got {other:?}"),
        }
    }

    #[test]
    fn the_first_byte_decides() {
        for (bytes, framing) in [
            (&b"{}\n"[..], Framing::Ndjson),
            (b" \r\n[]\n", Framing::Ndjson),
            (b"Content-Length: 2\r\n\r\n{}", Framing::Lsp),
            (b"\r\ncontent-length: 2\r\n\r\n[]", Framing::Lsp),
        ] {
            let mut codec = FrameCodec::new(None, 10);
            assert_eq!(decode(&mut codec, bytes, &[]).expect("frames").len(), 1);
            assert_eq!(codec.framing(), Some(framing));
        }
    }

    #[test]
    fn a_forced_framing_does_not_look() {
        let mut codec = FrameCodec::new(Some(Framing::Ndjson), 100);
        assert_eq!(decode(&mut codec, b"Content-Length: 2\n", &[]).expect("a line"), ["Content-Length: 2"]);
    }

    #[test]
    fn headers_are_read_leniently() {
        let bytes = b"X-Other: a:b\r\nCONTENT-LENGTH :  3 \r\nContent-Type: x; charset=utf-8\r\n\r\nabc\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(all(bytes, 3).expect("frames"), ["abc", ""]);
    }

    #[test]
    fn blank_lines_are_nothing() {
        assert_eq!(all(b"{}\n\n  \r\n[]\r\n\n5", 10).expect("frames"), ["{}", "[]", "5"]);
    }

    #[test]
    fn a_broken_header_is_a_parse_failure() {
        for bytes in [
            "Hello: 1\r\n\r\n",
            "no colon\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "Content-Length: 0x1\r\n\r\n",
            "Content-Length:\r\n\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ] {
            assert_eq!(kind_of_failure(bytes.as_bytes(), 100), FailureKind::Parse, "{bytes:?}");
        }
        assert_eq!(kind_of_failure(&[b'x'; MAX_HEADER_BYTES], 100_000), FailureKind::Parse);
        assert_eq!(kind_of_failure(b"Content-Length: 1\r\nX: \xff\r\n\r\n", 100), FailureKind::Parse);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_taken() {
        assert_eq!(kind_of_failure(b"Content-Length: 11\r\n\r\n", 10), FailureKind::Limit);
        assert_eq!(kind_of_failure(b"Content-Length: 99999999999999999999999\r\n\r\n", 10), FailureKind::Limit);
        assert_eq!(kind_of_failure(b"[1234567890", 9), FailureKind::Limit);
        assert_eq!(kind_of_failure(b"[12345678]\n", 9), FailureKind::Limit);
        assert_eq!(all(b"[1234567]\r\n", 9).expect("at the limit"), ["[1234567]"]);
        assert_eq!(all(b"Content-Length: 9\r\n\r\n[1234567]", 9).expect("at the limit"), ["[1234567]"]);
    }

    #[test]
    fn an_unfinished_counted_message_is_lost_at_the_end() {
        assert!(all(b"Content-Length: 9\r\n\r\n[12", 9).expect("no frame").is_empty());
        assert!(all(b"Content-Len", 9).expect("no frame").is_empty());
    }

    /// The codec does not search again what it has searched already.
    #[test]
    fn a_frame_in_small_reads_is_scanned_once() {
        let mut codec = FrameCodec::new(None, 1 << 20);
        let mut buffer = BytesMut::from(&b"["[..]);
        for _ in 0..1000 {
            assert_eq!(codec.decode(&mut buffer).expect("no failure"), None);
            assert_eq!(codec.scanned, buffer.len());
            buffer.extend_from_slice(b"12,");
        }
    }

    fn messages() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[\\[{][ -~é日🦀]{0,60}", 1..8)
    }

    proptest! {
        #[test]
        fn split_anywhere_the_messages_are_the_same(
            messages in messages(),
            lines in any::<bool>(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let framing = if lines { Framing::Ndjson } else { Framing::Lsp };
            let mut bytes = BytesMut::new();
            let mut encoder = FrameCodec::new(Some(framing), 1000);
            for message in &messages {
                encoder.encode(message.as_bytes(), &mut bytes).expect("encodes");
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut decoder = FrameCodec::new(None, 1000);
            let frames = decode(&mut decoder, &bytes, &cuts).expect("decodes");
            prop_assert_eq!(frames, messages);
            prop_assert_eq!(decoder.framing(), Some(framing));
        }

        #[test]
        fn any_bytes_end_in_frames_or_a_failure(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(bytes.len() + 1);
            let mut whole = FrameCodec::new(None, 50);
            let mut split = FrameCodec::new(None, 50);
            let one = decode(&mut whole, &bytes, &[]).map_err(|error| error.to_string());
            let two = decode(&mut split, &bytes, &[cut]).map_err(|error| error.to_string());
            prop_assert_eq!(one, two);
        }
    }
}
