//! Compares what a provider streamed with the whole text that it sends at the end. A repeated text is compared by
//! position, so that nothing is logged twice, nothing is lost, and a contradiction is noticed.

/// This much of a streamed text is kept and compared byte by byte. Of what follows, only a checksum for each
/// [`CHECKSUM_BLOCK_BYTES`] is kept.
const MAX_KEPT_BYTES: usize = 1 << 20;
const CHECKSUM_BLOCK_BYTES: usize = 64 << 10;
/// What is shorter is never said to be repeated.
const MIN_TURN_BYTES: usize = 16;

/// The part of a text that was streamed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamedText {
    /// The first [`MAX_KEPT_BYTES`].
    prefix: String,
    length: usize,
    /// Checksums of the whole blocks behind `prefix`.
    block_checksums: Vec<[u8; 16]>,
    /// The bytes behind those blocks, which do not fill a block yet.
    partial_block: Vec<u8>,
    /// Length and checksum of the text, once [`Self::close`] has dropped the text itself.
    closed: Option<(usize, [u8; 16])>,
}

/// The difference between a whole text and what was streamed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison<'a> {
    /// The whole text continues what was streamed with this; it is empty if all was streamed.
    Missing(&'a str),
    /// The whole text differs from this byte on. Beyond the first MiB, the byte is known to within 64 KiB.
    Contradiction { at: usize },
}

impl StreamedText {
    /// Appends the next piece.
    pub(crate) fn push(&mut self, piece: &str) {
        self.length += piece.len();
        let free = MAX_KEPT_BYTES.saturating_sub(self.prefix.len());
        let cut = if self.length <= MAX_KEPT_BYTES { piece.len() } else { piece.floor_char_boundary(free) };
        // Once a piece went beyond `prefix`, all later ones do: the two parts must stay adjacent.
        let cut = if self.block_checksums.is_empty() && self.partial_block.is_empty() { cut } else { 0 };
        self.prefix.push_str(&piece[..cut]);
        self.partial_block.extend_from_slice(&piece.as_bytes()[cut..]);
        while self.partial_block.len() >= CHECKSUM_BLOCK_BYTES {
            self.block_checksums.push(checksum(&self.partial_block[..CHECKSUM_BLOCK_BYTES]));
            self.partial_block.drain(..CHECKSUM_BLOCK_BYTES);
        }
    }

    /// How many bytes were streamed.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Drops the text, because it is complete, and keeps only its length and checksum to compare a repetition. A
    /// contradiction is then recognized, but not its position.
    pub(crate) fn close(&mut self) {
        if self.closed.is_none() && self.length <= MAX_KEPT_BYTES {
            let sum = checksum(self.prefix.as_bytes());
            *self = Self { length: self.length, closed: Some((self.length, sum)), ..Self::default() };
        }
    }

    /// Compares the whole text with what was streamed.
    pub(crate) fn compare<'a>(&self, whole: &'a str) -> Comparison<'a> {
        let bytes = whole.as_bytes();
        if let Some((length, sum)) = self.closed {
            let same = self.length == length
                && whole.is_char_boundary(length.min(bytes.len()))
                && bytes.get(..length).is_some_and(|part| checksum(part) == sum);
            return if same { Comparison::Missing(&whole[length..]) } else { Comparison::Contradiction { at: 0 } };
        }
        if let Some(at) = self.prefix.bytes().zip(bytes).position(|(streamed, part)| streamed != *part) {
            return Comparison::Contradiction { at };
        }
        if bytes.len() < self.prefix.len() {
            return Comparison::Contradiction { at: bytes.len() };
        }
        let mut at = self.prefix.len();
        for block in &self.block_checksums {
            match bytes.get(at..at + CHECKSUM_BLOCK_BYTES) {
                Some(part) if checksum(part) == *block => at += CHECKSUM_BLOCK_BYTES,
                _ => return Comparison::Contradiction { at },
            }
        }
        match bytes.get(at..at + self.partial_block.len()) {
            Some(part) if part == self.partial_block => Comparison::Missing(&whole[at + self.partial_block.len()..]),
            _ => Comparison::Contradiction { at },
        }
    }
}

/// All that one role said in a turn, in however many messages, without white space: what stands between two messages is
/// not the provider's text.
#[derive(Debug, Default)]
pub(crate) struct TurnText {
    words: StreamedText,
    pieces: u64,
}

impl TurnText {
    pub(crate) fn push(&mut self, piece: &str) {
        piece.split_whitespace().for_each(|word| self.words.push(word));
        self.pieces += 1;
    }

