//! Answers what programs ask of their terminal and wait for, while no client shows it in an emulator: device attributes
//! (primary, secondary), device status, and the position of the cursor.
//!
//! There is no screen, only a cursor: printed characters, controls, movements, margins and saved positions move it as a
//! terminal would. What is not modeled moves nothing (origin mode, tab stops of the program's own, left and right
//! margins), so after these the position may differ from that on a screen. Memory does not grow with what the program
//! writes.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};
use unicode_width::UnicodeWidthChar;

use crate::model::TerminalSize;

/// Answers to one piece of output; a program that asks without end gets no more.
const MAX_REPLY_BYTES: usize = 4 << 10;
/// A VT220 with colors and nothing else.
const PRIMARY_ATTRIBUTES: &str = "\x1b[?62;22c";
const SECONDARY_ATTRIBUTES: &str = "\x1b[>0;0;0c";
const IS_READY: &str = "\x1b[0n";
const TAB_WIDTH: u16 = 8;

/// The terminal of a run, as far as its programs can ask for it.
#[derive(Default)]
pub(crate) struct Terminal {
    parser: Parser<DefaultCharAccumulator>,
    state: TerminalState,
}

struct TerminalState {
    size: TerminalSize,
    cursor: CursorPosition,
    saved_cursor: CursorPosition,
    /// The first and the last line of the region that scrolls.
    margins: (u16, u16),
    wraps: bool,
    replies: Vec<u8>,
}

/// Counted from 0.
#[derive(Clone, Copy, Default)]
struct CursorPosition {
    row: u16,
    col: u16,
    /// The last column was printed, so the next character begins a line.
    is_behind_line: bool,
}

impl Terminal {
    pub(crate) fn new(size: TerminalSize) -> Self {
        let mut terminal = Self::default();
        terminal.resize(size);
        terminal
    }

    pub(crate) fn resize(&mut self, size: TerminalSize) {
        let state = &mut self.state;
        state.size = size;
        state.margins = (0, size.rows - 1);
        state.move_to(state.cursor.row.into(), state.cursor.col.into());
    }

    /// Takes output and returns the answers to what it asks.
    pub(crate) fn feed(&mut self, output: &[u8]) -> Vec<u8> {
        output.iter().for_each(|byte| self.parser.advance(&mut self.state, *byte));
        std::mem::take(&mut self.state.replies)
    }
}

impl Default for TerminalState {
    fn default() -> Self {
        let size = TerminalSize::default();
        let cursor = CursorPosition::default();
        Self { size, cursor, saved_cursor: cursor, margins: (0, size.rows - 1), wraps: true, replies: Vec::new() }
    }
}

impl TerminalState {
    fn reply(&mut self, text: &str) {
        if self.replies.len() + text.len() <= MAX_REPLY_BYTES {
            self.replies.extend_from_slice(text.as_bytes());
        }
    }

    fn move_to(&mut self, row: i64, col: i64) {
        let within = |at: i64, count: u16| u16::try_from(at.clamp(0, i64::from(count) - 1)).unwrap_or(0);
        self.cursor = CursorPosition { row: within(row, self.size.rows), col: within(col, self.size.cols), is_behind_line: false };
    }

    fn move_by(&mut self, rows: i64, cols: i64) {
        let (top, bottom) = self.margins;
        let (row, col) = (i64::from(self.cursor.row) + rows, i64::from(self.cursor.col) + cols);
        // A margin is passed only by a cursor that is beyond it already.
        let row = if self.cursor.row >= top { row.max(top.into()) } else { row };
        let row = if self.cursor.row <= bottom { row.min(bottom.into()) } else { row };
        self.move_to(row, col);
    }

    /// To the next line; the last one of the region scrolls instead.
    fn line_feed(&mut self) {
        let last = if self.cursor.row == self.margins.1 { self.margins.1 } else { self.size.rows - 1 };
        self.cursor.row = (self.cursor.row + 1).min(last);
        self.cursor.is_behind_line = false;
    }

    fn restore_cursor(&mut self) {
        let saved = self.saved_cursor;
        self.move_to(saved.row.into(), saved.col.into());
    }

    fn report_position(&mut self, private_mark: &str) {
        let CursorPosition { row, col, .. } = self.cursor;
        self.reply(&format!("\x1b[{private_mark}{};{}R", u32::from(row) + 1, u32::from(col) + 1));
    }

