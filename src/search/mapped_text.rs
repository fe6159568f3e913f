//! The text that a person reads in what a program wrote, and where in the raw bytes each part of it comes from.
//!
//! Terminal escapes (colors, links, cursor movements) are left out. Of a line of JSON only the strings are taken,
//! decoded, without keys; each is a text of its own, with as many lines as it has. We mark where each part was copied
//! from, so that an index into the text can be mapped to one into the raw bytes. Held by
//! `an_index_into_the_text_maps_to_one_into_the_bytes`.

const ESCAPE: u8 = 0x1b;

/// A text made of parts of other bytes.
#[derive(Debug, Default)]
pub(crate) struct MappedText {
    pub(crate) text: Vec<u8>,
    /// Pairs of indexes into `text` and into the bytes: from the first on, the text was copied from the second on.
    marks: Vec<(u32, u32)>,
}

impl MappedText {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
    }

    /// The index into the bytes from which the text at `at` was copied.
    pub(crate) fn origin(&self, at: usize) -> usize {
        let marks = self.marks.partition_point(|(begin, _)| *begin as usize <= at);
        match marks.checked_sub(1).map(|last| self.marks[last]) {
            Some((begin, origin)) => origin as usize + (at - begin as usize),
            None => at,
        }
    }

    /// Marks that the text appended next is copied from `origin`.
    pub(crate) fn mark(&mut self, origin: usize) {
        let mark = (self.text.len() as u32, origin as u32);
        match self.marks.last_mut() {
            Some(last) if last.0 == mark.0 => *last = mark,
            _ => self.marks.push(mark),
        }
    }

    /// Appends bytes that are copied from `origin`.
    pub(crate) fn copy(&mut self, bytes: &[u8], origin: usize) {
        self.mark(origin);
        self.text.extend_from_slice(bytes);
    }

    /// Replaces the content with `text` without its terminal escapes.
    pub(crate) fn strip(&mut self, text: &[u8]) {
        self.clear();
        let mut at = 0;
        while let Some(escape) = memchr::memchr(ESCAPE, &text[at..]) {
            self.copy(&text[at..at + escape], at);
            at += escape + escape_length(&text[at + escape..]);
        }
        self.copy(&text[at..], at);
    }

    /// Appends the texts of a line of JSON, each followed by a line feed, up to `until`, or a little before it where an
    /// escape would be cut. `in_text`: the bytes begin within a text. Returns where it stopped, and whether that is
    /// within a text.
    pub(crate) fn decode(&mut self, json: &[u8], origin: usize, mut in_text: bool, until: usize) -> (usize, bool) {
        let json = &json[..until];
        let mut at = 0;
        // Where in `self.text` and `self.marks` the current text begins, unless it began before these bytes.
        let mut begun = None;
        loop {
            if !in_text {
                let Some(quote) = memchr::memchr(b'"', &json[at..]) else { return (json.len(), false) };
                at += quote + 1;
                begun = Some((self.text.len(), self.marks.len()));
                in_text = true;
            }
            let Some(found) = memchr::memchr2(b'"', b'\\', &json[at..]) else {
                self.copy(&json[at..], origin + at);
                return (json.len(), true);
            };
            self.copy(&json[at..at + found], origin + at);
            at += found;
            if json[at] == b'"' {
                at += 1;
                in_text = false;
                let is_key = json[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
                match begun {
                    Some((text, marks)) if is_key => {
                        self.text.truncate(text);
                        self.marks.truncate(marks);
                    }
                    Some((text, _)) if self.text.len() == text => {}
                    _ => self.copy(b"\n", origin + at - 1),
                }
                continue;
            }
            let Some((character, length)) = escaped(&json[at..]) else { return (at, true) };
            self.copy(character.encode_utf8(&mut [0; 4]).as_bytes(), origin + at);
            at += length;
        }
    }
}

/// The length of the terminal escape at the beginning of `text`. It ends with its line at the latest.
fn escape_length(text: &[u8]) -> usize {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    let rest = line.get(2..).unwrap_or_default();
    let within = |range: std::ops::RangeInclusive<u8>, bytes: &[u8]| bytes.iter().take_while(|byte| range.contains(byte)).count();
    match line.get(1) {
        // A control sequence of ECMA-48: parameters, intermediate bytes, one final byte.
        Some(b'[') => {
            let middle = within(0x20..=0x3f, rest);
            2 + middle + usize::from(rest.get(middle).is_some_and(|last| (0x40..=0x7e).contains(last)))
        }
        // A string, which is ended by a bell or by ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = memchr::memchr2(7, ESCAPE, rest);
            let end = end.map(|end| if rest[end] == 7 { end + 1 } else { end + 1 + usize::from(rest.get(end + 1) == Some(&b'\\')) });
            end.map_or(line.len(), |end| 2 + end)
        }
        Some(0x20..=0x7e) => {
            let middle = within(0x20..=0x2f, &line[1..]);
            1 + middle + usize::from(line.get(1 + middle).is_some_and(|last| (0x30..=0x7e).contains(last)))
        }
        _ => 1,
    }
}