    /// Whether a text says all of it, which came in pieces, once more, and nothing else. A short text may well be said twice.
    pub(crate) fn is_repeated_by(&self, text: &str) -> bool {
        let length = self.words.len();
        if self.pieces < 2 || length < MIN_TURN_BYTES || text.len() < length {
            return false;
        }
        let words: String = text.split_whitespace().collect();
        words.len() == length && self.words.compare(&words) == Comparison::Missing("")
    }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(pieces: &[&str]) -> StreamedText {
        let mut streamed = StreamedText::default();
        pieces.iter().for_each(|piece| streamed.push(piece));
        streamed
    }

    #[test]
    fn a_comparison_returns_what_was_not_streamed() {
        assert_eq!(streamed(&["The ", "answer"]).compare("The answer"), Comparison::Missing(""));
        assert_eq!(streamed(&["The "]).compare("The answer"), Comparison::Missing("answer"));
        assert_eq!(streamed(&[]).compare("The answer"), Comparison::Missing("The answer"));
    }

    #[test]
    fn a_closed_text_is_compared_by_its_checksum() {
        let whole = "0123456789".repeat(10_000);
        let mut text = streamed(&[&whole]);
        text.close();
        assert!(text.prefix.capacity() == 0 && text.len() == whole.len());
        assert_eq!(text.compare(&whole), Comparison::Missing(""));
        assert_eq!(text.compare(&format!("{whole}more")), Comparison::Missing("more"));
        assert_eq!(text.compare("another"), Comparison::Contradiction { at: 0 });
        text.push("more");
        assert_eq!(text.compare(&format!("{whole}more")), Comparison::Contradiction { at: 0 }, "rather twice than lost");
    }

    #[test]
    fn a_contradiction_is_found_at_its_byte() {
        assert_eq!(streamed(&["tick 2\n"]).compare("tick 1\ntick 2\n"), Comparison::Contradiction { at: 5 });
        assert_eq!(streamed(&["too much"]).compare("too"), Comparison::Contradiction { at: 3 });
    }

    #[test]
    fn a_long_text_is_compared_to_its_end() {
        let line = "a line of a long output, with an é in it\n";
        let whole = line.repeat((MAX_KEPT_BYTES + 5 * CHECKSUM_BLOCK_BYTES) / line.len());
        let mut streamed = StreamedText::default();
        whole
            .as_bytes()
            .chunks(1000)
            .scan(0, |from, chunk| {
                let to = whole.ceil_char_boundary(*from + chunk.len());
                let piece = &whole[*from..to.max(*from)];
                *from = to.max(*from);
                Some(piece)
            })
            .for_each(|piece| streamed.push(piece));
        assert_eq!(streamed.len(), whole.len());
        assert!(
            streamed.prefix.len() <= MAX_KEPT_BYTES && streamed.partial_block.len() < CHECKSUM_BLOCK_BYTES,
            "memory does not grow with the text"
        );
        assert_eq!(streamed.compare(&whole), Comparison::Missing(""));
        assert_eq!(streamed.compare(&format!("{whole}more")), Comparison::Missing("more"));
        let mut other = whole.clone().into_bytes();
        let at = MAX_KEPT_BYTES + 2 * CHECKSUM_BLOCK_BYTES + 7;
        other[at] = b'#';
        let other = String::from_utf8_lossy(&other).into_owned();
        let Comparison::Contradiction { at: reported } = streamed.compare(&other) else { panic!("it differs") };
        assert!(reported <= at && at - reported < CHECKSUM_BLOCK_BYTES + 4, "{reported} is not near {at}");
    }

    proptest! {
        #[test]
        fn every_split_of_a_text_adds_up_to_it_once(text in "\\PC{0,80}", cuts in proptest::collection::vec(0_usize..200, 0..6), streamed_bytes in 0_usize..200) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(*cut)).collect();
            let streamed_bytes = text.floor_char_boundary(streamed_bytes);
            cuts.retain(|cut| *cut <= streamed_bytes);
            cuts.extend([0, streamed_bytes]);
            cuts.sort_unstable();
            let mut streamed = StreamedText::default();
            let mut shown = String::new();
            for pair in cuts.windows(2) {
                streamed.push(&text[pair[0]..pair[1]]);
                shown.push_str(&text[pair[0]..pair[1]]);
            }
            let Comparison::Missing(missing) = streamed.compare(&text) else { panic!("a prefix contradicts nothing") };
            shown.push_str(missing);
            prop_assert_eq!(&shown, &text);
            streamed.push(missing);
            prop_assert_eq!(streamed.compare(&text), Comparison::Missing(""), "a third time adds nothing");
        }
    }
}
