//! What reaches a terminal. Nothing that a program, an agent or a file name says gets there raw: of loomd's own text every control
//! character but its colors becomes visible, and of a program's output only what prints is passed on.
//!
//! Pipes and files get everything as it is.

use std::borrow::Cow;

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

use super::format;
use crate::log::text::unfinished_char_len;

/// A longer control sequence is passed over.
const MAX_SEQUENCE_BYTES: usize = 4 << 10;
const ESCAPE: u8 = 0x1b;

/// What is written, which decides what of it a terminal gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Made for this terminal, or asked for byte by byte.
    Exact,
    /// What a program wrote.
    Output,
    /// A text with colors of loomd's own.
    Painted,
    /// A text without colors.
    Plain,
    Json,
}

/// Makes a stream of bytes fit for a terminal.
pub(crate) struct TerminalFilter {
    content: Content,
    /// The beginning of a character whose rest comes with the next bytes.
    unfinished: Vec<u8>,
    parser: Parser<DefaultCharAccumulator>,
    /// The control sequence so far.
    sequence: Vec<u8>,
}

impl TerminalFilter {
    pub(crate) fn new(content: Content) -> Self {
        Self { content, unfinished: Vec::new(), parser: Parser::default(), sequence: Vec::new() }
    }

    pub(crate) fn filter(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.content == Content::Exact {
            return bytes;
        }
        let mut bytes = [std::mem::take(&mut self.unfinished), bytes].concat();
        self.unfinished = bytes.split_off(bytes.len() - unfinished_char_len(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        match self.content {
            Content::Json => json(&text).into_owned().into_bytes(),
            Content::Painted => visible(&text).into_owned().into_bytes(),
            Content::Plain => format::plain_lines(&text).into_bytes(),
            Content::Exact | Content::Output => self.output(&text),
        }
    }

    fn output(&mut self, text: &str) -> Vec<u8> {
        let mut kept = Vec::with_capacity(text.len());
        for byte in text.bytes() {
            let in_string = matches!(self.sequence.get(1), Some(b']' | b'P' | b'X' | b'^' | b'_'));
            // A torn string must not hide the rest of the output, so it ends with its line; any other sequence is ASCII.
            let is_torn = !self.sequence.is_empty() && if in_string { byte == b'\n' } else { !byte.is_ascii() };
            if is_torn {
                self.sequence.clear();
                self.parser = Parser::default();
            }
            // An escape ends what came before, and a string as well, whose end it is together with the next byte.
            let before = if byte == ESCAPE { std::mem::take(&mut self.sequence) } else { Vec::new() };
            let mut step = Step::Nothing;
            self.parser.advance(&mut step, byte);
            if byte == ESCAPE {
                self.sequence.push(byte);
            }
            match step {
                Step::Print(c) => {
                    self.sequence.clear();
                    match c {
                        '\x7f' => {}
                        _ if format::is_terminal_control(c) => kept.extend_from_slice("␣".as_bytes()),
                        _ => kept.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                Step::Control(b'\n' | b'\r' | b'\t' | 0x07 | 0x08 | 0x0b | 0x0c) => kept.push(byte),
                Step::Control(0x18 | 0x1a) => self.sequence.clear(),
                Step::Control(_) => {}
                Step::Nothing if byte != ESCAPE && !self.sequence.is_empty() => {
                    if self.sequence.len() < MAX_SEQUENCE_BYTES {
                        self.sequence.push(byte);
                    }
                }
                Step::Nothing => {}
                Step::Sequence { prints } if byte == ESCAPE => {
                    if prints && is_plain_sequence(&before) {
                        kept.extend_from_slice(&before);
                        kept.extend_from_slice(b"\x1b\\");
                    }
                }
                Step::Sequence { prints } => {
                    if prints && is_plain_sequence(&self.sequence) {
                        kept.extend_from_slice(&self.sequence);
                        kept.push(byte);
                    }
                    self.sequence.clear();
                }
            }
        }
        kept
    }
}

/// Whether a sequence has nothing in it but what belongs there, and is whole.
fn is_plain_sequence(sequence: &[u8]) -> bool {
    sequence.len() < MAX_SEQUENCE_BYTES && sequence.iter().skip(1).all(|byte| matches!(byte, b' '..=b'~'))
}

/// What a byte completes.
enum Step {
    Nothing,
    Print(char),
    Control(u8),
    /// A control sequence. `prints`: it changes what is shown and nothing else: it makes the terminal answer nothing, and changes
    /// neither what keys send nor anything outside of the screen.
    Sequence {
        prints: bool,
    },
}

impl Perform for Step {
    fn print(&mut self, c: char) {
        *self = Self::Print(c);
    }

    fn execute(&mut self, byte: u8) {
        *self = Self::Control(byte);
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        let mut all = params.iter().map(|param| param.first().copied().unwrap_or(0));
        let prints = !ignore
            && match (intermediates, action) {
                // Colors, the cursor, erasing, inserting, scrolling.
                ([], b'm' | b'A'..=b'H' | b'J'..=b'M' | b'P' | b'X' | b'S' | b'@' | b'`' | b'a' | b'b' | b'd' | b'e' | b'f' | b'r') => true,
                ([], b'T') => params.len() <= 1,
                ([], b'g' | b's' | b'u' | b'I' | b'Z') => true,
                ([], b'h' | b'l') => all.all(|mode| mode == 4),
                // Of the private modes: origin, wrapping, the cursor's look, the other screen, drawing at once.
                ([b'?'], b'h' | b'l') => all.all(|mode| matches!(mode, 6 | 7 | 12 | 25 | 47 | 1047 | 1048 | 1049 | 2026)),
                _ => false,
            };
        *self = Self::Sequence { prints };
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
        let prints =
            !ignore && matches!((intermediates, byte), ([], b'7' | b'8' | b'D' | b'E' | b'H' | b'M') | ([b'(' | b')'], b'B' | b'0'));
        *self = Self::Sequence { prints };
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        // A link, or the end of one.
        let prints = match params {
            [b"8", _, target @ ..] => {
                let target = target.join(&b';');
                let is_web = [&b"https://"[..], b"http://", b"mailto:"].iter().any(|scheme| target.starts_with(scheme));
                target.iter().all(u8::is_ascii_graphic) && (is_web || target.is_empty())
            }
            _ => false,
        };
        *self = Self::Sequence { prints };
    }

    fn unhook(&mut self) {
        *self = Self::Sequence { prints: false };
    }
}

/// A text with a mark for each character that a terminal would obey, but for line ends, tabs, and the colors that loomd paints.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| format::is_terminal_control(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        let length = paint_length(after);
        let control = after.chars().next().map_or(0, char::len_utf8);
        shown.push_str(if length > 0 { &after[..length] } else { "␣" });
        rest = &after[length.max(control)..];
    }
    Cow::Owned(shown + rest)
}

/// Length of the color sequence with which the text begins, if it is one that loomd paints.
fn paint_length(text: &str) -> usize {
    let Some((params, _)) = text.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m')) else { return 0 };
    let is_painted = matches!(params.parse::<u8>(), Ok(0..=2 | 30..=37 | 90..=97)) && params.len() <= 2;
    if is_painted { params.len() + 3 } else { 0 }
}

/// JSON in which a terminal obeys nothing: the same values, with escapes for what JSON leaves as it is.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| format::is_terminal_control(c) && !matches!(c, '\n' | '\r' | '\t');
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> String {
        let whole = String::from_utf8(TerminalFilter::new(Content::Output).filter(text.as_bytes().to_vec())).expect("text");
        // However the bytes are cut.
        let mut filter = TerminalFilter::new(Content::Output);
        let pieces: Vec<u8> = text.bytes().flat_map(|byte| filter.filter(vec![byte])).collect();
        assert_eq!(String::from_utf8(pieces).expect("text"), whole);
        whole
    }

    #[test]
    fn what_prints_is_passed_on_as_it_is() {
        for text in [
            "plain é日本🦀\ttab\r\n\x07\x08",
            "\x1b[1;38;5;208mcolor\x1b[0m \x1b[38:2::1:2:3mx\x1b[m",
            "\x1b[2K\x1b[1A\x1b[10;20H\x1b[J\x1b[?25l\x1b[?1049h\x1b[3;9r\x1b[4h",
            "\x1b7\x1b8\x1bM\x1b(0lqk\x1b(B",
            "\x1b]8;;https://example.org/a;b\x1b\\link\x1b]8;;\x1b\\",
            "\x1b]8;id=1;mailto:a@b.c\x07mail\x1b]8;;\x07",
        ] {
            assert_eq!(output(text), text, "{text:?}");
        }
    }

    #[test]
    fn what_makes_a_terminal_answer_or_act_is_passed_over() {
        for text in [
            "\x1b[6n",
            "\x1b[5n",
            "\x1b[?6n",
            "\x1b[c",
            "\x1b[>c",
            "\x1b[=c",
            "\x1b[>q",
            "\x1b[18t",
            "\x1b[21t",
            "\x1b[?1$p",
            "\x1b[x",
            "\x1bZ",
            "\x1b]0;title\x07",
            "\x1b]2;title\x1b\\",
            "\x1b]52;c;cHduZWQ=\x07",
            "\x1b]4;1;?\x07",
            "\x1b]10;?\x1b\\",
            "\x1b]1337;File=:x\x07",
            "\x1b]8;;javascript:x\x07",
            "\x1b]8;;file:///etc/passwd\x07",
            "\x1b]8;;https://x\u{202e}y\x07",
            "\x1b]8;id=\u{9b}6n;https://x\x07",
            "\x1bP$qm\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_Gi=1,a=q;AAAA\x1b\\",
            "\x1b^message\x1b\\",
            "\x1bXstring\x1b\\",
            "\x1b[?1000h",
            "\x1b[?1004h",
            "\x1b[?2004h",
            "\x1b[?1;1049h",
            "\x1b[?1h",
            "\x1b=",
            "\x1bc",
            "\x1b[!p",
            "\x1b[5i",
            "\x1b[>4;2m",
            "\x1b[?u",
            "\x1b[>1u",
            "\x0e",
            "\x0f",
            "\0",
            "\x7f",
            "\x1b[1;2;3;4;5T",
            "\x1b(A",
            "\x1b#8",
        ] {
            assert_eq!(output(&format!("a{text}b")), "ab", "{text:?}");
        }
        assert_eq!(output("a\u{9b}6nb\u{90}x\u{9c}\u{202e}c"), "a␣6nb␣x␣␣c", "C1 and bidi are marks");
        assert_eq!(output(&format!("a\x1b]8;;https://x{}\x07b", "y".repeat(MAX_SEQUENCE_BYTES))), "ab");
    }

    #[test]
    fn a_torn_sequence_hides_nothing_and_smuggles_nothing() {
        for string in ["\x1b]0;", "\x1bP", "\x1b_", "\x1b^", "\x1bX"] {
            assert_eq!(output(&format!("a{string}torn\nnext\x1b[1mbold")), "a\nnext\x1b[1mbold", "{string:?}");
        }
        assert_eq!(output("a\x1b\u{9b}M\x1b[\u{9b}1mb\x1b[3\x1b[0m"), "a␣M␣1mb\x1b[0m");
        assert_eq!(output("a\x1b[3\n1mb"), "a\n\x1b[31mb", "a control inside of a sequence is obeyed before it");
        assert_eq!(output("a\x1b[3\x18mb"), "amb");
        let invalid = TerminalFilter::new(Content::Output).filter(b"a\x9b6n\xffb".to_vec());
        assert_eq!(String::from_utf8(invalid).expect("text"), "a\u{fffd}6n\u{fffd}b");
    }

    #[test]
    fn a_text_keeps_the_colors_of_loomd_alone() {
        let own = "\x1b[1m\x1b[31merror:\x1b[0m a\tb\n";
        assert_eq!(visible(own), own);
        assert_eq!(visible("\x1b[2Ja\rb\x1b]0;t\x07\u{9b}6n\u{202e}\x1b[7mx\x1b[31;1my\x1b"), "␣[2Ja␣b␣]0;t␣␣6n␣␣[7mx␣[31;1my␣");
    }

    #[test]
    fn json_keeps_its_values() {
        let text = "{\"a\":\"\u{9b}2J\u{202e}\u{7f}é\"}\n";
        let shown = json(text);
        assert_eq!(shown, "{\"a\":\"\\u009b2J\\u202e\\u007fé\"}\n");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(parse(&shown), parse(text));
    }

    #[test]
    fn what_is_exact_stays_exact() {
        let bytes = b"\xff\x1b[6n\x9b".to_vec();
        assert_eq!(TerminalFilter::new(Content::Exact).filter(bytes.clone()), bytes);
    }
}
