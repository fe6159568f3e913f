//! The beginning and the end of a text that may be long; what is between is counted.

use std::collections::VecDeque;

use crate::log::text::boundary;

/// A text of which the middle may be missing.
#[derive(Clone, Debug)]
pub struct Kept {
    head: String,
    tail: VecDeque<u8>,
    most_head: usize,
    most_tail: usize,
    total: u64,
}

impl Kept {
    pub fn new(most_head: usize, most_tail: usize) -> Self {
        Self { head: String::new(), tail: VecDeque::new(), most_head, most_tail, total: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    pub fn push(&mut self, mut text: &str) {
        self.total += text.len() as u64;
        if self.tail.is_empty() && self.head.len() < self.most_head {
            let end = boundary(text.as_bytes(), self.most_head - self.head.len());
            self.head.push_str(&text[..end]);
            text = &text[end..];
        }
        if !text.is_empty() {
            // It is full from now on, also where a character did not fit.
            self.most_head = self.head.len();
        }
        let skip = text.len().saturating_sub(self.most_tail);
        self.tail.extend(&text.as_bytes()[skip..]);
        self.tail.drain(..self.tail.len().saturating_sub(self.most_tail));
    }

    /// Cuts the text at a byte and goes on with another: how the output of a running tool grows, and is corrected.
    pub fn set(&mut self, offset: u64, text: &str) {
        if offset < self.total {
            let back = usize::try_from(self.total - offset).unwrap_or(usize::MAX);
            if offset <= self.head.len() as u64 {
                self.head.truncate(self.head.floor_char_boundary(offset as usize));
                self.tail.clear();
            } else {
                self.tail.truncate(self.tail.len().saturating_sub(back));
            }
            self.total = offset;
        }
        self.push(text);
    }

    pub fn replace(&mut self, text: &str) {
        self.set(0, text);
    }

    /// The two parts, and how many bytes are missing between them.
    pub fn parts(&self) -> (String, u64, String) {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let missing = self.total - (self.head.len() + bytes.len()) as u64;
        if missing == 0 {
            return (format!("{}{}", self.head, String::from_utf8_lossy(&bytes)), 0, String::new());
        }
        // Lines are cut whole where there are any.
        let from = memchr::memchr(b'\n', &bytes[..bytes.len().min(4096)]).map_or(0, |at| at + 1);
        let from = (from..bytes.len()).find(|at| bytes[*at] & 0b1100_0000 != 0b1000_0000).unwrap_or(bytes.len());
        let head_end = self.head.rfind('\n').filter(|at| self.head.len() - at < 4096).map_or(self.head.len(), |at| at + 1);
        let missing = missing + (from + self.head.len() - head_end) as u64;
        (self.head[..head_end].to_owned(), missing, String::from_utf8_lossy(&bytes[from..]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_goes_and_is_counted() {
        let mut kept = Kept::new(8, 8);
        kept.push("one\ntwo\n");
        assert_eq!(kept.parts(), ("one\ntwo\n".to_owned(), 0, String::new()));
        for _ in 0..100 {
            kept.push("more\n");
        }
        kept.push("end\n");
        let (head, missing, tail) = kept.parts();
        assert_eq!((head.as_str(), tail.as_str()), ("one\ntwo\n", "end\n"));
        assert_eq!(missing, 500);
        assert!(kept.held() <= 16);
    }

    #[test]
    fn it_is_corrected_wherever_it_was_wrong() {
        let mut kept = Kept::new(4, 8);
        kept.push("abcdef");
        kept.set(5, "X");
        assert_eq!(kept.parts().0, "abcdeX");
        kept.set(2, "Y");
        assert_eq!(kept.parts().0, "abY");
        kept.replace("new");
        assert_eq!(kept.parts(), ("new".to_owned(), 0, String::new()));
    }

    #[test]
    fn no_character_is_cut() {
        let mut kept = Kept::new(5, 5);
        for _ in 0..9 {
            kept.push("日本");
        }
        let (head, missing, tail) = kept.parts();
        assert_eq!((head.as_str(), tail.as_str(), missing), ("日", "本", 48));
    }
}
