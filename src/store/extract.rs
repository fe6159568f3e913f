//! Long texts in a payload: taken out of it, so that they can be kept once, and put back.
//!
//! A text is what stands between two quotes of JSON: a tool's result, a file. It is looked for in the payload of a whole block, so
//! a program's raw line of JSON gives the same text as the update that was made of it, and it does not matter into how many
//! entries the line was cut. Only a text that its decoded form makes again byte for byte is taken.

use super::trouble::Trouble;
use crate::model::{Stream, line::OutputLine};

/// Shorter texts stay where they are: they would cost more by themselves than zstd makes of them among their like.
pub(super) const TEXT_MIN: usize = 4 << 10;
/// Where a text stood, how long it is decoded, and its blake3.
const REFERENCE_BYTES: usize = 40;

/// A text that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Where in what is left it is to be put in.
    pub position: u32,
    /// Decoded bytes.
    pub length: u32,
    pub hash: [u8; 32],
}

/// Whether bytes end in the midst of what may be a long text, so that they should not be cut here.
pub(super) fn ends_in_a_long_line(bytes: &[u8]) -> bool {
    bytes.len() >= TEXT_MIN && memchr::memrchr(b'\n', &bytes[bytes.len() - TEXT_MIN..]).is_none()
}

/// Shows `take` each long text of a payload, decoded; it answers with the text's hash. Returns what was taken out, and leaves in
/// `rest` what is left; both empty where there is none.
pub(super) fn extract(
    payload: &[u8],
    rest: &mut Vec<u8>,
    mut take: impl FnMut(&[u8]) -> Result<[u8; 32], Trouble>,
) -> Result<Vec<Reference>, Trouble> {
    rest.clear();
    let mut references = Vec::new();
    let (mut decoded, mut copied) = (Vec::new(), 0);
    for (begin, end) in spans(payload) {
        let text = &payload[begin..end];
        decoded.clear();
        let line = OutputLine { seq: 0, at: 0, stream: Stream::Stdout, offset: 0, text, data: None };
        if line.raw(&mut decoded).is_err() || decoded.len() < TEXT_MIN || !is_written_so(text, &decoded) {
            continue;
        }
        rest.extend_from_slice(&payload[copied..begin]);
        let (Ok(position), Ok(length)) = (u32::try_from(rest.len()), u32::try_from(decoded.len())) else { break };
        references.push(Reference { position, length, hash: take(&decoded)? });
        copied = end;
    }
    if !references.is_empty() {
        rest.extend_from_slice(&payload[copied..]);
    }
    Ok(references)
}

/// Puts texts back; `text` gives each, decoded.
pub(super) fn put_back(
    rest: &[u8],
    references: &[Reference],
    mut text: impl FnMut(&Reference) -> Result<Vec<u8>, Trouble>,
) -> Result<Vec<u8>, Trouble> {
    let more: usize = references.iter().map(|reference| reference.length as usize).sum();
    let mut payload = Vec::with_capacity(rest.len() + more + more / 16);
    let mut copied = 0;
    let mut quoted = Vec::new();
    for reference in references {
        let position = reference.position as usize;
        let between = rest.get(copied..position).ok_or_else(|| Trouble::damaged("a text stands nowhere in its block"))?;
        payload.extend_from_slice(between);
        let decoded = text(reference)?;
        let decoded = simdutf8::basic::from_utf8(&decoded).map_err(|_| Trouble::damaged("a text is no text"))?;
        quoted.clear();
        json_escape_simd::escape_into(decoded, &mut quoted);
        payload.extend_from_slice(&quoted[1..quoted.len() - 1]);
        copied = position;
    }
    payload.extend_from_slice(&rest[copied..]);
    Ok(payload)
}

/// Appends references to a body: each in 40 bytes, then their number in four.
pub(super) fn write_references(references: &[Reference], body: &mut Vec<u8>) {
    for reference in references {
        body.extend_from_slice(&reference.position.to_le_bytes());
        body.extend_from_slice(&reference.length.to_le_bytes());
        body.extend_from_slice(&reference.hash);
    }
    body.extend_from_slice(&(references.len() as u32).to_le_bytes());
}

