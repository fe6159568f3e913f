//! Lines that a strict reader of JSON refuses: agents cut texts in the middle of a character.

use std::borrow::Cow;

/// The line as every reader of JSON takes it: bytes that are no UTF-8, and escapes of half a surrogate pair (RFC 8259, 8.2), become U+FFFD.
/// What it was stays in the log as output.
pub fn readable(line: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(line);
    let has_surrogates = memchr::memmem::find(line, br"\ud").is_some() || memchr::memmem::find(line, br"\uD").is_some();
    match (has_surrogates, text) {
        (true, text) => Cow::Owned(whole_pairs(text.as_bytes())),
        (false, Cow::Borrowed(_)) => Cow::Borrowed(line),
        (false, Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
    }
}

fn whole_pairs(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        out.extend_from_slice(&text[at..at + found]);
        at += found;
        let taken = match unit(text, at) {
            Some(0xD800..=0xDBFF) if matches!(unit(text, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                out.extend_from_slice(br"\ufffd");
                at += 6;
                continue;
            }
            Some(_) => 6,
            // A backslash and what it escapes, for one another backslash.
            None => 2,
        };
        let end = text.len().min(at + taken);
        out.extend_from_slice(&text[at..end]);
        at = end;
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// The code unit of an escape `\\uXXXX` that begins here.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(br"\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> String {
        let value: serde_json::Value = serde_json::from_slice(&readable(line)).unwrap_or_else(|error| panic!("{error}"));
        value.as_str().expect("a text").to_owned()
    }

    #[test]
    fn half_a_character_is_no_reason_to_lose_a_line() {
        assert_eq!(read(br#""cut \ud83d""#), "cut \u{fffd}");
        assert_eq!(read(br#""\ude00 rest""#), "\u{fffd} rest");
        assert_eq!(read(br#""\ud83d\ud83d\ude00""#), "\u{fffd}\u{1f600}");
        assert_eq!(read(b"\"raw \xff\""), "raw \u{fffd}");
    }

    #[test]
    fn whole_characters_and_escaped_backslashes_stay_as_they_are() {
        for line in [&br#""\ud83d\ude00""#[..], br#""\\ud83d""#, br#""\\\\ud83d \u00e9 \n""#, br#""plain""#] {
            assert_eq!(readable(line).as_ref(), line);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_strict_writer_wrote_is_left_alone(text in "\\PC{0,40}") {
            let line = serde_json::to_vec(&text).expect("JSON");
            let read = readable(&line);
            proptest::prop_assert_eq!(read.as_ref(), line.as_slice());
        }
    }
}
