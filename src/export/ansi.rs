//! What a terminal would show of a program's bytes, as lines of styled spans.
//!
//! Of a line that a program overwrites (a progress bar) the last state is kept. Sequences that move the cursor to another line are
//! ignored, because a log has no screen to move it on.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

use super::{
    sgr::{SgrState, apply_sgr},
    summary::{is_unsafe_char, may_be_unsafe_char},
};
use crate::model::Stream;

/// A piece of a line in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) style: SgrState,
    pub(crate) text: String,
}

/// A longer line is passed on in pieces.
const MAX_LINE_BYTES: usize = 16 << 10;
/// An escape sequence that is longer is taken for text.
const MAX_SEQUENCE_BYTES: usize = 4 << 10;
/// A control string (a title, a link, a picture) that is longer is taken for text.
const MAX_CONTROL_STRING_BYTES: usize = 64 << 10;

const ESCAPE: u8 = 0x1b;

/// Bytes of both streams go in, lines come out.
#[derive(Default)]
pub(crate) struct Screen {
    parsers: [StreamParser; 2],
    line: ScreenLine,
}

/// The parser of one stream.
#[derive(Default)]
struct StreamParser {
    state: ParserState,
    parser: Parser<DefaultCharAccumulator>,
    style: SgrState,
}

/// Where the parser of one stream stands.
#[derive(Clone, Copy, Default)]
enum ParserState {
    #[default]
    Text,
    /// Behind an escape character.
    Escape,
    /// So many bytes into a sequence, which the parser has taken.
    Sequence(usize),
    /// So many bytes into a control string.
    String(usize),
}

#[derive(Default)]
struct ScreenLine {
    spans: Vec<Span>,
    length: usize,
    /// The cursor stands at the line's beginning, so the next text overwrites the line.
    is_returned: bool,
}

/// Takes a line, and whether it ended.
pub(crate) type EachLine<'a> = &'a mut dyn FnMut(&[Span], bool);

impl Screen {
    pub(crate) fn feed(&mut self, stream: Stream, bytes: &[u8], each: EachLine<'_>) {
        let StreamParser { state, parser, style } = &mut self.parsers[usize::from(stream == Stream::Stderr)];
        style.stderr = stream == Stream::Stderr;
        let mut sink = SpanSink { style, line: &mut self.line, each, is_over: false };
        let text = String::from_utf8_lossy(bytes);
        let mut rest = &*text;
        while let Some(&byte) = rest.as_bytes().first() {
            let taken = match *state {
                ParserState::Text if byte == ESCAPE => {
                    *parser = Parser::default();
                    parser.advance(&mut sink, byte);
                    *state = ParserState::Escape;
                    1
                }
                ParserState::Text => sink.take(rest),
                ParserState::Escape if matches!(byte, b'P' | b'X' | b']' | b'^' | b'_') => {
                    *state = ParserState::String(0);
                    1
                }
                ParserState::String(length) => {
                    let (taken, next) = in_string(rest, length);
                    *state = next;
                    taken
                }
                // A sequence ends with its line, and has no characters but those of ASCII.
                ParserState::Escape | ParserState::Sequence(_) if matches!(byte, b'\n' | ESCAPE | 0x80..) => {
                    *state = ParserState::Text;
                    0
                }
                ParserState::Escape | ParserState::Sequence(_) => {
                    let length = if let ParserState::Sequence(length) = *state { length } else { 0 };
                    parser.advance(&mut sink, byte);
                    let is_over = std::mem::take(&mut sink.is_over) || matches!(byte, 0x18 | 0x1a) || length >= MAX_SEQUENCE_BYTES;
                    *state = if is_over { ParserState::Text } else { ParserState::Sequence(length + 1) };
                    1
                }
            };
            rest = &rest[taken..];
        }
    }

    /// The last line, if it has no end.
    pub(crate) fn finish(&mut self, each: EachLine<'_>) {
        if !self.line.spans.is_empty() {
            each(&self.line.spans, false);
        }
        *self = Self::default();
    }
}