/// Takes the references off the end of a body.
pub(super) fn split_references(body: &[u8]) -> Result<(&[u8], Vec<Reference>), Trouble> {
    let damaged = || Trouble::damaged("a block does not say what was taken out of it");
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

/// Stretches between two quotes that nothing escapes, as long as a long text at least. No text has a line feed in it, so
/// where lines are short this looks at few of the bytes.
fn spans(payload: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            // Behind the last line feed before a long text could end.
            let window = payload.get(at..at + TEXT_MIN)?;
            if let Some(feed) = memchr::memrchr(b'\n', window) {
                at += feed + 1;
                continue;
            }
            let end = memchr::memchr(b'\n', &payload[at..]).map_or(payload.len(), |end| at + end);
            // The quotes of this line, one after the other.
            let Some(begin) = quote(payload, at, end) else {
                at = end;
                continue;
            };
            let Some(close) = quote(payload, begin + 1, end) else {
                at = end;
                continue;
            };
            // The one that closes this stretch may as well open the next.
            at = close;
            if close - begin > TEXT_MIN {
                return Some((begin + 1, close));
            }
            if payload.len() - at < TEXT_MIN {
                return None;
            }
        }
    })
}

/// The next quote in `from..to` that is not escaped. A backslash takes the byte behind it with it; it stands only in texts.
fn quote(payload: &[u8], mut from: usize, to: usize) -> Option<usize> {
    loop {
        let found = from + memchr::memchr2(b'"', b'\\', payload.get(from..to)?)?;
        if payload[found] == b'"' {
            return Some(found);
        }
        from = found + 2;
    }
}

/// Whether escaping the decoded text gives these bytes.
fn is_written_so(text: &[u8], decoded: &[u8]) -> bool {
    super::escape::escaped_len(decoded) == text.len() && simdutf8::basic::from_utf8(decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What is taken out of a payload; asserts that it can be put back.
    fn taken(payload: &[u8]) -> Vec<Vec<u8>> {
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
        let found = taken(format!("some log\n{raw}{update}").as_bytes());
        assert_eq!(found, vec![file.into_bytes(); 3]);
    }

    #[test]
    fn what_would_come_back_otherwise_stays() {
        let long = "x".repeat(TEXT_MIN);
        for text in [format!("{long}\\u0041"), format!("{long}\\/"), format!("{long}\u{1}"), "y".repeat(TEXT_MIN - 1), format!("{long}\n")]
        {
            assert_eq!(taken(format!("{{\"a\":\"{text}\"}}").as_bytes()), Vec::<Vec<u8>>::new());
        }
        assert_eq!(taken(&[&b"\""[..], &[0xff; 5000], b"\""].concat()), Vec::<Vec<u8>>::new());
        assert_eq!(taken(format!("\"{long}").as_bytes()), Vec::<Vec<u8>>::new());
        assert_eq!(taken(format!("\"{long}\\\"").as_bytes()), Vec::<Vec<u8>>::new());
        assert_eq!(taken(format!("\"{long}\\\\\"").as_bytes()), [format!("{long}\\").into_bytes()]);
    }

    #[test]
    fn texts_are_found_wherever_lines_end() {
        let long = "z".repeat(TEXT_MIN + 10);
        for before in [0, 1, 4000, 4094, 4095, 4096, 4097, 9000] {
            for line in [1, 90, 4095, 4096, 5000] {
                let mut payload: Vec<u8> = (0..before).map(|at| if at % line == line - 1 { b'\n' } else { b'.' }).collect();
                payload.extend_from_slice(format!("\"{long}\"").as_bytes());
                assert_eq!(taken(&payload), [long.as_bytes()], "{before} bytes, a feed each {line}");
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
            taken(&pieces.concat());
        }
    }
}
