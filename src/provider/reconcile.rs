//! What was streamed against what is said at the end: a text that a provider repeats is compared by position, so that
//! nothing is logged twice, nothing is lost, and a contradiction is seen.

/// So much of a streamed text is kept to be compared byte by byte; of what follows, a checksum for each [`BLOCK`].
const KEPT: usize = 1 << 20;
const BLOCK: usize = 64 << 10;

/// A text as far as it was streamed.
#[derive(Clone, Debug, Default)]
pub struct Streamed {
    kept: String,
    length: usize,
    /// Checksums of whole blocks behind what is kept, and the block that is not whole yet.
    blocks: Vec<[u8; 16]>,
    unfinished: Vec<u8>,
    /// All of it, once it is not kept any more: how long, and its checksum.
    closed: Option<(usize, [u8; 16])>,
}

/// What a repeated text has that was not streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared<'a> {
    /// It goes on from what was streamed by this; empty if all was.
    Missing(&'a str),
    /// It says something else from this byte on. Beyond the first MiB the byte is known to within 64 KiB.
    Contradiction { at: usize },
}

impl Streamed {
    /// Takes note of the next piece.
    pub fn push(&mut self, piece: &str) {
        self.length += piece.len();
        let room = KEPT.saturating_sub(self.kept.len());
        let cut = if self.length <= KEPT { piece.len() } else { floor(piece, room) };
        // Once something is beyond, everything is: the two parts must stay adjacent.
        let cut = if self.blocks.is_empty() && self.unfinished.is_empty() { cut } else { 0 };
        self.kept.push_str(&piece[..cut]);
        self.unfinished.extend_from_slice(&piece.as_bytes()[cut..]);
        while self.unfinished.len() >= BLOCK {
            self.blocks.push(checksum(&self.unfinished[..BLOCK]));
            self.unfinished.drain(..BLOCK);
        }
    }

    /// How many bytes were streamed.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The text is complete: only its length and checksum are kept, for one that says it again. A contradiction is then known to
    /// lie in it, not where.
    pub fn close(&mut self) {
        if self.closed.is_none() && self.length <= KEPT {
            let sum = checksum(self.kept.as_bytes());
            *self = Self { length: self.length, closed: Some((self.length, sum)), ..Self::default() };
        }
    }

    /// Compares the whole text with what was streamed.
    pub fn compare<'a>(&self, whole: &'a str) -> Compared<'a> {
        let bytes = whole.as_bytes();
        if let Some((length, sum)) = self.closed {
            let same = self.length == length
                && whole.is_char_boundary(length.min(bytes.len()))
                && bytes.get(..length).is_some_and(|said| checksum(said) == sum);
            return if same { Compared::Missing(&whole[length..]) } else { Compared::Contradiction { at: 0 } };
        }
        if let Some(at) = self.kept.bytes().zip(bytes).position(|(streamed, said)| streamed != *said) {
            return Compared::Contradiction { at };
        }
        if bytes.len() < self.kept.len() {
            return Compared::Contradiction { at: bytes.len() };
        }
        let mut at = self.kept.len();
        for block in &self.blocks {
            match bytes.get(at..at + BLOCK) {
                Some(said) if checksum(said) == *block => at += BLOCK,
                _ => return Compared::Contradiction { at },
            }
        }
        match bytes.get(at..at + self.unfinished.len()) {
            Some(said) if said == self.unfinished => Compared::Missing(&whole[at + self.unfinished.len()..]),
            _ => Compared::Contradiction { at },
        }
    }

    /// Begins again: from now on, this is what was streamed.
    pub fn replace(&mut self, whole: &str) {
        *self = Self::default();
        self.push(whole);
    }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

