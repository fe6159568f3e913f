//! Where the last lines of a run begin: looked for backwards, page by page, so that a long run costs no memory.

use serde_json::json;

use super::client::Session;
use crate::model::{Entry, Failure, Run, Stream, calls::ReadResult};

/// Bytes of a page, as the log counts them.
const PAGE: u64 = 256 << 10;

/// A place in a run's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What is wanted comes after this entry.
    pub after_seq: u64,
    /// So many bytes of the first output after it are not wanted.
    pub skip: u64,
}

/// Where the last `lines` lines of what `run` has written so far begin; of one stream, or of both as they arrived.
/// An unfinished last line is a line.
pub async fn begin(session: &Session, run: &Run, stream: Option<Stream>, lines: u64) -> Result<Place, Failure> {
    let mut search = Search { lines, found: 0, is_end: true };
    if lines == 0 {
        return Ok(Place { after_seq: run.last_seq, skip: 0 });
    }
    let mut before = run.last_seq + 1;
    loop {
        let params = json!({ "runId": run.id, "beforeSeq": before, "maxBytes": PAGE, "kinds": ["output"] });
        let page: ReadResult = session.call("run/read", params).await?;
        for entry in page.entries.iter().rev() {
            let Entry::Output(output) = entry else { continue };
            if stream.is_some_and(|stream| stream != output.stream) {
                continue;
            }
            let bytes = super::raw::exact_bytes(&output.text, output.data.as_deref())?;
            if let Some(skip) = search.look(&bytes) {
                return Ok(Place { after_seq: output.seq.saturating_sub(1), skip });
            }
        }
        match page.prev_before_seq {
            Some(earlier) if page.at_start != Some(true) && earlier < before => before = earlier,
            _ => return Ok(Place::default()),
        }
    }
}

/// Counts line ends backwards.
struct Search {
    lines: u64,
    found: u64,
    /// Nothing has been looked at yet, so a line end is the last line's own.
    is_end: bool,
}

impl Search {
    /// Looks at the bytes before those of the last look. `Some`: the wanted lines begin here, after so many bytes.
    fn look(&mut self, bytes: &[u8]) -> Option<u64> {
        for at in memchr::memrchr_iter(b'\n', bytes) {
            if self.is_end && at + 1 == bytes.len() {
                continue;
            }
            self.found += 1;
            if self.found == self.lines {
                return Some(at as u64 + 1);
            }
        }
        self.is_end &= bytes.is_empty();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last lines of a text in pieces: which piece, and how much of it is skipped.
    fn begins(pieces: &[&str], lines: u64) -> Option<(usize, u64)> {
        let mut search = Search { lines, found: 0, is_end: true };
        pieces.iter().enumerate().rev().find_map(|(number, piece)| Some((number, search.look(piece.as_bytes())?)))
    }

    #[test]
    fn lines_are_counted_over_pieces() {
        assert_eq!(begins(&["a\nb\nc\n"], 1), Some((0, 4)));
        assert_eq!(begins(&["a\nb\nc"], 1), Some((0, 4)));
        assert_eq!(begins(&["a\nb\nc\n"], 2), Some((0, 2)));
        assert_eq!(begins(&["a\nb", "b", "b\n", "c\n"], 2), Some((0, 2)));
        assert_eq!(begins(&["a\n", "\n"], 1), Some((0, 2)));
        assert_eq!(begins(&["a\nb", "\n"], 1), Some((0, 2)));
        assert_eq!(begins(&["a\nb\n"], 3), None);
    }
}