/// The character of a JSON escape, and the escape's length. `None` if its end is missing. A backslash that begins no
/// escape stands for itself.
fn escaped(json: &[u8]) -> Option<(char, usize)> {
    let short = |character| Some((character, 2));
    match json.get(1)? {
        b'n' => short('\n'),
        b't' => short('\t'),
        b'r' => short('\r'),
        b'b' => short('\u{8}'),
        b'f' => short('\u{c}'),
        b'u' => {
            let unit = |at: usize| u32::from_str_radix(std::str::from_utf8(json.get(at..at + 4)?).ok()?, 16).ok();
            if json.len() < 6 {
                return None;
            }
            let Some(first) = unit(2) else { return Some(('\\', 1)) };
            if !(0xd800..0xdc00).contains(&first) {
                return Some((char::from_u32(first).unwrap_or('\u{fffd}'), 6));
            }
            if json.len() < 12 && json.get(6).is_none_or(|next| *next == b'\\') {
                return None;
            }
            let second = if json.get(6..8) == Some(b"\\u") { unit(8).filter(|unit| (0xdc00..0xe000).contains(unit)) } else { None };
            let whole = second.and_then(|second| char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)));
            Some(whole.map_or(('\u{fffd}', 6), |character| (character, 12)))
        }
        other if other.is_ascii() => short(char::from(*other)),
        _ => Some(('\\', 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stripped(text: &str) -> String {
        let mut view = MappedText::default();
        view.strip(text.as_bytes());
        String::from_utf8(view.text).expect("text")
    }

    #[test]
    fn escapes_are_left_out() {
        assert_eq!(stripped("\x1b[1m\x1b[91merror[E0382]\x1b[0m\x1b[1m: moved\x1b[0m\n"), "error[E0382]: moved\n");
        assert_eq!(stripped("a \x1b]8;;https://x.y/\x1b\\link\x1b]8;;\x07 b"), "a link b");
        assert_eq!(stripped("\x1b(B\x1b[?25hx\x1b7y\x1b="), "xy");
        assert_eq!(stripped("cut \x1b[12\nnext \x1b]0;title\nthird\x1b"), "cut \nnext \nthird");
        assert_eq!(stripped("é\x1b[mé\x1b\u{e9}"), "ééé");
    }

    fn decoded(json: &str) -> String {
        let mut view = MappedText::default();
        view.decode(json.as_bytes(), 0, false, json.len());
        String::from_utf8(view.text).expect("text")
    }

    #[test]
    fn the_texts_of_json_are_taken() {
        assert_eq!(decoded(r#"{"type":"a","b" : {"c":["x\ny","","\"\\\/\u00e9\ud83d\ude00"]},"n":1}"#), "a\nx\ny\n\"\\/é😀\n");
        assert_eq!(decoded(r#"{"a":"\ud800 \udc00 \uzz"}"#), "\u{fffd} \u{fffd} \\uzz\n");
    }

    #[test]
    fn decoding_in_two_parts_gives_the_same_text() {
        let json = r#"["one\n\ud83d\ude00two\u00e9", "three"]"#;
        let whole = decoded(json);
        for cut in 0..json.len() {
            let mut view = MappedText::default();
            let (stop, in_text) = view.decode(json.as_bytes(), 0, false, cut);
            assert!(stop <= cut && stop + 12 > cut);
            view.decode(&json.as_bytes()[stop..], stop, in_text, json.len() - stop);
            assert_eq!(String::from_utf8(view.text).expect("text"), whole, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn an_index_into_the_text_maps_to_one_into_the_bytes(pieces in prop::collection::vec(prop_oneof![
            Just("\x1b[1m"), Just("\x1b]0;t\x07"), Just("\x1b"), Just("text"), Just("\n"), Just("é"), Just("[")], 0..20))
        {
            let text = pieces.concat();
            let mut view = MappedText::default();
            view.strip(text.as_bytes());
            for (at, byte) in view.text.iter().enumerate() {
                prop_assert_eq!(text.as_bytes()[view.origin(at)], *byte);
            }
            let json = serde_json::json!({ "a": [text, "\"quoted\\"], "b": text }).to_string();
            view.clear();
            view.decode(json.as_bytes(), 0, false, json.len());
            let mut last = 0;
            for (at, byte) in view.text.iter().enumerate() {
                let origin = view.origin(at);
                prop_assert!(origin >= last);
                let found = json.as_bytes()[origin];
                prop_assert!(found == *byte || found == b'\\' || found == b'"' || *byte >= 0x80);
                last = origin;
            }
        }
    }
}
