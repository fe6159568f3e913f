//! Writes entries as lines in their canonical form, and reads such lines without a JSON parser.
//!
//! A line of the log is the notification's `params`, byte for byte, so a follower copies it without parsing. The
//! canonical form makes that possible: members in the order in which [`write_output`] writes them, no white space, and
//! the short escapes of RFC 8259 where they exist. [`head`], [`output`] and [`OutputLine::raw`] accept only this form.
//! [`parse`] accepts any JSON.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{
    UnixMs,
    entry::{Entry, Kind, Stream},
    state::RunId,
};

/// The beginning of a line: kind, number and time of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineHead {
    pub(crate) kind: Kind,
    pub(crate) seq: u64,
    pub(crate) at: UnixMs,
}

/// The members of an output line; `text` and `data` are still encoded as in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLine<'a> {
    pub(crate) seq: u64,
    pub(crate) at: UnixMs,
    pub(crate) stream: Stream,
    pub(crate) offset: u64,
    /// JSON-escaped, without the quotes.
    pub(crate) text: &'a [u8],
    /// Base64, without the quotes.
    pub(crate) data: Option<&'a [u8]>,
}

/// A line that is not in the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line is not in the canonical form")]
pub struct NotCanonical;

/// Appends an entry as a line, with its line feed.
pub fn write(out: &mut Vec<u8>, entry: &Entry) {
    serde_json::to_writer(&mut *out, entry).expect("an entry always has a JSON form");
    out.push(b'\n');
}