/// The last place at or before `limit` where a character begins.
pub fn floor(text: &str, limit: usize) -> usize {
    if limit >= text.len() {
        return text.len();
    }
    (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The first place at or after `from` where a character begins.
pub fn ceiling(text: &str, from: usize) -> usize {
    (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(pieces: &[&str]) -> Streamed {
        let mut streamed = Streamed::default();
        pieces.iter().for_each(|piece| streamed.push(piece));
        streamed
    }

    #[test]
    fn only_what_is_missing_is_missing() {
        assert_eq!(streamed(&["The ", "answer"]).compare("The answer"), Compared::Missing(""));
        assert_eq!(streamed(&["The "]).compare("The answer"), Compared::Missing("answer"));
        assert_eq!(streamed(&[]).compare("The answer"), Compared::Missing("The answer"));
    }

    #[test]
    fn a_closed_text_is_small_and_still_known() {
        let whole = "0123456789".repeat(10_000);
        let mut text = streamed(&[&whole]);
        text.close();
        assert!(text.kept.capacity() == 0 && text.len() == whole.len());
        assert_eq!(text.compare(&whole), Compared::Missing(""));
        assert_eq!(text.compare(&format!("{whole}more")), Compared::Missing("more"));
        assert_eq!(text.compare("another"), Compared::Contradiction { at: 0 });
        text.push("more");
        assert_eq!(text.compare(&format!("{whole}more")), Compared::Contradiction { at: 0 }, "rather twice than lost");
    }

    #[test]
    fn a_contradiction_is_found_where_it_is() {
        assert_eq!(streamed(&["tick 2\n"]).compare("tick 1\ntick 2\n"), Compared::Contradiction { at: 5 });
        assert_eq!(streamed(&["too much"]).compare("too"), Compared::Contradiction { at: 3 });
    }

    #[test]
    fn a_long_text_is_compared_to_its_end() {
        let line = "a line of a long output, with an é in it\n";
        let whole = line.repeat((KEPT + 5 * BLOCK) / line.len());
        let mut streamed = Streamed::default();
        whole
            .as_bytes()
            .chunks(1000)
            .scan(0, |from, chunk| {
                let to = ceiling(&whole, *from + chunk.len());
                let piece = &whole[*from..to.max(*from)];
                *from = to.max(*from);
                Some(piece)
            })
            .for_each(|piece| streamed.push(piece));
        assert_eq!(streamed.len(), whole.len());
        assert!(streamed.kept.len() <= KEPT && streamed.unfinished.len() < BLOCK, "memory does not grow with the text");
        assert_eq!(streamed.compare(&whole), Compared::Missing(""));
        assert_eq!(streamed.compare(&format!("{whole}more")), Compared::Missing("more"));
        let mut other = whole.clone().into_bytes();
        let at = KEPT + 2 * BLOCK + 7;
        other[at] = b'#';
        let other = String::from_utf8_lossy(&other).into_owned();
        let Compared::Contradiction { at: found } = streamed.compare(&other) else { panic!("it differs") };
        assert!(found <= at && at - found < BLOCK + 4, "{found} is not near {at}");
    }

    proptest! {
        #[test]
        fn whatever_the_splits_the_whole_is_said_once(text in "\\PC{0,80}", cuts in proptest::collection::vec(0_usize..200, 0..6), kept in 0_usize..200) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| floor(&text, *cut)).collect();
            let kept = floor(&text, kept);
            cuts.retain(|cut| *cut <= kept);
            cuts.extend([0, kept]);
            cuts.sort_unstable();
            let mut streamed = Streamed::default();
            let mut shown = String::new();
            for pair in cuts.windows(2) {
                streamed.push(&text[pair[0]..pair[1]]);
                shown.push_str(&text[pair[0]..pair[1]]);
            }
            let Compared::Missing(missing) = streamed.compare(&text) else { panic!("a prefix contradicts nothing") };
            shown.push_str(missing);
            prop_assert_eq!(&shown, &text);
            streamed.push(missing);
            prop_assert_eq!(streamed.compare(&text), Compared::Missing(""), "a third time adds nothing");
        }
    }
}
