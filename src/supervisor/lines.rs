//! Bytes to whole lines, of bounded length.

/// Longest line that is looked at for its meaning. A longer one is output and no more.
const LONGEST: usize = 32 << 20;
/// A buffer that grew beyond this is given back once its line is done.
const USUAL: usize = 64 << 10;

/// Lines as they come.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins, and how far it was searched for its end.
    begin: usize,
    searched: usize,
    /// Bytes of a line that is too long, as far as they were dropped.
    dropped: u64,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its line feed.
    Whole(Vec<u8>),
    /// So many bytes that it was not kept.
    TooLong(u64),
}

impl Lines {
    /// Takes what was written.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.buffer.extend_from_slice(bytes);
        // Only the unfinished line grows, so only it can become too long.
        if self.buffer.len() > LONGEST && memchr::memchr(b'\n', &self.buffer[self.searched..]).is_none() {
            self.dropped += self.buffer.len() as u64;
            self.buffer = Vec::new();
            self.searched = 0;
        }
    }

    /// The next whole line.
    pub fn next(&mut self) -> Option<Line> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| at + self.searched) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer[self.begin..end].to_vec();
        self.begin = end + 1;
        self.searched = self.begin;
        if self.begin == self.buffer.len() {
            self.buffer.clear();
            (self.begin, self.searched) = (0, 0);
            self.buffer.shrink_to(USUAL);
        }
        Some(match std::mem::take(&mut self.dropped) {
            0 if line.len() <= LONGEST => Line::Whole(line),
            dropped => Line::TooLong(dropped + line.len() as u64),
        })
    }

    /// What was written after the last line feed.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.buffer.split_off(self.begin);
        (self.begin, self.searched) = (0, 0);
        self.buffer.clear();
        (self.dropped == 0 && !rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<Line> {
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = b"one\n\ntwo and more\nrest";
        for cut in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(cut) {
                lines.push(piece);
                found.extend(all(&mut lines));
            }
            assert_eq!(found, [Line::Whole(b"one".to_vec()), Line::Whole(Vec::new()), Line::Whole(b"two and more".to_vec())]);
            assert_eq!(lines.rest().as_deref(), Some(&b"rest"[..]));
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            lines.push(&piece);
            assert!(lines.next().is_none());
            assert!(lines.buffer.len() <= LONGEST + piece.len(), "memory is bounded");
        }
        lines.push(b"x\nnext\n");
        assert_eq!(all(&mut lines), [Line::TooLong((64 << 20) + 1), Line::Whole(b"next".to_vec())]);
    }
}
