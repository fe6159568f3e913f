//! Long texts in a payload: they are taken out, so that each is stored once, and put back when the block is read.
//!
//! A text is the content of a JSON string: a tool's result, a file. We look for it in the payload of a whole block, so
//! a program's raw line of JSON gives the same text as the update that was made of it, and it does not matter into how
//! many entries the line was cut. We only take a text out if escaping its decoded form gives the same bytes again.

use super::error::StoreErrorKind;
use crate::model::{Stream, line::OutputLine};

/// Shorter texts stay in the payload: stored apart they would take more than zstd makes of them among similar data.
pub(super) const MIN_TEXT_BYTES: usize = 4 << 10;
/// Length of a stored [`Reference`].
const REFERENCE_BYTES: usize = 40;

/// A text that was taken out of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Where in the remaining payload the text is to be put back.
    pub(crate) position: u32,
    /// Decoded bytes.
    pub(crate) length: u32,
    /// The blake3 of the decoded text.
    pub(crate) hash: [u8; 32],
}

/// Whether bytes end within what may be a long text, so that they should not be cut here.
pub(super) fn ends_in_a_long_line(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_TEXT_BYTES && memchr::memrchr(b'\n', &bytes[bytes.len() - MIN_TEXT_BYTES..]).is_none()
}

/// Gives each long text of a payload, decoded, to `keep_text`, which returns the text's hash. Returns a reference for
/// each, and leaves the remaining payload in `rest`. Both are empty if there is no long text.
pub(super) fn extract(
    payload: &[u8],
    rest: &mut Vec<u8>,
    mut keep_text: impl FnMut(&[u8]) -> Result<[u8; 32], StoreErrorKind>,
) -> Result<Vec<Reference>, StoreErrorKind> {
    rest.clear();
    let mut references = Vec::new();
    let (mut decoded, mut copied_to) = (Vec::new(), 0);
    for (begin, end) in long_strings(payload) {
        let text = &payload[begin..end];
        decoded.clear();
        let line = OutputLine { seq: 0, at: 0, stream: Stream::Stdout, offset: 0, text, data: None };
        if line.raw(&mut decoded).is_err() || decoded.len() < MIN_TEXT_BYTES || !is_canonical(text, &decoded) {
            continue;
        }
        rest.extend_from_slice(&payload[copied_to..begin]);
        let (Ok(position), Ok(length)) = (u32::try_from(rest.len()), u32::try_from(decoded.len())) else { break };
        references.push(Reference { position, length, hash: keep_text(&decoded)? });
        copied_to = end;
    }
    if !references.is_empty() {
        rest.extend_from_slice(&payload[copied_to..]);
    }
    Ok(references)
}

/// The payload with its texts put back; `text` returns each of them, decoded.
pub(super) fn put_back(
    rest: &[u8],
    references: &[Reference],
    mut text: impl FnMut(&Reference) -> Result<Vec<u8>, StoreErrorKind>,
) -> Result<Vec<u8>, StoreErrorKind> {
    let more: usize = references.iter().map(|reference| reference.length as usize).sum();
    let mut payload = Vec::with_capacity(rest.len() + more + more / 16);
    let mut copied_to = 0;
    let mut quoted = Vec::new();
    for reference in references {
        let position = reference.position as usize;
        let between = rest.get(copied_to..position).ok_or_else(|| StoreErrorKind::damaged("a text has a position outside of its block"))?;
        payload.extend_from_slice(between);
        let decoded = text(reference)?;
        let decoded = simdutf8::basic::from_utf8(&decoded).map_err(|_| StoreErrorKind::damaged("a text is not UTF-8"))?;
        quoted.clear();
        json_escape_simd::escape_into(decoded, &mut quoted);
        payload.extend_from_slice(&quoted[1..quoted.len() - 1]);
        copied_to = position;
    }
    payload.extend_from_slice(&rest[copied_to..]);
    Ok(payload)
}

/// Appends references to a body: each in `REFERENCE_BYTES`, then their number in four bytes.
pub(super) fn write_references(references: &[Reference], body: &mut Vec<u8>) {
    for reference in references {
        body.extend_from_slice(&reference.position.to_le_bytes());
        body.extend_from_slice(&reference.length.to_le_bytes());
        body.extend_from_slice(&reference.hash);
    }
    body.extend_from_slice(&(references.len() as u32).to_le_bytes());
}

/// Splits a body into what precedes the references at its end, and these references.
pub(super) fn split_references(body: &[u8]) -> Result<(&[u8], Vec<Reference>), StoreErrorKind> {
    let damaged = || StoreErrorKind::damaged("a block does not list the texts that were taken out of it");
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let (body, count) = body.split_last_chunk::<4>().ok_or_else(damaged)?;
    let bytes = (word(count) as usize).checked_mul(REFERENCE_BYTES).filter(|bytes| *bytes <= body.len()).ok_or_else(damaged)?;
    let (body, references) = body.split_at(body.len() - bytes);
    let reference = |bytes: &[u8]| Reference {
        position: word(&bytes[..4]),
        length: word(&bytes[4..8]),
        hash: bytes[8..].try_into().expect("thirty-two bytes"),
    };
    Ok((body, references.chunks_exact(REFERENCE_BYTES).map(reference).collect()))
}

