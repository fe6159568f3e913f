//! What a tool writes: kept as its last lines, or passed on line by line.

use crate::cli::words;

/// Most bytes that are kept of an output.
const MOST: usize = 64 << 10;

/// The end of an output that grows, and is corrected, by `loomd/output`.
#[derive(Debug, Default)]
pub struct Tail {
    text: String,
    /// Bytes before `text`.
    before: usize,
    /// Lines before `text`.
    lines_before: usize,
}

impl Tail {
    /// Cuts at the byte `offset` and appends. What was not heard of counts as nothing.
    pub fn set(&mut self, offset: usize, text: &str) {
        match offset.checked_sub(self.before) {
            Some(at) if at <= self.text.len() && self.text.is_char_boundary(at) => self.text.truncate(at),
            _ => *self = Self { before: offset, ..Self::default() },
        }
        self.text.push_str(text);
        if self.text.len() > 2 * MOST {
            let mut cut = self.text.len() - MOST;
            cut += self.text.as_bytes()[cut..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            while !self.text.is_char_boundary(cut) {
                cut += 1;
            }
            self.lines_before += self.text[..cut].matches('\n').count();
            self.before += cut;
            self.text.drain(..cut);
        }
    }

    /// Replaces everything.
    pub fn replace(&mut self, text: &str) {
        *self = Self::default();
        self.set(0, text);
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Where the output ends by now, in bytes.
    pub fn end(&self) -> usize {
        self.before + self.text.len()
    }

    /// The last lines that are not empty at the end, and how many there are before them.
    pub fn last(&self, count: usize) -> (usize, Vec<String>) {
        let lines: Vec<&str> = self.text.trim_end().lines().collect();
        let hidden = lines.len().saturating_sub(count);
        (self.lines_before + hidden, lines[hidden..].iter().map(|line| clean(line)).collect())
    }
}

/// A line as a terminal would show it after all that was written over it, and without orders to it.
pub fn clean(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string();
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    words::plain(&line.replace('\t', "    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_grows_and_is_corrected() {
        let mut tail = Tail::default();
        tail.set(0, "one\ntwo\n");
        tail.set(8, "three\n");
        assert_eq!(tail.last(2), (1, vec!["two".to_owned(), "three".to_owned()]));
        tail.set(4, "2\n");
        assert_eq!(tail.last(9), (0, vec!["one".to_owned(), "2".to_owned()]));
        tail.set(100, "late\n");
        assert_eq!((tail.last(9), tail.end()), ((0, vec!["late".to_owned()]), 105), "what nobody told of is not there");
    }

    #[test]
    fn a_flood_is_held_by_its_end_and_counted() {
        let mut tail = Tail::default();
        for n in 0..100_000 {
            let line = format!("zeile ä {n}\n");
            tail.set(tail.end(), &line);
        }
        assert!(tail.text.len() <= 2 * MOST);
        assert_eq!(tail.last(1), (99_999, vec!["zeile ä 99999".to_owned()]));
    }

    #[test]
    fn a_line_is_what_remains_of_it() {
        assert_eq!(clean("10%\r50%\r100%\r"), "100%");
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\tx\u{202e}y"), "red    x␣y");
    }
}
