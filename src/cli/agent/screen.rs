//! Lines below the text that are taken away before more text comes: what goes on, or a question's keys.
//!
//! They stand there only while the text ends with a whole line, and each is shorter than the terminal is wide, so that the way
//! back up is known.

/// Most lines below the text.
const MOST: usize = 12;

/// What is below the text now.
#[derive(Debug, Default)]
pub struct Screen {
    below: Vec<String>,
}

impl Screen {
    /// What to write so that `text` is added and then `below` stands under it. Empty: nothing changes.
    pub fn compose(&mut self, text: &str, below: Vec<String>) -> String {
        if text.is_empty() && below == self.below {
            return String::new();
        }
        let mut written = String::new();
        if !self.below.is_empty() {
            // Up to the first of them, and everything from there is taken away.
            written.push_str(&format!("\r\x1b[{}A\x1b[J", self.below.len()));
        }
        written.push_str(text);
        self.below = below;
        let hidden = self.below.len().saturating_sub(MOST);
        self.below.drain(..hidden);
        for line in &self.below {
            written.push_str(line);
            written.push('\n');
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_goes_away_before_more_text() {
        let mut screen = Screen::default();
        let below = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(screen.compose("one\n", below()), "one\na\nb\n");
        assert_eq!(screen.compose("", below()), "", "nothing changed");
        assert_eq!(screen.compose("two\n", Vec::new()), "\r\x1b[2A\x1b[Jtwo\n");
        assert_eq!(screen.compose("three", Vec::new()), "three");
    }
}