/// The ranges between two unescaped quotes that are at least as long as a long text. No JSON string has a line feed in
/// it, so where lines are short this reads only a few of the bytes.
fn long_strings(payload: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            // A long text cannot contain a line feed, so we go on after the last one in the shortest window that could
            // hold it.
            let window = payload.get(at..at + MIN_TEXT_BYTES)?;
            if let Some(feed) = memchr::memrchr(b'\n', window) {
                at += feed + 1;
                continue;
            }
            let end = memchr::memchr(b'\n', &payload[at..]).map_or(payload.len(), |end| at + end);
            let Some(begin) = next_quote(payload, at, end) else {
                at = end;
                continue;
            };
            let Some(close) = next_quote(payload, begin + 1, end) else {
                at = end;
                continue;
            };
            // The quote that closes this range may as well open the next one.
            at = close;
            if close - begin > MIN_TEXT_BYTES {
                return Some((begin + 1, close));
            }
            if payload.len() - at < MIN_TEXT_BYTES {
                return None;
            }
        }
    })
}

/// The next quote in `from..to` that is not escaped. A backslash escapes the byte after it.
fn next_quote(payload: &[u8], mut from: usize, to: usize) -> Option<usize> {
    loop {
        let found = from + memchr::memchr2(b'"', b'\\', payload.get(from..to)?)?;
        if payload[found] == b'"' {
            return Some(found);
        }
        from = found + 2;
    }
}

/// Whether escaping the decoded text gives `text` again.
fn is_canonical(text: &[u8], decoded: &[u8]) -> bool {
    escaped_len(decoded) == text.len() && simdutf8::basic::from_utf8(decoded).is_ok()
}

/// How long a text is in a canonical line, with its quotes, backslashes and control characters escaped.
pub(super) fn escaped_len(text: &[u8]) -> usize {
    let more = |byte: &u8| {
        let control = u8::from(*byte < 0x20) * 5;
        let short = u8::from(matches!(byte, 8 | 9 | 10 | 12 | 13)) * 4;
        control - short + u8::from(*byte == b'"') + u8::from(*byte == b'\\')
    };
    // A byte adds five at most, so the sum over 48 of them fits into a byte, which lets the compiler process many at
    // once.
    text.len() + text.chunks(48).map(|chunk| usize::from(chunk.iter().map(more).fold(0, u8::wrapping_add))).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The texts that are taken out of a payload. Asserts that they can be put back.
    fn extracted(payload: &[u8]) -> Vec<Vec<u8>> {
        let (mut rest, mut kept, mut order) = (Vec::new(), BTreeMap::new(), Vec::new());
        let references = extract(payload, &mut rest, |text| {
            let hash = *blake3::hash(text).as_bytes();
            kept.insert(hash, text.to_vec());
            order.push(text.to_vec());
            Ok(hash)
        })
        .expect("extracted");
        if references.is_empty() {
            return order;
        }
        let mut body = rest.clone();
        write_references(&references, &mut body);
        let (split, found) = split_references(&body).expect("whole");
        assert_eq!((split, &found), (rest.as_slice(), &references));
        let back = put_back(&rest, &references, |reference| Ok(kept[&reference.hash].clone())).expect("put back");
        assert!(back == payload);
        order
    }

    #[test]
    fn a_raw_line_and_its_update_hold_the_same_text() {
        let file = "fn main() {\n\t\"é\u{1b}[0m\\\"\n}\n".repeat(300);
        let raw = format!("{}\n", serde_json::json!({"type": "tool_result", "id": 1, "content": file, "also": [file, "short"]}));
        let update = serde_json::json!({"kind": "update", "update": {"rawOutput": {"output": file}}}).to_string();
        let found = extracted(format!("some log\n{raw}{update}").as_bytes());
        assert_eq!(found, vec![file.into_bytes(); 3]);
    }

    #[test]
    fn texts_that_would_be_put_back_differently_stay() {
        let long = "x".repeat(MIN_TEXT_BYTES);
        for text in
            [format!("{long}\\u0041"), format!("{long}\\/"), format!("{long}\u{1}"), "y".repeat(MIN_TEXT_BYTES - 1), format!("{long}\n")]
        {
            assert_eq!(extracted(format!("{{\"a\":\"{text}\"}}").as_bytes()), Vec::<Vec<u8>>::new());
        }
        assert_eq!(extracted(&[&b"\""[..], &[0xff; 5000], b"\""].concat()), Vec::<Vec<u8>>::new());
        assert_eq!(extracted(format!("\"{long}").as_bytes()), Vec::<Vec<u8>>::new());
        assert_eq!(extracted(format!("\"{long}\\\"").as_bytes()), Vec::<Vec<u8>>::new());
        assert_eq!(extracted(format!("\"{long}\\\\\"").as_bytes()), [format!("{long}\\").into_bytes()]);
    }

    #[test]
    fn texts_are_found_wherever_lines_end() {
        let long = "z".repeat(MIN_TEXT_BYTES + 10);
        for before in [0, 1, 4000, 4094, 4095, 4096, 4097, 9000] {
            for line in [1, 90, 4095, 4096, 5000] {
                let mut payload: Vec<u8> = (0..before).map(|at| if at % line == line - 1 { b'\n' } else { b'.' }).collect();
                payload.extend_from_slice(format!("\"{long}\"").as_bytes());
                assert_eq!(extracted(&payload), [long.as_bytes()], "{before} bytes, a feed each {line}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn anything_is_put_back(pieces in prop::collection::vec(prop_oneof![
            Just(b"\"".to_vec()), Just(b"\\".to_vec()), Just(b"\\n".to_vec()), Just(b"\n".to_vec()), Just("é".repeat(2100).into_bytes()),
            Just(vec![b'a'; 4096]), Just(vec![b'b'; 9000]), Just(vec![7; 10]), Just(b"\\u001b".to_vec()), Just(vec![0xc3; 5]),
        ], 0..30)) {
            extracted(&pieces.concat());
        }
    }
}