    fn private_mode(&mut self, mode: u16, is_set: bool) {
        match (mode, is_set) {
            (7, wraps) => self.wraps = wraps,
            (1048 | 1049, true) => self.saved_cursor = self.cursor,
            (1048 | 1049, false) => self.restore_cursor(),
            _ => {}
        }
    }
}

impl Perform for TerminalState {
    fn print(&mut self, c: char) {
        let width = c.width().unwrap_or(0) as u16;
        if width == 0 {
            return;
        }
        let is_full = self.cursor.is_behind_line || self.cursor.col.saturating_add(width) > self.size.cols;
        if is_full && self.wraps {
            self.line_feed();
            self.cursor.col = 0;
        }
        let end = self.cursor.col.saturating_add(width);
        self.cursor.is_behind_line = end >= self.size.cols;
        self.cursor.col = end.min(self.size.cols - 1);
    }

    fn execute(&mut self, byte: u8) {
        let CursorPosition { row, col, .. } = self.cursor;
        match byte {
            b'\r' => self.move_to(row.into(), 0),
            b'\n' | 0x0b | 0x0c => self.line_feed(),
            b'\t' => self.move_to(row.into(), i64::from(col / TAB_WIDTH + 1) * i64::from(TAB_WIDTH)),
            0x08 => self.move_by(0, -1),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        let mut numbers = params.iter().map(|param| param.first().copied().unwrap_or(0));
        let (first, second) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let count = i64::from(first.max(1));
        let CursorPosition { row, col, .. } = self.cursor;
        if ignore {
            return;
        }
        match (intermediates, action) {
            ([], b'c') if first == 0 => self.reply(PRIMARY_ATTRIBUTES),
            ([b'>'], b'c') if first == 0 => self.reply(SECONDARY_ATTRIBUTES),
            ([], b'n') if first == 5 => self.reply(IS_READY),
            ([], b'n') if first == 6 => self.report_position(""),
            ([b'?'], b'n') if first == 6 => self.report_position("?"),
            ([b'?'], b'h' | b'l') => {
                params.iter().for_each(|param| self.private_mode(param.first().copied().unwrap_or(0), action == b'h'));
            }
            ([], b'A') => self.move_by(-count, 0),
            ([], b'B' | b'e') => self.move_by(count, 0),
            ([], b'C' | b'a') => self.move_by(0, count),
            ([], b'D') => self.move_by(0, -count),
            ([], b'E') => self.move_by(count, -i64::from(col)),
            ([], b'F') => self.move_by(-count, -i64::from(col)),
            ([], b'G' | b'`') => self.move_to(row.into(), count - 1),
            ([], b'd') => self.move_to(count - 1, col.into()),
            ([], b'H' | b'f') => self.move_to(count - 1, i64::from(second.max(1)) - 1),
            ([], b'L' | b'M') => self.move_to(row.into(), 0),
            ([], b's') => self.saved_cursor = self.cursor,
            ([], b'u') => self.restore_cursor(),
            ([], b'r') => {
                let (top, bottom) = (first.max(1) - 1, if second == 0 { self.size.rows } else { second.min(self.size.rows) } - 1);
                if top < bottom {
                    self.margins = (top, bottom);
                    self.move_to(0, 0);
                }
            }
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates, byte) {
            // The old question for the primary attributes.
            ([], b'Z') => self.reply(PRIMARY_ATTRIBUTES),
            ([], b'7') => self.saved_cursor = self.cursor,
            ([], b'8') => self.restore_cursor(),
            ([], b'D') => self.line_feed(),
            ([], b'E') => {
                self.line_feed();
                self.cursor.col = 0;
            }
            ([], b'M') if self.cursor.row != self.margins.0 => self.move_to(i64::from(self.cursor.row) - 1, self.cursor.col.into()),
            ([], b'c') => {
                let (size, replies) = (self.size, std::mem::take(&mut self.replies));
                *self = Self { size, margins: (0, size.rows - 1), replies, ..Self::default() };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is answered to `output`, which comes in pieces of each length.
    fn replies(size: (u16, u16), output: &str) -> String {
        let size = TerminalSize { rows: size.0, cols: size.1 };
        let by_length = (1..=output.len()).map(|length| {
            let mut terminal = Terminal::new(size);
            let replies = output.as_bytes().chunks(length).flat_map(|piece| terminal.feed(piece)).collect();
            String::from_utf8(replies).expect("answers are text")
        });
        let by_length: Vec<String> = by_length.collect();
        by_length.iter().for_each(|replies| assert_eq!(replies, &by_length[0], "however {output:?} is cut"));
        by_length[0].clone()
    }

    fn position(size: (u16, u16), output: &str) -> String {
        replies(size, &format!("{output}\x1b[6n"))
    }

    #[test]
    fn each_question_has_its_answer() {
        assert_eq!(replies((24, 80), "\x1b[c\x1b[0c\x1bZ"), PRIMARY_ATTRIBUTES.repeat(3));
        assert_eq!(replies((24, 80), "\x1b[>c\x1b[>0c"), SECONDARY_ATTRIBUTES.repeat(2));
        assert_eq!(replies((24, 80), "\x1b[5n"), IS_READY);
        assert_eq!(replies((24, 80), "ab\x1b[6n\x1b[?6n"), "\x1b[1;3R\x1b[?1;3R");
    }

    #[test]
    fn what_only_looks_like_a_question_has_none() {
        for text in ["[c", "\x1b[1c", "\x1b[?c", "\x1b[?62;22c", "\x1b[0n", "\x1b[1;3R", "\x1b]0;\x1b[\x07", "\x1bP\u{9b}c", "\x1b[=c"] {
            assert_eq!(replies((24, 80), text), "", "{text:?}");
        }
    }

    #[test]
    fn the_cursor_goes_where_a_terminal_would_have_it() {
        let size = (5, 10);
        let at = |output: &str| position(size, output).trim_start_matches("\x1b[").trim_end_matches('R').to_owned();
        for (output, expected) in [
            ("", "1;1"),
            ("a\r\nbc", "2;3"),
            ("0123456789", "1;10"),
            ("0123456789x", "2;2"),
            ("012345678日", "2;3"),
            ("e\u{301}", "1;2"),
            ("\r\n\r\n\r\n\r\n\r\n\r\nx", "5;2"),
            ("\tx\x08", "1;9"),
            ("\x1b[999;999H", "5;10"),
            ("\x1b[3;4H\x1b[A\x1b[2C\x1b[B\x1b[D", "3;5"),
            ("\x1b[3;4H\x1b7\x1b[H\x1b8", "3;4"),
            ("\x1b[3;4H\x1b[?1049h\x1b[Hx\x1b[?1049l", "3;4"),
            ("\x1b[2;3r\x1b[3;5H\n\n\n", "3;5"),
            ("\x1b[2;3r\x1b[3;5H\x1b[9A", "2;5"),
            ("\x1b[?7l0123456789xyz", "1;10"),
            ("\x1b[4;4Habc\x1bc", "1;1"),
            ("\x1b[4;4H\x1bM\x1bM\x1bM\x1bM\x1bM", "1;4"),
        ] {
            assert_eq!(at(output), expected, "after {output:?}");
        }
    }

    #[test]
    fn a_smaller_terminal_keeps_the_cursor_in_it() {
        let mut terminal = Terminal::new(TerminalSize { rows: 50, cols: 100 });
        terminal.feed(b"\x1b[40;90H");
        terminal.resize(TerminalSize { rows: 10, cols: 20 });
        assert_eq!(terminal.feed(b"\x1b[6n"), b"\x1b[10;20R");
    }

    #[test]
    fn answers_are_bounded() {
        let mut terminal = Terminal::new(TerminalSize::default());
        assert!(terminal.feed("\x1b[c".repeat(100_000).as_bytes()).len() <= MAX_REPLY_BYTES);
        assert_eq!(terminal.feed(b"\x1b[5n"), IS_READY.as_bytes(), "the next piece is answered again");
    }

    proptest! {
        #[test]
        fn nothing_that_a_program_writes_ends_it(
            output in proptest::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b';'), b'0'..=b'9', any::<u8>()], 0..400),
            rows in 1..4_u16, cols in 1..4_u16,
        ) {
            let mut terminal = Terminal::new(TerminalSize { rows, cols });
            terminal.feed(&output);
            terminal.resize(TerminalSize { rows: cols, cols: u16::MAX });
            terminal.feed(&output);
        }
    }
}