/// The text alone.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut take = |spans: &[Span], ended: bool| {
        spans.iter().for_each(|span| out.push_str(&span.text));
        if ended {
            out.push('\n');
        }
    };
    let mut screen = Screen::default();
    screen.feed(Stream::Stdout, text.as_bytes(), &mut take);
    screen.finish(&mut take);
    out
}

/// How much of `rest` belongs to a control string of which `length` bytes were taken already, and the state after it. The string ends with
/// a bell or `ESC \\`, and with its line at the latest; otherwise one without an end would hide the rest of the log.
fn in_string(rest: &str, length: usize) -> (usize, ParserState) {
    let end = rest.bytes().position(|byte| matches!(byte, 7 | b'\n' | 0x18 | 0x1a | ESCAPE));
    let max_bytes = MAX_CONTROL_STRING_BYTES.saturating_sub(length);
    match end.unwrap_or(rest.len()) {
        taken if taken > max_bytes => (rest.floor_char_boundary(max_bytes), ParserState::Text),
        taken if end.is_none() => (taken, ParserState::String(length + taken)),
        taken => (taken + usize::from(!matches!(rest.as_bytes()[taken], b'\n' | ESCAPE)), ParserState::Text),
    }
}

struct SpanSink<'a, 'b> {
    style: &'a mut SgrState,
    line: &'a mut ScreenLine,
    each: &'a mut (dyn FnMut(&[Span], bool) + 'b),
    /// A sequence is complete.
    is_over: bool,
}

impl SpanSink<'_, '_> {
    fn pass_on(&mut self, ended: bool) {
        (self.each)(&self.line.spans, ended);
        *self.line = ScreenLine::default();
    }

    fn clear(&mut self) {
        self.line.spans.clear();
        self.line.length = 0;
    }

    /// Takes what stands first in a text: characters, or a control character that is no escape. Gives its length.
    fn take(&mut self, text: &str) -> usize {
        let bytes = text.as_bytes();
        if bytes[0] < 0x20 {
            self.execute(bytes[0]);
            return 1;
        }
        // A slice ends where a character does: it goes on with a first byte.
        let room = text.ceil_char_boundary(MAX_LINE_BYTES - self.line.length.min(MAX_LINE_BYTES - 1));
        let plain = bytes[..room].iter().position(|byte| may_be_unsafe_char(*byte)).unwrap_or(room);
        if plain > 0 {
            self.append(&text[..plain]);
            return plain;
        }
        let c = text.chars().next().unwrap_or_default();
        self.print(c);
        c.len_utf8()
    }

    fn append(&mut self, text: &str) {
        if std::mem::take(&mut self.line.is_returned) {
            self.clear();
        }
        match self.line.spans.last_mut() {
            Some(span) if span.style == *self.style => span.text.push_str(text),
            _ => self.line.spans.push(Span { style: *self.style, text: text.to_owned() }),
        }
        self.line.length += text.len();
        if self.line.length >= MAX_LINE_BYTES {
            self.pass_on(false);
        }
    }
}