/// Appends an output entry as a line, with its line feed: the same bytes as [`write()`], several times faster.
pub fn write_output(out: &mut Vec<u8>, run: RunId, seq: u64, at: UnixMs, stream: Stream, offset: u64, raw: &[u8]) {
    write!(out, r#"{{"kind":"output","runId":"{run}","seq":{seq},"at":{at},"stream":"{stream}","offset":{offset},"text":"#)
        .expect("writing to memory cannot fail");
    match simdutf8::basic::from_utf8(raw) {
        Ok(text) => {
            json_escape_simd::escape_into(text, out);
        }
        Err(_) => {
            json_escape_simd::escape_into(String::from_utf8_lossy(raw).as_ref(), out);
            out.extend_from_slice(br#","data":""#);
            out.extend_from_slice(BASE64.encode(raw).as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

/// The lines of a block, without their line feeds.
pub(crate) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1));
        rest = after;
        Some(line.strip_suffix(b"\n").unwrap_or(line))
    })
}

/// Reads a whole line as an entry.
pub(crate) fn parse(line: &[u8]) -> Result<Entry, serde_json::Error> {
    serde_json::from_slice(line)
}

/// Reads the beginning of a line. It reads about a hundred bytes, whatever the length of the line. `None` if the
/// beginning is not canonical.
pub(crate) fn head(line: &[u8]) -> Option<LineHead> {
    let rest = line.strip_prefix(br#"{"kind":""#)?;
    let end = memchr::memchr(b'"', rest.get(..16.min(rest.len()))?)?;
    let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str().as_bytes() == &rest[..end])?;
    let rest = rest[end..].strip_prefix(br#"","runId":""#)?.get(36..)?;
    let (seq, rest) = number(rest.strip_prefix(br#"","seq":"#)?)?;
    let (at, _) = number(rest.strip_prefix(br#","at":"#)?)?;
    Some(LineHead { kind, seq, at })
}

/// Splits an output line, which is given without its line feed, into its members. `None` for other kinds and for lines
/// that are not canonical.
pub(crate) fn output(line: &[u8]) -> Option<OutputLine<'_>> {
    let rest = line.strip_prefix(br#"{"kind":"output","runId":""#)?.get(36..)?;
    let (seq, rest) = number(rest.strip_prefix(br#"","seq":"#)?)?;
    let (at, rest) = number(rest.strip_prefix(br#","at":"#)?)?;
    let rest = rest.strip_prefix(br#","stream":""#)?;
    let (stream, rest) = match rest.strip_prefix(br#"stdout"#) {
        Some(rest) => (Stream::Stdout, rest),
        None => (Stream::Stderr, rest.strip_prefix(br#"stderr"#)?),
    };
    let (offset, rest) = number(rest.strip_prefix(br#"","offset":"#)?)?;
    let body = rest.strip_prefix(br#","text":""#)?.strip_suffix(br#""}"#)?;
    // The text has no unescaped quote, so this separator can only be where the text ends and the data begins.
    const DATA_SEPARATOR: &[u8] = br#"","data":""#;
    let (text, data) = match memchr::memrchr(b'"', body) {
        Some(quote) if body[..=quote].ends_with(DATA_SEPARATOR) => (&body[..=quote - DATA_SEPARATOR.len()], Some(&body[quote + 1..])),
        _ => (body, None),
    };
    Some(OutputLine { seq, at, stream, offset, text, data })
}

impl OutputLine<'_> {
    /// How many raw bytes the line has, counted without decoding them.
    pub(crate) fn raw_len(&self) -> u64 {
        if let Some(data) = self.data {
            let padding = data.iter().rev().take_while(|byte| **byte == b'=').count();
            return (data.len() / 4 * 3 - padding) as u64;
        }
        let mut length = self.text.len();
        let mut rest = self.text;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let used = if rest.get(at + 1) == Some(&b'u') { 6 } else { 2 };
            length -= used - 1;
            rest = rest.get(at + used..).unwrap_or_default();
        }
        length as u64
    }

    /// Appends the raw bytes that the program wrote. Fails unless [`write_output`] writes exactly this line from them,
    /// so a caller that stores the bytes instead of the line loses nothing.
    pub(crate) fn raw(&self, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
        let Some(data) = self.data else { return unescape(self.text, out) };
        let raw = BASE64.decode(data).map_err(|_| NotCanonical)?;
        let mut text = Vec::with_capacity(self.text.len());
        unescape(self.text, &mut text)?;
        if simdutf8::basic::from_utf8(&raw).is_ok() || String::from_utf8_lossy(&raw).as_bytes() != text {
            return Err(NotCanonical);
        }
        out.extend_from_slice(&raw);
        Ok(())
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || (digits > 1 && bytes[0] == b'0') {
        return None;
    }
    let value = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    Some((value, &bytes[digits..]))
}

/// Decodes JSON escapes. Accepts only those that [`write_output`] writes.
fn unescape(escaped: &[u8], out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    let mut rest = escaped;
    loop {
        let Some(at) = memchr::memchr(b'\\', rest) else {
            out.extend_from_slice(rest);
            return Ok(());
        };
        out.extend_from_slice(&rest[..at]);
        let (byte, used) = match rest.get(at + 1).ok_or(NotCanonical)? {
            b'n' => (b'\n', 2),
            b'"' => (b'"', 2),
            b'\\' => (b'\\', 2),
            b't' => (b'\t', 2),
            b'r' => (b'\r', 2),
            b'b' => (8, 2),
            b'f' => (12, 2),
            b'u' => (control(rest.get(at + 2..at + 6).ok_or(NotCanonical)?)?, 6),
            _ => return Err(NotCanonical),
        };
        out.push(byte);
        rest = &rest[at + used..];
    }
}

/// Decodes four lower-case hexadecimal digits. Accepts only control characters without a short escape.
fn control(digits: &[u8]) -> Result<u8, NotCanonical> {
    let hex = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(NotCanonical),
    };
    let byte = hex(digits[2])? << 4 | hex(digits[3])?;
    let has_short_escape = matches!(byte, 8 | 9 | 10 | 12 | 13);
    if digits[..2] != *b"00" || byte >= 0x20 || has_short_escape { Err(NotCanonical) } else { Ok(byte) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::OutputEntry;

    fn line_of(raw: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        write_output(&mut line, RunId::from_bytes([7; 16]), 3, 1_700_000_000_123, Stream::Stderr, 99, raw);
        line
    }

    fn check(raw: &[u8]) {
        let fast = line_of(raw);
        let entry = parse(&fast).expect("the line parses");
        let Entry::Output(OutputEntry { ref text, ref data, .. }) = entry else { panic!("an output entry") };
        assert_eq!(text, &String::from_utf8_lossy(raw));
        assert_eq!(data.is_some(), std::str::from_utf8(raw).is_err());
        let mut slow = Vec::new();
        write(&mut slow, &entry);
        assert_eq!(String::from_utf8_lossy(&fast), String::from_utf8_lossy(&slow), "both writers agree");
        let body = fast.strip_suffix(b"\n").expect("ends with a line feed");
        assert_eq!(head(body), Some(LineHead { kind: Kind::Output, seq: 3, at: 1_700_000_000_123 }));
        let parts = output(body).expect("canonical");
        assert_eq!((parts.seq, parts.stream, parts.offset), (3, Stream::Stderr, 99));
        let mut back = Vec::new();
        parts.raw(&mut back).expect("canonical");
        assert_eq!(back, raw);
        assert_eq!(parts.raw_len(), raw.len() as u64);
    }

    #[test]
    fn every_byte_value_comes_back() {
        for byte in 0..=255 {
            check(&[byte]);
            check(&[b'a', byte, b'"']);
        }
        check(br#"","data":"QUJD"#);
        check("\u{2028}\u{fffd}\u{7f}é日本🦀".as_bytes());
        check(b"");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [r"\/", r"\u000A", r"\u001B", r"\u000a", r"\u0041", r"\x", r"\"] {
            assert_eq!(unescape(text.as_bytes(), &mut Vec::new()), Err(NotCanonical), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            check(&raw);
        }

        #[test]
        fn any_text_comes_back(text in "\\PC{0,40}[\\x00-\\x7f]{0,40}") {
            check(text.as_bytes());
        }
    }
}