impl Perform for SpanSink<'_, '_> {
    fn print(&mut self, c: char) {
        let c = if is_unsafe_char(c) { '␣' } else { c };
        self.append(c.encode_utf8(&mut [0; 4]));
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.pass_on(true),
            b'\r' => self.line.is_returned = true,
            // A tab is white space in the page as well; it is no order here.
            b'\t' => self.append("\t"),
            8 => {
                if let Some(span) = self.line.spans.last_mut() {
                    self.line.length -= span.text.pop().map_or(0, char::len_utf8);
                    if span.text.is_empty() {
                        self.line.spans.pop();
                    }
                }
            }
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: u8) {
        self.is_over = true;
        let first = params.iter().next().and_then(|param| param.first()).copied().unwrap_or(0);
        match action {
            b'm' if intermediates.is_empty() => apply_sgr(self.style, params),
            b'K' if first == 2 || (first == 0 && self.line.is_returned) => self.clear(),
            b'G' if first <= 1 => self.line.is_returned = true,
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, _intermediates: &[u8], _ignore: bool, _byte: u8) {
        self.is_over = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Vec<Span>> {
        let mut found = Vec::new();
        let mut screen = Screen::default();
        screen.feed(Stream::Stdout, bytes, &mut |spans, _| found.push(spans.to_vec()));
        screen.finish(&mut |spans, _| found.push(spans.to_vec()));
        found
    }

    #[test]
    fn what_a_program_overwrites_is_gone() {
        assert_eq!(plain("10%\r50%\r100%\ndone\r\n"), "100%\ndone\n");
        assert_eq!(plain("wait\x1b[2K\x1b[1Gready\n"), "ready\n");
        assert_eq!(plain("a\rb\x1b[Kc"), "bc");
        assert_eq!(plain("abc\x08\x08d"), "ad");
    }

    #[test]
    fn control_sequences_leave_nothing() {
        assert_eq!(plain("a\x1b]8;;http://x\x07link\x1b]8;;\x07\x1b[2J\x1b[Hb\x07\0"), "alinkb");
        assert_eq!(plain("a\u{202e}b\tc"), "a␣b\tc");
        assert_eq!(plain("\u{fffd}é日本🦀"), "\u{fffd}é日本🦀");
        assert_eq!(plain("\x1b[1;32m   Compiling\x1b[0m loomd\nnext\n"), "   Compiling loomd\nnext\n");
    }

    #[test]
    fn a_sequence_without_an_end_does_not_swallow_the_log() {
        let text = format!("\x1b]0;{}\nseen\n", "x".repeat(3 * MAX_SEQUENCE_BYTES));
        assert!(plain(&text).ends_with("\nseen\n"));
    }

    /// What begins a string that a terminal takes for itself.
    const STRINGS: [&str; 5] = ["\x1bP", "\x1bX", "\x1b]", "\x1b^", "\x1b_"];

    #[test]
    fn a_torn_string_ends_with_its_line() {
        let rest: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        for string in STRINGS {
            let text = format!("before{string}q1;2\n{rest}");
            assert_eq!(plain(&text), format!("before\n{rest}"), "{string:?}");
            for cut in 0..12 {
                let mut shown = String::new();
                let mut take = |spans: &[Span], ended: bool| {
                    spans.iter().for_each(|span| shown.push_str(&span.text));
                    shown.push_str(if ended { "\n" } else { "" });
                };
                let mut screen = Screen::default();
                let (begin, end) = text.as_bytes().split_at(cut);
                screen.feed(Stream::Stdout, begin, &mut take);
                screen.feed(Stream::Stdout, end, &mut take);
                screen.finish(&mut take);
                assert_eq!(shown, format!("before\n{rest}"), "{string:?} in two pieces, at {cut}");
            }
        }
        assert_eq!(plain("a\x1b\nb\x1b[1\nc"), "a\nb\nc", "any other sequence as well");
    }

    #[test]
    fn a_torn_string_without_a_line_feed_is_bounded() {
        for string in STRINGS {
            let shown = plain(&format!("{string}{}the end", "é\r".repeat(MAX_CONTROL_STRING_BYTES)));
            assert!(shown.ends_with("the end"), "{string:?}");
        }
    }

    #[test]
    fn a_whole_string_vanishes() {
        for string in STRINGS {
            for end in ["\x07", "\x1b\\"] {
                assert_eq!(plain(&format!("a{string}0;{}é{end}b\n", "x".repeat(20 << 10))), "ab\n", "{string:?}");
            }
        }
        assert_eq!(plain("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b\x1b]0;title\x1b[1mc\n"), "alinkbc\n");
    }

    #[test]
    fn a_line_without_an_end_comes_in_pieces() {
        let text = "y".repeat(3 * MAX_LINE_BYTES + 5);
        assert_eq!(lines(text.as_bytes()).len(), 4);
        assert_eq!(plain(&text), text);
    }
}
